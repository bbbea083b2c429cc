/*
 * sqlgen run on small files: what it writes is compiled, loaded and looked at; what is wrong is
 * refused with file and line.
 */

#include "tests/support/check.h"
#include "tests/support/tool.h"

#include "libcommon/io/pg_query.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_OF(array) (sizeof(array) / sizeof((array)[0]))
#define FILES_MAX      4

struct file {
    const char *name;
    const char *text;
};

/* Writes the files and runs sqlgen over them. */
static int
run(const char *mode, const char *out, const struct file *files, size_t count, const char **text)
{
    struct tool_path paths[FILES_MAX];
    struct tool_path target = tool_scratch(out);
    struct tool_args args = {0};

    tool_add(&args, mode);
    tool_add(&args, "stock-room");
    tool_add(&args, target.text);
    for (size_t i = 0; i < count; i++) {
        paths[i] = tool_scratch(files[i].name);
        tool_write(&paths[i], files[i].text);
        tool_add(&args, paths[i].text);
    }
    return tool_host("sqlgen", &args, text);
}

static void generate(const char *mode, const char *out, const struct file *files, size_t count)
{
    const char *text = NULL;

    if (run(mode, out, files, count, &text) != 0) {
        fail_msg("%s: %s", mode, text);
    }
}

static const struct file good[] = {
    {"rows.sql",
     "-- What this file is about.\n"
     "-- name: row_list\n"
     "-- in: avanta.Request\n"
     "-- out: avanta.AuditRecord\n"
     "-- each: ORDER = new_first: at DESC, id DESC | old_first: at || '' ASC\n"
     "-- each: PAGE = all: | some: LIMIT :limit\n"
     "-- The colon in it's comment is no :parameter.\n"
     "SELECT ':no' AS a, at::text, \"b\\c\" FROM t\n"
     "WHERE user_id = :user_id AND (:since::date IS NULL OR at >= :since::date)\n"
     "ORDER BY {ORDER} {PAGE};\n"
     "\n"
     "-- name: touch\n"
     "-- in: none\n"
     "-- out: none\n"
     "UPDATE t SET x = '{ORDER} ;' /* :no */ WHERE y = '\?\?=';\n"},
    {"more.sql",
     "-- name: nested\n"
     "-- in: avanta.FieldViolation\n"
     "-- out: none\n"
     "SELECT $q$ :no $q$, :code\n"                                },
};

static const struct file steps[] = {
    {"0002_second.sql", "ALTER TABLE t ADD x text DEFAULT 'a\"b';\n"        },
    {"0001_schema.sql", "-- The first.\nCREATE TABLE t (\n    at text\n);\n"},
};

static void *library;

static int setup(void **state)
{
    static const char *const protos[] = {
        "avanta/common.proto", "avanta/options.proto", "google/protobuf/descriptor.proto"};
    static const char *const sources[] = {"stock_room_sql.gen.c",
                                          "stock_room_migrations.gen.c",
                                          "checks.c",
                                          "avanta/common.pb-c.c",
                                          "avanta/options.pb-c.c",
                                          "google/protobuf/descriptor.pb-c.c"};
    /* That the headers fit their tables is for the compiler to say. */
    static const char checks[] =
        "#include \"stock_room_sql.gen.h\"\n#include \"stock_room_migrations.gen.h\"\n"
        "_Static_assert(STOCK_ROOM_QUERY_COUNT == 6, \"\");\n"
        "_Static_assert(Q_ROW_LIST == 0 && Q_ROW_LIST_NEW_FIRST_ALL == 0, \"\");\n"
        "_Static_assert(Q_ROW_LIST_NEW_FIRST_SOME == 1 && Q_ROW_LIST_OLD_FIRST_ALL == 2, \"\");\n"
        "_Static_assert(Q_ROW_LIST_OLD_FIRST_SOME == 3 && Q_TOUCH == 4 && Q_NESTED == 5, \"\");\n"
        "_Static_assert(STOCK_ROOM_MIGRATION_COUNT == 2, \"\");\n";
    struct tool_path file;

    if (tool_setup(state) != 0) {
        return -1;
    }
    for (size_t i = 0; i < ROWS_OF(protos); i++) {
        tool_protobuf_c(protos[i]);
    }
    generate("queries-h", "stock_room_sql.gen.h", good, ROWS_OF(good));
    generate("queries-c", "stock_room_sql.gen.c", good, ROWS_OF(good));
    generate("migrations-h", "stock_room_migrations.gen.h", steps, ROWS_OF(steps));
    generate("migrations-c", "stock_room_migrations.gen.c", steps, ROWS_OF(steps));
    file = tool_scratch("checks.c");
    tool_write(&file, checks);
    library = tool_load("sql.so", sources, ROWS_OF(sources));
    return 0;
}

