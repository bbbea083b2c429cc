#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/io/http_conn.h"

#include <assert.h>
#include <string.h>

#define CONNECTION_BYTES_MAX 32 /* a Connection field */
#define QUEUED_PARTS_MAX     4  /* libuv allocates for more */
#define RETRY_AFTER_S        1

/* The time since the mark, which moves on. */
static uint64_t stage_us(struct http_exchange *x)
{
    uint64_t now = clock_mono_us();
    uint64_t us = now - x->mark_us;

    x->mark_us = now;
    return us;
}

/* A request that was not read to its end and not answered is none. */
static void tell_end(struct http_exchange *x)
{
    const struct http_server_options *options = &x->server->options;

    if (options->on_end == NULL || x->end.status == 0) {
        return;
    }
    assert(x->end.bytes_out >= x->head.len + x->body.len);
    x->end.write_us = stage_us(x);
    x->end.bytes_out -= x->head.len + x->body.len;
    x->end.request_id = x->own_id;
    x->end.method = x->method;
    (void)str_copy(x->request.method, x->method, sizeof(x->method));
    options->on_end(options->ctx, x->attached, http_exchange_peer(x), &x->end);
}

static void dispose(struct http_exchange *x)
{
    struct arena *arena = x->arena;

    tell_end(x);
    arena_dispose(&arena); /* x lives in it */
}

struct http_exchange *http_exchange_open(struct http_conn *conn)
{
    struct http_server *server = conn->server;
    struct arena *arena = arena_open(server->options.arenas, server->options.arena_bytes_max);
    struct http_exchange *x = NULL;

    if (arena == NULL) {
        return NULL;
    }
    x = arena_alloc(arena, sizeof(*x));
    if (x == NULL) {
        arena_dispose(&arena);
        return NULL;
    }
    x->conn = conn;
    x->server = server;
    x->arena = arena;
    x->state = EXCHANGE_READING;
    x->close = false;
    x->interim = STR_EMPTY;
    x->head = STR_EMPTY;
    x->body = STR_EMPTY;
    x->attached = NULL;
    x->end = (struct http_end){.status = 0};
    x->mark_us = clock_mono_us();
    x->own_id[0] = '\0';
    x->peer_len = conn->peer_len;
    memcpy(x->peer, conn->peer, sizeof(x->peer));
    http_parser_begin(conn->parser, &x->request, arena);
    conn->phase = HTTP_PHASE_IDLE;
    list_push_back(&conn->exchanges, &x->node);
    return x;
}

void http_exchange_begin(struct http_exchange *x)
{
    struct http_server *server = x->server;

    assert(x->state == EXCHANGE_READING);
    x->state = EXCHANGE_WORKING;
    x->end.read_us = stage_us(x);
    server->stats.requests++;
    server->stats.under_way++;
    server->options.on_request(server->options.ctx, x);
}

void http_exchange_abandon(struct http_exchange *x)
{
    list_remove(&x->node);
    if (x->state != EXCHANGE_WORKING) {
        dispose(x);
        return;
    }
    x->conn = NULL;
    list_push_back(&x->server->orphans, &x->node);
}

/* --- the answer ------------------------------------------------------------------ */

/* Puts a Connection field before the empty line. */
static void connection_write(struct buf *head, struct str value)
{
    assert(head->len > 2);
    head->len -= 2;
    buf_text(head, "Connection: ");
    buf_str(head, value);
    buf_text(head, "\r\n\r\n");
}

static bool is_last_of_finishing(const struct http_exchange *x)
{
    const struct http_conn *conn = x->conn;

    return conn->input.state == CONN_FINISHING && conn->exchanges.prev == &x->node;
}

static enum code answer(struct http_exchange *x, const struct http_response *r, struct err *err)
{
    bool close = r->close || is_last_of_finishing(x);
    size_t cap = http_head_bytes(r) + CONNECTION_BYTES_MAX;
    char *memory = arena_alloc(x->arena, cap);
    struct buf head = buf_over(memory, memory == NULL ? 0 : cap);
    enum code code = http_write_head(r, clock_wall_ms(), &head, err);

    if (code != OK) {
        return code;
    }
    if (close && !r->close) {
        connection_write(&head, STR("close"));
    } else if (!close && x->request.version_minor == 0) {
        connection_write(&head, STR("keep-alive"));
    }
    assert(!head.overflow);
    x->state = EXCHANGE_REPLIED;
    x->close = close;
    x->head = buf_view(&head);
    x->body = r->head_only ? STR_EMPTY : r->body;
    x->conn->unsent_bytes += x->head.len + x->body.len;
    x->end.status = r->status;
    x->end.bytes_out = x->head.len + x->body.len;
    return OK;
}

