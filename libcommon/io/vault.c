#include "libcommon/io/vault.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define VERSION     1
#define NONCE_BYTES 12
#define TAG_BYTES   16
#define HEAD_BYTES  (1 + NONCE_BYTES)

_Static_assert(HEAD_BYTES + TAG_BYTES == VAULT_EXTRA_BYTES, "what is added to a secret");

struct vault {
    uint8_t key[VAULT_KEY_BYTES];
};

struct vault *vault_open(const uint8_t key[VAULT_KEY_BYTES])
{
    struct vault *vault = calloc(1, sizeof *vault);

    assert(key != NULL);
    if (vault != NULL) {
        memcpy(vault->key, key, sizeof vault->key);
    }
    return vault;
}

void vault_close(struct vault **vault)
{
    assert(vault != NULL);
    if (*vault != NULL) {
        explicit_bzero((*vault)->key, sizeof(*vault)->key);
        free(*vault);
        *vault = NULL;
    }
}

static const unsigned char *bytes(struct str s)
{
    return (const unsigned char *)s.ptr;
}

static bool encrypt(EVP_CIPHER_CTX *context,
                    const struct vault *vault,
                    struct str purpose,
                    struct str clear,
                    uint8_t *out)
{
    int len = 0;
    int end = 0;

    assert(out[0] == VERSION);
    return EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, vault->key, out + 1) == 1 &&
           EVP_EncryptUpdate(context, NULL, &len, bytes(purpose), (int)purpose.len) == 1 &&
           EVP_EncryptUpdate(context, out + HEAD_BYTES, &len, bytes(clear), (int)clear.len) == 1 &&
           (size_t)len == clear.len &&
           EVP_EncryptFinal_ex(context, out + HEAD_BYTES + len, &end) == 1 && end == 0 &&
           EVP_CIPHER_CTX_ctrl(
               context, EVP_CTRL_GCM_GET_TAG, TAG_BYTES, out + HEAD_BYTES + clear.len) == 1;
}

enum code vault_seal(
    const struct vault *vault, struct str purpose, struct str clear, uint8_t *out, struct err *err)
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = false;

    assert(purpose.len > 0);
    assert(clear.len > 0);
    assert(clear.len <= VAULT_SECRET_BYTES_MAX);
    assert(out != NULL);
    out[0] = VERSION;
    random_bytes(out + 1, NONCE_BYTES);
    good = context != NULL && encrypt(context, vault, purpose, clear, out);
    EVP_CIPHER_CTX_free(context);
    return good ? OK : err_set(err, ERR_INTERNAL, "the secret could not be encrypted");
}

static bool decrypt(EVP_CIPHER_CTX *context,
                    const struct vault *vault,
                    struct str purpose,
                    struct str sealed,
                    uint8_t *out)
{
    size_t clear_len = sealed.len - VAULT_EXTRA_BYTES;
    uint8_t tag[TAG_BYTES]; /* OpenSSL takes no constants here */
    int len = 0;
    int end = 0;

    assert(sealed.len > VAULT_EXTRA_BYTES);
    memcpy(tag, sealed.ptr + HEAD_BYTES + clear_len, sizeof tag);
    return EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, vault->key, bytes(sealed) + 1) ==
               1 &&
           EVP_DecryptUpdate(context, NULL, &len, bytes(purpose), (int)purpose.len) == 1 &&
           EVP_DecryptUpdate(context, out, &len, bytes(sealed) + HEAD_BYTES, (int)clear_len) == 1 &&
           (size_t)len == clear_len &&
           EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG_BYTES, tag) == 1 &&
           EVP_DecryptFinal_ex(context, out + len, &end) == 1 && end == 0;
}

enum code vault_unseal(
    const struct vault *vault, struct str purpose, struct str sealed, uint8_t *out, struct err *err)
{
    EVP_CIPHER_CTX *context = NULL;
    bool good = false;

    assert(purpose.len > 0);
    assert(out != NULL);
    if (sealed.len <= VAULT_EXTRA_BYTES ||
        sealed.len > VAULT_SECRET_BYTES_MAX + VAULT_EXTRA_BYTES || sealed.ptr[0] != VERSION) {
        return err_set(err, ERR_INVALID, "this is no sealed secret");
    }
    context = EVP_CIPHER_CTX_new();
    good = context != NULL && decrypt(context, vault, purpose, sealed, out);
    EVP_CIPHER_CTX_free(context);
    if (!good) {
        explicit_bzero(out, sealed.len - VAULT_EXTRA_BYTES);
        return err_set(err,
                       ERR_INVALID,
                       "the sealed secret does not open: another key, another purpose, or changed");
    }
    return OK;
}