static const struct pg_query *queries(void)
{
    return tool_symbol(library, "stock_room_queries");
}

static void statements_are_numbered(void **state)
{
    const struct pg_query *q = queries();

    (void)state;
    assert_string_equal(q[0].name, "row_list_new_first_all");
    assert_string_equal(q[0].text,
                        "SELECT ':no' AS a, at::text, \"b\\c\" FROM t\n"
                        "WHERE user_id = $1 AND ($2::date IS NULL OR at >= $2::date)\n"
                        "ORDER BY at DESC, id DESC ");
    assert_int_equal(q[0].parameter_count, 2);
    assert_string_equal(q[0].parameters[0], "user_id");
    assert_string_equal(q[0].parameters[1], "since");
    assert_string_equal(q[5].text, "SELECT $q$ :no $q$, $1");
    assert_string_equal(q[5].parameters[0], "code");
}

static void variants_multiply(void **state)
{
    const struct pg_query *q = queries();

    (void)state;
    assert_string_equal(q[1].name, "row_list_new_first_some");
    assert_string_equal(q[2].name, "row_list_old_first_all");
    assert_string_equal(q[3].name, "row_list_old_first_some");
    tool_holds(q[3].text, "ORDER BY at || '' ASC LIMIT $3");
    assert_int_equal(q[3].parameter_count, 3);
    assert_string_equal(q[3].parameters[2], "limit");
}

static void literals_stay_as_they_are(void **state)
{
    const struct pg_query *q = queries();

    (void)state;
    assert_string_equal(q[4].name, "touch");
    assert_string_equal(q[4].text, "UPDATE t SET x = '{ORDER} ;'   WHERE y = '\?\?='");
    assert_int_equal(q[4].parameter_count, 0);
    assert_null(q[4].parameters);
}

static void messages_are_descriptors(void **state)
{
    const struct pg_query *q = queries();

    (void)state;
    assert_string_equal(q[0].in->name, "avanta.Request");
    assert_string_equal(q[0].out->name, "avanta.AuditRecord");
    assert_null(q[4].in);
    assert_null(q[4].out);
    assert_string_equal(q[5].in->name, "avanta.FieldViolation");
}

static void migrations_are_in_order(void **state)
{
    const struct pg_migration *m = tool_symbol(library, "stock_room_migrations");
    const size_t *count = tool_symbol(library, "stock_room_migration_count");

    (void)state;
    assert_int_equal(*count, 2);
    assert_int_equal(m[0].number, 1);
    assert_string_equal(m[0].name, "schema");
    assert_string_equal(m[0].text, steps[1].text);
    assert_int_equal(m[1].number, 2);
    assert_string_equal(m[1].name, "second");
    assert_string_equal(m[1].text, steps[0].text);
}

/* --- refusals -------------------------------------------------------------------------------- */

#define HEAD "-- name: a\n-- in: none\n-- out: none\n"

/* Nothing is written, and the complaint says where. */
static void refuses(const char *mode, const struct file *files, size_t count, const char *complaint)
{
    const char *text = NULL;
    int status = run(mode, "bad.c", files, count, &text);

    tool_holds(text, complaint);
    assert_int_equal(status, 1);
}

