#include "tests/support/check.h"
#include "tests/unit/base/dies.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/sm.h"

enum door {
    DOOR_CLOSED,
    DOOR_OPEN,
    DOOR_LOCKED,
    DOOR_COUNT
};

static const struct sm_row rows[DOOR_COUNT] = {
    [DOOR_CLOSED] = {"closed", 0,   MAY(DOOR_OPEN) | MAY(DOOR_LOCKED)},
    [DOOR_OPEN] = {"open",   500, MAY(DOOR_CLOSED) | MAY(DOOR_OPEN)},
    [DOOR_LOCKED] = {"locked", 0,   0                                },
};

static uint64_t now_us;

static uint64_t fake_mono_us(void)
{
    return now_us;
}

static int setup(void **state)
{
    static const struct clock_source fake = {.mono_us = fake_mono_us};

    (void)state;
    clock_replace(&fake);
    now_us = 7000000;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    clock_replace(NULL);
    return 0;
}

static void moves_along_the_table(void **state)
{
    struct sm sm;

    (void)state;
    sm_init(&sm, "door", rows, DOOR_COUNT, DOOR_CLOSED);
    assert_string_equal(sm_name(&sm), "closed");
    assert_int_equal(sm.since_ms, 7000);
    now_us += 3999; /* milliseconds are cut, not rounded */
    sm_move(&sm, DOOR_OPEN);
    assert_string_equal(sm_name(&sm), "open");
    assert_int_equal(sm.since_ms, 7003);
    sm_move(&sm, DOOR_OPEN); /* allowed by the row: the time starts anew */
    sm_move(&sm, DOOR_CLOSED);
    assert_int_equal(sm.state, DOOR_CLOSED);
}

static void deadline_follows_the_column(void **state)
{
    struct sm sm;

    (void)state;
    sm_init(&sm, "door", rows, DOOR_COUNT, DOOR_CLOSED);
    assert_true(sm_deadline_ms(&sm) == UINT64_MAX);
    sm_move(&sm, DOOR_OPEN);
    assert_int_equal(sm_deadline_ms(&sm), 7500);
    now_us += 100000;
    assert_int_equal(sm_deadline_ms(&sm), 7500);
    sm_move(&sm, DOOR_OPEN);
    assert_int_equal(sm_deadline_ms(&sm), 7600);
}

static void move(void *state)
{
    struct sm sm;

    sm_init(&sm, "door", rows, DOOR_COUNT, DOOR_LOCKED);
    sm_move(&sm, *(const int *)state);
}

static void move_to_itself(void *unused)
{
    struct sm sm;

    (void)unused;
    sm_init(&sm, "door", rows, DOOR_COUNT, DOOR_CLOSED);
    sm_move(&sm, DOOR_CLOSED);
}

static void init_outside(void *unused)
{
    struct sm sm;

    (void)unused;
    sm_init(&sm, "door", rows, DOOR_COUNT, DOOR_COUNT);
}

static void init_with_a_successor_without_row(void *unused)
{
    static const struct sm_row bad[] = {
        {"only", 0, MAY(1)}
    };
    struct sm sm;

    (void)unused;
    sm_init(&sm, "bad", bad, 1, 0);
}

static void everything_else_aborts(void **state)
{
    (void)state;
    for (int to = -1; to <= DOOR_COUNT; to++) {
        assert_true(dies(move, &to));
    }
    assert_true(dies(move_to_itself, NULL));
    assert_true(dies(init_outside, NULL));
    assert_true(dies(init_with_a_successor_without_row, NULL));
}

static void sixty_four_states_fit(void **state)
{
    static struct sm_row many[64];
    struct sm sm;

    (void)state;
    for (int i = 0; i < 64; i++) {
        many[i] = (struct sm_row){"state", 0, MAY(63 - i)};
    }
    sm_init(&sm, "many", many, 64, 0);
    sm_move(&sm, 63);
    sm_move(&sm, 0);
    assert_int_equal(sm.state, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(moves_along_the_table, setup, teardown),
        cmocka_unit_test_setup_teardown(deadline_follows_the_column, setup, teardown),
        cmocka_unit_test(everything_else_aborts),
        cmocka_unit_test(sixty_four_states_fit),
    };

    return cmocka_run_group_tests_name("sm", tests, NULL, NULL);
}