/* When even the problem document cannot be written. */
static void answer_bare(struct http_exchange *x)
{
    x->state = EXCHANGE_REPLIED;
    x->close = true;
    x->head = STR("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n"
                  "Cache-Control: no-store\r\nConnection: close\r\n\r\n");
    x->body = STR_EMPTY;
    x->conn->unsent_bytes += x->head.len;
    x->end.status = 500;
    x->end.bytes_out = x->head.len;
}

static void answer_problem(struct http_exchange *x, enum code code, const char *detail, bool close)
{
    struct http_response response;
    const struct problem problem = {
        .code = code,
        .detail = detail,
        .instance = x->request.path,
        .request_id = {x->own_id, sizeof(x->own_id) - 1},
        .retry_after_s = code_retryable(code) ? RETRY_AFTER_S : 0,
    };

    uuid_v7(x->own_id);
    x->end.refused = code;
    if (problem_write(&problem, x->arena, &response) != OK) {
        answer_bare(x);
        return;
    }
    http_response_add(&response, "X-Request-Id", problem.request_id);
    if (code == ERR_METHOD) {
        http_response_add(&response, "Allow", STR("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"));
    }
    response.close = close;
    response.head_only = str_eq(x->request.method, STR("HEAD"));
    if (answer(x, &response, NULL) != OK) {
        answer_bare(x);
    }
}

void http_exchange_refuse(struct http_exchange *x, enum code code, const char *detail)
{
    assert(x != NULL);
    assert(x->state == EXCHANGE_READING);
    x->interim = STR_EMPTY;
    x->end.read_us = stage_us(x);
    answer_problem(x, code, detail, true);
}

void http_exchange_reply(struct http_exchange *x, const struct http_response *response)
{
    static _Thread_local uint64_t logged_ms;
    struct http_server *server = NULL;
    struct err err = {.code = OK};

    assert(x != NULL);
    assert(response != NULL);
    assert(x->state == EXCHANGE_WORKING);
    server = x->server;
    assert(server->stats.under_way > 0);
    server->stats.under_way--;
    x->end.work_us = stage_us(x);
    if (x->conn == NULL) {
        list_remove(&x->node);
        x->end.status = response->status;
        dispose(x);
        http_server_orphan_gone(server);
        return;
    }
    if (answer(x, response, &err) != OK) {
        if (log_rate_allows(&logged_ms)) {
            log_event(LOG_ERROR, "http_answer_refused", LOG_S("why", err.text));
        }
        answer_problem(x, ERR_INTERNAL, NULL, response->close);
    }
    if (!x->conn->busy) {
        http_conn_run(x->conn, STR_EMPTY);
    }
}

/* --- sending ----------------------------------------------------------------------- */

struct parts {
    uv_buf_t bufs[HTTP_WRITE_PARTS_MAX];
    unsigned count;
    size_t bytes;
};

/* libuv's type serves reading and writing; what is written is not changed. */
static char *without_const(const char *text)
{
    union {
        const char *text;
        char *bytes;
    } same = {.text = text};

    return same.bytes;
}

static void part_add(struct parts *parts, struct str part, unsigned count_max, size_t bytes_max)
{
    size_t len = part.len < bytes_max - parts->bytes ? part.len : bytes_max - parts->bytes;

    if (len > 0 && parts->count < count_max) {
        parts->bufs[parts->count] = (uv_buf_t){.base = without_const(part.ptr), .len = len};
        parts->count++;
        parts->bytes += len;
    }
}

/* What is due, in the order of the requests: an answer waits for those before it. */
static void parts_gather(const struct http_conn *conn,
                         struct parts *parts,
                         unsigned count_max,
                         size_t bytes_max)
{
    parts->count = 0;
    parts->bytes = 0;
    LIST_EACH(&conn->exchanges, node)
    {
        const struct http_exchange *x = LIST_ENTRY(node, struct http_exchange, node);

        part_add(parts, x->interim, count_max, bytes_max);
        if (x->state != EXCHANGE_REPLIED) {
            return;
        }
        part_add(parts, x->head, count_max, bytes_max);
        part_add(parts, x->body, count_max, bytes_max);
        if (x->close || parts->count == count_max || parts->bytes == bytes_max) {
            return;
        }
    }
}

