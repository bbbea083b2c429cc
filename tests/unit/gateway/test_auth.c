#include "avanta/identity.pb-c.h"
#include "gateway/auth.h"
#include "tests/support/check.h"

#include "libcommon/base/limits.h"

#include <stdio.h>
#include <string.h>

#define NOW_MS UINT64_C(1795000000000)
#define HEADER "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}"
#define CLAIMS                                                                                    \
    "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\"," \
    "\"email\":\"ana@example.com\",\"nbf\":1795000000,\"exp\":1795000900}"

/* Good ones but for their times. */
#define OURS                                                                                     \
    "\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\"," \
    "\"email\":\"a@b.mx\","

struct rig {
    struct arena_pool *pool;
    struct arena *arena;
    struct ecdsa_key *key;
    struct key_set keys;
    struct auth *auth;
};

static struct ecdsa_key *key_of(uint8_t fill)
{
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    struct ecdsa_key *key = NULL;
    struct err err = {.code = OK};

    memset(scalar, fill, sizeof scalar);
    assert_int_equal(ecdsa_open(scalar, &key, &err), OK);
    return key;
}

#define COORDINATE_BYTES 44

/* As k1 and, when there is one, k2. */
static void
keys_publish_both(struct rig *rig, const struct ecdsa_key *first, const struct ecdsa_key *second)
{
    static char kids[2][3] = {"k1", "k2"};
    const struct ecdsa_key *const keys[] = {first, second};
    Avanta__Identity__GetKeysReply reply = AVANTA__IDENTITY__GET_KEYS_REPLY__INIT;
    Avanta__Identity__Key rows[2];
    Avanta__Identity__Key *list[] = {&rows[0], &rows[1]};
    char text[2][2][COORDINATE_BYTES];

    reply.keys = list;
    reply.n_keys = second == NULL ? 1 : 2;
    for (size_t i = 0; i < reply.n_keys; i++) {
        uint8_t x[32];
        uint8_t y[32];

        ecdsa_public(keys[i], x, y);
        (void)base64url_encode(x, sizeof x, text[i][0], COORDINATE_BYTES);
        (void)base64url_encode(y, sizeof y, text[i][1], COORDINATE_BYTES);
        avanta__identity__key__init(&rows[i]);
        rows[i].kid = kids[i];
        rows[i].x = text[i][0];
        rows[i].y = text[i][1];
    }
    key_set_replace(&rig->keys, &reply);
    assert_int_equal(rig->keys.count, reply.n_keys);
}

static void keys_publish(struct rig *rig, const struct ecdsa_key *key)
{
    keys_publish_both(rig, key, NULL);
}

static int setup(void **state)
{
    static struct rig rig;
    static const struct rig empty;
    const struct auth_options options = {"avanta", "avanta-api", &rig.keys};

    rig = empty;
    rig.pool = arena_pool_open(ARENA_CHUNK_BYTES, 256);
    rig.arena = arena_open(rig.pool, 2 * 1024 * 1024);
    rig.key = key_of(7);
    rig.auth = auth_open(&options);
    keys_publish(&rig, rig.key);
    *state = &rig;
    return rig.auth == NULL || rig.arena == NULL;
}

static int teardown(void **state)
{
    struct rig *rig = *state;

    auth_close(&rig->auth);
    key_set_clear(&rig->keys);
    ecdsa_close(&rig->key);
    arena_dispose(&rig->arena);
    arena_pool_close(&rig->pool);
    return 0;
}

static void put_part(struct buf *b, const void *bytes, size_t len)
{
    char *room = buf_reserve(b, len * 2 + 4);

    assert_non_null(room);
    buf_commit(b, base64url_encode(bytes, len, room, len * 2 + 4));
}

