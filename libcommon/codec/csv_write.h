#pragma once
/*
 * CSV for people's spreadsheets (RFC 4180): fields with a comma, quote or line break are quoted, a
 * record ends in CRLF. What a spreadsheet would take for a formula (a text that begins with = + - @
 * or a tab) gets an apostrophe in front (OWASP, CSV injection). Pure.
 */

#include "libcommon/base/buf.h"

/* `first`: no comma before it. */
void csv_put_field(struct buf *out, struct str text, bool first);
/* A number of ours as it is: no formula, though it may be negative. */
void csv_put_number(struct buf *out, int64_t value, bool first);
void csv_end_record(struct buf *out);
