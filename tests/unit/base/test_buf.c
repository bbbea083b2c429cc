#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/buf.h"

#include <stdio.h>
#include <string.h>

static void builds(void **state)
{
    char memory[64];
    struct buf b = buf_over(memory, sizeof(memory));

    (void)state;
    buf_text(&b, "a");
    buf_str(&b, STR("bc"));
    buf_char(&b, '-');
    buf_append(&b, "xy\0z", 4);
    buf_printf(&b, " %03d", 7);
    assert_false(b.overflow);
    assert_true(str_eq(buf_view(&b), STR("abc-xy\0z 007")));
    assert_true(buf_terminate(&b));
    assert_int_equal(buf_view(&b).len, 12);
    buf_reset(&b);
    assert_int_equal(buf_view(&b).len, 0);
    buf_append(&b, NULL, 0);
    buf_str(&b, (struct str){NULL, 0});
    assert_false(b.overflow);
}

static void refuses_as_a_whole_and_for_good(void **state)
{
    char memory[9] = "????????";
    struct buf b = buf_over(memory, 4);

    (void)state;
    buf_text(&b, "abc");
    buf_text(&b, "de");
    assert_true(b.overflow);
    buf_char(&b, 'x'); /* would fit, but the text before it is missing */
    assert_true(str_eq(buf_view(&b), STR("abc")));
    assert_string_equal(memory, "abc?????");
    assert_false(buf_terminate(&b));
    buf_reset(&b);
    buf_text(&b, "wxyz");
    assert_false(b.overflow);
    assert_false(buf_terminate(&b));
    assert_string_equal(memory, "wxyz????");
}

static void without_memory_everything_overflows(void **state)
{
    struct buf b = buf_over(NULL, 0);

    (void)state;
    assert_int_equal(buf_view(&b).len, 0);
    buf_text(&b, "");
    assert_false(b.overflow);
    buf_printf(&b, "%s", "");
    assert_true(b.overflow);
    assert_null(buf_reserve(&b, 1));
}

static void printf_needs_one_byte_more(void **state)
{
    char memory[5] = "????";
    struct buf b = buf_over(memory, 4);

    (void)state;
    buf_printf(&b, "%s", "abc");
    assert_false(b.overflow);
    assert_int_equal(b.len, 3);
    buf_reset(&b);
    buf_printf(&b, "%s", "abcd");
    assert_true(b.overflow);
    assert_int_equal(b.len, 0);
    assert_int_equal(memory[4], '\0');
}

static void reserves(void **state)
{
    char memory[8];
    struct buf b = buf_over(memory, sizeof(memory));
    char *room = buf_reserve(&b, 5);

    (void)state;
    assert_ptr_equal(room, memory);
    memset(room, '1', 5);
    buf_commit(&b, 4); /* less than reserved is fine */
    assert_true(str_eq(buf_view(&b), STR("1111")));
    assert_ptr_equal(buf_reserve(&b, 4), memory + 4);
    assert_null(buf_reserve(&b, 5));
    assert_true(b.overflow);
}

static void assert_number(int64_t value, const char *expected)
{
    char memory[24];
    struct buf b = buf_over(memory, sizeof(memory));

    buf_int64(&b, value);
    assert_true(buf_terminate(&b));
    assert_string_equal(memory, expected);
}

static void writes_integers(void **state)
{
    char memory[20];
    struct buf b = buf_over(memory, sizeof(memory));

    (void)state;
    assert_number(0, "0");
    assert_number(9, "9");
    assert_number(10, "10");
    assert_number(-1, "-1");
    assert_number(-100, "-100");
    assert_number(INT64_MAX, "9223372036854775807");
    assert_number(INT64_MIN, "-9223372036854775808");
    buf_uint64(&b, UINT64_MAX);
    assert_true(str_eq(buf_view(&b), STR("18446744073709551615")));
}

static void integers_agree_with_printf(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        int64_t value = (int64_t)(random_next(&random) >> (random_next(&random) % 64));
        char text[32];

        if (i % 2 == 0) {
            value = (int64_t)(0 - (uint64_t)value);
        }
        (void)snprintf(text, sizeof(text), "%" PRId64, value);
        assert_number(value, text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(builds),
        cmocka_unit_test(refuses_as_a_whole_and_for_good),
        cmocka_unit_test(without_memory_everything_overflows),
        cmocka_unit_test(printf_needs_one_byte_more),
        cmocka_unit_test(reserves),
        cmocka_unit_test(writes_integers),
        cmocka_unit_test(integers_agree_with_printf),
    };

    return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
