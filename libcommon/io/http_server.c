#include "libcommon/io/http_server.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/io/http_conn.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BACKLOG           1024
#define ARENA_BYTES_LEAST 8192 /* an exchange, a small header and its answer */
#define REFUSAL_BYTES     2048

/* clang-format off */
static const struct sm_row server_rows[SERVER_STATE_COUNT] = {
    [SERVER_SERVING]  = {"serving",  0,            MAY(SERVER_DRAINING)},
    [SERVER_DRAINING] = {"draining", DRAIN_MS_MAX, MAY(SERVER_DRAINED)},
    [SERVER_DRAINED]  = {"drained",  0,            0},
};
/* clang-format on */

/* --- the sweep --------------------------------------------------------------------- */

/* Lists are in the order of entry and a state has one timeout: the first that is not late ends it.
 */
static void sweep_input(struct http_server *server, enum conn_input state, uint64_t now_ms)
{
    assert(state < CONN_INPUT_COUNT);
    LIST_EACH_SAFE(&server->by_input[state], node, following)
    {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, input_node);

        if (sm_deadline_ms(&conn->input) > now_ms) {
            return;
        }
        http_conn_input_late(conn);
    }
}

static void sweep_slow_bodies(struct http_server *server, uint64_t now_ms)
{
    LIST_EACH_SAFE(&server->by_input[CONN_BODY], node, following)
    {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, input_node);
        uint64_t grace_ms = conn->input.since_ms + HTTP_BODY_GRACE_MS;

        if (now_ms <= grace_ms) {
            return;
        }
        if ((uint64_t)conn->rate_bytes * 1000 < (now_ms - grace_ms) * HTTP_BODY_RATE_BYTES_MIN) {
            http_conn_input_late(conn);
        }
    }
}

static void sweep_output(struct http_server *server, uint64_t now_ms)
{
    LIST_EACH_SAFE(&server->writing, node, following)
    {
        struct http_conn *conn = LIST_ENTRY(node, struct http_conn, writing_node);

        if (sm_deadline_ms(&conn->output) > now_ms) {
            return;
        }
        http_conn_output_late(conn);
    }
}

static void close_all(struct http_server *server)
{
    uint32_t slot = 0;

    for (struct http_conn *conn = pool_next(server->conns, &slot); conn != NULL;
         conn = pool_next(server->conns, &slot)) {
        http_conn_close(conn);
    }
}

static void check_drained(struct http_server *server)
{
    bool late = clock_mono_ms() >= sm_deadline_ms(&server->sm);

    if (server->sm.state != SERVER_DRAINING || server->listening || pool_used(server->conns) > 0 ||
        (server->stats.under_way > 0 && !late)) {
        return;
    }
    sm_move(&server->sm, SERVER_DRAINED);
    loop_timer_stop(server->sweep);
    log_event(LOG_INFO, "http_drained", LOG_U("port", server->port));
    server->drained(server->drained_arg); /* may close the server: last thing done here */
}

static void on_sweep(void *arg)
{
    struct http_server *server = arg;
    uint64_t now_ms = clock_mono_ms();

    sweep_slow_bodies(server, now_ms);
    for (int state = 0; state < CONN_CLOSING; state++) {
        sweep_input(server, (enum conn_input)state, now_ms);
    }
    sweep_output(server, now_ms);
    if (server->sm.state == SERVER_DRAINING) {
        if (now_ms >= sm_deadline_ms(&server->sm)) {
            close_all(server);
        }
        check_drained(server);
    } else if (pool_used(server->conns) == 0) {
        loop_timer_stop(server->sweep);
    }
}

/* Connections whose kept bytes wait: moved on here, not inside somebody's http_exchange_reply(). */
static bool on_resume(void *arg)
{
    struct http_server *server = arg;

    for (int i = 0; i < TURN_REQUESTS_MAX / HTTP_PIPELINE_MAX; i++) {
        struct list *node = list_pop_front(&server->resumable);

        if (node == NULL) {
            return false;
        }
        http_conn_resume(LIST_ENTRY(node, struct http_conn, resume_node));
    }
    return !list_empty(&server->resumable);
}

/* --- accepting --------------------------------------------------------------------- */

