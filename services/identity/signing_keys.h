#pragma once
/* The life of the keys that sign access tokens; docs/security/keys-and-rotation.md tells it. */

#include "libcommon/service/op.h"

/* Every replica's keyring follows the table; ERR_UNAVAILABLE while that is empty. */
extern const struct op op_identity_signing_keys_load;
/* The first key; the next one when it is time; erases those whose last token has expired. */
extern const struct op op_identity_signing_keys_rotate;

/* The result of the statement signing_keys_live into the keyring: STEP_NEXT or STEP_FAIL. */
enum step signing_keys_take(struct req *r);
