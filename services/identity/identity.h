#pragma once
/*
 * What the handlers of identity share: settings, the keys, and the session a request is about to
 * answer with. The state is made at start and constant while the service runs, but for the keyring,
 * which follows the database, and Google's keys, which follow their file.
 */

#include "avanta/identity.pb-c.h"
#include "services/identity/google_keys.h"
#include "services/identity/keyring.h"
#include "services/identity/password.h"
#include "services/identity/token.h"

#include "libcommon/io/vault.h"
#include "libcommon/service/service.h"

/* clang-format off */
#define IDENTITY_CONFIG(X)                                                                                                        \
    X(TEXT, secrets_key,    "AVANTA_SECRETS_KEY",    NULL, 64, 64, SECRET,          "key that encrypts the secrets in identity's database, hex") \
    X(TEXT, token_issuer,   "AVANTA_TOKEN_ISSUER",   "avanta", 1, 128, PLAIN,       "`iss` of access tokens")                     \
    X(TEXT, token_audience, "AVANTA_TOKEN_AUDIENCE", "avanta-api", 1, 128, PLAIN,   "`aud` of access tokens")                     \
    X(UINT, token_seconds,  "AVANTA_TOKEN_SECONDS",  "900", 60, 900, PLAIN,         "life of an access token")                    \
    X(UINT, session_seconds, "AVANTA_SESSION_SECONDS", "2592000", 60, 31536000, PLAIN, "life of a session, whatever happens") \
    X(UINT, idle_seconds,   "AVANTA_SESSION_IDLE_SECONDS", "604800", 60, 31536000, PLAIN, "a session unused for so long has ended") \
    X(UINT, sessions_kept,  "AVANTA_SESSIONS_PER_USER", "32", 1, 1000, PLAIN,      "sessions of one user; a further login ends the one used longest ago") \
    X(UINT, recent_seconds, "AVANTA_REAUTHENTICATION_SECONDS", "3600", 1, 86400, PLAIN, "how long after a password or Google credential was given sensitive changes need none") \
    X(UINT, key_rotate_hours, "AVANTA_KEY_ROTATE_HOURS", "720", 1, 87600, PLAIN,    "how long a key signs access tokens before another one takes over") \
    X(UINT, key_ahead_s,    "AVANTA_KEY_PUBLISH_AHEAD_S", "3600", 15, 604800, PLAIN, "how long a key is published before it signs")  \
    X(UINT, argon2_kib,     "AVANTA_ARGON2_KIB",     "19456", 8, 1048576, PLAIN,    "memory of one password hash, KiB")           \
    X(UINT, argon2_passes,  "AVANTA_ARGON2_PASSES",  "2", 1, 16, PLAIN,             "passes of one password hash")                \
    X(UINT, login_failures_max,   "AVANTA_LOGIN_FAILURES_MAX",   "5", 1, 1000, PLAIN,        "failed log-ins in a row that lock an account") \
    X(UINT, address_failures_max, "AVANTA_ADDRESS_FAILURES_MAX", "20", 1, 1000000, PLAIN, "failed log-ins, or registrations of taken e-mails, that lock an address (IPv6: /64)") \
    X(UINT, lock_s,               "AVANTA_LOCK_SECONDS",         "30", 1, 86400, PLAIN,      "length of the first lock; each further failure doubles it") \
    X(UINT, lock_max_s,           "AVANTA_LOCK_SECONDS_MAX",     "900", 1, 86400, PLAIN,     "length of the longest lock")     \
    X(UINT, failures_forget_s,    "AVANTA_FAILURES_FORGET_SECONDS", "86400", 1, 2592000, PLAIN, "so long after the last failure they count no more") \
    X(UINT, address_decay_s,      "AVANTA_ADDRESS_FAILURE_FORGET_SECONDS", "3600", 1, 2592000, PLAIN, "so often one failure of an address is forgotten while there is no other") \
    X(UINT, registrations_max,    "AVANTA_REGISTRATIONS_MAX",    "20", 1, 1000000, PLAIN,    "accounts made from one address (IPv6: /64) in an hour") \
    X(TEXT, mfa_required_roles, "AVANTA_MFA_REQUIRED_ROLES", "", 0, 128, PLAIN,    "roles, with commas between, whose users must set up a second factor") \
    X(TEXT, google_client_id, "AVANTA_GOOGLE_CLIENT_ID", "", 0, 255, PLAIN,         "`aud` of Google ID tokens; empty: no login with Google") \
    X(TEXT, google_jwks_file, "AVANTA_GOOGLE_JWKS_FILE", "", 0, 1000, PLAIN,        "file with the keys that sign them (JWKS); read again when it changes") \
    X(TEXT, google_issuer,  "AVANTA_GOOGLE_ISSUER",  "https://accounts.google.com", 9, 255, PLAIN, "`iss` of Google ID tokens, also without https://") \
    X(TEXT, admin_email,    "AVANTA_BOOTSTRAP_EMAIL", "", 0, 254, SECRET,          "administrator to create when there is none") \
    X(TEXT, admin_password, "AVANTA_BOOTSTRAP_PASSWORD", "", 0, 128, SECRET,        "its password")