static struct str
token_of(struct rig *rig, const struct ecdsa_key *key, const char *header, const char *claims)
{
    char *memory = arena_alloc(rig->arena, 8192);
    struct buf b = buf_over(memory, 8192);
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct err err = {.code = OK};

    put_part(&b, header, strlen(header));
    buf_char(&b, '.');
    put_part(&b, claims, strlen(claims));
    assert_int_equal(ecdsa_sign(key, buf_view(&b), signature, &err), OK);
    buf_char(&b, '.');
    put_part(&b, signature, sizeof signature);
    assert_false(b.overflow);
    return buf_view(&b);
}

static enum code verify(struct rig *rig, struct str token, uint64_t now_ms)
{
    struct auth_principal principal;
    struct err err = {.code = OK};

    return auth_verify(
        rig->auth, (struct auth_input){token, now_ms, rig->arena, NULL}, &principal, &err);
}

static void a_good_token_names_its_caller(void **state)
{
    struct rig *rig = *state;
    struct str token = token_of(rig, rig->key, HEADER, CLAIMS);
    struct auth_principal principal;
    struct err err = {.code = OK};

    for (int i = 0; i < 2; i++) { /* verified, then from the cache */
        memset(&principal, 0, sizeof principal);
        assert_int_equal(
            auth_verify(
                rig->auth, (struct auth_input){token, NOW_MS, rig->arena, NULL}, &principal, &err),
            OK);
        assert_string_equal(principal.user_id, "u1");
        assert_string_equal(principal.role, "user");
        assert_string_equal(principal.session_id, "s1");
        assert_string_equal(principal.email, "ana@example.com");
    }
}

static void a_token_is_verified_once(void **state)
{
    struct rig *rig = *state;
    struct str token = token_of(rig, rig->key, HEADER, CLAIMS);

    for (int i = 0; i < 5; i++) {
        assert_int_equal(verify(rig, token, NOW_MS), OK);
    }
    assert_int_equal(auth_verifications(rig->auth), 1);
    assert_int_equal(verify(rig, STR("a.b.c"), NOW_MS), ERR_UNAUTHENTICATED);
    assert_int_equal(auth_verifications(rig->auth), 1); /* nothing to verify */
}

static void a_cached_token_still_expires(void **state)
{
    struct rig *rig = *state;
    struct str token = token_of(rig, rig->key, HEADER, CLAIMS);

    assert_int_equal(verify(rig, token, UINT64_C(1795000899999)), OK);
    assert_int_equal(verify(rig, token, UINT64_C(1795000900000)), ERR_UNAUTHENTICATED);
}

