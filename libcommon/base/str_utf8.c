/* The UTF-8 half of str.h. Every request body passes here, so runs of ASCII go by words. */
#include "libcommon/base/str.h"

#include <assert.h>
#include <string.h>

#define EACH_BYTE(byte) (UINT64_C(0x0101010101010101) * (byte))
#define HIGH_BITS       EACH_BYTE(0x80u)

static uint64_t load_word(const unsigned char *at)
{
    uint64_t word = 0;

    memcpy(&word, at, sizeof(word));
    return word;
}

/* Bytes before the first one that is not ASCII. */
static size_t ascii_run(const unsigned char *at, size_t len)
{
    size_t done = 0;

    assert(at != NULL);
    assert(len > 0);
    while (len - done >= 32) {
        uint64_t all = load_word(at + done) | load_word(at + done + 8) | load_word(at + done + 16) |
                       load_word(at + done + 24);

        if ((all & HIGH_BITS) != 0) {
            break;
        }
        done += 32;
    }
    while (len - done >= 8 && (load_word(at + done) & HIGH_BITS) == 0) {
        done += 8;
    }
    while (done < len && at[done] < 0x80) {
        done++;
    }
    return done;
}

static bool is_continuation(unsigned char byte)
{
    return (byte & 0xC0u) == 0x80u;
}

/* Length of the well-formed sequence of 2 to 4 bytes at `at`, 0 when there is none: table 3-7 of
 * the Unicode standard, where only the second byte has ranges that depend on the first. */
static size_t sequence_length(const unsigned char *at, size_t len)
{
    unsigned char low = 0x80;
    unsigned char high = 0xBF;
    size_t needs = 0;

    assert(len > 0);
    if (at[0] >= 0xC2 && at[0] <= 0xDF) {
        needs = 2;
    } else if (at[0] >= 0xE0 && at[0] <= 0xEF) {
        needs = 3;
        low = at[0] == 0xE0 ? 0xA0 : low;
        high = at[0] == 0xED ? 0x9F : high;
    } else if (at[0] >= 0xF0 && at[0] <= 0xF4) {
        needs = 4;
        low = at[0] == 0xF0 ? 0x90 : low;
        high = at[0] == 0xF4 ? 0x8F : high;
    }
    if (needs == 0 || len < needs || at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < needs; i++) {
        if (!is_continuation(at[i])) {
            return 0;
        }
    }
    return needs;
}

bool utf8_length(struct str s, size_t *out_code_points)
{
    const unsigned char *at = (const unsigned char *)s.ptr;
    size_t left = s.len;
    size_t count = 0;

    assert(s.ptr != NULL || s.len == 0);
    assert(out_code_points != NULL);
    while (left > 0) {
        size_t run = ascii_run(at, left);
        size_t step = run > 0 ? run : sequence_length(at, left);

        if (step == 0) {
            return false;
        }
        count += run > 0 ? run : 1;
        at += step;
        left -= step;
    }
    *out_code_points = count;
    return true;
}

bool utf8_valid(struct str s)
{
    size_t count = 0;

    return utf8_length(s, &count);
}

struct str utf8_cut(struct str s, size_t bytes_max)
{
    size_t len = s.len < bytes_max ? s.len : bytes_max;

    /* What would be cut off may not begin inside a character: continuation bytes are 10xxxxxx. */
    while (len > 0 && len < s.len && ((unsigned char)s.ptr[len] & 0xC0u) == 0x80u) {
        len--;
    }
    assert(len <= bytes_max);
    return (struct str){s.ptr, len};
}

/* True when one of the eight bytes is below 0x20, is 0x7F, or is not ASCII. Borrows may raise a
 * false alarm for a byte above a real one, never hide one; the slow path then looks closer. */
static bool word_suspicious(uint64_t word)
{
    uint64_t below_space = word - EACH_BYTE(0x20u);
    uint64_t not_delete = (word ^ EACH_BYTE(0x7Fu)) - EACH_BYTE(0x01u);

    return ((word | below_space | not_delete) & HIGH_BITS) != 0;
}

/* NUL would end the text for every C library behind us, so no caller may allow it. */
static bool control_allowed(unsigned char c, const char *allowed)
{
    return c != '\0' && allowed != NULL && strchr(allowed, c) != NULL;
}

/* Controls are category Cc: U+0000..1F, U+007F, and U+0080..9F, which UTF-8 writes as C2 80..9F. */
static bool control_within(struct str s, size_t from, size_t to, const char *allowed)
{
    const unsigned char *at = (const unsigned char *)s.ptr;

    assert(to <= s.len);
    for (size_t i = from; i < to; i++) {
        if ((at[i] < 0x20 || at[i] == 0x7F) && !control_allowed(at[i], allowed)) {
            return true;
        }
        if (at[i] == 0xC2 && i + 1 < s.len && at[i + 1] >= 0x80 && at[i + 1] <= 0x9F) {
            return true;
        }
    }
    return false;
}

bool utf8_has_control(struct str s, const char *allowed)
{
    size_t i = 0;

    assert(s.ptr != NULL || s.len == 0);
    while (s.len - i >= 8) {
        if (word_suspicious(load_word((const unsigned char *)s.ptr + i)) &&
            control_within(s, i, i + 8, allowed)) {
            return true;
        }
        i += 8;
    }
    return control_within(s, i, s.len, allowed);
}

bool utf8_has_bidi_control(struct str s)
{
    size_t i = 0;

    assert(s.ptr != NULL || s.len == 0);
    /* They are written E2 80 AA..AE and E2 81 A6..A9. */
    while (i + 2 < s.len) {
        const unsigned char *at = (const unsigned char *)s.ptr + i;
        const unsigned char *lead = memchr(at, 0xE2, s.len - i - 2);

        if (lead == NULL) {
            return false;
        }
        if ((lead[1] == 0x80 && lead[2] >= 0xAA && lead[2] <= 0xAE) ||
            (lead[1] == 0x81 && lead[2] >= 0xA6 && lead[2] <= 0xA9)) {
            return true;
        }
        i += (size_t)(lead - at) + 1;
    }
    return false;
}
