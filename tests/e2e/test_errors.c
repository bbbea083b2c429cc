/* The error log from outside: pages report, also as they close and whatever they send; what the
 * gateway answers with 500 or more is there too; administrators see it and nobody else. */
#include "tests/support/people.h"
#include "tests/support/stack.h"
#include "tests/support/suites.h"

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ADDRESS_RATE 3000
#define SOON_MS      20000
#define PAUSE_US     20000
#define LONG_BYTES   ((size_t)300 * 1024)

static struct arena_pool *pool;
static struct api page;
static struct api admin;
static char page_id[PEOPLE_ID_BYTES];

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    stack_audit_log_settings(
        "AVANTA_ERRORS_PER_MINUTE=60000 AVANTA_ERRORS_ADDRESS_PER_MINUTE=3000");
    if (pool == NULL || stack_setup(state) != 0) {
        return 1;
    }
    api_open(&page, stack_url());
    api_register(&page, "errors");
    people_id(&page, page_id);
    people_log_in_admin(&admin);
    return 0;
}

static int teardown(void **state)
{
    api_close(&page);
    api_close(&admin);
    arena_pool_close(&pool);
    return stack_teardown(state);
}

/* The newest sample of a release, once it is written: a release names one report here. */
static json_t *sample_of(const char *release)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    do {
        size_t i = 0;
        json_t *sample = NULL;

        assert_int_equal(api_get(&admin, "/api/errors/recent?limit=200"), 200);
        json_array_foreach(api_at(&admin, "errors"), i, sample)
        {
            const char *found = json_string_value(json_object_get(sample, "release"));

            if (found != NULL && strcmp(found, release) == 0) {
                return sample;
            }
        }
        (void)usleep(PAUSE_US);
    } while (clock_mono_ms() < end);
    fail_msg("the report of %s is not there", release);
    return NULL;
}

static const char *member(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));

    return value == NULL ? "" : value;
}

static void report(const char *body)
{
    assert_int_equal(api_call(&page, "POST", "/api/errors", body, strlen(body)), 200);
    assert_true(json_is_true(api_at(&page, "success")));
}

static void a_page_reports_and_an_administrator_sees_it(void **state)
{
    char path[128];
    char group[80];
    const json_t *sample = NULL;

    (void)state;
    report("{\"message\":\"x is undefined\",\"name\":\"TypeError\",\"stack\":\"at f "
           "(a-BxY3f2a9.js:1:2)\","
           "\"context\":{\"component\":\"Books\",\"password\":\"geheim\"},"
           "\"url\":\"https://a.example/books?token=geheim\",\"userAgent\":\"Browser/1\","
           "\"release\":\"one\","
           "\"timestamp\":\"2020-01-01T00:00:00Z\"}");
    (void)snprintf(path, sizeof path, "/api/errors/%s", api_text(&page, "errorId"));
    sample = sample_of("one");
    assert_string_equal(member(sample, "message"), "x is undefined");
    assert_string_equal(member(sample, "source"), "frontend");
    assert_string_equal(member(sample, "url"), "https://a.example/books");
    assert_string_equal(member(sample, "userAgent"), "Browser/1");
    assert_string_equal(member(sample, "network"), "127.0.0.0");
    assert_string_equal(member(sample, "userId"), page_id);
    assert_string_equal(member(json_object_get(sample, "context"), "password"), "[masked]");
    assert_string_equal(member(json_object_get(sample, "context"), "component"), "Books");
    assert_int_equal(api_get(&admin, path), 200);
    (void)snprintf(group, sizeof group, "/api/errors/%s", api_text(&admin, "error.id"));
    assert_int_equal(api_get(&admin, group), 200);
    assert_int_equal(api_int(&admin, "error.count"), 1);
    assert_int_equal(json_array_size(api_at(&admin, "samples")), 1);
    assert_int_equal(api_send(&admin, "PATCH", group, json_pack("{s:s}", "state", "resolved")),
                     200);
    assert_string_equal(api_text(&admin, "error.state"), "resolved");
    report("{\"message\":\"x is undefined\",\"name\":\"TypeError\",\"stack\":\"at f "
           "(a-Zz9_yY38.js:3:4)\","
           "\"release\":\"two\"}");
    (void)sample_of("two");
    assert_int_equal(api_get(&admin, group), 200);
    assert_string_equal(api_text(&admin, "error.state"), "open");
    assert_int_equal(api_int(&admin, "error.count"), 2);
    assert_int_equal(api_send(&admin, "PATCH", group, json_pack("{s:s}", "state", "gone")), 400);
}

