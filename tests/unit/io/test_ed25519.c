#include "tests/support/check.h"

#include "libcommon/io/ed25519.h"

#include <string.h>

/* RFC 8032 7.1: tests 1 to 3. */
static const struct {
    const char *seed;
    const char *key;
    const char *message;
    const char *signature;
} vectors[] = {
    {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
     "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
     "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
    {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
     "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
     "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
    {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
     "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
     "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"},
};

struct unpacked {
    uint8_t seed[ED25519_KEY_BYTES];
    uint8_t key[ED25519_KEY_BYTES];
    uint8_t message[8];
    size_t message_len;
    uint8_t signature[ED25519_SIGNATURE_BYTES];
};

static void unpack(size_t row, struct unpacked *out)
{
    size_t len = 0;

    assert_true(hex_decode(str_from(vectors[row].seed), out->seed, sizeof out->seed, &len));
    assert_true(hex_decode(str_from(vectors[row].key), out->key, sizeof out->key, &len));
    assert_true(
        hex_decode(str_from(vectors[row].signature), out->signature, sizeof out->signature, &len));
    assert_true(hex_decode(
        str_from(vectors[row].message), out->message, sizeof out->message, &out->message_len));
}

static void meets_the_vectors(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        struct unpacked v;
        uint8_t key[ED25519_KEY_BYTES];
        uint8_t signature[ED25519_SIGNATURE_BYTES];
        struct str message;

        unpack(i, &v);
        message = (struct str){(const char *)v.message, v.message_len};
        ed25519_public(v.seed, key);
        assert_memory_equal(key, v.key, sizeof key);
        ed25519_sign(v.seed, message, signature);
        assert_memory_equal(signature, v.signature, sizeof signature);
        assert_row(i, ed25519_verify(key, message, signature));
    }
}

static void refuses_what_is_changed(void **state)
{
    struct unpacked v;
    struct str message;

    (void)state;
    unpack(2, &v);
    message = (struct str){(const char *)v.message, v.message_len};
    for (size_t i = 0; i < 8 * sizeof v.signature; i++) {
        v.signature[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_row(i, !ed25519_verify(v.key, message, v.signature));
        v.signature[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t i = 0; i < 8 * sizeof v.key; i++) {
        v.key[i / 8] ^= (uint8_t)(1u << i % 8);
        assert_row(i, !ed25519_verify(v.key, message, v.signature));
        v.key[i / 8] ^= (uint8_t)(1u << i % 8);
    }
    assert_false(ed25519_verify(v.key, str_sub(message, 0, 1), v.signature));
    assert_false(ed25519_verify(v.key, STR_EMPTY, v.signature));
    assert_true(ed25519_verify(v.key, message, v.signature));
}

static void generated_keys_differ_and_work(void **state)
{
    uint8_t seeds[2][ED25519_KEY_BYTES];
    uint8_t keys[2][ED25519_KEY_BYTES];
    uint8_t signature[ED25519_SIGNATURE_BYTES];

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        ed25519_generate(seeds[i]);
        ed25519_public(seeds[i], keys[i]);
    }
    assert_memory_not_equal(seeds[0], seeds[1], sizeof seeds[0]);
    ed25519_sign(seeds[0], STR("x"), signature);
    assert_true(ed25519_verify(keys[0], STR("x"), signature));
    assert_false(ed25519_verify(keys[1], STR("x"), signature));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(meets_the_vectors),
        cmocka_unit_test(refuses_what_is_changed),
        cmocka_unit_test(generated_keys_differ_and_work),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
