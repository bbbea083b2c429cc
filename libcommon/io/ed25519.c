#include "libcommon/io/ed25519.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>

void ed25519_generate(uint8_t out_seed[ED25519_KEY_BYTES])
{
    assert(out_seed != NULL);
    random_bytes(out_seed, ED25519_KEY_BYTES);
}

/* Freed keys are wiped by OpenSSL. Every 32 bytes are a seed, so that only memory can be missing.
 */
static EVP_PKEY *private_key(const uint8_t seed[ED25519_KEY_BYTES])
{
    EVP_PKEY *key = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, NULL, seed, ED25519_KEY_BYTES);

    assert(seed != NULL);
    if (key == NULL) {
        abort(); /* the library itself is broken */
    }
    return key;
}

void ed25519_public(const uint8_t seed[ED25519_KEY_BYTES], uint8_t out[ED25519_KEY_BYTES])
{
    EVP_PKEY *key = private_key(seed);
    size_t len = ED25519_KEY_BYTES;

    assert(out != NULL);
    if (EVP_PKEY_get_raw_public_key(key, out, &len) != 1 || len != ED25519_KEY_BYTES) {
        abort(); /* the library itself is broken */
    }
    EVP_PKEY_free(key);
}

void ed25519_sign(const uint8_t seed[ED25519_KEY_BYTES],
                  struct str message,
                  uint8_t out[ED25519_SIGNATURE_BYTES])
{
    EVP_PKEY *key = private_key(seed);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    size_t len = ED25519_SIGNATURE_BYTES;

    assert(message.ptr != NULL);
    assert(out != NULL);
    if (context == NULL || EVP_DigestSignInit(context, NULL, NULL, NULL, key) != 1 ||
        EVP_DigestSign(context, out, &len, (const unsigned char *)message.ptr, message.len) != 1 ||
        len != ED25519_SIGNATURE_BYTES) {
        abort(); /* the library itself is broken */
    }
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
}

bool ed25519_verify(const uint8_t key[ED25519_KEY_BYTES],
                    struct str message,
                    const uint8_t signature[ED25519_SIGNATURE_BYTES])
{
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, key, ED25519_KEY_BYTES);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = false;

    assert(key != NULL);
    assert(signature != NULL);
    good = pkey != NULL && context != NULL &&
           EVP_DigestVerifyInit(context, NULL, NULL, NULL, pkey) == 1 &&
           EVP_DigestVerify(context,
                            signature,
                            ED25519_SIGNATURE_BYTES,
                            (const unsigned char *)message.ptr,
                            message.len) == 1;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(pkey);
    return good;
}
