/* tidy: allow lines here: one server and its bounds */
#include "tests/support/http_fixture.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/http_conn.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST      "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"

static const struct http_server_options defaults;

/* The only connection of the fixture. */
static struct http_conn *only_conn(struct fixture *f)
{
    uint32_t slot = 0;
    struct http_conn *conn = pool_next(f->server->conns, &slot);

    assert_non_null(conn);
    return conn;
}

static void until_state(struct fixture *f, enum conn_input state)
{
    fixture_until(f, only_conn(f)->input.state == (int)state);
    f->waited_for = NULL;
}

/* --- time ------------------------------------------------------------------------------ */

static void idle_connection_is_closed(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c, GET("/")).status, 200);
    fixture_clock_forward(HTTP_IDLE_MS_MAX - 1000);
    fixture_turn_ms(&f, 250);
    assert_int_equal(client_ask(&c, GET("/")).status, 200); /* which starts the time again */
    fixture_clock_forward(HTTP_IDLE_MS_MAX - 1000);
    fixture_turn_ms(&f, 250);
    assert_int_equal(fixture_stats(&f).open, 1);
    fixture_clock_forward(1000);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    assert_int_equal(c.at, c.len); /* without a word */
    client_close(&c);
    fixture_close(&f);
}

static void options_give_the_times(void **state)
{
    const struct http_server_options short_ones = {
        .idle_ms_max = 300,
        .header_ms_max = 150,
        .body_ms_max = 150,
    };
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &short_ones);
    client_open(&c, &f);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c, "GET / HT").status, 408);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 9\r\n\r\n1").status,
                     408);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    assert_int_equal(fixture_stats(&f).timeouts, 2);
    fixture_close(&f);
}

static void slow_header(void **state)
{
    struct fixture f;
    struct client c;
    struct answer a;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, GET("/1") "G");
    until_state(&f, CONN_HEADER);
    assert_int_equal(client_answer(&c).status, 200);
    /* Bytes that trickle in do not buy time. */
    for (size_t i = 0; i < 6; i++) {
        fixture_clock_forward(HTTP_HEADER_MS_MAX / 10);
        client_send(&c, (struct str){&"ET / HTTP"[i], 1});
        fixture_turn_ms(&f, HTTP_SWEEP_MS + 10);
        assert_int_equal(only_conn(&f)->input.state, CONN_HEADER);
    }
    fixture_clock_forward(4 * HTTP_HEADER_MS_MAX / 10);
    a = client_answer(&c);
    assert_int_equal(a.status, 408);
    assert_true(answer_has(&a, "Connection: close"));
    assert_int_equal(client_end(&c), CLIENT_EOF);
    assert_int_equal(fixture_stats(&f).timeouts, 1);
    client_close(&c);
    fixture_close(&f);
}

/* The next header gets its own time, though the connection was never idle between. */
static void every_header_has_its_own_time(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, "GET /1 HTTP/1.1\r\n");
    until_state(&f, CONN_HEADER);
    for (int i = 0; i < 3; i++) {
        fixture_clock_forward(HTTP_HEADER_MS_MAX - 1000);
        fixture_turn_ms(&f, 150);
        client_send_text(&c, HOST "\r\nGET /next HTTP/1.1\r\n");
        assert_int_equal(client_answer(&c).status, 200);
    }
    client_close(&c);
    fixture_close(&f);
}

static void slow_body(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 500000\r\n\r\n");
    until_state(&f, CONN_BODY);
    /* Within the grace nothing need come. */
    fixture_clock_forward(HTTP_BODY_GRACE_MS - 1000);
    fixture_turn_ms(&f, 150);
    assert_int_equal(only_conn(&f)->input.state, CONN_BODY);
    /* 300 bytes pay for a second after it. */
    for (int i = 0; i < 300; i++) {
        client_send_text(&c, "b");
    }
    fixture_clock_forward(1000);
    fixture_turn_ms(&f, 150);
    assert_int_equal(only_conn(&f)->input.state, CONN_BODY);
    fixture_clock_forward(2000);
    assert_int_equal(client_answer(&c).status, 408);
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    fixture_close(&f);
}

static void body_that_takes_too_long(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 700000\r\n\r\n");
    until_state(&f, CONN_BODY);
    for (int i = 0; i < 10; i++) {
        char chunk[2000];

        memset(chunk, 'b', sizeof(chunk));
        client_send(&c, (struct str){chunk, sizeof(chunk)});
        fixture_clock_forward(HTTP_BODY_MS_MAX / 15);
        fixture_turn_ms(&f, HTTP_SWEEP_MS + 10);
        assert_int_equal(only_conn(&f)->input.state, CONN_BODY);
    }
    fixture_clock_forward(5 * HTTP_BODY_MS_MAX / 15);
    assert_int_equal(client_answer(&c).status, 408);
    client_close(&c);
    fixture_close(&f);
}

