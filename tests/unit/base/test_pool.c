#include "tests/support/check.h"
#include "tests/unit/base/dies.h"

#include "libcommon/base/poison.h"
#include "libcommon/base/pool.h"

#include <string.h>

#define COUNT 5

struct thing {
    char bytes[37]; /* no multiple of the alignment */
};

static int setup(void **state)
{
    *state = pool_open(sizeof(struct thing), COUNT);
    return *state == NULL ? 1 : 0;
}

static int teardown(void **state)
{
    struct pool *pool = *state;

    pool_close(&pool);
    return pool == NULL ? 0 : 1;
}

static void gives_each_object_once(void **state)
{
    struct pool *pool = *state;
    struct thing *things[COUNT];
    struct pool_handle handles[COUNT];

    for (size_t i = 0; i < COUNT; i++) {
        things[i] = pool_take(pool, &handles[i]);
        assert_non_null(things[i]);
        assert_row(i, (uintptr_t)things[i] % 16 == 0);
        assert_row(i, things[i]->bytes[0] == 0);
        assert_row(i, handles[i].generation != 0);
        memset(things[i], (int)i + 1, sizeof(*things[i]));
    }
    assert_null(pool_take(pool, NULL));
    assert_int_equal(pool_used(pool), COUNT);
    assert_int_equal(pool_count(pool), COUNT);
    for (size_t i = 0; i < COUNT; i++) {
        assert_row(i, things[i]->bytes[36] == (char)(i + 1));
        assert_row(i, pool_get(pool, handles[i]) == things[i]);
        assert_row(i, pool_handle_of(pool, things[i]).generation == handles[i].generation);
        pool_give(pool, things[i]);
    }
    assert_int_equal(pool_used(pool), 0);
}

static void objects_come_back_zeroed(void **state)
{
    struct thing *thing = pool_take(*state, NULL);

    memset(thing, 0xFF, sizeof(*thing));
    pool_give(*state, thing);
    thing = pool_take(*state, NULL);
    for (size_t i = 0; i < sizeof(thing->bytes); i++) {
        assert_row(i, thing->bytes[i] == 0);
    }
    pool_give(*state, thing);
}

static void old_handles_find_nothing(void **state)
{
    struct pool_handle first;
    struct pool_handle second;
    struct thing *thing = pool_take(*state, &first);

    pool_give(*state, thing);
    assert_null(pool_get(*state, first));
    thing = pool_take(*state, &second);
    assert_int_equal(first.slot, second.slot); /* reused at once: the hard case */
    assert_null(pool_get(*state, first));
    assert_ptr_equal(pool_get(*state, second), thing);
    pool_give(*state, thing);
}

static void forged_handles_find_nothing(void **state)
{
    struct thing *thing = pool_take(*state, NULL);

    assert_null(pool_get(*state, (struct pool_handle){0, 0}));
    assert_null(pool_get(*state, (struct pool_handle){COUNT, 1}));
    assert_null(pool_get(*state, (struct pool_handle){UINT32_MAX, UINT32_MAX}));
    pool_give(*state, thing);
}

static void sweeps_over_live_objects(void **state)
{
    struct thing *things[COUNT];
    uint32_t slot = 0;
    size_t found = 0;

    assert_null(pool_next(*state, &slot));
    for (size_t i = 0; i < COUNT; i++) {
        things[i] = pool_take(*state, NULL);
    }
    pool_give(*state, things[0]);
    pool_give(*state, things[3]);
    slot = 0;
    for (struct thing *thing = pool_next(*state, &slot); thing != NULL;
         thing = pool_next(*state, &slot)) {
        assert_row(found, thing != things[0] && thing != things[3]);
        pool_give(*state, thing); /* giving back what was found is allowed */
        found++;
    }
    assert_int_equal(found, COUNT - 2);
    assert_int_equal(pool_used(*state), 0);
}

static void give_twice(void *pool)
{
    struct thing *thing = pool_take(pool, NULL);

    pool_give(pool, thing);
    pool_give(pool, thing);
}

static void give_inside(void *pool)
{
    struct thing *thing = pool_take(pool, NULL);

    pool_give(pool, thing->bytes + 1);
}

static void give_foreign(void *pool)
{
    static struct thing foreign;

    pool_give(pool, &foreign);
}

static void programmer_errors_abort(void **state)
{
    assert_true(dies(give_twice, *state));
    assert_true(dies(give_inside, *state));
    assert_true(dies(give_foreign, *state));
}

#ifdef POISON_ENABLED
static void write_after_give(void *pool)
{
    struct thing *thing = pool_take(pool, NULL);
    volatile char *byte = &thing->bytes[5];

    pool_give(pool, thing);
    *byte = 'x';
}

static void sanitizer_finds_misuse(void **state)
{
    assert_true(dies(write_after_give, *state));
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(gives_each_object_once, setup, teardown),
        cmocka_unit_test_setup_teardown(objects_come_back_zeroed, setup, teardown),
        cmocka_unit_test_setup_teardown(old_handles_find_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(forged_handles_find_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(sweeps_over_live_objects, setup, teardown),
        cmocka_unit_test_setup_teardown(programmer_errors_abort, setup, teardown),
#ifdef POISON_ENABLED
        cmocka_unit_test_setup_teardown(sanitizer_finds_misuse, setup, teardown),
#endif
    };

    return cmocka_run_group_tests_name("pool", tests, NULL, NULL);
}
