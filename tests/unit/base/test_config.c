#include "tests/support/check.h"

#include "libcommon/base/config.h"
#include "libcommon/base/config_row.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* An example of how a component declares its configuration. */
/* clang-format off */
#define WEB_CONFIG(X)                                                                                  \
    X(UINT, http_port, "AVANTA_HTTP_PORT", "8080",      1, 65535, PLAIN,  "port the API listens on")     \
    X(TEXT, address,   "AVANTA_ADDRESS",   "127.0.0.1", 1, 20,    PLAIN,  "address, v4|v6")              \
    X(BOOL, trust,     "AVANTA_TRUST",     "false",     0, 0,     PLAIN,  "believe X-Forwarded-For")     \
    X(UINT, big,       "AVANTA_BIG",       "0",         0, UINT64_MAX, PLAIN, "any number")
#define DB_CONFIG(X)                                                                                   \
    X(TEXT, dsn,       "AVANTA_DB_DSN",    NULL,        5, 1000,  PLAIN,  "where the database is")       \
    X(TEXT, password,  "AVANTA_DB_PASSWORD", "",        0, 1023,  SECRET, "its password")                \
    X(TEXT, token,     "AVANTA_TOKEN",     "none",      4, 100,   SECRET, "a token")
/* clang-format on */

CONFIG_STRUCT(web_config, WEB_CONFIG);
CONFIG_STRUCT(db_config, DB_CONFIG);

#define CONFIG_TARGET struct web_config
static const struct config_row web_rows[] = {WEB_CONFIG(CONFIG_ROW)};
#undef CONFIG_TARGET
#define CONFIG_TARGET struct db_config
static const struct config_row db_rows[] = {DB_CONFIG(CONFIG_ROW)};
#undef CONFIG_TARGET

static struct web_config web;
static struct db_config db;
static const struct config_table tables[] = {
    {web_rows, ARRAY_LEN(web_rows), &web},
    {db_rows,  ARRAY_LEN(db_rows),  &db },
};
static const char *const known[] = {"AVANTA_STATE", NULL};

static struct err err;
static char path[] = "/tmp/test_config_XXXXXX";

/* Only the required variable is set. */
static int setup(void **state)
{
    (void)state;
    (void)clearenv();
    memset(&web, 0xAA, sizeof(web));
    memset(&db, 0xAA, sizeof(db));
    memset(&err, 0, sizeof(err));
    return setenv("AVANTA_DB_DSN", "host=db", 1);
}

static enum code load(void)
{
    return config_load(tables, ARRAY_LEN(tables), known, &err);
}

