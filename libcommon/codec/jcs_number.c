/* tidy: allow float here: RFC 8785 3.2.2.3 makes every number an IEEE 754 double */
#include "libcommon/codec/jcs_number.h"

#include "libcommon/codec/json_scan.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DIGITS_MAX       17 /* so many always bring the same number back */
#define EXACT_DIGITS_MAX 15 /* integers of so many digits are their own shortest form */
#define PLAIN_DIGITS_MAX 21 /* before the point; more are written with an exponent */
#define PLAIN_ZEROS_MAX  6  /* the same behind the point */

/* 0.DIGITS times ten to the power of `point`. */
struct decimal {
    char digits[DIGITS_MAX + 1];
    size_t count;
    int point;
};

/* Programs here never leave the "C" locale, so the point is a point. */
static double read_number(const char *text)
{
    assert(text[0] != '\0');
    return strtod(text, NULL); /* tidy: allow banned: rounds as IEEE 754 says */
}

static uint64_t bits_of(double value)
{
    uint64_t bits = 0;

    _Static_assert(sizeof bits == sizeof value, "a double has 64 bits");
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* The nearest decimal of `count` digits. */
static void decimal_round(double value, size_t count, struct decimal *out)
{
    char text[DIGITS_MAX + 16];
    int64_t exponent = 0;
    const char *mark = NULL;

    assert(count >= 1);
    assert(count <= DIGITS_MAX);
    (void)snprintf(text, sizeof text, "%.*e", (int)count - 1, value);
    mark = strchr(text, 'e');
    assert(mark != NULL);
    out->count = count;
    out->digits[0] = text[0];
    if (count > 1) {
        memcpy(out->digits + 1, text + 2, count - 1);
    }
    for (const char *at = mark + 2; *at != '\0'; at++) {
        exponent = exponent * 10 + (*at - '0');
    }
    out->point = 1 + (int)(mark[1] == '-' ? -exponent : exponent);
}

/* The next larger decimal of as many digits. */
static void decimal_up(struct decimal *decimal)
{
    size_t at = decimal->count;

    assert(at > 0);
    while (at > 0 && decimal->digits[at - 1] == '9') {
        decimal->digits[--at] = '0';
    }
    if (at > 0) {
        decimal->digits[at - 1]++;
    } else {
        decimal->digits[0] = '1';
        decimal->point++;
    }
}

static bool decimal_is(const struct decimal *decimal, double value)
{
    char text[DIGITS_MAX + 16];

    assert(decimal->count <= DIGITS_MAX);
    (void)snprintf(
        text, sizeof text, "0.%.*se%d", (int)decimal->count, decimal->digits, decimal->point);
    return bits_of(read_number(text)) == bits_of(value);
}

/* Below a power of two doubles lie closer together than above it, so that the nearest decimal may
 * miss where the next larger one does not. */
static bool decimal_of(double value, size_t count, struct decimal *out)
{
    bool power_of_two = (bits_of(value) & ((UINT64_C(1) << 52) - 1)) == 0;

    assert(value > 0);
    decimal_round(value, count, out);
    if (decimal_is(out, value)) {
        return true;
    }
    if (!power_of_two) {
        return false;
    }
    decimal_up(out);
    return decimal_is(out, value);
}

/* The fewest digits that bring `value` back, and of those the nearest. */
static void decimal_shortest(double value, struct decimal *out)
{
    size_t count = 1;

    while (!decimal_of(value, count, out)) {
        count++;
        assert(count <= DIGITS_MAX);
    }
    assert(out->count == 1 || out->digits[out->count - 1] != '0'); /* or one less would have done */
}

static void write_zeros(struct buf *out, int count)
{
    assert(count <= PLAIN_DIGITS_MAX);
    for (int i = 0; i < count; i++) {
        buf_char(out, '0');
    }
}

static void write_exponent(const struct decimal *decimal, struct buf *out)
{
    int exponent = decimal->point - 1;

    assert(exponent != 0);
    buf_char(out, decimal->digits[0]);
    if (decimal->count > 1) {
        buf_char(out, '.');
        buf_append(out, decimal->digits + 1, decimal->count - 1);
    }
    buf_text(out, exponent < 0 ? "e-" : "e+");
    buf_int64(out, exponent < 0 ? -exponent : exponent);
}

/* Number::toString of ECMA-262, by where the point falls. */
static void write_decimal(const struct decimal *decimal, struct buf *out)
{
    int count = (int)decimal->count;
    int point = decimal->point;

    assert(count >= 1);
    if (point > PLAIN_DIGITS_MAX || point <= -PLAIN_ZEROS_MAX) {
        write_exponent(decimal, out);
    } else if (count <= point) {
        buf_append(out, decimal->digits, decimal->count);
        write_zeros(out, point - count);
    } else if (point > 0) {
        buf_append(out, decimal->digits, (size_t)point);
        buf_char(out, '.');
        buf_append(out, decimal->digits + point, (size_t)(count - point));
    } else {
        buf_text(out, "0.");
        write_zeros(out, -point);
        buf_append(out, decimal->digits, decimal->count);
    }
}

static bool is_short_integer(struct str number)
{
    size_t digits = number.len - (number.ptr[0] == '-' ? 1 : 0);

    assert(number.len > 0);
    if (digits > EXACT_DIGITS_MAX) {
        return false;
    }
    for (size_t i = number.len - digits; i < number.len; i++) {
        if (number.ptr[i] < '0' || number.ptr[i] > '9') {
            return false;
        }
    }
    return true;
}

enum code jcs_number_write(struct str number, struct buf *out, struct err *err)
{
    char text[JSON_NUMBER_TEXT_BYTES_MAX + 1];
    struct decimal decimal;
    double value = 0;

    assert(number.len > 0);
    assert(number.len < sizeof text);
    if (is_short_integer(number)) {
        buf_str(out, str_eq(number, STR("-0")) ? STR("0") : number);
        return OK;
    }
    (void)str_copy(number, text, sizeof text);
    value = read_number(text);
    if (isinf(value)) {
        return err_set(err, ERR_JSON, "the number %.40s is beyond a double", text);
    }
    if (fpclassify(value) == FP_ZERO) {
        buf_char(out, '0'); /* -0 as well */
        return OK;
    }
    if (signbit(value)) {
        buf_char(out, '-');
        value = -value;
    }
    decimal_shortest(value, &decimal);
    write_decimal(&decimal, out);
    return OK;
}
