#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/str.h"

#include <stdio.h>
#include <string.h>

static const struct str null_view = {NULL, 0};

static void compares(void **state)
{
    (void)state;
    assert_true(str_eq(STR("abc"), STR("abc")));
    assert_false(str_eq(STR("abc"), STR("abd")));
    assert_false(str_eq(STR("abc"), STR("ab")));
    assert_true(str_eq(null_view, STR_EMPTY));
    assert_true(str_eq(str_from(NULL), STR("")));
    assert_true(str_eq_nocase(STR("Content-LENGTH"), STR("content-length")));
    assert_false(str_eq_nocase(STR("[a"), STR("{a"))); /* only letters fold */
    assert_false(str_eq_nocase(STR("a"), STR("ab")));
    assert_int_equal(str_cmp(STR("a"), STR("b")), -1);
    assert_int_equal(str_cmp(STR("b"), STR("a")), 1);
    assert_int_equal(str_cmp(STR("a"), STR("ab")), -1);
    assert_int_equal(str_cmp(STR("ab"), STR("a")), 1);
    assert_int_equal(str_cmp(null_view, STR("")), 0);
    assert_int_equal(str_cmp(STR("\xC3"), STR("z")), 1); /* bytes are unsigned */
}

static void starts_and_ends(void **state)
{
    (void)state;
    assert_true(str_starts(STR("Bearer x"), STR("Bearer ")));
    assert_false(str_starts(STR("Bea"), STR("Bearer ")));
    assert_true(str_starts(null_view, null_view));
    assert_true(str_ends(STR("file.xml"), STR(".xml")));
    assert_false(str_ends(STR("xml"), STR(".xml")));
    assert_true(str_ends(STR("a"), STR("")));
}

static void takes_parts(void **state)
{
    (void)state;
    assert_true(str_eq(str_sub(STR("abcdef"), 1, 3), STR("bc")));
    assert_true(str_eq(str_sub(STR("abc"), 1, 99), STR("bc")));
    assert_true(str_eq(str_sub(STR("abc"), 3, 1), STR("")));
    assert_true(str_eq(str_sub(STR("abc"), 99, SIZE_MAX), STR("")));
    assert_true(str_eq(str_sub(null_view, 0, 1), STR("")));
    assert_true(str_eq(str_trim(STR(" \t\r\n\v\fa b \n")), STR("a b")));
    assert_true(str_eq(str_trim(STR("  ")), STR("")));
    assert_true(str_eq(str_trim(null_view), STR("")));
}

static void finds(void **state)
{
    size_t at = 77;

    (void)state;
    assert_true(str_find(STR("a=b&c=d"), STR("&c"), &at));
    assert_int_equal(at, 3);
    assert_false(str_find(STR("abc"), STR("abcd"), &at));
    assert_false(str_find(STR("abc"), STR("x"), &at));
    assert_int_equal(at, 3);
    assert_true(str_find(STR("abc"), STR(""), &at));
    assert_int_equal(at, 0);
    assert_true(str_find_char(STR("abc"), 'c', &at));
    assert_int_equal(at, 2);
    assert_false(str_find_char(str_sub(STR("abc"), 0, 2), 'c', &at)); /* not past the view */
    assert_false(str_find_char(null_view, 'c', &at));
}

static void splits(void **state)
{
    static const struct {
        struct str text;
        size_t count;
        struct str last;
    } rows[] = {
        {{"", 0},      1, {"", 0}  },
        {{"a", 1},     1, {"a", 1} },
        {{"a,b", 3},   2, {"b", 1} },
        {{"a,b,", 4},  3, {"", 0}  },
        {{",,", 2},    3, {"", 0}  },
        {{NULL, 0},    0, {"", 0}  },
        {{"ab,cd", 2}, 1, {"ab", 2}},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str rest = rows[i].text;
        struct str part = STR_EMPTY;
        size_t count = 0;

        while (str_split(&rest, ',', &part)) {
            count++;
        }
        assert_row(i, count == rows[i].count);
        assert_row(i, str_eq(part, rows[i].last));
    }
}