static void wrong_headers_are_refused(void **state)
{
    static const char *const headers[] = {
        "{\"alg\":\"none\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"ES384\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"ES256\",\"typ\":\"JWT\",\"kid\":\"k1\"}",
        "{\"alg\":\"ES256\",\"kid\":\"k1\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"other\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"crit\":[\"b64\"]}",
        "{\"alg\":\"ES256\",\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"kid\":\"k1\"}",
        "{\"alg\":\"es256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":[\"ES256\"],\"typ\":\"at+jwt\",\"kid\":\"k1\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"crit\":[]}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"crit\":null}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\\u0000\"}",
        "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\"}{}",
        "[]",
        "null",
        "not json",
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(headers); i++) {
        assert_row(i,
                   verify(rig, token_of(rig, rig->key, headers[i], CLAIMS), NOW_MS) ==
                       ERR_UNAUTHENTICATED);
    }
}

static void wrong_claims_are_refused(void **state)
{
    static const char *const claims[] = {
        "{}",
        "{\"iss\":\"other\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\","
        "\"email\":\"a@b.mx\",\"exp\":1795000900}",
        "{\"iss\":\"avanta\",\"aud\":\"other\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\","
        "\"email\":\"a@b.mx\",\"exp\":1795000900}",
        "{\"iss\":\"avanta\",\"aud\":[\"avanta-api\"],\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\","
        "\"email\":\"a@b.mx\",\"exp\":1795000900}",
        "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\","
        "\"email\":\"a@b.mx\"}",
        "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\","
        "\"email\":\"a@b.mx\",\"exp\":1795000000}",
        "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\",\"sid\":\"s1\","
        "\"email\":\"a@b.mx\",\"exp\":1795000900,\"nbf\":1795000002}",
        "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"role\":\"user\",\"sid\":\"s1\",\"email\":\"a@b.mx\","
        "\"exp\":1795000900}",
        /* made in the future; good for longer than ours; the same, without saying since when */
        "{" OURS "\"exp\":1795000900,\"iat\":1795000002}",
        "{" OURS "\"exp\":1795000100,\"nbf\":1794999199}",
        "{" OURS "\"exp\":1795000100,\"iat\":1794999199}",
        "{" OURS "\"exp\":1795000902}",
        "{" OURS "\"exp\":1795000900,\"exp\":1795000900}",
        "{" OURS "\"exp\":1795000900.5}",
        "{" OURS "\"exp\":-1}",
        "{" OURS "\"exp\":18446744073709551615}",
        "{" OURS "\"exp\":1795000900,\"nbf\":-1}",
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        assert_row(i,
                   verify(rig, token_of(rig, rig->key, HEADER, claims[i]), NOW_MS) ==
                       ERR_UNAUTHENTICATED);
    }
}

/* What bounds the times is not off by one. */
static void times_at_their_bounds_are_taken(void **state)
{
    static const char *const claims[] = {
        "{" OURS "\"exp\":1795000901}",
        "{" OURS "\"exp\":1795000001,\"nbf\":1794999101,\"iat\":1794999101}",
        "{" OURS "\"exp\":1795000900,\"nbf\":1795000001,\"iat\":1795000001}",
    };
    struct rig *rig = *state;

    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        assert_row(i, verify(rig, token_of(rig, rig->key, HEADER, claims[i]), NOW_MS) == OK);
    }
}

static void a_long_header_is_not_read(void **state)
{
    struct rig *rig = *state;
    char header[AUTH_HEADER_BYTES_MAX];

    for (int length = 200; length < 450; length += 50) {
        bool fits = 4 * (length + 52) / 3 <= AUTH_HEADER_BYTES_MAX;

        (void)snprintf(header,
                       sizeof header,
                       "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k1\",\"x\":\"%0*d\"}",
                       length,
                       0);
        assert_row((size_t)length,
                   (verify(rig, token_of(rig, rig->key, header, CLAIMS), NOW_MS) == OK) == fits);
    }
}

static bool key_unknown(struct rig *rig, struct str token, const char *why)
{
    struct auth_principal principal;
    struct err err = {.code = OK};
    bool unknown = false;

    assert_int_equal(
        auth_verify(
            rig->auth, (struct auth_input){token, NOW_MS, rig->arena, &unknown}, &principal, &err),
        ERR_UNAUTHENTICATED);
    assert_string_equal(err.text, why);
    return unknown;
}

/* Only a token that could be ours is worth asking for its key. */
static void an_unknown_key_is_told_apart(void **state)
{
    struct rig *rig = *state;
    struct ecdsa_key *other = key_of(9);

    assert_true(key_unknown(
        rig,
        token_of(rig, other, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"k2\"}", CLAIMS),
        "unknown key"));
    assert_false(key_unknown(
        rig, token_of(rig, other, "{\"alg\":\"ES256\",\"kid\":\"k2\"}", CLAIMS), "unknown key"));
    assert_false(key_unknown(
        rig,
        token_of(rig, other, "{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"kid\":\"k2\"}", CLAIMS),
        "algorithm"));
    assert_false(key_unknown(rig, token_of(rig, other, HEADER, CLAIMS), "signature"));
    assert_false(key_unknown(
        rig, token_of(rig, rig->key, "{\"alg\":\"ES256\",\"kid\":\"k1\"}", CLAIMS), "type"));
    assert_false(key_unknown(rig, token_of(rig, rig->key, HEADER, "{}"), "claims"));
    ecdsa_close(&other);
}

