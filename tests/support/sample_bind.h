#pragma once
/* A body or a parameter to the Order of tests/proto/sample.proto, and what must be wrong with it.
 */

#include "tests/support/sample.h"

#include "libcommon/codec/violations.h"

/* The test fails when the text is refused as a whole. Rows go to `violations`, made new. */
Sample__Order *sample_bind(struct arena *arena, struct str json, struct violations *violations);
void assert_clean(const struct violations *violations);
/* Exactly one row, with this field and code; `row` of a table says where. */
void assert_one(const struct violations *violations,
                size_t row,
                const char *field,
                const char *code);
