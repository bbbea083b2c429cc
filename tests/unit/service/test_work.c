/* Work on the thread pool and steps before the transaction, on the faked outside. */
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include "libcommon/service/service_metrics.h"

#define PLACES (TOY_WORK_THREADS + TOY_WORK_WAITING)
#define BRIEF  "SET LOCAL lock_timeout = '20ms'"

static struct toy_rig *rig;

static int setup(void **state)
{
    (void)state;
    rig = toy_open(2, 16);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_close(rig);
    return 0;
}

static enum code code_of(size_t number)
{
    assert_int_equal(rig->replies[number].times, 1);
    return rig->replies[number].code;
}

static void work_in_turn(void)
{
    while (rig->fake->work_count > 0) {
        assert_true(rig->fake->work_count <= TOY_WORK_THREADS);
        fake_work(rig->fake);
        toy_settle(rig);
    }
}

static void steps_before_the_transaction_hold_no_connection(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_SIGN, "u1", "a");
    toy_settle(rig);
    assert_string_equal(rig->fake->trace, "find(a) ;"); /* no BEGIN */
    assert_int_equal(rig->fake->work_count, 1);
    fake_trace_clear(rig->fake);
    size_t b = toy_send(rig, TOY_ADD, "u2", "b"); /* a transaction of others meanwhile */
    toy_settle(rig);
    assert_int_equal(code_of(b), OK);
    fake_trace_clear(rig->fake);
    work_in_turn();
    assert_int_equal(code_of(a), OK);
    assert_string_equal(rig->fake->trace, "BEGIN " BRIEF " insert(a) ; COMMIT ;");
}

/* hash_insert asserts that the work was done once: its result outlives the failed transaction. */
static void a_new_run_begins_behind_the_mark(void **state)
{
    (void)state;
    struct fake_rule *rule = fake_rule_add(rig->fake, "insert(a)", PG_OUTCOME_FAILED);
    rule->code = ERR_SERIALIZATION;
    rule->times = 1;
    size_t a = toy_send(rig, TOY_SIGN, "u1", "a");
    toy_settle(rig);
    work_in_turn();
    toy_time(rig, 200);
    toy_settle(rig);
    assert_int_equal(rig->fake->work_count, 0);
    assert_int_equal(code_of(a), OK);
    assert_true(toy_metric(rig, METRIC_RERUNS) > 0);
}

static void a_key_is_claimed_in_the_transaction(void **state)
{
    (void)state;
    size_t a = toy_send_keyed(rig, TOY_SIGN, "u1", "a", "key-1");
    toy_settle(rig);
    work_in_turn();
    assert_int_equal(code_of(a), OK);
    size_t b = toy_send_keyed(rig, TOY_SIGN, "u1", "a", "key-1");
    toy_settle(rig);
    work_in_turn();
    assert_int_equal(code_of(b), OK);
    assert_true(rig->replies[b].replayed);
}

static void few_wait_and_the_rest_is_refused_at_once(void **state)
{
    size_t sent[PLACES + 2];

    (void)state;
    for (size_t i = 0; i < PLACES + 2; i++) {
        char user[3] = {'u', (char)('1' + i), '\0'};
        sent[i] = toy_send(rig, TOY_SIGN, user, "a");
    }
    toy_settle(rig);
    for (size_t i = PLACES; i < PLACES + 2; i++) {
        assert_int_equal(code_of(sent[i]), ERR_OVERLOADED);
    }
    assert_string_equal(rig->fake->trace, "find(a) ; find(a) ; find(a) ;"); /* they asked nothing */
    work_in_turn();
    for (size_t i = 0; i < PLACES; i++) {
        assert_int_equal(code_of(sent[i]), OK);
    }
    size_t again = toy_send(rig, TOY_SIGN, "u9", "a"); /* the places are free again */
    toy_settle(rig);
    work_in_turn();
    assert_int_equal(code_of(again), OK);
}

static void what_is_late_is_not_begun(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_SIGN, "u1", "a");
    size_t b = toy_send(rig, TOY_SIGN, "u2", "b");
    toy_settle(rig);
    assert_int_equal(rig->fake->work_count, 1); /* of a; b waits */
    fake_pass_time(rig->fake, TOY_DEADLINE_MS);
    fake_work(rig->fake);
    assert_int_equal(rig->fake->work_count, 0);
    toy_settle(rig);
    assert_int_equal(code_of(b), ERR_TIMEOUT);
    assert_int_equal(code_of(a), OK); /* done before anybody looked at the clock */
}

static void an_expired_one_gives_its_place_back(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_SIGN, "u1", "a");
    size_t b = toy_send(rig, TOY_SIGN, "u2", "b");
    toy_settle(rig);
    toy_time(rig, TOY_DEADLINE_MS);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    assert_int_equal(code_of(b), ERR_TIMEOUT);
    fake_work(rig->fake); /* the thread lets go of a; b is never begun */
    toy_settle(rig);
    assert_int_equal(rig->fake->work_count, 0);
    struct runner_gauges gauges;
    runner_gauges(rig->runner, &gauges);
    assert_int_equal(gauges.works_placed, 0);
    assert_int_equal(gauges.requests, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            steps_before_the_transaction_hold_no_connection, setup, teardown),
        cmocka_unit_test_setup_teardown(a_new_run_begins_behind_the_mark, setup, teardown),
        cmocka_unit_test_setup_teardown(a_key_is_claimed_in_the_transaction, setup, teardown),
        cmocka_unit_test_setup_teardown(few_wait_and_the_rest_is_refused_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_late_is_not_begun, setup, teardown),
        cmocka_unit_test_setup_teardown(an_expired_one_gives_its_place_back, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
