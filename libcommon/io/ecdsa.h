#pragma once
/*
 * ECDSA on P-256 with SHA-256 (FIPS 186-5; ES256 of RFC 7518 3.4), by OpenSSL. A key is made from
 * its 32-byte private scalar, which the caller wipes; the copy inside is wiped on close. One owner
 * at a time.
 */

#include "libcommon/base/buf.h"
#include "libcommon/base/err.h"

#define ECDSA_SCALAR_BYTES    32
#define ECDSA_SIGNATURE_BYTES 64 /* r and s, 32 bytes each, big endian */

struct ecdsa_key;

/* ERR_INVALID: zero or not below the group's order. */
enum code ecdsa_open(const uint8_t scalar[ECDSA_SCALAR_BYTES],
                     struct ecdsa_key **out,
                     struct err *err) MUST_CHECK;
void ecdsa_close(struct ecdsa_key **key);
void ecdsa_public(const struct ecdsa_key *key, uint8_t x[32], uint8_t y[32]);
/* SubjectPublicKeyInfo in PEM. */
/* tidy: allow unused: tests let another library verify our signatures */
enum code
ecdsa_public_pem(const struct ecdsa_key *key, struct buf *out, struct err *err) MUST_CHECK;
enum code ecdsa_sign(const struct ecdsa_key *key,
                     struct str message,
                     uint8_t out[ECDSA_SIGNATURE_BYTES],
                     struct err *err) MUST_CHECK;

/* The other side: a public key from its point. ERR_INVALID: not on the curve. */
struct ecdsa_verifier;
enum code ecdsa_verifier_open(const uint8_t x[32],
                              const uint8_t y[32],
                              struct ecdsa_verifier **out,
                              struct err *err) MUST_CHECK;
void ecdsa_verifier_close(struct ecdsa_verifier **verifier);
bool ecdsa_verify(const struct ecdsa_verifier *verifier,
                  struct str message,
                  const uint8_t signature[ECDSA_SIGNATURE_BYTES]);