static void accept_one(struct http_server *server)
{
    struct http_conn *conn = pool_take(server->conns, NULL);
    int status = 0;

    /* Without a struct the client waits in the backlog; libuv asks no more until it is accepted. */
    server->accept_waiting = conn == NULL;
    if (conn == NULL) {
        return;
    }
    conn->server = server;
    conn->refused = server->stats.open >= server->options.connections_max;
    list_init(&conn->input_node);
    status = uv_tcp_init(loop_uv(server->loop), &conn->tcp);
    assert(status == 0);
    status = uv_accept((uv_stream_t *)&server->listener, (uv_stream_t *)&conn->tcp);
    assert(status == 0); /* guaranteed once per connection callback */
    if (pool_used(server->conns) == 1) {
        loop_timer_start(server->sweep, HTTP_SWEEP_MS, HTTP_SWEEP_MS);
    }
    if (conn->refused) {
        server->stats.refused++;
        if (log_rate_allows(&server->refused_logged_ms)) {
            log_event(LOG_WARN, "http_connections_full", LOG_U("open", server->stats.open));
        }
    } else {
        server->stats.accepted++;
        server->stats.open++;
    }
    http_conn_start(conn);
}

static void on_connection(uv_stream_t *listener, int status)
{
    struct http_server *server = CONTAINER_OF(listener, struct http_server, listener);

    if (status == 0) {
        accept_one(server);
    } else if (log_rate_allows(&server->refused_logged_ms)) {
        log_event(LOG_WARN, "http_accept_failed", LOG_S("why", uv_strerror(status)));
    }
}

void http_server_conn_gone(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    if (!conn->refused) {
        assert(server->stats.open > 0);
        server->stats.open--;
    }
    pool_give(server->conns, conn);
    if (server->accept_waiting && server->sm.state == SERVER_SERVING) {
        accept_one(server);
    }
    check_drained(server);
}

/* --- refusals without an exchange ---------------------------------------------------- */

static enum code refusal_prepare(struct http_server *server, struct err *err)
{
    struct arena *arena = arena_open(server->options.arenas, server->options.arena_bytes_max);
    const struct problem problem = {
        .code = ERR_OVERLOADED,
        .instance = STR_EMPTY,
        .request_id = STR_EMPTY,
    };
    struct buf body = buf_over(server->refusal_body, sizeof(server->refusal_body));
    enum code code = ERR_OVERLOADED;

    if (arena != NULL) {
        code = problem_write(&problem, arena, &server->refusal);
        buf_str(&body, server->refusal.body);
        arena_dispose(&arena);
    }
    if (code != OK || body.overflow) {
        return err_set(err, ERR_INTERNAL, "no memory for the answer of an overloaded server");
    }
    server->refusal.body = buf_view(&body);
    server->refusal.close = true;
    http_response_add(&server->refusal, "Retry-After", STR("1"));
    return OK;
}

void http_server_write_refusal(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    char memory[REFUSAL_BYTES];
    struct buf head = buf_over(memory, sizeof(memory));
    uv_buf_t bufs[2];

    if (http_write_head(&server->refusal, clock_wall_ms(), &head, NULL) != OK) {
        return;
    }
    bufs[0] = uv_buf_init(head.ptr, (unsigned)head.len);
    bufs[1] = uv_buf_init(server->refusal_body, (unsigned)server->refusal.body.len);
    /* Nothing else is queued here, so it fits the socket; a client for which it does not goes
     * without. */
    (void)uv_try_write((uv_stream_t *)&conn->tcp, bufs, ARRAY_LEN(bufs));
}

/* --- opening ------------------------------------------------------------------------- */

static void server_free(struct http_server *server)
{
    assert(list_empty(&server->orphans));
    pool_close(&server->conns);
    free(server);
}

static void on_listener_failed(uv_handle_t *handle)
{
    server_free(CONTAINER_OF(handle, struct http_server, listener));
}

static int bind_and_listen(struct http_server *server)
{
    const struct http_server_options *o = &server->options;
    struct sockaddr_storage address;
    int len = sizeof(address);
    int one = 1;
    uv_os_fd_t fd = -1;
    int status = 0;

    memset(&address, 0, sizeof(address));
    status = strchr(o->address, ':') != NULL
                 ? uv_ip6_addr(o->address, o->port, (struct sockaddr_in6 *)&address)
                 : uv_ip4_addr(o->address, o->port, (struct sockaddr_in *)&address);
    if (status == 0) {
        status = uv_tcp_init_ex(loop_uv(server->loop), &server->listener, address.ss_family);
    } else {
        (void)uv_tcp_init(loop_uv(server->loop), &server->listener);
    }
    if (status == 0 && o->reuse_port) {
        status = uv_fileno((uv_handle_t *)&server->listener, &fd);
        if (status == 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) != 0) {
            status = UV_ENOTSUP;
        }
    }
    if (status == 0) {
        status = uv_tcp_bind(&server->listener, (const struct sockaddr *)&address, 0);
    }
    if (status == 0) {
        status = uv_listen((uv_stream_t *)&server->listener, BACKLOG, on_connection);
    }
    if (status == 0) {
        status = uv_tcp_getsockname(&server->listener, (struct sockaddr *)&address, &len);
        server->port =
            ntohs(address.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)&address)->sin6_port
                                                : ((const struct sockaddr_in *)&address)->sin_port);
    }
    return status;
}

