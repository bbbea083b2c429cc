#pragma once
/*
 * Internal to codec: what must hold of a JSON text before the parser sees it, so that the parser
 * can neither be led past its bounds nor to a reading of its own. Grammar is the parser's business.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

/* More than any number means, and still refused later where a field takes fewer. */
#define JSON_NUMBER_TEXT_BYTES_MAX 1024

/*
 * ERR_JSON: empty, byte order mark, not UTF-8, a control character outside strings other than tab,
 * CR and LF, deeper than JSON_DEPTH_MAX, an overlong number, an unclosed string, half a surrogate
 * pair.
 * `*out_escaped_bytes_max` is the length of the longest string that holds an escape, 0 when none
 * does.
 */
enum code json_scan(struct str json, size_t *out_escaped_bytes_max, struct err *err) MUST_CHECK;
