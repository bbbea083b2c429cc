#pragma once
/*
 * The RSA keys that sign Google's ID tokens, from a JWKS file (RFC 7517) that the operator keeps up
 * to date. What is no RS256 key for signatures is passed over, a kid that comes twice names nobody.
 * Loop thread only but for google_file_read(); at most GOOGLE_KEYS_MAX keys.
 */

#include "libcommon/base/arena.h"
#include "libcommon/io/rsa.h"

#include <sys/types.h>
#include <time.h>

#define GOOGLE_KEYS_MAX       16
#define GOOGLE_KID_BYTES      256
#define GOOGLE_FILE_BYTES_MAX ((size_t)64 * 1024)

/* Which content a file had. */
struct google_stamp {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec changed;
};

struct google_key {
    char kid[GOOGLE_KID_BYTES];
    struct rsa_verifier *verifier;
};

struct google_keys {
    struct google_key keys[GOOGLE_KEYS_MAX];
    uint32_t count;
    struct google_stamp stamp; /* of the file that was read last, whether it was good or not */
};

/* Replaces the set. ERR_INVALID: not a JWKS, or without a key that can be used; the set stays. */
enum code google_keys_load(struct google_keys *keys,
                           struct str json,
                           struct arena *arena,
                           struct err *err) MUST_CHECK;
void google_keys_clear(struct google_keys *keys);
const struct rsa_verifier *google_keys_find(const struct google_keys *keys, const char *kid);

/* One look at the file, for the thread pool. */
struct google_file {
    const char *path;
    struct google_stamp stamp; /* in: of the last time; out: of this one */
    char *bytes;               /* room for GOOGLE_FILE_BYTES_MAX */
    size_t len;
    bool same; /* nothing was read: it is as it was */
    enum code code;
    struct err err;
};
void google_file_read(struct google_file *file);
