#pragma once
/*
 * From credential to principal. Access tokens are ES256 JWS (RFC 7515, RFC 9068) checked per RFC
 * 8725: the key is chosen by `kid` among our own, which are all of the one kind that `alg` is
 * pinned to; `typ` is pinned; `iss`, `aud`, `exp`, `nbf`, `iat` and sizes are checked, and no token
 * may live longer than ours do. No name may stand twice. Tokens that passed are remembered by their
 * SHA-256 in a bounded cache, least recently used out first, until they expire, their session is
 * revoked or a key goes. Ended sessions are kept in a bounded table; where one had to be forgotten
 * too early, whatever could be of it is refused. One per worker; loop thread only.
 */

#include "gateway/keys.h"

#include "libcommon/base/arena.h"

#define AUTH_TOKEN_BYTES_MAX  4096
#define AUTH_HEADER_BYTES_MAX 512 /* of its base64url text */
#define AUTH_CACHE_MAX        8192
#define AUTH_REVOKED_MAX      16384 /* more than identity lists, so that a list displaces nothing */
#define AUTH_TOKEN_LIFE_MS    (UINT64_C(15) * 60 * 1000)

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
    uint64_t issued_ms; /* the earliest the token can have been made */
};

struct auth *auth_open(const struct auth_options *options); /* NULL when memory is refused */
void auth_close(struct auth **auth);

struct auth_input {
    struct str token;
    uint64_t now_wall_ms;
    struct arena *arena;   /* for the parts of a token that is not in the cache */
    bool *out_key_unknown; /* set when only our lack of the key refuses it so far; may be NULL */
};

/* OK fills *out. ERR_UNAUTHENTICATED with the reason for the log, never for the client. */
enum code auth_verify(struct auth *auth,
                      struct auth_input input,
                      struct auth_principal *out,
                      struct err *err) MUST_CHECK;
/* How many signatures were verified so far: as many as distinct tokens came, as long as all fit the
 * cache. */
uint64_t auth_verifications(const struct auth *auth);
/* From now on no token of this session passes. False: for want of room the session that ended first
 * was forgotten, and all tokens issued until it ended are refused instead; a refreshed one passes.
 */
bool auth_revoke(struct auth *auth, struct str session_id, uint64_t now_wall_ms) MUST_CHECK;
bool auth_is_revoked(const struct auth *auth, struct str session_id);
/* Sessions that ended until then are not all known: no token issued until then passes. */
void auth_refuse_issued_until(struct auth *auth, uint64_t wall_ms);
