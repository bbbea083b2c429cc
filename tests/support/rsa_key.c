#include "tests/support/rsa_key.h"

#include "tests/support/check.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <string.h>

#define NUMBER_BYTES 1024

struct rsa_key {
    EVP_PKEY *pkey;
};

struct rsa_key *rsa_key_make(unsigned bits)
{
    struct rsa_key *key = malloc(sizeof *key);

    assert_non_null(key);
    key->pkey = EVP_RSA_gen(bits);
    assert_non_null(key->pkey);
    return key;
}

void rsa_key_free(struct rsa_key **key)
{
    EVP_PKEY_free((*key)->pkey);
    free(*key);
    *key = NULL;
}

static void put_part(struct buf *out, const void *bytes, size_t len)
{
    char *room = buf_reserve(out, len * 2 + 4);

    assert_non_null(room);
    buf_commit(out, base64url_encode(bytes, len, room, len * 2 + 4));
}

static void put_number(const struct rsa_key *key, const char *name, struct buf *out)
{
    uint8_t bytes[NUMBER_BYTES];
    BIGNUM *number = NULL;

    assert_int_equal(EVP_PKEY_get_bn_param(key->pkey, name, &number), 1);
    assert_true(BN_num_bytes(number) <= NUMBER_BYTES);
    put_part(out, bytes, (size_t)BN_bn2bin(number, bytes));
    BN_free(number);
}

void rsa_key_jwk(const struct rsa_key *key, const char *kid, const char *more, struct buf *out)
{
    buf_printf(out, "{\"kty\":\"RSA\",\"kid\":\"%s\",\"n\":\"", kid);
    put_number(key, OSSL_PKEY_PARAM_RSA_N, out);
    buf_text(out, "\",\"e\":\"");
    put_number(key, OSSL_PKEY_PARAM_RSA_E, out);
    buf_printf(out, "\"%s}", more);
    assert_false(out->overflow);
}

void rsa_key_token(const struct rsa_key *key,
                   const char *header,
                   const char *claims,
                   struct buf *out)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t signature[NUMBER_BYTES];
    size_t len = sizeof signature;
    size_t begin = out->len;
    struct str covered;

    assert_non_null(context);
    put_part(out, header, strlen(header));
    buf_char(out, '.');
    put_part(out, claims, strlen(claims));
    covered = str_sub(buf_view(out), begin, out->len);
    assert_int_equal(EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pkey), 1);
    assert_int_equal(
        EVP_DigestSign(context, signature, &len, (const unsigned char *)covered.ptr, covered.len),
        1);
    EVP_MD_CTX_free(context);
    buf_char(out, '.');
    put_part(out, signature, len);
    assert_false(out->overflow);
}
