#pragma once
/*
 * Google's ID tokens (OpenID Connect Core 3.1.3.7) checked per RFC 8725: the key is chosen by `kid`
 * among those of the configured file, which are all RSA for RS256, and `alg` is pinned to that;
 * `typ` is not that of another kind of token; `iss`, `aud`, `azp`, `exp`, `iat`, `nbf` and sizes
 * are checked; the e-mail must be verified. Pure but for the keys; loop thread.
 */

#include "avanta/google.pb-c.h"
#include "services/identity/google_keys.h"

#define ID_TOKEN_BYTES_MAX 8192

struct id_token_options {
    const char *issuer; /* with https://; tokens may leave that out */
    const char *client_id;
    const struct google_keys *keys;
};

/* OK fills *out, in the arena. ERR_INVALID with the reason for the log, never for the client. */
enum code id_token_verify(const struct id_token_options *options,
                          struct str token,
                          uint64_t now_wall_ms,
                          struct arena *arena,
                          const Avanta__Google__IdToken **out,
                          struct err *err) MUST_CHECK;
