/*
 * A decimal text is taken apart once (sign, digits, point, exponent), then stripped of zeros, then
 * counted up with overflow checks. No step goes through binary fractions, so nothing is ever
 * rounded.
 */
#include "libcommon/base/money.h"

#include <assert.h>

/* Products of two amounts need 128 bits; ISO C has no such type. */
__extension__ typedef __int128 int128;

#define SCALE_MAX              12
#define DECIMAL_TEXT_BYTES_MAX 4096   /* longer texts are not numbers anyone means */
#define EXPONENT_MAX           100000 /* saturates: far beyond what the digits of a text can undo */
#define DIGITS_MAX             19     /* of INT64_MAX */

_Static_assert(EXPONENT_MAX > 2 * DECIMAL_TEXT_BYTES_MAX, "saturating changes no answer");

/* The parts of a decimal text: digits (with at most one point among them) and the exponent. */
struct decimal_parts {
    bool negative;
    struct str digits;
    size_t point; /* digits before the point */
    int64_t exponent;
};

static size_t digit_run(struct str s)
{
    size_t count = 0;

    while (count < s.len && s.ptr[count] >= '0' && s.ptr[count] <= '9') {
        count++;
    }
    return count;
}

/* Saturates instead of failing: "0e99999" is zero, whatever the exponent. */
static bool scan_exponent(struct str s, int64_t *out)
{
    bool negative = str_starts(s, STR("-"));
    int64_t exponent = 0;

    assert(out != NULL);
    if (negative || str_starts(s, STR("+"))) {
        s = str_sub(s, 1, s.len);
    }
    if (s.len == 0 || digit_run(s) != s.len) {
        return false;
    }
    for (size_t i = 0; i < s.len && exponent < EXPONENT_MAX; i++) {
        exponent = exponent * 10 + (s.ptr[i] - '0');
    }
    if (exponent > EXPONENT_MAX) {
        exponent = EXPONENT_MAX;
    }
    *out = negative ? -exponent : exponent;
    return true;
}

/* -?digits[.digits][(e|E)[+-]digits] and nothing else. */
static bool scan(struct str s, struct decimal_parts *out)
{
    size_t run = 0;
    size_t len = 0;

    assert(out != NULL);
    out->negative = str_starts(s, STR("-"));
    if (out->negative) {
        s = str_sub(s, 1, s.len);
    }
    run = digit_run(s);
    if (run == 0) {
        return false;
    }
    out->point = run;
    len = run;
    if (len < s.len && s.ptr[len] == '.') {
        run = digit_run(str_sub(s, len + 1, s.len));
        if (run == 0) {
            return false;
        }
        len += 1 + run;
    }
    out->digits = str_sub(s, 0, len);
    out->exponent = 0;
    if (len == s.len) {
        return true;
    }
    if (s.ptr[len] != 'e' && s.ptr[len] != 'E') {
        return false;
    }
    return scan_exponent(str_sub(s, len + 1, s.len), &out->exponent);
}

/* Zeros at both ends say nothing about the size of the number: what remains is `significant` digits
 * whose last one stands for 10^*out_power. None remain of a zero. */
static struct str strip_zeros(const struct decimal_parts *parts, int64_t *out_power)
{
    struct str digits = parts->digits;
    size_t from = 0;
    size_t to = digits.len;
    int64_t places = 0; /* of the last remaining digit, behind the point */

    assert(parts->point <= digits.len);
    assert(out_power != NULL);
    while (from < to && (digits.ptr[from] == '0' || digits.ptr[from] == '.')) {
        from++;
    }
    while (to > from && (digits.ptr[to - 1] == '0' || digits.ptr[to - 1] == '.')) {
        to--;
    }
    if (to > parts->point) {
        places = (int64_t)(to - parts->point) - 1;
    } else {
        places = -(int64_t)(parts->point - to);
    }
    *out_power = parts->exponent - places;
    return str_sub(digits, from, to);
}

/* Unsigned, because the magnitude of INT64_MIN does not fit the signed type. */
static bool times_ten_plus(uint64_t *value, unsigned digit)
{
    assert(digit < 10);
    return !__builtin_mul_overflow(*value, UINT64_C(10), value) &&
           !__builtin_add_overflow(*value, (uint64_t)digit, value);
}

/* False when significant * 10^power does not fit 64 bits. */
static bool accumulate(struct str significant, int64_t power, uint64_t *out)
{
    uint64_t value = 0;

    assert(power >= 0);
    assert(out != NULL);
    if (power > DIGITS_MAX) {
        return false;
    }
    for (size_t i = 0; i < significant.len; i++) {
        if (significant.ptr[i] != '.' &&
            !times_ten_plus(&value, (unsigned)(significant.ptr[i] - '0'))) {
            return false;
        }
    }
    for (int64_t i = 0; i < power; i++) {
        if (!times_ten_plus(&value, 0)) {
            return false;
        }
    }
    *out = value;
    return true;
}

