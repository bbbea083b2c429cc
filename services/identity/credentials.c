/* The caller's password: changed, or given again for what asks for it. The Google account beside
 * it. */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/google.h"
#include "services/identity/lockout.h"
#include "services/identity/password_policy.h"
#include "services/identity/session_list.h"

#include <assert.h>
#include <string.h>

#define GOOGLE_FRESH_S 300

/* What the thread pool works on. */
struct proof {
    struct attempt attempt;
    struct str password;
    const char *stored_hash;
    const Avanta__Identity__UserPassword *user;
    bool good;        /* what the last work came to */
    bool proved;      /* the current password was the right one */
    const char *weak; /* what is wrong with the new one; NULL: nothing */
    struct password_cost cost;
    char hash[PASSWORD_HASH_BYTES];
    Avanta__Identity__PasswordNew row;
    const Avanta__Google__IdToken *token; /* of link; of who re-authenticates by it */
};

static struct proof *proof_of(struct req *r)
{
    return req_state(r, sizeof(struct proof));
}

static void verify_work(void *arg)
{
    struct proof *proof = arg;

    assert(proof->stored_hash != NULL);
    assert(!proof->good);
    proof->good = password_verify(proof->password, proof->stored_hash);
}

static void hash_work(void *arg)
{
    struct proof *proof = arg;

    assert(proof->password.len > 0);
    proof->good = password_hash(proof->password, &proof->cost, proof->hash, NULL) == OK;
}

/* Whoever found a session open must not find the password by trying here. */
static enum step proof_begin(struct req *r)
{
    struct proof *proof = proof_of(r);

    if (!req_work_reserve(r)) {
        return STEP_FAIL;
    }
    attempt_of_user(&proof->attempt, r);
    return attempt_begin(r, &proof->attempt);
}

static enum step password_select(struct req *r)
{
    return req_query(r, Q_PASSWORD_SELECT);
}

/* The row of password_select(). False: error set. */
static bool user_read(struct req *r)
{
    struct proof *proof = proof_of(r);

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        (void)req_refuse(r, AVANTA__REASON__USER_INACTIVE);
        return false;
    }
    proof->user = (const Avanta__Identity__UserPassword *)(const void *)req_row_new(r, 0);
    assert(proof->user == NULL || proof->user->id != NULL);
    return proof->user != NULL;
}

/* Compares with it. */
static enum step verify(struct req *r, const char *password)
{
    struct proof *proof = proof_of(r);

    assert(password != NULL);
    if (!user_read(r)) {
        return STEP_FAIL;
    }
    if (proof->user->password_hash == NULL) {
        return STEP_NEXT; /* there is nothing to guess; proof_judge() says so */
    }
    proof->password = str_from(password);
    proof->stored_hash = proof->user->password_hash;
    return req_work(r, verify_work, proof);
}

static enum step proof_end(struct req *r)
{
    struct proof *proof = proof_of(r);

    assert(proof->user != NULL);
    assert(proof->attempt.count > 0);
    return attempt_end(r, &proof->attempt, !proof->proved && proof->stored_hash != NULL);
}

/* STEP_NEXT: it was the right one. */
static enum step proof_judge(struct req *r, const char *action)
{
    struct proof *proof = proof_of(r);
    const char *user_id = proof->user->id;

    assert(user_id != NULL);
    if (!attempt_ended(r, &proof->attempt, user_id)) {
        return STEP_FAIL;
    }
    if (proof->proved) {
        return STEP_NEXT;
    }
    if (proof->stored_hash == NULL) {
        return req_refuse_keeping(r, AVANTA__REASON__NO_PASSWORD);
    }
    req_audit_failure(r, user_id, action, "user", user_id);
    return req_refuse_keeping(r, AVANTA__REASON__INVALID_PASSWORD);
}

/* --- change --- */

static enum step change_verify(struct req *r)
{
    const Avanta__Identity__ChangePasswordRequest *in = req_in(r);

    return verify(r, in->current_password);
}

static enum step change_hash(struct req *r)
{
    const Avanta__Identity__ChangePasswordRequest *in = req_in(r);
    const struct identity *self = req_service(r);
    struct proof *proof = proof_of(r);

