/*
 * Linear probing over an array of hashes; entries are apart, so a probe reads eight slots per cache
 * line. A removal moves later entries of the run back, so there are no tombstones and look-ups
 * never slow down with age.
 */
#include "libcommon/base/table.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define HASH_EMPTY UINT64_C(0)

struct entry {
    void *value;
    uint8_t key_len;
    char key[TABLE_KEY_BYTES_MAX];
};

struct table {
    uint64_t *hashes;
    struct entry *entries;
    uint64_t seed;
    size_t mask;
    uint32_t capacity;
    uint32_t count;
};

struct table *table_open(uint32_t capacity, uint64_t seed)
{
    struct table *table = NULL;
    size_t slots = 4;

    assert(capacity > 0);
    assert(capacity <= UINT32_MAX / 2);
    /* At most three quarters full: runs stay short and one slot at least stays empty. */
    while (slots < (size_t)capacity + capacity / 3 + 1) {
        slots *= 2;
    }
    table = calloc(1, sizeof(*table));
    if (table == NULL) {
        return NULL;
    }
    table->hashes = calloc(slots, sizeof(*table->hashes));
    table->entries = calloc(slots, sizeof(*table->entries));
    table->seed = seed;
    table->mask = slots - 1;
    table->capacity = capacity;
    if (table->hashes == NULL || table->entries == NULL) {
        table_close(&table);
    }
    return table;
}

void table_close(struct table **table)
{
    struct table *closing = NULL;

    assert(table != NULL);
    closing = *table;
    *table = NULL;
    if (closing == NULL) {
        return;
    }
    free(closing->hashes);
    free(closing->entries);
    free(closing);
}

/* Keys come from outside now and then (a reply's id), so a wrong length is no programmer error. */
static bool key_fits(struct str key)
{
    return key.len >= 1 && key.len <= TABLE_KEY_BYTES_MAX;
}

/* Zero marks an empty slot, so a key that hashes to it takes its neighbour. */
static uint64_t hash_of(const struct table *table, struct str key)
{
    uint64_t hash = hash_bytes(key.ptr, key.len, table->seed);

    return hash == HASH_EMPTY ? 1 : hash;
}

/* The slot of the key, or the empty slot that ends its run. One slot at least is always empty. */
static size_t probe(const struct table *table, struct str key, uint64_t hash)
{
    size_t slot = (size_t)hash & table->mask;

    assert(hash != HASH_EMPTY);
    assert(table->count <= table->mask);
    while (table->hashes[slot] != HASH_EMPTY) {
        const struct entry *entry = &table->entries[slot];

        if (table->hashes[slot] == hash && str_eq((struct str){entry->key, entry->key_len}, key)) {
            break;
        }
        slot = (slot + 1) & table->mask;
    }
    return slot;
}

bool table_put(struct table *table, struct str key, void *value)
{
    uint64_t hash = 0;
    size_t slot = 0;

    assert(table != NULL);
    assert(value != NULL);
    if (!key_fits(key)) {
        return false;
    }
    hash = hash_of(table, key);
    slot = probe(table, key, hash);
    if (table->hashes[slot] != HASH_EMPTY || table->count == table->capacity) {
        return false;
    }
    table->hashes[slot] = hash;
    table->entries[slot].value = value;
    table->entries[slot].key_len = (uint8_t)key.len;
    memcpy(table->entries[slot].key, key.ptr, key.len);
    table->count++;
    return true;
}

void *table_get(const struct table *table, struct str key)
{
    size_t slot = 0;

    assert(table != NULL);
    if (!key_fits(key)) {
        return NULL;
    }
    slot = probe(table, key, hash_of(table, key));
    return table->hashes[slot] == HASH_EMPTY ? NULL : table->entries[slot].value;
}

/* Fills the hole with the next entry of the run that may stand there, until the run ends. An entry
 * may move back unless its home lies cyclically after the hole. */
static void close_hole(struct table *table, size_t hole)
{
    size_t slot = (hole + 1) & table->mask;

    assert(table->hashes[hole] != HASH_EMPTY);
    while (table->hashes[slot] != HASH_EMPTY) {
        size_t home = (size_t)table->hashes[slot] & table->mask;

        if (((slot - home) & table->mask) >= ((slot - hole) & table->mask)) {
            table->hashes[hole] = table->hashes[slot];
            table->entries[hole] = table->entries[slot];
            hole = slot;
        }
        slot = (slot + 1) & table->mask;
    }
    table->hashes[hole] = HASH_EMPTY;
}

void *table_remove(struct table *table, struct str key)
{
    size_t slot = 0;
    void *value = NULL;

    assert(table != NULL);
    if (!key_fits(key)) {
        return NULL;
    }
    slot = probe(table, key, hash_of(table, key));
    if (table->hashes[slot] == HASH_EMPTY) {
        return NULL;
    }
    value = table->entries[slot].value;
    close_hole(table, slot);
    assert(table->count > 0);
    table->count--;
    return value;
}

uint32_t table_count(const struct table *table)
{
    assert(table != NULL);
    assert(table->count <= table->capacity);
    return table->count;
}
