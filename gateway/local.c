#include "gateway/local.h"

#include "avanta/gateway.pb-c.h"
#include "gateway/worker.h"
#include "gateway_local.gen.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/version.h"

/* The keys timer asks identity, and identity its database, every few seconds. */
#define SEEN_MS_MAX 15000

static char *constant(const char *text)
{
    return (char *)(uintptr_t)text; /* protobuf-c has no const strings; nobody writes through it */
}

static enum code health_fill(struct local_call *call, bool healthy, bool dependencies)
{
    Avanta__Gateway__HealthReply *out = (Avanta__Gateway__HealthReply *)(void *)call->out;
    Avanta__Gateway__HealthChecks *checks = arena_alloc(call->arena, sizeof *checks);
    char *now = arena_alloc(call->arena, TIMESTAMP_TEXT_BYTES);

    if (checks == NULL || now == NULL) {
        return ERR_TOO_LARGE;
    }
    timestamp_format(clock_wall_ms(), now);
    avanta__gateway__health_checks__init(checks);
    checks->database = constant(dependencies ? "healthy" : "unhealthy");
    checks->storage = constant(dependencies ? "healthy" : "unhealthy");
    out->status = constant(healthy ? "healthy" : "degraded");
    out->timestamp = now;
    out->environment = constant(call->worker->gateway->config.environment);
    out->version = constant(AVANTA_VERSION);
    out->checks = checks;
    return OK;
}

static bool database_seen(const struct worker *worker)
{
    uint64_t seen = worker->service_seen_ms[GATEWAY_IDENTITY];

    return seen != 0 && loop_now_ms(worker->loop) - seen < SEEN_MS_MAX;
}

enum code local_health(struct local_call *call)
{
    bool healthy = worker_ready(call->worker) && database_seen(call->worker);

    call->status = healthy ? 200 : 503;
    return health_fill(call, healthy, healthy);
}

enum code local_health_live(struct local_call *call)
{
    return health_fill(call, true, database_seen(call->worker));
}

enum code local_health_ready(struct local_call *call)
{
    return local_health(call);
}

enum code local_get_open_api(struct local_call *call)
{
    Avanta__Gateway__RawReply *out = (Avanta__Gateway__RawReply *)(void *)call->out;

    out->body = constant(call->worker->gateway->openapi.ptr);
    return OK;
}

enum code local_get_jwks(struct local_call *call)
{
    Avanta__Gateway__JwksReply *out = (Avanta__Gateway__JwksReply *)(void *)call->out;
    const struct key_set *set = &call->worker->keys;
    Avanta__Gateway__Jwk **keys = arena_calloc(call->arena, set->count + 1, sizeof *keys);

    if (keys == NULL) {
        return ERR_TOO_LARGE;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        keys[i] = arena_alloc(call->arena, sizeof **keys);
        if (keys[i] == NULL) {
            return ERR_TOO_LARGE;
        }
        avanta__gateway__jwk__init(keys[i]);
        keys[i]->kty = constant("EC");
        keys[i]->crv = constant("P-256");
        keys[i]->alg = constant("ES256");
        keys[i]->use = constant("sig");
        keys[i]->kid = constant(set->keys[i].kid);
        keys[i]->x = constant(set->keys[i].x);
        keys[i]->y = constant(set->keys[i].y);
    }
    out->keys = keys;
    out->n_keys = set->count;
    return OK;
}
