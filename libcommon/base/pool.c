/*
 * One array of objects and one of slots. Slots that were never used are not in the free list but
 * counted by `touched`, so opening a large pool touches no memory.
 */
#include "libcommon/base/pool.h"

#include "libcommon/base/poison.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define ALIGN_BYTES 16
#define SLOT_END    UINT32_MAX       /* end of the free list */
#define SLOT_TAKEN  (UINT32_MAX - 1) /* in `next` of a live slot */

/* The book-keeping is apart from the objects, so a stray write through an old pointer cannot reach
 * it. */
struct slot {
    uint32_t generation;
    uint32_t next;
};

struct pool {
    unsigned char *objects;
    struct slot *slots;
    size_t object_bytes; /* rounded up */
    uint32_t count;
    uint32_t used;
    uint32_t touched; /* slots from here on have never been handed out */
    uint32_t free;
};

struct pool *pool_open(size_t object_bytes, uint32_t count)
{
    struct pool *pool = NULL;
    size_t rounded = (object_bytes + (ALIGN_BYTES - 1)) & ~(size_t)(ALIGN_BYTES - 1);

    assert(object_bytes > 0);
    assert(rounded >= object_bytes);
    assert(count > 0);
    assert(count < SLOT_TAKEN);
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return NULL;
    }
    pool->objects = calloc(count, rounded);
    pool->slots = calloc(count, sizeof(*pool->slots));
    if (pool->objects == NULL || pool->slots == NULL) {
        free(pool->objects);
        free(pool->slots);
        free(pool);
        return NULL;
    }
    pool->object_bytes = rounded;
    pool->count = count;
    pool->free = SLOT_END;
    POISON(pool->objects, rounded * count);
    return pool;
}

void pool_close(struct pool **pool)
{
    struct pool *closing = NULL;

    assert(pool != NULL);
    closing = *pool;
    *pool = NULL;
    if (closing == NULL) {
        return;
    }
    UNPOISON(closing->objects, closing->object_bytes * closing->count);
    free(closing->objects);
    free(closing->slots);
    free(closing);
}

static void *object_at(const struct pool *pool, uint32_t slot)
{
    assert(slot < pool->count);
    return pool->objects + (size_t)slot * pool->object_bytes;
}

/* Aborts on an address that is not an object of this pool: giving that back would corrupt it. */
static uint32_t slot_of(const struct pool *pool, const void *object)
{
    const unsigned char *at = object;
    size_t offset = 0;

    assert(at >= pool->objects);
    offset = (size_t)(at - pool->objects);
    assert(offset % pool->object_bytes == 0);
    assert(offset / pool->object_bytes < pool->touched);
    return (uint32_t)(offset / pool->object_bytes);
}

void *pool_take(struct pool *pool, struct pool_handle *out_handle)
{
    uint32_t slot = 0;
    void *object = NULL;

    assert(pool != NULL);
    if (pool->free != SLOT_END) {
        slot = pool->free;
        pool->free = pool->slots[slot].next;
    } else if (pool->touched < pool->count) {
        slot = pool->touched++;
        pool->slots[slot].generation = 1;
    } else {
        return NULL;
    }
    pool->slots[slot].next = SLOT_TAKEN;
    pool->used++;
    object = object_at(pool, slot);
    UNPOISON(object, pool->object_bytes);
    memset(object, 0, pool->object_bytes);
    if (out_handle != NULL) {
        *out_handle = (struct pool_handle){slot, pool->slots[slot].generation};
    }
    return object;
}

void pool_give(struct pool *pool, void *object)
{
    uint32_t slot = slot_of(pool, object);
    struct slot *entry = &pool->slots[slot];

    assert(entry->next == SLOT_TAKEN);
    assert(pool->used > 0);
    /* From here on every handle to the object is out of date. Zero is left for handles never set.
     */
    entry->generation = entry->generation == UINT32_MAX ? 1 : entry->generation + 1;
    entry->next = pool->free;
    pool->free = slot;
    pool->used--;
    POISON(object, pool->object_bytes);
}

void *pool_get(const struct pool *pool, struct pool_handle handle)
{
    assert(pool != NULL);
    if (handle.slot >= pool->touched || pool->slots[handle.slot].next != SLOT_TAKEN ||
        pool->slots[handle.slot].generation != handle.generation) {
        return NULL;
    }
    return object_at(pool, handle.slot);
}

struct pool_handle pool_handle_of(const struct pool *pool, const void *object)
{
    uint32_t slot = slot_of(pool, object);

    assert(pool->slots[slot].next == SLOT_TAKEN);
    assert(pool->slots[slot].generation != 0);
    return (struct pool_handle){slot, pool->slots[slot].generation};
}

uint32_t pool_used(const struct pool *pool)
{
    assert(pool != NULL);
    return pool->used;
}

uint32_t pool_count(const struct pool *pool)
{
    assert(pool != NULL);
    return pool->count;
}

void *pool_next(const struct pool *pool, uint32_t *slot)
{
    assert(pool != NULL);
    assert(slot != NULL);
    while (*slot < pool->touched) {
        uint32_t at = (*slot)++;

        if (pool->slots[at].next == SLOT_TAKEN) {
            return object_at(pool, at);
        }
    }
    return NULL;
}
