#include "gateway/worker.h"

#include "gateway/exchange.h"
#include "gateway/key_fetch.h"
#include "gateway/worker_run.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/service/log_bus.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_CHUNKS_MAX   16384 /* 256 MiB of address space, touched as needed */
#define EXCHANGE_BYTES_MAX ((size_t)32 * 1024 * 1024)
#define TICK_MS            20
#define KEYS_FIRST_MS      100
#define KEYS_EVERY_MS      5000

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

void worker_revoke(struct worker *worker, struct str session_id)
{
    assert(worker->auth != NULL);
    if (auth_revoke(worker->auth, session_id, clock_wall_ms())) {
        return;
    }
    lookup_forget_all(worker->lookup); /* a key or grant may be what was forgotten */
    metric_add(worker->gateway->metrics, GATEWAY_METRIC_FORGOTTEN, 0, 1);
    if (log_rate_allows(&worker->forgotten_logged_ms)) {
        log_event(LOG_WARN, "revocations_full", LOG_U("sessions_max", AUTH_REVOKED_MAX));
    }
}

/* --- keys --- */

static void keys_tick(void *arg)
{
    struct worker *worker = arg;

    assert(worker->keys_timer != NULL);
    key_fetch_start(worker);
    loop_timer_start(
        worker->keys_timer, worker->keys.count == 0 ? KEYS_FIRST_MS : KEYS_EVERY_MS, 0);
}

/* The id of a user whose role, API keys or grants are not what they were. */
static void on_access_changed(void *ctx, struct bus_message *message)
{
    struct worker *worker = ctx;

    lookup_forget(worker->lookup, bus_message_data(message));
    bus_message_destroy(message);
}

static void on_keys_changed(void *ctx, struct bus_message *message)
{
    bus_message_destroy(message);
    key_fetch_changed(ctx);
}

/* Ids of sessions that ended, a blank between them. */
static void on_revoked(void *ctx, struct bus_message *message)
{
    struct str rest = bus_message_data(message);
    struct str id = STR_EMPTY;

    while (str_split(&rest, ' ', &id)) {
        worker_revoke(ctx, id);
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

static void count_verifications(struct worker *worker)
{
    const uint64_t now = auth_verifications(worker->auth);

    assert(now >= worker->counted_verifications);
    metric_add(worker->gateway->metrics,
               GATEWAY_METRIC_VERIFICATIONS,
               0,
               now - worker->counted_verifications);
    worker->counted_verifications = now;
}

static void show(struct worker *worker)
{
    atomic_store(&worker->view.bus_up, worker->bus != NULL && bus_connected(worker->bus));
    atomic_store(&worker->view.keys_known, worker->keys.count > 0);
    if (worker->http != NULL) {
        count_connections(worker);
    }
    if (worker->auth != NULL) {
        count_verifications(worker);
    }
}

static void tick(void *arg)
{
    struct worker *worker = arg;

    exchange_retry_due(worker);
    key_wait_due(worker);
    audit_tick(worker->audit);
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
    list_init(&worker->key_waiters);
    worker->loop = loop_open();
    worker->arenas = arena_pool_open(ARENA_CHUNK_BYTES, ARENA_CHUNKS_MAX);
    worker->auth = auth_open(&auth);
    worker->lookup = lookup_open();
    worker->audit = audit_open(worker);
    if (worker->loop == NULL || worker->arenas == NULL || worker->auth == NULL ||
        worker->lookup == NULL || worker->audit == NULL) {
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
        .ca_file = config->nats_ca_file,
        .cert_file = config->nats_cert_file,
        .key_file = config->nats_key_file,
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
    if (code == OK) {
        code = bus_subscribe(worker->bus,
                             "ctl.access",
                             NULL,
                             on_access_changed,
                             worker,
                             &worker->access_changes,
                             err);
    }
    if (code == OK && worker->number == 0) {
        code = log_bus_open(worker->bus, "gateway", &worker->log_bus, err);
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
        .on_end = exchange_ended,
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
    bus_unsubscribe(&worker->access_changes);
    log_bus_close(&worker->log_bus);
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
    audit_drain(worker->audit);
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
    lookup_close(&worker->lookup);
    audit_close(&worker->audit);
    key_set_clear(&worker->keys);
    for (int i = 0; i < GATEWAY_SERVICE_COUNT; i++) {
        sealer_close(&worker->sealers[i]);
    }
    arena_pool_close(&worker->arenas);
}
