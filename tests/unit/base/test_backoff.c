#include "tests/support/check.h"

#include "libcommon/base/backoff.h"
#include "libcommon/base/id.h"

#include <string.h>

static void highest(void *out, size_t len)
{
    memset(out, 0xFF, len);
}

static void lowest(void *out, size_t len)
{
    memset(out, 0, len);
}

static int restore(void **state)
{
    (void)state;
    random_replace(NULL);
    return 0;
}

static void upper_end_doubles_up_to_the_cap(void **state)
{
    static const uint32_t expected[] = {100, 200, 400, 800, 1000, 1000, 1000};
    struct backoff b = {.first_ms = 100, .cap_ms = 1000};

    (void)state;
    random_replace(highest);
    for (size_t i = 0; i < sizeof(expected) / sizeof(expected[0]); i++) {
        assert_row(i, backoff_next_ms(&b) == expected[i]);
    }
    backoff_reset(&b);
    assert_int_equal(backoff_next_ms(&b), 100);
}

static void lower_end_is_one(void **state)
{
    struct backoff b = {.first_ms = 100, .cap_ms = 1000};

    (void)state;
    random_replace(lowest);
    for (size_t i = 0; i < 10; i++) {
        assert_row(i, backoff_next_ms(&b) == 1);
    }
}

static void endless_attempts_do_not_overflow(void **state)
{
    struct backoff b = {.first_ms = UINT32_MAX, .cap_ms = UINT32_MAX};

    (void)state;
    random_replace(highest);
    for (size_t i = 0; i < 1000; i++) {
        assert_row(i, backoff_next_ms(&b) == UINT32_MAX);
    }
    b = (struct backoff){.first_ms = 1, .cap_ms = 1};
    for (size_t i = 0; i < 1000; i++) {
        assert_row(i, backoff_next_ms(&b) == 1);
    }
}

/* Full jitter: each tenth of the range gets about a tenth of the waits. */
static void waits_are_spread_evenly(void **state)
{
    size_t tenths[10] = {0};

    (void)state;
    for (size_t i = 0; i < 20000; i++) {
        struct backoff b = {.first_ms = 1000, .cap_ms = 1000};
        uint32_t wait_ms = backoff_next_ms(&b);

        assert_row(i, wait_ms >= 1 && wait_ms <= 1000);
        tenths[(wait_ms - 1) / 100]++;
    }
    for (size_t i = 0; i < 10; i++) {
        assert_row(i, tenths[i] > 1700 && tenths[i] < 2300);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(upper_end_doubles_up_to_the_cap, restore),
        cmocka_unit_test_teardown(lower_end_is_one, restore),
        cmocka_unit_test_teardown(endless_attempts_do_not_overflow, restore),
        cmocka_unit_test(waits_are_spread_evenly),
    };

    return cmocka_run_group_tests_name("backoff", tests, NULL, NULL);
}
