#include "tests/support/check.h"
#include "tests/unit/base/dies.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/clock.h"

#include <string.h>
#include <time.h>

static void real_clocks_run(void **state)
{
    uint64_t first_us = clock_mono_us();
    uint64_t wall_ms = clock_wall_ms();

    (void)state;
    assert_true(clock_mono_us() >= first_us);
    assert_true(clock_mono_ms() >= first_us / 1000);
    assert_in_range(wall_ms / 1000, (uint64_t)time(NULL) - 5, (uint64_t)time(NULL) + 5);
}

static uint64_t fixed_us(void)
{
    return 1234567;
}

static uint64_t fixed_wall_ms(void)
{
    return 42;
}

static void source_is_replaced_and_restored(void **state)
{
    struct clock_source source = {fixed_us, fixed_wall_ms};

    (void)state;
    clock_replace(&source);
    assert_int_equal(clock_mono_us(), 1234567);
    assert_int_equal(clock_mono_ms(), 1234);
    assert_int_equal(clock_wall_ms(), 42);
    source.mono_us = NULL; /* the replacement was copied */
    assert_int_equal(clock_mono_us(), 1234567);
    clock_replace(&source); /* a missing half stays real */
    assert_int_equal(clock_wall_ms(), 42);
    clock_replace(NULL);
    assert_true(clock_wall_ms() > 1000000000000);
}

static void existing_days(void **state)
{
    static const struct {
        int32_t year;
        uint32_t month;
        uint32_t day;
        bool exists;
    } rows[] = {
        {2024,  2,  29, true },
        {2023,  2,  29, false},
        {1900,  2,  29, false},
        {2000,  2,  29, true },
        {2025,  4,  31, false},
        {2025,  12, 31, true },
        {2025,  12, 32, false},
        {2025,  0,  1,  false},
        {2025,  13, 1,  false},
        {2025,  1,  0,  false},
        {0,     1,  1,  false},
        {1,     1,  1,  true },
        {9999,  12, 31, true },
        {10000, 1,  1,  false},
        {-4,    1,  1,  false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, date_exists(rows[i].year, rows[i].month, rows[i].day) == rows[i].exists);
    }
}

static void dates_parse_in_one_form(void **state)
{
    static const char *const bad[] = {
        "",
        "2025-1-01",
        "2025-01-1",
        "25-01-01",
        "2025/01/01",
        "2025-01-01 ",
        " 2025-01-01",
        "2025-02-30",
        "0000-01-01",
        "2025-00-10",
        "20250101",
        "2025-01-0a",
        "+025-01-01",
        "-025-01-01",
        "2025-01-01T00:00:00Z",
        "2025_01-01",
    };
    struct date date = {0, 0, 0};

    (void)state;
    assert_true(date_parse(STR("2024-02-29"), &date));
    assert_int_equal(date.year, 2024);
    assert_int_equal(date.month, 2);
    assert_int_equal(date.day, 29);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        assert_row(i, !date_parse(str_from(bad[i]), &date));
    }
    assert_int_equal(date.day, 29);
}

/* Every day of the calendar: numbers are consecutive, and text and number lead back to the date. */
static void every_day_round_trips(void **state)
{
    int64_t first = date_to_days((struct date){1, 1, 1});
    int64_t last = date_to_days((struct date){9999, 12, 31});

    (void)state;
    assert_int_equal(date_to_days((struct date){1970, 1, 1}), 0);
    assert_int_equal(date_to_days((struct date){2000, 3, 1}), 11017);
    assert_int_equal(first, -719162);
    assert_int_equal(last, 2932896);
    for (int64_t days = first; days <= last; days++) {
        struct date date = date_from_days(days);
        struct date parsed = {0, 0, 0};
        char text[DATE_TEXT_BYTES];

        date_format(date, text);
        assert_row(days, date_to_days(date) == days);
        assert_row(days, date_parse(str_from(text), &parsed));
        assert_row(days, date_to_days(parsed) == days);
    }
}

static void days_agree_with_the_system(void **state)
{
    (void)state;
    for (int64_t days = 0; days < 40000; days += 13) {
        time_t seconds = days * 86400;
        struct tm tm;
        struct date date = date_from_days(days);

        assert_non_null(gmtime_r(&seconds, &tm));
        assert_row(days, date.year == tm.tm_year + 1900);
        assert_row(days, date.month == tm.tm_mon + 1 && date.day == tm.tm_mday);
    }
}

