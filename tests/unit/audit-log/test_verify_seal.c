/* Sealed months: their records in their places among those of others. */
#include "tests/unit/audit-log/export_fixture.h"

static uint8_t previous[SHA256_BYTES];

static void put_seal_header(const char *month, uint64_t first, uint64_t size, bool linked)
{
    struct export_line line = {
        .has = EXPORT_SEAL_HEADER | (linked ? EXPORT_HAS(PREVIOUS_SHA256) : 0),
        .format = STR(EXPORT_FORMAT),
        .kind = STR("seal"),
        .month = str_from(month),
        .first = first,
        .checkpoint = checkpoint_sign(ORIGIN, size),
    };

    memcpy(line.previous_sha256, previous, sizeof previous);
    file = buf_over(file_memory, sizeof file_memory);
    put_cover(&line, 0, first);
    put_line(&line);
}

static void put_gap(uint64_t from, uint64_t next)
{
    struct export_line line = {.has = EXPORT_GAP, .next = next};

    put_cover(&line, from, next);
    put_line(&line);
}

/* The records that are January's, but for `without`; the runs of leaves as a database writes them.
 */
static uint64_t put_seal(uint64_t size, uint64_t without, bool linked, struct buf *out_runs)
{
    uint64_t next = 0;
    uint64_t count = 0;

    put_seal_header("2024-01", 0, size, linked);
    buf_char(out_runs, '{');
    for (uint64_t i = 0; i < size; i++) {
        if (!is_january(i) || i == without) {
            continue;
        }
        if (i > next) {
            put_gap(next, i);
            buf_printf(out_runs, "%" PRIu64 "),", next);
        }
        if (i > next || i == 0) {
            buf_printf(out_runs, "[%" PRIu64 ",", i);
        }
        put_record(true, i, size);
        next = i + 1;
        count++;
    }
    if (count > 0) {
        buf_printf(out_runs, "%" PRIu64 ")", next);
    }
    buf_char(out_runs, '}');
    put_end(true, count, next, size);
    return count;
}

static void seals_hold(void **state)
{
    struct verify_report report;

    (void)state;
    for (uint64_t size = 0; size <= RECORDS; size++) {
        char memory[1024];
        struct buf runs = buf_over(memory, sizeof memory);
        uint8_t digest[SHA256_BYTES];
        uint64_t count = put_seal(size, UINT64_MAX, size % 2 == 0, &runs);

        assert_row(size, verify(&report) == OK);
        assert_row(size, report.kind == VERIFY_SEAL && report.records == count);
        assert_row(size, strcmp(report.month, "2024-01") == 0);
        assert_row(size, report.has_previous == (size % 2 == 0));
        sha256(buf_view(&runs), digest);
        assert_row(size, memcmp(digest, report.leaves_sha256, sizeof digest) == 0);
        sha256(buf_view(&file), digest);
        assert_row(size, memcmp(digest, report.file_sha256, sizeof digest) == 0);
    }
    assert_true(report.gaps > 5);
    put_seal_header("2024-01", 33, RECORDS, false); /* a month without records */
    put_end(true, 0, 33, RECORDS);
    assert_int_equal(verify(&report), OK);
    assert_int_equal(report.records, 0);
}

/* One bit of any byte; the link alone is not of the file but of the chain. */
static void every_changed_byte_is_found(void **state)
{
    char memory[1024];
    struct buf runs = buf_over(memory, sizeof memory);
    struct verify_report report;
    size_t linked = 0;

    (void)state;
    memset(previous, 0xAB, sizeof previous);
    (void)put_seal(40, UINT64_MAX, true, &runs);
    for (size_t i = 0; i < file.len; i++) {
        char bit = (char)(1 << next_random() % 8);

        file.ptr[i] = (char)(file.ptr[i] ^ bit);
        if (verify(&report) == OK) {
            assert_row(i, memcmp(report.previous_sha256, previous, sizeof previous) != 0);
            linked++;
        }
        file.ptr[i] = (char)(file.ptr[i] ^ bit);
    }
    assert_in_range(linked, 0, 2 * SHA256_BYTES);
    assert_int_equal(verify(&report), OK);
}

