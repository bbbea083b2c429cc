#include "gateway/worker.h"

#include "api.gen.h"
#include "avanta/common.pb-c.h"
#include "avanta/identity.pb-c.h"
#include "gateway/exchange.h"
#include "gateway/worker_run.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNKS_MAX   16384 /* 256 MiB of address space, touched as needed */
#define EXCHANGE_BYTES_MAX ((size_t)32 * 1024 * 1024)
#define TICK_MS            20
#define KEYS_FIRST_MS      100
#define KEYS_EVERY_MS      5000
#define KEYS_DEADLINE_MS   3000
#define KEYS_BYTES_MAX     ((size_t)4 * 1024 * 1024)
#define SESSION_BYTES      128 /* of the answer, for one ended session */

/* The answer is there sealed, opened and unpacked. */
_Static_assert(3UL * SESSIONS_ENDED_MAX * SESSION_BYTES <= KEYS_BYTES_MAX,
               "the list of ended sessions fits");
_Static_assert(SESSIONS_ENDED_MAX < AUTH_REVOKED_MAX, "a list displaces nothing");

enum gateway_service worker_service(const char *service)
{
    static const char *const names[GATEWAY_SERVICE_COUNT] = {"identity", "ledger", "audit-log"};

    assert(service != NULL);
    for (int i = 0; i < GATEWAY_SERVICE_COUNT; i++) {
        if (strcmp(names[i], service) == 0) {
            return (enum gateway_service)i;
        }
    }
    return GATEWAY_SERVICE_COUNT;
}

struct sealer *worker_sealer(const struct worker *worker, const char *service)
{
    enum gateway_service index = worker_service(service);

    return index == GATEWAY_SERVICE_COUNT ? NULL : worker->sealers[index];
}

bool worker_ready(const struct worker *worker)
{
    return bus_connected(worker->bus) && worker->keys.count > 0;
}

/* --- ended sessions --- */

static void revoke(struct worker *worker, struct str session_id)
{
    assert(worker->auth != NULL);
    if (auth_revoke(worker->auth, session_id, clock_wall_ms())) {
        return;
    }
    metric_add(worker->gateway->metrics, GATEWAY_METRIC_FORGOTTEN, 0, 1);
    if (log_rate_allows(&worker->forgotten_logged_ms)) {
        log_event(LOG_WARN, "revocations_full", LOG_U("sessions_max", AUTH_REVOKED_MAX));
    }
}

/* --- keys: fetched at start, every few seconds, and when identity says that they changed --- */

struct keys_fetch {
    struct worker *worker;
    struct arena *arena;
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
};

static void keys_take(struct worker *worker, struct keys_fetch *fetch, struct str payload)
{
    Avanta__Reply *reply = NULL;
    Avanta__Identity__GetKeysReply *keys = NULL;
    ProtobufCAllocator allocator;
    struct err err = {.code = OK};

    assert(fetch->worker == worker);
    assert(fetch->arena != NULL);
    if (envelope_open_reply(
            worker->sealers[GATEWAY_IDENTITY], payload, fetch->nonce, fetch->arena, &reply, &err) !=
        OK) {
        log_event(LOG_ERROR, "keys_unreadable", LOG_S("why", err.text));
        return;
    }
    if (strcmp(reply->code, code_wire(OK)) != 0) {
        return;
    }
    transcode_allocator(&allocator, fetch->arena);
    keys = avanta__identity__get_keys_reply__unpack(&allocator, reply->body.len, reply->body.data);
    if (keys == NULL || keys->n_keys == 0) {
        log_event(LOG_ERROR, "keys_unreadable", LOG_S("why", "no keys, or too much of them"));
        return;
    }
    key_set_replace(&worker->keys, keys);
    for (size_t i = 0; i < keys->n_revoked_sessions; i++) {
        revoke(worker, str_from(keys->revoked_sessions[i]));
    }
    if (keys->has_unlisted_until_ms) {
        auth_refuse_issued_until(worker->auth, keys->unlisted_until_ms);
    }
    worker->service_seen_ms[GATEWAY_IDENTITY] = loop_now_ms(worker->loop);
}

static void on_keys(void *ctx, enum code code, struct str payload)
{
    struct keys_fetch *fetch = ctx;
    struct arena *arena = fetch->arena;

    assert(fetch->worker->keys_wanted);
    assert(arena != NULL);
    fetch->worker->keys_wanted = false;
    if (code == OK) {
        keys_take(fetch->worker, fetch, payload);
    }
    arena_dispose(&arena);
}

static enum code keys_send(struct worker *worker, struct arena *arena)
{
    struct keys_fetch *fetch = arena_calloc(arena, 1, sizeof *fetch);
    Avanta__Request request = AVANTA__REQUEST__INIT;
    const struct api_method *method = &api_methods[API_IDENTITY_GET_KEYS];
    char id[UUID_TEXT_BYTES];
    struct pool_handle handle;
    struct str frame = STR_EMPTY;
    struct err err = {.code = OK};
    enum code code = OK;

