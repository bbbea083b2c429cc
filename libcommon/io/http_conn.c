#include "libcommon/io/http_conn.h"

#include <assert.h>
#include <string.h>

#define READING_MOVES                                                                            \
    (MAY(CONN_IDLE) | MAY(CONN_HEADER) | MAY(CONN_BODY) | MAY(CONN_WORKING) | MAY(CONN_PAUSED) | \
     MAY(CONN_FINISHING) | MAY(CONN_CLOSING))

/* clang-format off */
static const struct sm_row input_rows[CONN_INPUT_COUNT] = {
    [CONN_IDLE]      = {"idle",      HTTP_IDLE_MS_MAX,   READING_MOVES},
    [CONN_HEADER]    = {"header",    HTTP_HEADER_MS_MAX, READING_MOVES},
    [CONN_BODY]      = {"body",      HTTP_BODY_MS_MAX,   READING_MOVES},
    [CONN_WORKING]   = {"working",   0,                  READING_MOVES},
    [CONN_PAUSED]    = {"paused",    0,                  READING_MOVES},
    [CONN_FINISHING] = {"finishing", 0,                  MAY(CONN_LINGERING) | MAY(CONN_CLOSING)},
    [CONN_LINGERING] = {"lingering", HTTP_LINGER_MS_MAX, MAY(CONN_CLOSING)},
    [CONN_CLOSING]   = {"closing",   0,                  0},
};

static const struct sm_row output_rows[CONN_OUTPUT_COUNT] = {
    [CONN_QUIET]   = {"quiet",   0,                 MAY(CONN_WRITING)},
    [CONN_WRITING] = {"writing", HTTP_WRITE_MS_MAX, MAY(CONN_WRITING) | MAY(CONN_QUIET)},
};
/* clang-format on */

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf);

void http_conn_tables(struct http_server *server)
{
    const struct http_server_options *o = &server->options;
    const struct {
        struct sm_row *row;
        uint32_t ms;
    } given[] = {
        {&server->input_rows[CONN_IDLE],     o->idle_ms_max  },
        {&server->input_rows[CONN_HEADER],   o->header_ms_max},
        {&server->input_rows[CONN_BODY],     o->body_ms_max  },
        {&server->output_rows[CONN_WRITING], o->write_ms_max },
    };

    memcpy(server->input_rows, input_rows, sizeof(input_rows));
    memcpy(server->output_rows, output_rows, sizeof(output_rows));
    for (size_t i = 0; i < ARRAY_LEN(given); i++) {
        given[i].row->timeout_ms = given[i].ms == 0 ? given[i].row->timeout_ms : given[i].ms;
    }
}

/* --- states ---------------------------------------------------------------------- */

static void input_move(struct http_conn *conn, enum conn_input state)
{
    assert(state < CONN_INPUT_COUNT);
    sm_move(&conn->input, (int)state);
    list_remove(&conn->input_node);
    list_push_back(&conn->server->by_input[state], &conn->input_node);
    conn->moved_at_request = conn->requests;
    conn->rate_bytes = 0;
}

static bool input_is(const struct http_conn *conn, enum conn_input state)
{
    return conn->input.state == (int)state;
}

/* Whether requests of this connection are still wanted. */
static bool input_open(const struct http_conn *conn)
{
    return conn->input.state < (int)CONN_FINISHING;
}

static bool may_parse(const struct http_conn *conn)
{
    return input_open(conn) && conn->unanswered < HTTP_PIPELINE_MAX &&
           conn->unsent_bytes < (size_t)HTTP_WRITE_HIGH_BYTES;
}

static void read_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct http_conn *conn = CONTAINER_OF(handle, struct http_conn, tcp);

    (void)suggested;
    /* One buffer for all: what is not parsed when on_read() returns has been copied by then. */
    *buf = uv_buf_init(conn->server->read_buffer, sizeof(conn->server->read_buffer));
}

static void reading_start(struct http_conn *conn)
{
    /* Refused only while closing, or without memory for the poll: then the sweep ends the
     * connection. */
    (void)uv_read_start((uv_stream_t *)&conn->tcp, read_buffer, on_read);
}

