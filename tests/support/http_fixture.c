#include "tests/support/http_fixture.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"

#include <uv.h>

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define READ_BYTES 65536

static char big[FIXTURE_BIG_BYTES];
static uint64_t skew_ms;

/* --- clock ------------------------------------------------------------------------- */

static uint64_t mono_us(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000 + skew_ms * 1000;
}

static uint64_t wall_ms(void)
{
    return 784111777000; /* Sun, 06 Nov 1994 08:49:37 GMT */
}

void fixture_clock_forward(uint64_t ms)
{
    skew_ms += ms;
}

/* --- application ------------------------------------------------------------------- */

static void answer_text(struct http_exchange *x, struct http_response *response)
{
    const struct http_request *r = http_exchange_request(x);
    const char *text = arena_printf(http_exchange_arena(x),
                                    "%.*s %.*s %.*s",
                                    STR_FMT(r->method),
                                    STR_FMT(r->path),
                                    STR_FMT(r->query));

    assert_non_null(text);
    response->body = str_from(text);
    response->head_only = str_eq(r->method, STR("HEAD"));
}

static void on_request(void *ctx, struct http_exchange *x)
{
    struct fixture *f = ctx;
    const struct http_request *r = http_exchange_request(x);
    struct http_response response = {.status = 200, .content_type = STR("text/plain")};
    struct str peer = http_exchange_peer(x);
    uint64_t bytes = 0;

    assert_true(peer.len < sizeof(f->peer));
    memcpy(f->peer, peer.ptr, peer.len);
    f->peer[peer.len] = '\0';
    if (str_eq(r->path, STR("/hold"))) {
        assert_true(f->held_count < FIXTURE_HELD_MAX);
        f->held[f->held_count++] = x;
        return;
    }
    if (str_eq(r->path, STR("/echo"))) {
        response.body = r->body;
    } else if (str_eq(r->path, STR("/big"))) {
        assert_true(str_to_uint64(r->query, &bytes));
        assert_true(bytes <= sizeof(big));
        response.body = (struct str){big, bytes};
    } else {
        answer_text(x, &response);
    }
    response.close = str_eq(r->path, STR("/close"));
    if (str_eq(r->path, STR("/inject"))) {
        http_response_add(&response, "X-Bad", STR("a\r\nSet-Cookie: b"));
    }
    http_exchange_reply(x, &response);
}

void fixture_reply(struct fixture *f, size_t held, const char *body)
{
    const struct http_response response = {
        .status = 200,
        .content_type = STR("text/plain"),
        .body = str_from(body),
    };

    assert_true(held < f->held_count);
    assert_non_null(f->held[held]);
    http_exchange_reply(f->held[held], &response);
    f->held[held] = NULL;
}

/* --- server ------------------------------------------------------------------------ */

void fixture_open(struct fixture *f, const struct http_server_options *options)
{
    static const struct clock_source source = {mono_us, wall_ms};
    struct http_server_options all = *options;
    struct err err = {.code = OK};

    log_open(&(const struct log_options){
        .service = "test", .level = LOG_ERROR, .ship = LOG_LEVEL_COUNT});
    memset(f, 0, sizeof(*f));
    memset(big, 'x', sizeof(big));
    clock_replace(&source);
    f->loop = loop_open();
    assert_non_null(f->loop);
    f->arenas = all.arenas == NULL ? arena_pool_open(ARENA_CHUNK_BYTES, 4096) : all.arenas;
    assert_non_null(f->arenas);
    all.address = all.address == NULL ? "127.0.0.1" : all.address;
    all.connections_max = all.connections_max == 0 ? 100 : all.connections_max;
    all.arena_bytes_max = all.arena_bytes_max == 0 ? (size_t)4 * 1024 * 1024 : all.arena_bytes_max;
    all.arenas = f->arenas;
    all.on_request = on_request;
    all.ctx = f;
    if (http_server_open(f->loop, &all, &f->server, &err) != OK) {
        fail_msg("%s", err.text);
    }
    assert_true(http_server_port(f->server) > 0);
}

static void on_drained(void *arg)
{
    struct fixture *f = arg;

    f->drained++;
    http_server_close(&f->server);
    loop_stop(f->loop);
}

void fixture_drain(struct fixture *f)
{
    http_server_drain(f->server, on_drained, f);
}

void fixture_close(struct fixture *f)
{
    if (f->server != NULL) {
        fixture_drain(f);
        fixture_until(f, f->drained > 0);
    }
    assert_int_equal(f->drained, 1);
    loop_run(f->loop);
    loop_close(&f->loop); /* asserts that nothing is left open */
    assert_int_equal(arena_pool_bytes_used(f->arenas), 0);
    arena_pool_close(&f->arenas);
    clock_replace(NULL);
}

void fixture_turn(struct fixture *f)
{
    const struct timespec millisecond = {0, 1000000};

    (void)uv_run(loop_uv(f->loop), UV_RUN_NOWAIT);
    (void)nanosleep(&millisecond, NULL);
}

