/* tidy: allow lines here: one writer, all that it may be asked to write */
#include "tests/support/check.h"
#include "tests/support/suites.h"

#include "libcommon/codec/http_write.h"

#include <stdlib.h>
#include <string.h>

#define WALL_MS 784111777999 /* Sun, 06 Nov 1994 08:49:37 GMT */

static struct arena_pool *pool;
static struct arena *arena;
static char memory[65536];

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 64);
    return pool == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_pool_close(&pool);
    return 0;
}

static int arena_begin(void **state)
{
    (void)state;
    arena = arena_open(pool, (size_t)512 * 1024);
    return arena == NULL;
}

static int arena_end(void **state)
{
    (void)state;
    arena_dispose(&arena);
    return 0;
}

static void row_holds(size_t row, bool holds)
{
    if (!holds) {
        fail_msg("row %zu", row);
    }
}

static enum code write_head(const struct http_response *r, struct str *out, struct err *err)
{
    size_t cap = http_head_bytes(r);
    struct buf b = buf_over(memory, cap < sizeof(memory) ? cap : sizeof(memory));
    enum code code = http_write_head(r, WALL_MS, &b, err);

    *out = buf_view(&b);
    return code;
}

/* The value of a field in a head; NULL view when there is none, failure when there are two. */
static struct str field_of(struct str head, struct str name)
{
    struct str rest = head;
    struct str line = STR_EMPTY;
    struct str value = {NULL, 0};

    while (str_split(&rest, '\n', &line)) {
        size_t colon = 0;

        if (str_find_char(line, ':', &colon) && str_eq_nocase(str_sub(line, 0, colon), name)) {
            assert_null(value.ptr);
            value = str_trim(str_sub(line, colon + 1, line.len));
        }
    }
    return value;
}

/* --- exact bytes --------------------------------------------------------------------- */

static void exact_bytes(void **state)
{
    struct http_response r = {
        .status = 201, .content_type = STR("application/json"), .body = STR("{}")};
    struct str head = STR_EMPTY;
    size_t at = 0;

    (void)state;
    r.close = true;
    http_response_add(&r, "Location", STR("/x/1"));
    http_response_add(&r, "Set-Cookie", STR("a=1"));
    http_response_add(&r, "Set-Cookie", STR("b=2"));
    http_response_add(&r, "X-Empty", STR(""));
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_true(str_starts(head,
                           STR("HTTP/1.1 201 Created\r\n"
                               "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
                               "Content-Type: application/json\r\n"
                               "Content-Length: 2\r\n"
                               "Strict-Transport-Security: ")));
    assert_true(
        str_ends(head,
                 STR("\r\nLocation: /x/1\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Empty: \r\n"
                     "Connection: close\r\n\r\n")));
    /* Nothing but lines that end in CRLF, and one empty line, at the end. */
    assert_true(str_find(head, STR("\r\n\r\n"), &at));
    assert_int_equal(at + 4, head.len);
    for (size_t i = 0; i < head.len; i++) {
        assert_true(head.ptr[i] != '\n' || head.ptr[i - 1] == '\r');
        assert_true(head.ptr[i] != '\r' || head.ptr[i + 1] == '\n');
    }
}

static void dates(void **state)
{
    static const struct {
        uint64_t wall_ms;
        const char *text;
    } cases[] = {
        {0,             "Thu, 01 Jan 1970 00:00:00 GMT"},
        {951782400000,  "Tue, 29 Feb 2000 00:00:00 GMT"},
        {1767225599999, "Wed, 31 Dec 2025 23:59:59 GMT"},
        {1767225600000, "Thu, 01 Jan 2026 00:00:00 GMT"},
        {1767225600000, "Thu, 01 Jan 2026 00:00:00 GMT"},
        {4102444800000, "Fri, 01 Jan 2100 00:00:00 GMT"},
    };
    const struct http_response r = {.status = 200};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct buf b = buf_over(memory, sizeof(memory));

        assert_int_equal(http_write_head(&r, cases[i].wall_ms, &b, NULL), OK);
        row_holds(i, str_eq(field_of(buf_view(&b), STR("Date")), str_from(cases[i].text)));
    }
}

static void statuses_without_a_body(void **state)
{
    struct http_response r = {.status = 204};
    struct str head = STR_EMPTY;

    (void)state;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_null(field_of(head, STR("Content-Length")).ptr);
    assert_null(field_of(head, STR("Content-Type")).ptr);
    r.status = 304;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_null(field_of(head, STR("Content-Length")).ptr);
    r.status = 200;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_true(str_eq(field_of(head, STR("Content-Length")), STR("0")));
    r.head_only = true;
    r.body = STR("four");
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_true(str_eq(field_of(head, STR("Content-Length")), STR("4")));
}

