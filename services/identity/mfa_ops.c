/* Setting up a second factor, taking it away, new recovery codes. */
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"
#include "services/identity/lockout.h"
#include "services/identity/mfa.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <string.h>

#define URI_BYTES_MAX 1024 /* an e-mail of 254 bytes, all of them escaped, is in */

struct setting_up {
    const Avanta__Identity__MfaState *user; /* with its second factor */
    struct attempt attempt;                 /* at the password */
    struct str password;                    /* what the thread pool works on */
    bool good;
    struct mfa_proof proof;
    Avanta__Identity__MfaSeed seed;
    uint8_t sealed[MFA_SEALED_BYTES];
    char secret[TOTP_SECRET_BYTES];
    char codes[MFA_CODES][RECOVERY_CODE_BYTES];
    uint8_t hashes[MFA_CODES][SHA256_BYTES];
    ProtobufCBinaryData code_hashes[MFA_CODES];
    Avanta__Identity__RecoveryCodes row;
};

static struct setting_up *state_of(struct req *r)
{
    return req_state(r, sizeof(struct setting_up));
}

static enum step state_select(struct req *r)
{
    assert(req_principal(r) != NULL);
    return recent_query(r, Q_MFA_SELECT);
}

/* False: error set. */
static bool state_read(struct req *r)
{
    struct setting_up *state = state_of(r);

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        (void)req_refuse(r, AVANTA__REASON__USER_INACTIVE);
        return false;
    }
    state->user = (const Avanta__Identity__MfaState *)(const void *)req_row_new(r, 0);
    assert(state->user == NULL || state->user->id != NULL);
    return state->user != NULL;
}

/* --- how it is --- */

static enum step get_reply(struct req *r)
{
    const struct identity *self = req_service(r);
    Avanta__Identity__Mfa *out = req_out(r);
    const Avanta__Identity__MfaState *user = NULL;

    if (!state_read(r)) {
        return STEP_FAIL;
    }
    user = state_of(r)->user;
    assert(user->role != NULL);
    assert(user->codes_left >= 0);
    out->has_enabled = true;
    out->enabled = user->enabled;
    out->has_pending = true;
    out->pending = user->has_sealed && !user->enabled;
    out->has_required = true;
    out->required = mfa_must_enroll(self, user->role, false);
    out->has_recovery_codes_left = true;
    out->recovery_codes_left = user->codes_left;
    out->enabled_at = user->enabled_at;
    return STEP_DONE;
}

const struct op op_identity_get_mfa = {
    TX_READ, {state_select, get_reply}
};

/* --- the password, before anything else: guesses at it are counted --- */

/* Who has none re-authenticated lately in the place of it. */
static bool password_needless(struct req *r, const char *password)
{
    struct setting_up *state = state_of(r);

    if (password != NULL && password[0] != '\0') {
        (void)req_refuse(r, AVANTA__REASON__NO_PASSWORD);
        return false;
    }
    if (!state->user->recent) {
        (void)req_refuse(r, AVANTA__REASON__REAUTHENTICATION_REQUIRED);
        return false;
    }
    return true;
}

static void verify_work(void *arg)
{
    struct setting_up *state = arg;

    assert(state->user->password_hash != NULL);
    assert(state->password.ptr != NULL);
    assert(!state->good);
    state->good = password_verify(state->password, state->user->password_hash);
}

static enum step password_begin(struct req *r, const char *password)
{
    struct setting_up *state = state_of(r);

    assert(!state->good);
    if (!state_read(r)) {
        return STEP_FAIL;
    }
    if (state->user->password_hash == NULL) {
        if (!password_needless(r, password)) {
            return STEP_FAIL;
        }
    } else if (password == NULL || password[0] == '\0') {
        return req_violation(r, ERR_INVALID, "password", "required", "must be given");
    } else if (!req_work_reserve(r)) {
        return STEP_FAIL;
    }
    state->password = str_from(password);
    attempt_of_user(&state->attempt, r);
    return attempt_begin(r, &state->attempt);
}

static enum step password_verify_given(struct req *r)
{
    struct setting_up *state = state_of(r);

    assert(state->user != NULL);
    if (attempt_admitted(r) != STEP_NEXT) {
        return STEP_FAIL;
    }
    if (state->user->password_hash == NULL) {
        state->good = true;
        return STEP_NEXT;
    }
    return req_work(r, verify_work, state);
}

static enum step password_end(struct req *r)
{
    struct setting_up *state = state_of(r);

    assert(state->user != NULL);
    assert(state->attempt.count > 0);
    return attempt_end(r, &state->attempt, !state->good);
}

