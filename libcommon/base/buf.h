#pragma once
/*
 * Bounded builder. Memory belongs to the caller (array or arena); nothing here allocates.
 * Past the cap nothing more is written and `overflow` stays true: build first, check once at the
 * end.
 */

#include "libcommon/base/str.h"

struct buf {
    char *ptr;
    size_t len;
    size_t cap;
    bool overflow;
};

struct buf buf_over(void *memory, size_t cap);
/* tidy: allow unused: one memory for many texts, in tests so far */
void buf_reset(struct buf *b);
void buf_append(struct buf *b, const void *bytes, size_t len);
void buf_str(struct buf *b, struct str s);
void buf_text(struct buf *b, const char *text);
void buf_char(struct buf *b, char c);
void buf_int64(struct buf *b, int64_t value);
void buf_uint64(struct buf *b, uint64_t value);
/* Needs one byte of room more than the text has. */
void buf_printf(struct buf *b, const char *fmt, ...) PRINTF(2, 3);
/* Room for `len` bytes written by the caller, then buf_commit(); NULL and overflow when there is
 * none. */
char *buf_reserve(struct buf *b, size_t len);
void buf_commit(struct buf *b, size_t len);
/* NUL-terminates without counting the NUL; false on overflow. */
bool buf_terminate(struct buf *b);
struct str buf_view(const struct buf *b);