    proof->proved = proof->good;
    if (!proof->proved) {
        return STEP_NEXT;
    }
    proof->weak = password_check(
        str_from(in->new_password), str_from(proof->user->email), str_from(proof->user->name));
    if (proof->weak != NULL) {
        return STEP_NEXT;
    }
    proof->password = str_from(in->new_password);
    proof->cost = self->cost;
    proof->good = false;
    return req_work(r, hash_work, proof);
}

static enum step change_update(struct req *r)
{
    struct proof *proof = proof_of(r);
    enum step judged = proof_judge(r, "password_change");

    if (judged != STEP_NEXT) {
        return judged;
    }
    if (proof->weak != NULL) {
        return req_refuse_keeping_saying(r, AVANTA__REASON__WEAK_PASSWORD, proof->weak);
    }
    if (!proof->good) {
        return req_fail(r, ERR_INTERNAL, "the password could not be hashed");
    }
    avanta__identity__password_new__init(&proof->row);
    proof->row.password_hash = proof->hash;
    proof->row.old_hash = proof->user->password_hash;
    return req_query_from(r, Q_PASSWORD_UPDATE, &proof->row.base);
}

static enum step change_end_others(struct req *r)
{
    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_refuse_keeping(r, AVANTA__REASON__INVALID_PASSWORD);
    }
    return req_query(r, Q_SESSIONS_END_OTHERS);
}

static enum step change_reply(struct req *r)
{
    Avanta__Identity__PasswordChanged event = AVANTA__IDENTITY__PASSWORD_CHANGED__INIT;
    uint32_t count = 0;

    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    event.has_sessions_ended = true;
    event.sessions_ended = count;
    req_audit_severity(r, "high");
    req_emit(r, &event.base, req_user_id(r));
    return identity_done(r, "Password changed successfully");
}

const struct op op_identity_change_password = {
    TX_WRITE,
    {proof_begin,
      attempt_admitted, password_select,
      change_verify, change_hash,
      req_transaction, proof_end,
      change_update, change_end_others,
      change_reply}
};

/* --- give it again --- */

/* Whether the token is young enough to tell that somebody was at Google just now. */
static bool token_fresh(struct req *r, const Avanta__Google__IdToken *token)
{
    const int64_t age_s = (int64_t)(req_now_ms(r) / 1000) - token->iat;

    assert(token->iat > 0);
    if (age_s > GOOGLE_FRESH_S) {
        (void)req_refuse_saying(r,
                                AVANTA__REASON__INVALID_CREDENTIAL,
                                "The Google credential is older than five minutes: get a new one");
    }
    return age_s <= GOOGLE_FRESH_S;
}

/* One of the two proofs. */
static enum step again_begin(struct req *r)
{
    const Avanta__Identity__ReauthenticateRequest *in = req_in(r);
    struct proof *proof = proof_of(r);
    const bool password = in->password != NULL && in->password[0] != '\0';
    const bool credential = in->credential != NULL && in->credential[0] != '\0';
    enum step step = STEP_NEXT;

    if (password == credential) {
        (void)req_violation(
            r, ERR_INVALID, "password", "required", "or credential must be given, and not both");
        return req_violation(
            r, ERR_INVALID, "credential", "required", "or password must be given, and not both");
    }
    if (credential) {
        step = google_token_read(r, in->credential, &proof->token);
        if (step == STEP_NEXT && !token_fresh(r, proof->token)) {
            return STEP_FAIL;
        }
    }
    return step == STEP_NEXT ? proof_begin(r) : step;
}

/* Of a credential there is nothing to guess: it is not counted as a failure. */
static enum step again_verify(struct req *r)
{
    const Avanta__Identity__ReauthenticateRequest *in = req_in(r);
    struct proof *proof = proof_of(r);

    if (proof->token == NULL) {
        return verify(r, in->password);
    }
    if (!user_read(r)) {
        return STEP_FAIL;
    }
    proof->good =
        proof->user->google_sub != NULL && strcmp(proof->user->google_sub, proof->token->sub) == 0;
    return STEP_NEXT;
}

static enum step again_proved(struct req *r)
{
    struct proof *proof = proof_of(r);

    assert(proof->user != NULL);
    assert(!proof->proved);
    proof->proved = proof->good;
    return STEP_NEXT;
}