static size_t sent_of(struct str *part, size_t *bytes)
{
    size_t len = part->len < *bytes ? part->len : *bytes;

    part->ptr += len;
    part->len -= len;
    *bytes -= len;
    return len;
}

/* Requests behind an answer that closes are not answered (RFC 9112 section 9.6). */
static void drop_rest(struct http_conn *conn)
{
    http_conn_finish(conn);
    LIST_EACH_SAFE(&conn->exchanges, node, following)
    {
        http_exchange_abandon(LIST_ENTRY(node, struct http_exchange, node));
    }
    conn->unanswered = 0;
    conn->unsent_bytes = 0;
}

static void finished(struct http_exchange *x)
{
    struct http_conn *conn = x->conn;
    bool close = x->close;

    assert(conn->unanswered > 0);
    conn->unanswered--;
    list_remove(&x->node);
    x->end.sent = true;
    dispose(x);
    if (close) {
        drop_rest(conn);
    }
}

static void http_exchange_sent(struct http_conn *conn, size_t bytes)
{
    conn->server->stats.bytes_out += bytes;
    while (bytes > 0) {
        struct http_exchange *x = NULL;
        size_t answered = 0;

        assert(!list_empty(&conn->exchanges));
        x = LIST_ENTRY(conn->exchanges.next, struct http_exchange, node);
        (void)sent_of(&x->interim, &bytes);
        answered = sent_of(&x->head, &bytes);
        answered += sent_of(&x->body, &bytes);
        assert(conn->unsent_bytes >= answered);
        conn->unsent_bytes -= answered;
        if (x->state == EXCHANGE_REPLIED && x->head.len + x->body.len == 0) {
            finished(x);
        }
    }
}

static void on_written(uv_write_t *write, int status)
{
    struct http_conn *conn = CONTAINER_OF(write, struct http_conn, write);

    sm_move(&conn->output, CONN_QUIET);
    list_remove(&conn->writing_node);
    if (conn->input.state == CONN_CLOSING) {
        return;
    }
    if (status < 0) {
        http_conn_close(conn);
        return;
    }
    http_exchange_sent(conn, conn->written_bytes);
    http_conn_run(conn, STR_EMPTY);
}

/* The kernel took less than there is. The rest goes in pieces, each with a deadline of its own, so
 * a long answer may take long, but a client that stops reading is noticed. */
static bool write_queue(struct http_conn *conn)
{
    struct parts parts;
    int status = 0;

    parts_gather(conn, &parts, QUEUED_PARTS_MAX, (size_t)HTTP_WRITE_HIGH_BYTES);
    assert(parts.count > 0);
    status = uv_write(&conn->write, (uv_stream_t *)&conn->tcp, parts.bufs, parts.count, on_written);
    if (status != 0) {
        http_conn_close(conn);
        return false;
    }
    conn->written_bytes = parts.bytes;
    sm_move(&conn->output, CONN_WRITING);
    list_push_back(&conn->server->writing, &conn->writing_node);
    return true;
}

bool http_exchange_flush(struct http_conn *conn)
{
    while (conn->input.state < CONN_LINGERING && conn->output.state == CONN_QUIET) {
        struct parts parts;
        int status = 0;

        parts_gather(conn, &parts, HTTP_WRITE_PARTS_MAX, SIZE_MAX);
        if (parts.count == 0) {
            return true;
        }
        status = uv_try_write((uv_stream_t *)&conn->tcp, parts.bufs, parts.count);
        if (status < 0 && status != UV_EAGAIN) {
            http_conn_close(conn);
            return false;
        }
        http_exchange_sent(conn, status < 0 ? 0 : (size_t)status);
        if ((status < 0 || (size_t)status < parts.bytes) && !write_queue(conn)) {
            return false;
        }
    }
    return conn->input.state != CONN_CLOSING;
}

/* --- what the application sees ------------------------------------------------------ */

struct http_request *http_exchange_request(struct http_exchange *x)
{
    assert(x != NULL);
    assert(x->state == EXCHANGE_WORKING);
    return &x->request;
}

struct arena *http_exchange_arena(struct http_exchange *x)
{
    assert(x != NULL);
    return x->arena;
}

struct str http_exchange_peer(const struct http_exchange *x)
{
    assert(x != NULL);
    assert(x->peer_len < HTTP_PEER_BYTES);
    return (struct str){x->peer, x->peer_len};
}

void http_exchange_attach(struct http_exchange *x, void *attached)
{
    assert(x != NULL);
    assert(x->state == EXCHANGE_WORKING);
    x->attached = attached;
}
