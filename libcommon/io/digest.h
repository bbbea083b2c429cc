#pragma once
/* SHA-256 (FIPS 180-4) of bytes and what is made with it, by OpenSSL. Thread-safe; aborts only when
 * the library itself is broken. */

#include "libcommon/base/str.h"

#define SHA256_BYTES 32

void sha256(struct str bytes, uint8_t out[SHA256_BYTES]);
/* Of the parts, one behind the other. */
void sha256_parts(const struct str *parts, size_t count, uint8_t out[SHA256_BYTES]);
/* Of what comes bit by bit: open, add, close, which gives the digest where `out` is not NULL. */
struct sha256_run;
struct sha256_run *sha256_open(void);
void sha256_add(struct sha256_run *run, struct str bytes);
void sha256_close(struct sha256_run **run, uint8_t out[SHA256_BYTES]);
/* HMAC-SHA-256 (FIPS 198-1, RFC 2104). */
void hmac_sha256(struct str key, struct str message, uint8_t out[SHA256_BYTES]);
/* How long it takes says nothing about where they differ. */
bool bytes_equal_in_constant_time(const void *a, const void *b, size_t len);
