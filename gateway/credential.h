#pragma once
/*
 * Where a request's credential is and whether a browser sent it from our own origin. Order:
 * Authorization: Bearer, then X-API-Key, then X-Avanta-Signature, then the session cookie. A bearer
 * of the literal text null or undefined counts as absent.
 */

#include "gateway/auth.h"

#include "libcommon/codec/http_parse.h"

#define SESSION_COOKIE "avanta_session"

enum credential_kind {
    CREDENTIAL_NONE,
    CREDENTIAL_BEARER,
    CREDENTIAL_COOKIE,
    CREDENTIAL_KEY,      /* an API key: identity knows whose */
    CREDENTIAL_SIGNATURE /* a request signed by one that is not sent */
};

#define CREDENTIAL_SIGNATURE_BYTES 32

struct credential_signature {
    struct str key_id;
    int64_t timestamp_s;
    uint8_t signature[CREDENTIAL_SIGNATURE_BYTES];
};

struct credential {
    enum credential_kind kind;
    bool key_unknown;                /* refused because no key of ours has the token's kid */
    struct auth_principal principal; /* of BEARER and COOKIE */
    struct str api_key;              /* of KEY; a view into the request */
    struct credential_signature signature;
};

/* OK with kind NONE: none was sent. ERR_UNAUTHENTICATED: one was sent and is not good. */
enum code credential_find(struct auth *auth,
                          const struct http_request *r,
                          uint64_t now_wall_ms,
                          struct credential *out,
                          struct err *err) MUST_CHECK;
/* For requests a cookie authenticates: Sec-Fetch-Site or Origin must say same origin (CSRF). */
enum code credential_same_origin(const struct http_request *r, struct err *err) MUST_CHECK;
/* The value of a cookie, unquoted; false when absent. The first one of a name counts. */
bool credential_cookie(const struct http_request *r, struct str name, struct str *out);
