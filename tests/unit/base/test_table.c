#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/table.h"

#include <string.h>

static int values[2048];

static struct str key_of(size_t i, char out[32])
{
    int len = snprintf(out, 32, "key-%zu", i);

    return (struct str){out, (size_t)len};
}

static void puts_gets_and_removes(void **state)
{
    struct table *table = table_open(2, 1);

    (void)state;
    assert_true(table_put(table, STR("a"), &values[0]));
    assert_false(table_put(table, STR("a"), &values[1]));
    assert_ptr_equal(table_get(table, STR("a")), &values[0]);
    assert_null(table_get(table, STR("b")));
    assert_ptr_equal(table_remove(table, STR("a")), &values[0]);
    assert_null(table_remove(table, STR("a")));
    assert_int_equal(table_count(table), 0);
    table_close(&table);
    assert_null(table);
    table_close(&table);
}

static void full_table_refuses(void **state)
{
    (void)state;
    for (uint32_t capacity = 1; capacity < 200; capacity++) {
        struct table *table = table_open(capacity, capacity);
        char key[32];

        for (size_t i = 0; i < capacity; i++) {
            assert_row(i, table_put(table, key_of(i, key), &values[i]));
        }
        assert_row(capacity, !table_put(table, STR("one more"), &values[0]));
        assert_row(capacity, table_get(table, STR("one more")) == NULL);
        assert_row(capacity, table_count(table) == capacity);
        assert_row(capacity, table_remove(table, STR("key-0")) == &values[0]);
        assert_row(capacity, table_put(table, STR("one more"), &values[0]));
        table_close(&table);
    }
}

static void keys_are_bytes_and_copied(void **state)
{
    struct table *table = table_open(8, 7);
    char key[] = "abcd";

    (void)state;
    assert_true(table_put(table, (struct str){key, 4}, &values[0]));
    key[0] = 'x';
    assert_ptr_equal(table_get(table, STR("abcd")), &values[0]);
    assert_null(table_get(table, STR("abc")));
    assert_null(table_get(table, STR("abcd\0")));
    assert_true(table_put(table, STR("abcd\0"), &values[1]));
    assert_true(table_put(table, STR("\0"), &values[2]));
    assert_ptr_equal(table_get(table, STR("\0")), &values[2]);
    table_close(&table);
}

static void key_length_has_bounds(void **state)
{
    struct table *table = table_open(8, 7);
    char key[TABLE_KEY_BYTES_MAX + 1];

    (void)state;
    memset(key, 'k', sizeof(key));
    assert_true(table_put(table, (struct str){key, TABLE_KEY_BYTES_MAX}, &values[0]));
    assert_false(table_put(table, (struct str){key, TABLE_KEY_BYTES_MAX + 1}, &values[0]));
    assert_null(table_get(table, (struct str){key, TABLE_KEY_BYTES_MAX + 1}));
    assert_null(table_remove(table, (struct str){key, TABLE_KEY_BYTES_MAX + 1}));
    assert_false(table_put(table, STR_EMPTY, &values[0]));
    assert_null(table_get(table, STR_EMPTY));
    assert_null(table_remove(table, STR_EMPTY));
    table_close(&table);
}

/* Random puts and removals near the full load, compared with a plain array of what must be inside.
 */
static void random_use(void **state)
{
    enum {
        KEYS = 300,
        CAPACITY = 192 /* the slots are 256: the fullest a table gets */
    };
    uint64_t random = random_seed();
    struct table *table = table_open(CAPACITY, random_next(&random));
    bool inside[KEYS] = {false};
    uint32_t count = 0;

    (void)state;
    for (size_t step = 0; step < 60000; step++) {
        size_t i = (size_t)(random_next(&random) % KEYS);
        char key[32];
        struct str view = key_of(i, key);

        assert_row(step, table_get(table, view) == (inside[i] ? &values[i] : NULL));
        if (random_next(&random) % 3 != 0) {
            bool expected = !inside[i] && count < CAPACITY;

            assert_row(step, table_put(table, view, &values[i]) == expected);
            inside[i] = inside[i] || expected;
            count += expected ? 1 : 0;
        } else {
            assert_row(step, table_remove(table, view) == (inside[i] ? &values[i] : NULL));
            count -= inside[i] ? 1 : 0;
            inside[i] = false;
        }
        assert_row(step, table_count(table) == count);
    }
    for (size_t i = 0; i < KEYS; i++) {
        char key[32];

        assert_row(i, table_get(table, key_of(i, key)) == (inside[i] ? &values[i] : NULL));
    }
    table_close(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(puts_gets_and_removes),
        cmocka_unit_test(full_table_refuses),
        cmocka_unit_test(keys_are_bytes_and_copied),
        cmocka_unit_test(key_length_has_bounds),
        cmocka_unit_test(random_use),
    };

    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
