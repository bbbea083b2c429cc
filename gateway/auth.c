#include "gateway/auth.h"

#include "api.gen.h"
#include "avanta/token.pb-c.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/id.h"
#include "libcommon/base/list.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/table.h"
#include "libcommon/codec/jws.h"
#include "libcommon/io/digest.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SKEW_MS 1000 /* identity and gateway need not agree to the millisecond */

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
    uint64_t undecided_ms;   /* sessions that ended until then may be missing; 0: none */
    uint64_t key_losses;     /* of the keys that verified what is in the cache */
    uint64_t verifications;
};

struct auth *auth_open(const struct auth_options *options)
{
    struct auth *auth = calloc(1, sizeof *auth);
    uint64_t seeds[2] = {0, 0};

    assert(options != NULL);
    assert(options->keys != NULL);
    assert(options->issuer != NULL);
    assert(options->audience != NULL);
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

uint64_t auth_verifications(const struct auth *auth)
{
    assert(auth != NULL);
    return auth->verifications;
}

static struct str digest_key(const uint8_t digest[SHA256_BYTES])
{
    assert(digest != NULL);
    return (struct str){(const char *)digest, SHA256_BYTES};
}

static void entry_forget(struct auth *auth, struct entry *entry)
{
    void *gone = table_remove(auth->by_digest, digest_key(entry->digest));

    assert(gone == entry);
    assert(!list_empty(&auth->used));
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

    assert(digest != NULL);
    assert(principal != NULL);
    assert(expires_ms > 0);
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

/* A token in the cache was verified with a key that may be gone now. */
static void entries_flush(struct auth *auth)
{
    while (!list_empty(&auth->used)) {
        entry_forget(auth, LIST_ENTRY(auth->used.next, struct entry, by_use));
    }
    assert(table_count(auth->by_digest) == 0);
    assert(pool_used(auth->entries) == 0);
    auth->key_losses = auth->options.keys->losses;
}

static struct revoked *revoked_oldest(const struct auth *auth)
{
    assert(!list_empty(&auth->revoked_age));
    return LIST_ENTRY(auth->revoked_age.next, struct revoked, by_age);
}

static void revoked_forget(struct auth *auth, struct revoked *revoked)
{
    void *gone = table_remove(auth->revoked, str_from(revoked->session_id));

    assert(gone == revoked);
    assert(revoked->forget_ms >= AUTH_TOKEN_LIFE_MS);
    list_remove(&revoked->by_age);
    pool_give(auth->revoked_pool, revoked);
}

static void revoked_expire(struct auth *auth, uint64_t now_ms)
{
    while (!list_empty(&auth->revoked_age) && revoked_oldest(auth)->forget_ms <= now_ms) {
        revoked_forget(auth, revoked_oldest(auth));
    }
    assert(table_count(auth->revoked) == pool_used(auth->revoked_pool));
}

void auth_refuse_issued_until(struct auth *auth, uint64_t wall_ms)
{
    assert(auth != NULL);
    auth->undecided_ms = wall_ms > auth->undecided_ms ? wall_ms : auth->undecided_ms;
}

bool auth_revoke(struct auth *auth, struct str session_id, uint64_t now_wall_ms)
{
    struct pool_handle handle;
    struct revoked *revoked = NULL;
    bool fits = true;
    bool put = false;

    assert(auth != NULL);
    revoked_expire(auth, now_wall_ms);
    if (session_id.len == 0 || session_id.len >= sizeof revoked->session_id ||
        table_get(auth->revoked, session_id) != NULL) {
        return true; /* no token bears such an id, or it is known */
    }
    fits = pool_used(auth->revoked_pool) < AUTH_REVOKED_MAX;
    if (!fits) {
        auth_refuse_issued_until(auth, revoked_oldest(auth)->forget_ms - AUTH_TOKEN_LIFE_MS);
        revoked_forget(auth, revoked_oldest(auth));
    }
    revoked = pool_take(auth->revoked_pool, &handle);
    assert(revoked != NULL);
    memcpy(revoked->session_id, session_id.ptr, session_id.len);
    revoked->session_id[session_id.len] = '\0';
    revoked->forget_ms = now_wall_ms + AUTH_TOKEN_LIFE_MS;
    put = table_put(auth->revoked, str_from(revoked->session_id), revoked);
    assert(put);
    list_push_back(&auth->revoked_age, &revoked->by_age);
    assert(table_count(auth->revoked) == pool_used(auth->revoked_pool));
    return fits;
}

bool auth_is_revoked(const struct auth *auth, struct str session_id)
{
    assert(auth != NULL);
    return session_id.len > 0 && table_get(auth->revoked, session_id) != NULL;
}

static enum code refuse(struct err *err, const char *why)
{
    assert(why != NULL);
    (void)err_set(err, ERR_UNAUTHENTICATED, "%s", why);
    return ERR_UNAUTHENTICATED;
}

static bool is(const char *value, const char *wanted)
{
    assert(wanted != NULL);
    return value != NULL && strcmp(value, wanted) == 0;
}

/* The header is read before anything is trusted: it only chooses among our own keys. */
static enum code header_read(struct str part,
                             struct arena *arena,
                             const Avanta__Token__Header **out,
                             struct err *err)
{
    ProtobufCMessage *message = NULL;

    assert(part.len > 0);
    assert(arena != NULL);
    if (part.len > AUTH_HEADER_BYTES_MAX ||
        !jws_part_read(part, &rules_avanta_token_header, arena, &message)) {
        return refuse(err, "header");
    }
    *out = (const Avanta__Token__Header *)(const void *)message;
    if ((*out)->crit != NULL || (*out)->n_nulls > 0 || (*out)->kid == NULL) {
        return refuse(err, "header");
    }
    return is((*out)->alg, "ES256") ? OK : refuse(err, "algorithm");
}

static bool signature_good(const struct key *key, const struct jws *parts)
{
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    size_t len = 0;

    assert(key->verifier != NULL);
    return base64url_decode(parts->signature, signature, sizeof signature, &len) &&
           len == sizeof signature && ecdsa_verify(key->verifier, parts->signed_part, signature);
}

static void text_copy(char *out, size_t cap, const char *text)
{
    bool fits = str_copy(str_from(text), out, cap);

    assert(fits); /* the rules bound the claims */
}

/* Without nbf as much before its end as a token lasts at most. */
static uint64_t issued_ms(const Avanta__Token__Claims *claims)
{
    uint64_t end_ms = (uint64_t)claims->exp * 1000;

    assert(claims->exp > 0);
    if (claims->has_nbf) {
        return (uint64_t)claims->nbf * 1000;
    }
    return end_ms > AUTH_TOKEN_LIFE_MS ? end_ms - AUTH_TOKEN_LIFE_MS : 0;
}

/* A key that signs tokens of longer life than ours is not used as ours are. */
static bool lives_too_long(const Avanta__Token__Claims *claims, uint64_t now_ms)
{
    const int64_t life_s = (int64_t)(AUTH_TOKEN_LIFE_MS / 1000);

    assert(claims->exp > 0);
    return (uint64_t)claims->exp * 1000 > now_ms + AUTH_TOKEN_LIFE_MS + SKEW_MS ||
           (claims->has_nbf && claims->exp - claims->nbf > life_s) ||
           (claims->has_iat && claims->exp - claims->iat > life_s);
}

static enum code times_check(const Avanta__Token__Claims *claims, uint64_t now_ms, struct err *err)
{
    assert(claims->nbf >= 0);
    assert(claims->iat >= 0);
    if ((uint64_t)claims->exp * 1000 <= now_ms) {
        return refuse(err, "expired");
    }
    if ((uint64_t)claims->nbf * 1000 > now_ms + SKEW_MS ||
        (uint64_t)claims->iat * 1000 > now_ms + SKEW_MS) {
        return refuse(err, "not valid yet");
    }
    return lives_too_long(claims, now_ms) ? refuse(err, "lives too long") : OK;
}

static enum code claims_check(struct auth *auth,
                              const Avanta__Token__Claims *claims,
                              uint64_t now_ms,
                              struct auth_principal *out,
                              struct err *err)
{
    enum code code = OK;

    assert(claims != NULL);
    assert(out != NULL);
    if (!is(claims->iss, auth->options.issuer) || !is(claims->aud, auth->options.audience)) {
        return refuse(err, "issuer or audience");
    }
    code = times_check(claims, now_ms, err);
    if (code != OK) {
        return code;
    }
    out->issued_ms = issued_ms(claims);
    text_copy(out->user_id, sizeof out->user_id, claims->sub);
    text_copy(out->role, sizeof out->role, claims->role);
    text_copy(out->session_id, sizeof out->session_id, claims->sid);
    text_copy(out->email, sizeof out->email, claims->email);
    return OK;
}

/* Signed by the key that its header names, which is one of ours. */
static enum code signature_check(struct auth *auth,
                                 const struct auth_input *input,
                                 const struct jws *parts,
                                 struct err *err)
{
    const Avanta__Token__Header *header = NULL;
    const struct key *key = NULL;
    enum code code = header_read(parts->header, input->arena, &header, err);

    if (code != OK) {
        return code;
    }
    assert(header != NULL);
    key = key_set_find(auth->options.keys, str_from(header->kid));
    if (key == NULL) {
        if (input->out_key_unknown != NULL) {
            *input->out_key_unknown = is(header->typ, "at+jwt");
        }
        return refuse(err, "unknown key");
    }
    auth->verifications++;
    if (!signature_good(key, parts)) {
        return refuse(err, "signature");
    }
    return is(header->typ, "at+jwt") ? OK : refuse(err, "type");
}

static enum code token_verify(struct auth *auth,
                              struct auth_input input,
                              struct auth_principal *out,
                              uint64_t *out_expires_ms,
                              struct err *err)
{
    struct jws parts;
    ProtobufCMessage *claims = NULL;
    enum code code = OK;

    assert(input.arena != NULL);
    assert(out != NULL);
    assert(out_expires_ms != NULL);
    if (!jws_split(input.token, &parts)) {
        return refuse(err, "not a compact JWS");
    }
    code = signature_check(auth, &input, &parts, err);
    if (code != OK) {
        return code;
    }
    if (!jws_part_read(parts.claims, &rules_avanta_token_claims, input.arena, &claims)) {
        return refuse(err, "claims");
    }
    assert(claims != NULL);
    code = claims_check(
        auth, (const Avanta__Token__Claims *)(const void *)claims, input.now_wall_ms, out, err);
    *out_expires_ms = (uint64_t)((const Avanta__Token__Claims *)(const void *)claims)->exp * 1000;
    return code;
}

static enum code cached_or_verified(struct auth *auth,
                                    struct auth_input input,
                                    struct auth_principal *out,
                                    struct err *err)
{
    uint8_t digest[SHA256_BYTES];
    uint64_t expires_ms = 0;
    struct entry *entry = NULL;
    enum code code = OK;

    assert(input.token.len > 0);
    assert(input.token.len <= AUTH_TOKEN_BYTES_MAX);
    if (auth->key_losses != auth->options.keys->losses) {
        entries_flush(auth);
    }
    sha256(input.token, digest);
    entry = table_get(auth->by_digest, digest_key(digest));
    if (entry != NULL && entry->expires_ms > input.now_wall_ms) {
        list_remove(&entry->by_use);
        list_push_front(&auth->used, &entry->by_use);
        *out = entry->principal;
        return OK;
    }
    if (entry != NULL) {
        entry_forget(auth, entry);
    }
    code = token_verify(auth, input, out, &expires_ms, err);
    if (code == OK) {
        entry_remember(auth, digest, expires_ms, out);
    }
    return code;
}

enum code
auth_verify(struct auth *auth, struct auth_input input, struct auth_principal *out, struct err *err)
{
    enum code code = OK;

    assert(auth != NULL);
    assert(out != NULL);
    if (input.token.len == 0 || input.token.len > AUTH_TOKEN_BYTES_MAX) {
        return refuse(err, "size");
    }
    code = cached_or_verified(auth, input, out, err);
    if (code == OK && auth_is_revoked(auth, str_from(out->session_id))) {
        return refuse(err, "session was ended");
    }
    if (code == OK && auth->undecided_ms != 0 && out->issued_ms <= auth->undecided_ms + SKEW_MS) {
        return refuse(err, "session may have ended: too many did to know them all");
    }
    return code;
}
