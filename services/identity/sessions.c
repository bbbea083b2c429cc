/* Refresh, logout, me, and what login and refresh answer with; what gateways ask for. */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"
#include "services/identity/mfa.h"
#include "services/identity/signing_keys.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/digest.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

void session_secrets_make(struct session_secrets *out)
{
    uint8_t bytes[REFRESH_BYTES];
    size_t len = 0;

    assert(out != NULL);
    random_bytes(bytes, sizeof bytes);
    len = base64url_encode(bytes, sizeof bytes, out->refresh, sizeof out->refresh);
    assert(len == REFRESH_TEXT_BYTES - 1);
    explicit_bzero(bytes, sizeof bytes);
    sha256((struct str){out->refresh, len}, out->refresh_hash);
}

/* NULL: the request has failed. */
static char *token_new(struct req *r,
                       const char *session_id,
                       const Avanta__Identity__SessionUser *user,
                       const char *role)
{
    const struct identity *self = req_service(r);
    const struct ecdsa_key *key = keyring_signer(&self->keyring, clock_mono_ms());
    char token_id[UUID_TEXT_BYTES];
    char *memory = arena_alloc(req_arena(r), TOKEN_BYTES_MAX);
    struct buf token = buf_over(memory, TOKEN_BYTES_MAX);
    struct err err = {.code = OK};
    const struct token_claims claims = {
        .issuer = self->config.token_issuer,
        .audience = self->config.token_audience,
        .user_id = user->id,
        .email = user->email,
        .name = user->name,
        .role = role,
        .session_id = session_id,
        .token_id = token_id,
        .issued_s = req_now_ms(r) / 1000,
        .expires_s = req_now_ms(r) / 1000 + self->config.token_seconds,
    };

    assert(user->id != NULL);
    assert(session_id != NULL);
    uuid_v7(token_id);
    if (key == NULL) {
        (void)req_fail(r, ERR_UNAVAILABLE, "no key to sign an access token with");
        return NULL;
    }
    if (memory == NULL || token_make(key, &claims, &token, &err) != OK) {
        (void)req_fail(r, ERR_TOO_LARGE, "the answer needs too much memory");
        return NULL;
    }
    assert(memory[token.len] == '\0');
    return memory;
}

enum step session_reply(struct req *r,
                        const struct session_secrets *secrets,
                        const Avanta__Identity__SessionUser *user)
{
    const struct identity *self = req_service(r);
    Avanta__Identity__SessionReply *out = req_out(r);
    Avanta__Identity__SessionUser *shown = arena_alloc(req_arena(r), sizeof *shown);
    bool must_enroll = false;

    assert(secrets->session_id[0] != '\0');
    assert(secrets->refresh[0] != '\0');
    assert(user != NULL);
    assert(self->config.token_seconds <= UINT32_MAX);
    must_enroll = mfa_must_enroll(self, user->role, secrets->has_mfa);
    out->token =
        token_new(r, secrets->session_id, user, must_enroll ? MFA_ROLE_ENROLLING : user->role);
    out->refresh_cookie = arena_strdup(req_arena(r), str_from(secrets->refresh));
    if (out->token == NULL) {
        return STEP_FAIL;
    }
    if (shown == NULL || out->refresh_cookie == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the answer needs too much memory");
    }
    *shown = *user;
    out->has_success = true;
    out->success = true;
    out->has_expires_in = true;
    out->expires_in = (uint32_t)self->config.token_seconds;
    out->session_cookie = out->token;
    out->user = shown;
    out->has_mfa_enrollment_required = must_enroll;
    out->mfa_enrollment_required = must_enroll;
    return STEP_DONE;
}

/* --- refresh: the token is used once and replaced; using it again ends the session --- */

struct refresh {
    struct session_secrets secrets;
    uint8_t old_hash[32];
    Avanta__Identity__SessionUser user;
    Avanta__Identity__SessionNew next;
};

static enum step refresh_use(struct req *r)
{
    const struct identity *self = req_service(r);
    const Avanta__Identity__RefreshRequest *in = req_in(r);
    struct refresh *state = req_state(r, sizeof *state);
    Avanta__Identity__RefreshUse *use = arena_alloc(req_arena(r), sizeof *use);

