/*
 * Log in with a Google ID token. A user is known by the account's `sub` alone. Where the e-mail
 * belongs to a user with a password, the two are not taken for one person: somebody may have
 * registered with the e-mail of another before its owner came. That user links the account, with
 * the password.
 */
#include "services/identity/google.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/entry.h"
#include "services/identity/id_token.h"

#include "libcommon/base/log.h"
#include "libcommon/codec/access.h"
#include "libcommon/codec/rules.h"

#include <assert.h>
#include <string.h>

#define NAME_CHARS_MAX    100
#define PICTURE_BYTES_MAX 500

/* --- the keys --- */

static void read_work(void *arg)
{
    google_file_read(arg);
}

static enum step keys_read(struct req *r)
{
    const struct identity *self = req_service(r);
    struct google_file *file = req_state(r, sizeof *file);

    if (self->config.google_jwks_file[0] == '\0') {
        return STEP_DONE;
    }
    file->path = self->config.google_jwks_file;
    file->stamp = self->google.stamp;
    file->bytes = arena_alloc(req_arena(r), GOOGLE_FILE_BYTES_MAX);
    if (file->bytes == NULL) {
        return identity_no_memory(r);
    }
    return req_work(r, read_work, file);
}

static enum step keys_take(struct req *r)
{
    struct identity *self = req_service(r);
    struct google_file *file = req_state(r, sizeof *file);
    struct str json = {file->bytes, file->len};

    if (file->same) {
        return STEP_DONE;
    }
    self->google.stamp = file->stamp; /* a bad file is told of once */
    if (file->code == OK) {
        file->code = google_keys_load(&self->google, json, req_arena(r), &file->err);
    }
    if (file->code != OK) {
        log_event(LOG_ERROR,
                  "google_keys_unreadable",
                  LOG_S("file", file->path),
                  LOG_S("why", file->err.text));
        return STEP_DONE;
    }
    log_event(LOG_INFO, "google_keys", LOG_U("keys", self->google.count));
    return STEP_DONE;
}

const struct op op_identity_google_keys = {
    TX_NONE, {keys_read, keys_take}
};

/* --- the token --- */

enum step
google_token_read(struct req *r, const char *credential, const Avanta__Google__IdToken **out)
{
    const struct identity *self = req_service(r);
    const struct id_token_options options = {
        .issuer = self->config.google_issuer,
        .client_id = self->config.google_client_id,
        .keys = &self->google,
    };
    struct err err = {.code = OK};

    assert(credential != NULL);
    if (options.client_id[0] == '\0') {
        return req_refuse(r, AVANTA__REASON__NOT_CONFIGURED);
    }
    if (self->google.count == 0) {
        return req_fail(r, ERR_UNAVAILABLE, "Google's keys are not known yet");
    }
    if (id_token_verify(&options, str_from(credential), req_now_ms(r), req_arena(r), out, &err) !=
        OK) {
        log_event(LOG_INFO, "google_credential_refused", LOG_S("why", err.text));
        return req_refuse(r, AVANTA__REASON__INVALID_CREDENTIAL);
    }
    assert((*out)->sub != NULL);
    assert((*out)->email != NULL);
    return STEP_NEXT;
}

enum step google_query(struct req *r, uint16_t query, const Avanta__Google__IdToken *token)
{
    Avanta__Identity__GoogleQuery *in = arena_alloc(req_arena(r), sizeof *in);

    if (in == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__google_query__init(in);
    in->sub = token->sub;
    in->email = token->email;
    return req_query_from(r, query, &in->base);
}

/* --- log in --- */

static enum step login_find(struct req *r)
{
    const Avanta__Identity__LoginGoogleRequest *in = req_in(r);
    const Avanta__Google__IdToken *token = NULL;
    enum step step = google_token_read(r, in->credential, &token);

    if (step != STEP_NEXT) {
        return step;
    }
    assert(token != NULL);
    entry_of(r)->more = token;
    return google_query(r, Q_GOOGLE_FIND, token);
}

/* At most as many characters as a name may have. */
static struct str name_cut(struct str name)
{
    size_t count = 0;

    assert(utf8_valid(name));
    for (size_t i = 0; i < name.len; i++) {
        bool begins = ((unsigned char)name.ptr[i] & 0xc0U) != 0x80U;

        if (begins && count == NAME_CHARS_MAX) {
            return str_trim(str_sub(name, 0, i));
        }
        count += begins ? 1 : 0;
    }
    return name;
}

static struct str name_of(const Avanta__Google__IdToken *token)
{
    struct str email = str_from(token->email);
    struct str name = token->name == NULL ? STR_EMPTY : str_trim(str_from(token->name));
    size_t at = 0;