static void status_texts(void **state)
{
    (void)state;
    /* Every status that an error code can have has a phrase. */
    for (int code = OK; code < CODE_COUNT; code++) {
        assert_string_not_equal(http_status_text((uint16_t)code_http((enum code)code)), "Unknown");
    }
    assert_string_equal(http_status_text(404), "Not Found");
    assert_string_equal(http_status_text(299), "Unknown");
}

/* --- what is refused ------------------------------------------------------------------- */

static void refuses_splitting(void **state)
{
    static const struct {
        const char *name;
        struct str value;
    } cases[] = {
        {"X",                 {"a\r\nSet-Cookie: b", 16}},
        {"X",                 {"a\nb", 3}               },
        {"X",                 {"a\rb", 3}               },
        {"X",                 {"a\0b", 3}               },
        {"X",                 {"a\x7f", 2}              },
        {"X: y\r\nZ",         {"a", 1}                  },
        {"X Y",               {"a", 1}                  },
        {"",                  {"a", 1}                  },
        {"Content-Length",    {"1", 1}                  },
        {"content-length",    {"1", 1}                  },
        {"Transfer-Encoding", {"chunked", 7}            },
    };
    struct str head = STR_EMPTY;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_response r = {.status = 200};
        struct err err = {.code = OK};

        http_response_add(&r, "X-Good", STR("tab\tand caf\xc3\xa9"));
        assert_int_equal(write_head(&r, &head, NULL), OK);
        http_response_add(&r, cases[i].name, cases[i].value);
        row_holds(i, write_head(&r, &head, &err) == ERR_INTERNAL);
        row_holds(i, err.text[0] != '\0');
    }
}

static void refuses_wrong_answers(void **state)
{
    struct http_response r = {.status = 200, .content_type = STR("text/html\r\nX: y")};
    struct buf b = buf_over(memory, 100);
    struct str head = STR_EMPTY;

    (void)state;
    assert_int_equal(write_head(&r, &head, NULL), ERR_INTERNAL);
    r.content_type = STR_EMPTY;
    r.status = 0;
    assert_int_equal(write_head(&r, &head, NULL), ERR_INTERNAL);
    r.status = 199;
    assert_int_equal(write_head(&r, &head, NULL), ERR_INTERNAL);
    r.status = 600;
    assert_int_equal(write_head(&r, &head, NULL), ERR_INTERNAL);
    r.status = 204;
    r.body = STR("x");
    assert_int_equal(write_head(&r, &head, NULL), ERR_INTERNAL);
    r.status = 200;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_int_equal(http_write_head(&r, WALL_MS, &b, NULL), ERR_INTERNAL); /* no room */
}

/* The bound is one: the head with as many and as long fields as can be still fits. */
static void head_bytes_is_a_bound(void **state)
{
    struct http_response r = {
        .status = 431, .content_type = STR("application/problem+json"), .close = true};
    struct str head = STR_EMPTY;

    (void)state;
    for (int i = 0; i < HTTP_RESPONSE_HEADERS_MAX; i++) {
        http_response_add(&r, "X-Some-Name", (struct str){"0123456789", (size_t)i % 10});
    }
    r.body.ptr = memory;
    r.body.len = SIZE_MAX;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_true(head.len <= http_head_bytes(&r));
}

/* --- security headers -------------------------------------------------------------------- */

static void given_header_replaces_the_default(void **state)
{
    struct http_response r = {.status = 200};
    struct str head = STR_EMPTY;

    (void)state;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    assert_true(str_eq(field_of(head, STR("Cache-Control")), STR("no-store, max-age=0")));
    http_response_add(&r, "cache-control", STR("private, max-age=60"));
    http_response_add(&r, "Content-Security-Policy", STR("default-src 'self'"));
    assert_int_equal(write_head(&r, &head, NULL), OK);
    /* field_of() fails on a second one */
    assert_true(str_eq(field_of(head, STR("Cache-Control")), STR("private, max-age=60")));
    assert_true(str_eq(field_of(head, STR("Content-Security-Policy")), STR("default-src 'self'")));
    assert_true(str_eq(field_of(head, STR("X-Content-Type-Options")), STR("nosniff")));
}

