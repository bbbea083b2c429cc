#include "libcommon/codec/json_keys.h"

#include <assert.h>
#include <string.h>

#define PAIRWISE_MAX   16 /* names compared each with each */
#define NAME_SHOWN_MAX 64 /* bytes; longer ones would be cut, perhaps inside a character */

void json_keys_init(struct json_keys *keys, struct arena *arena)
{
    assert(arena != NULL);
    assert(keys != NULL);
    keys->arena = arena;
    keys->seen = keys->first;
    keys->count = 0;
    keys->cap = JSON_KEYS_INLINE;
    keys->depth = 0;
}

void json_keys_open(struct json_keys *keys)
{
    assert(keys->depth < JSON_DEPTH_MAX);
    keys->from[keys->depth++] = keys->count;
}

static bool grow(struct json_keys *keys)
{
    size_t cap = 2 * keys->cap;
    struct json_key_seen *larger = arena_alloc(keys->arena, cap * sizeof(*larger));

    assert(keys->count == keys->cap);
    if (larger == NULL) {
        return false;
    }
    memcpy(larger, keys->seen, keys->count * sizeof(*larger));
    keys->seen = larger;
    keys->cap = cap;
    return true;
}

static bool is_inside(struct str whole, struct str part)
{
    uintptr_t from = (uintptr_t)whole.ptr;
    uintptr_t at = (uintptr_t)part.ptr;

    return at >= from && at - from <= whole.len;
}

enum code json_keys_add(struct json_keys *keys, struct str json, struct str name, struct err *err)
{
    assert(keys->depth > 0);
    assert(keys->count <= keys->cap);
    if (name.len > JSON_KEY_BYTES_MAX) {
        return err_set(
            err, ERR_JSON, "a name in an object is longer than %d bytes", JSON_KEY_BYTES_MAX);
    }
    if (!is_inside(json, name)) {
        name.ptr = arena_strdup(keys->arena, name);
    }
    if (name.ptr == NULL || (keys->count == keys->cap && !grow(keys))) {
        return err_set(err, ERR_TOO_LARGE, "the text does not fit the request's memory");
    }
    keys->seen[keys->count++] = (struct json_key_seen){hash_bytes(name.ptr, name.len, 0), name};
    return OK;
}

/* An order in which equal names are neighbours. */
static int compare(const struct json_key_seen *a, const struct json_key_seen *b)
{
    assert(a != NULL);
    assert(b != NULL);
    if (a->hash != b->hash) {
        return a->hash < b->hash ? -1 : 1;
    }
    return str_cmp(a->name, b->name);
}

static void swap(struct json_key_seen *a, struct json_key_seen *b)
{
    struct json_key_seen kept = *a;

    assert(a != b);
    *a = *b;
    *b = kept;
}

static void sift_down(struct json_key_seen *keys, size_t root, size_t count)
{
    assert(root < count);
    while (2 * root + 1 < count) {
        size_t child = 2 * root + 1;

        if (child + 1 < count && compare(&keys[child], &keys[child + 1]) < 0) {
            child++;
        }
        if (compare(&keys[root], &keys[child]) >= 0) {
            return;
        }
        swap(&keys[root], &keys[child]);
        root = child;
    }
}

/* Heap sort, because qsort() may allocate and quicksorts have bad days that can be arranged. */
static void sort(struct json_key_seen *keys, size_t count)
{
    assert(count > PAIRWISE_MAX);
    for (size_t i = count / 2; i > 0; i--) {
        sift_down(keys, i - 1, count);
    }
    for (size_t i = count; i > 1; i--) {
        swap(&keys[0], &keys[i - 1]);
        sift_down(keys, 0, i - 1);
    }
}

static bool
is_among(const struct json_key_seen *keys, size_t count, const struct json_key_seen *key)
{
    assert(keys != NULL);
    for (size_t i = 0; i < count; i++) {
        if (compare(&keys[i], key) == 0) {
            return true;
        }
    }
    return false;
}

static const struct json_key_seen *find_pairwise(const struct json_key_seen *keys, size_t count)
{
    assert(count <= PAIRWISE_MAX);
    for (size_t i = 1; i < count; i++) {
        if (is_among(keys, i, &keys[i])) {
            return &keys[i];
        }
    }
    return NULL;
}

static const struct json_key_seen *find_twice(struct json_key_seen *keys, size_t count)
{
    assert(keys != NULL);
    if (count <= PAIRWISE_MAX) {
        return find_pairwise(keys, count);
    }
    sort(keys, count);
    for (size_t i = 1; i < count; i++) {
        if (compare(&keys[i], &keys[i - 1]) == 0) {
            return &keys[i];
        }
    }
    return NULL;
}

enum code json_keys_close(struct json_keys *keys, struct err *err)
{
    const struct json_key_seen *twice = NULL;
    size_t from = 0;

    assert(keys->depth > 0);
    from = keys->from[--keys->depth];
    assert(from <= keys->count);
    twice = find_twice(keys->seen + from, keys->count - from);
    keys->count = from;
    if (twice == NULL) {
        return OK;
    }
    if (twice->name.len > NAME_SHOWN_MAX) {
        return err_set(err, ERR_JSON, "a long name appears twice in one object");
    }
    return err_set(
        err, ERR_JSON, "the name \"%.*s\" appears twice in one object", STR_FMT(twice->name));
}