static void mexico_city_is_six_hours_behind(void **state)
{
    static const struct {
        const char *utc;
        const char *local;
    } rows[] = {
        {"2025-01-01T05:59:59.999Z", "2024-12-31"},
        {"2025-01-01T06:00:00.000Z", "2025-01-01"},
        {"2025-07-15T05:59:59Z",     "2025-07-14"}, /* no summer time since 2022 */
        {"2025-07-15T06:00:00Z",     "2025-07-15"},
        {"2024-03-01T03:00:00Z",     "2024-02-29"},
        {"1970-01-01T00:00:00Z",     "1969-12-31"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t wall_ms = 0;
        char text[DATE_TEXT_BYTES];

        assert_row(i, timestamp_parse(str_from(rows[i].utc), &wall_ms));
        date_format(date_in_mexico_city(wall_ms), text);
        assert_row(i, strcmp(text, rows[i].local) == 0);
    }
}

static void timestamps_are_written(void **state)
{
    char text[TIMESTAMP_TEXT_BYTES];

    (void)state;
    timestamp_format(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
    timestamp_format(UINT64_C(951782399007), text);
    assert_string_equal(text, "2000-02-28T23:59:59.007Z");
    timestamp_format(UINT64_C(253402300799999), text);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
}

static void timestamps_are_read(void **state)
{
    static const struct {
        const char *text;
        uint64_t wall_ms;
    } rows[] = {
        {"1970-01-01T00:00:00Z",           0                        },
        {"1970-01-01 00:00:01",            1000                     },
        {"2000-02-28T23:59:59.007Z",       UINT64_C(951782399007)   },
        {"2000-02-28t23:59:59.007z",       UINT64_C(951782399007)   },
        {"2000-02-28T23:59:59.0079999Z",   UINT64_C(951782399007)   },
        {"2000-02-28T23:59:59.123456789Z", UINT64_C(951782399123)   },
        {"2000-02-28T23:59:59.5Z",         UINT64_C(951782399500)   },
        {"2000-02-28T17:59:59.007-06:00",  UINT64_C(951782399007)   },
        {"2000-02-29T05:29:59+05:30",      UINT64_C(951782399000)   },
        {"1969-12-31T18:00:00-06:00",      0                        },
        {"2000-02-28T23:59:59-00:00",      UINT64_C(951782399000)   },
        {"9999-12-31T23:59:59.999Z",       UINT64_C(253402300799999)},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t wall_ms = 77;

        assert_row(i, timestamp_parse(str_from(rows[i].text), &wall_ms));
        assert_row(i, wall_ms == rows[i].wall_ms);
    }
}

static void other_timestamps_are_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "2025-01-01",
        "2025-01-01T",
        "2025-01-01T00:00Z",
        "2025-01-01T00:00:00",  /* no zone */
        "2025-01-01 00:00:00Z", /* the blank form has none */
        "2025-01-01 00:00:00.5",
        "2025-01-01 00:00:00 ",
        "2025-01-01_00:00:00Z",
        "2025-01-01T24:00:00Z",
        "2025-01-01T23:60:00Z",
        "2025-01-01T23:59:60Z",
        "2025-02-29T00:00:00Z",
        "2025-01-01T00:00:00.Z",
        "2025-01-01T00:00:00.1234567890Z",
        "2025-01-01T00:00:00,5Z",
        "2025-01-01T00:00:00ZZ",
        "2025-01-01T00:00:00+0600",
        "2025-01-01T00:00:00+06",
        "2025-01-01T00:00:00+24:00",
        "2025-01-01T00:00:00+06:60",
        "2025-01-01T00:00:00+06:00 ",
        "2025-01-01T00:00:00+06:0",
        "2025-01-01T0a:00:00Z",
        "1969-12-31T23:59:59Z", /* before the epoch */
        "1970-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01", /* after the calendar */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        uint64_t wall_ms = 77;

        assert_row(i, !timestamp_parse(str_from(bad[i]), &wall_ms));
        assert_row(i, wall_ms == 77);
    }
}

static void cut_timestamps_are_refused(void **state)
{
    static const char whole[] = "2025-01-01T00:00:00.123+06:00";

    (void)state;
    for (size_t len = 0; len < sizeof(whole) - 1; len++) {
        uint64_t wall_ms = 0;

        assert_row(len, !timestamp_parse((struct str){whole, len}, &wall_ms));
    }
}

static void random_timestamps_round_trip(void **state)
{
    uint64_t random = random_seed();

    (void)state;
    for (size_t i = 0; i < 50000; i++) {
        uint64_t wall_ms = random_next(&random) % UINT64_C(253402300800000);
        uint64_t back = 0;
        char text[TIMESTAMP_TEXT_BYTES];

        timestamp_format(wall_ms, text);
        assert_row(i, timestamp_parse(str_from(text), &back));
        assert_row(i, back == wall_ms);
    }
}

static void format_bad_date(void *unused)
{
    char text[DATE_TEXT_BYTES];

    (void)unused;
    date_format((struct date){2025, 2, 30}, text);
}

static void format_late_time(void *unused)
{
    char text[TIMESTAMP_TEXT_BYTES];

    (void)unused;
    timestamp_format(UINT64_C(253402300800000), text);
}

static void programmer_errors_abort(void **state)
{
    (void)state;
    assert_true(dies(format_bad_date, NULL));
    assert_true(dies(format_late_time, NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(real_clocks_run),
        cmocka_unit_test(source_is_replaced_and_restored),
        cmocka_unit_test(existing_days),
        cmocka_unit_test(dates_parse_in_one_form),
        cmocka_unit_test(every_day_round_trips),
        cmocka_unit_test(days_agree_with_the_system),
        cmocka_unit_test(mexico_city_is_six_hours_behind),
        cmocka_unit_test(timestamps_are_written),
        cmocka_unit_test(timestamps_are_read),
        cmocka_unit_test(other_timestamps_are_refused),
        cmocka_unit_test(cut_timestamps_are_refused),
        cmocka_unit_test(random_timestamps_round_trip),
        cmocka_unit_test(programmer_errors_abort),
    };

    return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