static void client_that_does_not_read_is_reset(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (int i = 0; i < 12; i++) {
        client_send_text(&c, GET("/big?1000000"));
    }
    fixture_until(&f, only_conn(&f)->output.state == CONN_WRITING);
    fixture_turn_ms(&f, 50);
    fixture_clock_forward(HTTP_WRITE_MS_MAX - 1000);
    fixture_turn_ms(&f, 150);
    assert_int_equal(fixture_stats(&f).open, 1);
    fixture_clock_forward(1000);
    fixture_until(&f, fixture_stats(&f).open == 0);
    assert_int_equal(fixture_stats(&f).timeouts, 1);
    assert_int_equal(client_end(&c), CLIENT_RESET);
    client_close(&c);
    fixture_close(&f);
}

/* A slow reader that does read may take longer than the deadline of one write. */
static void slow_reader_is_served(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (int i = 0; i < 8; i++) {
        client_send_text(&c, GET("/big?1000000"));
    }
    fixture_until(&f, only_conn(&f)->output.state == CONN_WRITING);
    while (c.len < 8000000) {
        for (int i = 0; i < 10; i++) {
            client_read(&c);
        }
        fixture_turn_ms(&f, 20);
        fixture_clock_forward(3000);
        assert_int_equal(c.end, CLIENT_OPEN);
    }
    for (int i = 0; i < 8; i++) {
        assert_int_equal(client_answer(&c).body.len, 1000000);
    }
    client_close(&c);
    fixture_close(&f);
}

/* --- bytes ----------------------------------------------------------------------------- */

static void backpressure(void **state)
{
    enum {
        REQUESTS = 3000
    };
    static char requests[REQUESTS * 64];
    struct buf b = buf_over(requests, sizeof(requests));
    struct fixture f;
    struct client c;
    uint64_t parsed = 0;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    for (int i = 0; i < REQUESTS; i++) {
        buf_text(&b, GET("/big?20000"));
    }
    client_send(&c, buf_view(&b));
    until_state(&f, CONN_PAUSED);
    fixture_turn_ms(&f, 50);
    /* What the sockets take, and then no more than the mark and one answer. */
    parsed = fixture_stats(&f).requests;
    assert_true(parsed < REQUESTS / 2);
    assert_true(only_conn(&f)->unsent_bytes < (size_t)HTTP_WRITE_HIGH_BYTES + 30000);
    assert_true(arena_pool_bytes_used(f.arenas) < (size_t)1024 * 1024);
    fixture_turn_ms(&f, 50);
    assert_int_equal(fixture_stats(&f).requests, parsed);
    for (int i = 0; i < REQUESTS; i++) {
        assert_int_equal(client_answer(&c).body.len, 20000);
    }
    until_state(&f, CONN_IDLE);
    assert_int_equal(arena_pool_bytes_used(f.arenas), 0);
    client_close(&c);
    fixture_close(&f);
}

static void memory_that_runs_out(void **state)
{
    const struct http_server_options few = {.arenas = arena_pool_open(ARENA_CHUNK_BYTES, 2)};
    struct fixture f;
    struct client holder;
    struct client c;
    struct answer a;

    (void)state;
    fixture_open(&f, &few);
    client_open(&holder, &f);
    client_send_text(&holder, GET("/hold") GET("/hold"));
    fixture_until(&f, f.held_count == 2);
    client_open(&c, &f);
    a = client_ask(&c, GET("/"));
    assert_int_equal(a.status, 503);
    assert_true(answer_has(&a, "Retry-After: 1\r\n"));
    assert_true(answer_has(&a, "application/problem+json"));
    assert_int_equal(client_end(&c), CLIENT_EOF);
    client_close(&c);
    /* Behind answers that are due, the refusal comes in its turn. */
    client_send_text(&holder, GET("/"));
    fixture_turn_ms(&f, 20);
    fixture_reply(&f, 0, "a");
    fixture_reply(&f, 1, "b");
    assert_int_equal(client_answer(&holder).status, 200);
    assert_int_equal(client_answer(&holder).status, 200);
    assert_int_equal(client_answer(&holder).status, 503);
    assert_int_equal(client_end(&holder), CLIENT_EOF);
    client_close(&holder);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c, GET("/")).status, 200);
    /* A body for which there is no memory. */
    assert_int_equal(
        client_ask(&c, "POST / HTTP/1.1\r\n" HOST "Content-Length: 60000\r\n\r\nx").status, 503);
    client_close(&c);
    fixture_close(&f);
}

