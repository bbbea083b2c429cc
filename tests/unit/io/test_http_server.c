#include "tests/support/http_fixture.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/http_conn.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BODY_MAX  ((size_t)HTTP_BODY_BYTES_MAX)
#define HOST      "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static const struct http_server_options defaults;
static char text[4 * 1024 * 1024];

static void assert_body(struct answer a, const char *body)
{
    if (!str_eq(a.body, str_from(body))) {
        fail_msg("body '%.*s' instead of '%s'", STR_FMT(a.body), body);
    }
}

/* --- one after the other ------------------------------------------------------------- */

static void keeps_alive(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (int i = 0; i < 3; i++) {
        struct answer a = client_ask(&c, GET("/x/y?q=1"));

        assert_int_equal(a.status, 200);
        assert_body(a, "GET /x/y q=1");
        assert_true(answer_has(&a, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
        assert_false(answer_has(&a, "Connection:"));
        assert_int_equal(arena_pool_bytes_used(f.arenas), 0); /* an idle connection holds none */
    }
    assert_string_equal(f.peer, "127.0.0.1");
    assert_int_equal(fixture_stats(&f).accepted, 1);
    assert_int_equal(fixture_stats(&f).requests, 3);
    assert_int_equal(fixture_stats(&f).open, 1);
    assert_int_equal(fixture_stats(&f).bytes_in, 3 * strlen(GET("/x/y?q=1")));
    assert_int_equal(fixture_stats(&f).bytes_out, c.len);
    client_close(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    fixture_close(&f);
}

static void byte_by_byte(void **state)
{
    static const char request[] =
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello" GET("/2");
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        client_send(&c, (struct str){request + i, 1});
    }
    assert_body(client_answer(&c), "hello");
    assert_body(client_answer(&c), "GET /2 ");
    client_close(&c);
    fixture_close(&f);
}

static void old_and_closing_clients(void **state)
{
    static const struct {
        const char *request;
        const char *connection;
    } cases[] = {
        {"GET / HTTP/1.0\r\n\r\n",                              "Connection: close\r\n"     },
        {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "Connection: close\r\n"     },
        {GET("/close"),                                         "Connection: close\r\n"     },
        {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",    "Connection: keep-alive\r\n"},
    };
    struct fixture f;

    (void)state;
    fixture_open(&f, &defaults);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c;
        struct answer a;

        client_open(&c, &f);
        a = client_ask(&c, cases[i].request);
        assert_int_equal(a.status, 200);
        assert_case(i, answer_has(&a, cases[i].connection));
        if (i + 1 < ARRAY_LEN(cases)) {
            assert_int_equal(client_end(&c), CLIENT_EOF);
        } else {
            assert_int_equal(client_ask(&c, "GET / HTTP/1.0\r\n\r\n").status, 200);
        }
        client_close(&c);
    }
    fixture_close(&f);
}

static void head_has_no_body(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, "HEAD /h HTTP/1.1\r\n" HOST "\r\n" GET("/g"));
    fixture_until(
        &f,
        (client_read(&c), fixture_stats(&f).bytes_out > 0 && c.len == fixture_stats(&f).bytes_out));
    c.bytes[c.len - 1] = '\0';
    assert_non_null(strstr(c.bytes, "Content-Length: 8\r\n"));
    assert_null(strstr(c.bytes, "HEAD /h"));
    assert_non_null(strstr(c.bytes, "\r\n\r\nHTTP/1.1 200 OK"));
    client_close(&c);
    fixture_close(&f);
}

static void limit_of_requests(void **state)
{
    struct fixture f;
    struct client c;
    struct answer a;
    struct http_conn *conn = NULL;
    uint32_t slot = 0;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    a = client_ask(&c, GET("/"));
    assert_false(answer_has(&a, "Connection: close"));
    conn = pool_next(f.server->conns, &slot);
    conn->requests = HTTP_REQUESTS_PER_CONNECTION - 2;
    a = client_ask(&c, GET("/"));
    assert_false(answer_has(&a, "Connection: close"));
    a = client_ask(&c, GET("/"));
    assert_true(answer_has(&a, "Connection: close"));
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    fixture_close(&f);
}

/* --- pipelining ------------------------------------------------------------------------ */

static void pipelines_in_order(void **state)
{
    struct buf b = buf_over(text, sizeof(text));
    struct fixture f;
    struct client c;
    char expected[32];

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (int i = 0; i < 2000; i++) {
        buf_printf(&b, "GET /%d HTTP/1.1\r\n" HOST "\r\n", i);
    }
    client_send(&c, buf_view(&b));
    for (int i = 0; i < 2000; i++) {
        (void)snprintf(expected, sizeof(expected), "GET /%d ", i);
        assert_body(client_answer(&c), expected);
    }
    client_close(&c);
    fixture_close(&f);
}

static void pipelining_is_bounded(void **state)
{
    enum {
        TOTAL = HTTP_PIPELINE_MAX + 20
    };
    struct buf b = buf_over(text, sizeof(text));
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (int i = 0; i < TOTAL; i++) {
        buf_text(&b, GET("/hold"));
    }
    client_send(&c, buf_view(&b));
    fixture_turn_ms(&f, 20);
    assert_int_equal(f.held_count, HTTP_PIPELINE_MAX);
    assert_int_equal(fixture_stats(&f).under_way, HTTP_PIPELINE_MAX);
    /* The last first: it must wait for the others, and makes no room. */
    fixture_reply(&f, HTTP_PIPELINE_MAX - 1, "15");
    fixture_turn_ms(&f, 10);
    client_read(&c);
    assert_int_equal(c.len, 0);
    assert_int_equal(f.held_count, HTTP_PIPELINE_MAX);
    for (size_t i = 0; i < TOTAL; i++) {
        char body[16];

        (void)snprintf(body, sizeof(body), "%zu", i);
        fixture_until(&f, f.held_count > i);
        if (f.held[i] != NULL) {
            fixture_reply(&f, i, i == HTTP_PIPELINE_MAX ? "sixteen" : "other");
        }
        assert_body(client_answer(&c),
                    i == HTTP_PIPELINE_MAX - 1 ? "15"
                                               : (i == HTTP_PIPELINE_MAX ? "sixteen" : "other"));
        assert_true(fixture_stats(&f).under_way <= HTTP_PIPELINE_MAX);
    }
    assert_int_equal(f.held_count, TOTAL);
    client_close(&c);
    fixture_close(&f);
}

/* What comes behind an answer that closes is not answered. */
static void closing_answer_is_the_last(void **state)
{
    struct fixture f;
    struct client c;
    struct answer a;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, GET("/hold") GET("/close") GET("/hold") GET("/3"));
    fixture_until(&f, f.held_count == 2);
    fixture_reply(&f, 0, "first");
    assert_body(client_answer(&c), "first");
    a = client_answer(&c);
    assert_true(answer_has(&a, "Connection: close"));
    assert_int_equal(client_end(&c), CLIENT_EOF);
    assert_int_equal(c.at, c.len);
    assert_int_equal(fixture_stats(&f).under_way, 1);
    fixture_reply(&f, 1, "nobody listens");
    assert_int_equal(fixture_stats(&f).under_way, 0);
    client_close(&c);
    fixture_close(&f);
}

