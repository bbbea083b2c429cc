/* Every writer goes through has_room(): what does not fit as a whole is not written at all, so a
 * view never ends in half a value. */
#include "libcommon/base/buf.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define DIGITS_MAX 20

/* Two digits per division: numbers are most of what our answers contain. */
static const char digit_pairs[] = "00010203040506070809101112131415161718192021222324"
                                  "25262728293031323334353637383940414243444546474849"
                                  "50515253545556575859606162636465666768697071727374"
                                  "75767778798081828384858687888990919293949596979899";

struct buf buf_over(void *memory, size_t cap)
{
    assert(memory != NULL || cap == 0);
    return (struct buf){memory, 0, cap, false};
}

void buf_reset(struct buf *b)
{
    assert(b != NULL);
    b->len = 0;
    b->overflow = false;
}

/* Once something was refused everything is, or the text would have a hole. */
static bool has_room(struct buf *b, size_t len)
{
    assert(b != NULL);
    assert(b->len <= b->cap);
    if (b->overflow || len > b->cap - b->len) {
        b->overflow = true;
        return false;
    }
    return true;
}

void buf_append(struct buf *b, const void *bytes, size_t len)
{
    assert(bytes != NULL || len == 0);
    if (!has_room(b, len) || len == 0) {
        return;
    }
    memcpy(b->ptr + b->len, bytes, len);
    b->len += len;
}

void buf_str(struct buf *b, struct str s)
{
    buf_append(b, s.ptr, s.len);
}

void buf_text(struct buf *b, const char *text)
{
    assert(text != NULL);
    buf_append(b, text, strlen(text));
}

void buf_char(struct buf *b, char c)
{
    if (has_room(b, 1)) {
        b->ptr[b->len++] = c;
    }
}

void buf_uint64(struct buf *b, uint64_t value)
{
    char digits[DIGITS_MAX];
    size_t at = sizeof(digits);

    while (value >= 100) {
        at -= 2;
        memcpy(digits + at, digit_pairs + 2 * (value % 100), 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(digits + at, digit_pairs + 2 * value, 2);
    } else {
        digits[--at] = (char)('0' + (char)value);
    }
    buf_append(b, digits + at, sizeof(digits) - at);
}

void buf_int64(struct buf *b, int64_t value)
{
    if (value >= 0) {
        buf_uint64(b, (uint64_t)value);
        return;
    }
    /* Negated as unsigned: INT64_MIN has no positive counterpart. */
    buf_char(b, '-');
    buf_uint64(b, 0 - (uint64_t)value);
}

void buf_printf(struct buf *b, const char *fmt, ...)
{
    va_list args;
    int len = 0;

    assert(fmt != NULL);
    if (!has_room(b, 1)) {
        return;
    }
    va_start(args, fmt);
    len = vsnprintf(b->ptr + b->len, b->cap - b->len, fmt, args);
    va_end(args);
    /* What was written is behind b->len and so does not count. */
    if (len < 0 || (size_t)len >= b->cap - b->len) {
        b->overflow = true;
        return;
    }
    b->len += (size_t)len;
}

char *buf_reserve(struct buf *b, size_t len)
{
    assert(b != NULL);
    return has_room(b, len) ? b->ptr + b->len : NULL;
}

void buf_commit(struct buf *b, size_t len)
{
    assert(!b->overflow);
    assert(len <= b->cap - b->len);
    b->len += len;
}

bool buf_terminate(struct buf *b)
{
    if (!has_room(b, 1)) {
        return false;
    }
    b->ptr[b->len] = '\0';
    return true;
}

struct str buf_view(const struct buf *b)
{
    assert(b->len <= b->cap);
    return (struct str){b->len == 0 ? "" : b->ptr, b->len};
}
