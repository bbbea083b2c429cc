#pragma once
/* Logging in with Google. */

#include "avanta/google.pb-c.h"

#include "libcommon/service/op.h"

/* The ID token of a request: STEP_NEXT fills *out, else it is refused. */
enum step
google_token_read(struct req *r, const char *credential, const Avanta__Google__IdToken **out);
/* A statement about the token's account and e-mail. */
enum step google_query(struct req *r, uint16_t query, const Avanta__Google__IdToken *token);

/* Reads the file with Google's keys when it has changed. Succeeds also when the file is not good:
 * that is logged, and what was known stays. */
extern const struct op op_identity_google_keys;
