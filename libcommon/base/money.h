#pragma once
/*
 * Exact decimals as int64 scaled integers; money is centavos (scale 2). No float anywhere.
 * Parsers take the text of a JSON number or decimal string and refuse what does not fit exactly.
 */

#include "libcommon/base/buf.h"

/* 999,999,999.99 in centavos: the largest amount the API takes. */
#define MONEY_MAX_CENTAVOS INT64_C(99999999999)

enum decimal_result {
    DECIMAL_OK,
    DECIMAL_SYNTAX,    /* not a decimal number */
    DECIMAL_PRECISION, /* more places than the scale, and they are not zeros */
    DECIMAL_RANGE      /* does not fit int64 */
};

/* Text such as "1500.5", "-3.10", "1e3", "0.50" into value * 10^scale, exactly; scale 0..12. */
enum decimal_result decimal_parse(struct str s, unsigned scale, int64_t *out);
/* Always `scale` places: 150050 -> "1500.50". */
void decimal_format(struct buf *b, int64_t value, unsigned scale);
/* Trailing zeros and a bare point dropped: 1000000 at 6 -> "1". */
void decimal_format_short(struct buf *b, int64_t value, unsigned scale);

/* Checked arithmetic: false on overflow (and for a zero denominator), *out untouched. */
/* tidy: allow unused: with the others it makes the set of checked operations */
bool money_add(int64_t a, int64_t b, int64_t *out) MUST_CHECK;
/* tidy: allow unused: with the others it makes the set of checked operations */
bool money_sub(int64_t a, int64_t b, int64_t *out) MUST_CHECK;
/* a * numerator / denominator rounded half away from zero (the SAT's usual "redondeo"). */
bool money_mul_ratio(int64_t a, int64_t numerator, int64_t denominator, int64_t *out) MUST_CHECK;
