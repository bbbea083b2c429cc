#include "gateway/key_fetch.h"

#include "api.gen.h"
#include "avanta/common.pb-c.h"
#include "avanta/identity.pb-c.h"
#include "gateway/worker.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define KEYS_DEADLINE_MS 3000
#define KEYS_BYTES_MAX   ((size_t)4 * 1024 * 1024)
#define SESSION_BYTES    128 /* of the answer, for one ended session */

/* The answer is there sealed, opened and unpacked. */
_Static_assert(3UL * SESSIONS_ENDED_MAX * SESSION_BYTES <= KEYS_BYTES_MAX,
               "the list of ended sessions fits");
_Static_assert(SESSIONS_ENDED_MAX < AUTH_REVOKED_MAX, "a list displaces nothing");

/* --- who waits --- */

static void waiter_wake(struct key_wait *wait)
{
    assert(wait->done != NULL);
    list_remove(&wait->node);
    wait->done(wait->ctx);
}

/* Those that begin to wait meanwhile wait for another fetch. */
static void waiters_wake(struct worker *worker)
{
    uint32_t count = worker->key_waiter_count;

    assert(count <= KEY_WAITERS_MAX);
    for (uint32_t i = 0; i < count; i++) {
        assert(!list_empty(&worker->key_waiters));
        worker->key_waiter_count--;
        waiter_wake(LIST_ENTRY(worker->key_waiters.next, struct key_wait, node));
    }
}

/* A fetch for an unknown key may begin at this time. */
static uint64_t fetch_allowed_ms(const struct worker *worker)
{
    return worker->keys_fetched_ms + KEY_FETCH_MS_MIN;
}

bool key_wait_begin(struct worker *worker,
                    struct key_wait *wait,
                    void (*done)(void *ctx),
                    void *ctx)
{
    uint64_t now = loop_now_ms(worker->loop);

    assert(done != NULL);
    assert(worker->key_waiter_count <= KEY_WAITERS_MAX);
    if (wait->done != NULL || worker->key_waiter_count == KEY_WAITERS_MAX ||
        (!worker->keys_wanted && fetch_allowed_ms(worker) >= now + KEY_WAIT_MS_MAX)) {
        return false;
    }
    wait->done = done;
    wait->ctx = ctx;
    wait->until_ms = now + KEY_WAIT_MS_MAX;
    list_push_back(&worker->key_waiters, &wait->node);
    worker->key_waiter_count++;
    if (fetch_allowed_ms(worker) <= now) {
        key_fetch_start(worker);
    }
    return true;
}

void key_wait_due(struct worker *worker)
{
    uint64_t now = loop_now_ms(worker->loop);

    while (!list_empty(&worker->key_waiters)) { /* who came first has waited longest */
        struct key_wait *wait = LIST_ENTRY(worker->key_waiters.next, struct key_wait, node);

        if (wait->until_ms > now) {
            break;
        }
        worker->key_waiter_count--;
        waiter_wake(wait);
    }
    if (!list_empty(&worker->key_waiters) && fetch_allowed_ms(worker) <= now) {
        key_fetch_start(worker);
    }
}

/* --- the fetch --- */

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
        worker_revoke(worker, str_from(keys->revoked_sessions[i]));
    }
    if (keys->has_unlisted_until_ms) {
        auth_refuse_issued_until(worker->auth, keys->unlisted_until_ms);
    }
    worker->service_seen_ms[GATEWAY_IDENTITY] = loop_now_ms(worker->loop);
}

static void on_keys(void *ctx, enum code code, struct str payload)
{
    struct keys_fetch *fetch = ctx;
    struct worker *worker = fetch->worker;
    struct arena *arena = fetch->arena;

    assert(worker->keys_wanted);
    assert(arena != NULL);
    worker->keys_wanted = false;
    if (code == OK) {
        keys_take(worker, fetch, payload);
    }
    arena_dispose(&arena); /* fetch lives in it */
    if (worker->keys_again) {
        worker->keys_again = false;
        key_fetch_start(worker);
    }
    waiters_wake(worker);
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

void key_fetch_start(struct worker *worker)
{
    struct arena *arena = NULL;

    assert(worker->arenas != NULL);
    if (worker->keys_wanted || !bus_connected(worker->bus)) {
        return;
    }
    arena = arena_open(worker->arenas, KEYS_BYTES_MAX);
    if (arena == NULL) {
        return;
    }
    worker->keys_fetched_ms = loop_now_ms(worker->loop);
    worker->keys_wanted = keys_send(worker, arena) == OK;
    if (!worker->keys_wanted) {
        arena_dispose(&arena);
    }
}

void key_fetch_changed(struct worker *worker)
{
    assert(worker != NULL);
    if (worker->keys_wanted) {
        worker->keys_again = true;
    } else {
        key_fetch_start(worker);
    }
}
