/*
 * The least the HTTP server can do: one loop answers every request with the same small JSON
 * document. Usage: http_hello PORT. Ends on SIGTERM or SIGINT. Compare with another server that
 * returns the same bytes, both pinned to one core and the load client to another: taskset -c 0
 * http_hello 18080 & taskset -c 1 wrk -t1 -c64 -d5 http://127.0.0.1:18080/
 */
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/io/http_server.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

static const char document[] =
    "{\"id\":\"0190163d-8694-739b-aea5-966c26f8ad91\",\"type\":\"income\",\"amount\":1500.50,"
    "\"description\":\"Consulta de enero\",\"category_id\":12,\"date\":\"2026-01-15\","
    "\"is_deductible\":1,\"account\":\"Banco\",\"tags\":[]}";

struct bench {
    struct loop *loop;
    struct http_server *server;
};

static void on_request(void *ctx, struct http_exchange *x)
{
    static const struct http_response response = {
        .status = 200,
        .content_type = {"application/json", 16                  },
        .body = {document,           sizeof(document) - 1},
    };

    (void)ctx;
    http_exchange_reply(x, &response);
}

static void on_drained(void *arg)
{
    struct bench *bench = arg;

    http_server_close(&bench->server);
    loop_stop(bench->loop);
}

static void on_signal(void *arg, int signum)
{
    struct bench *bench = arg;

    (void)signum;
    http_server_drain(bench->server, on_drained, bench);
}

int main(int argc, char **argv)
{
    struct bench bench = {loop_open(), NULL};
    struct arena_pool *arenas = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    struct err err = {.code = OK};
    uint64_t port = 0;

    if (argc != 2 || !str_to_uint64(str_from(argv[1]), &port) || port > UINT16_MAX) {
        (void)fprintf(stderr, "usage: http_hello PORT\n");
        return EXIT_FAILURE;
    }
    log_open("http_hello", LOG_WARN);
    if (http_server_open(bench.loop,
                         &(struct http_server_options){
                             .address = "127.0.0.1",
                             .port = (uint16_t)port,
                             .connections_max = 1024,
                             .arenas = arenas,
                             .arena_bytes_max = (size_t)REQUEST_ARENA_BYTES_MAX,
                             .on_request = on_request,
                         },
                         &bench.server,
                         &err) != OK) {
        (void)fprintf(stderr, "%s\n", err.text);
        return EXIT_FAILURE;
    }
    loop_on_signal(bench.loop, SIGTERM, on_signal, &bench);
    loop_on_signal(bench.loop, SIGINT, on_signal, &bench);
    loop_run(bench.loop);
    loop_close(&bench.loop);
    arena_pool_close(&arenas);
    return EXIT_SUCCESS;
}