static void refuses_bad_statements(void **state)
{
    static const struct {
        const char *text;
        const char *complaint;
    } rows[] = {
        {"",                                                   "bad.sql:1: no \"-- name:\" block"                },
        {"-- Only words.\n",                                   "bad.sql:1: no \"-- name:\" block"                },
        {"SELECT 1;\n" HEAD "SELECT 1",                        "bad.sql:1: text before the first \"-- name:\""   },
        {"-- in: none\n" HEAD "SELECT 1",                      "bad.sql:1: a statement starts with \"-- name:\"" },
        {"-- name: a\n-- out: none\nSELECT 1",                 "bad.sql:1: block a lacks \"-- in:\""             },
        {"\n-- name: a\n-- in: none\nSELECT 1",                "bad.sql:2: block a lacks \"-- out:\""            },
        {HEAD "-- in: none\nSELECT 1",                         "bad.sql:4: given twice in block a"               },
        {"-- name: a\n-- in: Request\n-- out: none\nSELECT 1",
         "bad.sql:2: \"Request\" is no full message name"                                                        },
        {"-- name: A b\n-- in: none\n-- out: none\nSELECT 1",
         "bad.sql:1: \"A b\" is no name for a statement"                                                         },
        {HEAD ";\n",                                           "bad.sql:1: block a has no statement"             },
        {HEAD "SELECT 1; SELECT 2",                            "bad.sql:1: block a holds more than one statement"},
        {HEAD "SELECT 1;;",                                    "bad.sql:1: block a holds more than one statement"},
        {HEAD "SELECT\n $1",                                   "bad.sql:5: $1: parameters are written :name"     },
        {HEAD "SELECT\n\n 'a",                                 "bad.sql:6: a string is not ended"                },
        {HEAD "SELECT {ORDER}",                                "bad.sql:1: block a has no each for {ORDER}"      },
        {HEAD "-- each: ORDER = x: 1\nSELECT 1",               "bad.sql:1: block a does not use {ORDER}"         },
        {HEAD "-- set: rows\nSELECT 1",                        "bad.sql:4: the only set is \"place\""            },
        {HEAD "-- each: ORDER\nSELECT {ORDER}",                "bad.sql:4: each must be"                         },
        {HEAD "-- each: ORDER = x\nSELECT {ORDER}",            "bad.sql:4: each needs 1 to 16 choices"           },
        {HEAD "-- each: order = x: 1\nSELECT {order}",         "bad.sql:4: each needs a word in capitals"        },
        {HEAD "-- each: ORDER = X: 1\nSELECT {ORDER}",         "bad.sql:4: \"X\" is no name for a choice"        },
        {HEAD "-- each: ORDER = x: 1 | x: 2\nSELECT {ORDER}",  "bad.sql:1: the name a_x is taken"                },
        {HEAD "SELECT 1;\n" HEAD "SELECT 2",                   "bad.sql:5: the name a is taken"                  },
        {"-- name: a_x\n-- in: none\n-- out: none\nSELECT 1;\n" HEAD
         "-- each: ORDER = x: 1\nSELECT {ORDER}",     "bad.sql:5: the name a_x is taken"                },
        {"-- name: a2345678901234567890123456789012345678901234567890123456789012345\n"
         "-- in: none\n-- out: none\nSELECT 1",       "is too long"                                     },
    };

    (void)state;
    for (size_t i = 0; i < ROWS_OF(rows); i++) {
        struct file file = {"bad.sql", rows[i].text};
        refuses("queries-c", &file, 1, rows[i].complaint);
    }
}

static void refuses_the_same_name_in_two_files(void **state)
{
    static const struct file files[] = {
        {"one.sql", HEAD "SELECT 1"},
        {"two.sql", HEAD "SELECT 2"}
    };
    const char *text = NULL;

    (void)state;
    assert_int_equal(run("queries-h", "bad.h", files, ROWS_OF(files), &text), 1);
    tool_holds(text, "two.sql:1: the name a is taken");
}

