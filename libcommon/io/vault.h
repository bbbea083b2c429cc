#pragma once
/*
 * Secrets at rest: AES-256-GCM (NIST SP 800-38D) by OpenSSL, under one key of 32 bytes that stays
 * outside the database. A sealed secret is bound to its purpose, a text such as "totp:<user id>":
 * moved to another row it does not open. Layout: version(1) nonce(12) ciphertext tag(16); the nonce
 * is random, so one key is good for far more secrets than a service keeps (2^32). The caller wipes
 * what is clear. Thread-safe but for open and close.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

#define VAULT_KEY_BYTES        32
#define VAULT_EXTRA_BYTES      29 /* sealed is longer than clear by this */
#define VAULT_SECRET_BYTES_MAX 4096

struct vault;

struct vault *vault_open(const uint8_t key[VAULT_KEY_BYTES]); /* NULL when memory is refused */
void vault_close(struct vault **vault);                       /* wipes the key */
/* `out` takes clear.len + VAULT_EXTRA_BYTES bytes. */
enum code vault_seal(const struct vault *vault,
                     struct str purpose,
                     struct str clear,
                     uint8_t *out,
                     struct err *err) MUST_CHECK;
/* `out` takes sealed.len - VAULT_EXTRA_BYTES bytes; it is zeroed when the answer is not OK.
 * ERR_INVALID: made with another key or for another purpose, or changed. */
enum code vault_unseal(const struct vault *vault,
                       struct str purpose,
                       struct str sealed,
                       uint8_t *out,
                       struct err *err) MUST_CHECK;
