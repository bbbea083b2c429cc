#include "gateway/key_fetch.h"

#include "api.gen.h"
#include "avanta/identity.pb-c.h"
#include "gateway/ask.h"

#include "libcommon/base/log.h"

#include <assert.h>

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

static void keys_take(struct worker *worker, const Avanta__Identity__GetKeysReply *keys)
{
    if (keys->n_keys == 0) {
        log_event(LOG_ERROR, "keys_unreadable", LOG_S("why", "no keys"));
        return;
    }
    key_set_replace(&worker->keys, keys);
    for (size_t i = 0; i < keys->n_revoked_sessions; i++) {
        worker_revoke(worker, str_from(keys->revoked_sessions[i]));
    }
    if (keys->has_unlisted_until_ms) {
        auth_refuse_issued_until(worker->auth, keys->unlisted_until_ms);
        lookup_forget_all(worker->lookup);
    }
}

static void on_keys(void *ctx, enum code code, const ProtobufCMessage *reply)
{
    struct worker *worker = ctx;

    assert(worker->keys_wanted);
    worker->keys_wanted = false;
    if (code == OK) {
        keys_take(worker, (const Avanta__Identity__GetKeysReply *)(const void *)reply);
    }
    if (worker->keys_again) {
        worker->keys_again = false;
        key_fetch_start(worker);
    }
    waiters_wake(worker);
}

void key_fetch_start(struct worker *worker)
{
    const Avanta__Identity__GetKeysRequest in = AVANTA__IDENTITY__GET_KEYS_REQUEST__INIT;
    const struct ask ask = {
        .method = &api_methods[API_IDENTITY_GET_KEYS],
        .in = &in.base,
        .deadline_ms = KEYS_DEADLINE_MS,
        .bytes_max = KEYS_BYTES_MAX,
        .done = on_keys,
        .ctx = worker,
    };

    if (!worker->keys_wanted && bus_connected(worker->bus)) {
        worker->keys_fetched_ms = loop_now_ms(worker->loop);
        worker->keys_wanted = ask_identity(worker, &ask);
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
