#pragma once
/* SHA-256 (FIPS 180-4) of bytes, by OpenSSL. Thread-safe; aborts only when the library itself is
 * broken. */

#include "libcommon/base/str.h"

#define SHA256_BYTES 32

void sha256(struct str bytes, uint8_t out[SHA256_BYTES]);
