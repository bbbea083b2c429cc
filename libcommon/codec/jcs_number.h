#pragma once
/* Internal to codec: a JSON number as ECMAScript writes it (RFC 8785 3.2.2.3, ECMA-262 7.1.12.1).
 * Pure; any thread. */

#include "libcommon/base/buf.h"
#include "libcommon/base/err.h"

#define JCS_NUMBER_BYTES_MAX 25 /* of the result */

/* `number` follows JSON's grammar. ERR_JSON: beyond an IEEE 754 double; no room is the buffer's
 * overflow. */
enum code jcs_number_write(struct str number, struct buf *out, struct err *err) MUST_CHECK;