static void wrong_signatures_and_forms_are_refused(void **state)
{
    static const char *const texts[] = {"", ".", "..", "...", "a.b.c", "abc", "a.b", "....."};
    struct rig *rig = *state;
    struct ecdsa_key *other = key_of(9);
    struct str good = token_of(rig, rig->key, HEADER, CLAIMS);
    char *bytes = (char *)(uintptr_t)good.ptr;

    assert_int_equal(verify(rig, token_of(rig, other, HEADER, CLAIMS), NOW_MS),
                     ERR_UNAUTHENTICATED);
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_row(i, verify(rig, str_from(texts[i]), NOW_MS) == ERR_UNAUTHENTICATED);
    }
    assert_int_equal(verify(rig, str_sub(good, 0, good.len - 1), NOW_MS), ERR_UNAUTHENTICATED);
    for (size_t i = 0; i < good.len; i += 7) {
        char kept = bytes[i];

        bytes[i] = kept == 'A' ? 'Q' : 'A';
        assert_row(i, verify(rig, good, NOW_MS) == ERR_UNAUTHENTICATED);
        bytes[i] = kept;
    }
    assert_int_equal(verify(rig, good, NOW_MS), OK);
    ecdsa_close(&other);
}

static void an_ended_session_is_refused_at_once(void **state)
{
    struct rig *rig = *state;
    struct str token = token_of(rig, rig->key, HEADER, CLAIMS);

    assert_int_equal(verify(rig, token, NOW_MS), OK);
    assert_true(auth_revoke(rig->auth, STR("another"), NOW_MS));
    assert_int_equal(verify(rig, token, NOW_MS), OK);
    assert_true(auth_revoke(rig->auth, STR("s1"), NOW_MS));
    assert_int_equal(verify(rig, token, NOW_MS), ERR_UNAUTHENTICATED);
}

static struct str token_issued(struct rig *rig, const char *session_id, uint64_t at_s)
{
    char claims[512];

    (void)snprintf(claims,
                   sizeof claims,
                   "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u1\",\"role\":\"user\","
                   "\"sid\":\"%s\",\"email\":\"ana@example.com\",\"nbf\":%llu,\"exp\":%llu}",
                   session_id,
                   (unsigned long long)at_s,
                   (unsigned long long)at_s + 900);
    return token_of(rig, rig->key, HEADER, claims);
}

