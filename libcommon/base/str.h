#pragma once
/*
 * String views: pointer and length, never owned, never required to end in NUL.
 * Parsers return false on anything that is not exactly the form they name; no locale, no float.
 */

#include "libcommon/base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str {
    const char *ptr;
    size_t len;
};

#define STR(literal) ((struct str){"" literal, sizeof(literal) - 1})
#define STR_EMPTY    ((struct str){"", 0})
/* For printf("%.*s", STR_FMT(s)). */
#define STR_FMT(s) (int)(s).len, (s).ptr

struct str str_from(const char *text);                    /* NULL gives the empty view */
struct str str_sub(struct str s, size_t from, size_t to); /* clamped to the view */
bool str_eq(struct str a, struct str b);
bool str_eq_nocase(struct str a, struct str b); /* ASCII only */
int str_cmp(struct str a, struct str b);
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
struct str str_trim(struct str s); /* ASCII white space */
/* NUL-ended into `out`; false, and nothing but the NUL, when it does not fit. */
bool str_copy(struct str s, char *out, size_t cap);
bool str_find(struct str s, struct str needle, size_t *out_at);
bool str_find_char(struct str s, char c, size_t *out_at);
/* Takes the part before `separator` off the front of *rest; false when *rest is exhausted ("a," has
 * two parts, "" has one). */
bool str_split(struct str *rest, char separator, struct str *out_part);

/* Decimal integers: optional '-', digits, no sign '+', no blanks, no leading zeros beyond "0". */
bool str_to_int64(struct str s, int64_t *out);
bool str_to_uint64(struct str s, uint64_t *out);

/* Encodings. Decoders check length and alphabet; false leaves *out_len untouched. */
bool hex_decode(struct str s, uint8_t *out, size_t cap, size_t *out_len);
void hex_encode(const uint8_t *bytes, size_t len, char *out /* 2*len+1 */);
bool base64url_decode(struct str s, uint8_t *out, size_t cap, size_t *out_len); /* no padding */
/* NUL ended; gives the length, or 0 and "" when `cap` is too small. */
size_t base64url_encode(const uint8_t *bytes, size_t len, char *out, size_t cap);
/* Plain base64 with its padding (RFC 4648 4), as above. */
bool base64_decode(struct str s, uint8_t *out, size_t cap, size_t *out_len);
size_t base64_encode(const uint8_t *bytes, size_t len, char *out, size_t cap);

/* UTF-8 (RFC 3629): shortest form, no surrogates, at most U+10FFFF. */
bool utf8_valid(struct str s);
/* The same, and counts code points. */
bool utf8_length(struct str s, size_t *out_code_points);
/* The longest beginning of a valid text in at most `bytes_max` bytes that ends with a character. */
struct str utf8_cut(struct str s, size_t bytes_max);
/* True when the text holds a control character other than those in `allowed` (e.g. "\t\n\r"). */
bool utf8_has_control(struct str s, const char *allowed);
/* True when the text holds a character that turns the direction of what follows (U+202A..202E and
 * U+2066..2069): it can make one text look like another. */
bool utf8_has_bidi_control(struct str s);

/* 64-bit hash of bytes for tables keyed by our own data (not for attacker-chosen flooding: seeded).
 */
uint64_t hash_bytes(const void *bytes, size_t len, uint64_t seed);
/* Compares in time that depends on `len` only. */
bool bytes_eq_constant_time(const void *a, const void *b, size_t len);
