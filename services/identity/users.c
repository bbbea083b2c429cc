/* Register and log in; the first administrator. Hashing runs on the thread pool. */
#include "services/identity/users.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/entry.h"
#include "services/identity/password_policy.h"

#include "libcommon/base/id.h"
#include "libcommon/codec/access.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

bool entry_may_be(const char *role)
{
    assert(role != NULL);
    return strcmp(role, role_name(ROLE_SERVICE)) != 0;
}

struct entry *entry_of(struct req *r)
{
    return req_state(r, sizeof(struct entry));
}

static enum step no_memory(struct req *r)
{
    return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
}

static void hash_work(void *arg)
{
    struct entry *entry = arg;

    assert(entry->password.len > 0);
    assert(!entry->good);
    entry->good = password_hash(entry->password, &entry->cost, entry->hash, NULL) == OK;
}

static void verify_work(void *arg)
{
    struct entry *entry = arg;

    assert(entry->password.ptr != NULL);
    assert(!entry->good);
    if (entry->stored_hash == NULL) {
        password_verify_nobody(entry->password, &entry->cost);
        entry->good = false;
    } else {
        entry->good = password_verify(entry->password, entry->stored_hash);
    }
}

/* --- register --- */

static struct str local_part(struct str email)
{
    size_t at = 0;

    assert(email.ptr != NULL);
    return str_find_char(email, '@', &at) ? str_sub(email, 0, at) : email;
}

/* What registering needs no database for. */
static enum step register_begin(struct req *r)
{
    const Avanta__Identity__RegisterRequest *in = req_in(r);
    struct entry *entry = entry_of(r);
    struct str email = str_from(in->email);
    struct str name = in->name == NULL || in->name[0] == '\0' ? str_sub(local_part(email), 0, 100)
                                                              : str_from(in->name);
    const char *fault = NULL;

    assert(in->email != NULL);
    assert(in->password != NULL);
    fault = password_check(str_from(in->password), email, name);
    if (fault != NULL) {
        return req_refuse_saying(r, AVANTA__REASON__WEAK_PASSWORD, fault);
    }
    if (!req_work_reserve(r)) {
        return STEP_FAIL;
    }
    avanta__identity__user_new__init(&entry->user_new);
    entry->user_new.email = in->email;
    entry->user_new.name = arena_strdup(req_arena(r), name);
    if (entry->user_new.name == NULL) {
        return no_memory(r);
    }
    attempt_of_registration(&entry->attempt, r);
    return attempt_begin(r, &entry->attempt);
}

static enum step register_hash(struct req *r)
{
    const Avanta__Identity__RegisterRequest *in = req_in(r);
    const struct identity *self = req_service(r);
    struct entry *entry = entry_of(r);

    assert(self != NULL);
    assert(!entry->good);
    entry->password = str_from(in->password);
    entry->cost = self->cost;
    return req_work(r, hash_work, entry);
}

static enum step user_insert(struct req *r, const char *role)
{
    struct entry *entry = entry_of(r);

    assert(role != NULL);
    assert(entry->user_new.email != NULL);
    assert(entry->user_new.name != NULL);
    if (!entry->good) {
        return req_fail(r, ERR_INTERNAL, "the password could not be hashed");
    }
    uuid_v7(entry->user_id);
    entry->user_new.id = entry->user_id;
    entry->user_new.password_hash = entry->hash;
    entry->user_new.role = arena_strdup(req_arena(r), str_from(role));
    return entry->user_new.role == NULL ? no_memory(r)
                                        : req_query_from(r, Q_USER_INSERT, &entry->user_new.base);
}

static enum step register_insert(struct req *r)
{
    return user_insert(r, "user");
}

enum step entry_session(struct req *r)
{
    const struct identity *self = req_service(r);
    struct entry *entry = entry_of(r);

    assert(entry->good);
    assert(entry->user.id != NULL);
    session_secrets_make(&entry->secrets);
    uuid_v7(entry->secrets.session_id);
    avanta__identity__session_new__init(&entry->session);
    entry->session.session_id = entry->secrets.session_id;
    entry->session.owner_id = entry->user.id;
    entry->session.has_token_hash = true;
    entry->session.token_hash =
        (ProtobufCBinaryData){sizeof entry->secrets.refresh_hash, entry->secrets.refresh_hash};
    entry->session.has_life_s = true;
    entry->session.life_s = (int64_t)self->config.session_seconds;
    entry->session.has_sessions_kept = true;
    entry->session.sessions_kept = (int64_t)self->config.sessions_kept;
    entry->session.has_entries_ended = true;
    entry->session.entries_ended = entry->entries_ended;
    return req_query_from(r, Q_SESSION_INSERT, &entry->session.base);
}