static void kept_drop(struct http_conn *conn)
{
    arena_dispose(&conn->kept_arena);
    conn->kept = STR_EMPTY;
    list_remove(&conn->resume_node);
}

void http_conn_finish(struct http_conn *conn)
{
    struct http_exchange *x = conn->reading;

    if (!input_open(conn)) {
        return;
    }
    (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    kept_drop(conn);
    conn->reading = NULL;
    if (x != NULL) {
        http_exchange_abandon(x);
    }
    input_move(conn, CONN_FINISHING);
}

/* --- the end --------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct http_conn *conn = CONTAINER_OF(handle, struct http_conn, tcp);

    /* Only now has libuv given up a queued write, and with it the answers it points into. */
    LIST_EACH_SAFE(&conn->exchanges, node, following)
    {
        http_exchange_abandon(LIST_ENTRY(node, struct http_exchange, node));
    }
    list_remove(&conn->input_node);
    list_remove(&conn->writing_node);
    http_server_conn_gone(conn);
}

static void let_go(struct http_conn *conn, bool reset)
{
    input_move(conn, CONN_CLOSING);
    kept_drop(conn);
    conn->reading = NULL;
    LIST_EACH_SAFE(&conn->exchanges, node, following)
    {
        struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, node);

        if (x->state != EXCHANGE_REPLIED) {
            http_exchange_abandon(x);
        }
    }
    if (!reset || uv_tcp_close_reset(&conn->tcp, on_closed) != 0) {
        uv_close((uv_handle_t *)&conn->tcp, on_closed);
    }
}

void http_conn_close(struct http_conn *conn)
{
    if (!input_is(conn, CONN_CLOSING)) {
        let_go(conn, false);
    }
}

static void on_shutdown(uv_shutdown_t *shutdown, int status)
{
    struct http_conn *conn = CONTAINER_OF(shutdown, struct http_conn, shutdown);

    if (status < 0) {
        http_conn_close(conn); /* also when it is closing already */
    }
}

/* Everything is sent. Closing at once while bytes of the client are unread would reset the
 * connection and may take the answer away from it, so its end is awaited, for a while. */
static void linger(struct http_conn *conn)
{
    assert(list_empty(&conn->exchanges));
    if (conn->peer_closed ||
        uv_shutdown(&conn->shutdown, (uv_stream_t *)&conn->tcp, on_shutdown) != 0) {
        http_conn_close(conn);
        return;
    }
    input_move(conn, CONN_LINGERING);
    reading_start(conn);
}

/* --- where a connection comes to rest --------------------------------------------- */

static void settle_finishing(struct http_conn *conn)
{
    if (!list_empty(&conn->exchanges)) {
        return;
    }
    assert(conn->output.state == CONN_QUIET);
    assert(conn->unsent_bytes == 0);
    if (conn->refusal_due) {
        conn->refusal_due = false;
        http_server_write_refusal(conn);
    }
    linger(conn);
}

static enum conn_input resting_state(const struct http_conn *conn, enum http_phase phase)
{
    if (conn->kept.len > 0 || !may_parse(conn)) {
        return CONN_PAUSED;
    }
    if (conn->reading != NULL) {
        return phase == HTTP_PHASE_BODY ? CONN_BODY : CONN_HEADER;
    }
    return list_empty(&conn->exchanges) ? CONN_IDLE : CONN_WORKING;
}

static void settle(struct http_conn *conn)
{
    enum conn_input state = CONN_IDLE;
    bool was_paused = input_is(conn, CONN_PAUSED);

    if (input_open(conn) && conn->server->sm.state != SERVER_SERVING && conn->reading == NULL) {
        http_conn_finish(conn);
    }
    if (input_is(conn, CONN_FINISHING)) {
        settle_finishing(conn);
    }
    if (!input_open(conn)) {
        return;
    }
    state = resting_state(conn, conn->phase);
    /* A state that is kept keeps its time, unless it is that of another request. */
    if (!input_is(conn, state) || conn->moved_at_request != conn->requests) {
        input_move(conn, state);
    }
    if (state == CONN_PAUSED && !was_paused) {
        (void)uv_read_stop((uv_stream_t *)&conn->tcp);
    } else if (state != CONN_PAUSED && was_paused) {
        reading_start(conn);
    }
    if (conn->kept.len > 0 && may_parse(conn) && list_empty(&conn->resume_node)) {
        list_push_back(&conn->server->resumable, &conn->resume_node);
        loop_pass_arm(conn->server->resume);
    }
}

