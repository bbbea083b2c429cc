#pragma once
/*
 * Arena per request: chunks come from one pool made at start, the arena has a cap, and external
 * resources hang on it with dispose hooks. Single-threaded: pool and arenas belong to one loop.
 * Overflow is an ordinary answer (NULL -> ERR_TOO_LARGE), never an abort.
 * Memory is not zeroed unless asked; every block is aligned to 16 bytes.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

#include <stddef.h>

struct arena_pool;
struct arena;

/* Chunks of `chunk_bytes` (power of two), at most `chunks_max` alive; memory is mapped once at open
 * and touched on first use. Larger single blocks take several adjacent chunks' worth by their own
 * mapping, counted against the same total. NULL when the mapping is refused. */
struct arena_pool *arena_pool_open(size_t chunk_bytes, size_t chunks_max);
void arena_pool_close(struct arena_pool **pool); /* every arena must be disposed before */
/* tidy: allow unused: tests find leaks with it */
size_t arena_pool_bytes_used(const struct arena_pool *pool);

/* An arena whose blocks sum to at most `bytes_max`; NULL when the pool is exhausted. The struct
 * itself lives in its first chunk. */
struct arena *arena_open(struct arena_pool *pool, size_t bytes_max) MUST_CHECK;
/* Runs the hooks newest first and gives all chunks back. Accepts NULL; nulls the caller's pointer.
 */
void arena_dispose(struct arena **arena);

void *arena_alloc(struct arena *arena, size_t bytes) MUST_CHECK;
void *
arena_calloc(struct arena *arena, size_t count, size_t bytes) MUST_CHECK; /* zeroed, checked */
char *arena_strdup(struct arena *arena, struct str s) MUST_CHECK;         /* NUL ended */
char *arena_printf(struct arena *arena, const char *fmt, ...) PRINTF(2, 3) MUST_CHECK;
/* tidy: allow unused: tests measure what a module takes */
size_t arena_bytes_used(const struct arena *arena);
/* True once any allocation was refused. */
bool arena_exhausted(const struct arena *arena);

/* Calls hook(object) when the arena is disposed. False when the arena is full: then the caller
 * still owns the object. */
bool arena_on_dispose(struct arena *arena, void (*hook)(void *object), void *object) MUST_CHECK;

/* Position to return to: blocks allocated after the mark are reused; hooks are not undone. */
struct arena_mark {
    void *chunk;
    size_t at;
    size_t used;
};
struct arena_mark arena_mark(const struct arena *arena);
void arena_rewind(struct arena *arena, struct arena_mark mark);