/* sendBeacon() of a text; no session, a bad one, and one of another site are as good as none. */
static void beacons_are_taken(void **state)
{
    static const char *const headers[] = {
        "Content-Type: text/plain;charset=UTF-8",
        "Authorization: Bearer a.b.c",
        "X-API-Key: avk_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "Cookie: avanta_session=a.b.c\nSec-Fetch-Site: cross-site",
    };
    char token[sizeof page.token];

    (void)state;
    (void)snprintf(token, sizeof token, "%s", page.token);
    page.token[0] = '\0';
    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        char body[128];
        char release[16];
        const json_t *sample = NULL;

        (void)snprintf(release, sizeof release, "beacon-%zu", i);
        (void)snprintf(body, sizeof body, "{\"error\":\"a beacon\",\"release\":\"%s\"}", release);
        page.header = headers[i];
        report(body);
        page.header = NULL;
        sample = sample_of(release);
        assert_string_equal(member(sample, "userId"), "");
        assert_string_equal(member(sample, "message"), "a beacon");
    }
    page.header = headers[0]; /* nowhere else */
    assert_int_equal(api_call(&page, "POST", "/api/auth/login", "{}", 2), 415);
    page.header = NULL;
    (void)snprintf(page.token, sizeof page.token, "%s", token);
}

static void what_says_nothing_is_refused(void **state)
{
    static const struct {
        const char *body;
        long status;
    } rows[] = {
        {"{}",                                                                                       400},
        {"{\"message\":\"\""
         "}",                                                                               400},
        {"{\"message\":null"
         "}",                                                                               400},
        {"{\"error\":{\"name\":\"E\"}"
         "}",                                                                               400},
        {"{\"message\""
         ":",                                                                               400},
        {"[1]",                                                                                      400},
        {"{\"message\":\"x\",\"stack\":7,\"context\":\"y\",\"url\":[],\"name\":{},\"timestamp\":1}",
         200                                                                                            },
        {"{\"message\":{\"a\":1}"
         "}",                                                                               200},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        long status = api_call(&page, "POST", "/api/errors", rows[i].body, strlen(rows[i].body));

        if (status != rows[i].status) {
            fail_msg("%s: %ld", rows[i].body, status);
        }
    }
}

/* Long texts are cut, not refused. */
static void long_texts_are_cut(void **state)
{
    static char text[LONG_BYTES + 1];
    json_t *body = NULL;
    const json_t *sample = NULL;

    (void)state;
    memset(text, 'x', LONG_BYTES);
    for (size_t i = 0; i < LONG_BYTES; i += 50) {
        text[i] = i % 100 == 0 ? '\n' : ' ';
    }
    body = json_pack("{s:s,s:s,s:{s:s},s:s}",
                     "message",
                     text,
                     "stack",
                     text,
                     "context",
                     "a",
                     "b",
                     "release",
                     "long");
    assert_int_equal(api_send(&page, "POST", "/api/errors", body), 200);
    sample = sample_of("long");
    assert_in_range(strlen(member(sample, "message")), 1900, 2000);
    assert_in_range(strlen(member(sample, "stack")), 16000, 16384);
    memset(text, 'x', LONG_BYTES);
    body = json_pack("{s:s,s:s,s:{s:s},s:s}",
                     "message",
                     "m",
                     "name",
                     text,
                     "context",
                     "a",
                     text,
                     "release",
                     "longer");
    assert_int_equal(api_send(&page, "POST", "/api/errors", body), 200);
    sample = sample_of("longer");
    assert_in_range(strlen(member(sample, "name")), 100, 128);
    assert_true(json_is_object(json_object_get(sample, "context")));
    memset(text, '[', LONG_BYTES);
    assert_int_equal(api_call(&page, "POST", "/api/errors", text, LONG_BYTES), 400); /* too deep */
}

