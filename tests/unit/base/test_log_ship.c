/* The level at run time, which requests have a line, and which lines wait to be shipped. */
#include "tests/support/check.h"
#include "tests/unit/base/dies.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log_mask.h"
#include "libcommon/base/log_ship.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static char seen[1 << 18];
static int saved_stderr = -1;
static int sink = -1;

static uint64_t fixed_wall_ms(void)
{
    return UINT64_C(951782399007);
}

static const struct log_options options = {
    .service = "ledger", .instance = "i-1", .level = LOG_INFO, .ship = LOG_LEVEL_COUNT};

static uint64_t mono_us;

static uint64_t fake_mono_us(void)
{
    return mono_us;
}

/* Standard error becomes a file in memory until written() gives its text. */
static int setup(void **state)
{
    static const struct clock_source fake = {fake_mono_us, fixed_wall_ms};

    (void)state;
    clock_replace(&fake);
    sink = memfd_create("stderr", MFD_CLOEXEC);
    saved_stderr = dup(STDERR_FILENO);
    if (sink < 0 || saved_stderr < 0 || dup2(sink, STDERR_FILENO) < 0) {
        return 1;
    }
    log_open(&options);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    log_close();
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    (void)close(sink);
    clock_replace(NULL);
    return 0;
}

static const char *written(void)
{
    ssize_t len = pread(sink, seen, sizeof(seen) - 1, 0);

    assert_true(len >= 0);
    seen[len] = '\0';
    return seen;
}

/* --- levels and requests ------------------------------------------------------- */

static void level_goes_back_by_itself(void **state)
{
    uint64_t seconds = 1;

    (void)state;
    mono_us = 5000000;
    assert_int_equal(log_level_now(&seconds), LOG_INFO);
    assert_int_equal(seconds, 0);
    log_level_set(LOG_DEBUG, 300);
    assert_non_null(strstr(written(),
                           "level=warn service=ledger instance=i-1 "
                           "event=log_level_changed to=debug seconds=300\n"));
    assert_true(log_enabled(LOG_DEBUG));
    mono_us += 299999999;
    log_flush();
    assert_int_equal(log_level_now(&seconds), LOG_DEBUG);
    assert_int_equal(seconds, 1);
    mono_us += 1;
    log_flush();
    assert_false(log_enabled(LOG_DEBUG));
    assert_int_equal(log_level_now(&seconds), LOG_INFO);
    assert_int_equal(seconds, 0);
}

static void zero_seconds(void *unused)
{
    (void)unused;
    log_level_set(LOG_DEBUG, 0);
}

static void too_many_seconds(void *unused)
{
    (void)unused;
    log_level_set(LOG_DEBUG, LOG_LEVEL_SECONDS_MAX + 1);
}

static void levels_end(void **state)
{
    (void)state;
    assert_true(dies(zero_seconds, NULL));
    assert_true(dies(too_many_seconds, NULL));
}

static void some_requests_are_wanted(void **state)
{
    struct log_options chosen = options;
    size_t wanted = 0;
    char id[32];

    (void)state;
    chosen.sample = 16;
    chosen.slow_ms = 1000;
    log_open(&chosen);
    for (int i = 0; i < 16000; i++) {
        struct str text = {id, (size_t)snprintf(id, sizeof(id), "0199-%d", i)};
        bool first = log_wants_request(text, false, 999999);

        assert_row(i, log_wants_request(text, false, 5) == first); /* the same everywhere */
        assert_row(i, log_wants_request(text, true, 5));
        assert_row(i, log_wants_request(text, false, 1000000));
        wanted += first ? 1 : 0;
    }
    assert_in_range(wanted, 800, 1200);
    chosen.sample = 1;
    log_open(&chosen);
    assert_true(log_wants_request(STR("x"), false, 1));
    chosen.level = LOG_WARN;
    log_open(&chosen);
    assert_false(log_wants_request(STR("x"), true, 1));
    chosen.sample = 1000000;
    chosen.level = LOG_DEBUG;
    log_open(&chosen);
    assert_true(log_wants_request(STR("x"), false, 1));
}

/* --- shipping ------------------------------------------------------------------ */

static const char *nth(const struct log_record *record, unsigned n)
{
    const char *at = record->text;

    while (n-- > 0) {
        at += strlen(at) + 1;
    }
    return at;
}

static void lines_wait_to_be_shipped(void **state)
{
    struct log_options shipping = options;
    struct log_record record;

    (void)state;
    shipping.ship = LOG_WARN;
    log_open(&shipping);
    log_event(LOG_INFO, "not_this", LOG_U("n", 1));
    log_event_here(LOG_ERROR, "nor_this", LOG_U("n", 1));
    log_event(LOG_WARN,
              "broken",
              LOG_S("why", "a b"),
              LOG_I("n", -7),
              LOG_S("password", "hunter2"),
              LOG_V("bytes", ((struct str){"\xFF\0", 2})));
    assert_true(log_ship_take(&record));
    assert_int_equal(record.level, LOG_WARN);
    assert_int_equal(record.wall_ms, fixed_wall_ms());
    assert_int_equal(record.field_count, 4);
    assert_string_equal(nth(&record, 0), "broken");
    assert_string_equal(nth(&record, 1), "why");
    assert_string_equal(nth(&record, 2), "a b");
    assert_string_equal(nth(&record, 4), "-7");
    assert_string_equal(nth(&record, 6), LOG_MASK);
    assert_string_equal(nth(&record, 8), "??");
    assert_false(log_ship_take(&record));
}

static void shipping_is_bounded(void **state)
{
    struct log_options shipping = options;
    struct log_record record;
    char long_text[2000];
    uint64_t count = 0;

    (void)state;
    memset(long_text, 'x', sizeof(long_text));
    shipping.ship = LOG_WARN;
    log_open(&shipping);
    for (int i = 0; i < LOG_SHIP_WAITING_MAX + 10; i++) {
        log_event(LOG_ERROR,
                  "flood",
                  LOG_I("i", i),
                  LOG_V("a", ((struct str){long_text, sizeof(long_text)})));
    }
    assert_int_equal(log_ship_lost(), 10);
    while (log_ship_take(&record)) {
        assert_row(count, strtoul(nth(&record, 2), NULL, 10) == count);
        count++;
    }
    assert_int_equal(count, LOG_SHIP_WAITING_MAX);
    log_ship_lose();
    assert_int_equal(log_ship_lost(), 11);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(level_goes_back_by_itself),
        CASE(levels_end),
        CASE(some_requests_are_wanted),
        CASE(lines_wait_to_be_shipped),
        CASE(shipping_is_bounded),
    };

    return cmocka_run_group_tests_name("log_ship", tests, NULL, NULL);
}
