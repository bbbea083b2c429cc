#include "services/identity/mfa.h"

#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/codec/access.h"

#include <assert.h>
#include <string.h>

_Static_assert(ROLE_COUNT <= 32, "roles are a set of 32");

struct str mfa_purpose(const char *user_id, char out[MFA_PURPOSE_BYTES])
{
    struct buf purpose = buf_over(out, MFA_PURPOSE_BYTES);

    assert(user_id != NULL);
    buf_printf(&purpose, "totp:%s", user_id);
    assert(!purpose.overflow);
    return buf_view(&purpose);
}

/* --- one code --- */

/* Apps show six digits in two groups, and so people type them. */
static struct str without_blanks(struct str text, char out[TOTP_DIGITS])
{
    size_t len = 0;

    assert(text.ptr != NULL);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ' ') {
            continue;
        }
        if (len == TOTP_DIGITS) {
            return STR_EMPTY;
        }
        out[len++] = text.ptr[i];
    }
    return (struct str){out, len};
}

/* False: the seed does not open, which is a fault of ours; the error is set. */
static bool match(struct req *r, struct mfa_proof *proof, struct str text)
{
    const struct identity *self = req_service(r);
    const struct str sealed = {(const char *)proof->row.sealed.data, proof->row.sealed.len};
    char purpose[MFA_PURPOSE_BYTES];
    char digits[TOTP_DIGITS];
    uint8_t seed[TOTP_SEED_BYTES];
    uint64_t step = 0;
    struct err err = {.code = OK};

    assert(proof->row.step == 0);
    assert(self->vault != NULL);
    if (sealed.len != MFA_SEALED_BYTES ||
        vault_unseal(self->vault, mfa_purpose(proof->row.owner_id, purpose), sealed, seed, &err) !=
            OK) {
        (void)req_fail(r, ERR_INTERNAL, "the second factor cannot be read");
        return false;
    }
    if (totp_match(seed, without_blanks(text, digits), req_now_ms(r) / 1000, &step)) {
        proof->row.step = (int64_t)step;
    }
    explicit_bzero(seed, sizeof seed);
    return true;
}

enum step mfa_attempt(struct req *r,
                      struct mfa_proof *proof,
                      const char *user_id,
                      const ProtobufCBinaryData *sealed,
                      const char *text)
{
    assert(user_id != NULL);
    assert(text != NULL);
    assert(proof->verdict == MFA_NONE);
    avanta__identity__mfa_attempt__init(&proof->row);
    proof->row.owner_id = identity_text(r, user_id);
    if (proof->row.owner_id == NULL) {
        return identity_no_memory(r);
    }
    proof->row.has_sealed = true;
    proof->row.sealed = *sealed;
    proof->row.has_step = true;
    if (!match(r, proof, str_from(text))) {
        return STEP_FAIL;
    }
    proof->row.has_code_hash = recovery_code_hash(str_from(text), proof->code_hash);
    proof->row.code_hash = (ProtobufCBinaryData){sizeof proof->code_hash, proof->code_hash};
    proof->row.has_failures_max = true;
    proof->row.failures_max = MFA_FAILURES_MAX;
    proof->row.has_lock_s = true;
    proof->row.lock_s = MFA_LOCK_S;
    proof->row.has_lock_max_s = true;
    proof->row.lock_max_s = MFA_LOCK_S_MAX;
    return req_query_from(r, Q_MFA_ATTEMPT, &proof->row.base);
}

static void tell_used(struct req *r, const char *user_id, int64_t left)
{
    Avanta__Identity__RecoveryCodeUsed event = AVANTA__IDENTITY__RECOVERY_CODE_USED__INIT;

    assert(user_id != NULL);
    assert(left >= 0);
    event.has_left = true;
    event.left = left;
    req_audit_severity(r, "high");
    req_emit_for(r, user_id, &event.base, user_id);
}

static void tell_wrong(struct req *r, const char *user_id, int64_t locked_s)
{
    Avanta__Identity__MfaLocked event = AVANTA__IDENTITY__MFA_LOCKED__INIT;

    assert(user_id != NULL);
    assert(locked_s >= 0);
    assert(locked_s <= MFA_LOCK_S_MAX);
    req_audit_failure(r, user_id, "mfa_code", "mfa", user_id);
    if (locked_s > 0) {
        event.has_seconds = true;
        event.seconds = locked_s;
        req_audit_severity(r, "high");
        req_emit_for(r, user_id, &event.base, user_id);
    }
}

bool mfa_attempted(struct req *r, struct mfa_proof *proof)
{
    Avanta__Identity__MfaVerdict row = AVANTA__IDENTITY__MFA_VERDICT__INIT;

    assert(req_rows(r) <= 1);
    assert(proof->verdict == MFA_NONE);
    assert(proof->row.owner_id != NULL);
    if (req_rows(r) == 1 && !req_row(r, 0, &row.base)) {
        return false;
    }
    if (row.locked) {
        assert(row.wait_s > 0);
        proof->verdict = MFA_LOCKED; /* a clock that was set back may say more */
        req_retry_after(r, row.wait_s < MFA_LOCK_S_MAX ? (uint32_t)row.wait_s : MFA_LOCK_S_MAX);
    } else if (row.good) {
        proof->verdict = MFA_GOOD;
        if (row.by_recovery_code) {
            tell_used(r, proof->row.owner_id, row.codes_left);
        }
    } else { /* without a row: the seed was replaced or removed meanwhile */
        proof->verdict = MFA_WRONG;
        tell_wrong(r, proof->row.owner_id, row.locked_s);
    }
    return true;
}

enum step mfa_refuse(struct req *r, const struct mfa_proof *proof, enum _Avanta__Reason wrong)
{
    assert(wrong != AVANTA__REASON__NONE);
    assert(proof->verdict != MFA_GOOD);
    switch (proof->verdict) {
    case MFA_MISSING:
        return req_refuse_keeping(r, AVANTA__REASON__MFA_REQUIRED);
    case MFA_LOCKED:
        return req_refuse_keeping(r, AVANTA__REASON__TOO_MANY_ATTEMPTS);
    case MFA_NONE:
    case MFA_GOOD:
    case MFA_WRONG:
    default:
        assert(proof->verdict == MFA_WRONG);
        return req_refuse_keeping(r, wrong);
    }
}

/* --- roles that must have it --- */

enum code mfa_roles_parse(struct str text, uint32_t *out, struct err *err)
{
    struct str name = STR_EMPTY;
    uint32_t roles = 0;

    assert(out != NULL);
    if (text.len == 0) {
        text.ptr = NULL; /* no part instead of an empty one */
    }
    while (str_split(&text, ',', &name)) {
        enum role role = ROLE_COUNT;

        name = str_trim(name);
        if (!role_find(name, &role) || (ROLES_PEOPLE & (1U << (unsigned)role)) == 0) {
            return err_set_field(err,
                                 ERR_INVALID,
                                 "AVANTA_MFA_REQUIRED_ROLES",
                                 "AVANTA_MFA_REQUIRED_ROLES: \"%.*s\" is no role of people",
                                 STR_FMT(name));
        }
        roles |= 1U << (unsigned)role;
    }
    *out = roles;
    return OK;
}

bool mfa_must_enroll(const struct identity *self, const char *role, bool has_mfa)
{
    enum role found = ROLE_COUNT;

    assert(role != NULL);
    return !has_mfa && role_find(str_from(role), &found) &&
           (self->mfa_roles & (1U << (unsigned)found)) != 0;
}
