#include "libcommon/base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define ARENA_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_POISON 1
#endif
#endif

#ifdef ARENA_POISON
#include <sanitizer/asan_interface.h>
#define POISON(ptr, bytes)   ASAN_POISON_MEMORY_REGION(ptr, bytes)
#define UNPOISON(ptr, bytes) ASAN_UNPOISON_MEMORY_REGION(ptr, bytes)
#define BLOCK_GAP_BYTES      16 /* poisoned between blocks, so that overruns are found */
#else
#define POISON(ptr, bytes)   ((void)(ptr), (void)(bytes))
#define UNPOISON(ptr, bytes) ((void)(ptr), (void)(bytes))
#define BLOCK_GAP_BYTES      0
#endif

#define ALIGN_BYTES        16
#define CHUNK_BYTES_MIN    4096
#define HOOKS_INLINE       16
#define PRINTF_STACK_BYTES 512
/* Large blocks come in powers of two times the chunk size. Freed ones are kept per size, up to this
 * share of the total, because unmapping and faulting pages in again costs more than the copy into them. */
#define LARGE_CLASSES      24
#define LARGE_KEPT_SHARE   8

/* Heads every chunk and every large mapping. */
struct chunk {
    _Alignas(ALIGN_BYTES) struct chunk *next;
    size_t used_before; /* large blocks: the arena's bytes_used when it was taken */
    size_t bytes;
    unsigned size_class;
};

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

struct hook {
    void (*call)(void *object);
    void *object;
};

/* Hooks beyond the inline ones live in whole chunks of their own, which arena_rewind() leaves alone. */
struct hook_page {
    struct chunk *chunk;
    size_t count;
    struct hook hooks[];
};

struct arena {
    unsigned char *at;
    unsigned char *end;
    size_t used;
    size_t bytes_max;
    struct arena_pool *pool;
    struct chunk *chunk; /* newest first */
    struct chunk *large; /* newest first */
    struct hook_page *hook_page;
    size_t hook_count; /* inline ones */
    bool exhausted;
    struct hook hooks[HOOKS_INLINE];
};

_Static_assert(sizeof(struct chunk) % ALIGN_BYTES == 0, "blocks after the head stay aligned");
_Static_assert(sizeof(struct chunk) + sizeof(struct arena) < CHUNK_BYTES_MIN / 2,
               "the arena leaves most of its first chunk free");

static size_t align_up(size_t bytes)
{
    return (bytes + (ALIGN_BYTES - 1)) & ~(size_t)(ALIGN_BYTES - 1);
}

/* --- the pool ------------------------------------------------------------------ */

struct arena_pool *arena_pool_open(size_t chunk_bytes, size_t chunks_max)
{
    struct arena_pool *pool = NULL;
    void *base = NULL;
    size_t total = 0;

    assert(chunk_bytes >= CHUNK_BYTES_MIN);
    assert((chunk_bytes & (chunk_bytes - 1)) == 0);
    assert(chunks_max > 0);
    if (__builtin_mul_overflow(chunk_bytes, chunks_max, &total)) {
        return NULL;
    }
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return NULL;
    }
    base = mmap(NULL,
                total,
                PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                -1,
                0);
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

static struct chunk *chunk_take(struct arena_pool *pool)
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

static void chunk_give(struct arena_pool *pool, struct chunk *chunk)
{
    assert(pool->chunks_used > 0);
    assert(chunk->bytes == pool->chunk_bytes);
    POISON(chunk + 1, chunk->bytes - sizeof(*chunk));
    chunk->next = pool->free;
    pool->free = chunk;
    pool->chunks_used--;
}

