#pragma once
/*
 * One-time codes: TOTP (RFC 6238) as every authenticator app takes it, by liboath (SHA-1, six
 * digits, steps of 30 seconds), and recovery codes of 120 random bits. Pure but for the random
 * source; any thread after totp_open(). The caller wipes seeds.
 */

#include "libcommon/base/buf.h"
#include "libcommon/base/err.h"
#include "libcommon/io/digest.h"

#define TOTP_SEED_BYTES   20 /* as long as what SHA-1 gives: RFC 4226, 4 */
#define TOTP_SECRET_BYTES 33 /* the seed in base32 and NUL */
#define TOTP_STEP_S       30
#define TOTP_DIGITS       6

#define RECOVERY_CODE_BYTES 30 /* XXXX-XXXX-XXXX-XXXX-XXXX-XXXX and NUL */

/* Once per process, before and after all else. */
enum code totp_open(struct err *err) MUST_CHECK;
void totp_close(void);

/* RFC 4648, without padding; `len` is a multiple of 5. `out` takes len / 5 * 8 + 1 bytes. */
void base32_encode(const uint8_t *bytes, size_t len, char *out);
/* The step whose code this is: the one of `now_s`, or one of its neighbours. False: none, or no
 * six digits. */
bool totp_match(const uint8_t seed[TOTP_SEED_BYTES],
                struct str code,
                uint64_t now_s,
                uint64_t *out_step) MUST_CHECK;
/* What an app reads from a QR code; the texts are percent-encoded (RFC 3986). */
void totp_uri(struct buf *out, struct str issuer, struct str account, struct str secret);

void recovery_code_make(char out[RECOVERY_CODE_BYTES]);
/* The SHA-256 of what a person typed: of any case, with or without hyphens and blanks. False: it
 * does not have the form. */
bool recovery_code_hash(struct str text, uint8_t out[SHA256_BYTES]) MUST_CHECK;
