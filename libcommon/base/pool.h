#pragma once
/*
 * Fixed pool of equal objects with generations. A handle (slot + generation) outlives its object
 * safely: once the slot is reused, pool_get() on the old handle gives NULL. Single-threaded.
 */

#include "libcommon/base/attr.h"

#include <stddef.h>
#include <stdint.h>

struct pool;

struct pool_handle {
    uint32_t slot;
    uint32_t generation; /* never 0 for a live handle */
};

struct pool *pool_open(size_t object_bytes, uint32_t count); /* NULL when memory is refused */
void pool_close(struct pool **pool);
/* A zeroed object, or NULL when all are taken. */
void *pool_take(struct pool *pool, struct pool_handle *out_handle) MUST_CHECK;
void pool_give(struct pool *pool, void *object);
void *pool_get(const struct pool *pool, struct pool_handle handle);
struct pool_handle pool_handle_of(const struct pool *pool, const void *object);
uint32_t pool_used(const struct pool *pool);
uint32_t pool_count(const struct pool *pool);
/* The live object at or after *slot, advancing it; NULL at the end. For sweeps. */
void *pool_next(const struct pool *pool, uint32_t *slot);