static enum step again_update(struct req *r)
{
    struct proof *proof = proof_of(r);
    enum step judged = STEP_NEXT;

    if (proof->token != NULL && !proof->proved) {
        req_audit_failure(r, proof->user->id, "reauthenticate", "user", proof->user->id);
        return req_refuse_keeping(r, AVANTA__REASON__GOOGLE_LINKED_OTHERWISE);
    }
    judged = proof_judge(r, "reauthenticate");
    return judged == STEP_NEXT ? req_query(r, Q_SESSION_REAUTHENTICATED) : judged;
}

static enum step again_reply(struct req *r)
{
    Avanta__Identity__Reauthenticated event = AVANTA__IDENTITY__REAUTHENTICATED__INIT;

    event.session_id = req_principal(r)->session_id;
    req_emit(r, &event.base, event.session_id);
    return identity_done(
        r, proof_of(r)->token == NULL ? "Password confirmed" : "Google account confirmed");
}

const struct op op_identity_reauthenticate = {
    TX_WRITE,
    {again_begin,
      attempt_admitted, password_select,
      again_verify, again_proved,
      req_transaction, proof_end,
      again_update, again_reply}
};

/* --- link a Google account --- */

static enum step link_begin(struct req *r)
{
    const Avanta__Identity__LinkGoogleRequest *in = req_in(r);
    enum step step = google_token_read(r, in->credential, &proof_of(r)->token);

    return step == STEP_NEXT ? proof_begin(r) : step;
}

static enum step link_verify(struct req *r)
{
    const Avanta__Identity__LinkGoogleRequest *in = req_in(r);

    return verify(r, in->password);
}

static enum step link_update(struct req *r)
{
    enum step judged = proof_judge(r, "google_link");

    return judged == STEP_NEXT ? google_query(r, Q_GOOGLE_LINK, proof_of(r)->token) : judged;
}

static enum step link_reply(struct req *r)
{
    Avanta__Identity__LinkGoogleReply *out = req_out(r);
    Avanta__Identity__GoogleLinked event = AVANTA__IDENTITY__GOOGLE_LINKED__INIT;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_refuse_keeping(r, AVANTA__REASON__GOOGLE_LINKED_OTHERWISE);
    }
    event.id = identity_text(r, req_user_id(r));
    req_audit_severity(r, "high");
    req_emit(r, &event.base, req_user_id(r));
    out->has_success = true;
    out->success = true;
    out->message = identity_text(r, "Google linked");
    return out->message == NULL || event.id == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_link_google = {
    TX_WRITE,
    {link_begin,
      attempt_admitted, password_select,
      link_verify, again_proved,
      req_transaction, proof_end,
      link_update, link_reply}
};

/* --- take the link away --- */

static enum step unlink_update(struct req *r)
{
    return recent_good(r) ? req_query(r, Q_GOOGLE_UNLINK) : STEP_FAIL;
}

static enum step unlink_end_others(struct req *r)
{
    Avanta__Identity__GoogleUnlinking row = AVANTA__IDENTITY__GOOGLE_UNLINKING__INIT;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_refuse(r, AVANTA__REASON__USER_INACTIVE);
    }
    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    if (!row.linked) {
        return req_refuse(r, AVANTA__REASON__GOOGLE_NOT_LINKED);
    }
    if (!row.has_password) {
        return req_refuse_saying(
            r, AVANTA__REASON__NO_PASSWORD, "Without a password only Google lets you in");
    }
    return req_query(r, Q_SESSIONS_END_OTHERS);
}

static enum step unlink_reply(struct req *r)
{
    Avanta__Identity__GoogleUnlinked event = AVANTA__IDENTITY__GOOGLE_UNLINKED__INIT;
    uint32_t count = 0;

    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    event.id = identity_text(r, req_user_id(r));
    if (event.id == NULL) {
        return identity_no_memory(r);
    }
    event.has_sessions_ended = true;
    event.sessions_ended = count;
    req_audit_severity(r, "high");
    req_emit(r, &event.base, req_user_id(r));
    return identity_done(r, "Google unlinked");
}

const struct op op_identity_unlink_google = {
    TX_WRITE, {recent_select, unlink_update, unlink_end_others, unlink_reply}
};