/* --- bodies ------------------------------------------------------------------------------ */

static void bodies(void **state)
{
    struct buf b = buf_over(text, sizeof(text));
    struct fixture f;
    struct client c;
    struct answer a;
    char *body = NULL;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    assert_body(client_ask(&c,
                           "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                           "3\r\nabc\r\n3;x=y\r\ndef\r\n0\r\nT: 1\r\n\r\n"),
                "abcdef");
    buf_printf(&b, "PUT /echo HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", HTTP_BODY_BYTES_MAX);
    body = buf_reserve(&b, BODY_MAX);
    for (int i = 0; i < HTTP_BODY_BYTES_MAX; i++) {
        body[i] = (char)('a' + i % 23);
    }
    buf_commit(&b, BODY_MAX);
    client_send(&c, buf_view(&b));
    a = client_answer(&c);
    assert_true(str_eq(a.body, (struct str){body, BODY_MAX}));
    assert_body(client_ask(&c, GET("/after")), "GET /after ");
    client_close(&c);
    fixture_close(&f);
}

static void continues(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c,
                                "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
                                "Expect: 100-continue\r\n\r\n")
                         .status,
                     100);
    assert_body(client_ask(&c, "hi"), "hi");
    /* Behind an answer that is due, the invitation waits for it. */
    client_send_text(&c,
                     GET("/hold") "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
                                  "Expect: 100-continue\r\n\r\n");
    fixture_until(&f, f.held_count == 1);
    fixture_turn_ms(&f, 10);
    client_read(&c);
    assert_int_equal(c.at, c.len);
    fixture_reply(&f, 0, "held");
    assert_body(client_answer(&c), "held");
    assert_int_equal(client_answer(&c).status, 100);
    assert_body(client_ask(&c, "ho"), "ho");
    assert_int_equal(client_ask(&c,
                                "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 2\r\n"
                                "Expect: the-unexpected\r\n\r\n")
                         .status,
                     417);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    fixture_close(&f);
}

/* --- refusals ------------------------------------------------------------------------------ */