    if (name.len == 0) {
        name = str_find_char(email, '@', &at) ? str_sub(email, 0, at) : email;
    }
    return name_cut(name);
}

static enum step login_create(struct req *r)
{
    struct entry *entry = entry_of(r);
    const Avanta__Google__IdToken *token = entry->more;
    Avanta__Identity__GoogleUserNew *row = arena_alloc(req_arena(r), sizeof *row);

    if (row == NULL) {
        return identity_no_memory(r);
    }
    uuid_v7(entry->user_id);
    avanta__identity__google_user_new__init(row);
    row->id = entry->user_id;
    row->email = token->email;
    row->sub = token->sub;
    row->name = arena_strdup(req_arena(r), name_of(token));
    if (token->picture != NULL && strlen(token->picture) <= PICTURE_BYTES_MAX &&
        str_starts(str_from(token->picture), STR("https://")) &&
        pattern_matches(API_PATTERN_URL_OR_PATH, str_from(token->picture))) {
        row->avatar_url = token->picture;
    }
    return row->name == NULL ? identity_no_memory(r)
                             : req_query_from(r, Q_GOOGLE_USER_INSERT, &row->base);
}

static void user_take(struct entry *entry, const Avanta__Identity__GoogleUser *row)
{
    assert(row->id != NULL);
    avanta__identity__session_user__init(&entry->user);
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

/* Google vouches for the account, not for the second factor. */
static enum step login_mfa(struct req *r)
{
    const Avanta__Identity__LoginGoogleRequest *in = req_in(r);
    struct entry *entry = entry_of(r);

    if (!entry->secrets.has_mfa) {
        return STEP_NEXT;
    }
    if (in->otp == NULL || in->otp[0] == '\0') {
        entry->mfa.verdict = MFA_MISSING;
        return mfa_refuse(r, &entry->mfa, AVANTA__REASON__INVALID_OTP);
    }
    return mfa_attempt(r, &entry->mfa, entry->user.id, &entry->mfa_sealed, in->otp);
}

static enum step login_decide(struct req *r)
{
    struct entry *entry = entry_of(r);
    const Avanta__Identity__GoogleUser *row = NULL;

    assert(req_rows(r) <= 1);
    entry->good = true;
    if (req_rows(r) == 0) {
        return login_create(r);
    }
    row = (const Avanta__Identity__GoogleUser *)(const void *)req_row_new(r, 0);
    if (row == NULL) {
        return STEP_FAIL;
    }
    assert(row->id != NULL);
    if (!row->linked) {
        req_audit_failure(r, row->id, "login", "session", NULL);
        return req_refuse(r,
                          row->has_password ? AVANTA__REASON__GOOGLE_LINK_REQUIRED
                                            : AVANTA__REASON__GOOGLE_LINKED_OTHERWISE);
    }
    if (!row->is_active || !entry_may_be(row->role)) {
        req_audit_failure(r, row->id, "login", "session", NULL);
        return req_refuse(r, AVANTA__REASON__USER_INACTIVE);
    }
    user_take(entry, row);
    return login_mfa(r);
}

static enum step login_created(struct req *r)
{
    struct entry *entry = entry_of(r);
    Avanta__Identity__UserRegistered event = AVANTA__IDENTITY__USER_REGISTERED__INIT;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_refuse(r, AVANTA__REASON__USER_EXISTS);
    }
    avanta__identity__session_user__init(&entry->user);
    if (!req_row(r, 0, &entry->user.base)) {
        return STEP_FAIL;
    }
    assert(strcmp(entry->user.id, entry->user_id) == 0);
    event.id = entry->user.id;
    event.email = entry->user.email;
    event.name = entry->user.name;
    event.role = entry->user.role;
    req_emit_for(r, entry->user.id, &event.base, entry->user.id);
    return entry_session(r);
}

static enum step login_session(struct req *r)
{
    struct entry *entry = entry_of(r);

    if (entry->user_id[0] != '\0') {
        return login_created(r);
    }
    if (entry->secrets.has_mfa) {
        if (!mfa_attempted(r, &entry->mfa)) {
            return STEP_FAIL;
        }
        if (entry->mfa.verdict != MFA_GOOD) {
            req_audit_failure(r, entry->user.id, "login", "session", NULL);
            return mfa_refuse(r, &entry->mfa, AVANTA__REASON__INVALID_OTP);
        }
    }
    return entry_session(r);
}

static enum step login_reply(struct req *r)
{
    struct entry *entry = entry_of(r);

    entry->user.picture = entry->user.avatar_url;
    return entry_reply(r);
}

const struct op op_identity_login_google = {
    TX_WRITE, {login_find, login_decide, login_session, login_reply}
};
