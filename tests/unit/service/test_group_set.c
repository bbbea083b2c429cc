/* Set statements in group commit on the faked outside: one statement answers for many members. */
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include "libcommon/service/service_metrics.h"

#include <string.h>

static struct toy_rig *rig;

static int setup(void **state)
{
    (void)state;
    rig = toy_open(1, 1024);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_close(rig);
    return 0;
}

#define TRACE(expected) assert_string_equal(rig->fake->trace, expected)

static enum code code_of(size_t number)
{
    assert_int_equal(rig->replies[number].times, 1);
    return rig->replies[number].code;
}

/* Keeps the only connection busy, so that what comes next travels together. */
static void hold(const char *name)
{
    (void)toy_send(rig, TOY_ADD, "u0", name);
    toy_pass(rig);
}

static void members_share_one_statement(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t b = toy_send(rig, TOY_ADD, "u1", "b");
    size_t c = toy_send(rig, TOY_JOIN, "u2", "c");
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert_set(a,c) insert(b) ; outbox(6) COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
    assert_int_equal(code_of(c), OK);
    assert_int_equal(rig->replies[c].id, rig->replies[a].id + 1); /* each its own row */
}

static void lone_member_is_a_set_of_one(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    toy_settle(rig);
    TRACE("BEGIN insert_set(a) ; outbox(2) COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_true(rig->replies[a].id > 0);
}

static void member_without_a_row_disturbs_nobody(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t no = toy_send(rig, TOY_JOIN, "u1", TOY_UNKNOWN);
    size_t c = toy_send(rig, TOY_JOIN, "u1", "c");
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert_set(a,unknown,c) ; outbox(4) COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(no), ERR_REFERENCE);
    assert_int_equal(code_of(c), OK);
    assert_int_equal(rig->replies[c].id, rig->replies[a].id + 1);
}

static void failed_set_finds_its_culprit(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t bad = toy_send(rig, TOY_JOIN, "u1", "bad");
    size_t c = toy_send(rig, TOY_JOIN, "u1", "c");
    struct fake_rule *rule = fake_rule_add(rig->fake, "bad", PG_OUTCOME_FAILED);
    rule->code = ERR_CONFLICT;
    rule->sqlstate = "23505";
    rule->constraint = "toy_name_once";
    rule->times = 3;
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert_set(a,bad,c)! ; ROLLBACK ; "
          "BEGIN insert_set(a) insert_set(bad)! insert_set(c)~ ; ROLLBACK ; "
          "BEGIN insert_set(a) insert_set(c) ; outbox(4) COMMIT ; "
          "BEGIN insert_set(bad)! ; ROLLBACK ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(c), OK);
    assert_int_equal(code_of(bad), ERR_CONFLICT);
    assert_int_equal(rig->replies[bad].reason, AVANTA__REASON__DUPLICATE_ERROR);
}

static void row_of_nobody_is_an_error(void **state)
{
    (void)state;
    hold("first");
    rig->fake->misplaced = true;
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t b = toy_send(rig, TOY_JOIN, "u1", "b");
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert_set(a,b) ; ROLLBACK ; "
          "BEGIN insert_set(a) insert_set(b) ; outbox(4) COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
}

static void set_that_is_lost_runs_again(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t b = toy_send(rig, TOY_JOIN, "u1", "b");
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_true(fake_answer(rig->fake)); /* first is committed */
    toy_pass(rig);
    fake_lose(rig->fake);
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert_set(a,b) ; outbox(4) COMMIT ;");
    assert_int_equal(toy_metric(rig, METRIC_LOST), 1);
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
}

static void set_under_way_when_sending_breaks_runs_again(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t b = toy_send(rig, TOY_JOIN, "u1", "b");
    size_t c = toy_send(rig, TOY_ADD, "u2", "c");
    rig->fake->unsendable = "insert(c)";
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_true(fake_answer(rig->fake)); /* first is committed */
    toy_pass(rig);                       /* the set is sent, c is not */
    rig->fake->unsendable = NULL;
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
    assert_int_equal(code_of(c), OK);
    assert_int_equal(toy_metric(rig, METRIC_LOST), 1);
}

static void sending_that_breaks_twice_is_an_error(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    size_t b = toy_send(rig, TOY_ADD, "u1", "b");
    rig->fake->unsendable = "insert(b)";
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_UNAVAILABLE);
    assert_int_equal(code_of(b), ERR_UNAVAILABLE);
    assert_int_equal(toy_metric(rig, METRIC_LOST), 2);
}

static void expired_member_of_a_set_is_rolled_back(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_JOIN, "u1", "a");
    size_t b = toy_send(rig, TOY_JOIN, "u1", "b");
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_true(fake_answer(rig->fake));
    toy_pass(rig); /* the set is under way */
    toy_time(rig, 60000);
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    assert_int_equal(code_of(b), ERR_TIMEOUT);
    assert_non_null(strstr(rig->fake->trace, "insert_set(a,b) ; ROLLBACK ;"));
    assert_int_equal(rig->fake->outbox_count, 2);
}

int main(void)
{
#define SET(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        SET(members_share_one_statement),
        SET(lone_member_is_a_set_of_one),
        SET(member_without_a_row_disturbs_nobody),
        SET(failed_set_finds_its_culprit),
        SET(row_of_nobody_is_an_error),
        SET(set_that_is_lost_runs_again),
        SET(set_under_way_when_sending_breaks_runs_again),
        SET(sending_that_breaks_twice_is_an_error),
        SET(expired_member_of_a_set_is_rolled_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