static void idle_connection_is_small(void **state)
{
    (void)state;
    assert_true(sizeof(struct http_conn) + http_parser_bytes() <= 1536);
}

/* --- connections ------------------------------------------------------------------------- */

static void connections_max(void **state)
{
    const struct http_server_options two = {.connections_max = 2};
    struct fixture f;
    struct client c[3];
    struct answer a;

    (void)state;
    fixture_open(&f, &two);
    client_open(&c[0], &f);
    client_open(&c[1], &f);
    assert_int_equal(client_ask(&c[0], GET("/")).status, 200);
    assert_int_equal(client_ask(&c[1], GET("/")).status, 200);
    client_open(&c[2], &f);
    a = client_answer(&c[2]);
    assert_int_equal(a.status, 503);
    assert_true(answer_has(&a, "Retry-After: 1\r\n"));
    assert_true(answer_has(&a, "Connection: close\r\n"));
    assert_int_equal(client_end(&c[2]), CLIENT_EOF);
    client_close(&c[2]);
    assert_int_equal(fixture_stats(&f).refused, 1);
    assert_int_equal(fixture_stats(&f).accepted, 2);
    assert_int_equal(client_ask(&c[0], GET("/")).status, 200);
    client_close(&c[0]);
    fixture_until(&f, fixture_stats(&f).open == 1);
    client_open(&c[0], &f);
    assert_int_equal(client_ask(&c[0], GET("/")).status, 200);
    client_close(&c[0]);
    client_close(&c[1]);
    fixture_close(&f);
}

/* More clients than there are places to refuse them: the rest waits in the backlog. */
static void flood_of_connections(void **state)
{
    enum {
        CLIENTS = HTTP_REFUSALS_MAX + 40
    };
    const struct http_server_options one = {.connections_max = 1};
    static struct client c[CLIENTS];
    struct fixture f;

    (void)state;
    fixture_open(&f, &one);
    for (size_t i = 0; i < CLIENTS; i++) {
        client_open(&c[i], &f);
    }
    fixture_turn_ms(&f, 50);
    assert_int_equal(fixture_stats(&f).accepted, 1);
    assert_int_equal(fixture_stats(&f).refused, HTTP_REFUSALS_MAX);
    assert_int_equal(client_ask(&c[0], GET("/")).status, 200);
    for (size_t i = 1; i < CLIENTS; i++) {
        assert_int_equal(client_answer(&c[i]).status, 503);
        client_close(&c[i]);
    }
    assert_int_equal(fixture_stats(&f).refused, CLIENTS - 1);
    client_close(&c[0]);
    fixture_close(&f);
}

/* --- draining ---------------------------------------------------------------------------- */

static void drain_answers_what_is_under_way(void **state)
{
    struct fixture f;
    struct client idle;
    struct client working;
    struct client sending;
    struct answer a;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&idle, &f);
    client_open(&working, &f);
    client_open(&sending, &f);
    assert_int_equal(client_ask(&idle, GET("/")).status, 200);
    client_send_text(&working, GET("/hold") GET("/hold"));
    client_send_text(&sending, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nha");
    fixture_until(&f, f.held_count == 2 && fixture_stats(&f).open == 3);
    fixture_drain(&f);
    assert_int_equal(client_end(&idle), CLIENT_EOF);
    client_send_text(&sending, "lf" GET("/more"));
    a = client_answer(&sending);
    assert_true(str_eq(a.body, STR("half")));
    assert_true(answer_has(&a, "Connection: close\r\n"));
    assert_int_equal(client_end(&sending), CLIENT_EOF);
    assert_int_equal(f.drained, 0);
    fixture_reply(&f, 0, "one");
    fixture_reply(&f, 1, "two");
    a = client_answer(&working);
    assert_false(answer_has(&a, "Connection: close\r\n"));
    a = client_answer(&working);
    assert_true(answer_has(&a, "Connection: close\r\n"));
    assert_int_equal(client_end(&working), CLIENT_EOF);
    client_close(&idle);
    client_close(&working);
    client_close(&sending);
    fixture_until(&f, f.drained == 1);
    fixture_close(&f);
}

static void drain_has_a_deadline(void **state)
{
    struct fixture f;
    struct client deaf;
    struct client held;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&deaf, &f);
    for (int i = 0; i < 10; i++) {
        client_send_text(&deaf, GET("/big?1000000"));
    }
    client_open(&held, &f);
    client_send_text(&held, GET("/hold"));
    fixture_until(&f, f.held_count == 1);
    fixture_drain(&f);
    fixture_turn_ms(&f, 250);
    assert_int_equal(f.drained, 0);
    fixture_clock_forward(DRAIN_MS_MAX);
    fixture_until(&f, f.drained == 1);
    assert_null(f.server);
    /* The application still has its request; the server is gone. */
    fixture_reply(&f, 0, "late");
    client_close(&deaf);
    client_close(&held);
    fixture_close(&f);
}