/* --- hostile texts --- */

static void strings_report(struct str json, size_t *counted)
{
    json_t *strings = json_loadb(json.ptr, json.len, 0, NULL);
    size_t i = 0;
    json_t *text = NULL;

    assert_non_null(strings);
    json_array_foreach(strings, i, text)
    {
        json_t *body = json_pack("{s:O,s:O,s:O,s:{s:O},s:O,s:O}",
                                 "message",
                                 text,
                                 "stack",
                                 text,
                                 "name",
                                 text,
                                 "context",
                                 "text",
                                 text,
                                 "url",
                                 text,
                                 "source",
                                 text);

        assert_non_null(body);
        api_send(&page, "POST", "/api/errors", body);
        if (page.status != 200 && page.status != 400) {
            fail_msg("'%s': %ld", json_string_value(text), page.status);
        }
        *counted += page.status == 200 ? 1 : 0;
    }
    json_decref(strings);
}

struct payloads {
    struct arena *arena;
    const char *folder;
    size_t counted;
};

static void payload_report(void *ctx, const char *name)
{
    struct payloads *p = ctx;
    struct arena_mark mark = arena_mark(p->arena);
    struct str rest = suite_file(p->arena, p->folder, name);
    struct str line = STR_EMPTY;

    for (int lines = 0; lines < 200 && str_split(&rest, '\n', &line);) {
        json_t *text = json_stringn(line.ptr, line.len); /* NULL: no UTF-8 */

        if (text == NULL || line.len == 0) {
            json_decref(text);
            continue;
        }
        lines++;
        api_send(
            &page, "POST", "/api/errors", json_pack("{s:O,s:o}", "message", text, "stack", text));
        assert_true(page.status == 200 || page.status == 400);
        p->counted += page.status == 200 ? 1 : 0;
    }
    arena_rewind(p->arena, mark);
}

/* All of it is written and shown: nothing sticks in the database's throat, nothing breaks the
 * document. */
static void hostile_texts_are_kept(void **state)
{
    static const char *const folders[] = {"payloads/control-chars",
                                          "payloads/format-strings",
                                          "payloads/sql-injection/detect",
                                          "payloads/unicode",
                                          "payloads/xss",
                                          "payloads/path-traversal"};
    struct arena *arena = arena_open(pool, (size_t)16 * 1024 * 1024);
    struct payloads payloads = {.arena = arena};
    const uint64_t end = clock_mono_ms() + SOON_MS;
    int64_t before = 0;
    int64_t now = 0;

    (void)state;
    assert_non_null(arena);
    assert_int_equal(api_get(&admin, "/api/errors/stats"), 200);
    before = api_int(&admin, "stats.totalErrors");
    strings_report(suite_file(arena, "naughty-strings", "blns.json"), &payloads.counted);
    assert_true(payloads.counted > 400);
    for (size_t i = 0; i < ARRAY_LEN(folders); i++) {
        payloads.folder = folders[i];
        (void)suite_each(folders[i], payload_report, &payloads);
    }
    do {
        assert_int_equal(api_get(&admin, "/api/errors/stats"), 200);
        now = api_int(&admin, "stats.totalErrors") + api_int(&admin, "stats.dropped");
    } while (now < before + (int64_t)payloads.counted && clock_mono_ms() < end);
    assert_true(now >= before + (int64_t)payloads.counted);
    for (int offset = 0; offset < 2000; offset += 200) {
        char path[64];

        (void)snprintf(path, sizeof path, "/api/errors?limit=200&offset=%d", offset);
        assert_int_equal(api_get(&admin, path), 200);
        (void)snprintf(path, sizeof path, "/api/monitoring/logs?limit=200&offset=%d", offset);
        assert_int_equal(api_get(&admin, path), 200);
    }
    arena_dispose(&arena);
}