static void refuses_too_many_parameters(void **state)
{
    static char sql[2048];
    struct file file = {"many.sql", sql};
    const char *text = NULL;
    size_t len = 0;

    (void)state;
    len += (size_t)snprintf(sql, sizeof(sql), "%sSELECT 0", HEAD);
    for (int i = 0; i < 64; i++) {
        len += (size_t)snprintf(sql + len, sizeof(sql) - len, " + :p%d", i);
    }
    assert_int_equal(run("queries-c", "many.c", &file, 1, &text), 0);
    (void)snprintf(sql + len, sizeof(sql) - len, " + :one_more");
    assert_int_equal(run("queries-c", "many.c", &file, 1, &text), 1);
    tool_holds(text, "many.sql:1: block a has more than 64 parameters");
}

static void refuses_bad_migrations(void **state)
{
    static const struct {
        struct file files[2];
        size_t count;
        const char *complaint;
    } rows[] = {
        {{{"0002_b.sql", "SELECT 1;"}},                              1, "0002_b.sql:1: number 0002 follows 0000: a gap"   },
        {{{"0001_a.sql", "SELECT 1;"}, {"0003_c.sql", "SELECT 1;"}},
         2,                                                             "0003_c.sql:1: number 0003 follows 0001: a gap"   },
        {{{"0001_a.sql", "SELECT 1;"}, {"0001_b.sql", "SELECT 1;"}},
         2,                                                             ":1: number 0001 is also that of"                 },
        {{{"1_a.sql", "SELECT 1;"}},                                 1, "1_a.sql:1: a migration is named NNNN_name.sql"   },
        {{{"0001-a.sql", "SELECT 1;"}},                              1, "0001-a.sql:1: a migration is named NNNN_name.sql"},
        {{{"0001_A.sql", "SELECT 1;"}},                              1, "0001_A.sql:1: a migration is named NNNN_name.sql"},
        {{{"0001_a.txt", "SELECT 1;"}},                              1, "0001_a.txt:1: a migration is named NNNN_name.sql"},
        {{{"0001_.sql", "SELECT 1;"}},                               1, "0001_.sql:1: a migration is named NNNN_name.sql" },
        {{{"0001_a.sql", "-- Nothing.\n"}},                          1, "0001_a.sql:1: holds no statement"                },
        {{{"0001_a.sql", "SELECT\n 'a;"}},                           1, "0001_a.sql:2: a string is not ended"             },
    };

    (void)state;
    for (size_t i = 0; i < ROWS_OF(rows); i++) {
        refuses("migrations-c", rows[i].files, rows[i].count, rows[i].complaint);
    }
}

static void refuses_bad_calls(void **state)
{
    struct tool_args few = {0};
    const char *text = NULL;

    (void)state;
    tool_add(&few, "queries-h");
    tool_add(&few, "stock-room");
    assert_int_equal(tool_host("sqlgen", &few, &text), 1);
    tool_holds(text, "usage: sqlgen");
    assert_int_equal(run("poem", "bad.c", good, 1, &text), 1);
    tool_holds(text, "unknown mode poem");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_are_numbered),
        cmocka_unit_test(variants_multiply),
        cmocka_unit_test(literals_stay_as_they_are),
        cmocka_unit_test(messages_are_descriptors),
        cmocka_unit_test(migrations_are_in_order),
        cmocka_unit_test(refuses_bad_statements),
        cmocka_unit_test(refuses_the_same_name_in_two_files),
        cmocka_unit_test(refuses_too_many_parameters),
        cmocka_unit_test(refuses_bad_migrations),
        cmocka_unit_test(refuses_bad_calls),
    };

    return cmocka_run_group_tests(tests, setup, tool_teardown);
}
