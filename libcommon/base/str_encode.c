/* The encodings of str.h: hexadecimal, base64 and base64url. */
#include "libcommon/base/str.h"

#include <assert.h>

#define NOT_A_DIGIT 0xFFu

static const char hex_digits[] = "0123456789abcdef";
static const char base64_digits[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/* The last two digits. base64url has those that URLs and file names take. */
static const char plain_last[] = "+/";
static const char url_last[] = "-_";

static unsigned hex_value(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    if (c >= 'a' && c <= 'f') {
        return (unsigned)(c - 'a') + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return (unsigned)(c - 'A') + 10;
    }
    return NOT_A_DIGIT;
}

/* A refused text may leave bytes in `out`; only *out_len says that they mean something. */
bool hex_decode(struct str s, uint8_t *out, size_t cap, size_t *out_len)
{
    assert(out != NULL || cap == 0);
    assert(out_len != NULL);
    if (s.len % 2 != 0 || s.len / 2 > cap) {
        return false;
    }
    for (size_t i = 0; i < s.len / 2; i++) {
        unsigned high = hex_value(s.ptr[2 * i]);
        unsigned low = hex_value(s.ptr[2 * i + 1]);

        if (high == NOT_A_DIGIT || low == NOT_A_DIGIT) {
            return false;
        }
        out[i] = (uint8_t)(high << 4 | low);
    }
    *out_len = s.len / 2;
    return true;
}

void hex_encode(const uint8_t *bytes, size_t len, char *out)
{
    assert(bytes != NULL || len == 0);
    assert(out != NULL);
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = hex_digits[bytes[i] >> 4];
        out[2 * i + 1] = hex_digits[bytes[i] & 0x0Fu];
    }
    out[2 * len] = '\0';
}

static unsigned base64_value(char c, const char *last)
{
    if (c >= 'A' && c <= 'Z') {
        return (unsigned)(c - 'A');
    }
    if (c >= 'a' && c <= 'z') {
        return (unsigned)(c - 'a') + 26;
    }
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0') + 52;
    }
    if (c == last[0]) {
        return 62;
    }
    return c == last[1] ? 63 : NOT_A_DIGIT;
}

static char base64_digit(uint32_t bits, const char *last)
{
    uint32_t value = bits & 0x3Fu;

    assert(last[0] != '\0');
    if (value < 62) {
        return base64_digits[value];
    }
    return last[value - 62];
}

/* A digit group of 2 or 3 carries unused low bits; they must be zero, else two texts would mean the
 * same bytes and a signature could be respelled. */
static bool digits_decode(struct str s, const char *last, uint8_t *out, size_t cap, size_t *out_len)
{
    size_t bytes = s.len / 4 * 3 + (s.len % 4 == 0 ? 0 : s.len % 4 - 1);
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t at = 0;

    assert(out != NULL || cap == 0);
    assert(out_len != NULL);
    if (s.len % 4 == 1 || bytes > cap) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        unsigned value = base64_value(s.ptr[i], last);

        if (value == NOT_A_DIGIT) {
            return false;
        }
        bits = bits << 6 | value;
        bit_count += 6;
        if (bit_count >= 8) {
            bit_count -= 8;
            out[at++] = (uint8_t)(bits >> bit_count & 0xFFu);
        }
    }
    if ((bits & ((1u << bit_count) - 1)) != 0) {
        return false;
    }
    assert(at == bytes);
    *out_len = bytes;
    return true;
}

static size_t digits_encode(const uint8_t *bytes, size_t len, const char *last, char *out)
{
    uint32_t bits = 0;
    unsigned bit_count = 0;
    size_t at = 0;

    assert(bytes != NULL || len == 0);
    for (size_t i = 0; i < len; i++) {
        bits = bits << 8 | bytes[i];
        bit_count += 8;
        while (bit_count >= 6) {
            bit_count -= 6;
            out[at++] = base64_digit(bits >> bit_count, last);
        }
    }
    if (bit_count > 0) {
        out[at++] = base64_digit(bits << (6 - bit_count), last);
    }
    return at;
}

bool base64url_decode(struct str s, uint8_t *out, size_t cap, size_t *out_len)
{
    return digits_decode(s, url_last, out, cap, out_len);
}

size_t base64url_encode(const uint8_t *bytes, size_t len, char *out, size_t cap)
{
    size_t digits = len / 3 * 4 + (len % 3 == 0 ? 0 : len % 3 + 1);

    assert(out != NULL);
    assert(cap > 0);
    if (digits >= cap) {
        out[0] = '\0';
        return 0;
    }
    (void)digits_encode(bytes, len, url_last, out);
    out[digits] = '\0';
    return digits;
}

bool base64_decode(struct str s, uint8_t *out, size_t cap, size_t *out_len)
{
    size_t padding = 0;

    assert(s.ptr != NULL);
    if (s.len % 4 != 0) {
        return false;
    }
    while (padding < 2 && s.len > padding && s.ptr[s.len - 1 - padding] == '=') {
        padding++;
    }
    s.len -= padding;
    return digits_decode(s, plain_last, out, cap, out_len);
}

size_t base64_encode(const uint8_t *bytes, size_t len, char *out, size_t cap)
{
    size_t digits = (len + 2) / 3 * 4;
    size_t at = 0;

    assert(out != NULL);
    assert(cap > 0);
    out[0] = '\0';
    if (digits >= cap) {
        return 0;
    }
    at = digits_encode(bytes, len, plain_last, out);
    while (at < digits) {
        out[at++] = '=';
    }
    out[at] = '\0';
    return digits;
}
