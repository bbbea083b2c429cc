/* The patterns a field may have to match (rules.h), written by hand: no regular expressions. */
#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/codec/rules.h"

#include <assert.h>

#define EMAIL_BYTES_MAX       254 /* RFC 5321 */
#define EMAIL_LOCAL_BYTES_MAX 64
#define DNS_LABEL_BYTES_MAX   63
#define RFC_TAIL_BYTES        9 /* YYMMDD and three characters */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

static bool is_letter(char c)
{
    return is_upper((char)((unsigned char)c & ~0x20u));
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* Bytes of characters beyond ASCII count as letters: addresses may be internationalised. */
static bool is_beyond_ascii(char c)
{
    return ((unsigned char)c & 0x80u) != 0;
}

static bool is_label(struct str label)
{
    if (label.len == 0 || label.len > DNS_LABEL_BYTES_MAX || label.ptr[0] == '-' ||
        label.ptr[label.len - 1] == '-') {
        return false;
    }
    for (size_t i = 0; i < label.len; i++) {
        char c = label.ptr[i];

        if (!is_letter(c) && !is_digit(c) && c != '-' && !is_beyond_ascii(c)) {
            return false;
        }
    }
    return true;
}

/* At least two labels, the last of two characters or more and not a number. */
static bool is_domain(struct str domain)
{
    struct str label = STR_EMPTY;
    struct str rest = domain;
    size_t labels = 0;

    if (str_ends(domain, STR("."))) {
        return false;
    }
    while (str_split(&rest, '.', &label)) {
        if (!is_label(label)) {
            return false;
        }
        labels++;
    }
    return labels >= 2 && label.len >= 2 && !is_digit(label.ptr[0]);
}

/* The dot-atom of RFC 5322, beyond ASCII too (RFC 6531); no quoted forms. */
static bool is_local_part(struct str local)
{
    static const struct str allowed = {"!#$%&'*+-/=?^_`{|}~.", 20};

    if (local.len == 0 || local.len > EMAIL_LOCAL_BYTES_MAX || local.ptr[0] == '.' ||
        local.ptr[local.len - 1] == '.') {
        return false;
    }
    for (size_t i = 0; i < local.len; i++) {
        char c = local.ptr[i];
        size_t at = 0;

        if (!is_letter(c) && !is_digit(c) && !is_beyond_ascii(c) &&
            !str_find_char(allowed, c, &at)) {
            return false;
        }
        if (c == '.' && local.ptr[i + 1] == '.') {
            return false;
        }
    }
    return true;
}

static bool is_email(struct str text)
{
    size_t at = 0;

    if (text.len > EMAIL_BYTES_MAX || utf8_has_control(text, NULL) ||
        !str_find_char(text, '@', &at)) {
        return false;
    }
    return is_local_part(str_sub(text, 0, at)) && is_domain(str_sub(text, at + 1, text.len));
}

/* Letters of a name: A to Z, Ñ (C3 91) and &; counts them, or gives 0 when others are among them.
 */
static size_t rfc_letters(struct str text)
{
    size_t count = 0;

    for (size_t i = 0; i < text.len; i++) {
        if (str_starts(str_sub(text, i, text.len), STR("\xC3\x91"))) {
            i++;
        } else if (!is_upper(text.ptr[i]) && text.ptr[i] != '&') {
            return 0;
        }
        count++;
    }
    assert(count <= text.len);
    return count;
}

static uint32_t two_digits(struct str text, size_t at)
{
    assert(at + 1 < text.len);
    assert(is_digit(text.ptr[at]));
    assert(is_digit(text.ptr[at + 1]));
    return (uint32_t)(text.ptr[at] - '0') * 10 + (uint32_t)(text.ptr[at + 1] - '0');
}

/* Three letters (companies) or four (persons), the day of foundation or birth as YYMMDD, and the
 * homoclave. The century is not written, so the day must exist in either. The generic RFCs of the
 * SAT, XAXX010101000 and XEXX010101000, have the same form. */
static bool is_rfc(struct str text)
{
    struct str tail;
    size_t letters = 0;

    if (text.len <= RFC_TAIL_BYTES) {
        return false;
    }
    tail = str_sub(text, text.len - RFC_TAIL_BYTES, text.len);
    assert(tail.len == RFC_TAIL_BYTES);
    letters = rfc_letters(str_sub(text, 0, text.len - RFC_TAIL_BYTES));
    if (letters != 3 && letters != 4) {
        return false;
    }
    for (size_t i = 0; i < RFC_TAIL_BYTES; i++) {
        if (!is_digit(tail.ptr[i]) && (i < 6 || !is_upper(tail.ptr[i]))) {
            return false;
        }
    }
    return date_exists(
               1900 + (int32_t)two_digits(tail, 0), two_digits(tail, 2), two_digits(tail, 4)) ||
           date_exists(
               2000 + (int32_t)two_digits(tail, 0), two_digits(tail, 2), two_digits(tail, 4));
}

static bool is_currency(struct str text)
{
    return text.len == 3 && is_upper(text.ptr[0]) && is_upper(text.ptr[1]) && is_upper(text.ptr[2]);
}

static bool is_color(struct str text)
{
    if (text.len != 7 || text.ptr[0] != '#') {
        return false;
    }
    for (size_t i = 1; i < text.len; i++) {
        if (!is_hex(text.ptr[i])) {
            return false;
        }
    }
    return true;
}

/* Browsers read "//host" and "/\host" as another site, so neither is a path here. */
static bool is_url_or_path(struct str text)
{
    struct str rest = STR_EMPTY;

    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == ' ' || text.ptr[i] == '\\') {
            return false;
        }
    }
    if (utf8_has_control(text, NULL)) {
        return false;
    }
    if (str_starts(text, STR("/"))) {
        return !str_starts(text, STR("//"));
    }
    if (str_starts(text, STR("https://"))) {
        rest = str_sub(text, 8, text.len);
    } else if (str_starts(text, STR("http://"))) {
        rest = str_sub(text, 7, text.len);
    }
    return rest.len > 0 && rest.ptr[0] != '/' && rest.ptr[0] != '?' && rest.ptr[0] != '#';
}

bool pattern_matches(enum api_pattern pattern, struct str text)
{
    assert(text.ptr != NULL || text.len == 0);
    switch (pattern) {
    case API_PATTERN_EMAIL:
        return is_email(text);
    case API_PATTERN_RFC:
        return is_rfc(text);
    case API_PATTERN_UUID:
        return uuid_valid(text);
    case API_PATTERN_CURRENCY:
        return is_currency(text);
    case API_PATTERN_COLOR:
        return is_color(text);
    case API_PATTERN_URL_OR_PATH:
        return is_url_or_path(text);
    case API_PATTERN_NONE:
        return true;
    case API_PATTERN_COUNT:
        break;
    }
    assert(!"a pattern that does not exist");
    return false;
}