/* The next JSON string of the text; these files hold no escapes but \". */
static bool json_string_next(struct str *rest, struct str *out)
{
    size_t from = 0;
    size_t to = 0;

    if (!str_find_char(*rest, '"', &from)) {
        return false;
    }
    to = from + 1;
    while (to < rest->len && rest->ptr[to] != '"') {
        to += rest->ptr[to] == '\\' ? 2 : 1;
    }
    *out = str_sub(*rest, from + 1, to);
    *rest = str_sub(*rest, to + 1, rest->len);
    return true;
}

static bool has(struct str text, const char *part)
{
    size_t at = 0;

    return str_find(text, str_from(part), &at);
}

/* Every feature that the list closes is closed. */
static bool permissions_closed(struct str ours, struct str wanted)
{
    struct str part = STR_EMPTY;

    while (str_split(&wanted, ',', &part)) {
        size_t equals = 0;
        const char *closed = NULL;

        part = str_trim(part);
        assert_true(str_find_char(part, '=', &equals));
        closed = arena_printf(arena, "%.*s=()", (int)equals, part.ptr);
        if (!has(ours, closed)) {
            return false;
        }
    }
    return true;
}

/* As strict as the recommendation or stricter, for answers that are data. */
static bool acceptable(struct str name, struct str ours, struct str wanted)
{
    if (str_eq(name, STR("Content-Security-Policy"))) {
        return has(ours, "default-src 'none'") && has(ours, "frame-ancestors 'none'") &&
               !has(ours, "unsafe");
    }
    if (str_eq(name, STR("Permissions-Policy"))) {
        return permissions_closed(ours, wanted);
    }
    return str_eq_nocase(ours, wanted);
}

static void recommended(struct str head, struct str name, struct str value)
{
    struct str ours = field_of(head, name);

    /* It would end the session with every answer; it belongs to the answer of a logout. */
    if (str_eq(name, STR("Clear-Site-Data"))) {
        assert_null(ours.ptr);
    } else if (ours.ptr == NULL || !acceptable(name, ours, value)) {
        fail_msg("%.*s: '%.*s'", STR_FMT(name), STR_FMT(ours));
    }
}

static void adds_what_owasp_adds(void **state)
{
    struct str rest = suite_file(arena, "owasp-headers", "headers_add.json");
    const struct http_response r = {.status = 200, .body = STR("{}")};
    struct str head = STR_EMPTY;
    struct str text = STR_EMPTY;
    struct str name = STR_EMPTY;
    size_t count = 0;

    (void)state;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    while (json_string_next(&rest, &text)) {
        if (str_eq(text, STR("name"))) {
            assert_true(json_string_next(&rest, &name));
        } else if (str_eq(text, STR("value"))) {
            assert_true(json_string_next(&rest, &text));
            recommended(head, name, text);
            count++;
        }
    }
    assert_true(count >= 12);
}

static void leaves_out_what_owasp_removes(void **state)
{
    struct str rest = suite_file(arena, "owasp-headers", "headers_remove.json");
    const struct http_response r = {.status = 200, .body = STR("{}")};
    struct str head = STR_EMPTY;
    struct str name = STR_EMPTY;
    size_t count = 0;

    (void)state;
    assert_int_equal(write_head(&r, &head, NULL), OK);
    while (json_string_next(&rest, &name)) {
        assert_null(field_of(head, name).ptr);
        count++;
    }
    assert_true(count >= 60);
}

/* --- problem documents --------------------------------------------------------------------- */

static void problem_exact(void **state)
{
    const struct problem p = {
        .code = ERR_NOT_FOUND,
        .instance = STR("/api/x\"y"),
        .request_id = STR("abc"),
    };
    struct http_response r;

    (void)state;
    assert_int_equal(problem_write(&p, arena, &r), OK);
    assert_int_equal(r.status, 404);
    assert_int_equal(r.header_count, 0);
    assert_true(str_eq(r.content_type, STR("application/problem+json")));
    assert_true(str_eq(
        r.body,
        STR("{\"type\":\"urn:avanta:problem:NOT_FOUND\",\"title\":\"The resource was not found\","
            "\"status\":404,\"detail\":\"The resource was not found\",\"instance\":\"/api/x\\\"y\","
            "\"error\":\"The resource was not found\",\"message\":\"The resource was not found\","
            "\"code\":\"NOT_FOUND\",\"category\":\"client\",\"request_id\":\"abc\","
            "\"retryable\":false,\"errors\":[]}")));
}