/* clang-format on */

CONFIG_STRUCT(identity_config, IDENTITY_CONFIG);

struct identity {
    struct identity_config config;
    struct keyring keyring;
    struct google_keys google; /* empty when it is not configured */
    struct vault *vault;       /* what is secret in the database */
    struct metrics *metrics;
    struct password_cost cost;
    uint32_t mfa_roles; /* set of 1 << role: whose users must have a second factor */
};

/* The one instance: the skeleton loads its settings, on_start fills the rest. */
extern struct identity *const identity_state;

/* Whose data it is when it is nobody's. */
#define SYSTEM_USER_ID "00000000-0000-0000-0000-000000000000"

#define DEVICE_BYTES       48
#define REFRESH_BYTES      32
#define REFRESH_TEXT_BYTES 44

/* A new session's or a rotated token's secrets, in the request's arena. */
struct session_secrets {
    char session_id[37];
    char refresh[REFRESH_TEXT_BYTES];
    uint8_t refresh_hash[32];
    bool has_mfa; /* the user has a second factor */
};

/* --- what handlers share (identity.c) --- */

enum step identity_no_memory(struct req *r);
/* A copy in the request's arena; NULL when it is full. */
char *identity_text(struct req *r, const char *text);
/* The last step of what answers with an AccountReply: it was done, and what to tell people. */
enum step identity_done(struct req *r, const char *message);
enum step identity_no_such_user(struct req *r);
/* The last step of what gateways ask: row 0, or an empty reply. Nobody is an answer too. */
enum step identity_reply_row_or_nobody(struct req *r);

/* First step of a sensitive change, in person: asks whether the password was given lately. */
enum step recent_select(struct req *r);
/* A statement that looks at more besides; its `in` is SessionRecent. */
enum step recent_query(struct req *r, uint16_t statement);
/* Its verdict, at the head of the next step: false with the refusal set. */
bool recent_good(struct req *r) MUST_CHECK;
/* A statement, before the one that ends a user's sessions: log-ins under way end too. No row: there
 * is no such user. */
enum step entries_end(struct req *r, const char *user_id);
/* After a statement with rows of EndedNow: gateways refuse the tokens of these sessions once this
 * is committed. False: error set. */
bool sessions_ended_publish(struct req *r, uint32_t *out_count) MUST_CHECK;
/* What gateways remember of the user's role, keys and grants is not so any more. */
void access_changed_publish(struct req *r, const char *user_id);
/* "Firefox on Linux" from a User-Agent header, for people; "Unknown device" for what is not known.
 */
const char *device_name(struct str user_agent, char out[DEVICE_BYTES]);

/* Fresh refresh token; the session id is the caller's to set. */
void session_secrets_make(struct session_secrets *out);
/* Fills the reply with token, cookies and user; ERR_TOO_LARGE when the arena is full. */
enum step session_reply(struct req *r,
                        const struct session_secrets *secrets,
                        const Avanta__Identity__SessionUser *user);
