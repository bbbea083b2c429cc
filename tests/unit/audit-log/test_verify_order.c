/* Exports of a log made here, with lines that are moved, missing or none, and with other keys. */
#include "tests/unit/audit-log/export_fixture.h"

/* Where line `number`, from 1, begins; the last one's end for the number after it. */
static size_t line_at(size_t number)
{
    size_t at = 0;

    for (size_t i = 1; i < number; i++) {
        const char *newline = memchr(file.ptr + at, '\n', file.len - at);

        assert_non_null(newline);
        at = (size_t)(newline - file.ptr) + 1;
    }
    return at;
}

static void lines_drop(size_t number)
{
    size_t at = line_at(number);
    size_t next = line_at(number + 1);

    memmove(file.ptr + at, file.ptr + next, file.len - next);
    file.len -= next - at;
}

static void lines_swap(size_t number)
{
    static char held[4096];
    size_t at = line_at(number);
    size_t next = line_at(number + 1);
    size_t end = line_at(number + 2);

    assert_true(next - at <= sizeof held);
    memcpy(held, file.ptr + at, next - at);
    memmove(file.ptr + at, file.ptr + next, end - next);
    memcpy(file.ptr + at + (end - next), held, next - at);
}

static void put_ten(bool range)
{
    if (range) {
        put_range(1, 10, 13);
    } else {
        put_selection(1, 10);
    }
}

static void moved_lines_are_found(void **state)
{
    struct verify_report report;

    (void)state;
    for (int round = 0; round < 2; round++) {
        size_t lines = 12; /* header, 10 records, end */

        for (size_t number = 1; number <= lines; number++) {
            put_ten(round == 0);
            lines_drop(number);
            assert_row(number, verify(&report) != OK);
            if (number < lines) {
                put_ten(round == 0);
                lines_swap(number);
                assert_row(number, verify(&report) != OK);
            }
        }
    }
    put_range(0, 3, 3);
    buf_text(&file, "{\"count\":3,\"right\":[]}\n");
    assert_int_equal(verify(&report), ERR_INVALID);
    /* A record left out is found where it is missing, not only by the root. */
    put_header(true, 0, 9);
    put_record(true, 0, 9);
    put_record(true, 2, 9);
    put_end(true, 2, 2, 9);
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_true(report.failed_at_record);
    assert_int_equal(report.failed_leaf_index, 2);
    /* A record twice in a selection, and a count that goes with it. */
    put_header(false, 0, 9);
    put_record(false, 4, 9);
    put_record(false, 4, 9);
    put_end(false, 2, 0, 9);
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_int_equal(report.failed_leaf_index, 4);
    /* A range whose records are all there but for the last: as many hashes, another end. */
    put_header(true, 0, 4);
    for (uint64_t i = 0; i < 3; i++) {
        put_record(true, i, 4);
    }
    put_end(true, 3, 4, 4);
    assert_int_equal(verify(&report), ERR_INVALID);
    /* More records than the log has. */
    put_header(true, 3, 4);
    put_record(true, 3, 4);
    put_record(true, 4, 4);
    put_end(true, 2, 4, 4);
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_int_equal(report.failed_leaf_index, 4);
}

static void keys_count(void **state)
{
    struct note_signer other;
    char other_vkey[NOTE_KEY_TEXT_BYTES_MAX];
    struct verify_report report;

    (void)state;
    put_range(0, 3, 3);
    key_make(ORIGIN, NOTE_ED25519, &other, other_vkey);
    assert_int_equal(verify_with(other_vkey, NULL, &report), ERR_NOT_FOUND);
    assert_string_equal(report.origin, "");
    key_make("witness.example/w1", NOTE_COSIGNATURE, &other, other_vkey);
    assert_int_equal(verify_with(log_vkey, other_vkey, &report), ERR_NOT_FOUND);
    assert_int_equal(verify_with(other_vkey, NULL, &report), ERR_INVALID);
    assert_int_equal(verify_with("nonsense", NULL, &report), ERR_INVALID);
    assert_int_equal(verify_with(log_vkey, "nonsense", &report), ERR_INVALID);
    /* Our key under another log's checkpoint. */
    {
        struct export_line line = {.has = EXPORT_SELECTION_HEADER,
                                   .format = STR(EXPORT_FORMAT),
                                   .kind = STR("selection"),
                                   .checkpoint = checkpoint_sign("other.example/audit", 3)};

        file = buf_over(file_memory, sizeof file_memory);
        put_line(&line);
        put_end(false, 0, 0, 3);
        assert_int_equal(verify(&report), ERR_INVALID);
        assert_int_equal(report.failed_line, 1);
    }
}

static void what_is_no_export_is_refused(void **state)
{
    static char long_line[EXPORT_LINE_BYTES_MAX + 8];
    struct verify_report report;
    struct err err = {.code = OK};

    (void)state;
    file = buf_over(file_memory, sizeof file_memory);
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_int_equal(report.failed_line, 1);
    buf_text(&file, "{}\n");
    assert_int_equal(verify(&report), ERR_JSON);
    memset(long_line, ' ', sizeof long_line);
    file = (struct buf){long_line, sizeof long_line, sizeof long_line, false};
    assert_int_equal(verify(&report), ERR_TOO_LARGE);
    assert_int_equal(audit_verify_file("/tmp/avanta_no_such_file", log_vkey, NULL, &report, &err),
                     ERR_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(moved_lines_are_found),
        cmocka_unit_test(keys_count),
        cmocka_unit_test(what_is_no_export_is_refused),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
