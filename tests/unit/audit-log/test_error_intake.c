/* How reports are taken, counted and handed over to be written. */
#include "services/audit-log/error_intake.h"
#include "tests/support/check.h"

#include <stdio.h>
#include <string.h>

#define ADDRESS_RATE  6
#define FRONTEND_RATE 20
#define SERVER_RATE   30
#define ALERT_RATE    3
#define SECOND_US     UINT64_C(1000000)
#define START_US      (UINT64_C(3600) * SECOND_US)

static struct error_intake *intake;

static int setup(void **state)
{
    static const struct error_limits limits = {
        ADDRESS_RATE, FRONTEND_RATE, SERVER_RATE, ALERT_RATE};

    (void)state;
    intake = error_intake_open(&limits);
    return intake == NULL;
}

static int teardown(void **state)
{
    (void)state;
    error_intake_close(&intake);
    return 0;
}

static enum error_verdict from(const char *address, uint64_t now_us, uint64_t *out_wait_ms)
{
    return error_intake_admit(intake, ERROR_FRONTEND, str_from(address), now_us, out_wait_ms);
}

static struct error_report report_of(unsigned number)
{
    struct error_report report = {.source = ERROR_FRONTEND,
                                  .at_ms = 1000 + number,
                                  .service = STR("web"),
                                  .name = STR("E"),
                                  .message = STR("m"),
                                  .stack = STR("s"),
                                  .context = STR("{}"),
                                  .url = STR("/x"),
                                  .agent = STR("a"),
                                  .network = STR("10.0.0.0"),
                                  .reporter = STR_EMPTY,
                                  .request = STR("r"),
                                  .release = STR("1")};

    (void)snprintf(report.id, sizeof report.id, "%08x-0000-7000-8000-000000000000", number);
    memcpy(report.fingerprint, &number, sizeof number);
    return report;
}

static bool add(unsigned number)
{
    const struct error_report report = report_of(number);

    return error_intake_add(intake, &report);
}

static void an_address_has_its_own_rate(void **state)
{
    uint64_t wait_ms = 0;

    (void)state;
    for (int i = 0; i < ADDRESS_RATE; i++) {
        assert_int_equal(from("10.0.0.1", START_US, &wait_ms), ERROR_ADMITTED);
    }
    assert_int_equal(from("10.0.0.1", START_US, &wait_ms), ERROR_TOO_MANY_OF_ADDRESS);
    assert_in_range(wait_ms, 9990, 10001);
    assert_int_equal(from("10.0.0.2", START_US, &wait_ms), ERROR_ADMITTED);
    assert_int_equal(from("10.0.0.1", START_US + 9 * SECOND_US, &wait_ms),
                     ERROR_TOO_MANY_OF_ADDRESS);
    assert_int_equal(from("10.0.0.1", START_US + 10 * SECOND_US, &wait_ms), ERROR_ADMITTED);
    assert_int_equal(from("10.0.0.1", START_US + 10 * SECOND_US, &wait_ms),
                     ERROR_TOO_MANY_OF_ADDRESS);
}

/* One subscriber has all of a /64, and an address has two ways to be written. */
static void a_network_of_ipv6_is_one_address(void **state)
{
    uint64_t wait_ms = 0;

    (void)state;
    for (int i = 0; i < ADDRESS_RATE; i++) {
        char address[64];

        (void)snprintf(address, sizeof address, "2001:db8::%d", i + 1);
        assert_int_equal(from(address, START_US, &wait_ms), ERROR_ADMITTED);
        assert_int_equal(from(i % 2 == 0 ? "10.1.1.1" : "::ffff:10.1.1.1", START_US, &wait_ms),
                         ERROR_ADMITTED);
    }
    assert_int_equal(from("2001:db8::ffff", START_US, &wait_ms), ERROR_TOO_MANY_OF_ADDRESS);
    assert_int_equal(from("2001:db8:0:1::1", START_US, &wait_ms), ERROR_ADMITTED);
    assert_int_equal(from("10.1.1.1", START_US, &wait_ms), ERROR_TOO_MANY_OF_ADDRESS);
}

/* Many addresses do not help: there is a rate for all; and programs have one of their own. */
static void all_together_have_a_rate(void **state)
{
    uint64_t wait_ms = 0;
    int admitted = 0;

    (void)state;
    for (int i = 0; i < 10000; i++) {
        char address[32];

        (void)snprintf(address, sizeof address, "10.2.%d.%d", i / 250, i % 250 + 1);
        admitted += from(address, START_US, &wait_ms) == ERROR_ADMITTED ? 1 : 0;
    }
    assert_int_equal(admitted, FRONTEND_RATE);
    for (int i = 0; i < SERVER_RATE; i++) {
        assert_int_equal(error_intake_admit(intake, ERROR_SERVER, STR_EMPTY, START_US, &wait_ms),
                         ERROR_ADMITTED);
    }
    assert_int_equal(error_intake_admit(intake, ERROR_SERVER, STR_EMPTY, START_US, &wait_ms),
                     ERROR_TOO_MANY);
    const struct error_batch *batch = error_intake_begin(intake, STR("run"));
    assert_non_null(batch);
    assert_int_equal(batch->group_count, 0);
    assert_int_equal(batch->dropped[ERROR_FRONTEND], 10000 - FRONTEND_RATE);
    assert_int_equal(batch->dropped[ERROR_SERVER], 1);
}