    if (in->refresh_token == NULL || in->refresh_token[0] == '\0') {
        return req_refuse(r, AVANTA__REASON__INVALID_REFRESH_TOKEN);
    }
    if (state == NULL || use == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    sha256(str_from(in->refresh_token), state->old_hash);
    avanta__identity__refresh_use__init(use);
    use->has_token_hash = true;
    use->has_idle_s = true;
    use->idle_s = (int64_t)self->config.idle_seconds;
    use->token_hash = (ProtobufCBinaryData){sizeof state->old_hash, state->old_hash};
    return req_query_from(r, Q_REFRESH_USE, &use->base);
}

static enum step refresh_end_family(struct req *r, const Avanta__Identity__RefreshState *found)
{
    Avanta__Identity__SessionEnd *end = arena_alloc(req_arena(r), sizeof *end);
    Avanta__Identity__RefreshReused event = AVANTA__IDENTITY__REFRESH_REUSED__INIT;

    assert(found->reused);
    assert(found->session_id != NULL);
    if (end == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    avanta__identity__session_end__init(end);
    end->session_id = found->session_id;
    event.session_id = found->session_id;
    req_audit_severity(r, "high");
    req_emit_for(r, found->id, &event.base, found->session_id);
    req_publish(r, "ctl.revoke", str_from(found->session_id));
    return req_query_from(r, Q_SESSION_END, &end->base);
}

static enum step refresh_next(struct req *r, const Avanta__Identity__RefreshState *found)
{
    struct refresh *state = req_state(r, sizeof *state);

    assert(found->usable);
    assert(!found->reused);
    assert(strlen(found->session_id) == sizeof state->secrets.session_id - 1);
    session_secrets_make(&state->secrets);
    memcpy(state->secrets.session_id, found->session_id, sizeof state->secrets.session_id);
    state->secrets.has_mfa = found->has_mfa;
    avanta__identity__session_user__init(&state->user);
    state->user.id = found->id;
    state->user.email = found->email;
    state->user.name = found->name;
    state->user.role = found->role;
    state->user.has_is_demo = true;
    state->user.is_demo = found->is_demo;
    state->user.created_at = found->created_at;
    state->user.avatar_url = found->avatar_url;
    avanta__identity__session_new__init(&state->next);
    state->next.session_id = state->secrets.session_id;
    state->next.owner_id = found->id;
    state->next.has_token_hash = true;
    state->next.token_hash =
        (ProtobufCBinaryData){sizeof state->secrets.refresh_hash, state->secrets.refresh_hash};
    return req_query_from(r, Q_REFRESH_INSERT, &state->next.base);
}

static enum step refresh_decide(struct req *r)
{
    Avanta__Identity__RefreshState *found = NULL;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_refuse(r, AVANTA__REASON__INVALID_REFRESH_TOKEN);
    }
    found = (Avanta__Identity__RefreshState *)(void *)req_row_new(r, 0);
    if (found == NULL) {
        return STEP_FAIL;
    }
    assert(found->id != NULL);
    if (found->reused) {
        return refresh_end_family(r, found);
    }
    if (!found->usable) {
        return req_refuse(r, AVANTA__REASON__INVALID_REFRESH_TOKEN);
    }
    return refresh_next(r, found);
}

static enum step refresh_reply(struct req *r)
{
    struct refresh *state = req_state(r, sizeof *state);
    Avanta__Identity__SessionRefreshed event = AVANTA__IDENTITY__SESSION_REFRESHED__INIT;

    if (state->user.id == NULL) { /* an old token came again: its family has been ended */
        return req_refuse_keeping(r, AVANTA__REASON__INVALID_REFRESH_TOKEN);
    }
    event.session_id = state->secrets.session_id;
    req_emit_for(r, state->user.id, &event.base, event.session_id);
    return session_reply(r, &state->secrets, &state->user);
}

const struct op op_identity_refresh = {
    TX_WRITE, {refresh_use, refresh_decide, refresh_reply}
};

/* --- logout --- */

static enum step logout_end(struct req *r)
{
    Avanta__Identity__SessionEnd *end = arena_alloc(req_arena(r), sizeof *end);

    assert(req_principal(r) != NULL);
    if (end == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    avanta__identity__session_end__init(end);
    end->session_id = req_principal(r)->session_id;
    return req_query_from(r, Q_SESSION_END, &end->base);
}

static enum step logout_reply(struct req *r)
{
    static char message[] = "Logged out";
    static char nothing[] = "";
    Avanta__Identity__LogoutReply *out = req_out(r);
    Avanta__Identity__UserLoggedOut event = AVANTA__IDENTITY__USER_LOGGED_OUT__INIT;

