#include "services/identity/keyring.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <string.h>

#define PURPOSE_BYTES 64
#define TRIES_MAX     8

/* A secret belongs to its kid: moved to another row it does not open. */
static struct str purpose_of(const char *kid, char purpose[PURPOSE_BYTES])
{
    struct buf b = buf_over(purpose, PURPOSE_BYTES);

    assert(kid != NULL);
    buf_printf(&b, "signing-key:%s", kid);
    assert(!b.overflow);
    return buf_view(&b);
}

static enum code key_open(const struct vault *vault,
                          const struct keyring_row *row,
                          struct keyring_key *out,
                          struct err *err)
{
    char purpose[PURPOSE_BYTES];
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    enum code code = OK;

    assert(vault != NULL);
    assert(out->key == NULL);
    if (strlen(row->kid) != TOKEN_KID_BYTES - 1 || row->sealed.len != KEYRING_SEALED_BYTES) {
        return err_set(err, ERR_INVALID, "the key %.16s is not whole", row->kid);
    }
    code = vault_unseal(vault, purpose_of(row->kid, purpose), row->sealed, scalar, err);
    if (code == OK) {
        code = ecdsa_open(scalar, &out->key, err);
    }
    explicit_bzero(scalar, sizeof scalar);
    if (code != OK) {
        return err_prefix(err, "the key %s", row->kid);
    }
    token_kid(out->key, out->kid);
    if (strcmp(out->kid, row->kid) != 0) {
        ecdsa_close(&out->key);
        return err_set(err, ERR_INVALID, "the key %s is another one", row->kid);
    }
    return OK;
}

/* Takes the open key of that kid out of the keyring. */
static struct ecdsa_key *key_take(struct keyring *keyring, const char *kid)
{
    assert(keyring->count <= SIGNING_KEYS_MAX);
    assert(kid != NULL);
    for (uint32_t i = 0; i < keyring->count; i++) {
        struct ecdsa_key *key = keyring->keys[i].key;

        if (strcmp(keyring->keys[i].kid, kid) == 0) {
            keyring->keys[i].key = NULL;
            return key;
        }
    }
    return NULL;
}

static bool key_held(const struct keyring *keyring, const char *kid)
{
    for (uint32_t i = 0; i < keyring->count; i++) {
        if (strcmp(keyring->keys[i].kid, kid) == 0) {
            return true;
        }
    }
    return false;
}

enum code keyring_load(struct keyring *keyring,
                       const struct vault *vault,
                       const struct keyring_row *rows,
                       size_t count,
                       struct err *err)
{
    struct keyring next = {.count = 0};
    enum code code = OK;

    assert(keyring != NULL);
    assert(count <= SIGNING_KEYS_MAX);
    for (size_t i = 0; i < count && code == OK; i++) { /* first what can fail */
        if (!key_held(keyring, rows[i].kid)) {
            code = key_open(vault, &rows[i], &next.keys[i], err);
        }
    }
    if (code != OK) {
        next.count = (uint32_t)count;
        keyring_clear(&next);
        return code;
    }
    for (size_t i = 0; i < count; i++) {
        struct keyring_key *to = &next.keys[i];

        assert(i == 0 || rows[i - 1].use_from_ms <= rows[i].use_from_ms);
        if (to->key == NULL) {
            to->key = key_take(keyring, rows[i].kid);
            memcpy(to->kid, rows[i].kid, sizeof to->kid);
        }
        assert(to->key != NULL);
        to->use_from_ms = rows[i].use_from_ms;
        to->honoured_until_ms = rows[i].honoured_until_ms;
    }
    next.count = (uint32_t)count;
    next.database_ms = keyring->database_ms;
    next.loaded_ms = keyring->loaded_ms;
    keyring_clear(keyring);
    *keyring = next;
    return OK;
}

void keyring_time(struct keyring *keyring, uint64_t database_ms, uint64_t mono_ms)
{
    assert(keyring != NULL);
    assert(mono_ms >= keyring->loaded_ms);
    keyring->database_ms = database_ms;
    keyring->loaded_ms = mono_ms;
}

void keyring_clear(struct keyring *keyring)
{
    assert(keyring != NULL);
    assert(keyring->count <= SIGNING_KEYS_MAX);
    for (uint32_t i = 0; i < keyring->count; i++) {
        ecdsa_close(&keyring->keys[i].key);
    }
    keyring->count = 0;
}

/* What the database's clock shows now. */
static uint64_t database_now(const struct keyring *keyring, uint64_t mono_ms)
{
    assert(mono_ms >= keyring->loaded_ms);
    return keyring->database_ms + (mono_ms - keyring->loaded_ms);
}

static const struct keyring_key *current(const struct keyring *keyring, uint64_t mono_ms)
{
    uint64_t now = database_now(keyring, mono_ms);
    const struct keyring_key *found = NULL;

    assert(keyring->count <= SIGNING_KEYS_MAX);
    for (uint32_t i = 0; i < keyring->count; i++) {
        if (keyring->keys[i].use_from_ms <= now) {
            found = &keyring->keys[i];
        }
    }
    return found;
}

const struct ecdsa_key *keyring_signer(const struct keyring *keyring, uint64_t mono_ms)
{
    const struct keyring_key *key = current(keyring, mono_ms);

    if (key == NULL || mono_ms - keyring->loaded_ms > KEYRING_STALE_MS) {
        return NULL;
    }
    assert(key->key != NULL);
    return key->key;
}

bool keyring_has_next(const struct keyring *keyring, uint64_t mono_ms)
{
    return keyring->count > 0 &&
           keyring->keys[keyring->count - 1].use_from_ms > database_now(keyring, mono_ms);
}

bool keyring_is_due(const struct keyring *keyring,
                    uint64_t mono_ms,
                    uint64_t rotate_ms,
                    uint64_t ahead_ms)
{
    const struct keyring_key *key = current(keyring, mono_ms);

    assert(ahead_ms < rotate_ms);
    if (keyring_has_next(keyring, mono_ms)) {
        return false;
    }
    return key == NULL ||
           database_now(keyring, mono_ms) >= key->use_from_ms + (rotate_ms - ahead_ms);
}

enum code keyring_make(const struct vault *vault,
                       char out_kid[TOKEN_KID_BYTES],
                       uint8_t out_sealed[KEYRING_SEALED_BYTES],
                       struct err *err)
{
    char purpose[PURPOSE_BYTES];
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    struct ecdsa_key *key = NULL;
    enum code code = ERR_INVALID;

    assert(vault != NULL);
    assert(out_sealed != NULL);
    /* One number in 2^32 is no private key. */
    for (int i = 0; i < TRIES_MAX && code == ERR_INVALID; i++) {
        random_bytes(scalar, sizeof scalar);
        code = ecdsa_open(scalar, &key, NULL);
    }
    if (code == OK) {
        token_kid(key, out_kid);
        code = vault_seal(vault,
                          purpose_of(out_kid, purpose),
                          (struct str){(const char *)scalar, sizeof scalar},
                          out_sealed,
                          err);
    } else {
        code = err_set(err, ERR_INTERNAL, "a key could not be made");
    }
    explicit_bzero(scalar, sizeof scalar);
    ecdsa_close(&key);
    return code;
}
