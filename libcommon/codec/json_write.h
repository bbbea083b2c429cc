#pragma once
/*
 * JSON writer that grows inside an arena up to a maximum. Sticky overflow: write everything, check
 * once. Commas and quotes are its business; nesting is asserted. Any thread, one owner.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

struct json_writer {
    struct arena *arena;
    size_t bytes_max;
    struct buf buf;
    uint32_t depth;
    uint64_t has_item;  /* bit per depth: a comma is due */
    uint64_t in_object; /* bit per depth: an object, not an array */
    bool after_key;
};

/* `bytes_guess` is the first allocation. */
void json_open(struct json_writer *w, struct arena *arena, size_t bytes_guess, size_t bytes_max);
void json_object_begin(struct json_writer *w);
void json_object_end(struct json_writer *w);
void json_array_begin(struct json_writer *w);
void json_array_end(struct json_writer *w);
void json_key(struct json_writer *w, struct str key);
void json_text(struct json_writer *w, struct str text); /* must be UTF-8 */
void json_int64(struct json_writer *w, int64_t value);
void json_uint64(struct json_writer *w, uint64_t value);
void json_decimal(struct json_writer *w, int64_t value, unsigned scale); /* always `scale` places */
void json_decimal_short(struct json_writer *w,
                        int64_t value,
                        unsigned scale); /* trailing zeros dropped */
void json_bool(struct json_writer *w, bool value);
void json_none(struct json_writer *w);
void json_raw(struct json_writer *w, struct str json); /* one valid JSON value, as is */
/* ERR_TOO_LARGE when anything did not fit; else the text, alive as long as the arena. */
enum code json_finish(struct json_writer *w, struct str *out, struct err *err) MUST_CHECK;