/* At the head of the step behind it. False: refused, and counted. */
static bool password_good(struct req *r, const char *action)
{
    struct setting_up *state = state_of(r);

    assert(action != NULL);
    assert(state->user != NULL);
    if (!attempt_ended(r, &state->attempt, state->user->id)) {
        return false;
    }
    if (!state->good) {
        req_audit_failure(r, state->user->id, action, "mfa", state->user->id);
        (void)req_refuse_keeping(r, AVANTA__REASON__INVALID_PASSWORD);
    }
    return state->good;
}

/* --- enroll: a seed that waits for its first code --- */

static enum step enroll_begin(struct req *r)
{
    const Avanta__Identity__EnrollMfaRequest *in = req_in(r);

    return password_begin(r, in->password);
}

static enum step enroll_insert(struct req *r)
{
    const struct identity *self = req_service(r);
    struct setting_up *state = state_of(r);
    char purpose[MFA_PURPOSE_BYTES];
    uint8_t seed[TOTP_SEED_BYTES];
    struct err err = {.code = OK};
    enum code code = OK;

    assert(self->vault != NULL);
    if (!password_good(r, "mfa_enroll")) {
        return STEP_FAIL;
    }
    random_bytes(seed, sizeof seed);
    base32_encode(seed, sizeof seed, state->secret);
    code = vault_seal(self->vault,
                      mfa_purpose(state->user->id, purpose),
                      (struct str){(const char *)seed, sizeof seed},
                      state->sealed,
                      &err);
    explicit_bzero(seed, sizeof seed);
    if (code != OK) {
        return req_fail(r, code, "the secret could not be sealed");
    }
    avanta__identity__mfa_seed__init(&state->seed);
    state->seed.has_sealed = true;
    state->seed.sealed = (ProtobufCBinaryData){sizeof state->sealed, state->sealed};
    return req_query_from(r, Q_MFA_ENROLL, &state->seed.base);
}

static enum step enroll_reply(struct req *r)
{
    struct setting_up *state = state_of(r);
    Avanta__Identity__EnrollMfaReply *out = req_out(r);
    Avanta__Identity__MfaEnrolled event = AVANTA__IDENTITY__MFA_ENROLLED__INIT;
    char *memory = arena_alloc(req_arena(r), URI_BYTES_MAX);
    struct buf uri = buf_over(memory, memory == NULL ? 0 : URI_BYTES_MAX);

    assert(req_rows(r) <= 1);
    assert(state->secret[TOTP_SECRET_BYTES - 2] != '\0');
    if (req_rows(r) == 0) {
        return req_refuse_keeping(r, AVANTA__REASON__MFA_ENABLED);
    }
    totp_uri(&uri, STR(MFA_ISSUER), str_from(state->user->email), str_from(state->secret));
    out->secret = identity_text(r, state->secret);
    if (memory == NULL || out->secret == NULL || !buf_terminate(&uri)) {
        return identity_no_memory(r);
    }
    out->otpauth_uri = memory;
    event.has_pending = true;
    event.pending = true;
    req_emit(r, &event.base, req_user_id(r));
    return STEP_DONE;
}

const struct op op_identity_enroll_mfa = {
    TX_WRITE,
    {state_select,
      enroll_begin, password_verify_given,
      req_transaction, password_end,
      enroll_insert, enroll_reply}
};

/* --- recovery codes --- */

static enum step codes_insert(struct req *r, uint16_t query)
{
    struct setting_up *state = state_of(r);
    ProtobufCBinaryData *hashes = state->code_hashes;

    assert(state->proof.verdict == MFA_GOOD);
    for (size_t i = 0; i < MFA_CODES; i++) {
        bool formed = false;

        recovery_code_make(state->codes[i]);
        formed = recovery_code_hash(str_from(state->codes[i]), state->hashes[i]);
        assert(formed);
        hashes[i] = (ProtobufCBinaryData){SHA256_BYTES, state->hashes[i]};
    }
    avanta__identity__recovery_codes__init(&state->row);
    state->row.n_code_hashes = MFA_CODES;
    state->row.code_hashes = hashes;
    return req_query_from(r, query, &state->row.base);
}

static enum step codes_reply(struct req *r)
{
    struct setting_up *state = state_of(r);
    Avanta__Identity__MfaCodesReply *out = req_out(r);

    assert(state->proof.verdict == MFA_GOOD);
    assert(out->recovery_codes == NULL);
    out->recovery_codes = arena_calloc(req_arena(r), MFA_CODES, sizeof *out->recovery_codes);
    if (out->recovery_codes == NULL) {
        return identity_no_memory(r);
    }
    for (size_t i = 0; i < MFA_CODES; i++) {
        assert(state->codes[i][0] != '\0');
        out->recovery_codes[i] = identity_text(r, state->codes[i]);
        if (out->recovery_codes[i] == NULL) {
            return identity_no_memory(r);
        }
    }
    out->n_recovery_codes = MFA_CODES;
    out->has_success = true;
    out->success = true;
    return STEP_DONE;
}

