#include "tests/support/check.h"
#include "tests/unit/base/dies.h"

#include "libcommon/base/metric.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static const char *const codes[] = {"OK", "TIMEOUT", "a\"b\\c\nd", NULL};
static const char *const methods[] = {"Get", NULL};

enum {
    REQUESTS,
    OPEN,
    PER_METHOD,
    WAIT,
    ROWS
};

static const struct metric_row rows[ROWS] = {
    [REQUESTS] = {METRIC_COUNTER,      "avanta_requests_total", "code",   codes,   "Requests.\nBy \\code"},
    [OPEN] = {METRIC_GAUGE,        "avanta_open",           NULL,     NULL,    "Open connections"    },
    [PER_METHOD] = {METRIC_HISTOGRAM_US, "avanta_call_seconds",   "method", methods, "Call time"           },
    [WAIT] = {METRIC_HISTOGRAM_US, "avanta_wait_seconds",   NULL,     NULL,    "Wait time"           },
};

static int setup(void **state)
{
    *state = metrics_open(rows, ROWS);
    return *state == NULL ? 1 : 0;
}

static int teardown(void **state)
{
    struct metrics *metrics = *state;

    metrics_close(&metrics);
    return metrics == NULL ? 0 : 1;
}

static const char *exposition(const struct metrics *metrics)
{
    static char text[16384];
    struct buf out = buf_over(text, sizeof(text));

    metrics_write(metrics, &out);
    assert_true(buf_terminate(&out));
    return text;
}

static void exposition_is_exact(void **state)
{
    metric_add(*state, REQUESTS, 0, 3);
    metric_add(*state, REQUESTS, 2, UINT64_MAX);
    metric_set(*state, OPEN, 0, -7);
    metric_observe_us(*state, PER_METHOD, 0, 2500);
    metric_observe_us(*state, PER_METHOD, 0, 2501);
    metric_observe_us(*state, PER_METHOD, 0, 10000001);
    assert_string_equal(exposition(*state),
                        "# HELP avanta_requests_total Requests.\\nBy \\\\code\n"
                        "# TYPE avanta_requests_total counter\n"
                        "avanta_requests_total{code=\"OK\"} 3\n"
                        "avanta_requests_total{code=\"TIMEOUT\"} 0\n"
                        "avanta_requests_total{code=\"a\\\"b\\\\c\\nd\"} 18446744073709551615\n"
                        "# HELP avanta_open Open connections\n"
                        "# TYPE avanta_open gauge\n"
                        "avanta_open -7\n"
                        "# HELP avanta_call_seconds Call time\n"
                        "# TYPE avanta_call_seconds histogram\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.001\"} 0\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.0025\"} 1\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.005\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.01\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.025\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.05\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.075\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.1\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.25\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.5\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"0.75\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"1\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"2.5\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"5\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"7.5\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"10\"} 2\n"
                        "avanta_call_seconds_bucket{method=\"Get\",le=\"+Inf\"} 3\n"
                        "avanta_call_seconds_sum{method=\"Get\"} 10.005002\n"
                        "avanta_call_seconds_count{method=\"Get\"} 3\n"
                        "# HELP avanta_wait_seconds Wait time\n"
                        "# TYPE avanta_wait_seconds histogram\n"
                        "avanta_wait_seconds_bucket{le=\"0.001\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.0025\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.005\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.01\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.025\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.05\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.075\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.1\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.25\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.5\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"0.75\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"1\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"2.5\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"5\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"7.5\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"10\"} 0\n"
                        "avanta_wait_seconds_bucket{le=\"+Inf\"} 0\n"
                        "avanta_wait_seconds_sum 0\n"
                        "avanta_wait_seconds_count 0\n");
}

static void values_are_read_back(void **state)
{
    metric_add(*state, REQUESTS, 1, 2);
    metric_add(*state, REQUESTS, 1, 3);
    assert_int_equal(metric_value(*state, REQUESTS, 1), 5);
    assert_int_equal(metric_value(*state, REQUESTS, 0), 0);
    metric_set(*state, OPEN, 0, 10);
    metric_add(*state, OPEN, 0, 5);
    metric_add(*state, OPEN, 0, (uint64_t)-1); /* a gauge goes down by adding the complement */
    assert_int_equal(metric_value(*state, OPEN, 0), 14);
    metric_observe_us(*state, WAIT, 0, 0);
    metric_observe_us(*state, WAIT, 0, 5);
    assert_int_equal(metric_value(*state, WAIT, 0), 2);
    assert_int_equal(metric_value(*state, PER_METHOD, 0), 0);
}

