#include "gateway/local.h"

#include "avanta/gateway.pb-c.h"
#include "gateway/worker.h"
#include "gateway_local.gen.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/version.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

/* The keys timer asks identity, and identity its database, every few seconds. */
#define SEEN_MS_MAX 15000

static enum code health_fill(struct local_call *call, bool healthy, bool dependencies)
{
    Avanta__Gateway__HealthReply *out = (Avanta__Gateway__HealthReply *)(void *)call->out;
    Avanta__Gateway__HealthChecks *checks = arena_alloc(call->arena, sizeof *checks);
    char *now = arena_alloc(call->arena, TIMESTAMP_TEXT_BYTES);

    assert(call->worker != NULL);
    assert(call->out != NULL);
    if (checks == NULL || now == NULL) {
        return ERR_TOO_LARGE;
    }
    timestamp_format(clock_wall_ms(), now);
    avanta__gateway__health_checks__init(checks);
    checks->database = transcode_constant(dependencies ? "healthy" : "unhealthy");
    checks->storage = transcode_constant(dependencies ? "healthy" : "unhealthy");
    out->status = transcode_constant(healthy ? "healthy" : "degraded");
    out->timestamp = now;
    out->environment = transcode_constant(call->worker->gateway->config.environment);
    out->version = transcode_constant(AVANTA_VERSION);
    out->checks = checks;
    return OK;
}

static bool database_seen(const struct worker *worker)
{
    uint64_t seen = worker->service_seen_ms[GATEWAY_IDENTITY];

    assert(seen <= loop_now_ms(worker->loop));
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

    assert(call->worker->gateway->openapi.ptr != NULL);
    assert(out != NULL);
    out->body = transcode_constant(call->worker->gateway->openapi.ptr);
    return OK;
}

enum code local_get_jwks(struct local_call *call)
{
    Avanta__Gateway__JwksReply *out = (Avanta__Gateway__JwksReply *)(void *)call->out;
    const struct key_set *set = &call->worker->keys;
    Avanta__Gateway__Jwk **keys = arena_calloc(call->arena, set->count + 1, sizeof(void *));

    assert(set->count <= KEYS_MAX);
    assert(out != NULL);
    if (keys == NULL) {
        return ERR_TOO_LARGE;
    }
    for (uint32_t i = 0; i < set->count; i++) {
        keys[i] = arena_alloc(call->arena, sizeof **keys);
        if (keys[i] == NULL) {
            return ERR_TOO_LARGE;
        }
        avanta__gateway__jwk__init(keys[i]);
        keys[i]->kty = transcode_constant("EC");
        keys[i]->crv = transcode_constant("P-256");
        keys[i]->alg = transcode_constant("ES256");
        keys[i]->use = transcode_constant("sig");
        keys[i]->kid = transcode_constant(set->keys[i].kid);
        keys[i]->x = transcode_constant(set->keys[i].x);
        keys[i]->y = transcode_constant(set->keys[i].y);
    }
    out->keys = keys;
    out->n_keys = set->count;
    return OK;
}
