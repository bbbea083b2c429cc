#pragma once
/*
 * From credential to principal. Access tokens are ES256 JWS (RFC 7515, RFC 9068) checked per RFC
 * 8725: the key is chosen by `kid` among our own, `alg` and `typ` are pinned, `iss`, `aud`, `exp`,
 * `nbf` and size are checked. Tokens that passed are remembered by their SHA-256 in a bounded
 * cache, least recently used out first, until they expire or their session is revoked. One per
 * worker; loop thread only.
 */

#include "gateway/keys.h"

#include "libcommon/base/arena.h"

#define AUTH_TOKEN_BYTES_MAX 4096
#define AUTH_CACHE_MAX       8192
#define AUTH_REVOKED_MAX     16384
#define AUTH_TOKEN_LIFE_MS   (UINT64_C(15) * 60 * 1000)

struct auth;

struct auth_options {
    const char *issuer;
    const char *audience;
    const struct key_set *keys; /* must outlive */
};

/* Views are valid until the next call. */
struct auth_principal {
    char user_id[64];
    char role[16];
    char session_id[64];
    char email[256];
};

struct auth *auth_open(const struct auth_options *options); /* NULL when memory is refused */
void auth_close(struct auth **auth);

struct auth_input {
    struct str token;
    uint64_t now_wall_ms;
    struct arena *arena; /* for the parts of a token that is not in the cache */
};

/* OK fills *out. ERR_UNAUTHENTICATED with the reason for the log, never for the client. */
enum code auth_verify(struct auth *auth,
                      struct auth_input input,
                      struct auth_principal *out,
                      struct err *err) MUST_CHECK;
/* From now on no token of this session passes. */
void auth_revoke(struct auth *auth, struct str session_id, uint64_t now_wall_ms);