/* --- verify: the first code enables it --- */

static enum step verify_attempt(struct req *r)
{
    const Avanta__Identity__VerifyMfaRequest *in = req_in(r);
    struct setting_up *state = state_of(r);

    assert(in->code != NULL);
    if (!state_read(r)) {
        return STEP_FAIL;
    }
    if (!state->user->has_sealed) {
        return req_refuse(r, AVANTA__REASON__MFA_NOT_ENABLED);
    }
    if (state->user->enabled) {
        return req_refuse(r, AVANTA__REASON__MFA_ENABLED);
    }
    return mfa_attempt(r, &state->proof, state->user->id, &state->user->sealed, in->code);
}

/* The verdict on the code is there; a wrong one is refused. False: refused or error set. */
static bool proved(struct req *r)
{
    struct setting_up *state = state_of(r);

    assert(state->proof.row.owner_id != NULL);
    if (!mfa_attempted(r, &state->proof)) {
        return false;
    }
    if (state->proof.verdict != MFA_GOOD) {
        (void)mfa_refuse(r, &state->proof, AVANTA__REASON__INVALID_MFA_CODE);
        return false;
    }
    return true;
}

static enum step verify_enable(struct req *r)
{
    return proved(r) ? codes_insert(r, Q_MFA_ENABLE) : STEP_FAIL;
}

static enum step end_others(struct req *r)
{
    assert(state_of(r)->proof.verdict == MFA_GOOD);
    return req_query(r, Q_SESSIONS_END_OTHERS);
}

static enum step verify_reply(struct req *r)
{
    Avanta__Identity__MfaEnabled event = AVANTA__IDENTITY__MFA_ENABLED__INIT;
    uint32_t count = 0;

    assert(!state_of(r)->user->enabled); /* it was not */
    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    event.has_sessions_ended = true;
    event.sessions_ended = count;
    req_emit(r, &event.base, req_user_id(r));
    return codes_reply(r);
}

const struct op op_identity_verify_mfa = {
    TX_WRITE, {state_select, verify_attempt, verify_enable, end_others, verify_reply}
};

/* --- what takes the password, or what stands for it, and a code --- */

static enum step proof_begin(struct req *r)
{
    const Avanta__Identity__MfaProofRequest *in = req_in(r);

    return password_begin(r, in->password);
}

static enum step proof_attempt(struct req *r, const char *action)
{
    const Avanta__Identity__MfaProofRequest *in = req_in(r);
    struct setting_up *state = state_of(r);

    assert(in->code != NULL);
    if (!password_good(r, action)) {
        return STEP_FAIL;
    }
    if (!state->user->enabled) {
        return req_refuse_keeping(r, AVANTA__REASON__MFA_NOT_ENABLED);
    }
    assert(state->user->has_sealed);
    return mfa_attempt(r, &state->proof, state->user->id, &state->user->sealed, in->code);
}

static enum step disable_attempt(struct req *r)
{
    return proof_attempt(r, "mfa_disable");
}

static enum step disable_delete(struct req *r)
{
    return proved(r) ? req_query(r, Q_MFA_DISABLE) : STEP_FAIL;
}

static enum step disable_reply(struct req *r)
{
    Avanta__Identity__MfaDisabled event = AVANTA__IDENTITY__MFA_DISABLED__INIT;
    uint32_t count = 0;

    assert(state_of(r)->proof.verdict == MFA_GOOD);
    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    event.has_sessions_ended = true;
    event.sessions_ended = count;
    req_audit_severity(r, "high");
    req_emit(r, &event.base, req_user_id(r));
    return identity_done(r, "The second factor is disabled");
}

const struct op op_identity_disable_mfa = {
    TX_WRITE,
    {state_select,
      proof_begin, password_verify_given,
      req_transaction, password_end,
      disable_attempt, disable_delete,
      end_others, disable_reply}
};

static enum step renew_attempt(struct req *r)
{
    return proof_attempt(r, "recovery_codes_renew");
}

static enum step renew_insert(struct req *r)
{
    return proved(r) ? codes_insert(r, Q_RECOVERY_CODES_RENEW) : STEP_FAIL;
}

static enum step renew_reply(struct req *r)
{
    Avanta__Identity__RecoveryCodesRenewed event = AVANTA__IDENTITY__RECOVERY_CODES_RENEWED__INIT;

    assert(state_of(r)->user->enabled);
    event.has_count = true;
    event.count = MFA_CODES;
    req_emit(r, &event.base, req_user_id(r));
    return codes_reply(r);
}

const struct op op_identity_renew_recovery_codes = {
    TX_WRITE,
    {state_select,
      proof_begin, password_verify_given,
      req_transaction, password_end,
      renew_attempt, renew_insert,
      renew_reply}
};
