#pragma once
/*
 * RSASSA-PKCS1-v1_5 with SHA-256 (RFC 8017, 8.2; RS256 of RFC 7518 3.3), by OpenSSL: the verifying
 * side, for tokens of others. Keys are 2048 to 8192 bits (NIST SP 800-131A asks for the former, the
 * latter bounds the work). One owner at a time.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

#define RSA_BITS_MIN        2048
#define RSA_BITS_MAX        8192
#define RSA_SIGNATURE_BYTES (RSA_BITS_MAX / 8)

struct rsa_verifier;

/* From modulus and exponent, big endian. ERR_INVALID: too short or long a modulus, an even one, an
 * exponent that is even, below 65537 or above 2^32. */
enum code rsa_verifier_open(struct str modulus,
                            struct str exponent,
                            struct rsa_verifier **out,
                            struct err *err) MUST_CHECK;
void rsa_verifier_close(struct rsa_verifier **verifier);
/* The signature must be as long as the modulus. */
bool rsa_verify(const struct rsa_verifier *verifier, struct str message, struct str signature);
