/* An empty view may have a NULL pointer, which memcmp and its kin must not be given; hence the
 * looks at the length before each of them. */
#include "libcommon/base/str.h"

#include <assert.h>
#include <string.h>
#include <strings.h>

/* Only the high half of a 64x64 product makes a multiply a good mixer; ISO C has no such type. */
__extension__ typedef unsigned __int128 uint128;

#define HASH_MUL_A UINT64_C(0xA0761D6478BD642F)
#define HASH_MUL_B UINT64_C(0xE7037ED1A0B428DB)
#define HASH_MUL_C UINT64_C(0x8EBC6AF09C88C6E3)

struct str str_from(const char *text)
{
    if (text == NULL) {
        return STR_EMPTY;
    }
    return (struct str){text, strlen(text)};
}

struct str str_sub(struct str s, size_t from, size_t to)
{
    if (to > s.len) {
        to = s.len;
    }
    if (from >= to) {
        return STR_EMPTY;
    }
    assert(s.ptr != NULL);
    return (struct str){s.ptr + from, to - from};
}

bool str_eq(struct str a, struct str b)
{
    assert(a.ptr != NULL || a.len == 0);
    assert(b.ptr != NULL || b.len == 0);
    if (a.len != b.len) {
        return false;
    }
    return a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0;
}

/* Header names and the like are ASCII; a locale must not change what they mean. */
static unsigned char ascii_lower(unsigned char c)
{
    return (c >= 'A' && c <= 'Z') ? (unsigned char)(c | 0x20u) : c;
}

