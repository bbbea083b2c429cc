#include "libcommon/service/admin.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log_line.h"
#include "libcommon/codec/json_write.h"
#include "libcommon/io/http_server.h"

#include <assert.h>
#include <stdlib.h>

#define ADMIN_CONNECTIONS_MAX   64
#define ADMIN_METRICS_BYTES_MAX ((size_t)1024 * 1024)
#define ADMIN_ARENA_BYTES_MAX   (2 * ADMIN_METRICS_BYTES_MAX)
#define ADMIN_CHUNKS_MAX        1024

struct admin {
    struct admin_options options;
    struct arena_pool *arenas;
    struct http_server *server;
};

static void reply_text(struct http_exchange *x, uint16_t status, struct str type, struct str body)
{
    struct http_response response = {.status = status, .content_type = type, .body = body};

    assert(status >= 200);
    http_exchange_reply(x, &response);
}

static void reply_problem(struct http_exchange *x, enum code code)
{
    struct http_response response = {0};
    struct problem problem = {.code = code, .instance = http_exchange_request(x)->path};

    assert(code != OK);
    if (problem_write(&problem, http_exchange_arena(x), &response) != OK) {
        response = (struct http_response){.status = 500};
    }
    http_exchange_reply(x, &response);
}

static void livez(struct admin *admin, struct http_exchange *x)
{
    (void)admin;
    reply_text(x, 200, STR("application/json"), STR("{\"status\":\"ok\"}"));
}

static void readyz(struct admin *admin, struct http_exchange *x)
{
    const struct admin_options *options = &admin->options;
    struct json_writer w;
    struct str body = STR_EMPTY;
    struct err err = {0};
    bool all = true;

    json_open(&w, http_exchange_arena(x), 256, 4096);
    json_object_begin(&w);
    json_key(&w, STR("not_ready"));
    json_array_begin(&w);
    for (size_t i = 0; i < options->check_count; i++) {
        if (!options->checks[i].ready(options->ctx)) {
            all = false;
            json_text(&w, str_from(options->checks[i].name));
        }
    }
    json_array_end(&w);
    json_key(&w, STR("status"));
    json_text(&w, all ? STR("ok") : STR("not ready"));
    json_object_end(&w);
    if (json_finish(&w, &body, &err) != OK) {
        reply_problem(x, ERR_INTERNAL);
        return;
    }
    reply_text(x, all ? 200 : 503, STR("application/json"), body);
}

static void metrics(struct admin *admin, struct http_exchange *x)
{
    char *memory = arena_alloc(http_exchange_arena(x), ADMIN_METRICS_BYTES_MAX);

    assert(admin != NULL);
    if (memory == NULL) {
        reply_problem(x, ERR_OVERLOADED);
        return;
    }
    struct buf out = buf_over(memory, ADMIN_METRICS_BYTES_MAX);
    admin->options.write_metrics(admin->options.ctx, &out);
    if (out.overflow) {
        reply_problem(x, ERR_TOO_LARGE); /* better none than half of them */
        return;
    }
    reply_text(x, 200, STR("text/plain; version=0.0.4; charset=utf-8"), buf_view(&out));
}

/* The level in force, and for how many seconds; no "seconds": it stays. */
static void log_level(struct admin *admin, struct http_exchange *x)
{
    struct json_writer w;
    struct str body = STR_EMPTY;
    struct err err = {0};
    uint64_t seconds = 0;
    enum log_level level = log_level_now(&seconds);

    (void)admin;
    json_open(&w, http_exchange_arena(x), 64, 256);
    json_object_begin(&w);
    json_key(&w, STR("level"));
    json_text(&w, str_from(log_level_name(level)));
    if (seconds > 0) {
        json_key(&w, STR("seconds"));
        json_uint64(&w, seconds);
    }
    json_object_end(&w);
    if (json_finish(&w, &body, &err) != OK) {
        reply_problem(x, ERR_INTERNAL);
        return;
    }
    reply_text(x, 200, STR("application/json"), body);
}

