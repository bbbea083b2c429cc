/* Whose turn it is, on the faked outside: one user's changes go one after the other, heavy work
 * leaves room, and nobody stands behind what waits. */
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include "libcommon/base/limits.h"
#include "libcommon/service/service_metrics.h"

#include <stdio.h>
#include <string.h>

#define CONNECTIONS 6 /* three groups */
#define APART_MAX   2
#define HEAVY_MAX   3
#define BRIEF       "SET LOCAL lock_timeout = '20ms'"

static struct toy_rig *rig;

static int setup(void **state)
{
    (void)state;
    rig = toy_open(CONNECTIONS, 1024);
    return 0;
}

static int setup_one(void **state)
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

static bool answered(size_t number)
{
    return rig->replies[number].times > 0;
}

/* Everything under way is answered once, and what follows from it is sent. */
static void turn(void)
{
    toy_pass(rig);
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
}

/* --- one user ---------------------------------------------------------------------------- */

static void changes_go_one_after_the_other(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_TOUCH, "u1", "a");
    size_t b = toy_send(rig, TOY_TOUCH, "u1", "b");
    size_t c = toy_send(rig, TOY_TOUCH, "u1", "c");
    toy_settle(rig);
    TRACE("BEGIN " BRIEF " find(a) ; COMMIT ; "
          "BEGIN " BRIEF " find(b) ; COMMIT ; "
          "BEGIN " BRIEF " find(c) ; COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
    assert_int_equal(code_of(c), OK);
}

/* One more than go one by one, all of one operation. */
static void send_crowd(enum toy_op op)
{
    static const char *const names[] = {"a", "b", "c", "d", "e"};

    assert_int_equal(ARRAY_LEN(names), OWNER_SOLO_MAX + 1);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)toy_send(rig, op, "u1", names[i]);
    }
}

static void a_crowd_goes_together(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_TOUCH, "u1", "t");
    send_crowd(TOY_TOUCH);
    toy_settle(rig);
    TRACE("BEGIN " BRIEF " find(t) ; COMMIT ; "
          "BEGIN lock(u1) find(a) find(b) find(c) find(d) find(e) ; COMMIT ;");
    assert_int_equal(rig->answered, 2 + OWNER_SOLO_MAX);
}

static void so_many_go_together(void **state)
{
    char name[16];

    (void)state;
    for (size_t i = 0; i < 2 + OWNER_TURN_MAX; i++) {
        (void)snprintf(name, sizeof name, "n%zu", i);
        (void)toy_send(rig, TOY_TOUCH, "u1", name);
    }
    turn();
    turn();
    assert_int_equal(rig->answered, 1);
    turn();
    turn();
    assert_int_equal(rig->answered, 1 + OWNER_TURN_MAX);
    fake_trace_clear(rig->fake);
    toy_settle(rig);
    TRACE("BEGIN " BRIEF " find(n33) ; COMMIT ;");
}

static void what_only_adds_takes_no_turn(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_TOUCH, "u1", "a");
    size_t b = toy_send(rig, TOY_TOUCH, "u1", "b");
    size_t c = toy_send(rig, TOY_ADD, "u1", "c");
    size_t d = toy_send(rig, TOY_LIST, "u1", "d");
    turn();
    assert_true(answered(d));
    turn();
    assert_true(answered(a) && answered(c) && !answered(b));
    toy_settle(rig);
    assert_int_equal(code_of(b), OK);
}

static void nobody_is_no_user(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_TOUCH, NULL, "a");
    size_t b = toy_send(rig, TOY_TOUCH, NULL, "b");
    turn();
    turn();
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
}