void fixture_wait(struct fixture *f, const char *condition)
{
    f->waits = f->waited_for == condition ? f->waits + 1 : 0;
    f->waited_for = condition;
    if (f->waits > FIXTURE_TURNS_MAX) {
        fail_msg("never came true: %s", condition);
    }
    fixture_turn(f);
}

void fixture_case(size_t row, bool holds, const char *condition)
{
    if (!holds) {
        fail_msg("row %zu: %s", row, condition);
    }
}

void fixture_turn_ms(struct fixture *f, uint64_t ms)
{
    uint64_t until = mono_us() + ms * 1000;

    while (mono_us() < until) {
        fixture_turn(f);
    }
}

struct http_server_stats fixture_stats(const struct fixture *f)
{
    struct http_server_stats stats;

    http_server_stats(f->server, &stats);
    return stats;
}

/* --- client ------------------------------------------------------------------------ */

void client_open(struct client *c, struct fixture *f)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET,
        .sin_port = htons(http_server_port(f->server)),
        .sin_addr = {htonl(INADDR_LOOPBACK)},
    };

    *c = (struct client){.f = f, .fd = socket(AF_INET, SOCK_STREAM, 0)};
    assert_true(c->fd >= 0);
    /* The kernel completes the connection from the backlog. */
    assert_int_equal(connect(c->fd, (const struct sockaddr *)&to, sizeof(to)), 0);
}

void client_close(struct client *c)
{
    (void)close(c->fd);
    free(c->bytes);
    c->bytes = NULL;
}

void client_abort(struct client *c)
{
    const struct linger now = {1, 0};

    assert_int_equal(setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
    client_close(c);
}

void client_send(struct client *c, struct str text)
{
    int turns_left = FIXTURE_TURNS_MAX;

    while (text.len > 0 && turns_left-- > 0) {
        ssize_t sent = send(c->fd, text.ptr, text.len, MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0) {
            assert_int_equal(errno, EAGAIN);
            sent = 0;
        }
        text = str_sub(text, (size_t)sent, text.len);
        fixture_turn(c->f);
    }
    assert_int_equal(text.len, 0);
}

void client_send_text(struct client *c, const char *text)
{
    client_send(c, str_from(text));
}

void client_shutdown(struct client *c)
{
    assert_int_equal(shutdown(c->fd, SHUT_WR), 0);
}

void client_read(struct client *c)
{
    ssize_t got = 0;

    if (c->cap - c->len < READ_BYTES) {
        c->cap = c->cap * 2 + READ_BYTES;
        c->bytes = realloc(c->bytes, c->cap);
        assert_non_null(c->bytes);
    }
    got = recv(c->fd, c->bytes + c->len, READ_BYTES, MSG_DONTWAIT);
    if (got > 0) {
        c->len += (size_t)got;
    } else if (got == 0) {
        c->end = CLIENT_EOF;
    } else if (errno == ECONNRESET) {
        c->end = CLIENT_RESET;
    }
}

/* Takes one answer off the received bytes; an interim one has no body. */
static bool answer_take(struct client *c, struct answer *a)
{
    struct str rest = str_sub((struct str){c->bytes, c->len}, c->at, c->len);
    size_t head = 0;
    size_t length = 0;
    size_t at = 0;
    uint64_t body = 0;

    if (!str_find(rest, STR("\r\n\r\n"), &head)) {
        return false;
    }
    head += 4;
    a->head = str_sub(rest, 0, head);
    assert_true(str_starts(rest, STR("HTTP/1.1 ")));
    a->status = (int)strtol(rest.ptr + 9, NULL, 10);
    if (str_find(a->head, STR("Content-Length: "), &length)) {
        struct str digits = str_sub(a->head, length + 16, head);

        assert_true(str_find_char(digits, '\r', &at));
        assert_true(str_to_uint64(str_sub(digits, 0, at), &body));
    }
    if (rest.len - head < body) {
        return false;
    }
    a->body = str_sub(rest, head, head + body);
    c->at += head + body;
    return true;
}

/* One more look at the socket, which must still be open. */
static int await(struct client *c, int turns_left)
{
    if (turns_left == 0 || c->end != CLIENT_OPEN) {
        fail_msg("no answer (end %d, %zu bytes)", (int)c->end, c->len - c->at);
    }
    fixture_turn(c->f);
    client_read(c);
    return turns_left - 1;
}

struct answer client_answer(struct client *c)
{
    struct answer a = {0, STR_EMPTY, STR_EMPTY};
    int turns_left = FIXTURE_TURNS_MAX;

    while (!answer_take(c, &a)) {
        turns_left = await(c, turns_left);
    }
    return a;
}

struct answer client_ask(struct client *c, const char *text)
{
    client_send_text(c, text);
    return client_answer(c);
}

enum client_end client_end(struct client *c)
{
    int turns_left = FIXTURE_TURNS_MAX;

    while (c->end == CLIENT_OPEN && turns_left-- > 0) {
        fixture_turn(c->f);
        client_read(c);
    }
    return c->end;
}

bool answer_has(const struct answer *a, const char *text)
{
    size_t at = 0;

    return str_find(a->head, str_from(text), &at);
}
