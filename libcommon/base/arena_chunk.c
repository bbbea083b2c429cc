/*
 * The mapping of the pool reserves address space only: a chunk costs memory once it is touched.
 * Free chunks are handed out last in, first out, which keeps the working set small and warm in the
 * cache.
 */
#include "libcommon/base/arena_chunk.h"

#include "libcommon/base/poison.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

/* Large blocks come in powers of two times the chunk size. Freed ones are kept per size, up to this
 * share of the total: unmapping them and faulting fresh pages in would cost more than filling them.
 */
#define LARGE_CLASSES    24
#define LARGE_KEPT_SHARE 8

struct arena_pool {
    size_t chunk_bytes;
    size_t chunks_max;
    size_t chunks_used;
    size_t chunks_touched; /* chunks from this index on have never been handed out */
    size_t large_bytes;    /* mapped and in use */
    size_t large_kept;     /* mapped and waiting in `large_free` */
    struct chunk *free;
    struct chunk *large_free[LARGE_CLASSES];
    unsigned char *base;
};

struct arena_pool *arena_pool_open(size_t chunk_bytes, size_t chunks_max)
{
    struct arena_pool *pool = NULL;
    void *base = NULL;
    size_t total = 0;

    assert(chunk_bytes >= ARENA_CHUNK_BYTES_MIN);
    assert((chunk_bytes & (chunk_bytes - 1)) == 0);
    assert(chunks_max > 0);
    if (__builtin_mul_overflow(chunk_bytes, chunks_max, &total)) {
        return NULL;
    }
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return NULL;
    }
    base = mmap(
        NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (base == MAP_FAILED) {
        free(pool);
        return NULL;
    }
    POISON(base, total);
    pool->chunk_bytes = chunk_bytes;
    pool->chunks_max = chunks_max;
    pool->base = base;
    return pool;
}

static void large_unmap_kept(struct arena_pool *pool)
{
    for (size_t i = 0; i < LARGE_CLASSES; i++) {
        while (pool->large_free[i] != NULL) {
            struct chunk *large = pool->large_free[i];

            pool->large_free[i] = large->next;
            pool->large_kept -= large->bytes;
            UNPOISON(large, large->bytes);
            (void)munmap(large, large->bytes);
        }
    }
    assert(pool->large_kept == 0);
}

void arena_pool_close(struct arena_pool **pool)
{
    struct arena_pool *closing = NULL;

    assert(pool != NULL);
    closing = *pool;
    *pool = NULL;
    if (closing == NULL) {
        return;
    }
    assert(closing->chunks_used == 0);
    assert(closing->large_bytes == 0);
    large_unmap_kept(closing);
    UNPOISON(closing->base, closing->chunk_bytes * closing->chunks_max);
    (void)munmap(closing->base, closing->chunk_bytes * closing->chunks_max);
    free(closing);
}

size_t arena_pool_bytes_used(const struct arena_pool *pool)
{
    assert(pool != NULL);
    return pool->chunks_used * pool->chunk_bytes + pool->large_bytes;
}

size_t arena_chunk_bytes(const struct arena_pool *pool)
{
    assert(pool != NULL);
    return pool->chunk_bytes;
}

/* Whether `bytes` more stay within the total; kept mappings give way first. */
static bool pool_has(struct arena_pool *pool, size_t bytes)
{
    size_t total = pool->chunk_bytes * pool->chunks_max;
    size_t used = arena_pool_bytes_used(pool);

    assert(used + pool->large_kept <= total);
    if (bytes > total - used) {
        return false;
    }
    if (bytes > total - used - pool->large_kept) {
        large_unmap_kept(pool);
    }
    return true;
}

struct chunk *arena_chunk_take(struct arena_pool *pool)
{
    struct chunk *chunk = pool->free;

    if (!pool_has(pool, pool->chunk_bytes)) {
        return NULL;
    }
    if (chunk != NULL) {
        pool->free = chunk->next;
    } else {
        assert(pool->chunks_touched < pool->chunks_max);
        chunk = (struct chunk *)(void *)(pool->base + pool->chunks_touched * pool->chunk_bytes);
        pool->chunks_touched++;
        UNPOISON(chunk, sizeof(*chunk));
    }
    pool->chunks_used++;
    chunk->next = NULL;
    chunk->bytes = pool->chunk_bytes;
    return chunk;
}

void arena_chunk_give(struct arena_pool *pool, struct chunk *chunk)
{
    assert(pool->chunks_used > 0);
    assert(chunk->bytes == pool->chunk_bytes);
    POISON(chunk + 1, chunk->bytes - sizeof(*chunk));
    chunk->next = pool->free;
    pool->free = chunk;
    pool->chunks_used--;
}

/* Sizes are rounded up so that a kept mapping fits the next request of about its size; the pages
 * behind the block are never touched and cost nothing. */
struct chunk *arena_large_take(struct arena_pool *pool, size_t bytes)
{
    struct chunk *large = NULL;
    size_t mapped = pool->chunk_bytes;
    size_t size_class = 0;

    assert(bytes > 0);
    while (mapped < bytes) {
        mapped *= 2;
        size_class++;
        if (size_class == LARGE_CLASSES) {
            return NULL;
        }
    }
    large = pool->large_free[size_class];
    if (large != NULL) {
        pool->large_free[size_class] = large->next;
        pool->large_kept -= mapped;
        pool->large_bytes += mapped;
        return large;
    }
    if (!pool_has(pool, mapped)) {
        return NULL;
    }
    large = mmap(NULL, mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (large == MAP_FAILED) {
        return NULL;
    }
    POISON(large + 1, mapped - sizeof(*large));
    large->bytes = mapped;
    large->size_class = size_class;
    pool->large_bytes += mapped;
    return large;
}

void arena_large_give(struct arena_pool *pool, struct chunk *large)
{
    size_t keep_max = pool->chunk_bytes * pool->chunks_max / LARGE_KEPT_SHARE;

    assert(pool->large_bytes >= large->bytes);
    assert(large->size_class < LARGE_CLASSES);
    assert(pool->large_kept <= keep_max);
    pool->large_bytes -= large->bytes;
    if (large->bytes > keep_max - pool->large_kept) {
        UNPOISON(large, large->bytes);
        (void)munmap(large, large->bytes);
        return;
    }
    POISON(large + 1, large->bytes - sizeof(*large));
    pool->large_kept += large->bytes;
    large->next = pool->large_free[large->size_class];
    pool->large_free[large->size_class] = large;
}