static void reads_signed_integers(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        int64_t value;
    } rows[] = {
        {"0",                    true,  0        },
        {"-0",                   true,  0        },
        {"42",                   true,  42       },
        {"-42",                  true,  -42      },
        {"9223372036854775807",  true,  INT64_MAX},
        {"-9223372036854775808", true,  INT64_MIN},
        {"9223372036854775808",  false, 0        },
        {"-9223372036854775809", false, 0        },
        {"",                     false, 0        },
        {"-",                    false, 0        },
        {"+1",                   false, 0        },
        {" 1",                   false, 0        },
        {"1 ",                   false, 0        },
        {"01",                   false, 0        },
        {"-01",                  false, 0        },
        {"00",                   false, 0        },
        {"1.0",                  false, 0        },
        {"1e3",                  false, 0        },
        {"0x1",                  false, 0        },
        {"--1",                  false, 0        },
        {"\xD9\xA1",             false, 0        },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t value = 77;

        assert_row(i, str_to_int64(str_from(rows[i].text), &value) == rows[i].valid);
        assert_row(i, value == (rows[i].valid ? rows[i].value : 77));
    }
    assert_false(str_to_int64(null_view, &(int64_t){0}));
}

static void reads_unsigned_integers(void **state)
{
    uint64_t value = 77;

    (void)state;
    assert_true(str_to_uint64(STR("18446744073709551615"), &value));
    assert_true(value == UINT64_MAX);
    assert_false(str_to_uint64(STR("18446744073709551616"), &value));
    assert_false(str_to_uint64(STR("99999999999999999999"), &value));
    assert_false(str_to_uint64(STR("-1"), &value));
    assert_false(str_to_uint64(STR("-0"), &value));
    assert_false(str_to_uint64(STR("007"), &value));
    assert_false(str_to_uint64(null_view, &value));
    assert_true(value == UINT64_MAX);
}

static void integers_survive_the_round_trip(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        uint64_t word = random_next(&random) >> (random_next(&random) % 64);
        int64_t value = 0;
        char text[32];

        (void)snprintf(text, sizeof(text), "%" PRId64, (int64_t)word);
        assert_row(i, str_to_int64(str_from(text), &value) && value == (int64_t)word);
    }
}

static void hash_depends_on_everything(void **state)
{
    unsigned char bytes[80] = {0};

    (void)state;
    for (size_t len = 0; len < sizeof(bytes); len++) {
        uint64_t plain = hash_bytes(bytes, len, 1);

        assert_row(len, plain == hash_bytes(bytes, len, 1));
        assert_row(len, plain != hash_bytes(bytes, len, 2));
        assert_row(len, plain != hash_bytes(bytes, len + 1, 1));
        for (size_t i = 0; i < len; i++) {
            bytes[i] = 1;
            assert_row(i, plain != hash_bytes(bytes, len, 1));
            bytes[i] = 0;
        }
    }
}

/* Consecutive keys must spread: 4096 of them over 4096 slots leave about 1/e of the slots empty. */
static void hash_spreads(void **state)
{
    static bool taken[4096];
    size_t used = 0;

    (void)state;
    for (uint32_t i = 0; i < ARRAY_LEN(taken); i++) {
        char key[16];
        int len = snprintf(key, sizeof(key), "user-%" PRIu32, i);
        size_t slot = (size_t)hash_bytes(key, (size_t)len, 42) % ARRAY_LEN(taken);

        used += taken[slot] ? 0 : 1;
        taken[slot] = true;
    }
    assert_in_range(used, 2480, 2700);
}

static void constant_time_comparison_compares(void **state)
{
    (void)state;
    assert_true(bytes_eq_constant_time("secret", "secret", 6));
    assert_false(bytes_eq_constant_time("secret", "secreT", 6));
    assert_false(bytes_eq_constant_time("Secret", "secret", 6));
    assert_true(bytes_eq_constant_time(NULL, NULL, 0));
}

static void a_copy_fits_or_is_nothing(void **state)
{
    char out[4] = "xxx";

    (void)state;
    assert_true(str_copy(STR("abc"), out, sizeof out));
    assert_string_equal(out, "abc");
    assert_false(str_copy(STR("abcd"), out, sizeof out));
    assert_string_equal(out, "");
    assert_true(str_copy(str_from(NULL), out, sizeof out));
    assert_string_equal(out, "");
    assert_false(str_copy(STR("a"), out, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_fits_or_is_nothing),
        cmocka_unit_test(compares),
        cmocka_unit_test(starts_and_ends),
        cmocka_unit_test(takes_parts),
        cmocka_unit_test(finds),
        cmocka_unit_test(splits),
        cmocka_unit_test(reads_signed_integers),
        cmocka_unit_test(reads_unsigned_integers),
        cmocka_unit_test(integers_survive_the_round_trip),
        cmocka_unit_test(hash_depends_on_everything),
        cmocka_unit_test(hash_spreads),
        cmocka_unit_test(constant_time_comparison_compares),
    };

    return cmocka_run_group_tests_name("str", tests, NULL, NULL);
}