    event.session_id = req_principal(r)->session_id;
    req_emit(r, &event.base, event.session_id);
    req_publish(r, "ctl.revoke", str_from(event.session_id));
    out->has_success = true;
    out->success = true;
    out->message = message;
    out->session_cookie = nothing;
    out->refresh_cookie = nothing;
    return STEP_DONE;
}

const struct op op_identity_logout = {
    TX_WRITE, {logout_end, logout_reply}
};

/* --- me, and the keys for gateways --- */

#define COORDINATE_BYTES 44 /* 32 bytes in base64url and NUL */

static enum step me_select(struct req *r)
{
    return req_query(r, Q_USER_ME);
}

const struct op op_identity_me = {
    TX_READ, {me_select, req_reply_row}
};

static enum step keys_select(struct req *r)
{
    return req_query(r, Q_SIGNING_KEYS_LIVE);
}

static bool key_fill(struct req *r, const struct keyring_key *from, Avanta__Identity__Key *key)
{
    uint8_t x[32];
    uint8_t y[32];

    assert(key != NULL);
    assert(from->key != NULL);
    avanta__identity__key__init(key);
    key->kid = arena_strdup(req_arena(r), str_from(from->kid));
    key->x = arena_alloc(req_arena(r), COORDINATE_BYTES);
    key->y = arena_alloc(req_arena(r), COORDINATE_BYTES);
    if (key->kid == NULL || key->x == NULL || key->y == NULL) {
        return false;
    }
    ecdsa_public(from->key, x, y);
    (void)base64url_encode(x, sizeof x, key->x, COORDINATE_BYTES);
    (void)base64url_encode(y, sizeof y, key->y, COORDINATE_BYTES);
    return true;
}

static bool keys_fill(struct req *r, Avanta__Identity__GetKeysReply *out)
{
    const struct keyring *keyring = &((const struct identity *)req_service(r))->keyring;

    assert(keyring->count <= SIGNING_KEYS_MAX);
    assert(out->keys == NULL);
    out->keys = arena_calloc(req_arena(r), keyring->count + 1, sizeof(void *));
    for (uint32_t i = 0; out->keys != NULL && i < keyring->count; i++) {
        out->keys[i] = arena_alloc(req_arena(r), sizeof **out->keys);
        if (out->keys[i] == NULL || !key_fill(r, &keyring->keys[i], out->keys[i])) {
            return false;
        }
    }
    out->n_keys = keyring->count;
    return out->keys != NULL;
}

/* From the table and not from what this replica had learnt: a key that was dropped is gone at once.
 * The answer is filled in here, for the next step may find that another request with an older look
 * at the table has changed the keyring. */
static enum step keys_load(struct req *r)
{
    Avanta__Identity__EndedQuery *query = arena_alloc(req_arena(r), sizeof *query);

    if (query == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
    }
    if (signing_keys_take(r) != STEP_NEXT) {
        return STEP_FAIL;
    }
    if (((const struct identity *)req_service(r))->keyring.count == 0) {
        return req_fail(r, ERR_UNAVAILABLE, "there is no signing key yet");
    }
    if (!keys_fill(r, req_out(r))) {
        return req_fail(r, ERR_TOO_LARGE, "the answer needs too much memory");
    }
    avanta__identity__ended_query__init(query);
    query->has_sessions_max = true;
    query->sessions_max = SESSIONS_ENDED_MAX;
    return req_query_from(r, Q_SESSIONS_ENDED, &query->base);
}

static enum step keys_reply(struct req *r)
{
    Avanta__Identity__GetKeysReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;
    size_t count = 0;

    if (!req_rows_all(r, &count, &rows)) {
        return req_fail(r, ERR_TOO_LARGE, "the answer needs too much memory");
    }
    assert(count <= SESSIONS_ENDED_MAX);
    out->revoked_sessions = arena_calloc(req_arena(r), count + 1, sizeof *out->revoked_sessions);
    assert(out->n_keys > 0);
    if (out->revoked_sessions == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the answer needs too much memory");
    }
    for (size_t i = 0; i < count; i++) {
        const Avanta__Identity__EndedSession *row = (void *)rows[i];

        assert(row->session_id != NULL);
        out->revoked_sessions[i] = row->session_id;
        out->unlisted_until_ms = (uint64_t)row->ended_ms; /* the last one ended first */
    }
    out->n_revoked_sessions = count;
    out->has_unlisted_until_ms = count == SESSIONS_ENDED_MAX;
    return STEP_DONE;
}

const struct op op_identity_get_keys = {
    TX_READ, {keys_select, keys_load, keys_reply}
};
