#include "libcommon/io/rsa.h"

#include <assert.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>
#include <stdlib.h>

#define EXPONENT_MIN      65537
#define EXPONENT_BITS_MAX 32

struct rsa_verifier {
    EVP_PKEY *pkey;
    size_t signature_bytes;
};

static BIGNUM *number(struct str bytes)
{
    assert(bytes.len <= RSA_SIGNATURE_BYTES);
    assert(bytes.ptr != NULL || bytes.len == 0);
    return BN_bin2bn((const unsigned char *)bytes.ptr, (int)bytes.len, NULL);
}

static bool fit(const BIGNUM *n, const BIGNUM *e)
{
    int bits = BN_num_bits(n);

    return bits >= RSA_BITS_MIN && bits <= RSA_BITS_MAX && BN_is_odd(n) && BN_is_odd(e) &&
           BN_num_bits(e) <= EXPONENT_BITS_MAX && BN_get_word(e) >= EXPONENT_MIN;
}

static EVP_PKEY *pkey_make(const BIGNUM *n, const BIGNUM *e)
{
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *context = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    OSSL_PARAM *parameters = NULL;
    EVP_PKEY *pkey = NULL;

    if (builder != NULL && OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
        OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e) == 1) {
        parameters = OSSL_PARAM_BLD_to_param(builder);
    }
    if (context != NULL && parameters != NULL && EVP_PKEY_fromdata_init(context) == 1 &&
        EVP_PKEY_fromdata(context, &pkey, EVP_PKEY_PUBLIC_KEY, parameters) != 1) {
        pkey = NULL;
    }
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(context);
    return pkey;
}

enum code rsa_verifier_open(struct str modulus,
                            struct str exponent,
                            struct rsa_verifier **out,
                            struct err *err)
{
    struct rsa_verifier *verifier = calloc(1, sizeof *verifier);
    bool bounded = modulus.len <= RSA_SIGNATURE_BYTES && exponent.len <= RSA_SIGNATURE_BYTES;
    BIGNUM *n = bounded ? number(modulus) : NULL;
    BIGNUM *e = bounded ? number(exponent) : NULL;
    bool good = n != NULL && e != NULL && fit(n, e);

    assert(out != NULL);
    if (verifier != NULL && good) {
        verifier->pkey = pkey_make(n, e);
        verifier->signature_bytes = (size_t)BN_num_bytes(n);
    }
    BN_free(n);
    BN_free(e);
    if (verifier == NULL || verifier->pkey == NULL) {
        rsa_verifier_close(&verifier);
        return good ? err_set(err, ERR_INTERNAL, "the RSA key could not be made")
                    : err_set(err, ERR_INVALID, "no RSA key of 2048 to 8192 bits");
    }
    *out = verifier;
    return OK;
}

void rsa_verifier_close(struct rsa_verifier **verifier)
{
    assert(verifier != NULL);
    if (*verifier != NULL) {
        EVP_PKEY_free((*verifier)->pkey);
        free(*verifier);
        *verifier = NULL;
    }
}

bool rsa_verify(const struct rsa_verifier *verifier, struct str message, struct str signature)
{
    EVP_MD_CTX *context = NULL;
    EVP_PKEY_CTX *padding = NULL; /* owned by the context */
    bool good = false;

    assert(verifier != NULL);
    assert(verifier->pkey != NULL);
    if (signature.len != verifier->signature_bytes) {
        return false;
    }
    context = EVP_MD_CTX_new();
    good = context != NULL &&
           EVP_DigestVerifyInit(context, &padding, EVP_sha256(), NULL, verifier->pkey) == 1 &&
           EVP_PKEY_CTX_set_rsa_padding(padding, RSA_PKCS1_PADDING) == 1 &&
           EVP_DigestVerify(context,
                            (const unsigned char *)signature.ptr,
                            signature.len,
                            (const unsigned char *)message.ptr,
                            message.len) == 1;
    EVP_MD_CTX_free(context);
    return good;
}
