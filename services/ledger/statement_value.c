/* Amounts, dates and header texts as banks write them. */
#include "services/ledger/statement.h"

#include "libcommon/base/buf.h"

#include <assert.h>
#include <string.h>

#define AMOUNT_DIGITS_MAX 18

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char ascii_lower(char c)
{
    if (c < 'A' || c > 'Z') {
        return c;
    }
    return (char)(c - 'A' + 'a');
}

/* The plain letter of a two-byte Latin-1 letter in UTF-8 (lead byte C3), or 0. */
static char unaccented(unsigned char second)
{
    static const struct {
        unsigned char upper;
        char plain;
    } letters[] = {
        {0x80, 'a'},
        {0x81, 'a'},
        {0x84, 'a'},
        {0x87, 'c'},
        {0x88, 'e'},
        {0x89, 'e'},
        {0x8b, 'e'},
        {0x8c, 'i'},
        {0x8d, 'i'},
        {0x8f, 'i'},
        {0x91, 'n'},
        {0x92, 'o'},
        {0x93, 'o'},
        {0x96, 'o'},
        {0x99, 'u'},
        {0x9a, 'u'},
        {0x9c, 'u'},
    };

    for (size_t i = 0; i < ARRAY_LEN(letters); i++) {
        if (second == letters[i].upper || second == letters[i].upper + 0x20) {
            return letters[i].plain;
        }
    }
    return 0;
}

struct str statement_fold(struct str text, char *out, size_t cap)
{
    struct buf b = buf_over(out, cap);
    bool blank = false;

    assert(out != NULL);
    assert(cap > 0);
    for (size_t i = 0; i < text.len; i++) {
        unsigned char c = (unsigned char)text.ptr[i];
        char plain = ascii_lower((char)c);

        if (c == 0xc3 && i + 1 < text.len) {
            plain = unaccented((unsigned char)text.ptr[++i]);
        }
        if (!is_digit(plain) && (plain < 'a' || plain > 'z')) {
            blank = b.len > 0;
            continue;
        }
        if (blank) {
            buf_char(&b, ' ');
            blank = false;
        }
        buf_char(&b, plain);
    }
    assert(b.len <= cap);
    return b.overflow ? STR_EMPTY : buf_view(&b);
}

/* Takes signs, brackets, currency marks and blanks off both ends; what is left must be digits and
 * points. */
static bool amount_strip(struct str text, struct str *out, bool *out_negative)
{
    bool negative = false;

    assert(out != NULL);
    assert(out_negative != NULL);
    text = str_trim(text);
    if (text.len > 2 && text.ptr[0] == '(' && text.ptr[text.len - 1] == ')') {
        negative = true;
        text = str_trim(str_sub(text, 1, text.len - 1));
    }
    if (text.len > 3 && str_eq_nocase(str_sub(text, 0, 3), STR("MXN"))) {
        text = str_trim(str_sub(text, 3, text.len));
    }
    if (text.len > 3 && str_eq_nocase(str_sub(text, text.len - 3, text.len), STR("MXN"))) {
        text = str_trim(str_sub(text, 0, text.len - 3));
    }
    for (int i = 0; i < 2 && text.len > 0; i++) { /* "-$5" and "$-5" */
        if (text.ptr[0] == '-' || text.ptr[0] == '+') {
            negative = negative || text.ptr[0] == '-';
            text = str_trim(str_sub(text, 1, text.len));
        } else if (text.ptr[0] == '$') {
            text = str_trim(str_sub(text, 1, text.len));
        }
    }
    if (text.len > 1 && text.ptr[text.len - 1] == '-') {
        negative = true;
        text = str_sub(text, 0, text.len - 1);
    }
    *out = text;
    *out_negative = negative;
    return text.len > 0;
}

/* The last point or comma is the decimal mark when one or two digits follow it; others group
 * thousands. */
static bool decimal_mark(struct str digits, size_t *out_at)
{
    assert(out_at != NULL);
    for (size_t i = digits.len; i > 0; i--) {
        char c = digits.ptr[i - 1];

        if (c == '.' || c == ',') {
            *out_at = i - 1;
            return digits.len - i <= 2;
        }
    }
    return false;
}

/* A mark between groups: the same as before it, three digits after the last one. */
static bool group_mark(char c, char decimal, char mark, size_t since_mark)
{
    assert(since_mark <= AMOUNT_DIGITS_MAX);
    return (c == ',' || c == '.') && c != decimal && (mark == 0 || (mark == c && since_mark == 3));
}

/* Whole part: groups of three behind marks that are all alike and not the decimal mark. A lone
 * point with three digits behind it could be either: refused, since in Mexico the point is the
 * decimal mark. */
