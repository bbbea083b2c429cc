/* Exports of a log made here, as they are and with something changed in a line. */
#include "tests/unit/audit-log/export_fixture.h"

static void replace(struct str old, struct str new)
{
    char *at = memmem(file.ptr, file.len, old.ptr, old.len);

    assert_non_null(at);
    assert_int_equal(old.len, new.len);
    memcpy(at, new.ptr, new.len);
}

static void ranges_hold(void **state)
{
    struct verify_report report;

    (void)state;
    for (uint64_t size = 0; size <= 12; size++) {
        for (uint64_t first = 0; first <= size; first++) {
            for (uint64_t count = 0; count <= size - first; count++) {
                put_range(first, count, size);
                assert_row(size, verify(&report) == OK);
                assert_row(size, report.records == count);
                assert_row(size, report.size == size && report.kind == VERIFY_RANGE);
            }
        }
    }
    put_range(5, 60, RECORDS);
    assert_int_equal(verify(&report), OK);
    assert_string_equal(report.origin, ORIGIN);
    assert_int_equal(report.size, RECORDS);
    assert_int_equal(report.first_index, 5);
    assert_int_equal(report.last_index, 64);
    assert_int_equal(report.witness_time_s, TIME_S);
    assert_int_equal(report.failed_line, 0);
    assert_false(report.failed_at_record);
    assert_true(merkle_hash_eq(&report.root, &roots[RECORDS]));
    assert_int_equal(verify_with(log_vkey, NULL, &report), OK);
    assert_int_equal(report.witness_time_s, 0);
}

static void selections_hold(void **state)
{
    struct verify_report report;

    (void)state;
    for (uint64_t step = 1; step <= RECORDS; step += 3) {
        put_selection(step, RECORDS);
        assert_row(step, verify(&report) == OK);
        assert_row(step, report.records == (RECORDS + step - 1) / step);
        assert_row(step, report.kind == VERIFY_SELECTION);
    }
    put_selection(1, 0);
    assert_int_equal(verify(&report), OK);
    put_selection(1, 1);
    assert_int_equal(verify(&report), OK);
}

/* One bit of any byte of the file. */
static void every_changed_byte_is_found(void **state)
{
    struct verify_report report;

    (void)state;
    for (int round = 0; round < 2; round++) {
        if (round == 0) {
            put_range(3, 4, 11);
        } else {
            put_selection(4, 11);
        }
        assert_int_equal(verify(&report), OK);
        for (size_t i = 0; i < file.len; i++) {
            char bit = (char)(1 << next_random() % 8);

            file.ptr[i] = (char)(file.ptr[i] ^ bit);
            assert_row(i, verify(&report) != OK);
            assert_row(i, report.failed_line > 0);
            file.ptr[i] = (char)(file.ptr[i] ^ bit);
        }
        assert_int_equal(verify(&report), OK);
    }
}

static void a_cut_file_is_found(void **state)
{
    struct verify_report report;

    (void)state;
    put_range(2, 6, 9);
    for (size_t len = 0; len < file.len; len++) {
        size_t whole = file.len;

        file.len = len;
        assert_row(len, verify(&report) != OK);
        file.len = whole;
    }
    assert_int_equal(verify(&report), OK);
    file.ptr[file.len - 1] = ' '; /* for the last newline */
    assert_int_equal(verify(&report), ERR_INVALID);
}

static void a_changed_record_is_named(void **state)
{
    struct verify_report report;

    (void)state;
    put_selection(1, RECORDS);
    replace(STR("\"number\":1600,"),
            STR("\"number\":1601,")); /* record 40, without its hash beside it */
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_true(report.failed_at_record);
    assert_int_equal(report.failed_leaf_index, 40);
    assert_int_equal(report.failed_line, 42);
    assert_int_equal(report.records, 40);

    put_range(0, RECORDS, RECORDS);
    replace(STR("\"number\":1521,"), STR("\"number\":1522,")); /* record 39, with its hash */
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_true(report.failed_at_record);
    assert_int_equal(report.failed_leaf_index, 39);
    assert_int_equal(report.failed_line, 41);

    put_range(0, RECORDS, RECORDS);
    replace(STR("\"number\":1600,"), STR("\"number\":1601,")); /* only the root tells */
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_false(report.failed_at_record);
    assert_int_equal(report.failed_line, RECORDS + 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ranges_hold),
        cmocka_unit_test(selections_hold),
        cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(a_cut_file_is_found),
        cmocka_unit_test(a_changed_record_is_named),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
