#pragma once
/*
 * Users with a second factor for tests: codes as an authenticator app computes them from the secret
 * it was shown, and calls of identity's operations on a service_rig. Failures fail the test.
 */

#include "avanta/identity.pb-c.h"
#include "tests/support/service_rig.h"

#define MFA_CODE_BYTES    7
#define MFA_SECRET_BYTES  40
#define MFA_CODES_MAX     10
#define MFA_TEXT_BYTES    40
#define MFA_COOKIE_BYTES  64
#define MFA_PASSWORD      "Una clave larga 7"
#define MFA_AT_ONCE_MAX   40
#define MFA_PAYLOAD_BYTES 2048

/* The code of a secret in base32, so many steps of 30 seconds from now. */
void mfa_code(const char *secret, int64_t steps, char out[MFA_CODE_BYTES]);

struct mfa_user {
    struct service_rig *rig;
    char email[64];
    char id[64];
    char session[64]; /* the newest */
    char refresh[MFA_COOKIE_BYTES];
    char secret[MFA_SECRET_BYTES];
    char uri[512];
    char codes[MFA_CODES_MAX][MFA_TEXT_BYTES];
    /* --- of the last session given out --- */
    bool must_enroll;
    char payload[MFA_PAYLOAD_BYTES]; /* of the access token */
};

struct mfa_verdict_seen {
    enum code code;
    Avanta__Reason reason;
    uint32_t retry_after_s;
};

/* Registers somebody of that name. */
void mfa_user_make(struct mfa_user *user, struct service_rig *rig, const char *name);
/* And sets up the second factor, with all its steps. The code of now is free again. */
void mfa_user_make_enrolled(struct mfa_user *user, struct service_rig *rig, const char *name);

struct mfa_verdict_seen mfa_login(struct mfa_user *user, const char *password, const char *otp);
struct mfa_verdict_seen mfa_refresh(struct mfa_user *user);
struct mfa_verdict_seen mfa_enroll(struct mfa_user *user, const char *password);
struct mfa_verdict_seen mfa_verify(struct mfa_user *user, const char *code);
struct mfa_verdict_seen mfa_disable(struct mfa_user *user, const char *password, const char *code);
/* With an Idempotency-Key, or NULL. */
struct mfa_verdict_seen
mfa_renew(struct mfa_user *user, const char *password, const char *code, const char *key);
/* "enabled pending required left" of GetMfa: "1 0 0 10". */
const char *mfa_status(struct mfa_user *user);
/* By this administrator. */
struct mfa_verdict_seen mfa_reset(const struct mfa_user *admin, const char *user_id);

/* So many logins, or verifications of a pending secret, with one code at once; how many were good.
 * Those refused were so for the code, because codes are locked, or because it is enabled by now. */
unsigned mfa_login_at_once(struct mfa_user *user, unsigned count, const char *otp);
unsigned mfa_verify_at_once(struct mfa_user *user, unsigned count, const char *code);

/* Behind the service: SQL with one %s, the user's id. */
void mfa_run(const struct mfa_user *user, const char *form);
const char *mfa_ask(const struct mfa_user *user, const char *form);

void mfa_expect(struct mfa_verdict_seen verdict, Avanta__Reason reason);
