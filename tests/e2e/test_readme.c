/*
 * The README does what it says: its commands run, in their order, against a stack of their own, and
 * answer in the shape that is shown. `...` in an answer stands for more of the same.
 */
#include "tests/support/check.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/buf.h"

#include <jansson.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define TEXT_BYTES    (256 * 1024)
#define COMMAND_BYTES 4096
#define STEPS_MAX     64
#define LINES_MAX     8

/* A command and the lines that are shown as its answer. */
struct step {
    char command[COMMAND_BYTES];
    char shown[LINES_MAX][COMMAND_BYTES];
    size_t shown_count;
};

static char scratch[64];
static char readme[TEXT_BYTES];
static char output[TEXT_BYTES];
static struct step steps[STEPS_MAX];
static size_t step_count;
static size_t ran_count; /* commands of all kinds */

/* --- running ---------------------------------------------------------------------------- */

/* The exit status; what is said goes to `output`. The README's commands are for a shell. */
static int run(const char *command)
{
    /* tidy: allow banned: a shell is what is tested. NOLINTNEXTLINE(cert-env33-c) */
    FILE *pipe = popen(command, "r");
    size_t length = 0;
    int status = 0;

    assert_non_null(pipe);
    length = fread(output, 1, sizeof output - 1, pipe);
    output[length] = '\0';
    status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void must_run(const char *command)
{
    if (run(command) != 0) {
        fail_msg("%s:\n%s", command, output);
    }
    ran_count++;
}

/* As from a user's shell: nothing of the make that runs this test. */
static void environment_set(void)
{
    static const char *const of_make[] = {
        "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "MODE"};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char value[128];

    for (size_t i = 0; i < ARRAY_LEN(of_make); i++) {
        assert_int_equal(unsetenv(of_make[i]), 0);
    }
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    (void)close(fd);
    (void)snprintf(value, sizeof value, "%d", ntohs(address.sin_port));
    assert_int_equal(setenv("PORT", value, 1), 0);
    (void)snprintf(value, sizeof value, "%s/.run", scratch); /* the session's `.run` */
    assert_int_equal(setenv("STATE", value, 1), 0);
}

/* Programs that note what they are called with, in front of those that `make up` runs. */
static void spies_set(void)
{
    static const char make[] =
        "cd %s && mkdir spies && for p in psql env setsid nats-server sed grep; do "
        "printf '#!/bin/sh\\necho %%s \"$@\" >>%s/seen\\nexec %%s \"$@\"\\n' "
        "$p \"$(PATH=$PATH:/usr/sbin command -v $p)\" >spies/$p && chmod 755 spies/$p; done";
    char command[COMMAND_BYTES];
    char path[COMMAND_BYTES];

    (void)snprintf(command, sizeof command, make, scratch, scratch);
    assert_int_equal(run(command), 0);
    (void)snprintf(path, sizeof path, "%s/spies:%s", scratch, getenv("PATH"));
    assert_int_equal(setenv("PATH", path, 1), 0);
}

static int setup(void **state)
{
    FILE *file = fopen("README.md", "r");
    size_t length = 0;

    (void)state;
    assert_non_null(file);
    length = fread(readme, 1, sizeof readme - 1, file);
    assert_int_equal(fclose(file), 0);
    assert_in_range(length, 1, sizeof readme - 2);
    readme[length] = '\0';
    (void)snprintf(scratch, sizeof scratch, "/tmp/avanta-readme-XXXXXX");
    assert_non_null(mkdtemp(scratch));
    assert_int_equal(chmod(scratch, 0711), 0); /* as root, PostgreSQL's own user passes through */
    environment_set();
    spies_set();
    return 0;
}

static int teardown(void **state)
{
    char command[256];

    (void)state;
    (void)run("deploy/down.sh 2>&1"); /* what a failed test left */
    (void)snprintf(command, sizeof command, "rm -rf %s", scratch);
    return run(command);
}

/* --- shapes ----------------------------------------------------------------------------- */

/* The shown JSON with its bare `...` made a member or an element that parses. */
static json_t *shown_json(const char *shown)
{
    char text[2 * COMMAND_BYTES];
    struct buf b = buf_over(text, sizeof text);
    char open[64] = "";
    size_t depth = 0;
    bool quoted = false;

    for (const char *at = shown; *at != '\0'; at++) {
        if (!quoted && strncmp(at, "...", 3) == 0) {
            buf_text(&b, depth > 0 && open[depth - 1] == '{' ? "\"...\":0" : "\"...\"");
            at += 2;
            continue;
        }
        if (*at == '"' && (at == shown || at[-1] != '\\')) {
            quoted = !quoted;
        } else if (!quoted && (*at == '{' || *at == '[')) {
            assert_true(depth < sizeof open - 1);
            open[depth++] = *at;
        } else if (!quoted && (*at == '}' || *at == ']')) {
            assert_true(depth > 0);
            depth--;
        }
        buf_char(&b, *at);
    }
    assert_true(buf_terminate(&b));
    return json_loads(text, JSON_DECODE_ANY, NULL);
}

static bool kinds_agree(const json_t *shown, const json_t *real)
{
    bool booleans = json_is_boolean(shown) && json_is_boolean(real);
    bool numbers = json_is_number(shown) && json_is_number(real);

    return booleans || numbers || json_typeof(shown) == json_typeof(real);
}

static bool alike(json_t *shown, json_t *real);

/* Every shown member is there; without `...` there are no others.
 * Depth is that of the README. NOLINTNEXTLINE(misc-no-recursion) */
static bool objects_alike(json_t *shown, json_t *real)
{
    const char *name = NULL;
    json_t *value = NULL;
    bool more = json_object_get(shown, "...") != NULL;

    json_object_foreach(shown, name, value)
    {
        json_t *other = json_object_get(real, name);

        if (strcmp(name, "...") != 0 && (other == NULL || !alike(value, other))) {
            return false;
        }
    }
    return more || json_object_size(shown) == json_object_size(real);
}

/* Depth is that of the README. NOLINTNEXTLINE(misc-no-recursion) */
static bool arrays_alike(json_t *shown, json_t *real)
{
    size_t count = json_array_size(shown);
    const char *last = json_string_value(json_array_get(shown, count - 1));
    bool more = count > 0 && last != NULL && strcmp(last, "...") == 0;

    count -= more ? 1 : 0;
    for (size_t i = 0; i < count; i++) {
        json_t *other = json_array_get(real, i);

        if (other == NULL || !alike(json_array_get(shown, i), other)) {
            return false;
        }
    }
    return more || count == json_array_size(real);
}

/* Depth is that of the README. NOLINTNEXTLINE(misc-no-recursion) */
static bool alike(json_t *shown, json_t *real)
{
    if (!kinds_agree(shown, real)) {
        return false;
    }
    if (json_is_object(shown)) {
        return objects_alike(shown, real);
    }
    return !json_is_array(shown) || arrays_alike(shown, real);
}

static bool line_alike(const char *shown, const char *real)
{
    json_t *a = shown_json(shown);
    json_t *b = json_loads(real, JSON_DECODE_ANY, NULL);
    bool good = a != NULL && b != NULL && alike(a, b);

    json_decref(a);
    json_decref(b);
    return good;
}

static void shapes_are_compared(void **state)
{
    static const struct {
        const char *shown;
        const char *real;
        bool alike;
    } rows[] = {
        {"{\"a\":1}",                 "{\"a\":2.5}",          true },
        {"{\"a\":\"x...\",...}",      "{\"b\":1,\"a\":\"\"}", true },
        {"[1,...]",                   "[1,2,3]",              true },
        {"{\"a\":true}",              "{\"a\":false}",        true },
        {"{\"a\":{\"b\":[...]},...}", "{\"a\":{\"b\":[]}}",   true },
        {"{\"a\":1}",                 "{\"a\":1,\"b\":1}",    false},
        {"{\"a\":1,\"b\":1}",         "{\"a\":1}",            false},
        {"{\"b\":1,...}",             "{\"a\":1}",            false},
        {"{\"a\":1}",                 "{\"a\":\"1\"}",        false},
        {"[1,2]",                     "[1]",                  false},
        {"[{\"a\":1},...]",           "[{\"b\":1}]",          false},
        {"{\"a\":1}",                 "curl: (7)",            false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, line_alike(rows[i].shown, rows[i].real) == rows[i].alike);
    }
}

/* --- a session: lines after `$ `, and what they answer ------------------------------------ */

static void session_read(struct str block)
{
    struct str line = STR_EMPTY;
    struct step *step = steps; /* a session starts with a command */
    bool goes_on = false;

    step_count = 0;
    while (str_split(&block, '\n', &line)) {
        if (str_starts(line, STR("$ "))) {
            assert_true(step_count < STEPS_MAX);
            step = &steps[step_count++];
            (void)snprintf(
                step->command, sizeof step->command, "%.*s", STR_FMT(str_sub(line, 2, line.len)));
            step->shown_count = 0;
        } else if (goes_on) {
            size_t at = strlen(step->command);

            (void)snprintf(step->command + at, sizeof step->command - at, "\n%.*s", STR_FMT(line));
        } else if (line.len > 0) {
            assert_true(step->shown_count < LINES_MAX);
            (void)snprintf(step->shown[step->shown_count++], COMMAND_BYTES, "%.*s", STR_FMT(line));
        }
        goes_on = (goes_on || str_starts(line, STR("$ "))) && str_ends(line, STR("\\"));
    }
}

/* One shell runs all of it, so that variables and functions last; marks part the answers. */
static void session_run(void)
{
    char command[256];
    char path[128];
    FILE *script = NULL;

    (void)snprintf(path, sizeof path, "%s/session.sh", scratch);
    script = fopen(path, "w");
    assert_non_null(script);
    for (size_t i = 0; i < step_count; i++) {
        (void)fprintf(script, "%s\nprintf '\\n@@%%d %zu\\n' $?\n", steps[i].command, i);
    }
    assert_int_equal(fclose(script), 0);
    (void)snprintf(command, sizeof command, "cd %s && bash session.sh 2>&1", scratch);
    assert_int_equal(run(command), 0);
}

static void step_check(const struct step *step, struct str answer)
{
    struct str line = STR_EMPTY;
    size_t at = 0;

    while (str_split(&answer, '\n', &line)) {
        char real[16384];

        if (line.len == 0) {
            continue;
        }
        (void)snprintf(real, sizeof real, "%.*s", STR_FMT(line));
        if (at >= step->shown_count || !line_alike(step->shown[at], real)) {
            fail_msg("%s\nanswers\n%s\nnot\n%s",
                     step->command,
                     real,
                     at < step->shown_count ? step->shown[at] : "nothing");
        }
        at++;
    }
    if (at != step->shown_count) {
        fail_msg("%s answers %zu lines, not %zu", step->command, at, step->shown_count);
    }
}

static void session(struct str block)
{
    session_read(block);
    session_run();
    struct str rest = str_from(output);
    for (size_t i = 0; i < step_count; i++) {
        char mark[32];
        size_t at = 0;

        (void)snprintf(mark, sizeof mark, "\n@@0 %zu\n", i);
        if (!str_find(rest, str_from(mark), &at)) {
            fail_msg("%s failed:\n%.*s", steps[i].command, STR_FMT(rest));
        }
        step_check(&steps[i], str_sub(rest, 0, at));
        rest = str_sub(rest, at + strlen(mark), rest.len);
        ran_count++;
    }
}

/* --- plain commands ----------------------------------------------------------------------- */

/* `make up` and `make down` run; other targets take too long here and must only exist. What is said
 * of containers is run by `make compose-test`. */
static void plain_command(struct str line)
{
    char command[512];
    size_t at = 0;

    if (str_find(line, STR("  #"), &at)) {
        line = str_sub(line, 0, at);
    }
    line = str_trim(line);
    if (line.len == 0) {
        return;
    }
    if (str_eq(line, STR("make up")) || str_eq(line, STR("make down"))) {
        (void)snprintf(command, sizeof command, "%.*s 2>&1", STR_FMT(line));
    } else if (str_starts(line, STR("make "))) {
        (void)snprintf(command, sizeof command, "%.*s -n 2>&1 >/dev/null", STR_FMT(line));
    } else if (str_starts(line, STR("docker-compose "))) {
        (void)snprintf(command,
                       sizeof command,
                       "test -f docker-compose.yml && make -n compose-test 2>&1 >/dev/null");
    } else {
        fail_msg("this test does not know how to check: %.*s", STR_FMT(line));
    }
    must_run(command);
}

static void commands_do_what_is_shown(void **state)
{
    struct str rest = str_from(readme);
    size_t from = 0;
    size_t to = 0;

    (void)state;
    while (str_find(rest, STR("\n```\n"), &from)) {
        struct str block = str_sub(rest, from + 5, rest.len);

        assert_true(str_find(block, STR("\n```\n"), &to));
        rest = str_sub(block, to + 5, block.len);
        block = str_sub(block, 0, to);
        if (str_starts(block, STR("$ "))) {
            session(block);
        } else if (str_starts(block, STR("make ")) || str_starts(block, STR("docker-compose "))) {
            struct str line = STR_EMPTY;

            while (str_split(&block, '\n', &line)) {
                plain_command(line);
            }
        }
    }
    assert_true(ran_count > 15);
    /* A link would be a database outside of the scratch directory, which stays behind. */
    assert_int_equal(run("test ! -L \"$STATE/postgres\""), 0);
}

/* Everybody on the machine may read arguments. */
static void no_secret_is_an_argument(void **state)
{
    static const char check[] =
        "cd %s && cat .run/*env | sed -n 's/^[A-Z_]*\\(PASSWORD\\|KEY[A-Z_]*\\)=//p' "
        ">secrets && test $(wc -l <secrets) -gt 10 && grep -q ^psql seen && "
        "grep -q ^setsid seen && ! grep -Ff secrets seen";
    char command[COMMAND_BYTES];

    (void)state;
    (void)snprintf(command, sizeof command, check, scratch);
    if (run(command) != 0) {
        fail_msg("%s:\n%s", command, output);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shapes_are_compared),
        cmocka_unit_test(commands_do_what_is_shown),
        cmocka_unit_test(no_secret_is_an_argument),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
