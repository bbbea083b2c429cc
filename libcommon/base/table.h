#pragma once
/*
 * Fixed-capacity hash table from a byte key (1..64 bytes, copied) to a pointer. Open addressing,
 * seeded hash, no allocation after open. Single-threaded. A full table refuses; it never grows.
 */

#include "libcommon/base/str.h"

#define TABLE_KEY_BYTES_MAX 64

struct table;

struct table *table_open(uint32_t capacity, uint64_t seed);
void table_close(struct table **table);
/* False when the key is there already, has not 1..64 bytes, or the table is full. */
bool table_put(struct table *table, struct str key, void *value) MUST_CHECK;
void *table_get(const struct table *table, struct str key);
void *table_remove(struct table *table, struct str key); /* the value, or NULL */
uint32_t table_count(const struct table *table);
