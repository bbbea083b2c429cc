#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/money.h"

#include <string.h>

static void decimals_are_read(void **state)
{
    static const struct {
        const char *text;
        unsigned scale;
        int64_t value;
    } rows[] = {
        {"0",                                                              2,  0          },
        {"-0",                                                             2,  0          },
        {"-0.00",                                                          2,  0          },
        {"1500.5",                                                         2,  150050     },
        {"-3.10",                                                          2,  -310       },
        {"0.5",                                                            2,  50         },
        {"0.01",                                                           2,  1          },
        {"1e3",                                                            2,  100000     },
        {"1E+3",                                                           2,  100000     },
        {"1.50e1",                                                         2,  1500       },
        {"0.5e-1",                                                         2,  5          },
        {"150000e-3",                                                      2,  15000      },
        {"12345e-2",                                                       2,  12345      },
        {"1e00000000000000000002",                                         2,  10000      },
        {"999999999.99",                                                   2,  99999999999},
        {"92233720368547758.07",                                           2,  INT64_MAX  },
        {"-92233720368547758.08",                                          2,  INT64_MIN  },
        {"9223372036854775807",                                            0,  INT64_MAX  },
        {"-9223372036854775808",                                           0,  INT64_MIN  },
        {"9223372.036854775807",                                           12, INT64_MAX  },
        {"0.000001",                                                       6,  1          },
        {"1.230000000000000000000000000000000000000000000000000000000000", 2,  123        },
        {"000000000000000000000000000000000000000000000000000000000007.5", 2,  750        },
        {"0.000000000000000000000000000000000000000000000000e999",         2,  0          },
        {"0e-999999999999999999999",                                       2,  0          },
        {"0e999999999999999999999",                                        2,  0          },
        {"1000000000000000000000e-21",                                     2,  100        },
        {"0.000000000000000000001e21",                                     2,  100        },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 77;

        assert_row(i, decimal_parse(str_from(rows[i].text), rows[i].scale, &value) == DECIMAL_OK);
        assert_row(i, value == rows[i].value);
    }
}

static void decimals_are_refused(void **state)
{
    static const struct {
        const char *text;
        enum decimal_result result;
    } rows[] = {
        {"",                                               DECIMAL_SYNTAX   },
        {"-",                                              DECIMAL_SYNTAX   },
        {"+1",                                             DECIMAL_SYNTAX   },
        {"--1",                                            DECIMAL_SYNTAX   },
        {"12abc",                                          DECIMAL_SYNTAX   },
        {"NaN",                                            DECIMAL_SYNTAX   },
        {"Infinity",                                       DECIMAL_SYNTAX   },
        {"-inf",                                           DECIMAL_SYNTAX   },
        {"1.",                                             DECIMAL_SYNTAX   },
        {".5",                                             DECIMAL_SYNTAX   },
        {"-.5",                                            DECIMAL_SYNTAX   },
        {".",                                              DECIMAL_SYNTAX   },
        {" 1",                                             DECIMAL_SYNTAX   },
        {"1 ",                                             DECIMAL_SYNTAX   },
        {"1.5.5",                                          DECIMAL_SYNTAX   },
        {"1e",                                             DECIMAL_SYNTAX   },
        {"1e+",                                            DECIMAL_SYNTAX   },
        {"1e1.5",                                          DECIMAL_SYNTAX   },
        {"1.e1",                                           DECIMAL_SYNTAX   },
        {"e5",                                             DECIMAL_SYNTAX   },
        {"0x10",                                           DECIMAL_SYNTAX   },
        {"1,000.00",                                       DECIMAL_SYNTAX   },
        {"$5",                                             DECIMAL_SYNTAX   },
        {"5\n",                                            DECIMAL_SYNTAX   },
        {"\xD9\xA5",                                       DECIMAL_SYNTAX   },
        {"0.001",                                          DECIMAL_PRECISION},
        {"1.999",                                          DECIMAL_PRECISION},
        {"-1.005",                                         DECIMAL_PRECISION},
        {"1e-3",                                           DECIMAL_PRECISION},
        {"1e-999999999999999999999",                       DECIMAL_PRECISION},
        {"1.00000000000000000000000000000000000000000001", DECIMAL_PRECISION},
        {"92233720368547758.08",                           DECIMAL_RANGE    },
        {"-92233720368547758.09",                          DECIMAL_RANGE    },
        {"184467440737095516.16",                          DECIMAL_RANGE    }, /* 2^64: no wrapping round */
        {"1e17",                                           DECIMAL_RANGE    },
        {"1e999999999999999999999",                        DECIMAL_RANGE    },
        {"99999999999999999999999999999999999999",         DECIMAL_RANGE    },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 77;

        assert_row(i, decimal_parse(str_from(rows[i].text), 2, &value) == rows[i].result);
        assert_row(i, value == 77);
    }
    assert_int_equal(decimal_parse((struct str){NULL, 0}, 2, &(int64_t){0}), DECIMAL_SYNTAX);
    assert_int_equal(decimal_parse(STR("1\0"), 2, &(int64_t){0}), DECIMAL_SYNTAX);
}

