/* What the server tells of each answer once it was written, or could not be. */
#include "tests/support/http_fixture.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/http_conn.h"

#include <string.h>

#define HOST      "Host: a\r\n"
#define GET(path) "GET " path " HTTP/1.1\r\n" HOST "\r\n"
#define ENDS_MAX  32
#define BIG_ASKS  24 /* more than the kernel keeps for a client that does not read */

static struct {
    struct http_end end;
    char request_id[64];
    char method[16];
    char peer[64];
} ends[ENDS_MAX];
static size_t end_count;

static void on_end(void *ctx, void *attached, struct str peer, const struct http_end *end)
{
    assert_non_null(ctx);
    assert_null(attached); /* the fixture attaches nothing */
    assert_true(end_count < ENDS_MAX);
    ends[end_count].end = *end;
    assert_true(str_copy(str_from(end->request_id), ends[end_count].request_id, 64));
    assert_true(str_copy(str_from(end->method), ends[end_count].method, 16));
    assert_true(str_copy(peer, ends[end_count].peer, 64));
    end_count++;
}

static const struct http_server_options options = {.on_end = on_end};

static int setup(void **state)
{
    (void)state;
    end_count = 0;
    return 0;
}

static void answers_are_told(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &options);
    client_open(&c, &f);
    (void)client_ask(&c, GET("/a"));
    (void)client_ask(&c, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello");
    assert_int_equal(end_count, 2);
    assert_int_equal(ends[0].end.status, 200);
    assert_int_equal(ends[0].end.refused, OK);
    assert_true(ends[0].end.sent);
    assert_string_equal(ends[0].request_id, "");
    assert_string_equal(ends[0].method, "GET");
    assert_string_equal(ends[0].peer, "127.0.0.1");
    assert_int_equal(ends[0].end.bytes_in, strlen(GET("/a")));
    assert_string_equal(ends[1].method, "POST");
    assert_int_equal(ends[0].end.bytes_out + ends[1].end.bytes_out, fixture_stats(&f).bytes_out);
    assert_int_equal(ends[0].end.bytes_in + ends[1].end.bytes_in, fixture_stats(&f).bytes_in);
    client_close(&c);
    fixture_close(&f);
    assert_int_equal(end_count, 2);
}

static void stages_are_timed(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &options);
    client_open(&c, &f);
    client_send_text(&c, "GET /hold HTTP/1.1\r\n");
    fixture_until(&f, fixture_stats(&f).bytes_in > 0);
    fixture_clock_forward(30);
    client_send_text(&c, HOST "\r\n");
    fixture_until(&f, f.held_count == 1);
    fixture_clock_forward(50);
    fixture_reply(&f, 0, "late");
    (void)client_answer(&c);
    assert_int_equal(end_count, 1);
    assert_in_range(ends[0].end.read_us, 30000, 45000);
    assert_in_range(ends[0].end.work_us, 50000, 65000);
    assert_in_range(ends[0].end.write_us, 0, 15000);
    client_close(&c);
    fixture_close(&f);
}

static void refusals_are_told(void **state)
{
    struct fixture f;
    struct client c;
    struct answer a;

    (void)state;
    fixture_open(&f, &options);
    client_open(&c, &f);
    a = client_ask(&c, "GET / HTTP/1.1\r\nno colon\r\n\r\n");
    assert_int_equal(a.status, 400);
    assert_int_equal(end_count, 1);
    assert_int_equal(ends[0].end.status, 400);
    assert_int_equal(ends[0].end.refused, ERR_HTTP);
    assert_int_equal(strlen(ends[0].request_id), 36);
    assert_true(answer_has(&a, ends[0].request_id));
    client_close(&c);
    fixture_close(&f);
}

/* Neither answered nor a request: nothing is told. Answered in vain: told so. */
static void clients_that_go(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &options);
    client_open(&c, &f);
    client_send_text(&c, "GET /half HTTP/1.1\r\n");
    fixture_until(&f, fixture_stats(&f).bytes_in > 0);
    client_abort(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    assert_int_equal(end_count, 0);
    client_open(&c, &f);
    client_send_text(&c, GET("/hold"));
    fixture_until(&f, f.held_count == 1);
    client_abort(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    fixture_reply(&f, 0, "nobody");
    assert_int_equal(end_count, 1);
    assert_int_equal(ends[0].end.status, 200);
    assert_false(ends[0].end.sent);
    assert_int_equal(ends[0].end.bytes_out, 0);
    fixture_close(&f);
}

/* A client that takes a part of the answer and goes. */
static void answers_cut_short(void **state)
{
    struct fixture f;
    struct client c;

    (void)state;
    fixture_open(&f, &options);
    client_open(&c, &f);
    for (int i = 0; i < BIG_ASKS; i++) {
        client_send_text(&c, GET("/big?1000000"));
    }
    fixture_until(&f, !list_empty(&f.server->writing));
    client_abort(&c);
    fixture_until(&f, fixture_stats(&f).open == 0);
    assert_true(end_count > 0);
    assert_false(ends[end_count - 1].end.sent);
    assert_true(ends[end_count - 1].end.bytes_out < 1000000);
    fixture_close(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(answers_are_told, setup),
        cmocka_unit_test_setup(stages_are_timed, setup),
        cmocka_unit_test_setup(refusals_are_told, setup),
        cmocka_unit_test_setup(clients_that_go, setup),
        cmocka_unit_test_setup(answers_cut_short, setup),
    };

    return cmocka_run_group_tests_name("http_end", tests, NULL, NULL);
}
