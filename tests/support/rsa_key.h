#pragma once
/* An issuer of RS256 tokens for tests: a key of OpenSSL's making, its JWK, and what it signs. What
 * fails, fails the test. */

#include "libcommon/base/buf.h"

struct rsa_key;

struct rsa_key *rsa_key_make(unsigned bits);
void rsa_key_free(struct rsa_key **key);
/* One member of a JWKS: {"kty":"RSA","kid":...}; `more` is put behind it, ",\"use\":\"sig\"". */
void rsa_key_jwk(const struct rsa_key *key, const char *kid, const char *more, struct buf *out);
/* The compact JWS of header and claims, signed with RSASSA-PKCS1-v1_5 and SHA-256 whatever the
 * header says. */
void rsa_key_token(const struct rsa_key *key,
                   const char *header,
                   const char *claims,
                   struct buf *out);
