#pragma once
/*
 * Inside of the HTTP server, for the http_*.c files only. http_server.c: listening, accepting, the
 * sweep, draining. http_conn.c: the life of one connection, what it reads and when it gives up.
 * http_exchange.c: answers, in the order of the requests. All on the loop thread.
 *
 * A connection has two state tables: `input` says what is expected of the client, `output` whether
 * bytes wait for it. Requests between parsed and sent are its exchanges, each in an arena of its
 * own, so an idle connection holds nothing but this struct.
 */

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/list.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/sm.h"
#include "libcommon/io/http_server.h"

#include <uv.h>

#define HTTP_READ_BUFFER_BYTES (4 * HTTP_READ_CHUNK_BYTES)
#define HTTP_PEER_BYTES        46 /* the longest numeric address */
#define HTTP_CONN_BYTES_MAX    1536
#define HTTP_LINGER_MS_MAX     2000
#define HTTP_LINGER_BYTES_MAX  ((size_t)1024 * 1024)
#define HTTP_BODY_GRACE_MS     5000 /* before the minimum rate counts */
#define HTTP_SWEEP_MS          100
#define HTTP_METHOD_BYTES      16 /* of the longest method, for the log */
#define HTTP_REFUSALS_MAX      64 /* connections beyond the maximum that are being told so */
#define HTTP_WRITE_PARTS_MAX   32 /* views in one attempt to write */

enum conn_input {
    CONN_IDLE,      /* between requests, nothing under way */
    CONN_HEADER,    /* part of a header is in */
    CONN_BODY,      /* a header is in, its body is coming */
    CONN_WORKING,   /* requests are under way, the next one may come */
    CONN_PAUSED,    /* not reading: too many requests or too many bytes are unanswered */
    CONN_FINISHING, /* no more requests; what is under way is still answered */
    CONN_LINGERING, /* all is sent; waits for the client to close */
    CONN_CLOSING,   /* libuv is letting go */
    CONN_INPUT_COUNT
};

enum conn_output {
    CONN_QUIET,
    CONN_WRITING, /* a write is queued in libuv */
    CONN_OUTPUT_COUNT
};

struct http_conn {
    /* what the sweep looks at */
    struct sm input;
    struct sm output;
    struct list input_node;   /* in server->by_input[input.state], oldest first */
    struct list writing_node; /* in server->writing while CONN_WRITING */
    struct list resume_node;  /* in server->resumable when kept bytes can be parsed */
    /* requests */
    struct http_server *server;
    struct http_parser *parser;
    struct http_exchange *reading; /* the request being parsed, last of `exchanges` */
    struct list exchanges;         /* parsed or being parsed, not completely sent, oldest first */
    uint32_t unanswered;           /* of those, without `reading` */
    uint32_t requests;             /* parsed so far */
    uint32_t moved_at_request;     /* `requests` when `input` last moved */
    uint32_t rate_bytes;           /* of the present body */
    enum http_phase phase;         /* of `reading` */
    size_t unsent_bytes;
    size_t written_bytes; /* of the queued write */
    size_t lingered_bytes;
    struct arena *kept_arena; /* holds `kept` */
    struct str kept;          /* read, not yet parsed */
    /* facts about it */
    bool busy;        /* inside conn_run(): answers wait for its end */
    bool peer_closed; /* the client sends no more */
    bool refused;     /* over the maximum */
    bool refusal_due; /* a 503 without an exchange closes the answers */
    uint8_t peer_len;
    char peer[HTTP_PEER_BYTES];
    /* libuv's */
    uv_tcp_t tcp;
    uv_write_t write;
    uv_shutdown_t shutdown;
    _Alignas(16) unsigned char parser_memory[]; /* http_parser_bytes() */
};

enum exchange_state {
    EXCHANGE_READING,
    EXCHANGE_WORKING, /* with the application */
    EXCHANGE_REPLIED
};

struct http_exchange {
    struct list node; /* in conn->exchanges, or server->orphans when the client has gone */
    struct http_conn *conn;
    struct http_server *server;
    struct arena *arena;
    enum exchange_state state;
    bool close;         /* the connection ends after this answer */
    struct str interim; /* unsent part of "100 Continue" */
    struct str head;    /* unsent parts of the answer */
    struct str body;
    uint8_t peer_len;
    char peer[HTTP_PEER_BYTES];
    void *attached; /* the application's */
    struct http_end end;
    uint64_t mark_us; /* when the present stage of it began */
    char own_id[UUID_TEXT_BYTES];
    char method[HTTP_METHOD_BYTES];
    struct http_request request;
};

enum server_state {
    SERVER_SERVING,
    SERVER_DRAINING,
    SERVER_DRAINED,
    SERVER_STATE_COUNT
};

struct http_server {
    struct loop *loop;
    struct http_server_options options;
    struct sm sm;
    struct sm_row input_rows[CONN_INPUT_COUNT]; /* with this server's timeouts */
    struct sm_row output_rows[CONN_OUTPUT_COUNT];
    struct list by_input[CONN_INPUT_COUNT];
    struct list writing;
    struct list resumable;
    struct list orphans;
    struct pool *conns;
    struct loop_timer *sweep;
    struct loop_pass *resume;
    struct http_server_stats stats;
    uint64_t refused_logged_ms;
    uint64_t drain_until_ms;
    void (*drained)(void *arg);
    void *drained_arg;
    uint16_t port;
    bool listening;      /* libuv holds the listener */
    bool accept_waiting; /* a client waits in the backlog for a free struct */
    bool closed;         /* http_server_close() was called; the last orphan frees */
    char refusal_body[512];
    struct http_response refusal; /* the 503 that needs no arena */
    uv_tcp_t listener;
    char read_buffer[HTTP_READ_BUFFER_BYTES];
};

/* --- http_conn.c --- */
/* The state tables with the timeouts of the options. */
void http_conn_tables(struct http_server *server);
/* Takes over `conn->tcp`, just accepted. */
void http_conn_start(struct http_conn *conn);
/* Parses what it may, writes what it can, then settles in a state. */
void http_conn_run(struct http_conn *conn, struct str bytes);
/* The kept bytes of a connection in server->resumable. */
void http_conn_resume(struct http_conn *conn);
/* Its state has lasted too long. */
void http_conn_input_late(struct http_conn *conn);
void http_conn_output_late(struct http_conn *conn);
/* No further requests, now or, when part of one is in, after it; closes when all is answered. */
void http_conn_drain(struct http_conn *conn);
/* Nothing more is parsed; what is under way is still answered. */
void http_conn_finish(struct http_conn *conn);
/* At once. Exchanges with the application become orphans; http_server_conn_gone() follows. */
void http_conn_close(struct http_conn *conn);

/* --- http_exchange.c --- */
/* NULL when the arena pool is exhausted. */
struct http_exchange *http_exchange_open(struct http_conn *conn);
/* Hands a complete request to the application. */
void http_exchange_begin(struct http_exchange *x);
/* The server's own answer to a request that is not one; the connection ends after it. */
void http_exchange_refuse(struct http_exchange *x, enum code code, const char *detail);
/* The client has gone: disposes of it, or leaves it to the application as an orphan. */
void http_exchange_abandon(struct http_exchange *x);
/* Writes the answers that are due. False when the connection broke and was closed. */
bool http_exchange_flush(struct http_conn *conn);

/* --- http_server.c --- */
void http_server_conn_gone(struct http_conn *conn);
void http_server_orphan_gone(struct http_server *server);
/* Writes the 503 that needs no exchange. */
void http_server_write_refusal(struct http_conn *conn);