/* --- parsing ---------------------------------------------------------------------- */

static void refuse(struct http_conn *conn, enum code code, const char *detail)
{
    struct http_exchange *x = conn->reading;

    assert(x != NULL);
    assert(code != OK);
    conn->reading = NULL;
    conn->unanswered++;
    http_conn_finish(conn);
    http_exchange_refuse(x, code, detail);
}

static void request_complete(struct http_conn *conn)
{
    struct http_exchange *x = conn->reading;
    struct http_server *server = conn->server;

    assert(x != NULL);
    conn->reading = NULL;
    conn->phase = HTTP_PHASE_IDLE;
    conn->unanswered++;
    conn->requests++;
    if (!x->request.keep_alive || conn->requests >= HTTP_REQUESTS_PER_CONNECTION ||
        server->sm.state != SERVER_SERVING) {
        http_conn_finish(conn);
    }
    http_exchange_begin(x);
}

/* Feeds one request; returns the bytes that belong to the next one. */
static struct str parse_one(struct http_conn *conn, struct str bytes)
{
    struct err err = {.code = OK};
    enum http_phase before = conn->phase;
    size_t used = 0;
    enum code code = http_parser_feed(conn->parser, bytes, &used, &conn->phase, &err);

    assert(conn->reading != NULL);
    assert(bytes.len > 0);
    conn->reading->end.bytes_in += code == OK ? used : bytes.len;
    if (code != OK) {
        conn->server->stats.malformed++;
        refuse(conn, code, err.text);
        return STR_EMPTY;
    }
    if (input_is(conn, CONN_BODY)) {
        conn->rate_bytes += (uint32_t)used;
    }
    if (conn->phase == HTTP_PHASE_COMPLETE) {
        request_complete(conn);
    } else if (conn->phase == HTTP_PHASE_BODY && before != HTTP_PHASE_BODY &&
               conn->reading->request.expects_continue) {
        conn->reading->interim = STR("HTTP/1.1 100 Continue\r\n\r\n");
    }
    return str_sub(bytes, used, bytes.len);
}

static struct str parse(struct http_conn *conn, struct str bytes)
{
    while (bytes.len > 0 && may_parse(conn)) {
        if (conn->reading == NULL) {
            conn->reading = http_exchange_open(conn);
        }
        if (conn->reading == NULL) {
            conn->refusal_due = true;
            http_conn_finish(conn);
            break;
        }
        bytes = parse_one(conn, bytes);
    }
    return input_open(conn) ? bytes : STR_EMPTY;
}

/* Bytes that may not be parsed yet outlive the read buffer in an arena of their own. */
static void keep(struct http_conn *conn, struct str bytes)
{
    char *copy = NULL;

    assert(conn->kept_arena == NULL);
    assert(bytes.len > 0);
    conn->kept_arena =
        arena_open(conn->server->options.arenas, 2 * sizeof(conn->server->read_buffer));
    if (conn->kept_arena != NULL) {
        copy = arena_alloc(conn->kept_arena, bytes.len);
    }
    if (copy == NULL) {
        conn->refusal_due = true;
        http_conn_finish(conn);
        return;
    }
    memcpy(copy, bytes.ptr, bytes.len);
    conn->kept = (struct str){copy, bytes.len};
}

void http_conn_run(struct http_conn *conn, struct str bytes)
{
    bool more = true;

    assert(!conn->busy);
    conn->busy = true;
    while (more) {
        bytes = parse(conn, bytes);
        more = http_exchange_flush(conn) && bytes.len > 0 && may_parse(conn);
    }
    if (bytes.len > 0 && input_open(conn)) {
        keep(conn, bytes);
    }
    conn->busy = false;
    settle(conn);
}