/* One more than there is room for: what was forgotten is still refused, with what is as old. */
static void a_full_table_of_ended_sessions_fails_closed(void **state)
{
    struct rig *rig = *state;
    const uint64_t now_s = NOW_MS / 1000;
    char id[32];

    assert_int_equal(verify(rig, token_issued(rig, "s1", now_s - 5), NOW_MS), OK);
    assert_true(auth_revoke(rig->auth, STR("s1"), NOW_MS));
    for (uint32_t i = 1; i < AUTH_REVOKED_MAX; i++) {
        (void)snprintf(id, sizeof id, "filler-%u", i);
        assert_true(auth_revoke(rig->auth, str_from(id), NOW_MS + 10000));
    }
    assert_int_equal(verify(rig, token_issued(rig, "s2", now_s - 5), NOW_MS + 10000), OK);
    assert_false(auth_revoke(rig->auth, STR("s3"), NOW_MS + 10000));
    assert_int_equal(verify(rig, token_issued(rig, "s1", now_s - 5), NOW_MS + 10000),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(verify(rig, token_issued(rig, "s3", now_s + 9), NOW_MS + 10000),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(verify(rig, token_issued(rig, "filler-1", now_s + 9), NOW_MS + 10000),
                     ERR_UNAUTHENTICATED);
    /* Whether this one is of a forgotten session cannot be known; its next token passes. */
    assert_int_equal(verify(rig, token_issued(rig, "s2", now_s - 5), NOW_MS + 10000),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(verify(rig, token_issued(rig, "s2", now_s + 5), NOW_MS + 10000), OK);
}

static void expired_revocations_make_room(void **state)
{
    struct rig *rig = *state;
    const uint64_t later_ms = NOW_MS + AUTH_TOKEN_LIFE_MS;
    char id[32];

    for (uint32_t i = 0; i < AUTH_REVOKED_MAX; i++) {
        (void)snprintf(id, sizeof id, "filler-%u", i);
        assert_true(auth_revoke(rig->auth, str_from(id), NOW_MS));
    }
    assert_true(auth_revoke(rig->auth, STR("s3"), later_ms));
    assert_int_equal(verify(rig, token_issued(rig, "s2", NOW_MS / 1000 + 1), later_ms), OK);
}

static void sessions_that_ended_unlisted_are_refused(void **state)
{
    struct rig *rig = *state;
    const uint64_t now_s = NOW_MS / 1000;

    auth_refuse_issued_until(rig->auth, NOW_MS - 60000);
    assert_int_equal(verify(rig, token_issued(rig, "s1", now_s - 61), NOW_MS), ERR_UNAUTHENTICATED);
    assert_int_equal(verify(rig, token_issued(rig, "s1", now_s - 50), NOW_MS), OK);
    auth_refuse_issued_until(rig->auth, NOW_MS - 120000); /* never back */
    assert_int_equal(verify(rig, token_issued(rig, "s1", now_s - 61), NOW_MS), ERR_UNAUTHENTICATED);
}

static void a_replaced_key_no_longer_verifies(void **state)
{
    struct rig *rig = *state;
    struct ecdsa_key *next = key_of(11);
    struct str old = token_of(rig, rig->key, HEADER, CLAIMS);

    assert_int_equal(verify(rig, old, NOW_MS), OK); /* remembered from now on */
    keys_publish(rig, next);
    assert_int_equal(verify(rig, old, NOW_MS), ERR_UNAUTHENTICATED);
    assert_int_equal(verify(rig, token_of(rig, next, HEADER, CLAIMS), NOW_MS), OK);
    ecdsa_close(&next);
}

static void only_a_key_that_is_gone_counts_as_loss(void **state)
{
    struct rig *rig = *state;
    struct ecdsa_key *next = key_of(11);
    uint64_t losses = rig->keys.losses;

    keys_publish_both(rig, rig->key, next); /* one more */
    assert_int_equal(rig->keys.losses, losses);
    keys_publish_both(rig, rig->key, next); /* the same */
    assert_int_equal(rig->keys.losses, losses);
    keys_publish(rig, rig->key); /* k2 is gone */
    assert_int_equal(rig->keys.losses, losses + 1);
    keys_publish(rig, next); /* k1 is another key */
    assert_int_equal(rig->keys.losses, losses + 2);
    ecdsa_close(&next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_token_names_its_caller, setup, teardown),
        cmocka_unit_test_setup_teardown(a_token_is_verified_once, setup, teardown),
        cmocka_unit_test_setup_teardown(a_cached_token_still_expires, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_headers_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_claims_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(times_at_their_bounds_are_taken, setup, teardown),
        cmocka_unit_test_setup_teardown(a_long_header_is_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(an_unknown_key_is_told_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(wrong_signatures_and_forms_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(an_ended_session_is_refused_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(
            a_full_table_of_ended_sessions_fails_closed, setup, teardown),
        cmocka_unit_test_setup_teardown(expired_revocations_make_room, setup, teardown),
        cmocka_unit_test_setup_teardown(sessions_that_ended_unlisted_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_replaced_key_no_longer_verifies, setup, teardown),
        cmocka_unit_test_setup_teardown(only_a_key_that_is_gone_counts_as_loss, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