enum decimal_result decimal_parse(struct str s, unsigned scale, int64_t *out)
{
    struct decimal_parts parts;
    struct str significant;
    uint64_t magnitude = 0;
    uint64_t limit = 0;
    int64_t power = 0;

    assert(scale <= SCALE_MAX);
    assert(out != NULL);
    if (s.len > DECIMAL_TEXT_BYTES_MAX || !scan(s, &parts)) {
        return DECIMAL_SYNTAX;
    }
    significant = strip_zeros(&parts, &power);
    if (significant.len == 0) {
        *out = 0;
        return DECIMAL_OK;
    }
    power += scale;
    /* The last digit left is not zero; below the scale it would be lost. */
    if (power < 0) {
        return DECIMAL_PRECISION;
    }
    limit = (uint64_t)INT64_MAX + (parts.negative ? 1 : 0);
    if (!accumulate(significant, power, &magnitude) || magnitude > limit) {
        return DECIMAL_RANGE;
    }
    *out = (int64_t)(parts.negative ? 0 - magnitude : magnitude);
    return DECIMAL_OK;
}

static uint64_t power_of_ten(unsigned scale)
{
    uint64_t power = 1;

    assert(scale <= SCALE_MAX);
    for (unsigned i = 0; i < scale; i++) {
        power *= 10;
    }
    return power;
}

/* `places` digits of `fraction`, zeros in front included. */
static void format_fraction(struct buf *b, uint64_t fraction, unsigned places)
{
    char digits[SCALE_MAX];

    assert(places > 0);
    assert(places <= SCALE_MAX);
    for (unsigned i = places; i > 0; i--) {
        digits[i - 1] = (char)('0' + (char)(fraction % 10));
        fraction /= 10;
    }
    assert(fraction == 0);
    buf_char(b, '.');
    buf_append(b, digits, places);
}

/* Writes sign and whole part; gives the fraction. The sign is written apart from the number because
 * a value such as -5 at scale 2 has a whole part of zero. */
static uint64_t format_whole(struct buf *b, int64_t value, unsigned scale)
{
    uint64_t magnitude = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;
    uint64_t unit = power_of_ten(scale);

    if (value < 0) {
        buf_char(b, '-');
    }
    buf_uint64(b, magnitude / unit);
    return magnitude % unit;
}

void decimal_format(struct buf *b, int64_t value, unsigned scale)
{
    uint64_t fraction = 0;

    assert(b != NULL);
    fraction = format_whole(b, value, scale);
    if (scale > 0) {
        format_fraction(b, fraction, scale);
    }
}

void decimal_format_short(struct buf *b, int64_t value, unsigned scale)
{
    uint64_t fraction = 0;
    unsigned places = scale;

    assert(b != NULL);
    fraction = format_whole(b, value, scale);
    if (fraction == 0) {
        return;
    }
    while (fraction % 10 == 0) {
        fraction /= 10;
        places--;
    }
    format_fraction(b, fraction, places);
}

bool money_add(int64_t a, int64_t b, int64_t *out)
{
    int64_t sum = 0;

    assert(out != NULL);
    if (__builtin_add_overflow(a, b, &sum)) {
        return false;
    }
    *out = sum;
    return true;
}

bool money_sub(int64_t a, int64_t b, int64_t *out)
{
    int64_t difference = 0;

    assert(out != NULL);
    if (__builtin_sub_overflow(a, b, &difference)) {
        return false;
    }
    *out = difference;
    return true;
}

bool money_mul_ratio(int64_t a, int64_t numerator, int64_t denominator, int64_t *out)
{
    int128 product = (int128)a * numerator;
    int128 divisor = denominator;
    int128 quotient = 0;
    int128 rest = 0;

    assert(out != NULL);
    if (denominator == 0) {
        return false;
    }
    /* A positive divisor leaves one case per sign of the rest. 128 bits hold every product. */
    if (divisor < 0) {
        divisor = -divisor;
        product = -product;
    }
    quotient = product / divisor;
    rest = product % divisor;
    if (rest < 0) {
        quotient -= -2 * rest >= divisor ? 1 : 0;
    } else {
        quotient += 2 * rest >= divisor ? 1 : 0;
    }
    if (quotient > INT64_MAX || quotient < INT64_MIN) {
        return false;
    }
    *out = (int64_t)quotient;
    return true;
}
