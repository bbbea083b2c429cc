#include "libcommon/io/digest.h"

#include <assert.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdlib.h>

void sha256(struct str bytes, uint8_t out[SHA256_BYTES])
{
    assert(bytes.ptr != NULL);
    assert(out != NULL);
    (void)SHA256((const unsigned char *)bytes.ptr, bytes.len, out);
}

void sha256_parts(const struct str *parts, size_t count, uint8_t out[SHA256_BYTES])
{
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context != NULL && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;

    assert(parts != NULL);
    assert(out != NULL);
    for (size_t i = 0; i < count && good; i++) {
        good = EVP_DigestUpdate(context, parts[i].ptr, parts[i].len) == 1;
    }
    if (!good || EVP_DigestFinal_ex(context, out, NULL) != 1) {
        abort(); /* the library itself is broken */
    }
    EVP_MD_CTX_free(context);
}

struct sha256_run {
    EVP_MD_CTX *context;
};

struct sha256_run *sha256_open(void)
{
    struct sha256_run *run = calloc(1, sizeof *run);

    if (run != NULL) {
        run->context = EVP_MD_CTX_new();
    }
    if (run == NULL || run->context == NULL ||
        EVP_DigestInit_ex(run->context, EVP_sha256(), NULL) != 1) {
        abort(); /* the library itself is broken */
    }
    return run;
}

void sha256_add(struct sha256_run *run, struct str bytes)
{
    assert(run != NULL);
    assert(bytes.ptr != NULL);
    if (EVP_DigestUpdate(run->context, bytes.ptr, bytes.len) != 1) {
        abort(); /* the library itself is broken */
    }
}

void sha256_close(struct sha256_run **run, uint8_t out[SHA256_BYTES])
{
    assert(run != NULL);
    if (*run == NULL) {
        return;
    }
    if (out != NULL && EVP_DigestFinal_ex((*run)->context, out, NULL) != 1) {
        abort(); /* the library itself is broken */
    }
    EVP_MD_CTX_free((*run)->context);
    free(*run);
    *run = NULL;
}

void hmac_sha256(struct str key, struct str message, uint8_t out[SHA256_BYTES])
{
    unsigned len = 0;

    assert(key.len > 0);
    assert(out != NULL);
    if (HMAC(EVP_sha256(),
             key.ptr,
             (int)key.len,
             (const unsigned char *)message.ptr,
             message.len,
             out,
             &len) == NULL ||
        len != SHA256_BYTES) {
        abort(); /* the library itself is broken */
    }
}

bool bytes_equal_in_constant_time(const void *a, const void *b, size_t len)
{
    assert(a != NULL);
    assert(b != NULL);
    return CRYPTO_memcmp(a, b, len) == 0;
}
