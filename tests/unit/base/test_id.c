#include "tests/support/check.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t wall_ms;

static uint64_t fake_wall_ms(void)
{
    return wall_ms;
}

static void all_ones(void *out, size_t len)
{
    memset(out, 0xFF, len);
}

static int restore(void **state)
{
    (void)state;
    random_replace(NULL);
    clock_replace(NULL);
    return 0;
}

static void random_source_is_injectable(void **state)
{
    uint8_t bytes[4] = {0};

    (void)state;
    random_replace(all_ones);
    random_bytes(bytes, 3);
    assert_memory_equal(bytes, "\xFF\xFF\xFF\x00", 4);
}

static void random_bytes_differ(void **state)
{
    uint8_t first[300] = {0};
    uint8_t second[300] = {0};
    size_t zeros = 0;

    (void)state;
    random_bytes(first, sizeof(first));
    random_bytes(second, sizeof(second));
    assert_memory_not_equal(first, second, sizeof(first));
    for (size_t i = 0; i < sizeof(first); i++) {
        zeros += first[i] == 0 ? 1 : 0;
    }
    assert_in_range(zeros, 0, 20);
    random_bytes(NULL, 0);
}

/* Time, version and variant stand where RFC 9562 puts them; all else is random. */
static void uuid_has_the_layout(void **state)
{
    static const struct clock_source fake = {.wall_ms = fake_wall_ms};
    char text[UUID_TEXT_BYTES];

    (void)state;
    clock_replace(&fake);
    random_replace(all_ones);
    wall_ms = UINT64_C(0x017F22E279B0); /* the example of the RFC, appendix A.6 */
    uuid_v7(text);
    assert_string_equal(text, "017f22e2-79b0-7fff-bfff-ffffffffffff");
    wall_ms = 0;
    uuid_v7(text);
    assert_string_equal(text, "00000000-0000-7fff-bfff-ffffffffffff");
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, UUID_TEXT_BYTES);
}

static void uuids_are_valid_and_unique(void **state)
{
    enum {
        COUNT = 20000 /* many batches */
    };
    char(*ids)[UUID_TEXT_BYTES] = calloc(COUNT, sizeof(*ids));

    (void)state;
    assert_non_null(ids);
    for (size_t i = 0; i < COUNT; i++) {
        uuid_v7(ids[i]);
        assert_row(i, uuid_valid(str_from(ids[i])));
        assert_row(i, ids[i][14] == '7' && strchr("89ab", ids[i][19]) != NULL);
    }
    qsort(ids, COUNT, sizeof(*ids), compare);
    for (size_t i = 1; i < COUNT; i++) {
        assert_row(i, compare(ids[i - 1], ids[i]) != 0);
    }
    free(ids);
}

static void later_uuids_sort_later(void **state)
{
    static const struct clock_source fake = {.wall_ms = fake_wall_ms};
    char before[UUID_TEXT_BYTES] = "";

    (void)state;
    clock_replace(&fake);
    for (wall_ms = UINT64_C(1700000000000); wall_ms < UINT64_C(1700000002000); wall_ms++) {
        char after[UUID_TEXT_BYTES];

        uuid_v7(after);
        assert_row(wall_ms, strcmp(before, after) < 0);
        memcpy(before, after, sizeof(before));
    }
}

/* Parent and child hold the same batch; neither may hand out the other's identifiers. */
static void a_child_does_not_repeat_the_parent(void **state)
{
    static const struct clock_source fake = {.wall_ms = fake_wall_ms};
    char mine[UUID_TEXT_BYTES];
    char theirs[UUID_TEXT_BYTES] = "";
    int ends[2];
    pid_t child = 0;

    (void)state;
    clock_replace(&fake);
    uuid_v7(mine); /* the batch is filled */
    assert_int_equal(pipe(ends), 0);
    child = fork();
    if (child == 0) {
        uuid_v7(theirs);
        _exit(write(ends[1], theirs, sizeof(theirs)) == (ssize_t)sizeof(theirs) ? 0 : 1);
    }
    assert_true(child > 0);
    uuid_v7(mine);
    assert_int_equal(read(ends[0], theirs, sizeof(theirs)), sizeof(theirs));
    assert_int_equal(waitpid(child, NULL, 0), child);
    assert_true(uuid_valid(str_from(theirs)));
    assert_string_not_equal(mine, theirs);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void *make_id(void *out)
{
    uuid_v7(out);
    return NULL;
}

static void threads_do_not_repeat_each_other(void **state)
{
    static const struct clock_source fake = {.wall_ms = fake_wall_ms};
    char ids[8][UUID_TEXT_BYTES];
    pthread_t threads[8];

    (void)state;
    clock_replace(&fake);
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, make_id, ids[i]), 0);
    }
    for (size_t i = 0; i < 8; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    qsort(ids, 8, sizeof(ids[0]), compare);
    for (size_t i = 1; i < 8; i++) {
        assert_row(i, compare(ids[i - 1], ids[i]) != 0);
    }
}

static void uuid_syntax(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {
        {"017f22e2-79b0-7cc3-98c4-dc0c0c07398f",  true },
        {"017F22E2-79B0-7CC3-98C4-DC0C0C07398F",  true },
        {"00000000-0000-0000-0000-000000000000",  true },
        {"017f22e279b0-7cc3-98c4-dc0c0c07398f",   false},
        {"017f22e2079b0-7cc3-98c4-dc0c0c07398f",  false},
        {"017f22e2-79b0-7cc3-98c4-dc0c0c07398",   false},
        {"017f22e2-79b0-7cc3-98c4-dc0c0c07398f0", false},
        {"017f22e2-79b0-7cc3-98c4-dc0c0c07398g",  false},
        {"017f22e2-79b0-7cc3-98c4-dc0c0c07398-",  false},
        {"{17f22e2-79b0-7cc3-98c4-dc0c0c07398}",  false},
        {"017f22e2-79b0-7cc3-98c4-dc0c0c07398 ",  false},
        {"",                                      false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, uuid_valid(str_from(rows[i].text)) == rows[i].valid);
    }
    assert_false(uuid_valid((struct str){NULL, 0}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(random_source_is_injectable, restore),
        cmocka_unit_test(random_bytes_differ),
        cmocka_unit_test_teardown(uuid_has_the_layout, restore),
        cmocka_unit_test(uuids_are_valid_and_unique),
        cmocka_unit_test_teardown(later_uuids_sort_later, restore),
        cmocka_unit_test_teardown(a_child_does_not_repeat_the_parent, restore),
        cmocka_unit_test_teardown(threads_do_not_repeat_each_other, restore),
        cmocka_unit_test(uuid_syntax),
    };

    return cmocka_run_group_tests_name("id", tests, NULL, NULL);
}