static void malformed_requests(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *code;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n",                                          400, "BAD_REQUEST"               },
        {"\x16\x03\x01\x02",                                                400, "BAD_REQUEST"               },
        {"GET / HTTP/1.1\r\nHost : a\r\n\r\n",                              400, "BAD_REQUEST"               },
        {"TRACE / HTTP/1.1\r\n" HOST "\r\n",                                405, "METHOD_NOT_ALLOWED"        },
        {"BREW / HTTP/1.1\r\n" HOST "\r\n",                                 501, "NOT_IMPLEMENTED"           },
        {"GET / HTTP/2.0\r\n" HOST "\r\n",                                  505, "HTTP_VERSION_NOT_SUPPORTED"},
        {"POST / HTTP/1.1\r\n" HOST "Content-Length: 786433\r\n\r\n",       413, "PAYLOAD_TOO_LARGE"         },
        {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nzz", 400, "BAD_REQUEST"               },
    };
    struct fixture f;

    (void)state;
    fixture_open(&f, &defaults);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct client c;
        struct answer a;
        size_t at = 0;

        client_open(&c, &f);
        client_send_text(&c, GET("/good"));
        client_send_text(&c, cases[i].request);
        assert_body(client_answer(&c), "GET /good ");
        a = client_answer(&c);
        assert_int_equal(a.status, cases[i].status);
        assert_case(i, answer_has(&a, "Content-Type: application/problem+json\r\n"));
        assert_case(i, answer_has(&a, "Connection: close\r\n"));
        assert_case(i, answer_has(&a, "Allow: GET, HEAD") == (a.status == 405));
        assert_case(i, str_find(a.body, str_from(cases[i].code), &at));
        assert_int_equal(client_end(&c), CLIENT_EOF);
        client_close(&c);
    }
    assert_int_equal(fixture_stats(&f).malformed, ARRAY_LEN(cases));
    assert_int_equal(fixture_stats(&f).requests, ARRAY_LEN(cases));
    assert_int_equal(fixture_stats(&f).under_way, 0);
    fixture_close(&f);
}

/* The client goes on sending what was refused; it must see the answer and not a reset. */
static void answer_survives_unread_input(void **state)
{
    struct buf b = buf_over(text, sizeof(text));
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    buf_text(&b, "POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999\r\n\r\n");
    memset(buf_reserve(&b, 600000), 'z', 600000);
    buf_commit(&b, 600000);
    client_send(&c, buf_view(&b));
    assert_int_equal(client_answer(&c).status, 413);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    fixture_turn_ms(&f, 20);
    assert_int_equal(fixture_stats(&f).open, 1); /* lingers */
    fixture_clock_forward(HTTP_LINGER_MS_MAX);
    fixture_until(&f, fixture_stats(&f).open == 0);
    client_close(&c);
    fixture_close(&f);
}

static void lingering_is_bounded(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c, "BREW / HTTP/1.1\r\n\r\n").status, 501);
    memset(text, 'z', sizeof(text));
    for (int i = 0; i < 100 && fixture_stats(&f).open > 0; i++) {
        (void)send(c.fd, text, 65536, MSG_DONTWAIT | MSG_NOSIGNAL);
        fixture_turn(&f);
    }
    assert_int_equal(fixture_stats(&f).open, 0);
    client_close(&c);
    fixture_close(&f);
}

static void split_answers_are_not_sent(void **state)
{
    struct fixture f;
    struct client c;
    struct answer a;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    a = client_ask(&c, GET("/inject"));
    assert_int_equal(a.status, 500);
    assert_false(answer_has(&a, "Set-Cookie"));
    assert_int_equal(client_ask(&c, GET("/")).status, 200);
    client_close(&c);
    fixture_close(&f);
}

/* --- clients that go ------------------------------------------------------------------------ */

static void half_closed_client_is_answered(void **state)
{
    struct fixture f;
    struct client c;
    struct answer a;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, GET("/1") GET("/hold") "GET /part");
    client_shutdown(&c);
    fixture_until(&f, f.held_count == 1);
    fixture_turn_ms(&f, 10);
    fixture_reply(&f, 0, "still here");
    assert_body(client_answer(&c), "GET /1 ");
    a = client_answer(&c);
    assert_body(a, "still here");
    assert_true(answer_has(&a, "Connection: close"));
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    fixture_close(&f);
}

static void client_aborts_while_working(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, GET("/hold") GET("/hold") GET("/big?1000") "GET /part");
    fixture_until(&f, f.held_count == 2);
    client_abort(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    assert_int_equal(fixture_stats(&f).under_way, 2);
    /* The requests are still there for the application; the answers are dropped. */
    assert_true(str_eq(http_exchange_request(f.held[0])->path, STR("/hold")));
    assert_true(str_eq(http_exchange_peer(f.held[0]), STR("127.0.0.1")));
    fixture_reply(&f, 1, "b");
    fixture_reply(&f, 0, "a");
    assert_int_equal(fixture_stats(&f).under_way, 0);
    assert_int_equal(arena_pool_bytes_used(f.arenas), 0);
    fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_alive),
        cmocka_unit_test(byte_by_byte),
        cmocka_unit_test(old_and_closing_clients),
        cmocka_unit_test(head_has_no_body),
        cmocka_unit_test(limit_of_requests),
        cmocka_unit_test(pipelines_in_order),
        cmocka_unit_test(pipelining_is_bounded),
        cmocka_unit_test(closing_answer_is_the_last),
        cmocka_unit_test(bodies),
        cmocka_unit_test(continues),
        cmocka_unit_test(malformed_requests),
        cmocka_unit_test(answer_survives_unread_input),
        cmocka_unit_test(lingering_is_bounded),
        cmocka_unit_test(split_answers_are_not_sent),
        cmocka_unit_test(half_closed_client_is_answered),
        cmocka_unit_test(client_aborts_while_working),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