/* --- programs --- */

static void what_the_gateway_cannot_answer_is_there(void **state)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;
    bool found = false;

    (void)state;
    assert_int_equal(kill(stack_pid("ledger"), SIGKILL), 0);
    assert_int_equal(api_get(&page, "/api/accounts"), 503);
    while (!found && clock_mono_ms() < end) {
        size_t i = 0;
        const json_t *group = NULL;

        assert_int_equal(api_get(&admin, "/api/errors?source=server&service=gateway"), 200);
        json_array_foreach(api_at(&admin, "errors"), i, group)
        {
            found = found ||
                    (strcmp(member(group, "name"), "request") == 0 &&
                     strstr(member(group, "message"), "route=/api/accounts status=503") != NULL);
        }
        (void)usleep(PAUSE_US);
    }
    assert_true(found);
    assert_int_equal(api_get(&admin, "/api/monitoring/logs?category=gateway&level=error"), 200);
    assert_string_equal(api_text(&admin, "logs.0.level"), "error");
    assert_int_equal(api_get(&admin, "/api/monitoring/logs?level=info"), 200);
    assert_int_equal(api_int(&admin, "pagination.total"), 0);
    stack_up();
}

/* --- who sees it, and how much is taken --- */

static void nobody_else_sees_it(void **state)
{
    static const char *const paths[] = {"/api/errors",
                                        "/api/errors/recent",
                                        "/api/errors/stats",
                                        "/api/errors/x",
                                        "/api/monitoring/logs"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        char token[sizeof page.token];

        api_get(&page, paths[i]);
        people_expect(&page, 403, "FORBIDDEN");
        (void)snprintf(token, sizeof token, "%s", page.token);
        page.token[0] = '\0';
        api_forget_cookies(&page);
        api_get(&page, paths[i]);
        people_expect(&page, 401, "AUTH_REQUIRED");
        (void)snprintf(page.token, sizeof page.token, "%s", token);
    }
    api_send(&page, "PATCH", "/api/errors/x", json_pack("{s:s}", "state", "resolved"));
    people_expect(&page, 403, "FORBIDDEN");
    assert_int_equal(api_get(&admin, "/api/errors/x"), 404);
    assert_int_equal(api_get(&admin, "/api/errors?state=open&limit=1"), 200);
    assert_int_equal(json_array_size(api_at(&admin, "errors")), 1);
    assert_true(api_int(&admin, "total") > 1);
}

/* The last of all: the address is known as one that goes too fast then. */
static void a_flood_is_told_to_wait(void **state)
{
    int sent = 0;

    (void)state;
    do {
        api_call(&page, "POST", "/api/errors", "{\"message\":\"flood\"}", 19);
        sent++;
    } while (page.status == 200 && sent < 3 * ADDRESS_RATE);
    people_expect(&page, 429, "RATE_LIMIT_EXCEEDED");
    assert_non_null(strstr(page.headers, "etry-"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_reports_and_an_administrator_sees_it),
        cmocka_unit_test(beacons_are_taken),
        cmocka_unit_test(what_says_nothing_is_refused),
        cmocka_unit_test(long_texts_are_cut),
        cmocka_unit_test(hostile_texts_are_kept),
        cmocka_unit_test(what_the_gateway_cannot_answer_is_there),
        cmocka_unit_test(nobody_else_sees_it),
        cmocka_unit_test(a_flood_is_told_to_wait),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
