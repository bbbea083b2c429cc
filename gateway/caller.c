#include "gateway/caller.h"

#include "avanta/common.pb-c.h"
#include "gateway/bind.h"
#include "gateway/worker.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

static void on_answer(void *ctx, enum code code)
{
    struct caller *caller = ctx;

    assert(caller->resume != NULL);
    caller->asked = code;
    caller->resume(caller->ctx);
}

static enum caller_verdict refuse(struct err *err, enum code code, const char *why)
{
    (void)err_set(err, code, "%s", why);
    return CALLER_REFUSED;
}

/* A question was asked, or cannot be: identity is away, or its answers expire as they come. */
static enum caller_verdict asked_or_not(const struct caller *caller, bool asked, struct err *err)
{
    assert(caller->ask.asks <= LOOKUP_ASKS_MAX);
    return asked ? CALLER_WAITS
                 : refuse(err, ERR_UNAVAILABLE, "the credential cannot be checked now");
}

static void ask_begin(struct caller *caller)
{
    assert(caller->resume != NULL);
    caller->ask.worker = caller->worker;
    caller->ask.done = on_answer;
    caller->ask.ctx = caller;
}

static uint64_t now_ms(const struct caller *caller)
{
    return loop_now_ms(caller->worker->loop);
}

static bool is_key(const struct caller *caller)
{
    return caller->credential.kind == CREDENTIAL_KEY ||
           caller->credential.kind == CREDENTIAL_SIGNATURE;
}

/* --- API keys --- */

static bool peer_is_allowed(const struct lookup_answer *answer, struct str peer)
{
    for (uint32_t i = 0; i < answer->network_count; i++) {
        if (network_contains(&answer->networks[i], peer)) {
            return true;
        }
    }
    return answer->network_count == 0;
}

static void principal_fill(struct caller *caller, const struct lookup_answer *answer)
{
    struct auth_principal *principal = &caller->credential.principal;

    assert(answer->good);
    _Static_assert(sizeof principal->user_id == sizeof answer->user_id &&
                       sizeof principal->role == sizeof answer->role &&
                       sizeof principal->session_id == sizeof answer->id &&
                       sizeof principal->email == sizeof answer->email,
                   "both have the same bounds");
    memcpy(principal->user_id, answer->user_id, sizeof principal->user_id);
    memcpy(principal->role, answer->role, sizeof principal->role);
    memcpy(principal->session_id, answer->id, sizeof principal->session_id);
    memcpy(principal->email, answer->email, sizeof principal->email);
    caller->scopes = answer->scopes;
}

static enum caller_verdict key_resolve(struct caller *caller, struct err *err)
{
    struct worker *worker = caller->worker;
    const struct lookup_answer *answer = NULL;

    assert(caller->credential.kind == CREDENTIAL_KEY);
    lookup_key_digest(caller->credential.api_key, caller->ask.digest);
    answer = lookup_get(worker->lookup, caller->ask.digest, now_ms(caller));
    if (answer == NULL) {
        ask_begin(caller);
        return asked_or_not(
            caller, caller->asked == OK && lookup_ask_key(&caller->ask, caller->peer), err);
    }
    if (!answer->good || auth_is_revoked(worker->auth, str_from(answer->id))) {
        return refuse(err, ERR_UNAUTHENTICATED, "unknown API key");
    }
    if (!peer_is_allowed(answer, caller->peer)) {
        return refuse(err, ERR_FORBIDDEN, "This API key cannot be used from your address");
    }
    principal_fill(caller, answer);
    return CALLER_MAY;
}

/* --- signed requests: the answer is for this one alone --- */

/* Apart from API keys and grants, and from any other request. */
static void signed_digest(const struct caller *caller, uint8_t digest[SHA256_BYTES])
{
    const struct credential_signature *signature = &caller->credential.signature;
    char memory[128];
    struct buf text = buf_over(memory, sizeof memory);

    buf_printf(&text, "signed %p ", (const void *)caller); /* of no meaning beyond this process */
    buf_append(&text, signature->signature, sizeof signature->signature);
    assert(!text.overflow);
    sha256(buf_view(&text), digest);
}