static void second_statements_do_not_share(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_TOUCH, "u1", "t");
    send_crowd(TOY_MOVE);
    toy_settle(rig);
    /* Not known before; run again apart, when the group that holds the user has ended. */
    TRACE("BEGIN " BRIEF " find(t) ; COMMIT ; "
          "BEGIN lock(u1) find(a) find(b) find(c) find(d) find(e) ; update() ; COMMIT ; "
          "BEGIN lock(u1) find(a) ; update() ; COMMIT ; "
          "BEGIN lock(u1) find(b) ; update() ; COMMIT ; "
          "BEGIN lock(u1) find(c) ; update() ; COMMIT ; "
          "BEGIN lock(u1) find(d) ; update() ; COMMIT ;");
    fake_trace_clear(rig->fake);
    send_crowd(TOY_MOVE);
    toy_settle(rig);
    assert_null(strstr(rig->fake->trace, "lock(u1)")); /* known now: each by itself */
    assert_int_equal(rig->answered, 1 + 2 * (OWNER_SOLO_MAX + 1));
}

/* Two groups are free for the two that run again; they follow one another all the same. */
static void one_transaction_holds_a_user(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_TOUCH, "u1", "t");
    size_t bad = toy_send(rig, TOY_TOUCH, "u1", "bad");
    send_crowd(TOY_TOUCH);
    struct fake_rule *rule = fake_rule_add(rig->fake, "find(bad)", PG_OUTCOME_FAILED);
    rule->code = ERR_INVALID;
    rule->times = 2;
    toy_settle(rig);
    TRACE("BEGIN " BRIEF " find(t) ; COMMIT ; "
          "BEGIN lock(u1) find(bad)! find(a)~ find(b)~ find(c)~ find(d)~ find(e)~ ; ROLLBACK ; "
          "BEGIN lock(u1) find(bad)! ; ROLLBACK ; "
          "BEGIN lock(u1) find(a) find(b) find(c) find(d) find(e) ; COMMIT ;");
    assert_int_equal(code_of(bad), ERR_INVALID);
    assert_int_equal(rig->answered, 3 + OWNER_SOLO_MAX);
}

/* --- others ------------------------------------------------------------------------------ */

static void others_do_not_wait(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        (void)toy_send(rig, TOY_TOUCH, "u1", "a");
    }
    turn();
    turn(); /* nineteen go apart now */
    assert_int_equal(rig->answered, 1);
    size_t x = toy_send(rig, TOY_TOUCH, "u2", "x");
    size_t y = toy_send(rig, TOY_ADD, "u3", "y");
    turn();
    fake_trace_clear(rig->fake);
    toy_settle(rig);
    assert_int_equal(code_of(x), OK);
    assert_int_equal(code_of(y), OK);
    assert_non_null(strstr(rig->fake->trace, "COMMIT")); /* of the two, in one group */
}

static void groups_apart_leave_one_to_others(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * (OWNER_SOLO_MAX + 1); i++) {
        char user[] = {'u', (char)('1' + i % 3), '\0'};
        (void)toy_send(rig, TOY_TOUCH, user, "first");
    }
    size_t late[3];
    for (size_t i = 0; i < 3; i++) {
        char user[] = {'u', (char)('1' + i), '\0'};
        late[i] = toy_send(rig, TOY_TOUCH, user, "late");
    }
    turn();
    turn(); /* one of each user is done; three users want to go apart */
    assert_int_equal(rig->answered, 3);
    size_t x = toy_send(rig, TOY_ADD, "x", "x");
    turn();
    turn();
    assert_true(answered(x));
    assert_int_equal(answered(late[0]) + answered(late[1]) + answered(late[2]), APART_MAX);
    toy_settle(rig);
    assert_int_equal(rig->answered, 3 * (OWNER_SOLO_MAX + 2) + 1);
}

/* Another process of the service holds the row. */
static void lock_that_takes_long_is_waited_for_apart(void **state)
{
    (void)state;
    size_t first = toy_send(rig, TOY_ADD, "u0", "first");
    toy_pass(rig);
    size_t a = toy_send(rig, TOY_TOUCH, "u1", "a");
    size_t x = toy_send(rig, TOY_ADD, "u2", "x");
    struct fake_rule *rule = fake_rule_add(rig->fake, "find(a)", PG_OUTCOME_FAILED);
    rule->code = ERR_SERIALIZATION;
    rule->sqlstate = "55P03";
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN " BRIEF " find(a)! insert(x)~ ; ROLLBACK ; "
          "BEGIN lock(u1) find(a) ; COMMIT ; "
          "BEGIN insert(x) ; outbox(2) COMMIT ;");
    assert_int_equal(code_of(first), OK);
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(x), OK);
}

