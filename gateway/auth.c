#include "gateway/auth.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/id.h"
#include "libcommon/base/list.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/table.h"
#include "libcommon/io/digest.h"

#include <jwt.h>

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* A token that passed. */
struct entry {
    struct list by_use;
    uint8_t digest[SHA256_BYTES];
    uint64_t expires_ms;
    struct auth_principal principal;
};

/* A session that ended before its access tokens did. */
struct revoked {
    struct list by_age;
    char session_id[64];
    uint64_t forget_ms;
};

struct auth {
    struct auth_options options;
    struct pool *entries;
    struct table *by_digest;
    struct list used; /* most recent first */
    struct pool *revoked_pool;
    struct table *revoked;
    struct list revoked_age; /* oldest first */
};

struct auth *auth_open(const struct auth_options *options)
{
    struct auth *auth = calloc(1, sizeof *auth);
    uint64_t seeds[2] = {0, 0};

    assert(options != NULL && options->keys != NULL);
    assert(options->issuer != NULL && options->audience != NULL);
    if (auth == NULL) {
        return NULL;
    }
    random_bytes(seeds, sizeof seeds);
    auth->options = *options;
    list_init(&auth->used);
    list_init(&auth->revoked_age);
    auth->entries = pool_open(sizeof(struct entry), AUTH_CACHE_MAX);
    auth->by_digest = table_open(AUTH_CACHE_MAX, seeds[0]);
    auth->revoked_pool = pool_open(sizeof(struct revoked), AUTH_REVOKED_MAX);
    auth->revoked = table_open(AUTH_REVOKED_MAX, seeds[1]);
    if (auth->entries == NULL || auth->by_digest == NULL || auth->revoked_pool == NULL ||
        auth->revoked == NULL) {
        auth_close(&auth);
    }
    return auth;
}

void auth_close(struct auth **auth)
{
    assert(auth != NULL);
    if (*auth != NULL) {
        table_close(&(*auth)->by_digest);
        pool_close(&(*auth)->entries);
        table_close(&(*auth)->revoked);
        pool_close(&(*auth)->revoked_pool);
        free(*auth);
        *auth = NULL;
    }
}

static struct str digest_key(const uint8_t digest[SHA256_BYTES])
{
    return (struct str){(const char *)digest, SHA256_BYTES};
}

static void entry_forget(struct auth *auth, struct entry *entry)
{
    void *gone = table_remove(auth->by_digest, digest_key(entry->digest));

    assert(gone == entry);
    list_remove(&entry->by_use);
    pool_give(auth->entries, entry);
}

static void entry_remember(struct auth *auth,
                           const uint8_t digest[SHA256_BYTES],
                           uint64_t expires_ms,
                           const struct auth_principal *principal)
{
    struct pool_handle handle;
    struct entry *entry = pool_take(auth->entries, &handle);

    if (entry == NULL) {
        assert(!list_empty(&auth->used));
        entry_forget(auth, LIST_ENTRY(auth->used.prev, struct entry, by_use));
        entry = pool_take(auth->entries, &handle);
    }
    assert(entry != NULL);
    memcpy(entry->digest, digest, SHA256_BYTES);
    entry->expires_ms = expires_ms;
    entry->principal = *principal;
    if (!table_put(auth->by_digest, digest_key(entry->digest), entry)) {
        pool_give(auth->entries, entry);
        return;
    }
    list_push_front(&auth->used, &entry->by_use);
}

static void revoked_expire(struct auth *auth, uint64_t now_ms)
{
    while (!list_empty(&auth->revoked_age)) {
        struct revoked *oldest = LIST_ENTRY(auth->revoked_age.next, struct revoked, by_age);

        if (oldest->forget_ms > now_ms) {
            break;
        }
        (void)table_remove(auth->revoked, str_from(oldest->session_id));
        list_remove(&oldest->by_age);
        pool_give(auth->revoked_pool, oldest);
    }
}

void auth_revoke(struct auth *auth, struct str session_id, uint64_t now_wall_ms)
{
    struct pool_handle handle;
    struct revoked *revoked = NULL;

    revoked_expire(auth, now_wall_ms);
    if (session_id.len == 0 || session_id.len >= sizeof revoked->session_id ||
        table_get(auth->revoked, session_id) != NULL) {
        return;
    }
    revoked = pool_take(auth->revoked_pool, &handle);
    if (revoked == NULL) {
        return; /* tokens of that session last at most AUTH_TOKEN_LIFE_MS more */
    }
    memcpy(revoked->session_id, session_id.ptr, session_id.len);
    revoked->session_id[session_id.len] = '\0';
    revoked->forget_ms = now_wall_ms + AUTH_TOKEN_LIFE_MS;
    if (!table_put(auth->revoked, str_from(revoked->session_id), revoked)) {
        pool_give(auth->revoked_pool, revoked);
        return;
    }
    list_push_back(&auth->revoked_age, &revoked->by_age);
}

static enum code refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_UNAUTHENTICATED, "%s", why);
}