static bool whole_digits(struct str whole, char decimal, int64_t *out)
{
    int64_t value = 0;
    size_t digits = 0;
    size_t since_mark = 0;
    size_t marks = 0;
    char mark = 0;

    assert(out != NULL);
    for (size_t i = 0; i < whole.len; i++) {
        char c = whole.ptr[i];

        if (is_digit(c) && digits < AMOUNT_DIGITS_MAX - 2) {
            value = value * 10 + (c - '0');
            since_mark++;
            digits++;
        } else if (digits > 0 && group_mark(c, decimal, mark, since_mark)) {
            mark = c;
            marks++;
            since_mark = 0;
        } else {
            return false;
        }
    }
    assert(value >= 0);
    assert(digits < AMOUNT_DIGITS_MAX);
    *out = value;
    if (mark == '.' && marks == 1 && decimal == 0) {
        return false;
    }
    return digits > 0 && (mark == 0 || since_mark == 3);
}

bool statement_amount(struct str text, int64_t *out_centavos)
{
    struct str digits = STR_EMPTY;
    struct str fraction = STR_EMPTY;
    bool negative = false;
    size_t at = 0;
    int64_t whole = 0;
    int64_t centavos = 0;
    char decimal = 0;

    assert(out_centavos != NULL);
    if (!amount_strip(text, &digits, &negative)) {
        return false;
    }
    if (decimal_mark(digits, &at)) {
        decimal = digits.ptr[at];
        fraction = str_sub(digits, at + 1, digits.len);
        digits = str_sub(digits, 0, at);
    }
    if (!whole_digits(digits, decimal, &whole)) {
        return false;
    }
    for (size_t i = 0; i < 2; i++) {
        if (i < fraction.len && !is_digit(fraction.ptr[i])) {
            return false;
        }
        centavos = centavos * 10 + (i < fraction.len ? fraction.ptr[i] - '0' : 0);
    }
    assert(centavos < 100);
    whole = whole * 100 + centavos;
    *out_centavos = negative ? -whole : whole;
    return true;
}

static bool small_number(struct str s, uint32_t *out)
{
    uint32_t value = 0;

    assert(out != NULL);
    if (s.len == 0 || s.len > 4) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (!is_digit(s.ptr[i])) {
            return false;
        }
        value = value * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    assert(value <= 9999);
    *out = value;
    return true;
}

/* Spanish and English months by their first three letters; "ene" and "jan" are both 1. */
static bool month_name(struct str s, uint32_t *out)
{
    static const char names[] = "enefebmarabrmayjunjulagosepoctnovdic"
                                "janfebmaraprmayjunjulaugsepoctnovdec";

    assert(out != NULL);
    for (size_t i = 0; s.len >= 3 && i + 3 < sizeof names; i += 3) {
        if (memcmp(names + i, s.ptr, 3) == 0) {
            *out = (uint32_t)(i / 3 % 12 + 1);
            return true;
        }
    }
    return false;
}

static uint32_t full_year(uint32_t year)
{
    assert(year <= 9999);
    return year < 100 ? 2000 + year : year;
}

/* Up to three parts of the folded text, the Spanish "de" between them left out. */
static uint32_t date_parts(struct str folded, struct str parts[3])
{
    struct str part = STR_EMPTY;
    uint32_t count = 0;

    assert(parts != NULL);
    while (str_split(&folded, ' ', &part)) {
        if (str_eq(part, STR("de")) || part.len == 0) {
            continue;
        }
        if (count == 3) {
            return 0;
        }
        parts[count++] = part;
    }
    assert(count <= 3);
    return count;
}

bool statement_date(struct str text, enum statement_date_order order, struct date *out)
{
    char memory[48];
    struct str parts[3];
    uint32_t n[3] = {0};
    uint32_t year = 0;
    uint32_t month = 0;
    uint32_t day = 0;

    assert(out != NULL);
    assert(order <= STATEMENT_MDY);
    if (text.len > 40 || date_parts(statement_fold(text, memory, sizeof memory), parts) != 3 ||
        !small_number(parts[0], &n[0]) || !small_number(parts[2], &n[2])) {
        return false;
    }
    if (month_name(parts[1], &month)) {
        year = parts[0].len == 4 ? n[0] : full_year(n[2]);
        day = parts[0].len == 4 ? n[2] : n[0];
    } else if (!small_number(parts[1], &n[1])) {
        return false;
    } else if (parts[0].len == 4) {
        year = n[0];
        month = n[1];
        day = n[2];
    } else {
        year = full_year(n[2]);
        month = order == STATEMENT_MDY ? n[0] : n[1];
        day = order == STATEMENT_MDY ? n[1] : n[0];
    }
    if (year < 1990 || year > 2100 || !date_exists((int32_t)year, month, day)) {
        return false;
    }
    *out = (struct date){(int32_t)year, (uint8_t)month, (uint8_t)day};
    return true;
}
