/* Clients that mean no good: slow, oversized, ambiguous, vanishing, and hostile texts. Each is
 * refused as documented, nothing of it is stored, the gateway stays well and no connection is left
 * behind. */
#include "tests/support/api.h"
#include "tests/support/raw_http.h"
#include "tests/support/stack.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEADER_MS  800
#define TEXT_BYTES ((size_t)2 * 1024 * 1024)
#define SOON_MS    10000
#define DROPPED    100
#define PIPELINED  12
#define STALLED    8

static struct api api;
static char port[16];
static char request[TEXT_BYTES];
static int64_t idle_connections;

static int64_t rows(void)
{
    int64_t count = 0;

    assert_int_equal(api_get(&api, "/api/transactions?include_stats=true&include_deleted=true"),
                     200);
    count = api_int(&api, "statistics.total_transactions");
    assert_int_equal(api_get(&api, "/api/accounts"), 200);
    count += (int64_t)json_array_size(api.body);
    assert_int_equal(api_get(&api, "/api/categories"), 200);
    return count + (int64_t)json_array_size(api.body);
}

static int64_t connections(void)
{
    return stack_metric("gateway", "avanta_http_connections_open");
}

static int setup(void **state)
{
    stack_gateway_settings(
        "AVANTA_HTTP_HEADER_MS=800 AVANTA_HTTP_BODY_MS=800 AVANTA_HTTP_WRITE_MS=800");
    if (stack_setup(state) != 0) {
        return 1;
    }
    (void)snprintf(port, sizeof port, "%s", stack_value("HTTP_PORT"));
    api_open(&api, stack_url());
    api_register(&api, "hostile");
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    return stack_teardown(state);
}

/* Around each test. */
static int before(void **state)
{
    static int64_t count;

    count = rows();
    idle_connections = connections();
    *state = &count;
    return 0;
}

static int after(void **state)
{
    const int64_t *count = *state;
    char text[1024];

    for (int i = 0; i < 500 && connections() > idle_connections; i++) {
        (void)usleep(20000);
    }
    assert_int_equal(connections(), idle_connections);
    assert_int_equal(rows(), *count);
    assert_int_equal(api_get(&api, "/api/health"), 200);
    assert_int_equal(stack_admin_get("gateway", "/livez", text, sizeof text), 200);
    return 0;
}

/* --- what is sent --- */

/* In the texts of requests `~` stands for the header lines of a caller who may write. */
static struct str filled(const char *text, size_t length)
{
    struct buf b = buf_over(request, sizeof request);

    for (size_t i = 0; i < length; i++) {
        if (text[i] == '~') {
            buf_printf(
                &b, "Authorization: Bearer %s\r\nContent-Type: application/json\r\n", api.token);
        } else {
            buf_char(&b, text[i]);
        }
    }
    assert_false(b.overflow);
    return buf_view(&b);
}

static void expect_refusal(size_t row, struct raw *raw, long status)
{
    char why[SCHEMA_WHY_BYTES];
    size_t at = 0;
    long got = raw_answer(raw, SOON_MS);

    if (got != status) {
        fail_msg("row %zu: %ld instead of %ld: %.*s", row, got, status, STR_FMT(raw->body));
    }
    assert_row(row, strncmp(raw->media, "application/problem+json", 24) == 0);
    if (!api_problem_documented(status, raw->body, why)) {
        fail_msg("row %zu: %s", row, why);
    }
    assert_row(row, !str_find(raw->body, STR("\"request_id\":null"), &at));
}

/* One answer, and then the end: nothing that follows on the connection is taken for a request. */
static void expect_refusal_and_end(size_t row, struct str bytes, long status)
{
    struct raw raw;

    raw_open(&raw, port);
    (void)raw_send(&raw, bytes); /* the server may end it before all is sent */
    expect_refusal(row, &raw, status);
    assert_row(row, raw_ended(&raw, SOON_MS));
    raw_close(&raw);
}

/* --- ambiguous requests --- */

#define DRAFT                                                                                \
    "{\"date\":\"2025-02-03\",\"description\":\"smuggled\",\"amount\":1,\"type\":\"gasto\"," \
    "\"category\":\"personal\"}"
/* What a second reader of the same bytes might take for a request. */
#define SMUGGLED "POST /api/transactions HTTP/1.1\r\nHost: a\r\n~Content-Length: 94\r\n\r\n" DRAFT
_Static_assert(sizeof DRAFT - 1 == 94, "the smuggled request must be a good one");

#define POST_HEAD "POST /api/transactions HTTP/1.1\r\nHost: a\r\n~"
#define GET_HEAD  "GET /api/health HTTP/1.1\r\nHost: a\r\n"
#define ROW(status, text)              \
    {                                  \
        status, text, sizeof(text) - 1 \
    }

