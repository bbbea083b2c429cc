#pragma once
/*
 * What the handlers of identity share: settings, the signing key, and the session a request is
 * about to answer with. The state is made at start and constant while the service runs.
 */

#include "avanta/identity.pb-c.h"
#include "services/identity/password.h"
#include "services/identity/token.h"

#include "libcommon/io/vault.h"
#include "libcommon/service/service.h"

/* clang-format off */
#define IDENTITY_CONFIG(X)                                                                                                        \
    X(TEXT, signing_key,    "AVANTA_SIGNING_KEY",    NULL, 64, 64, SECRET,          "private scalar of the P-256 key that signs access tokens, hex") \
    X(TEXT, secrets_key,    "AVANTA_SECRETS_KEY",    NULL, 64, 64, SECRET,          "key that encrypts the secrets in identity's database, hex") \
    X(TEXT, token_issuer,   "AVANTA_TOKEN_ISSUER",   "avanta", 1, 128, PLAIN,       "`iss` of access tokens")                     \
    X(TEXT, token_audience, "AVANTA_TOKEN_AUDIENCE", "avanta-api", 1, 128, PLAIN,   "`aud` of access tokens")                     \
    X(UINT, token_seconds,  "AVANTA_TOKEN_SECONDS",  "900", 60, 900, PLAIN,         "life of an access token")                    \
    X(UINT, argon2_kib,     "AVANTA_ARGON2_KIB",     "19456", 8, 1048576, PLAIN,    "memory of one password hash, KiB")           \
    X(UINT, argon2_passes,  "AVANTA_ARGON2_PASSES",  "2", 1, 16, PLAIN,             "passes of one password hash")                \
    X(TEXT, admin_email,    "AVANTA_BOOTSTRAP_EMAIL", "", 0, 254, SECRET,          "administrator to create when there is none") \
    X(TEXT, admin_password, "AVANTA_BOOTSTRAP_PASSWORD", "", 0, 128, SECRET,        "its password")
/* clang-format on */

CONFIG_STRUCT(identity_config, IDENTITY_CONFIG);

struct identity {
    struct identity_config config;
    struct ecdsa_key *key;
    struct vault *vault; /* what is secret in the database */
    struct password_cost cost;
    char kid[TOKEN_KID_BYTES];
};

/* The one instance: the skeleton loads its settings, on_start makes the key. */
extern struct identity *const identity_state;

#define REFRESH_BYTES      32
#define REFRESH_TEXT_BYTES 44

/* A new session's or a rotated token's secrets, in the request's arena. */
struct session_secrets {
    char session_id[37];
    char refresh[REFRESH_TEXT_BYTES];
    uint8_t refresh_hash[32];
};

/* Fresh refresh token; the session id is the caller's to set. */
void session_secrets_make(struct session_secrets *out);
/* Fills the reply with token, cookies and user; ERR_TOO_LARGE when the arena is full. */
enum step session_reply(struct req *r,
                        const struct session_secrets *secrets,
                        const Avanta__Identity__SessionUser *user);
