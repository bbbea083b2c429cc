#include "tests/support/check.h"

#include "libcommon/io/digest.h"
#include "libcommon/io/ecdsa.h"

#include <jwt.h>

#include <string.h>

/* RFC 6979 A.2.5: the private key of P-256 and its public point. */
static const char scalar_hex[] = "c9afa9d845ba75166b5c215767b1d6934e50c3db36e89b127b8a622b120f6721";
static const char x_hex[] = "60fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6";
static const char y_hex[] = "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299";

static struct ecdsa_key *key_open(void)
{
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    size_t len = 0;
    struct ecdsa_key *key = NULL;
    struct err err = {.code = OK};

    assert_true(hex_decode(str_from(scalar_hex), scalar, sizeof scalar, &len));
    assert_int_equal(ecdsa_open(scalar, &key, &err), OK);
    return key;
}

static void public_point_is_that_of_the_rfc(void **state)
{
    struct ecdsa_key *key = key_open();
    uint8_t x[32];
    uint8_t y[32];
    char hex[65];

    (void)state;
    ecdsa_public(key, x, y);
    hex_encode(x, sizeof x, hex);
    assert_string_equal(hex, x_hex);
    hex_encode(y, sizeof y, hex);
    assert_string_equal(hex, y_hex);
    ecdsa_close(&key);
    assert_null(key);
}

static void scalars_outside_the_group_are_refused(void **state)
{
    uint8_t scalar[ECDSA_SCALAR_BYTES] = {0};
    struct ecdsa_key *key = NULL;
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(ecdsa_open(scalar, &key, &err), ERR_INVALID);
    memset(scalar, 0xff, sizeof scalar);
    memset(&err, 0, sizeof err);
    assert_int_equal(ecdsa_open(scalar, &key, &err), ERR_INVALID);
    assert_null(key);
}

/* The signature passes a verifier that is not ours, and a changed message does not. */
static void another_library_verifies(void **state)
{
    struct ecdsa_key *key = key_open();
    char pem_memory[512];
    char text[512];
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct buf pem = buf_over(pem_memory, sizeof pem_memory);
    struct buf token = buf_over(text, sizeof text);
    struct err err = {.code = OK};
    jwt_t *jwt = NULL;

    (void)state;
    assert_int_equal(ecdsa_public_pem(key, &pem, &err), OK);
    buf_text(&token, "eyJhbGciOiJFUzI1NiJ9.eyJhIjoxfQ");
    assert_int_equal(ecdsa_sign(key, buf_view(&token), signature, &err), OK);
    buf_char(&token, '.');
    buf_commit(&token, base64url_encode(signature, sizeof signature, buf_reserve(&token, 88), 88));
    assert_true(buf_terminate(&token));
    assert_int_equal(jwt_decode(&jwt, text, (const unsigned char *)pem.ptr, (int)pem.len), 0);
    assert_int_equal(jwt_get_grant_int(jwt, "a"), 1);
    jwt_free(jwt);
    text[25] ^= 1;
    assert_int_not_equal(jwt_decode(&jwt, text, (const unsigned char *)pem.ptr, (int)pem.len), 0);
    ecdsa_close(&key);
}

static void own_verifier_agrees(void **state)
{
    struct ecdsa_key *key = key_open();
    struct ecdsa_verifier *verifier = NULL;
    uint8_t x[32];
    uint8_t y[32];
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct err err = {.code = OK};

    (void)state;
    ecdsa_public(key, x, y);
    assert_int_equal(ecdsa_verifier_open(x, y, &verifier, &err), OK);
    assert_int_equal(ecdsa_sign(key, STR("message"), signature, &err), OK);
    assert_true(ecdsa_verify(verifier, STR("message"), signature));
    assert_false(ecdsa_verify(verifier, STR("massage"), signature));
    for (size_t i = 0; i < sizeof signature; i++) {
        signature[i] ^= 0x10;
        assert_row(i, !ecdsa_verify(verifier, STR("message"), signature));
        signature[i] ^= 0x10;
    }
    memset(signature, 0, sizeof signature);
    assert_false(ecdsa_verify(verifier, STR("message"), signature));
    ecdsa_verifier_close(&verifier);
    y[0] ^= 1;
    assert_int_equal(ecdsa_verifier_open(x, y, &verifier, &err), ERR_INVALID);
    assert_null(verifier);
    ecdsa_close(&key);
}

static void small_buffers_are_refused(void **state)
{
    struct ecdsa_key *key = key_open();
    char memory[20];
    struct buf pem = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(ecdsa_public_pem(key, &pem, &err), ERR_TOO_LARGE);
    ecdsa_close(&key);
}

/* FIPS 180-4 examples. */
static void digests(void **state)
{
    uint8_t digest[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];

    (void)state;
    sha256(STR("abc"), digest);
    hex_encode(digest, sizeof digest, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    sha256(STR_EMPTY, digest);
    hex_encode(digest, sizeof digest, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_point_is_that_of_the_rfc),
        cmocka_unit_test(scalars_outside_the_group_are_refused),
        cmocka_unit_test(another_library_verifies),
        cmocka_unit_test(own_verifier_agrees),
        cmocka_unit_test(small_buffers_are_refused),
        cmocka_unit_test(digests),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