static enum step register_end(struct req *r)
{
    struct entry *entry = entry_of(r);

    assert(req_rows(r) <= 1);
    if (req_rows(r) > 0) {
        avanta__identity__session_user__init(&entry->user);
        if (!req_row(r, 0, &entry->user.base)) {
            return STEP_FAIL;
        }
        assert(strcmp(entry->user.id, entry->user_id) == 0);
    }
    return attempt_end(r, &entry->attempt, entry->user.id == NULL);
}

static void registered_emit(struct req *r)
{
    const Avanta__Identity__SessionUser *user = &entry_of(r)->user;
    Avanta__Identity__UserRegistered event = AVANTA__IDENTITY__USER_REGISTERED__INIT;

    assert(user->id != NULL);
    assert(user->role != NULL);
    event.id = user->id;
    event.email = user->email;
    event.name = user->name;
    event.role = user->role;
    req_emit_for(r, user->id, &event.base, user->id);
}

static enum step register_session(struct req *r)
{
    struct entry *entry = entry_of(r);

    if (!attempt_ended(r, &entry->attempt, NULL)) {
        return STEP_FAIL;
    }
    if (entry->user.id == NULL) { /* the e-mail is taken */
        return req_refuse_keeping(r, AVANTA__REASON__USER_EXISTS);
    }
    registered_emit(r);
    return entry_session(r);
}

enum step entry_reply(struct req *r)
{
    struct entry *entry = entry_of(r);
    Avanta__Identity__UserLoggedIn event = AVANTA__IDENTITY__USER_LOGGED_IN__INIT;

    assert(entry->user.id != NULL);
    assert(entry->secrets.session_id[0] != '\0');
    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        req_audit_failure(r, entry->user.id, "login", "session", NULL);
        return req_refuse_keeping(r, AVANTA__REASON__INVALID_REFRESH_TOKEN);
    }
    event.session_id = entry->secrets.session_id;
    req_emit_for(r, entry->user.id, &event.base, entry->secrets.session_id);
    return session_reply(r, &entry->secrets, &entry->user);
}

const struct op op_identity_register_user = {
    TX_WRITE,
    {register_begin,
      attempt_admitted, register_hash,
      req_transaction, register_insert,
      register_end, register_session,
      entry_reply}
};

/* --- log in: an unknown e-mail costs as much time as a wrong password, and is counted alike --- */

static enum step login_begin(struct req *r)
{
    const Avanta__Identity__LoginRequest *in = req_in(r);
    struct entry *entry = entry_of(r);

    assert(in->email != NULL);
    if (!req_work_reserve(r)) {
        return STEP_FAIL;
    }
    attempt_of_login(&entry->attempt, r, in->email);
    return attempt_begin(r, &entry->attempt);
}

static enum step login_select(struct req *r)
{
    return req_query(r, Q_USER_CREDENTIAL);
}

static enum step login_verify(struct req *r)
{
    const Avanta__Identity__LoginRequest *in = req_in(r);
    const struct identity *self = req_service(r);
    struct entry *entry = entry_of(r);

    assert(req_rows(r) <= 1);
    assert(in->password != NULL);
    if (entry == NULL) {
        return no_memory(r);
    }
    entry->password = str_from(in->password);
    entry->cost = self->cost;
    if (req_rows(r) > 0) {
        const Avanta__Identity__UserCredential *row =
            (const Avanta__Identity__UserCredential *)(const void *)req_row_new(r, 0);

        if (row == NULL) {
            return STEP_FAIL;
        }
        assert(row->id != NULL);
        avanta__identity__session_user__init(&entry->user);
        entry->stored_hash = row->is_active && entry_may_be(row->role) ? row->password_hash : NULL;
        entry->user.id = row->id;
        entry->user.email = row->email;
        entry->user.name = row->name;
        entry->user.role = row->role;
        entry->user.has_is_demo = true;
        entry->user.is_demo = row->is_demo;
        entry->user.created_at = row->created_at;
        entry->user.avatar_url = row->avatar_url;
        entry->entries_ended = row->entries_ended;
        entry->secrets.has_mfa = row->has_mfa_sealed;
        entry->mfa_sealed = row->mfa_sealed;
    }
    return req_work(r, verify_work, entry);
}