static void write_secret(const char *text, size_t len)
{
    int fd = -1;

    (void)snprintf(path, sizeof(path), "/tmp/test_config_XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, len), len);
    assert_int_equal(close(fd), 0);
}

static void defaults_fill_in(void **state)
{
    (void)state;
    assert_int_equal(load(), OK);
    assert_int_equal(web.http_port, 8080);
    assert_string_equal(web.address, "127.0.0.1");
    assert_false(web.trust);
    assert_string_equal(db.dsn, "host=db");
    assert_string_equal(db.password, "");
    assert_string_equal(db.token, "none");
}

static void variables_override(void **state)
{
    (void)state;
    (void)setenv("AVANTA_HTTP_PORT", "65535", 1);
    (void)setenv("AVANTA_ADDRESS", "::1", 1);
    (void)setenv("AVANTA_TRUST", "1", 1);
    (void)setenv("AVANTA_BIG", "18446744073709551615", 1);
    (void)setenv("AVANTA_STATE", "/run", 1); /* known without a row */
    (void)setenv("AVANTAGE", "not ours", 1); /* another prefix */
    (void)setenv("OTHER_AVANTA_X", "neither", 1);
    assert_int_equal(load(), OK);
    assert_int_equal(web.http_port, 65535);
    assert_string_equal(web.address, "::1");
    assert_true(web.trust);
    assert_true(web.big == UINT64_MAX);
}

static void bad_values_stop_the_start(void **state)
{
    static const struct {
        const char *variable;
        const char *value;
        const char *text;
    } rows[] = {
        {"AVANTA_HTTP_PORT",
         "0",                                         "AVANTA_HTTP_PORT is \"0\" but must be a whole number from 1 to 65535; correct it or unset "
         "it for the default"                                                                                      },
        {"AVANTA_HTTP_PORT", "65536",                 "\"65536\""                                                               },
        {"AVANTA_HTTP_PORT", "18446744073709551617",  "from 1 to 65535"                                                         },
        {"AVANTA_HTTP_PORT", "",                      "AVANTA_HTTP_PORT is \"\""                                                },
        {"AVANTA_HTTP_PORT", "80 ",                   "\"80 \""                                                                 },
        {"AVANTA_HTTP_PORT", "-1",                    "\"-1\""                                                                  },
        {"AVANTA_HTTP_PORT", "0080",                  "\"0080\""                                                                },
        {"AVANTA_HTTP_PORT", "8e3",                   "\"8e3\""                                                                 },
        {"AVANTA_ADDRESS",   "",                      "a text of 1 to 20 bytes"                                                 },
        {"AVANTA_ADDRESS",   "123456789012345678901", "a text of 1 to 20 bytes"                                                 },
        {"AVANTA_ADDRESS",   "a\nb",                  "\"a?b\""                                                                 },
        {"AVANTA_ADDRESS",   "\xFF",                  "\"?\""                                                                   },
        {"AVANTA_TRUST",     "yes",                   "must be 0, 1, true or false"                                             },
        {"AVANTA_TRUST",     "TRUE",                  "must be 0, 1, true or false"                                             },
        {"AVANTA_TRUST",     "",                      "must be 0, 1, true or false"                                             },
        {"AVANTA_DB_DSN",
         "a",                                         "AVANTA_DB_DSN is \"a\" but must be a text of 5 to 1000 bytes; correct it"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)setup(NULL);
        (void)setenv(rows[i].variable, rows[i].value, 1);
        assert_row(i, load() == ERR_INVALID);
        assert_row(i, strcmp(err.field, rows[i].variable) == 0);
        assert_row(i, strstr(err.text, rows[i].text) != NULL);
    }
}

static void long_values_are_shown_cut(void **state)
{
    char value[3000];

    (void)state;
    memset(value, 'v', sizeof(value) - 1);
    value[sizeof(value) - 1] = '\0';
    (void)setenv("AVANTA_DB_DSN", value, 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_non_null(strstr(err.text, "vvv...\" but must be a text of 5 to 1000 bytes"));
    value[1000] = '\0';
    (void)setenv("AVANTA_DB_DSN", value, 1);
    err = (struct err){0};
    assert_int_equal(load(), OK);
    assert_int_equal(strlen(db.dsn), 1000);
}

static void required_variables_are_asked_for(void **state)
{
    (void)state;
    (void)unsetenv("AVANTA_DB_DSN");
    assert_int_equal(load(), ERR_INVALID);
    assert_string_equal(err.field, "AVANTA_DB_DSN");
    assert_string_equal(err.text, "AVANTA_DB_DSN is required (where the database is); set it");
}

static void misspelt_variables_are_named(void **state)
{
    static const struct {
        const char *variable;
        const char *meant;
    } rows[] = {
        {"AVANTA_HTPP_PORT",               "did you mean AVANTA_HTTP_PORT?"  },
        {"AVANTA_HTTP_PORTS",              "did you mean AVANTA_HTTP_PORT?"  },
        {"AVANTA_DB_PASSWD",               "did you mean AVANTA_DB_PASSWORD?"},
        {"AVANTA_DB_DSN_FILE",             "is not known here"               }, /* no secret, no file */
        {"AVANTA_http_port",               "is not known here"               },
        {"AVANTA_SOMETHING_ELSE_ENTIRELY", "is not known here; unset it"     },
        {"AVANTA_",                        "is not known here"               },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)setup(NULL);
        (void)unsetenv("AVANTA_DB_DSN"); /* the misspelling is the better news */
        (void)setenv(rows[i].variable, "1", 1);
        assert_row(i, load() == ERR_INVALID);
        assert_row(i, strcmp(err.field, rows[i].variable) == 0);
        assert_row(i, strstr(err.text, rows[i].meant) != NULL);
    }
}

static void endless_names_are_refused(void **state)
{
    char name[400];

    (void)state;
    memset(name, 'X', sizeof(name) - 1);
    memcpy(name, "AVANTA_", 7);
    name[sizeof(name) - 1] = '\0';
    (void)setenv(name, "1", 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_int_equal(strncmp(err.field, name, ERR_FIELD_BYTES - 1), 0);
}

/* --- secrets ------------------------------------------------------------------- */

static void secrets_leave_the_environment(void **state)
{
    const char *in_environment = NULL;

    (void)state;
    (void)setenv("AVANTA_DB_PASSWORD", "hunter2", 1);
    in_environment = getenv("AVANTA_DB_PASSWORD");
    assert_int_equal(load(), OK);
    assert_string_equal(db.password, "hunter2");
    assert_null(getenv("AVANTA_DB_PASSWORD"));
    assert_string_equal(in_environment, ""); /* wiped in place */
    assert_non_null(getenv("AVANTA_DB_DSN"));
}

static void secrets_are_wiped_even_after_an_error(void **state)
{
    (void)state;
    (void)setenv("AVANTA_DB_PASSWORD", "hunter2", 1);
    (void)setenv("AVANTA_HTTP_PORT", "x", 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_null(getenv("AVANTA_DB_PASSWORD"));
}

static void secrets_come_from_files(void **state)
{
    static const struct {
        const char *text;
        size_t len;
        const char *secret;
    } rows[] = {
        {"from file",       9,  "from file"    },
        {"with newline\n",  13, "with newline" },
        {"dos\r\n",         5,  "dos"          },
        {"two\n\n",         5,  "two\n"        },
        {"-----BEGIN\nx\n", 13, "-----BEGIN\nx"},
        {"",                0,  ""             },
        {"\n",              1,  ""             },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)setup(NULL);
        write_secret(rows[i].text, rows[i].len);
        (void)setenv("AVANTA_DB_PASSWORD_FILE", path, 1);
        assert_row(i, load() == OK);
        assert_row(i, strcmp(db.password, rows[i].secret) == 0);
        (void)unlink(path);
    }
}

static void bad_secret_files_are_refused(void **state)
{
    char big[2000];

    (void)state;
    (void)setenv("AVANTA_DB_PASSWORD_FILE", "/nonexistent/secret", 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_string_equal(err.field, "AVANTA_DB_PASSWORD");
    assert_non_null(strstr(err.text, "/nonexistent/secret"));
    assert_non_null(strstr(err.text, "No such file"));

    (void)setup(NULL);
    (void)setenv("AVANTA_DB_PASSWORD_FILE", "/tmp", 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_non_null(strstr(err.text, "directory"));

    (void)setup(NULL);
    memset(big, 'b', sizeof(big));
    write_secret(big, sizeof(big));
    (void)setenv("AVANTA_DB_PASSWORD_FILE", path, 1);
    assert_int_equal(load(), ERR_INVALID);
    (void)unlink(path);

    (void)setup(NULL);
    write_secret("nul\0inside", 10);
    (void)setenv("AVANTA_DB_PASSWORD_FILE", path, 1);
    assert_int_equal(load(), ERR_INVALID);
    (void)unlink(path);
}

static void value_and_file_together_are_refused(void **state)
{
    (void)state;
    (void)setenv("AVANTA_DB_PASSWORD", "a", 1);
    (void)setenv("AVANTA_DB_PASSWORD_FILE", "/tmp/b", 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_non_null(strstr(err.text, "both set"));
}

static void errors_never_show_a_secret(void **state)
{
    (void)state;
    (void)setenv("AVANTA_TOKEN", "abc", 1);
    assert_int_equal(load(), ERR_INVALID);
    assert_string_equal(err.field, "AVANTA_TOKEN");
    assert_null(strstr(err.text, "abc"));
    assert_non_null(strstr(err.text, "a text of 4 to 100 bytes"));
}

static void a_text_of_one_length_names_it_once(void **state)
{
    const struct config_row row = {.type = CONFIG_TEXT, .min = 64, .max = 64};
    char out[CONFIG_RANGE_BYTES_MAX];

    (void)state;
    assert_string_equal(config_range(&row, out), "a text of 64 bytes");
}

static void wipe_takes_only_secrets(void **state)
{
    static const char zeros[CONFIG_TEXT_BYTES_MAX];

    (void)state;
    (void)setenv("AVANTA_DB_PASSWORD", "hunter2", 1);
    assert_int_equal(load(), OK);
    config_wipe(tables, ARRAY_LEN(tables));
    assert_memory_equal(db.password, zeros, sizeof(zeros));
    assert_memory_equal(db.token, zeros, sizeof(zeros));
    assert_string_equal(db.dsn, "host=db");
    assert_int_equal(web.http_port, 8080);
}

static void two_tables_may_share_a_secret(void **state)
{
    static struct db_config other;
    const struct config_table shared[] = {
        {db_rows, ARRAY_LEN(db_rows), &db   },
        {db_rows, ARRAY_LEN(db_rows), &other},
    };

    (void)state;
    (void)setenv("AVANTA_DB_PASSWORD", "hunter2", 1);
    assert_int_equal(config_load(shared, 2, NULL, &err), OK);
    assert_string_equal(db.password, "hunter2");
    assert_string_equal(other.password, "hunter2");
}

/* --- texts --------------------------------------------------------------------- */

static char *text_of(void (*print)(FILE *, const struct config_table *, size_t))
{
    static char text[8192];
    FILE *out = fmemopen(text, sizeof(text), "w");

    assert_non_null(out);
    print(out, tables, ARRAY_LEN(tables));
    assert_int_equal(fclose(out), 0);
    return text;
}

static void print_masks_secrets(void **state)
{
    (void)state;
    (void)setenv("AVANTA_TOKEN", "s3cr3t", 1);
    assert_int_equal(load(), OK);
    assert_string_equal(text_of(config_print),
                        "AVANTA_HTTP_PORT=8080\n"
                        "AVANTA_ADDRESS=127.0.0.1\n"
                        "AVANTA_TRUST=false\n"
                        "AVANTA_BIG=0\n"
                        "AVANTA_DB_DSN=host=db\n"
                        "AVANTA_DB_PASSWORD=\n"
                        "AVANTA_TOKEN=********\n");
}

static void help_names_everything(void **state)
{
    const char *text = text_of(config_help);

    (void)state;
    assert_non_null(strstr(text, "AVANTA_HTTP_PORT"));
    assert_non_null(strstr(text, "port the API listens on"));
    assert_non_null(strstr(text, "a whole number from 1 to 65535; default 8080\n"));
    assert_non_null(strstr(text, "a text of 5 to 1000 bytes; required\n"));
    assert_non_null(strstr(text, "0, 1, true or false; default false\n"));
    assert_non_null(strstr(text, "AVANTA_DB_PASSWORD_FILE"));
}

static void markdown_is_a_table(void **state)
{
    const char *text = text_of(config_markdown);

    (void)state;
    assert_int_equal(strncmp(text, "| Variable | Value | Default | Meaning |\n|---|", 45), 0);
    assert_non_null(strstr(text,
                           "\n| AVANTA_HTTP_PORT | a whole number from 1 to 65535 | 8080 | port "
                           "the API listens on |\n"));
    assert_non_null(strstr(text, "| address, v4\\|v6 |\n")); /* a bar stays in its cell */
    assert_non_null(strstr(text, "| its password (secret, also by `_FILE`) |\n"));
}

static void exit_status_tells_wrong_settings(void **state)
{
    const struct err wrong = {.code = ERR_INVALID};
    const struct err away = {.code = ERR_UNAVAILABLE};

    (void)state;
    assert_int_equal(config_exit_status(&wrong), 2);
    assert_int_equal(config_exit_status(&away), 1);
}

#define CASE(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(defaults_fill_in),
        CASE(variables_override),
        CASE(bad_values_stop_the_start),
        CASE(long_values_are_shown_cut),
        CASE(required_variables_are_asked_for),
        CASE(misspelt_variables_are_named),
        CASE(endless_names_are_refused),
        CASE(secrets_leave_the_environment),
        CASE(secrets_are_wiped_even_after_an_error),
        CASE(secrets_come_from_files),
        CASE(bad_secret_files_are_refused),
        CASE(value_and_file_together_are_refused),
        CASE(errors_never_show_a_secret),
        CASE(a_text_of_one_length_names_it_once),
        CASE(wipe_takes_only_secrets),
        CASE(two_tables_may_share_a_secret),
        CASE(print_masks_secrets),
        CASE(help_names_everything),
        CASE(markdown_is_a_table),
        CASE(exit_status_tells_wrong_settings),
    };

    return cmocka_run_group_tests_name("config", tests, NULL, NULL);
}