static void a_record_that_is_left_out_is_found(void **state)
{
    char memory[1024];
    struct buf runs = buf_over(memory, sizeof memory);
    struct verify_report whole;
    struct verify_report report;

    (void)state;
    (void)put_seal(60, UINT64_MAX, false, &runs);
    assert_int_equal(verify(&whole), OK);
    /* With a gap in its place the file holds: which records it has is told. */
    buf_reset(&runs);
    (void)put_seal(60, 9, false, &runs);
    assert_int_equal(verify(&report), OK);
    assert_int_equal(report.records + 1, whole.records);
    assert_memory_not_equal(report.leaves_sha256, whole.leaves_sha256, SHA256_BYTES);
    /* Without one it does not. */
    put_seal_header("2024-01", 0, 60, false);
    put_record(true, 0, 60);
    put_record(true, 2, 60);
    put_end(true, 2, 3, 60);
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_int_equal(report.failed_leaf_index, 2);
}

static void gaps_lead_to_records(void **state)
{
    static const struct {
        uint64_t from;
        uint64_t next;
        uint64_t record;
    } rows[] = {
        {1, 1,  1 }, /* no gap at all */
        {1, 60, 60}, /* to the end of the log */
        {1, 5,  6 }, /* not far enough */
        {0, 5,  5 }, /* nodes that overlap */
    };
    struct verify_report report;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_seal_header("2024-01", 0, 60, false);
        put_record(true, 0, 60);
        put_gap(rows[i].from, rows[i].next);
        if (rows[i].record < 60) {
            put_record(true, rows[i].record, 60);
        }
        put_end(true, 2, rows[i].record + 1 < 60 ? rows[i].record + 1 : 60, 60);
        assert_row(i, verify(&report) == ERR_INVALID);
    }
    put_seal_header("2024-01", 0, 60, false); /* two gaps, one behind the other */
    put_record(true, 0, 60);
    put_gap(1, 4);
    put_gap(4, 5);
    put_record(true, 5, 60);
    put_end(true, 2, 6, 60);
    assert_int_equal(verify(&report), ERR_INVALID);
    put_seal_header("2024-01", 0, 60, false); /* and one before the end */
    put_record(true, 0, 60);
    put_gap(1, 4);
    put_end(true, 1, 4, 60);
    assert_int_equal(verify(&report), ERR_INVALID);
    put_header(true, 0, 60); /* a range has none */
    put_record(true, 0, 60);
    put_gap(1, 4);
    put_record(true, 4, 60);
    put_end(true, 2, 5, 60);
    assert_int_equal(verify(&report), ERR_JSON);
}

static void a_record_of_another_month_is_found(void **state)
{
    static const char *const months[] = {"2024-02", "2023-01", "2024-1x", "2024-01-01", ""};
    struct verify_report report;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(months); i++) {
        put_seal_header(months[i], 0, 60, false);
        put_record(true, 0, 60);
        put_end(true, 1, 1, 60);
        assert_row(i, verify(&report) == (i < 3 ? ERR_INVALID : ERR_JSON));
    }
    put_seal_header("2024-01", 25, 60, false); /* February's */
    put_record(true, 25, 60);
    put_end(true, 1, 26, 60);
    assert_int_equal(verify(&report), ERR_INVALID);
    assert_int_equal(report.failed_leaf_index, 25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seals_hold),
        cmocka_unit_test(every_changed_byte_is_found),
        cmocka_unit_test(a_record_that_is_left_out_is_found),
        cmocka_unit_test(gaps_lead_to_records),
        cmocka_unit_test(a_record_of_another_month_is_found),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
