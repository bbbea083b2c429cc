#include "libcommon/io/ecdsa.h"

#include <assert.h>
#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/ecdsa.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <string.h>

#define POINT_BYTES 65 /* 04, x, y */
#define DER_BYTES   80

struct ecdsa_key {
    EVP_PKEY *pkey;
    uint8_t point[POINT_BYTES];
};

/* The public point of the scalar; false when the scalar is no private key of the group. */
static bool point_compute(const uint8_t scalar[ECDSA_SCALAR_BYTES], uint8_t out[POINT_BYTES])
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1);
    BIGNUM *d = BN_secure_new();
    EC_POINT *point = group == NULL ? NULL : EC_POINT_new(group);
    bool good =
        point != NULL && d != NULL && BN_bin2bn(scalar, ECDSA_SCALAR_BYTES, d) != NULL &&
        !BN_is_zero(d) && BN_cmp(d, EC_GROUP_get0_order(group)) < 0 &&
        EC_POINT_mul(group, point, d, NULL, NULL, NULL) == 1 &&
        EC_POINT_point2oct(group, point, POINT_CONVERSION_UNCOMPRESSED, out, POINT_BYTES, NULL) ==
            POINT_BYTES;

    EC_POINT_free(point);
    BN_clear_free(d);
    EC_GROUP_free(group);
    return good;
}

static OSSL_PARAM *key_parameters(BIGNUM *d, const uint8_t point[POINT_BYTES])
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM *parameters = NULL;

    assert(d != NULL);
    if (builder != NULL &&
        OSSL_PARAM_BLD_push_utf8_string(builder, OSSL_PKEY_PARAM_GROUP_NAME, "P-256", 0) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_PRIV_KEY, d) == 1 &&
        OSSL_PARAM_BLD_push_octet_string(builder, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_BYTES) ==
            1) {
        parameters = OSSL_PARAM_BLD_to_param(builder);
    }
    OSSL_PARAM_BLD_free(builder);
    return parameters;
}

static EVP_PKEY *pkey_make(const uint8_t scalar[ECDSA_SCALAR_BYTES],
                           const uint8_t point[POINT_BYTES])
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    BIGNUM *d = BN_secure_new();
    OSSL_PARAM *parameters = NULL;
    EVP_PKEY *pkey = NULL;

    if (d != NULL && BN_bin2bn(scalar, ECDSA_SCALAR_BYTES, d) != NULL) {
        parameters = key_parameters(d, point);
    }
    if (context != NULL && parameters != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_KEYPAIR, parameters) != 1) {
        pkey = NULL;
    }
    OSSL_PARAM_free(parameters);
    BN_clear_free(d);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

enum code
ecdsa_open(const uint8_t scalar[ECDSA_SCALAR_BYTES], struct ecdsa_key **out, struct err *err)
{
    struct ecdsa_key *key = calloc(1, sizeof *key);

    assert(scalar != NULL);
    assert(out != NULL);
    if (key == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for a key");
    }
    if (!point_compute(scalar, key->point)) {
        free(key);
        return err_set(err, ERR_INVALID, "the scalar is no private key of P-256");
    }
    key->pkey = pkey_make(scalar, key->point);
    if (key->pkey == NULL) {
        free(key);
        return err_set(err, ERR_INTERNAL, "the key could not be made");
    }
    *out = key;
    return OK;
}

void ecdsa_close(struct ecdsa_key **key)
{
    assert(key != NULL);
    if (*key != NULL) {
        EVP_PKEY_free((*key)->pkey);
        free(*key);
        *key = NULL;
    }
}

void ecdsa_public(const struct ecdsa_key *key, uint8_t x[32], uint8_t y[32])
{
    assert(key->point[0] == 0x04);
    assert(x != NULL);
    assert(y != NULL);
    memcpy(x, key->point + 1, 32);
    memcpy(y, key->point + 33, 32);
}

enum code ecdsa_public_pem(const struct ecdsa_key *key, struct buf *out, struct err *err)
{
    BIO *memory = BIO_new(BIO_s_mem());
    char *text = NULL;
    long length = 0;

    assert(key != NULL);
    assert(out != NULL);
    if (memory == NULL || PEM_write_bio_PUBKEY(memory, key->pkey) != 1) {
        BIO_free(memory);
        return err_set(err, ERR_INTERNAL, "the public key could not be written");
    }
    length = BIO_get_mem_data(memory, &text);
    buf_append(out, text, (size_t)length);
    BIO_free(memory);
    return out->overflow ? err_set(err, ERR_TOO_LARGE, "no room for the public key") : OK;
}