static void drain_waits_for_orphans(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &defaults);
    client_open(&c, &f);
    client_send_text(&c, GET("/hold"));
    fixture_until(&f, f.held_count == 1);
    client_abort(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    fixture_drain(&f);
    fixture_turn_ms(&f, 250);
    assert_int_equal(f.drained, 0);
    fixture_reply(&f, 0, "late");
    assert_int_equal(f.drained, 0); /* not from inside the reply */
    fixture_until(&f, f.drained == 1);
    fixture_close(&f);
}

/* --- opening ----------------------------------------------------------------------------- */

static void never_called(void *ctx, struct http_exchange *x)
{
    (void)ctx;
    (void)x;
    fail_msg("no request was sent");
}

static void addresses_that_cannot_be_had(void **state)
{
    struct fixture f;
    struct http_server *other = NULL;
    struct err err = {.code = OK};
    struct http_server_options o = {
        .address = "127.0.0.1", .connections_max = 1, .on_request = never_called};

    (void)state;
    fixture_open(&f, &defaults);
    o.arenas = f.arenas;
    o.arena_bytes_max = 65536;
    o.port = http_server_port(f.server);
    assert_int_equal(http_server_open(f.loop, &o, &other, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "address already in use"));
    o.address = "localhost";
    assert_int_equal(http_server_open(f.loop, &o, &other, NULL), ERR_UNAVAILABLE);
    o.address = "192.0.2.1";
    assert_int_equal(http_server_open(f.loop, &o, &other, NULL), ERR_UNAVAILABLE);
    assert_null(other);
    fixture_close(&f);
}

static void on_other_drained(void *arg)
{
    http_server_close(arg);
}

static void port_is_shared_when_asked(void **state)
{
    const struct http_server_options shared = {.reuse_port = true};
    struct fixture f;
    struct http_server *other = NULL;
    struct http_server_options o = {
        .address = "127.0.0.1",
        .connections_max = 1,
        .on_request = never_called,
        .reuse_port = true,
    };

    (void)state;
    fixture_open(&f, &shared);
    o.arenas = f.arenas;
    o.arena_bytes_max = 65536;
    o.port = http_server_port(f.server);
    assert_int_equal(http_server_open(f.loop, &o, &other, NULL), OK);
    assert_int_equal(http_server_port(other), o.port);
    http_server_drain(other, on_other_drained, &other);
    fixture_until(&f, other == NULL);
    fixture_close(&f);
}

/* On a socket for both families an IPv4 client has its IPv4 address. */
static void peer_of_both_families(void **state)
{
    const struct http_server_options both = {.address = "::"};
    struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &both);
    client_open(&c, &f);
    assert_int_equal(client_ask(&c, GET("/")).status, 200);
    assert_string_equal(f.peer, "127.0.0.1");
    client_close(&c);
    memset(&c, 0, sizeof(c));
    c.f = &f;
    c.fd = socket(AF_INET6, SOCK_STREAM, 0);
    to.sin6_port = htons(http_server_port(f.server));
    assert_int_equal(connect(c.fd, (const struct sockaddr *)&to, sizeof(to)), 0);
    assert_int_equal(client_ask(&c, GET("/")).status, 200);
    assert_string_equal(f.peer, "::1");
    client_close(&c);
    fixture_close(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connection_is_closed),
        cmocka_unit_test(options_give_the_times),
        cmocka_unit_test(slow_header),
        cmocka_unit_test(every_header_has_its_own_time),
        cmocka_unit_test(slow_body),
        cmocka_unit_test(body_that_takes_too_long),
        cmocka_unit_test(client_that_does_not_read_is_reset),
        cmocka_unit_test(slow_reader_is_served),
        cmocka_unit_test(backpressure),
        cmocka_unit_test(memory_that_runs_out),
        cmocka_unit_test(idle_connection_is_small),
        cmocka_unit_test(connections_max),
        cmocka_unit_test(flood_of_connections),
        cmocka_unit_test(drain_answers_what_is_under_way),
        cmocka_unit_test(drain_has_a_deadline),
        cmocka_unit_test(drain_waits_for_orphans),
        cmocka_unit_test(addresses_that_cannot_be_had),
        cmocka_unit_test(port_is_shared_when_asked),
        cmocka_unit_test(peer_of_both_families),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
