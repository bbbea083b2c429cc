#pragma once
/*
 * Internal to codec: finds names given twice in one object. Two readers of one text may disagree on
 * which of them counts, so such a text is refused. Work per object is at most n log n, whatever the
 * names.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/limits.h"

#define JSON_KEYS_INLINE 96

struct json_key_seen {
    uint64_t hash;
    struct str name;
};

/* The names of every open object, innermost last. */
struct json_keys {
    struct arena *arena;
    struct json_key_seen *seen;
    size_t count;
    size_t cap;
    uint32_t depth;
    size_t from[JSON_DEPTH_MAX]; /* first name of each open object or array */
    struct json_key_seen first[JSON_KEYS_INLINE];
};

void json_keys_init(struct json_keys *keys, struct arena *arena);
void json_keys_open(struct json_keys *keys);
/* Names inside `json` are kept as views, others copied. ERR_JSON: longer than JSON_KEY_BYTES_MAX;
 * ERR_TOO_LARGE: the arena is full. */
enum code
json_keys_add(struct json_keys *keys, struct str json, struct str name, struct err *err) MUST_CHECK;
/* ERR_JSON when the object that ends holds a name twice. */
enum code json_keys_close(struct json_keys *keys, struct err *err) MUST_CHECK;