static bool ask_signature(struct caller *caller)
{
    struct lookup_signed what = {
        .signature = &caller->credential.signature,
        .method = caller->http->method,
        .target = caller->http->target,
    };

    assert(caller->ask.asks == 0);
    sha256(caller->http->body.ptr == NULL ? STR_EMPTY : caller->http->body, what.body_hash);
    signed_digest(caller, caller->ask.digest);
    ask_begin(caller);
    return lookup_ask_signature(&caller->ask, &what, caller->peer);
}

/* Asked once, and no more: the answer to a second question would be that it was used before. */
static enum caller_verdict signature_resolve(struct caller *caller, struct err *err)
{
    struct worker *worker = caller->worker;
    struct lookup_answer answer;

    assert(caller->credential.kind == CREDENTIAL_SIGNATURE);
    if (caller->ask.asks == 0) {
        return asked_or_not(caller, ask_signature(caller), err);
    }
    if (caller->asked != OK || !lookup_take(worker->lookup, caller->ask.digest, &answer)) {
        return asked_or_not(caller, false, err);
    }
    if (!answer.good || auth_is_revoked(worker->auth, str_from(answer.id))) {
        return refuse(err, ERR_UNAUTHENTICATED, "unknown key, wrong signature, time or repeated");
    }
    if (!peer_is_allowed(&answer, caller->peer)) {
        return refuse(err, ERR_FORBIDDEN, "This API key cannot be used from your address");
    }
    principal_fill(caller, &answer);
    return CALLER_MAY;
}

/* --- on behalf of another user --- */

/* The header's user, "" without one or when it is the caller itself. False: none at all. */
static bool owner_find(struct caller *caller)
{
    struct str value = str_trim(http_header_get(caller->http, OWNER_HEADER));

    caller->owner_id[0] = '\0';
    if (value.len == 0 || str_eq_nocase(value, str_from(caller->credential.principal.user_id))) {
        return true;
    }
    if (!uuid_valid(value) || !str_copy(value, caller->owner_id, sizeof caller->owner_id)) {
        violations_add(caller->violations, OWNER_HEADER, "format", "must be the id of a user");
        return false;
    }
    return true;
}

static enum caller_verdict grant_resolve(struct caller *caller, struct err *err)
{
    struct worker *worker = caller->worker;
    const char *accountant_id = caller->credential.principal.user_id;
    const struct lookup_answer *answer = NULL;

    assert(caller->owner_id[0] != '\0');
    assert(caller->grant == GRANT_NONE);
    lookup_grant_digest(accountant_id, caller->owner_id, caller->ask.digest);
    answer = lookup_get(worker->lookup, caller->ask.digest, now_ms(caller));
    if (answer == NULL) {
        ask_begin(caller);
        memcpy(caller->ask.accountant_id, accountant_id, sizeof caller->ask.accountant_id);
        memcpy(caller->ask.owner_id, caller->owner_id, sizeof caller->ask.owner_id);
        return asked_or_not(caller, caller->asked == OK && lookup_ask_grant(&caller->ask), err);
    }
    if (answer->good && !auth_is_revoked(worker->auth, str_from(answer->id))) {
        caller->grant = answer->grant;
        memcpy(
            caller->owner_id, answer->user_id, sizeof caller->owner_id); /* as identity writes it */
    }
    return CALLER_MAY;
}

/* --- the verdict --- */

static enum caller_verdict
permission_check(const struct caller *caller, enum api_permission permission, struct err *err)
{
    const struct access_caller asks = {
        .role = str_from(caller->credential.principal.role),
        .by_key = is_key(caller),
        .scopes = caller->scopes,
        .on_behalf = caller->owner_id[0] != '\0',
        .grant = caller->grant,
    };

    return access_check(permission, &asks, err) == OK ? CALLER_MAY : CALLER_REFUSED;
}

/* Nobody is asked about a grant where none would help: not even then may the caller do it. */
static bool grant_could_help(const struct caller *caller, enum api_permission permission)
{
    const struct access_caller best = {
        .role = str_from(caller->credential.principal.role),
        .by_key = is_key(caller),
        .on_behalf = true,
        .grant = GRANT_WRITE,
    };

    return access_check(permission, &best, NULL) == OK;
}

/* Of a beacon a good session is noted; anything else is as good as none. What a browser sends along
 * for another site says nothing. */