static void lone_change_waits_apart_too(void **state)
{
    (void)state;
    struct fake_rule *rule = fake_rule_add(rig->fake, "find(a)", PG_OUTCOME_FAILED);
    rule->code = ERR_SERIALIZATION;
    rule->sqlstate = "55P03";
    size_t a = toy_send(rig, TOY_TOUCH, "u1", "a");
    toy_settle(rig);
    TRACE("BEGIN " BRIEF " find(a)! ; ROLLBACK ; BEGIN lock(u1) find(a) ; COMMIT ;");
    assert_int_equal(code_of(a), OK);
}

/* --- heavy ------------------------------------------------------------------------------- */

static void one_heavy_of_each_user(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_EXPORT, "u1", "a");
    size_t b = toy_send(rig, TOY_EXPORT, "u1", "b");
    size_t c = toy_send(rig, TOY_BULK, "u1", "c");
    size_t d = toy_send(rig, TOY_TOUCH, "u1", "d");
    turn();
    assert_true(answered(a) && !answered(b));
    turn();
    assert_true(answered(b) && !answered(c));
    fake_trace_clear(rig->fake);
    toy_settle(rig);
    TRACE("BEGIN lock(u1) find(c) ; COMMIT ; BEGIN " BRIEF " find(d) ; COMMIT ;");
    assert_int_equal(code_of(c), OK);
    assert_int_equal(code_of(d), OK);
}

static void few_heavy_ones_at_a_time(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        char user[] = {'u', (char)('1' + i), '\0'};
        (void)toy_send(rig, i % 2 == 0 ? TOY_EXPORT : TOY_BULK, user, user);
    }
    turn();
    assert_int_equal(rig->answered, 2); /* the exports; the third is not committed */
    assert_true(answered(0) && answered(2));
    turn();
    assert_int_equal(rig->answered, 4);
    assert_false(answered(3));
    turn();
    assert_int_equal(rig->answered, 5);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(code_of(i), OK);
    }
}

static void nobody_shares_a_pipeline_with_a_heavy_read(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_LIST, NULL, "first");
    toy_pass(rig);
    size_t a = toy_send(rig, TOY_LIST, NULL, "a");
    size_t b = toy_send(rig, TOY_EXPORT, "u1", "b");
    size_t c = toy_send(rig, TOY_LIST, NULL, "c");
    turn();
    turn();
    assert_true(answered(a) && !answered(b));
    turn();
    assert_true(answered(b) && !answered(c));
    turn();
    assert_true(answered(c));
}

/* --- bounds ------------------------------------------------------------------------------ */

static size_t refused(size_t from)
{
    size_t count = 0;

    for (size_t i = from; i < rig->sent; i++) {
        if (answered(i)) {
            assert_int_equal(code_of(i), ERR_RATE_LIMITED);
            count++;
        }
    }
    return count;
}

static void waiting_has_a_bound(void **state)
{
    (void)state;
    for (size_t i = 0; i < OWNER_WAITING_MAX + 3; i++) {
        (void)toy_send(rig, TOY_TOUCH, "u1", "a");
    }
    assert_int_equal(refused(0), 2); /* one is under way */
    assert_string_equal(rig->replies[OWNER_WAITING_MAX + 2].detail,
                        "Too many changes of this user are waiting");
    size_t x = toy_send(rig, TOY_TOUCH, "u2", "x");
    size_t y = toy_send(rig, TOY_ADD, "u1", "y");
    toy_settle(rig);
    assert_int_equal(code_of(x), OK);
    assert_int_equal(code_of(y), OK);
    assert_int_equal(code_of(OWNER_WAITING_MAX), OK);
}

