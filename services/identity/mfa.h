#pragma once
/*
 * The second factor: a code is held against the user's sealed seed here, and judged, counted and
 * used up by one statement under the lock of the user's row, so that all replicas and requests at
 * once see one order. Part of a request's steps, on the loop thread.
 *
 *   mfa_attempt (a statement of a TX_WRITE operation, in its transaction) -> mfa_attempted (next
 *   step) -> with another verdict than MFA_GOOD: answer with req_refuse_keeping(), or the wrong
 *   code is not counted.
 */

#include "avanta/identity_internal.pb-c.h"
#include "services/identity/totp.h"

#include "libcommon/service/req.h"

struct identity;

#define MFA_ISSUER         "Avanta"
#define MFA_CODES          10 /* recovery codes of one user */
#define MFA_FAILURES_MAX   5  /* wrong codes in a row; each further so many lock longer */
#define MFA_LOCK_S         30
#define MFA_LOCK_S_MAX     900
#define MFA_SEALED_BYTES   (TOTP_SEED_BYTES + VAULT_EXTRA_BYTES)
#define MFA_PURPOSE_BYTES  64
#define MFA_ROLE_ENROLLING "enrolling"

enum mfa_verdict {
    MFA_NONE, /* no code was asked for, or none held against the seed yet */
    MFA_GOOD,
    MFA_MISSING, /* none was given */
    MFA_WRONG,
    MFA_LOCKED /* too many wrong ones before: it was not looked at */
};

/* In the state of the request. */
struct mfa_proof {
    Avanta__Identity__MfaAttempt row;
    uint8_t code_hash[SHA256_BYTES];
    enum mfa_verdict verdict;
};

/* What the seed of this user is sealed for. */
struct str mfa_purpose(const char *user_id, char out[MFA_PURPOSE_BYTES]);
/* Holds what a person typed against the seed: a code of the app, or a recovery code. */
enum step mfa_attempt(struct req *r,
                      struct mfa_proof *proof,
                      const char *user_id,
                      const ProtobufCBinaryData *sealed,
                      const char *text);
/* The statement's answer: fills the verdict, tells who listens. False: error set. */
bool mfa_attempted(struct req *r, struct mfa_proof *proof) MUST_CHECK;
/* Refuses, keeping what was counted; `wrong` is the reason for a wrong code here. */
enum step mfa_refuse(struct req *r, const struct mfa_proof *proof, enum _Avanta__Reason wrong);

/* --- roles that must have it --- */

/* "admin,accountant" to a set of 1 << role; only roles of people. */
enum code mfa_roles_parse(struct str text, uint32_t *out, struct err *err) MUST_CHECK;
/* A session of this user may do no more than set up its second factor. */
bool mfa_must_enroll(const struct identity *self, const char *role, bool has_mfa);