static struct chunk *large_take(struct arena_pool *pool, size_t bytes)
{
    struct chunk *large = NULL;
    size_t mapped = pool->chunk_bytes;
    unsigned size_class = 0;

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

static void large_give(struct arena_pool *pool, struct chunk *large)
{
    size_t keep_max = pool->chunk_bytes * pool->chunks_max / LARGE_KEPT_SHARE;

    assert(pool->large_bytes >= large->bytes);
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

/* --- the arena ----------------------------------------------------------------- */

struct arena *arena_open(struct arena_pool *pool, size_t bytes_max)
{
    struct chunk *chunk = NULL;
    struct arena *arena = NULL;

    assert(pool != NULL);
    assert(bytes_max > 0);
    chunk = chunk_take(pool);
    if (chunk == NULL) {
        return NULL;
    }
    arena = (struct arena *)(void *)(chunk + 1);
    UNPOISON(arena, sizeof(*arena));
    arena->at = (unsigned char *)arena + align_up(sizeof(*arena));
    arena->end = (unsigned char *)chunk + chunk->bytes;
    arena->used = 0;
    arena->bytes_max = bytes_max;
    arena->pool = pool;
    arena->chunk = chunk;
    arena->large = NULL;
    arena->hook_page = NULL;
    arena->hook_count = 0;
    arena->exhausted = false;
    return arena;
}

static void hooks_run(struct arena *arena)
{
    while (arena->hook_page != NULL) {
        struct hook_page *page = arena->hook_page;
        struct chunk *chunk = page->chunk;

        while (page->count > 0) {
            page->count--;
            page->hooks[page->count].call(page->hooks[page->count].object);
        }
        arena->hook_page = (struct hook_page *)(void *)chunk->next;
        chunk_give(arena->pool, chunk);
    }
    while (arena->hook_count > 0) {
        arena->hook_count--;
        arena->hooks[arena->hook_count].call(arena->hooks[arena->hook_count].object);
    }
}

void arena_dispose(struct arena **arena)
{
    struct arena *disposing = NULL;
    struct arena_pool *pool = NULL;
    struct chunk *chunk = NULL;

    assert(arena != NULL);
    disposing = *arena;
    *arena = NULL;
    if (disposing == NULL) {
        return;
    }
    hooks_run(disposing);
    pool = disposing->pool;
    while (disposing->large != NULL) {
        struct chunk *large = disposing->large;

        disposing->large = large->next;
        large_give(pool, large);
    }
    chunk = disposing->chunk; /* the last one holds the arena itself */
    while (chunk != NULL) {
        struct chunk *older = chunk->next;

        chunk_give(pool, chunk);
        chunk = older;
    }
}

static void *refuse(struct arena *arena)
{
    arena->exhausted = true;
    return NULL;
}

static void *alloc_large(struct arena *arena, size_t need)
{
    struct chunk *large = large_take(arena->pool, need + sizeof(*large) + BLOCK_GAP_BYTES);

    if (large == NULL) {
        return refuse(arena);
    }
    large->used_before = arena->used;
    large->next = arena->large;
    arena->large = large;
    arena->used += need;
    return large + 1;
}

/* The block goes to a fresh chunk; what is left of the present one is not used again. */
static void *alloc_slow(struct arena *arena, size_t need)
{
    struct chunk *chunk = NULL;
    unsigned char *block = NULL;

    if (need + BLOCK_GAP_BYTES > arena->pool->chunk_bytes - sizeof(*chunk)) {
        return alloc_large(arena, need);
    }
    chunk = chunk_take(arena->pool);
    if (chunk == NULL) {
        return refuse(arena);
    }
    chunk->next = arena->chunk;
    arena->chunk = chunk;
    block = (unsigned char *)(chunk + 1);
    arena->at = block + need + BLOCK_GAP_BYTES;
    arena->end = (unsigned char *)chunk + chunk->bytes;
    arena->used += need;
    return block;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    size_t need = 0;
    void *block = NULL;

    assert(arena != NULL);
    assert(arena->used <= arena->bytes_max);
    if (bytes > arena->bytes_max - arena->used) {
        return refuse(arena);
    }
    need = bytes == 0 ? ALIGN_BYTES : align_up(bytes);
    if (need > arena->bytes_max - arena->used) {
        return refuse(arena);
    }
    if (need + BLOCK_GAP_BYTES <= (size_t)(arena->end - arena->at)) {
        block = arena->at;
        arena->at += need + BLOCK_GAP_BYTES;
        arena->used += need;
    } else {
        block = alloc_slow(arena, need);
    }
    if (block != NULL) {
        UNPOISON(block, bytes);
    }
    return block;
}

void *arena_calloc(struct arena *arena, size_t count, size_t bytes)
{
    size_t total = 0;
    void *block = NULL;

    assert(arena != NULL);
    if (__builtin_mul_overflow(count, bytes, &total)) {
        return refuse(arena);
    }
    block = arena_alloc(arena, total);
    if (block != NULL) {
        memset(block, 0, total);
    }
    return block;
}

char *arena_strdup(struct arena *arena, struct str s)
{
    char *copy = NULL;

    assert(s.ptr != NULL || s.len == 0);
    assert(s.len < SIZE_MAX);
    copy = arena_alloc(arena, s.len + 1);
    if (copy == NULL) {
        return NULL;
    }
    if (s.len > 0) {
        memcpy(copy, s.ptr, s.len);
    }
    copy[s.len] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...)
{
    char stack[PRINTF_STACK_BYTES];
    char *text = NULL;
    va_list args;
    int len = 0;

    assert(fmt != NULL);
    va_start(args, fmt);
    len = vsnprintf(stack, sizeof(stack), fmt, args);
    va_end(args);
    if (len < 0) {
        return refuse(arena);
    }
    text = arena_alloc(arena, (size_t)len + 1);
    if (text == NULL) {
        return NULL;
    }
    if ((size_t)len < sizeof(stack)) {
        memcpy(text, stack, (size_t)len + 1);
        return text;
    }
    va_start(args, fmt);
    (void)vsnprintf(text, (size_t)len + 1, fmt, args);
    va_end(args);
    return text;
}

size_t arena_bytes_used(const struct arena *arena)
{
    assert(arena != NULL);
    return arena->used;
}

bool arena_exhausted(const struct arena *arena)
{
    assert(arena != NULL);
    return arena->exhausted;
}

static struct hook_page *hook_page_add(struct arena *arena)
{
    struct chunk *chunk = chunk_take(arena->pool);
    struct hook_page *page = NULL;

    if (chunk == NULL) {
        return NULL;
    }
    page = (struct hook_page *)(void *)(chunk + 1);
    UNPOISON(page, chunk->bytes - sizeof(*chunk));
    chunk->next = (struct chunk *)(void *)arena->hook_page;
    page->chunk = chunk;
    page->count = 0;
    arena->hook_page = page;
    return page;
}

bool arena_on_dispose(struct arena *arena, void (*hook)(void *object), void *object)
{
    struct hook_page *page = NULL;
    size_t page_hooks = 0;

    assert(arena != NULL);
    assert(hook != NULL);
    if (arena->hook_count < HOOKS_INLINE) {
        arena->hooks[arena->hook_count++] = (struct hook){hook, object};
        return true;
    }
    page = arena->hook_page;
    page_hooks = (arena->pool->chunk_bytes - sizeof(struct chunk) - sizeof(*page)) /
                 sizeof(struct hook);
    if (page == NULL || page->count == page_hooks) {
        page = hook_page_add(arena);
    }
    if (page == NULL) {
        arena->exhausted = true;
        return false;
    }
    page->hooks[page->count++] = (struct hook){hook, object};
    return true;
}

struct arena_mark arena_mark(const struct arena *arena)
{
    assert(arena != NULL);
    assert(arena->at <= arena->end);
    return (struct arena_mark){
        arena->chunk, (size_t)(arena->at - (unsigned char *)arena->chunk), arena->used};
}

void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    assert(arena != NULL);
    assert(mark.used <= arena->used);
    while (arena->large != NULL && arena->large->used_before >= mark.used) {
        struct chunk *large = arena->large;

        arena->large = large->next;
        large_give(arena->pool, large);
    }
    while (arena->chunk != mark.chunk) {
        struct chunk *newer = arena->chunk;

        arena->chunk = newer->next;
        assert(arena->chunk != NULL);
        chunk_give(arena->pool, newer);
    }
    assert(mark.at <= arena->chunk->bytes);
    arena->at = (unsigned char *)arena->chunk + mark.at;
    arena->end = (unsigned char *)arena->chunk + arena->chunk->bytes;
    arena->used = mark.used;
    POISON(arena->at, (size_t)(arena->end - arena->at));
}