static struct http_server *server_make(struct loop *loop, const struct http_server_options *options)
{
    struct http_server *server = calloc(1, sizeof(*server));

    assert(options->connections_max > 0);
    if (server == NULL) {
        return NULL;
    }
    server->conns = pool_open(sizeof(struct http_conn) + http_parser_bytes(),
                              options->connections_max + HTTP_REFUSALS_MAX);
    if (server->conns == NULL) {
        free(server);
        return NULL;
    }
    server->loop = loop;
    server->options = *options;
    sm_init(&server->sm, "http_server", server_rows, SERVER_STATE_COUNT, SERVER_SERVING);
    http_conn_tables(server);
    for (size_t i = 0; i < CONN_INPUT_COUNT; i++) {
        list_init(&server->by_input[i]);
    }
    list_init(&server->writing);
    list_init(&server->resumable);
    list_init(&server->orphans);
    return server;
}

enum code http_server_open(struct loop *loop,
                           const struct http_server_options *options,
                           struct http_server **out,
                           struct err *err)
{
    struct http_server *server = NULL;
    int status = 0;

    assert(loop != NULL);
    assert(options->on_request != NULL);
    assert(options->arenas != NULL);
    assert(options->arena_bytes_max >= ARENA_BYTES_LEAST);
    assert(options->connections_max > 0);
    assert(options->connections_max <= HTTP_CONNECTIONS_MAX);
    assert(sizeof(struct http_conn) + http_parser_bytes() <= HTTP_CONN_BYTES_MAX);
    server = server_make(loop, options);
    if (server == NULL || refusal_prepare(server, err) != OK) {
        if (server != NULL) {
            server_free(server);
        }
        return err_set(err, ERR_INTERNAL, "no memory for the HTTP server");
    }
    server->sweep = loop_timer_open(loop, on_sweep, server);
    server->resume = loop_pass_open(loop, on_resume, server);
    status = server->sweep == NULL || server->resume == NULL ? UV_ENOMEM : 0;
    if (status != 0) {
        (void)uv_tcp_init(loop_uv(loop), &server->listener);
    } else {
        status = bind_and_listen(server);
    }
    if (status != 0) {
        loop_timer_close(&server->sweep);
        loop_pass_close(&server->resume);
        uv_close((uv_handle_t *)&server->listener, on_listener_failed);
        return err_set(err,
                       ERR_UNAVAILABLE,
                       "cannot listen on %s port %u: %s",
                       options->address,
                       options->port,
                       uv_strerror(status));
    }
    server->listening = true;
    log_event(LOG_INFO,
              "http_listening",
              LOG_S("listener", options->address),
              LOG_U("port", server->port));
    *out = server;
    return OK;
}

uint16_t http_server_port(const struct http_server *server)
{
    assert(server != NULL);
    return server->port;
}

/* --- closing ------------------------------------------------------------------------- */

static void on_listener_closed(uv_handle_t *handle)
{
    struct http_server *server = CONTAINER_OF(handle, struct http_server, listener);

    server->listening = false;
    check_drained(server);
}

void http_server_drain(struct http_server *server, void (*done)(void *arg), void *arg)
{
    uint32_t slot = 0;

    assert(server != NULL);
    assert(done != NULL);
    sm_move(&server->sm, SERVER_DRAINING);
    server->drained = done;
    server->drained_arg = arg;
    uv_close((uv_handle_t *)&server->listener, on_listener_closed);
    for (struct http_conn *conn = pool_next(server->conns, &slot); conn != NULL;
         conn = pool_next(server->conns, &slot)) {
        http_conn_drain(conn);
    }
    loop_timer_start(server->sweep, HTTP_SWEEP_MS, HTTP_SWEEP_MS);
}

void http_server_close(struct http_server **server)
{
    struct http_server *closing = NULL;

    assert(server != NULL);
    closing = *server;
    *server = NULL;
    if (closing == NULL) {
        return;
    }
    assert(closing->sm.state == SERVER_DRAINED);
    loop_timer_close(&closing->sweep);
    loop_pass_close(&closing->resume);
    closing->closed = true;
    if (closing->stats.under_way == 0) {
        server_free(closing);
    }
}

void http_server_orphan_gone(struct http_server *server)
{
    /* While draining the sweep notices: `drained` is not called from inside somebody's reply. */
    if (server->closed && server->stats.under_way == 0) {
        server_free(server);
    }
}

void http_server_stats(const struct http_server *server, struct http_server_stats *out)
{
    assert(server != NULL);
    assert(out != NULL);
    *out = server->stats;
}