bool str_eq_nocase(struct str a, struct str b)
{
    assert(a.ptr != NULL || a.len == 0);
    assert(b.ptr != NULL || b.len == 0);
    if (a.len != b.len) {
        return false;
    }
    for (size_t i = 0; i < a.len; i++) {
        if (ascii_lower((unsigned char)a.ptr[i]) != ascii_lower((unsigned char)b.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* Bytes are compared as unsigned, which for UTF-8 is the order of code points. */
int str_cmp(struct str a, struct str b)
{
    size_t shared = a.len < b.len ? a.len : b.len;
    int order = shared == 0 ? 0 : memcmp(a.ptr, b.ptr, shared);

    assert(a.ptr != NULL || a.len == 0);
    assert(b.ptr != NULL || b.len == 0);
    if (order != 0) {
        return order < 0 ? -1 : 1;
    }
    if (a.len == b.len) {
        return 0;
    }
    return a.len < b.len ? -1 : 1;
}

bool str_starts(struct str s, struct str prefix)
{
    if (prefix.len == 0) {
        return true;
    }
    return s.len >= prefix.len && memcmp(s.ptr, prefix.ptr, prefix.len) == 0;
}

bool str_ends(struct str s, struct str suffix)
{
    if (suffix.len == 0) {
        return true;
    }
    return s.len >= suffix.len && memcmp(s.ptr + (s.len - suffix.len), suffix.ptr, suffix.len) == 0;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    size_t from = 0;
    size_t to = s.len;

    while (from < to && is_space(s.ptr[from])) {
        from++;
    }
    while (to > from && is_space(s.ptr[to - 1])) {
        to--;
    }
    return str_sub(s, from, to);
}

bool str_copy(struct str s, char *out, size_t cap)
{
    bool fits = s.len < cap;

    assert(out != NULL);
    assert(cap > 0);
    if (fits && s.len > 0) {
        memcpy(out, s.ptr, s.len);
    }
    out[fits ? s.len : 0] = '\0';
    return fits;
}

bool str_find(struct str s, struct str needle, size_t *out_at)
{
    const char *hit = NULL;

    assert(out_at != NULL);
    if (needle.len == 0) {
        *out_at = 0;
        return true;
    }
    if (s.len < needle.len) {
        return false;
    }
    hit = memmem(s.ptr, s.len, needle.ptr, needle.len);
    if (hit == NULL) {
        return false;
    }
    *out_at = (size_t)(hit - s.ptr);
    return true;
}

bool str_find_char(struct str s, char c, size_t *out_at)
{
    const char *hit = s.len == 0 ? NULL : memchr(s.ptr, c, s.len);

    assert(out_at != NULL);
    if (hit == NULL) {
        return false;
    }
    *out_at = (size_t)(hit - s.ptr);
    return true;
}

/* "a,b," gives "a", "b", "": the last separator is followed by one empty part. A NULL pointer marks
 * the exhausted rest, which an empty view with an address does not. */
bool str_split(struct str *rest, char separator, struct str *out_part)
{
    size_t at = 0;

    assert(rest != NULL);
    assert(out_part != NULL);
    if (rest->ptr == NULL) {
        return false;
    }
    if (!str_find_char(*rest, separator, &at)) {
        *out_part = *rest;
        *rest = (struct str){NULL, 0};
        return true;
    }
    *out_part = (struct str){rest->ptr, at};
    rest->ptr += at + 1;
    rest->len -= at + 1;
    return true;
}

/* Twenty digits are the most 64 bits hold, so the loop is bounded whatever the text. A leading zero
 * is refused: an identifier must have one spelling. */
static bool digits_to_uint64(const char *ptr, size_t len, uint64_t *out)
{
    uint64_t value = 0;

    if (len == 0 || len > 20 || (len > 1 && ptr[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned digit = (unsigned char)ptr[i] - (unsigned)'0';

        if (digit > 9 || __builtin_mul_overflow(value, UINT64_C(10), &value) ||
            __builtin_add_overflow(value, (uint64_t)digit, &value)) {
            return false;
        }
    }
    *out = value;
    return true;
}

bool str_to_int64(struct str s, int64_t *out)
{
    bool negative = s.len > 0 && s.ptr[0] == '-';
    uint64_t limit = (uint64_t)INT64_MAX + (negative ? 1 : 0);
    uint64_t magnitude = 0;

    assert(out != NULL);
    if (negative) {
        s = str_sub(s, 1, s.len);
    }
    /* The negative range has one number more. */
    if (!digits_to_uint64(s.ptr, s.len, &magnitude) || magnitude > limit) {
        return false;
    }
    *out = (int64_t)(negative ? 0 - magnitude : magnitude);
    return true;
}

bool str_to_uint64(struct str s, uint64_t *out)
{
    assert(out != NULL);
    assert(s.ptr != NULL || s.len == 0);
    return digits_to_uint64(s.ptr, s.len, out);
}

/* Up to eight bytes as a number; bytes that are not there count as zero, which the length in the
 * final mix tells apart from zeros that are. */
static uint64_t read_le(const unsigned char *bytes, size_t len)
{
    uint64_t word = 0;

    if (len == sizeof(word)) {
        memcpy(&word, bytes, sizeof(word));
        return word;
    }
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)bytes[i] << (8 * i);
    }
    return word;
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    uint128 product = (uint128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* Multiply-and-fold over 16-byte blocks, the construction of wyhash. */
uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed)
{
    const unsigned char *at = bytes;
    size_t left = len;
    uint64_t hash = seed ^ mix(seed ^ HASH_MUL_A, HASH_MUL_B);

    assert(bytes != NULL || len == 0);
    while (left > 16) {
        hash = mix(read_le(at, 8) ^ HASH_MUL_B, read_le(at + 8, 8) ^ hash);
        at += 16;
        left -= 16;
    }
    if (left > 8) {
        hash = mix(read_le(at, 8) ^ HASH_MUL_B, read_le(at + 8, left - 8) ^ hash);
    } else {
        hash = mix(read_le(at, left) ^ HASH_MUL_B, hash ^ HASH_MUL_C);
    }
    return mix(hash ^ HASH_MUL_A, (uint64_t)len ^ HASH_MUL_C);
}

/* volatile keeps the compiler from stopping at the first difference, which would tell an attacker
 * how much of a guess was right. */
bool bytes_eq_constant_time(const void *a, const void *b, size_t len)
{
    const volatile unsigned char *left = a;
    const volatile unsigned char *right = b;
    unsigned difference = 0;

    assert(a != NULL || len == 0);
    assert(b != NULL || len == 0);
    for (size_t i = 0; i < len; i++) {
        difference |= (unsigned)left[i] ^ (unsigned)right[i];
    }
    return difference == 0;
}