static const struct {
    long status;
    const char *text;
    size_t length;
} ambiguous[] = {
    /* two lengths */
    ROW(400, POST_HEAD "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: 0\r\nContent-Length: 5\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: 5\r\nContent-Length: 5\r\n\r\n{}   " SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: 0, 5\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: +0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: 0x0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: -1\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length:\r\n\r\n" SMUGGLED),
    /* codings that others may read otherwise */
    ROW(501,
        POST_HEAD
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(501, POST_HEAD "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(501, POST_HEAD "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    ROW(400,
        "POST /api/transactions HTTP/1.0\r\nHost: a\r\n~Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" SMUGGLED),
    /* lines */
    ROW(400, POST_HEAD "X-Fold: a\r\n Content-Length: 5\r\nContent-Length: 0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Content-Length: \r\n 0\r\n\r\n" SMUGGLED),
    ROW(400, "POST /api/transactions HTTP/1.1\nHost: a\nContent-Length: 0\n\n" SMUGGLED),
    ROW(400, GET_HEAD "X: a\nContent-Length: 5\r\n\r\n" SMUGGLED),
    ROW(400, GET_HEAD "X: a\rContent-Length: 5\r\n\r\n" SMUGGLED),
    ROW(400, GET_HEAD "X: a\0b\r\n\r\n" SMUGGLED),
    ROW(400, GET_HEAD "X\0: a\r\n\r\n" SMUGGLED),
    ROW(400, GET_HEAD ": a\r\n\r\n" SMUGGLED),
    ROW(400, GET_HEAD "no colon\r\n\r\n" SMUGGLED),
    ROW(400, " GET /api/health HTTP/1.1\r\nHost: a\r\n\r\n"),
    ROW(400, "GET  /api/health HTTP/1.1\r\nHost: a\r\n\r\n"),
    /* where to */
    ROW(400, "GET /api/health\0/x HTTP/1.1\r\nHost: a\r\n\r\n" SMUGGLED),
    ROW(400, "GET http://b/api/health HTTP/1.1\r\nHost: a\r\n\r\n" SMUGGLED),
    ROW(400, "GET ftp://a/api/health HTTP/1.1\r\nHost: a\r\n\r\n" SMUGGLED),
    ROW(400, "GET api/health HTTP/1.1\r\nHost: a\r\n\r\n" SMUGGLED),
    ROW(400, "GET /api/health HTTP/1.1\r\n\r\n" SMUGGLED),
    ROW(400, "GET /api/health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n" SMUGGLED),
    ROW(400, "GET /api/health HTTP/1.1\r\nHost: a@b\r\n\r\n" SMUGGLED),
    ROW(505, "GET /api/health HTTP/2.0\r\nHost: a\r\n\r\n" SMUGGLED),
    ROW(505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ROW(501, "BREW /api/health HTTP/1.1\r\nHost: a\r\n\r\n" SMUGGLED),
    /* chunks */
    ROW(400, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\n{}x\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n" SMUGGLED),
    ROW(400, POST_HEAD "Transfer-Encoding: chunked\r\n\r\n \r\n{}\r\n0\r\n\r\n" SMUGGLED),
    ROW(413, POST_HEAD "Transfer-Encoding: chunked\r\n\r\nffffffff\r\n{}\r\n0\r\n\r\n" SMUGGLED),
    ROW(400,
        POST_HEAD
        "Transfer-Encoding: chunked\r\n\r\n10000000000000002\r\n{}\r\n0\r\n\r\n" SMUGGLED),
};

static void ambiguous_requests_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof ambiguous / sizeof ambiguous[0]; i++) {
        expect_refusal_and_end(
            i, filled(ambiguous[i].text, ambiguous[i].length), ambiguous[i].status);
    }
}

/* --- requests that say what they are not --- */

/* The body is a good one, were it read as it stands. */
static void misdeclared_requests_are_refused(void **state)
{
    static const struct {
        long status;
        const char *field;
    } rows[] = {
        {415, "Content-Encoding: gzip"             },
        {415, "Content-Encoding: identity, deflate"},
        {400, "Idempotency-Key: \""                },
        {400, "Idempotency-Key: \"\""              },
        {400, "Idempotency-Key: \"a"               },
        {400, "Idempotency-Key: a, b"              },
        {400, "Idempotency-Key:"                   },
    };
    char text[1024];
    struct raw raw;

    (void)state;
    raw_open(&raw, port);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int length = snprintf(
            text, sizeof text, POST_HEAD "%s\r\nContent-Length: 94\r\n\r\n" DRAFT, rows[i].field);

        assert_true(raw_send(&raw, filled(text, (size_t)length)));
        expect_refusal(i, &raw, rows[i].status);
    }
    raw_close(&raw);
}

/* --- too much of everything --- */

static struct str repeated(const char *before, const char *unit, size_t count, const char *rest)
{
    struct str head = filled(before, strlen(before));
    struct buf b = buf_over(request, sizeof request);

    b.len = head.len;
    for (size_t i = 0; i < count; i++) {
        buf_text(&b, unit);
    }
    buf_text(&b, rest);
    assert_false(b.overflow);
    return buf_view(&b);
}

static void oversized_requests_are_refused(void **state)
{
    static const struct {
        long status;
        const char *before;
        const char *unit;
        size_t count;
        const char *after;
    } big[] = {
        {431, GET_HEAD "X: ",                                            "x",        HTTP_HEADER_BYTES_MAX,              "\r\n\r\n"                    },
        {431, GET_HEAD,                                                  "X: y\r\n", HTTP_HEADERS_MAX,                   "\r\n"                        },
        {414, "GET /api/health?q=",                                      "x",        HTTP_TARGET_BYTES_MAX,              " HTTP/1.1\r\nHost: a\r\n\r\n"},
        {414, "GET /",                                                   "x",        3 * HTTP_HEADER_BYTES_MAX,          " HTTP/1.1\r\n\r\n"           },
        {413, POST_HEAD "Content-Length: 786433\r\n\r\n",                " ",        100,                                ""                            },
        {413, POST_HEAD "Content-Length: 99999999999999999\r\n\r\n",     " ",        100,                                ""                            },
        {413,
         POST_HEAD "Transfer-Encoding: chunked\r\n\r\n",
         "400\r\n"
         "                                                                                                                                "
         "                                                                                                                                "
         "                                                                                                                                "
         "                                                                                                                                "
         "                                                                                                                                "
         "                                                                                                                                "
         "                                                                                                                                "
         "                                                                                                                                "
         "\r\n",                                                                     800,
         "0\r\n\r\n"                                                                                                                                   },
        {400,
         POST_HEAD "Transfer-Encoding: chunked\r\n\r\n2;",
         "x",                                                                        HTTP_CHUNK_EXTENSION_BYTES_MAX + 1,
         "\r\n{}\r\n0\r\n\r\n"                                                                                                                         },
        {400,
         POST_HEAD "Transfer-Encoding: chunked\r\n\r\n",
         "1;xxxxxxxxxxxxxxxxxxxx\r\n \r\n",                                          100,
         "0\r\n\r\n"                                                                                                                                   },
        {431,
         POST_HEAD "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
         "X: y\r\n",                                                                 HTTP_HEADER_BYTES_MAX / 4,
         "\r\n"                                                                                                                                        },
    };

    (void)state;
    assert_int_equal(HTTP_BODY_BYTES_MAX, 786432);
    for (size_t i = 0; i < sizeof big / sizeof big[0]; i++) {
        expect_refusal_and_end(
            i, repeated(big[i].before, big[i].unit, big[i].count, big[i].after), big[i].status);
    }
}

/* --- too slow --- */

static void slow_headers_and_bodies_time_out(void **state)
{
    static const char *const begun[] = {
        "G",
        "GET /api/health HTTP/1.1\r\nHost: a\r\nX: ",
        POST_HEAD "Content-Length: 94\r\n\r\n{",
        POST_HEAD "Transfer-Encoding: chunked\r\n\r\n5e\r\n{",
    };
    struct raw raws[sizeof begun / sizeof begun[0]];
    const size_t count = sizeof begun / sizeof begun[0];
    int64_t ended =
        stack_metric("gateway", "avanta_http_connections_ended_total{cause=\"timeout\"}");

    (void)state;
    for (size_t i = 0; i < count; i++) {
        raw_open(&raws[i], port);
        assert_true(raw_send(&raws[i], filled(begun[i], strlen(begun[i]))));
    }
    /* A byte now and then does not buy time. */
    for (int k = 0; k < 5; k++) {
        (void)usleep(HEADER_MS * 1000 / 8);
        (void)raw_send(&raws[1], STR("x"));
        (void)raw_send(&raws[2], STR(" "));
    }
    for (size_t i = 0; i < count; i++) {
        expect_refusal(i, &raws[i], 408);
        assert_row(i, raw_ended(&raws[i], SOON_MS));
        raw_close(&raws[i]);
    }
    (void)usleep(100000); /* the counts are published every few milliseconds */
    assert_int_equal(
        stack_metric("gateway", "avanta_http_connections_ended_total{cause=\"timeout\"}"),
        ended + (int64_t)count);
}

/* Asks for much and takes nothing: the connection ends, and others are served meanwhile. */
static void a_reader_that_stops_is_left(void **state)
{
    static const char get[] = "GET /api/openapi.json HTTP/1.1\r\nHost: a\r\n\r\n";
    struct raw raws[STALLED];

    (void)state;
    for (size_t i = 0; i < STALLED; i++) {
        raw_open(&raws[i], port);
        for (int k = 0; k < 100; k++) {
            (void)raw_send(&raws[i], str_from(get));
        }
    }
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    for (int i = 0; i < 500 && connections() > idle_connections; i++) {
        (void)usleep(20000);
    }
    assert_int_equal(connections(), idle_connections); /* though we still hold them open */
    for (size_t i = 0; i < STALLED; i++) {
        raw_close(&raws[i]);
    }
}

/* --- clients that go --- */

static void dropped_in_the_middle_of_a_body(void **state)
{
    static struct raw raws[DROPPED];
    struct str half =
        filled(POST_HEAD "Content-Length: 94\r\n\r\n{\"date\":\"2025-02-03\",",
               strlen(POST_HEAD "Content-Length: 94\r\n\r\n{\"date\":\"2025-02-03\","));

    (void)state;
    for (size_t i = 0; i < DROPPED; i++) {
        raw_open(&raws[i], port);
        assert_true(raw_send(&raws[i], half));
    }
    for (size_t i = 0; i < DROPPED; i++) {
        if (i % 2 == 0) {
            raw_abort(&raws[i]);
        } else {
            raw_close(&raws[i]);
        }
    }
}

/* --- many at once --- */

/* The first needs a slow hash, the next a service, the others nothing: the answers keep the order.
 */
static void pipelined_requests_are_answered_in_order(void **state)
{
    static const char login[] = "{\"email\":\"hostile@example.com\",\"password\":\"wrong\"}";
    struct raw raw;
    char text[4096];
    size_t length = 0;
    const char *instance = NULL;

    (void)state;
    length = (size_t)snprintf(
        text,
        sizeof text,
        "POST /api/auth/login HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n%sGET /api/accounts HTTP/1.1\r\nHost: a\r\n~\r\n",
        strlen(login),
        login);
    for (int i = 0; i < PIPELINED; i++) {
        length += (size_t)snprintf(
            text + length, sizeof text - length, "GET /api/none/%d HTTP/1.1\r\nHost: a\r\n\r\n", i);
    }
    raw_open(&raw, port);
    assert_true(raw_send(&raw, filled(text, length)));
    expect_refusal(0, &raw, 401);
    assert_int_equal(raw_answer(&raw, SOON_MS), 200);
    for (int i = 0; i < PIPELINED; i++) {
        char path[32];

        expect_refusal((size_t)i, &raw, 404);
        (void)snprintf(path, sizeof path, "\"/api/none/%d\"", i);
        instance = strstr(raw.body.ptr, path);
        assert_row(i, instance != NULL && instance < raw.body.ptr + raw.body.len);
    }
    raw_close(&raw);
}

/* The bait is alive: alone it is booked. And the forms that look odd and are good. */
static void good_requests_are_taken(void **state)
{
    static const char get[] = "GET http://a/api/health HTTP/1.1\r\nHost: a\r\n\r\n"
                              "\r\nGET /api/health HTTP/1.1\r\nHost: a\r\n\r\n";
    int64_t *count = *state;
    struct raw raw;

    raw_open(&raw, port);
    assert_true(raw_send(&raw, str_from(get)));
    assert_int_equal(raw_answer(&raw, SOON_MS), 200);
    assert_int_equal(raw_answer(&raw, SOON_MS), 200);
    assert_true(raw_send(&raw, filled(SMUGGLED, strlen(SMUGGLED))));
    assert_int_equal(raw_answer(&raw, SOON_MS), 201);
    raw_close(&raw);
    *count += 1;
}

#define HOSTILE(test) cmocka_unit_test_setup_teardown(test, before, after)

int main(void)
{
    const struct CMUnitTest tests[] = {
        HOSTILE(ambiguous_requests_are_refused),
        HOSTILE(misdeclared_requests_are_refused),
        HOSTILE(oversized_requests_are_refused),
        HOSTILE(slow_headers_and_bodies_time_out),
        HOSTILE(a_reader_that_stops_is_left),
        HOSTILE(dropped_in_the_middle_of_a_body),
        HOSTILE(pipelined_requests_are_answered_in_order),
        HOSTILE(good_requests_are_taken),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
