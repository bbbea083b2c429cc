#pragma once
/* Requests that are signed by a key, for webhooks: HMAC-SHA-256 (RFC 2104) with a time, good once.
 */

#include "libcommon/base/str.h"
#include "libcommon/service/op.h"

#define SIGNING_KEY_BYTES     60 /* of its text, which is the HMAC's key */
#define SIGNING_PURPOSE_BYTES 64
#define SIGNATURE_WINDOW_S    300 /* older ones, and those from the future, are refused */

/* What binds the sealed secret to its row in the vault; a view of `out`. */
struct str signing_purpose(const char *key_id, char out[SIGNING_PURPOSE_BYTES]);

/* Deletes those whose time is long over. */
extern const struct op op_identity_purge_signatures;

struct Avanta__Identity__KeyFound;
/* What gateways are told of a key that is good: views of the row. api_keys.c. */
void key_found_reply(struct req *r, const struct Avanta__Identity__KeyFound *key);