/* DER's two integers as two fixed fields. */
static bool
signature_flatten(const uint8_t *der, size_t der_len, uint8_t out[ECDSA_SIGNATURE_BYTES])
{
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &der, (long)der_len);
    bool good = signature != NULL && BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, 32) == 32 &&
                BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + 32, 32) == 32;

    assert(der_len > 0);
    ECDSA_SIG_free(signature);
    return good;
}

enum code ecdsa_sign(const struct ecdsa_key *key,
                     struct str message,
                     uint8_t out[ECDSA_SIGNATURE_BYTES],
                     struct err *err)
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t der[DER_BYTES];
    size_t der_len = sizeof der;
    bool good =
        context != NULL && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key->pkey) == 1 &&
        EVP_DigestSign(context, der, &der_len, (const unsigned char *)message.ptr, message.len) ==
            1 &&
        signature_flatten(der, der_len, out);

    EVP_MD_CTX_free(context);
    return good ? OK : err_set(err, ERR_INTERNAL, "the signature could not be made");
}

struct ecdsa_verifier {
    EVP_PKEY *pkey;
};

static EVP_PKEY *public_make(const uint8_t point[POINT_BYTES])
{
    static char group[] = "P-256";
    uint8_t own[POINT_BYTES]; /* OpenSSL takes no constants here */
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0),
        OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, own, POINT_BYTES),
        OSSL_PARAM_construct_end(),
    };
    EVP_PKEY *pkey = NULL;

    memcpy(own, point, sizeof own);
    if (context == NULL || EVP_PKEY_fromdata_init(context) != 1 ||
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, parameters) != 1) {
        pkey = NULL;
    }
    EVP_PKEY_CTX_free(context);
    return pkey;
}

static bool public_good(EVP_PKEY *pkey)
{
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_pkey(NULL, pkey, NULL);
    bool good = context != NULL && EVP_PKEY_public_check(context) == 1;

    EVP_PKEY_CTX_free(context);
    return good;
}

enum code ecdsa_verifier_open(const uint8_t x[32],
                              const uint8_t y[32],
                              struct ecdsa_verifier **out,
                              struct err *err)
{
    struct ecdsa_verifier *verifier = calloc(1, sizeof *verifier);
    uint8_t point[POINT_BYTES] = {0x04};

    assert(out != NULL);
    assert(x != NULL);
    assert(y != NULL);
    if (verifier == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for a key");
    }
    memcpy(point + 1, x, 32);
    memcpy(point + 33, y, 32);
    verifier->pkey = public_make(point);
    if (verifier->pkey == NULL || !public_good(verifier->pkey)) {
        ecdsa_verifier_close(&verifier);
        return err_set(err, ERR_INVALID, "the point is no public key of P-256");
    }
    *out = verifier;
    return OK;
}

void ecdsa_verifier_close(struct ecdsa_verifier **verifier)
{
    assert(verifier != NULL);
    if (*verifier != NULL) {
        EVP_PKEY_free((*verifier)->pkey);
        free(*verifier);
        *verifier = NULL;
    }
}

/* r and s as DER; 0 when they cannot be. */
static int signature_der(const uint8_t flat[ECDSA_SIGNATURE_BYTES], uint8_t out[DER_BYTES])
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(flat, 32, NULL);
    BIGNUM *s = BN_bin2bn(flat + 32, 32, NULL);
    int length = 0;

    if (signature == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(signature, r, s) != 1) {
        BN_free(r);
        BN_free(s);
    } else {
        length = i2d_ECDSA_SIG(signature, &out);
    }
    ECDSA_SIG_free(signature);
    return length > 0 ? length : 0;
}

bool ecdsa_verify(const struct ecdsa_verifier *verifier,
                  struct str message,
                  const uint8_t signature[ECDSA_SIGNATURE_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    uint8_t der[DER_BYTES];
    int der_len = signature_der(signature, der);
    bool good =
        context != NULL && der_len > 0 &&
        EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, verifier->pkey) == 1 &&
        EVP_DigestVerify(
            context, der, (size_t)der_len, (const unsigned char *)message.ptr, message.len) == 1;

    EVP_MD_CTX_free(context);
    return good;
}