static void the_same_error_is_counted(void **state)
{
    const struct error_batch *batch = NULL;

    (void)state;
    assert_null(error_intake_begin(intake, STR("run")));
    for (int i = 0; i < 1000; i++) {
        assert_true(add(7));
    }
    assert_true(add(8));
    batch = error_intake_begin(intake, STR("run"));
    assert_non_null(batch);
    assert_int_equal(batch->group_count, 2);
    assert_int_equal(batch->groups[0].count, 1000);
    assert_int_equal(batch->groups[1].count, 1);
    assert_int_equal(batch->groups[0].first_ms, 1007);
    assert_int_equal(batch->sample_count, ERROR_SAMPLES_EACH_MAX + 1);
    assert_int_equal(batch->samples[ERROR_SAMPLES_EACH_MAX].group, 1);
    assert_string_equal(batch->samples[0].stack, "s");
}

static void what_finds_no_room_is_dropped(void **state)
{
    const struct error_batch *batch = NULL;
    int taken = 0;

    (void)state;
    for (unsigned i = 0; i < ERROR_GROUPS_WAITING_MAX + 10; i++) {
        taken += add(i) ? 1 : 0;
    }
    assert_int_equal(taken, ERROR_GROUPS_WAITING_MAX);
    assert_true(add(3)); /* a known one is counted all the same */
    batch = error_intake_begin(intake, STR("run"));
    assert_non_null(batch);
    assert_int_equal(batch->group_count, ERROR_GROUPS_WAITING_MAX);
    assert_int_equal(batch->sample_count, ERROR_SAMPLES_WAITING_MAX);
    assert_int_equal(batch->dropped[ERROR_FRONTEND], 10);
    assert_int_equal(batch->groups[3].count, 2);
}

/* What a run did not write the next one has again; what it wrote is gone; meanwhile others come. */
static void nothing_is_lost_or_written_twice(void **state)
{
    const struct error_batch *batch = NULL;

    (void)state;
    assert_true(add(1));
    batch = error_intake_begin(intake, STR("one"));
    assert_non_null(batch);
    assert_true(add(1));
    assert_true(add(2));
    assert_ptr_equal(error_intake_begin(intake, STR("one")), batch); /* run again */
    assert_int_equal(batch->group_count, 1);
    assert_ptr_equal(error_intake_begin(intake, STR("two")), batch); /* "one" failed */
    assert_int_equal(batch->groups[0].count, 1);
    error_intake_written(intake, STR("two"));
    assert_ptr_equal(error_intake_begin(intake, STR("two")), batch); /* its commit failed */
    error_intake_written(intake, STR("two"));
    batch = error_intake_begin(intake, STR("three"));
    assert_non_null(batch);
    assert_int_equal(batch->group_count, 2);
    assert_int_equal(batch->groups[0].count, 1);
    error_intake_written(intake, STR("three"));
    assert_null(error_intake_begin(intake, STR("four")));
}

/* A batch that can never be written does not stand in the way for ever. */
static void what_cannot_be_written_is_given_up(void **state)
{
    const struct error_batch *stuck = NULL;
    const struct error_batch *batch = NULL;
    int runs = 0;

    (void)state;
    assert_true(add(1));
    assert_true(add(1));
    stuck = error_intake_begin(intake, STR("first"));
    assert_true(add(2));
    for (batch = stuck; batch == stuck && runs < 1000; runs++) {
        char run[32];

        (void)snprintf(run, sizeof run, "run-%d", runs);
        batch = error_intake_begin(intake, str_from(run));
    }
    assert_in_range(runs, 100, 999);
    assert_non_null(batch);
    assert_int_equal(batch->group_count, 1);
    assert_int_equal(batch->dropped[ERROR_FRONTEND], 2);
}

static void alerts_have_a_rate(void **state)
{
    (void)state;
    assert_int_equal(error_intake_alerts(intake, START_US), ALERT_RATE);
    error_intake_alerted(intake, 2, START_US);
    assert_int_equal(error_intake_alerts(intake, START_US), 1);
    error_intake_alerted(intake, 1, START_US);
    assert_int_equal(error_intake_alerts(intake, START_US), 0);
    assert_int_equal(error_intake_alerts(intake, START_US + 19 * SECOND_US), 0);
    assert_int_equal(error_intake_alerts(intake, START_US + 20 * SECOND_US), 1);
    assert_int_equal(error_intake_alerts(intake, START_US + 600 * SECOND_US), ALERT_RATE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(an_address_has_its_own_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(a_network_of_ipv6_is_one_address, setup, teardown),
        cmocka_unit_test_setup_teardown(all_together_have_a_rate, setup, teardown),
        cmocka_unit_test_setup_teardown(the_same_error_is_counted, setup, teardown),
        cmocka_unit_test_setup_teardown(what_finds_no_room_is_dropped, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_is_lost_or_written_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_given_up, setup, teardown),
        cmocka_unit_test_setup_teardown(alerts_have_a_rate, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