void http_conn_resume(struct http_conn *conn)
{
    struct arena *arena = conn->kept_arena;
    struct str bytes = conn->kept;

    assert(arena != NULL);
    assert(bytes.len > 0);
    conn->kept_arena = NULL;
    conn->kept = STR_EMPTY;
    http_conn_run(conn, bytes);
    arena_dispose(&arena);
}

/* --- events ------------------------------------------------------------------------ */

static void on_read(uv_stream_t *stream, ssize_t nread, const uv_buf_t *buf)
{
    struct http_conn *conn = CONTAINER_OF(stream, struct http_conn, tcp);

    if (nread == 0) {
        return;
    }
    if (nread == UV_EOF && !input_is(conn, CONN_LINGERING)) {
        conn->peer_closed = true;
        http_conn_finish(conn);
        settle(conn);
        return;
    }
    if (nread < 0) {
        http_conn_close(conn);
        return;
    }
    conn->server->stats.bytes_in += (uint64_t)nread;
    if (input_is(conn, CONN_LINGERING)) {
        conn->lingered_bytes += (size_t)nread;
        if (conn->lingered_bytes > HTTP_LINGER_BYTES_MAX) {
            http_conn_close(conn);
        }
        return;
    }
    assert(conn->kept.len == 0);
    http_conn_run(conn, (struct str){buf->base, (size_t)nread});
}

static void peer_read(struct http_conn *conn)
{
    struct sockaddr_storage address;
    int len = sizeof(address);
    static const char mapped[] = "::ffff:";
    size_t skip = 0;

    memset(&address, 0, sizeof(address));
    if (uv_tcp_getpeername(&conn->tcp, (struct sockaddr *)&address, &len) != 0 ||
        uv_ip_name((const struct sockaddr *)&address, conn->peer, sizeof(conn->peer)) != 0) {
        conn->peer[0] = '\0';
    }
    /* On a socket for both families an IPv4 client is the same client. */
    if (strncmp(conn->peer, mapped, sizeof(mapped) - 1) == 0 && strchr(conn->peer, '.') != NULL) {
        skip = sizeof(mapped) - 1;
    }
    conn->peer_len = (uint8_t)(strlen(conn->peer) - skip);
    memmove(conn->peer, conn->peer + skip, conn->peer_len + (size_t)1);
}

void http_conn_start(struct http_conn *conn)
{
    struct http_server *server = conn->server;

    assert(server != NULL);
    conn->parser = http_parser_init(conn->parser_memory);
    sm_init(&conn->input, "http_conn", server->input_rows, CONN_INPUT_COUNT, CONN_IDLE);
    sm_init(&conn->output, "http_conn_output", server->output_rows, CONN_OUTPUT_COUNT, CONN_QUIET);
    list_push_back(&server->by_input[CONN_IDLE], &conn->input_node);
    list_init(&conn->writing_node);
    list_init(&conn->resume_node);
    list_init(&conn->exchanges);
    conn->kept = STR_EMPTY;
    (void)uv_tcp_nodelay(&conn->tcp, 1);
    peer_read(conn);
    if (conn->refused) {
        conn->refusal_due = true;
        http_conn_finish(conn);
        settle(conn);
        return;
    }
    reading_start(conn);
}

void http_conn_input_late(struct http_conn *conn)
{
    if (input_is(conn, CONN_HEADER) || input_is(conn, CONN_BODY)) {
        conn->server->stats.timeouts++;
        refuse(conn, ERR_CLIENT_TIMEOUT, NULL);
        http_conn_run(conn, STR_EMPTY);
        return;
    }
    http_conn_close(conn);
}

void http_conn_output_late(struct http_conn *conn)
{
    assert(conn->output.state == CONN_WRITING);
    if (!input_is(conn, CONN_CLOSING)) {
        conn->server->stats.timeouts++;
        let_go(conn, true);
    }
}

void http_conn_drain(struct http_conn *conn)
{
    /* A request of which a part is in is read to its end. */
    if (!conn->busy && conn->reading == NULL && input_open(conn)) {
        http_conn_finish(conn);
        settle(conn);
    }
}