    assert(worker->sealers[GATEWAY_IDENTITY] != NULL);
    if (fetch == NULL) {
        return ERR_TOO_LARGE;
    }
    fetch->worker = worker;
    fetch->arena = arena;
    random_bytes(fetch->nonce, sizeof fetch->nonce);
    uuid_v7(id);
    request.method = transcode_constant(method->full_name);
    request.nonce = (ProtobufCBinaryData){sizeof fetch->nonce, fetch->nonce};
    request.issued_ms = clock_wall_ms();
    request.deadline_ms = request.issued_ms + KEYS_DEADLINE_MS;
    request.request_id = id;
    code = envelope_seal_request(worker->sealers[GATEWAY_IDENTITY], &request, arena, &frame, &err);
    if (code == OK) {
        code = bus_call(worker->bus,
                        method->subject,
                        frame,
                        loop_now_ms(worker->loop) + KEYS_DEADLINE_MS,
                        on_keys,
                        fetch,
                        &handle,
                        &err);
    }
    return code;
}

static void keys_fetch(void *arg)
{
    struct worker *worker = arg;
    struct arena *arena = NULL;

    assert(worker->arenas != NULL);
    if (worker->keys_wanted || !bus_connected(worker->bus)) {
        return;
    }
    arena = arena_open(worker->arenas, KEYS_BYTES_MAX);
    if (arena == NULL) {
        return;
    }
    worker->keys_wanted = keys_send(worker, arena) == OK;
    if (!worker->keys_wanted) {
        arena_dispose(&arena);
    }
}

static void keys_tick(void *arg)
{
    struct worker *worker = arg;

    assert(worker->keys_timer != NULL);
    keys_fetch(worker);
    loop_timer_start(
        worker->keys_timer, worker->keys.count == 0 ? KEYS_FIRST_MS : KEYS_EVERY_MS, 0);
}

static void on_keys_changed(void *ctx, struct bus_message *message)
{
    bus_message_destroy(message);
    keys_fetch(ctx);
}

/* Ids of sessions that ended, a blank between them. */
static void on_revoked(void *ctx, struct bus_message *message)
{
    struct str rest = bus_message_data(message);
    struct str id = STR_EMPTY;

    while (str_split(&rest, ' ', &id)) {
        revoke(ctx, id);
    }
    bus_message_destroy(message);
}

/* --- what other threads see --- */

static void count_connections(struct worker *worker)
{
    struct metrics *metrics = worker->gateway->metrics;
    const struct http_server_stats *old = &worker->counted;
    struct http_server_stats now;

    assert(worker->http != NULL);
    http_server_stats(worker->http, &now);
    assert(now.malformed >= old->malformed);
    assert(now.timeouts >= old->timeouts);
    assert(now.refused >= old->refused);
    /* A gauge's change may be negative: it wraps as the gauge does. */
    metric_add(metrics, GATEWAY_METRIC_CONNECTIONS, 0, (uint64_t)now.open - (uint64_t)old->open);
    metric_add(
        metrics, GATEWAY_METRIC_ENDED, GATEWAY_ENDED_MALFORMED, now.malformed - old->malformed);
    metric_add(metrics, GATEWAY_METRIC_ENDED, GATEWAY_ENDED_TIMEOUT, now.timeouts - old->timeouts);
    metric_add(metrics, GATEWAY_METRIC_ENDED, GATEWAY_ENDED_REFUSED, now.refused - old->refused);
    worker->counted = now;
}

static void show(struct worker *worker)
{
    atomic_store(&worker->view.bus_up, worker->bus != NULL && bus_connected(worker->bus));
    atomic_store(&worker->view.keys_known, worker->keys.count > 0);
    if (worker->http != NULL) {
        count_connections(worker);
    }
}

static void tick(void *arg)
{
    struct worker *worker = arg;

    exchange_retry_due(worker);
    show(worker);
}

/* --- open and close --- */

static enum code
sealer_from_hex(const char *setting, const char *hex, struct sealer **out, struct err *err)
{
    uint8_t key[ENVELOPE_KEY_BYTES];
    size_t length = 0;

    assert(hex != NULL);
    assert(out != NULL);
    if (!hex_decode(str_from(hex), key, sizeof key, &length) || length != sizeof key) {
        return err_set(
            err, ERR_INVALID, "%s is not %d hex digits", setting, 2 * ENVELOPE_KEY_BYTES);
    }
    *out = sealer_open(key);
    explicit_bzero(key, sizeof key);
    return *out == NULL ? err_set(err, ERR_INTERNAL, "no memory for a sealer") : OK;
}

static enum code sealers_open(struct worker *worker, struct err *err)
{
    const struct gateway_config *config = &worker->gateway->config;
    const char *const keys[GATEWAY_SERVICE_COUNT][2] = {
        {"AVANTA_ENVELOPE_KEY_IDENTITY",  config->key_identity },
        {"AVANTA_ENVELOPE_KEY_LEDGER",    config->key_ledger   },
        {"AVANTA_ENVELOPE_KEY_AUDIT_LOG", config->key_audit_log},
    };
    enum code code = OK;