static bool claim_is(jwt_t *jwt, const char *name, const char *wanted)
{
    const char *value = jwt_get_grant(jwt, name);

    return value != NULL && strcmp(value, wanted) == 0;
}

static bool claim_copy(jwt_t *jwt, const char *name, char *out, size_t cap)
{
    const char *value = jwt_get_grant(jwt, name);
    struct buf b = buf_over(out, cap);

    if (value == NULL) {
        return false;
    }
    buf_text(&b, value);
    return buf_terminate(&b) && b.len > 0;
}

/* The header is read before anything is trusted: it only chooses among our own keys. */
static const struct key *key_choose(struct auth *auth, const char *token)
{
    jwt_t *unverified = NULL;
    const struct key *key = NULL;

    if (jwt_decode(&unverified, token, NULL, 0) != 0) {
        return NULL;
    }
    if (jwt_get_alg(unverified) == JWT_ALG_ES256) {
        const char *kid = jwt_get_header(unverified, "kid");

        key = kid == NULL ? NULL : key_set_find(auth->options.keys, str_from(kid));
    }
    jwt_free(unverified);
    return key;
}

static enum code claims_check(struct auth *auth,
                              jwt_t *jwt,
                              uint64_t now_ms,
                              struct auth_principal *out,
                              uint64_t *out_expires_ms,
                              struct err *err)
{
    const char *type = jwt_get_header(jwt, "typ");
    long expires = jwt_get_grant_int(jwt, "exp");
    long not_before = jwt_get_grant_int(jwt, "nbf");

    if (jwt_get_alg(jwt) != JWT_ALG_ES256 || type == NULL || strcmp(type, "at+jwt") != 0) {
        return refuse(err, "algorithm or type is not an access token's");
    }
    if (!claim_is(jwt, "iss", auth->options.issuer) ||
        !claim_is(jwt, "aud", auth->options.audience)) {
        return refuse(err, "issuer or audience");
    }
    if (expires <= 0 || (uint64_t)expires * 1000 <= now_ms) {
        return refuse(err, "expired");
    }
    if (not_before < 0 || (uint64_t)not_before * 1000 > now_ms + 1000) {
        return refuse(err, "not valid yet");
    }
    if (!claim_copy(jwt, "sub", out->user_id, sizeof out->user_id) ||
        !claim_copy(jwt, "role", out->role, sizeof out->role) ||
        !claim_copy(jwt, "sid", out->session_id, sizeof out->session_id) ||
        !claim_copy(jwt, "email", out->email, sizeof out->email)) {
        return refuse(err, "claims are incomplete");
    }
    *out_expires_ms = (uint64_t)expires * 1000;
    return OK;
}

static enum code token_verify(struct auth *auth,
                              const char *token,
                              uint64_t now_ms,
                              struct auth_principal *out,
                              uint64_t *out_expires_ms,
                              struct err *err)
{
    const struct key *key = key_choose(auth, token);
    jwt_t *jwt = NULL;
    enum code code = OK;

    if (key == NULL) {
        return refuse(err, "unknown key or algorithm");
    }
    if (jwt_decode(&jwt, token, (const unsigned char *)key->pem, (int)strlen(key->pem)) != 0) {
        return refuse(err, "signature");
    }
    code = claims_check(auth, jwt, now_ms, out, out_expires_ms, err);
    jwt_free(jwt);
    return code;
}

static enum code cached_or_verified(struct auth *auth,
                                    struct str token,
                                    uint64_t now_ms,
                                    struct auth_principal *out,
                                    struct err *err)
{
    uint8_t digest[SHA256_BYTES];
    char text[AUTH_TOKEN_BYTES_MAX + 1];
    uint64_t expires_ms = 0;
    struct entry *entry = NULL;
    enum code code = OK;

    sha256(token, digest);
    entry = table_get(auth->by_digest, digest_key(digest));
    if (entry != NULL && entry->expires_ms > now_ms) {
        list_remove(&entry->by_use);
        list_push_front(&auth->used, &entry->by_use);
        *out = entry->principal;
        return OK;
    }
    if (entry != NULL) {
        entry_forget(auth, entry);
    }
    memcpy(text, token.ptr, token.len);
    text[token.len] = '\0';
    code = token_verify(auth, text, now_ms, out, &expires_ms, err);
    if (code == OK) {
        entry_remember(auth, digest, expires_ms, out);
    }
    return code;
}

enum code auth_verify(struct auth *auth,
                      struct str token,
                      uint64_t now_wall_ms,
                      struct auth_principal *out,
                      struct err *err)
{
    enum code code = OK;

    assert(auth != NULL);
    assert(out != NULL);
    if (token.len == 0 || token.len > AUTH_TOKEN_BYTES_MAX ||
        memchr(token.ptr, '\0', token.len) != NULL) {
        return refuse(err, "size or form");
    }
    code = cached_or_verified(auth, token, now_wall_ms, out, err);
    if (code == OK && table_get(auth->revoked, str_from(out->session_id)) != NULL) {
        return refuse(err, "session was ended");
    }
    return code;
}
