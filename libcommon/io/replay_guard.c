/*
 * Two hash functions choose two buckets; a new nonce goes to the emptier one. With twice as many
 * places as the capacity asks for, a refusal below the capacity is practically impossible (two
 * choices, eight places each), and a look-up reads at most two times 192 bytes, whatever was
 * forgotten before.
 */
#include "libcommon/io/replay_guard.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BUCKET_PLACES 8
#define CAPACITY_MAX  (1U << 24)

struct place {
    uint64_t until_ms; /* 0: never used; past: free again */
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
};

struct bucket {
    struct place places[BUCKET_PLACES];
};

struct replay_guard {
    struct bucket *buckets;
    uint32_t mask;
    uint64_t seed;
};

struct replay_guard *replay_guard_open(uint32_t capacity)
{
    struct replay_guard *guard = NULL;
    uint32_t buckets = 2;

    assert(capacity > 0);
    assert(capacity <= CAPACITY_MAX);
    while ((uint64_t)buckets * BUCKET_PLACES < 2 * (uint64_t)capacity) {
        buckets *= 2;
    }
    guard = calloc(1, sizeof(*guard));
    if (guard == NULL) {
        return NULL;
    }
    guard->buckets = calloc(buckets, sizeof(*guard->buckets));
    if (guard->buckets == NULL) {
        free(guard);
        return NULL;
    }
    guard->mask = buckets - 1;
    random_bytes(&guard->seed, sizeof(guard->seed));
    return guard;
}

void replay_guard_close(struct replay_guard **guard)
{
    struct replay_guard *closing = NULL;

    assert(guard != NULL);
    closing = *guard;
    *guard = NULL;
    if (closing == NULL) {
        return;
    }
    free(closing->buckets);
    free(closing);
}

/* True when the nonce is there. Else counts free places and gives one. */
static bool look(struct bucket *bucket,
                 const uint8_t *nonce,
                 uint64_t now_ms,
                 uint32_t *out_free,
                 struct place **out_place)
{
    assert(out_free != NULL);
    assert(out_place != NULL);
    *out_free = 0;
    *out_place = NULL;
    for (uint32_t i = 0; i < BUCKET_PLACES; i++) {
        struct place *place = &bucket->places[i];

        if (place->until_ms <= now_ms) {
            (*out_free)++;
            *out_place = place;
        } else if (memcmp(place->nonce, nonce, ENVELOPE_NONCE_BYTES) == 0) {
            return true;
        }
    }
    return false;
}

enum code replay_guard_check(struct replay_guard *guard,
                             const uint8_t nonce[ENVELOPE_NONCE_BYTES],
                             uint64_t now_ms,
                             uint64_t until_ms,
                             struct err *err)
{
    const uint64_t hash = hash_bytes(nonce, ENVELOPE_NONCE_BYTES, guard->seed);
    struct bucket *first = &guard->buckets[(uint32_t)hash & guard->mask];
    struct bucket *second = &guard->buckets[(uint32_t)(hash >> 32) & guard->mask];
    struct place *places[2] = {NULL, NULL};
    uint32_t counts[2] = {0, 0};
    struct place *place = NULL;

    assert(until_ms > now_ms);
    if (look(first, nonce, now_ms, &counts[0], &places[0]) ||
        look(second, nonce, now_ms, &counts[1], &places[1])) {
        return err_set(err, ERR_UNAUTHENTICATED, "the envelope was seen before");
    }
    place = counts[0] >= counts[1] ? places[0] : places[1];
    if (place == NULL) {
        return err_set(err, ERR_OVERLOADED, "too many requests to remember");
    }
    place->until_ms = until_ms;
    memcpy(place->nonce, nonce, ENVELOPE_NONCE_BYTES);
    return OK;
}
