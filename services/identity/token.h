#pragma once
/*
 * Access tokens: JWS compact (RFC 7515), ES256, typ at+jwt (RFC 9068). The claims are ASCII and
 * free of the bytes that would put '-' or '_' into their base64url text, because the browser
 * decodes them with plain atob: '>' '?' '~' and everything beyond ASCII are \uXXXX. Pure but for
 * the key; any thread.
 */

#include "libcommon/io/ecdsa.h"

#define TOKEN_BYTES_MAX 4096
#define TOKEN_KID_BYTES 17

struct token_claims {
    const char *issuer;
    const char *audience;
    const char *user_id;
    const char *email;
    const char *name;
    const char *role;
    const char *session_id;
    const char *token_id;
    uint64_t issued_s;
    uint64_t expires_s;
};

/* First 16 hex digits of the SHA-256 of the public point: the same for every replica. */
void token_kid(const struct ecdsa_key *key, char out[TOKEN_KID_BYTES]);
/* ERR_TOO_LARGE when the token would pass `out->cap`; NUL-ended. */
enum code token_make(const struct ecdsa_key *key,
                     const struct token_claims *claims,
                     struct buf *out,
                     struct err *err) MUST_CHECK;
