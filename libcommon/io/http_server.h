#pragma once
/*
 * HTTP/1.1 server on one loop: listen, accept, connections as state tables, keep-alive, pipelining,
 * bodies by length and chunked, limits and timeouts for every phase, backpressure. All on the loop
 * thread. Connections and buffers come from fixed pools; over `connections_max` the newest is
 * answered 503 and closed. An idle connection holds no read buffer.
 */

#include "libcommon/base/arena.h"
#include "libcommon/codec/http_parse.h"
#include "libcommon/codec/http_write.h"
#include "libcommon/io/loop.h"

struct http_server;
/* One request under way. The server owns it; it lives until http_exchange_reply(), also when the
 * client has gone meanwhile (the reply is then dropped). */
struct http_exchange;

/* How an exchange ended. */
struct http_end {
    uint16_t status;
    enum code refused;      /* OK: the application answered; else why the server did */
    const char *request_id; /* of the server's own answer; "": the application's holds */
    const char *method;     /* NUL-ended, "" when it was not read */
    bool sent;              /* the kernel has all of the answer; else the client went before */
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint64_t read_us;  /* from its first byte to its last */
    uint64_t work_us;  /* from there to its answer */
    uint64_t write_us; /* from there to the end */
};

struct http_server_options {
    const char *address; /* "127.0.0.1", "::" */
    uint16_t port;       /* 0: any free one */
    bool reuse_port;     /* SO_REUSEPORT: several loops listen on one port */
    uint32_t connections_max;
    struct arena_pool *arenas; /* one arena per exchange */
    size_t arena_bytes_max;
    /* A complete request. Must lead to exactly one http_exchange_reply(), now or later. */
    void (*on_request)(void *ctx, struct http_exchange *x);
    /* After each answer, those of the server included; may be NULL. `attached` is what
     * http_exchange_attach() was given, NULL without; `peer` as http_exchange_peer(). What is in
     * the exchange's arena is still there. */
    void (*on_end)(void *ctx, void *attached, struct str peer, const struct http_end *end);
    void *ctx;
    uint32_t header_ms_max; /* 0: the constants of limits.h */
    uint32_t body_ms_max;
    uint32_t idle_ms_max;
    uint32_t write_ms_max;
};

enum code http_server_open(struct loop *loop,
                           const struct http_server_options *options,
                           struct http_server **out,
                           struct err *err) MUST_CHECK;
uint16_t http_server_port(const struct http_server *server);
/* Stops accepting, closes idle connections, answers what is under way with Connection: close.
 * `done` runs when no connection is left, at the latest after DRAIN_MS_MAX. */
void http_server_drain(struct http_server *server, void (*done)(void *arg), void *arg);
void http_server_close(struct http_server **server); /* after drain */

struct http_server_stats {
    uint64_t accepted;
    uint64_t refused; /* over connections_max */
    uint64_t requests;
    uint64_t malformed;
    uint64_t timeouts;
    uint64_t bytes_in;
    uint64_t bytes_out;
    uint32_t open;
    uint32_t under_way;
};
void http_server_stats(const struct http_server *server, struct http_server_stats *out);

struct http_request *http_exchange_request(struct http_exchange *x);
struct arena *http_exchange_arena(struct http_exchange *x);
struct str http_exchange_peer(const struct http_exchange *x); /* numeric address without port */
void http_exchange_attach(struct http_exchange *x, void *attached);
/* Body and header values must live in the exchange's arena or be constant. The exchange is gone
 * afterwards, but for on_end. A malformed request never becomes an exchange: the server answers it
 * itself with a problem document. */
void http_exchange_reply(struct http_exchange *x, const struct http_response *response);