static void endless_texts_are_refused(void **state)
{
    char text[5000];
    int64_t value = 0;

    (void)state;
    memset(text, '0', sizeof(text));
    assert_int_equal(decimal_parse((struct str){text, sizeof(text)}, 2, &value), DECIMAL_SYNTAX);
    assert_int_equal(decimal_parse((struct str){text, 4000}, 2, &value), DECIMAL_OK);
    text[3999] = '7';
    assert_int_equal(decimal_parse((struct str){text, 4000}, 2, &value), DECIMAL_OK);
    assert_int_equal(value, 700);
}

static void check_format(int64_t value, unsigned scale, const char *full, const char *brief)
{
    char memory[32];
    struct buf b = buf_over(memory, sizeof(memory));

    decimal_format(&b, value, scale);
    assert_true(buf_terminate(&b));
    assert_string_equal(memory, full);
    buf_reset(&b);
    decimal_format_short(&b, value, scale);
    assert_true(buf_terminate(&b));
    assert_string_equal(memory, brief);
}

static void decimals_are_written(void **state)
{
    (void)state;
    check_format(150050, 2, "1500.50", "1500.5");
    check_format(0, 2, "0.00", "0");
    check_format(5, 2, "0.05", "0.05");
    check_format(-5, 2, "-0.05", "-0.05");
    check_format(-100, 2, "-1.00", "-1");
    check_format(1000000, 6, "1.000000", "1");
    check_format(1000001, 6, "1.000001", "1.000001");
    check_format(42, 0, "42", "42");
    check_format(100, 0, "100", "100");
    check_format(INT64_MAX, 2, "92233720368547758.07", "92233720368547758.07");
    check_format(INT64_MIN, 2, "-92233720368547758.08", "-92233720368547758.08");
    check_format(INT64_MIN, 12, "-9223372.036854775808", "-9223372.036854775808");
    check_format(INT64_MIN, 0, "-9223372036854775808", "-9223372036854775808");
}

static int64_t any_value(uint64_t *random)
{
    return (int64_t)random_next(random) >> (random_next(random) % 64);
}

/* Both text forms of any value at any scale are read back as the same value. */
static void text_leads_back_to_the_value(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 50000; i++) {
        int64_t value = any_value(&random);
        unsigned scale = (unsigned)(random_next(&random) % 13);
        int64_t back = 0;
        char memory[40];
        struct buf b = buf_over(memory, sizeof(memory));

        decimal_format(&b, value, scale);
        assert_row(i, decimal_parse(buf_view(&b), scale, &back) == DECIMAL_OK && back == value);
        buf_reset(&b);
        decimal_format_short(&b, value, scale);
        assert_row(i, decimal_parse(buf_view(&b), scale, &back) == DECIMAL_OK && back == value);
    }
}

/* value = digits * 10^shift, written with the exponent shifted by any amount, means the same. */
static void exponents_only_move_the_point(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 50000; i++) {
        int64_t value = any_value(&random);
        int shift = (int)(random_next(&random) % 40);
        int64_t back = 0;
        char text[128];

        (void)snprintf(text, sizeof(text), "%" PRId64 "%0*de-%d", value, shift + 1, 0, shift + 3);
        assert_row(i, decimal_parse(str_from(text), 2, &back) == DECIMAL_OK && back == value);
    }
}