/* After the right password: the code of whoever has a second factor. */
static enum step login_mfa(struct req *r)
{
    const Avanta__Identity__LoginRequest *in = req_in(r);
    struct entry *entry = entry_of(r);

    assert(entry->mfa.verdict == MFA_NONE);
    assert(!entry->good || entry->user.id != NULL);
    if (!entry->good || !entry->secrets.has_mfa) {
        return STEP_NEXT;
    }
    if (in->otp == NULL || in->otp[0] == '\0') {
        entry->mfa.verdict = MFA_MISSING;
        return STEP_NEXT;
    }
    return mfa_attempt(r, &entry->mfa, entry->user.id, &entry->mfa_sealed, in->otp);
}

/* Who gave no code yet has not failed; a wrong one is a failed log-in. */
static enum step login_end(struct req *r)
{
    struct entry *entry = entry_of(r);

    assert(entry->good || entry->mfa.row.owner_id == NULL); /* no code without the password */
    if (entry->mfa.row.owner_id != NULL && !mfa_attempted(r, &entry->mfa)) {
        return STEP_FAIL;
    }
    return attempt_end(r, &entry->attempt, !entry->good || entry->mfa.verdict == MFA_WRONG);
}

static enum step login_session(struct req *r)
{
    struct entry *entry = entry_of(r);

    if (!attempt_ended(r, &entry->attempt, entry->user.id)) {
        return STEP_FAIL;
    }
    if (!entry->good) { /* without a user's id: nobody has that e-mail */
        req_audit_failure(r, entry->user.id, "login", "session", NULL);
        return req_refuse_keeping(r, AVANTA__REASON__INVALID_CREDENTIALS);
    }
    if (entry->secrets.has_mfa && entry->mfa.verdict != MFA_GOOD) {
        return mfa_refuse(r, &entry->mfa, AVANTA__REASON__INVALID_OTP);
    }
    return entry_session(r);
}

const struct op op_identity_login = {
    TX_WRITE,
    {login_begin,
      attempt_admitted, login_select,
      login_verify, req_transaction,
      login_mfa, login_end,
      login_session, entry_reply}
};

/* --- the first administrator, from the settings, when there is none --- */

static enum step bootstrap_count(struct req *r)
{
    const struct identity *self = req_service(r);

    assert(self != NULL);
    if (self->config.admin_email[0] == '\0' || self->config.admin_password[0] == '\0') {
        return STEP_DONE;
    }
    return req_query(r, Q_ADMIN_COUNT);
}

static enum step bootstrap_hash(struct req *r)
{
    const struct identity *self = req_service(r);
    struct entry *entry = entry_of(r);
    Avanta__Identity__AdminCount count = AVANTA__IDENTITY__ADMIN_COUNT__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &count.base)) {
        return STEP_FAIL;
    }
    assert(count.admins >= 0);
    if (count.admins > 0) {
        return STEP_DONE;
    }
    if (entry == NULL) {
        return no_memory(r);
    }
    avanta__identity__user_new__init(&entry->user_new);
    entry->user_new.email = arena_strdup(req_arena(r), str_from(self->config.admin_email));
    entry->user_new.name = arena_strdup(req_arena(r), STR("Administrator"));
    if (entry->user_new.email == NULL || entry->user_new.name == NULL) {
        return no_memory(r);
    }
    entry->password = str_from(self->config.admin_password);
    entry->cost = self->cost;
    return req_work(r, hash_work, entry);
}

static enum step bootstrap_insert(struct req *r)
{
    return user_insert(r, "admin");
}

static enum step bootstrap_done(struct req *r)
{
    struct entry *entry = entry_of(r);

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_fail(r, ERR_CONFLICT, "the administrator's e-mail is that of a user");
    }
    avanta__identity__session_user__init(&entry->user);
    if (!req_row(r, 0, &entry->user.base)) {
        return STEP_FAIL;
    }
    req_audit_severity(r, "critical");
    registered_emit(r);
    return STEP_DONE;
}

const struct op op_identity_bootstrap = {
    TX_WRITE, {bootstrap_count, bootstrap_hash, bootstrap_insert, bootstrap_done}
};
