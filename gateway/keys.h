#pragma once
/*
 * The public keys that verify access tokens, fetched from identity over the bus and kept until the
 * next fetch. One set per worker, loop thread only. At most KEYS_MAX keys; identity is the only
 * source.
 */

#include "libcommon/base/limits.h"
#include "libcommon/io/ecdsa.h"

#define KEYS_MAX         SIGNING_KEYS_MAX
#define KEY_ID_BYTES_MAX 64
#define KEY_XY_BYTES_MAX 48

struct key {
    char kid[KEY_ID_BYTES_MAX];
    char x[KEY_XY_BYTES_MAX]; /* base64url */
    char y[KEY_XY_BYTES_MAX];
    struct ecdsa_verifier *verifier;
};

struct key_set {
    struct key keys[KEYS_MAX];
    uint32_t count;
    uint64_t losses; /* replacements after which a key was no longer there */
};

struct Avanta__Identity__GetKeysReply;

/* Replaces the set; keys that do not fit their bounds or the curve are left out. */
void key_set_replace(struct key_set *set, const struct Avanta__Identity__GetKeysReply *reply);
const struct key *key_set_find(const struct key_set *set, struct str kid); /* NULL: unknown */
void key_set_clear(struct key_set *set);