    for (int i = 0; code == OK && i < GATEWAY_SERVICE_COUNT; i++) {
        code = sealer_from_hex(keys[i][0], keys[i][1], &worker->sealers[i], err);
    }
    return code;
}

static enum code memory_open(struct worker *worker, struct err *err)
{
    const struct gateway_config *config = &worker->gateway->config;
    const struct auth_options auth = {config->token_issuer, config->token_audience, &worker->keys};

    list_init(&worker->retries);
    worker->loop = loop_open();
    worker->arenas = arena_pool_open(ARENA_CHUNK_BYTES, ARENA_CHUNKS_MAX);
    worker->auth = auth_open(&auth);
    if (worker->loop == NULL || worker->arenas == NULL || worker->auth == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for a worker");
    }
    worker->tick_timer = loop_timer_open(worker->loop, tick, worker);
    worker->keys_timer = loop_timer_open(worker->loop, keys_tick, worker);
    if (worker->tick_timer == NULL || worker->keys_timer == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for timers");
    }
    return OK;
}

static enum code bus_start(struct worker *worker, struct err *err)
{
    const struct gateway_config *config = &worker->gateway->config;
    const struct bus_options options = {
        .url = config->nats_url,
        .user = config->nats_user,
        .password = config->nats_password,
        .name = "gateway", /* the bus adds what keeps workers apart */
        .in_flight_max = BUS_IN_FLIGHT_MAX,
    };
    enum code code = OK;

    assert(worker->loop != NULL);
    assert(worker->bus == NULL);
    code = bus_open(worker->loop, &options, &worker->bus, err);
    if (code == OK) {
        code = bus_subscribe(
            worker->bus, "ctl.revoke", NULL, on_revoked, worker, &worker->revocations, err);
    }
    if (code == OK) {
        code = bus_subscribe(
            worker->bus, "ctl.keys", NULL, on_keys_changed, worker, &worker->key_changes, err);
    }
    return code;
}

static enum code http_start(struct worker *worker, uint16_t port, struct err *err)
{
    const struct gateway_config *config = &worker->gateway->config;
    const struct http_server_options options = {
        .address = config->http_address,
        .port = port,
        .reuse_port = config->threads > 1,
        .connections_max = (uint32_t)config->connections_max,
        .arenas = worker->arenas,
        .arena_bytes_max = EXCHANGE_BYTES_MAX,
        .on_request = exchange_begin,
        .ctx = worker,
        .header_ms_max = (uint32_t)config->header_ms,
        .body_ms_max = (uint32_t)config->body_ms,
        .idle_ms_max = (uint32_t)config->idle_ms,
        .write_ms_max = (uint32_t)config->write_ms,
    };

    assert(worker->arenas != NULL);
    assert(worker->http == NULL);
    return http_server_open(worker->loop, &options, &worker->http, err);
}

enum code worker_open(struct worker *worker,
                      const struct gateway *gateway,
                      uint32_t number,
                      uint16_t port,
                      struct err *err)
{
    enum code code = OK;

    assert(worker->loop == NULL);
    assert(gateway != NULL);
    assert(gateway->router != NULL);
    assert(gateway->metrics != NULL);
    worker->gateway = gateway;
    worker->number = number;
    code = memory_open(worker, err);
    if (code == OK) {
        code = sealers_open(worker, err);
    }
    if (code == OK) {
        code = bus_start(worker, err);
    }
    if (code == OK) {
        code = http_start(worker, port, err);
    }
    if (code == OK) {
        loop_timer_start(worker->tick_timer, TICK_MS, TICK_MS);
        loop_timer_start(worker->keys_timer, 1, 0);
    }
    return code;
}

static void on_bus_drained(void *arg)
{
    struct worker *worker = arg;

    assert(worker->draining);
    assert(worker->http == NULL);
    bus_unsubscribe(&worker->revocations);
    bus_unsubscribe(&worker->key_changes);
    bus_close(&worker->bus);
    show(worker);
    loop_timer_close(&worker->tick_timer);
    loop_timer_close(&worker->keys_timer);
    if (worker->on_drained != NULL) {
        worker->on_drained(worker);
    }
    loop_stop(worker->loop);
}

static void on_http_drained(void *arg)
{
    struct worker *worker = arg;

    assert(worker->draining);
    assert(worker->bus != NULL);
    show(worker);
    http_server_close(&worker->http);
    bus_drain(worker->bus, on_bus_drained, worker);
}

void worker_drain(struct worker *worker)
{
    assert(worker->http != NULL);
    if (!worker->draining) {
        worker->draining = true;
        http_server_drain(worker->http, on_http_drained, worker);
    }
}

void worker_close(struct worker *worker)
{
    assert(worker->http == NULL);
    assert(worker->bus == NULL);
    loop_close(&worker->loop);
    auth_close(&worker->auth);
    key_set_clear(&worker->keys);
    for (int i = 0; i < GATEWAY_SERVICE_COUNT; i++) {
        sealer_close(&worker->sealers[i]);
    }
    arena_pool_close(&worker->arenas);
}
