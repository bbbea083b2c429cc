#pragma once
/*
 * Internal to base: the memory under arenas. Chunks of one size come from one mapping, larger
 * blocks have mappings of their own; both count against the pool's total. A chunk is handed out
 * with its head readable and the rest poisoned. Single-threaded.
 */

#include "libcommon/base/arena.h"

#define ARENA_ALIGN_BYTES     16
#define ARENA_CHUNK_BYTES_MIN 4096

/* Heads every chunk and every large mapping. */
struct chunk {
    _Alignas(ARENA_ALIGN_BYTES) struct chunk *next;
    size_t bytes;       /* the head included */
    size_t used_before; /* large blocks: the arena's bytes_used when it was taken */
    size_t size_class;  /* large blocks: bytes are the chunk size times 2^size_class */
};

_Static_assert(sizeof(struct chunk) % ARENA_ALIGN_BYTES == 0, "blocks after the head stay aligned");

size_t arena_chunk_bytes(const struct arena_pool *pool);
/* NULL when the total is reached. */
struct chunk *arena_chunk_take(struct arena_pool *pool) MUST_CHECK;
void arena_chunk_give(struct arena_pool *pool, struct chunk *chunk);
/* A mapping of at least `bytes`; NULL when the total is reached or the system refuses. */
struct chunk *arena_large_take(struct arena_pool *pool, size_t bytes) MUST_CHECK;
void arena_large_give(struct arena_pool *pool, struct chunk *large);
