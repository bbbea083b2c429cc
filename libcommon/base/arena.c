/*
 * A block is the next bytes of the newest chunk; nothing is freed singly. What outgrows a chunk
 * gets a mapping of its own. The arena lives in its first chunk, so opening one costs a pop from a
 * free list.
 */
#include "libcommon/base/arena.h"

#include "libcommon/base/arena_chunk.h"
#include "libcommon/base/poison.h"

#include <assert.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define HOOKS_INLINE       16
#define PRINTF_STACK_BYTES 512

struct hook {
    void (*call)(void *object);
    void *object;
};

/* Hooks beyond the inline ones live in whole chunks of their own, which arena_rewind() leaves
 * alone. */
struct hook_page {
    struct hook_page *older;
    struct chunk *chunk;
    size_t count;
    struct hook hooks[];
};

/* What every allocation touches comes first and shares a cache line. */
struct arena {
    unsigned char *at;
    unsigned char *end;
    size_t used; /* by blocks, without what the ends of chunks waste */
    size_t bytes_max;
    struct arena_pool *pool;
    struct chunk *chunk; /* newest first */
    struct chunk *large; /* newest first */
    struct hook_page *hook_page;
    size_t hook_count; /* inline ones */
    bool exhausted;
    struct hook hooks[HOOKS_INLINE];
};

_Static_assert(sizeof(struct chunk) + sizeof(struct arena) < ARENA_CHUNK_BYTES_MIN / 2,
               "the arena leaves most of its first chunk free");

static size_t align_up(size_t bytes)
{
    assert(bytes <= SIZE_MAX - ARENA_ALIGN_BYTES);
    return (bytes + (ARENA_ALIGN_BYTES - 1)) & ~(size_t)(ARENA_ALIGN_BYTES - 1);
}

struct arena *arena_open(struct arena_pool *pool, size_t bytes_max)
{
    struct chunk *chunk = NULL;
    struct arena *arena = NULL;

    assert(pool != NULL);
    assert(bytes_max > 0);
    chunk = arena_chunk_take(pool);
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

/* Pages are newer than the inline hooks, and the newest page is first. A hook may still use blocks
 * of the arena: memory goes back only after the last one has run. */
static void hooks_run(struct arena *arena)
{
    while (arena->hook_page != NULL) {
        struct hook_page *page = arena->hook_page;
        struct chunk *chunk = page->chunk;

        assert(page->count > 0);
        while (page->count > 0) {
            page->count--;
            page->hooks[page->count].call(page->hooks[page->count].object);
        }
        arena->hook_page = page->older;
        arena_chunk_give(arena->pool, chunk);
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
        arena_large_give(pool, large);
    }
    chunk = disposing->chunk; /* the last one holds the arena itself */
    while (chunk != NULL) {
        struct chunk *older = chunk->next;

        arena_chunk_give(pool, chunk);
        chunk = older;
    }
}

/* Callers often build a whole answer and look once at the end, hence the flag. */
static void *refuse(struct arena *arena)
{
    arena->exhausted = true;
    return NULL;
}

static void *alloc_large(struct arena *arena, size_t need)
{
    struct chunk *large = arena_large_take(arena->pool, need + sizeof(*large) + POISON_GAP_BYTES);

    assert(need <= arena->bytes_max - arena->used);
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

    assert(need > 0);
    if (need + POISON_GAP_BYTES > arena_chunk_bytes(arena->pool) - sizeof(*chunk)) {
        return alloc_large(arena, need);
    }
    chunk = arena_chunk_take(arena->pool);
    if (chunk == NULL) {
        return refuse(arena);
    }
    chunk->next = arena->chunk;
    arena->chunk = chunk;
    block = (unsigned char *)(chunk + 1);
    arena->at = block + need + POISON_GAP_BYTES;
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
    if (bytes > PTRDIFF_MAX) { /* rounding and heads cannot overflow below this */
        return refuse(arena);
    }
    /* An empty block still has an address of its own, so NULL always means refused. */
    need = bytes == 0 ? ARENA_ALIGN_BYTES : align_up(bytes);
    if (need > arena->bytes_max - arena->used) {
        return refuse(arena);
    }
    if (need + POISON_GAP_BYTES <= (size_t)(arena->end - arena->at)) {
        block = arena->at;
        arena->at += need + POISON_GAP_BYTES;
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

/* Most texts are short: formatted once on the stack and copied, they take no more than they need.
 */
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
    struct chunk *chunk = arena_chunk_take(arena->pool);
    struct hook_page *page = NULL;

    if (chunk == NULL) {
        return NULL;
    }
    page = (struct hook_page *)(void *)(chunk + 1);
    UNPOISON(page, chunk->bytes - sizeof(*chunk));
    page->older = arena->hook_page;
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
    page_hooks = (arena_chunk_bytes(arena->pool) - sizeof(struct chunk) - sizeof(*page)) /
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

/* Large blocks are not in the chain of chunks. One was taken after the mark exactly when the arena
 * had used no less at that time, since every block takes some bytes. */
void arena_rewind(struct arena *arena, struct arena_mark mark)
{
    assert(arena != NULL);
    assert(mark.used <= arena->used);
    while (arena->large != NULL && arena->large->used_before >= mark.used) {
        struct chunk *large = arena->large;

        arena->large = large->next;
        arena_large_give(arena->pool, large);
    }
    while (arena->chunk != mark.chunk) {
        struct chunk *newer = arena->chunk;

        arena->chunk = newer->next;
        assert(arena->chunk != NULL);
        arena_chunk_give(arena->pool, newer);
    }
    assert(mark.at <= arena->chunk->bytes);
    arena->at = (unsigned char *)arena->chunk + mark.at;
    arena->end = (unsigned char *)arena->chunk + arena->chunk->bytes;
    arena->used = mark.used;
    POISON(arena->at, (size_t)(arena->end - arena->at));
}