/* A bound belongs to its bucket ("le"), one microsecond more to the next. */
static void bounds_are_inclusive(void **state)
{
    metric_observe_us(*state, WAIT, 0, 1000);
    metric_observe_us(*state, WAIT, 0, 1001);
    metric_observe_us(*state, WAIT, 0, 10000000);
    (void)exposition(*state);
    assert_non_null(strstr(exposition(*state), "wait_seconds_bucket{le=\"0.001\"} 1\n"));
    assert_non_null(strstr(exposition(*state), "wait_seconds_bucket{le=\"0.0025\"} 2\n"));
    assert_non_null(strstr(exposition(*state), "wait_seconds_bucket{le=\"7.5\"} 2\n"));
    assert_non_null(strstr(exposition(*state), "wait_seconds_bucket{le=\"10\"} 3\n"));
    assert_non_null(strstr(exposition(*state), "wait_seconds_sum 10.002001\n"));
}

static void too_small_a_buffer_overflows(void **state)
{
    char text[100];
    struct buf out = buf_over(text, sizeof(text));

    metrics_write(*state, &out);
    assert_true(out.overflow);
}

/* --- threads ------------------------------------------------------------------- */

enum {
    THREADS = 4,
    PER_THREAD = 50000
};

struct shared {
    struct metrics *metrics;
    atomic_bool done;
};

static void *add_many(void *argument)
{
    struct shared *shared = argument;

    for (uint64_t i = 0; i < PER_THREAD; i++) {
        metric_add(shared->metrics, REQUESTS, i % 3, 1);
        metric_observe_us(shared->metrics, WAIT, 0, i % 20000);
        metric_set(shared->metrics, OPEN, 0, (int64_t)i);
    }
    return NULL;
}

/* The number after a series name in an exposition. */
static uint64_t exposed(const char *text, const char *series)
{
    const char *at = strstr(text, series);

    assert_non_null(at);
    return strtoull(at + strlen(series), NULL, 10);
}

static void *read_all_along(void *argument)
{
    struct shared *shared = argument;
    static char text[16384];

    while (!atomic_load(&shared->done)) {
        struct buf out = buf_over(text, sizeof(text));

        metrics_write(shared->metrics, &out);
        assert_true(buf_terminate(&out));
        assert_true(exposed(text, "avanta_wait_seconds_bucket{le=\"+Inf\"} ") ==
                    exposed(text, "avanta_wait_seconds_count "));
    }
    return NULL;
}

static void threads_lose_no_count(void **state)
{
    struct shared shared = {.metrics = *state};
    pthread_t writers[THREADS];
    pthread_t reader;
    uint64_t total = 0;

    assert_int_equal(pthread_create(&reader, NULL, read_all_along, &shared), 0);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&writers[i], NULL, add_many, &shared), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(writers[i], NULL), 0);
    }
    atomic_store(&shared.done, true);
    assert_int_equal(pthread_join(reader, NULL), 0);
    for (size_t i = 0; i < 3; i++) {
        total += metric_value(*state, REQUESTS, i);
    }
    assert_int_equal(total, THREADS * PER_THREAD);
    assert_int_equal(metric_value(*state, WAIT, 0), THREADS * PER_THREAD);
}

/* --- programmer errors --------------------------------------------------------- */

static void add_outside_rows(void *metrics)
{
    metric_add(metrics, ROWS, 0, 1);
}

static void add_outside_series(void *metrics)
{
    metric_add(metrics, REQUESTS, 3, 1);
}

static void add_to_histogram(void *metrics)
{
    metric_add(metrics, WAIT, 0, 1);
}

static void set_counter(void *metrics)
{
    metric_set(metrics, REQUESTS, 0, 1);
}

static void observe_gauge(void *metrics)
{
    metric_observe_us(metrics, OPEN, 0, 1);
}

static void open_bad_name(void *unused)
{
    static const struct metric_row bad = {METRIC_GAUGE, "avanta-open", NULL, NULL, "x"};
    struct metrics *metrics = metrics_open(&bad, 1);

    (void)unused;
    metrics_close(&metrics);
}

static void misuse_aborts(void **state)
{
    assert_true(dies(add_outside_rows, *state));
    assert_true(dies(add_outside_series, *state));
    assert_true(dies(add_to_histogram, *state));
    assert_true(dies(set_counter, *state));
    assert_true(dies(observe_gauge, *state));
    assert_true(dies(open_bad_name, NULL));
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(exposition_is_exact),
        CASE(values_are_read_back),
        CASE(bounds_are_inclusive),
        CASE(too_small_a_buffer_overflows),
        CASE(threads_lose_no_count),
        CASE(misuse_aborts),
    };

    return cmocka_run_group_tests_name("metric", tests, NULL, NULL);
}
