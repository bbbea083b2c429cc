/*
 * Vyukov's bounded queue, with one consumer: every cell carries a sequence number that says whose
 * turn it is, so a producer claims a cell with one compare-and-swap and publishes it with one
 * store.
 */
#include "libcommon/base/ring.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>

#define CACHE_LINE_BYTES 64UL

struct cell {
    _Atomic size_t sequence;
    void *item;
};

/* One cache line nobody writes, one that every push writes, one that every pop writes. */
struct ring {
    struct cell *cells;
    size_t mask;
    char pad_shared[CACHE_LINE_BYTES - sizeof(struct cell *) - sizeof(size_t)];
    _Atomic size_t tail; /* next position to claim */
    atomic_bool armed;
    char pad_push[CACHE_LINE_BYTES - sizeof(size_t) - sizeof(bool)];
    _Atomic size_t head; /* next position to pop */
    char pad_pop[CACHE_LINE_BYTES - sizeof(size_t)];
};

_Static_assert(offsetof(struct ring, tail) == CACHE_LINE_BYTES, "pushes have their line");
_Static_assert(offsetof(struct ring, head) == 2 * CACHE_LINE_BYTES, "pops have their line");
_Static_assert(sizeof(struct ring) == 3 * CACHE_LINE_BYTES, "and share none with a neighbour");

struct ring *ring_open(size_t capacity)
{
    struct ring *ring = NULL;

    assert(capacity >= 2);
    assert((capacity & (capacity - 1)) == 0);
    assert(capacity <= SIZE_MAX / sizeof(struct cell) / 2);
    ring = aligned_alloc(CACHE_LINE_BYTES, sizeof(*ring));
    if (ring == NULL) {
        return NULL;
    }
    ring->cells = calloc(capacity, sizeof(*ring->cells));
    if (ring->cells == NULL) {
        free(ring);
        return NULL;
    }
    for (size_t i = 0; i < capacity; i++) {
        atomic_init(&ring->cells[i].sequence, i);
    }
    ring->mask = capacity - 1;
    atomic_init(&ring->tail, 0);
    atomic_init(&ring->head, 0);
    atomic_init(&ring->armed, true); /* the consumer has not looked yet */
    return ring;
}

void ring_close(struct ring **ring)
{
    struct ring *closing = NULL;

    assert(ring != NULL);
    closing = *ring;
    *ring = NULL;
    if (closing == NULL) {
        return;
    }
    assert(ring_length(closing) == 0);
    free(closing->cells);
    free(closing);
}

/* Claims a cell. NULL when the one at the tail still holds an item from the round before. */
static struct cell *claim(struct ring *ring, size_t *out_position)
{
    size_t position = atomic_load_explicit(&ring->tail, memory_order_relaxed);

    for (;;) {
        struct cell *cell = &ring->cells[position & ring->mask];
        size_t sequence = atomic_load_explicit(&cell->sequence, memory_order_acquire);
        ptrdiff_t ahead = (ptrdiff_t)(sequence - position);

        if (ahead < 0) {
            return NULL;
        }
        if (ahead > 0) { /* another producer took it */
            position = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        } else if (atomic_compare_exchange_weak_explicit(&ring->tail,
                                                         &position,
                                                         position + 1,
                                                         memory_order_relaxed,
                                                         memory_order_relaxed)) {
            *out_position = position;
            return cell;
        }
    }
}

/* Publishing comes before looking at `armed`, re-arming before looking for items, and both sides
 * touch `armed` by exchange. Whichever exchange is second sees everything before the first: either
 * the producer finds the ring armed, or the consumer's next pop finds the item. */
enum ring_push ring_push(struct ring *ring, void *item)
{
    size_t position = 0;
    struct cell *cell = NULL;

    assert(ring != NULL);
    assert(item != NULL);
    cell = claim(ring, &position);
    if (cell == NULL) {
        return RING_FULL;
    }
    cell->item = item;
    atomic_store_explicit(&cell->sequence, position + 1, memory_order_release);
    return atomic_exchange_explicit(&ring->armed, false, memory_order_acq_rel) ? RING_PUSHED_FIRST
                                                                               : RING_PUSHED;
}

void ring_rearm(struct ring *ring)
{
    assert(ring != NULL);
    (void)atomic_exchange_explicit(&ring->armed, true, memory_order_acq_rel);
}

void *ring_pop(struct ring *ring)
{
    size_t position = 0;
    struct cell *cell = NULL;
    void *item = NULL;

    assert(ring != NULL);
    position = atomic_load_explicit(&ring->head, memory_order_relaxed);
    cell = &ring->cells[position & ring->mask];
    if (atomic_load_explicit(&cell->sequence, memory_order_acquire) != position + 1) {
        return NULL;
    }
    item = cell->item;
    atomic_store_explicit(&cell->sequence, position + ring->mask + 1, memory_order_release);
    atomic_store_explicit(&ring->head, position + 1, memory_order_relaxed);
    assert(item != NULL);
    return item;
}

size_t ring_length(const struct ring *ring)
{
    size_t head = 0;
    size_t tail = 0;

    assert(ring != NULL);
    head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    return (ptrdiff_t)(tail - head) > 0 ? tail - head : 0;
}
