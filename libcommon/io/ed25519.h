#pragma once
/*
 * Ed25519 (RFC 8032 5.1) by OpenSSL, with raw keys: the private one is the seed of 32 bytes, which
 * the caller wipes; copies made here are wiped before the functions return. Thread-safe; aborts
 * only when the library itself is broken.
 */

#include "libcommon/base/attr.h"
#include "libcommon/base/str.h"

#define ED25519_KEY_BYTES       32
#define ED25519_SIGNATURE_BYTES 64

/* A new seed from the kernel's random source. */
/* tidy: allow unused: keys are made by a tool */
void ed25519_generate(uint8_t out_seed[ED25519_KEY_BYTES]);
void ed25519_public(const uint8_t seed[ED25519_KEY_BYTES], uint8_t out[ED25519_KEY_BYTES]);
void ed25519_sign(const uint8_t seed[ED25519_KEY_BYTES],
                  struct str message,
                  uint8_t out[ED25519_SIGNATURE_BYTES]);
/* False for a signature that is not of this key and message, or a key that is no point. */
bool ed25519_verify(const uint8_t key[ED25519_KEY_BYTES],
                    struct str message,
                    const uint8_t signature[ED25519_SIGNATURE_BYTES]) MUST_CHECK;