static void sums_are_checked(void **state)
{
    int64_t out = 77;

    (void)state;
    assert_true(money_add(1, -3, &out));
    assert_int_equal(out, -2);
    assert_true(money_sub(INT64_MIN, -1, &out));
    assert_true(out == INT64_MIN + 1);
    out = 77;
    assert_false(money_add(INT64_MAX, 1, &out));
    assert_false(money_add(INT64_MIN, -1, &out));
    assert_false(money_sub(INT64_MIN, 1, &out));
    assert_false(money_sub(0, INT64_MIN, &out));
    assert_int_equal(out, 77);
}

static void ratios_round_half_away_from_zero(void **state)
{
    static const struct {
        int64_t a;
        int64_t numerator;
        int64_t denominator;
        int64_t expected;
    } rows[] = {
        {10000,     16,        100,       1600                        }, /* IVA of 100.00 */
        {3,         1,         2,         2                           },
        {-3,        1,         2,         -2                          },
        {5,         1,         2,         3                           },
        {1,         1,         3,         0                           },
        {2,         1,         3,         1                           },
        {-2,        1,         3,         -1                          },
        {-1,        1,         3,         0                           },
        {3,         -1,        2,         -2                          },
        {3,         1,         -2,        -2                          },
        {-3,        1,         -2,        2                           },
        {-3,        -1,        -2,        -2                          },
        {0,         5,         7,         0                           },
        {INT64_MAX, INT64_MAX, INT64_MAX, INT64_MAX                   }, /* the product needs 126 bits */
        {INT64_MIN, INT64_MIN, INT64_MIN, INT64_MIN                   },
        {INT64_MIN, INT64_MAX, INT64_MAX, INT64_MIN                   },
        {INT64_MAX, 1,         2,         INT64_C(4611686018427387904)},
        {INT64_MIN, 1,         INT64_MIN, 1                           },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t out = 77;

        assert_row(i,
                   money_mul_ratio(rows[i].a, rows[i].numerator, rows[i].denominator, &out) &&
                       out == rows[i].expected);
    }
}

static void ratios_out_of_range_are_refused(void **state)
{
    int64_t out = 77;

    (void)state;
    assert_false(money_mul_ratio(INT64_MAX, 2, 1, &out));
    assert_false(money_mul_ratio(INT64_MIN, -1, 1, &out));
    assert_false(money_mul_ratio(INT64_MIN, 1, -1, &out));
    assert_false(money_mul_ratio(INT64_MAX, INT64_MAX, 1, &out));
    assert_false(money_mul_ratio(INT64_MIN, INT64_MIN, 1, &out));
    assert_false(money_mul_ratio(1, 1, 0, &out));
    assert_int_equal(out, 77);
}

/* |2 * (a*n - r*d)| <= d says r is nearest; small numbers keep the check itself exact. */
static void ratios_are_nearest(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 50000; i++) {
        int64_t a = (int64_t)(random_next(&random) % 2000000) - 1000000;
        int64_t numerator = (int64_t)(random_next(&random) % 20000) - 10000;
        int64_t denominator = (int64_t)(random_next(&random) % 10000) + 1;
        int64_t out = 0;
        int64_t off = 0;

        assert_row(i, money_mul_ratio(a, numerator, denominator, &out));
        off = 2 * (a * numerator - out * denominator);
        assert_row(i, off <= denominator && -off <= denominator);
        if (off == denominator || -off == denominator) {
            assert_row(i, (a * numerator < 0) == (off > 0)); /* away from zero */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decimals_are_read),
        cmocka_unit_test(decimals_are_refused),
        cmocka_unit_test(endless_texts_are_refused),
        cmocka_unit_test(decimals_are_written),
        cmocka_unit_test(text_leads_back_to_the_value),
        cmocka_unit_test(exponents_only_move_the_point),
        cmocka_unit_test(sums_are_checked),
        cmocka_unit_test(ratios_round_half_away_from_zero),
        cmocka_unit_test(ratios_out_of_range_are_refused),
        cmocka_unit_test(ratios_are_nearest),
    };

    return cmocka_run_group_tests_name("money", tests, NULL, NULL);
}
