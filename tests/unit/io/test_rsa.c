#include "tests/support/check.h"
#include "tests/support/suites.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/rsa.h"

#include <jansson.h>
#include <string.h>

static struct arena_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    return pool == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_pool_close(&pool);
    return 0;
}

static enum code open_text(const char *n, const char *e, struct rsa_verifier **out)
{
    uint8_t modulus[2048];
    uint8_t exponent[16];
    size_t modulus_len = 0;
    size_t exponent_len = 0;
    struct err err = {.code = OK};

    assert_true(base64url_decode(str_from(n), modulus, sizeof modulus, &modulus_len));
    assert_true(base64url_decode(str_from(e), exponent, sizeof exponent, &exponent_len));
    return rsa_verifier_open((struct str){(const char *)modulus, modulus_len},
                             (struct str){(const char *)exponent, exponent_len},
                             out,
                             &err);
}

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

/* True when the header says RS256 and this kid, and the signature is good. */
static bool verifies(const struct rsa_verifier *verifier, const char *jws, const char *kid)
{
    struct str rest = str_from(jws);
    struct str header = STR_EMPTY;
    struct str claims = STR_EMPTY;
    char json[4096];
    uint8_t signature[RSA_SIGNATURE_BYTES];
    size_t json_len = 0;
    size_t len = 0;
    bool good = false;

    if (!str_split(&rest, '.', &header) || !str_split(&rest, '.', &claims) ||
        !base64url_decode(header, (uint8_t *)json, sizeof json, &json_len) ||
        !base64url_decode(rest, signature, sizeof signature, &len)) {
        return false;
    }
    json_t *read = json_loadb(json, json_len, JSON_REJECT_DUPLICATES, NULL);
    good = read != NULL && strcmp(text_of(read, "alg"), "RS256") == 0 &&
           strcmp(text_of(read, "kid"), kid) == 0 &&
           rsa_verify(verifier,
                      str_sub(str_from(jws), 0, header.len + 1 + claims.len),
                      (struct str){(const char *)signature, len});
    json_decref(read);
    return good;
}

/* Every RS256 vector, most of them about the padding. */
static void vectors_of_others_are_judged_as_they_say(void **state)
{
    struct arena *arena = arena_open(pool, (size_t)8 * 1024 * 1024);
    struct str text = suite_file(arena, "wycheproof", "json_web_signature_test.json");
    json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
    size_t vectors = 0;
    size_t good = 0;
    size_t at = 0;
    size_t i = 0;
    json_t *group = NULL;
    json_t *test = NULL;

    (void)state;
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "testGroups"), at, group)
    {
        const json_t *key = json_object_get(group, "public");
        struct rsa_verifier *verifier = NULL;

        if (strcmp(text_of(key, "alg"), "RS256") != 0) {
            continue;
        }
        assert_int_equal(open_text(text_of(key, "n"), text_of(key, "e"), &verifier), OK);
        json_array_foreach(json_object_get(group, "tests"), i, test)
        {
            bool valid = strcmp(text_of(test, "result"), "valid") == 0;

            vectors++;
            good += valid ? 1 : 0;
            assert_row((size_t)json_integer_value(json_object_get(test, "tcId")),
                       verifies(verifier, text_of(test, "jws"), text_of(key, "kid")) == valid);
        }
        rsa_verifier_close(&verifier);
    }
    print_message("%zu vectors, %zu of them good\n", vectors, good);
    assert_true(good > 0);
    assert_true(vectors > good);
    json_decref(root);
    arena_dispose(&arena);
}

static enum code open_bytes(size_t modulus_len, uint8_t first, uint8_t last, struct str exponent)
{
    static uint8_t modulus[RSA_SIGNATURE_BYTES + 1];
    struct rsa_verifier *verifier = NULL;
    struct err err = {.code = OK};
    enum code code = OK;

    memset(modulus, 0x55, sizeof modulus);
    modulus[0] = first;
    modulus[modulus_len - 1] = last;
    code = rsa_verifier_open(
        (struct str){(const char *)modulus, modulus_len}, exponent, &verifier, &err);
    rsa_verifier_close(&verifier);
    return code;
}

static void weak_and_huge_keys_are_refused(void **state)
{
    const struct str common = {"\x01\x00\x01", 3};

    (void)state;
    assert_int_equal(open_bytes(256, 0x80, 1, common), OK);
    assert_int_equal(open_bytes(256, 0x7f, 1, common), ERR_INVALID); /* 2047 bits */
    assert_int_equal(open_bytes(128, 0x80, 1, common), ERR_INVALID);
    assert_int_equal(open_bytes(256, 0x80, 2, common), ERR_INVALID); /* even */
    assert_int_equal(open_bytes(1024, 0x80, 1, common), OK);
    assert_int_equal(open_bytes(1025, 0x01, 1, common), ERR_INVALID);
    assert_int_equal(open_bytes(256, 0x80, 1, (struct str){"\x01", 1}), ERR_INVALID);
    assert_int_equal(open_bytes(256, 0x80, 1, (struct str){"\x03", 1}), ERR_INVALID);
    assert_int_equal(open_bytes(256, 0x80, 1, (struct str){"\x01\x00\x00", 3}), ERR_INVALID);
    assert_int_equal(open_bytes(256, 0x80, 1, (struct str){"\x01\x00\x00\x00\x01", 5}),
                     ERR_INVALID);
    assert_int_equal(open_bytes(256, 0x80, 1, STR_EMPTY), ERR_INVALID);
}

/* The vectors about keys: those of RSA that we can tell by their numbers. */
static void short_keys_and_exponent_one_of_the_vectors_are_refused(void **state)
{
    struct arena *arena = arena_open(pool, (size_t)8 * 1024 * 1024);
    struct str text = suite_file(arena, "wycheproof", "json_web_key_test.json");
    json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
    size_t at = 0;
    size_t seen = 0;
    json_t *group = NULL;

    (void)state;
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "testGroups"), at, group)
    {
        const json_t *test = json_array_get(json_object_get(group, "tests"), 0);
        const char *comment = text_of(test, "comment");

        if (strcmp(comment, "rejects1024bitRsaKey") == 0 ||
            strcmp(comment, "rejectsPublicExponent1") == 0) {
            const json_t *key =
                json_array_get(json_object_get(json_object_get(group, "public"), "keys"), 0);
            struct rsa_verifier *verifier = NULL;

            seen++;
            assert_int_equal(open_text(text_of(key, "n"), text_of(key, "e"), &verifier),
                             ERR_INVALID);
        }
    }
    assert_int_equal(seen, 2);
    json_decref(root);
    arena_dispose(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vectors_of_others_are_judged_as_they_say),
        cmocka_unit_test(weak_and_huge_keys_are_refused),
        cmocka_unit_test(short_keys_and_exponent_one_of_the_vectors_are_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