static void problem_with_violations(void **state)
{
    static struct violations v;
    struct problem p = {
        .code = ERR_INVALID,
        .wire = "CONFIRMATION_REQUIRED",
        .detail = "Say it again",
        .instance = STR("/"),
        .retry_after_s = 7,
        .violations = &v,
    };
    struct http_response r;

    (void)state;
    violations_init(&v, arena);
    for (int i = 0; i < VIOLATIONS_MAX + 3; i++) {
        violations_add(&v, "lines[2].amount", "min", "must be at least %d", i);
    }
    assert_int_equal(problem_write(&p, arena, &r), OK);
    assert_true(has(r.body, "\"code\":\"CONFIRMATION_REQUIRED\""));
    assert_true(has(r.body, "\"detail\":\"Say it again\""));
    assert_true(has(r.body, "\"message\":\"Say it again\""));
    assert_true(has(r.body, "\"request_id\":null"));
    assert_true(has(r.body,
                    "\"errors\":[{\"field\":\"lines[2].amount\",\"code\":\"min\","
                    "\"message\":\"must be at least 0\"},"));
    assert_true(has(r.body, "must be at least 99\"}],\"errors_omitted\":3}"));
    assert_int_equal(r.header_count, 1);
    assert_true(str_eq(r.headers[0].name, STR("Retry-After")));
    assert_true(str_eq(r.headers[0].value, STR("7")));
}

static void problem_of_a_write_that_may_be_done(void **state)
{
    struct problem p = {.code = ERR_TIMEOUT, .instance = STR("/"), .retry_after_s = 1};
    struct http_response r;

    (void)state;
    assert_int_equal(problem_write(&p, arena, &r), OK);
    assert_true(has(r.body, "\"retryable\":true"));
    assert_int_equal(r.header_count, 1);
    p.once = true;
    assert_int_equal(problem_write(&p, arena, &r), OK);
    assert_int_equal(r.status, 504);
    assert_true(has(r.body, "\"retryable\":false"));
    assert_int_equal(r.header_count, 0);
}

static struct str problem_body(const struct problem *p)
{
    struct http_response r;

    assert_int_equal(problem_write(p, arena, &r), OK);
    return r.body;
}

static void problem_detail_names_the_first_field(void **state)
{
    static struct violations v;
    struct problem p = {.code = ERR_INVALID, .instance = STR("/"), .violations = &v};

    (void)state;
    violations_init(&v, arena);
    assert_true(has(problem_body(&p), "\"detail\":\"The request is not valid\""));
    violations_add(&v, "", "type", "the body must be a JSON object");
    assert_true(has(problem_body(&p), "\"detail\":\"the body must be a JSON object\""));
    violations_init(&v, arena);
    violations_add(&v, "lines[2].amount", "required", "is required");
    violations_add(&v, "date", "required", "is required");
    assert_true(has(problem_body(&p), "\"detail\":\"lines[2].amount: is required\""));
    assert_true(has(problem_body(&p), "\"error\":\"lines[2].amount: is required\""));
}

static void problem_title_belongs_to_its_word(void **state)
{
    const struct problem p = {
        .code = ERR_REFERENCE, .title = "This key was used", .instance = STR("/")};

    (void)state;
    assert_true(has(problem_body(&p), "\"title\":\"This key was used\""));
    assert_true(has(problem_body(&p), "\"detail\":\"This key was used\""));
}

static void problem_without_memory(void **state)
{
    struct arena *tiny = arena_open(pool, 64);
    const struct problem p = {.code = ERR_NOT_FOUND, .instance = STR("/"), .request_id = STR("")};
    struct http_response r;

    (void)state;
    assert_int_equal(problem_write(&p, tiny, &r), ERR_TOO_LARGE);
    arena_dispose(&tiny);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, arena_begin, arena_end)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(exact_bytes),
        TEST(dates),
        TEST(statuses_without_a_body),
        TEST(status_texts),
        TEST(refuses_splitting),
        TEST(refuses_wrong_answers),
        TEST(head_bytes_is_a_bound),
        TEST(given_header_replaces_the_default),
        TEST(adds_what_owasp_adds),
        TEST(leaves_out_what_owasp_removes),
        TEST(problem_exact),
        TEST(problem_with_violations),
        TEST(problem_of_a_write_that_may_be_done),
        TEST(problem_detail_names_the_first_field),
        TEST(problem_title_belongs_to_its_word),
        TEST(problem_without_memory),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