static void recognise(struct caller *caller)
{
    struct credential *credential = &caller->credential;
    struct err ignored = {.code = OK};
    enum code code =
        credential_find(caller->worker->auth, caller->http, clock_wall_ms(), credential, &ignored);
    bool session = credential->kind == CREDENTIAL_BEARER ||
                   (credential->kind == CREDENTIAL_COOKIE &&
                    credential_same_origin(caller->http, &ignored) == OK);

    if (code != OK || !session) {
        credential->kind = CREDENTIAL_NONE;
    }
    caller->owner_id[0] = '\0';
}

static enum caller_verdict
anybody(struct caller *caller, const struct api_method *method, struct err *err)
{
    caller->credential.kind = CREDENTIAL_NONE;
    if (method->beacon) {
        recognise(caller);
    }
    if (bind_uses_cookies(method->in) && method->writes &&
        credential_same_origin(caller->http, err) != OK) {
        return CALLER_REFUSED;
    }
    return CALLER_MAY;
}

/* The credential by itself. */
static enum caller_verdict
identify(struct caller *caller, const struct api_method *method, struct err *err)
{
    struct credential *credential = &caller->credential;
    enum code code =
        credential_find(caller->worker->auth, caller->http, clock_wall_ms(), credential, err);

    if (code == ERR_UNAUTHENTICATED && credential->key_unknown &&
        key_wait_begin(caller->worker, &caller->key_wait, caller->resume, caller->ctx)) {
        return CALLER_WAITS; /* the key may be newer than ours: once more when we have asked */
    }
    if (code != OK) {
        return CALLER_REFUSED;
    }
    if (credential->kind == CREDENTIAL_NONE) {
        return refuse(err, ERR_UNAUTHENTICATED, "no credential");
    }
    if (credential->kind == CREDENTIAL_COOKIE && method->writes &&
        credential_same_origin(caller->http, err) != OK) {
        return CALLER_REFUSED;
    }
    if (credential->kind == CREDENTIAL_SIGNATURE) {
        return signature_resolve(caller, err);
    }
    return credential->kind == CREDENTIAL_KEY ? key_resolve(caller, err) : CALLER_MAY;
}

enum caller_verdict
caller_authorise(struct caller *caller, const struct api_method *method, struct err *err)
{
    enum caller_verdict verdict = CALLER_MAY;

    assert(caller->worker != NULL);
    assert(caller->violations != NULL);
    caller->grant = GRANT_NONE;
    caller->scopes = 0;
    if (method->permission == API_PUBLIC) {
        return anybody(caller, method, err);
    }
    verdict = identify(caller, method, err);
    if (verdict != CALLER_MAY) {
        return verdict;
    }
    if (!owner_find(caller)) {
        return refuse(err, ERR_INVALID, OWNER_HEADER " is not the id of a user");
    }
    if (caller->owner_id[0] != '\0' && grant_could_help(caller, method->permission)) {
        verdict = grant_resolve(caller, err);
    }
    return verdict == CALLER_MAY ? permission_check(caller, method->permission, err) : verdict;
}

/* --- for the service --- */

static bool scopes_fill(uint32_t scopes, struct arena *arena, Avanta__Principal *out)
{
    assert(out->n_scopes == 0);
    out->has_by_key = true;
    out->by_key = true;
    out->scopes = arena_calloc(arena, API_PERMISSION_COUNT, sizeof(char *));
    for (int i = 0; out->scopes != NULL && i < API_PERMISSION_COUNT; i++) {
        if ((scopes & (1U << (unsigned)i)) != 0) {
            out->scopes[out->n_scopes++] =
                transcode_constant(permission_name((enum api_permission)i));
        }
    }
    return out->scopes != NULL;
}

bool caller_principal(struct caller *caller, struct arena *arena, Avanta__Principal *out)
{
    struct auth_principal *from = &caller->credential.principal;

    assert(caller->credential.kind != CREDENTIAL_NONE);
    assert(from->user_id[0] != '\0');
    out->user_id = from->user_id;
    out->role = from->role;
    out->session_id = from->session_id;
    out->email = from->email;
    if (caller->owner_id[0] != '\0') {
        assert(caller->grant != GRANT_NONE);
        out->user_id = caller->owner_id;
        out->actor_id = from->user_id;
        out->grant = transcode_constant(grant_name(caller->grant));
    }
    return !is_key(caller) || scopes_fill(caller->scopes, arena, out);
}
