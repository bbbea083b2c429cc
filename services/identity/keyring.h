#pragma once
/*
 * The keys that sign access tokens, as the table signing_key has them: opened from the vault once
 * and kept while they are live. Which one signs is decided by the clock of the database alone, so
 * that all replicas agree: the last one whose time has come. One per process, loop thread only; at
 * most SIGNING_KEYS_MAX keys.
 */

#include "services/identity/token.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/vault.h"

#define KEYRING_STALE_MS UINT64_C(30000) /* then it no longer signs: another key may be in use */

struct keyring_key {
    char kid[TOKEN_KID_BYTES];
    struct ecdsa_key *key;
    uint64_t use_from_ms;       /* of the database's clock */
    uint64_t honoured_until_ms; /* 0: no other key follows */
};

struct keyring {
    struct keyring_key keys[SIGNING_KEYS_MAX]; /* by use_from_ms */
    uint32_t count;
    uint64_t database_ms; /* the database's clock ... */
    uint64_t loaded_ms;   /* ... at this time of our monotonic one */
};

/* A row of the table. */
struct keyring_row {
    const char *kid;
    struct str sealed;
    uint64_t use_from_ms;
    uint64_t honoured_until_ms;
};

/* The same set as the rows, which are ordered by use_from_ms. On an error the keyring stays as it
 * was: ERR_INVALID when a row does not open. */
enum code keyring_load(struct keyring *keyring,
                       const struct vault *vault,
                       const struct keyring_row *rows,
                       size_t count,
                       struct err *err) MUST_CHECK;
void keyring_time(struct keyring *keyring, uint64_t database_ms, uint64_t mono_ms);
void keyring_clear(struct keyring *keyring);
/* The key that signs now; NULL: none, or the keyring is stale. */
const struct ecdsa_key *keyring_signer(const struct keyring *keyring, uint64_t mono_ms);
/* The last key is not in use yet. */
bool keyring_has_next(const struct keyring *keyring, uint64_t mono_ms);
/* It is time to publish another key, which will sign `ahead_ms` from now. */
bool keyring_is_due(const struct keyring *keyring,
                    uint64_t mono_ms,
                    uint64_t rotate_ms,
                    uint64_t ahead_ms);

#define KEYRING_SEALED_BYTES (ECDSA_SCALAR_BYTES + VAULT_EXTRA_BYTES)

/* A new key as the table keeps it. */
enum code keyring_make(const struct vault *vault,
                       char out_kid[TOKEN_KID_BYTES],
                       uint8_t out_sealed[KEYRING_SEALED_BYTES],
                       struct err *err) MUST_CHECK;