/* PUT /log-level?level=debug&seconds=300 */
static void log_level_change(struct admin *admin, struct http_exchange *x)
{
    struct str rest = http_exchange_request(x)->query;
    struct str part = STR_EMPTY;
    enum log_level level = LOG_INFO;
    uint64_t seconds = 0;
    bool good = true;
    bool has_level = false;

    while (str_split(&rest, '&', &part)) {
        struct str value = part;
        struct str key = STR_EMPTY;

        if (str_split(&value, '=', &key) && str_eq(key, STR("level"))) {
            has_level = log_level_parse(value, &level);
        } else if (!str_eq(key, STR("seconds")) || !str_to_uint64(value, &seconds)) {
            good = false;
        }
    }
    if (!good || !has_level || seconds == 0 || seconds > LOG_LEVEL_SECONDS_MAX) {
        reply_problem(x, ERR_INVALID);
        return;
    }
    log_level_set(level, seconds);
    log_level(admin, x);
}

static const struct {
    const char *path;
    void (*get)(struct admin *admin, struct http_exchange *x);
    void (*put)(struct admin *admin, struct http_exchange *x); /* NULL: not allowed */
} pages[] = {
    {"/livez",     livez,     NULL            },
    {"/readyz",    readyz,    NULL            },
    {"/metrics",   metrics,   NULL            },
    {"/log-level", log_level, log_level_change},
};

static void on_request(void *ctx, struct http_exchange *x)
{
    struct admin *admin = ctx;
    const struct http_request *request = http_exchange_request(x);

    for (size_t i = 0; i < ARRAY_LEN(pages); i++) {
        if (!str_eq(request->path, str_from(pages[i].path))) {
            continue;
        }
        if (str_eq(request->method, STR("GET"))) {
            pages[i].get(admin, x);
        } else if (str_eq(request->method, STR("PUT")) && pages[i].put != NULL) {
            pages[i].put(admin, x);
        } else {
            reply_problem(x, ERR_METHOD);
        }
        return;
    }
    reply_problem(x, ERR_NOT_FOUND);
}

enum code admin_open(struct loop *loop,
                     const struct admin_options *options,
                     struct admin **out,
                     struct err *err)
{
    struct admin *admin = calloc(1, sizeof *admin);
    enum code code = OK;

    assert(options->write_metrics != NULL);
    assert(loop != NULL);
    assert(out != NULL);
    if (admin == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the admin port");
    }
    admin->options = *options;
    admin->arenas = arena_pool_open(ARENA_CHUNK_BYTES, ADMIN_CHUNKS_MAX);
    if (admin->arenas == NULL) {
        code = err_set(err, ERR_OVERLOADED, "no memory for the admin port");
    } else {
        struct http_server_options server = {.address = options->address,
                                             .port = options->port,
                                             .connections_max = ADMIN_CONNECTIONS_MAX,
                                             .arenas = admin->arenas,
                                             .arena_bytes_max = ADMIN_ARENA_BYTES_MAX,
                                             .on_request = on_request,
                                             .ctx = admin};
        code = http_server_open(loop, &server, &admin->server, err);
    }
    if (code != OK) {
        admin_close(&admin);
    }
    *out = admin;
    return code;
}

uint16_t admin_port(const struct admin *admin)
{
    assert(admin != NULL);
    return http_server_port(admin->server);
}

void admin_drain(struct admin *admin, void (*done)(void *arg), void *arg)
{
    assert(admin != NULL);
    http_server_drain(admin->server, done, arg);
}

void admin_close(struct admin **admin)
{
    struct admin *closing = *admin;

    *admin = NULL;
    if (closing == NULL) {
        return;
    }
    if (closing->server != NULL) {
        http_server_close(&closing->server);
    }
    arena_pool_close(&closing->arenas);
    free(closing);
}