static void heavy_waiting_has_a_bound(void **state)
{
    char user[16];

    (void)state;
    for (size_t i = 0; i < OWNER_HEAVY_MAX + 2; i++) {
        (void)toy_send(rig, TOY_BULK, "u1", "a");
    }
    assert_int_equal(refused(0), 1);
    size_t from = rig->sent;
    for (size_t i = 0; i < HEAVY_WAITING_MAX; i++) {
        (void)snprintf(user, sizeof user, "v%zu", i);
        (void)toy_send(rig, TOY_EXPORT, user, "a");
    }
    /* Some have gone, and the first user's wait among the others. */
    assert_int_equal(refused(from), OWNER_HEAVY_MAX - (HEAVY_MAX - 1));
    size_t x = toy_send(rig, TOY_TOUCH, "w", "x");
    toy_settle(rig);
    assert_int_equal(code_of(x), OK);
}

static void deadline_holds_while_waiting(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_BULK, "u1", "a");
    size_t b = toy_send(rig, TOY_BULK, "u1", "b");
    toy_time(rig, TOY_DEADLINE_MS / 2);
    size_t c = toy_send(rig, TOY_TOUCH, "u1", "c");
    toy_pass(rig);
    toy_time(rig, TOY_DEADLINE_MS / 2);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    assert_int_equal(code_of(b), ERR_TIMEOUT);
    assert_false(answered(c)); /* the transaction of the first has not ended */
    toy_settle(rig);
    TRACE("BEGIN lock(u1) find(a) ; COMMIT ; BEGIN " BRIEF " find(c) ; COMMIT ;");
    assert_int_equal(code_of(c), OK);
}

/* What waited for a place among the heavy ones gives it up. */
static void place_is_not_kept_for_the_late(void **state)
{
    (void)state;
    rig->fake->no_connection = true;
    size_t a = toy_send(rig, TOY_BULK, "u1", "a");
    size_t b = toy_send(rig, TOY_BULK, "u2", "b");
    (void)toy_send(rig, TOY_EXPORT, "u4", "e");
    toy_time(rig, 1);
    size_t c = toy_send(rig, TOY_BULK, "u3", "c");
    size_t d = toy_send(rig, TOY_TOUCH, "u3", "d");
    toy_pass(rig);
    toy_time(rig, TOY_DEADLINE_MS - 1);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    assert_int_equal(code_of(b), ERR_TIMEOUT);
    rig->fake->no_connection = false;
    rig->fake->woken = true;
    toy_settle(rig);
    TRACE("BEGIN lock(u3) find(c) ; COMMIT ; BEGIN " BRIEF " find(d) ; COMMIT ;");
    assert_int_equal(code_of(c), OK);
    assert_int_equal(code_of(d), OK);
}

int main(void)
{
#define TURNS(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ONE(test)   cmocka_unit_test_setup_teardown(test, setup_one, teardown)
    const struct CMUnitTest tests[] = {
        TURNS(changes_go_one_after_the_other),
        TURNS(a_crowd_goes_together),
        TURNS(so_many_go_together),
        TURNS(what_only_adds_takes_no_turn),
        TURNS(nobody_is_no_user),
        TURNS(second_statements_do_not_share),
        TURNS(one_transaction_holds_a_user),
        TURNS(others_do_not_wait),
        TURNS(groups_apart_leave_one_to_others),
        ONE(lock_that_takes_long_is_waited_for_apart),
        TURNS(lone_change_waits_apart_too),
        TURNS(one_heavy_of_each_user),
        TURNS(few_heavy_ones_at_a_time),
        ONE(nobody_shares_a_pipeline_with_a_heavy_read),
        TURNS(waiting_has_a_bound),
        TURNS(heavy_waiting_has_a_bound),
        TURNS(deadline_holds_while_waiting),
        TURNS(place_is_not_kept_for_the_late),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
