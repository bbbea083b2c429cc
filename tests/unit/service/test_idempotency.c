/* Idempotency keys on the faked outside: claim, replay, mismatch, and what is stored. */
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include "libcommon/service/idempotency.h"
#include "libcommon/service/service_metrics.h"

#include <string.h>

static struct toy_rig *rig;

static int setup(void **state)
{
    (void)state;
    rig = toy_open(2, 64);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_close(rig);
    return 0;
}

#define TRACE(expected) assert_string_equal(rig->fake->trace, expected)

static const struct toy_reply *ask(const char *user, const char *name, const char *key)
{
    size_t number = toy_send_keyed(rig, TOY_ADD, user, name, key);

    toy_settle(rig);
    assert_int_equal(rig->replies[number].times, 1);
    return &rig->replies[number];
}

static void key_form(void **state)
{
    char longest[257];

    (void)state;
    memset(longest, 'k', sizeof longest);
    assert_true(idempotency_key_valid(STR("a")));
    assert_true(idempotency_key_valid((struct str){longest, 255}));
    assert_false(idempotency_key_valid((struct str){longest, 256}));
    assert_false(idempotency_key_valid(STR_EMPTY));
    assert_false(idempotency_key_valid(STR("a\nb")));
    assert_false(idempotency_key_valid(STR("a\x7f")));
    assert_false(idempotency_key_valid(STR("\xc3\xa9")));
    assert_true(idempotency_key_valid(STR(" ~")));
}

static void reply_is_stored_and_replayed(void **state)
{
    (void)state;
    const struct toy_reply *first = ask("u1", "a", "k1");
    assert_int_equal(first->code, OK);
    assert_false(first->replayed);
    TRACE("BEGIN claim(k1) ; insert(a) ; outbox(2) store(1) COMMIT ;");
    fake_trace_clear(rig->fake);
    const struct toy_reply *second = ask("u1", "a", "k1");
    assert_int_equal(second->code, OK);
    assert_true(second->replayed);
    assert_int_equal(second->id, first->id);
    TRACE("BEGIN claim(k1) ; COMMIT ;");
    assert_int_equal(rig->fake->outbox_count, 2);
    assert_int_equal(toy_metric(rig, METRIC_REPLAYS), 1);
}

static void other_body_is_a_mismatch(void **state)
{
    (void)state;
    (void)ask("u1", "a", "k1");
    const struct toy_reply *other = ask("u1", "b", "k1");
    assert_int_equal(other->code, ERR_REFERENCE);
    assert_int_equal(other->reason, AVANTA__REASON__IDEMPOTENCY_MISMATCH);
    assert_int_equal(rig->fake->stored_count, 1);
}

static void keys_belong_to_users(void **state)
{
    (void)state;
    (void)ask("u1", "a", "k1");
    const struct toy_reply *other = ask("u2", "b", "k1");
    assert_int_equal(other->code, OK);
    assert_false(other->replayed);
    assert_int_equal(rig->fake->stored_count, 2);
}

static void key_in_flight_elsewhere(void **state)
{
    (void)state;
    rig->fake->key_taken = true;
    const struct toy_reply *reply = ask("u1", "a", "k1");
    assert_int_equal(reply->code, ERR_CONFLICT);
    assert_int_equal(reply->reason, AVANTA__REASON__IDEMPOTENCY_IN_FLIGHT);
    assert_int_equal(rig->fake->stored_count, 0);
    TRACE("BEGIN claim(k1) ; COMMIT ;");
}

static void same_key_never_shares_a_transaction(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_ADD, "u0", "first");
    toy_pass(rig);
    size_t a = toy_send_keyed(rig, TOY_ADD, "u1", "a", "k1");
    size_t b = toy_send_keyed(rig, TOY_ADD, "u1", "a", "k1");
    toy_settle(rig);
    assert_int_equal(rig->replies[a].code, OK);
    assert_int_equal(rig->replies[b].code, OK);
    assert_false(rig->replies[a].replayed);
    assert_true(rig->replies[b].replayed);
    assert_int_equal(rig->fake->stored_count, 1);
}

static void refusal_is_stored(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "find(gone)", PG_OUTCOME_OK)->no_rows = true;
    size_t first = toy_send_keyed(rig, TOY_MOVE, "u1", "gone", "k1");
    toy_settle(rig);
    TRACE("BEGIN SET LOCAL lock_timeout = '20ms' claim(k1) ; find(gone) ; store(1) COMMIT ;");
    size_t second = toy_send_keyed(rig, TOY_MOVE, "u1", "gone", "k1");
    toy_settle(rig);
    assert_int_equal(rig->replies[first].code, ERR_NOT_FOUND);
    assert_int_equal(rig->replies[second].code, ERR_NOT_FOUND);
    assert_true(rig->replies[second].replayed);
    assert_string_equal(rig->replies[second].detail, rig->replies[first].detail);
}

static void refusal_after_writing_is_stored_after_the_rollback(void **state)
{
    (void)state;
    const struct toy_reply *first = ask("u1", TOY_REFUSED_LATE, "k1");
    TRACE("BEGIN claim(k1) ; insert(refused-late) ; ROLLBACK ; BEGIN outbox(1) store(1) COMMIT ;");
    const struct toy_reply *second = ask("u1", TOY_REFUSED_LATE, "k1");
    assert_int_equal(first->reason, AVANTA__REASON__ACCOUNT_NOT_FOUND);
    assert_int_equal(second->reason, AVANTA__REASON__ACCOUNT_NOT_FOUND);
    assert_true(second->replayed);
}

static void passing_errors_are_not_stored(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "insert(a)", PG_OUTCOME_FAILED);
    assert_int_equal(ask("u1", "a", "k1")->code, ERR_INTERNAL);
    assert_int_equal(rig->fake->stored_count, 0);
    assert_int_equal(ask("u1", "a", "k1")->code, OK);
}

static void loss_at_commit_is_asked_again(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "COMMIT", PG_OUTCOME_LOST);
    const struct toy_reply *reply = ask("u1", "a", "k1");
    assert_int_equal(reply->code, OK);
    assert_false(reply->replayed);
    TRACE("BEGIN claim(k1) ; insert(a) ; outbox(2) store(1) COMMIT? "
          "BEGIN claim(k1) ; insert(a) ; outbox(2) store(1) COMMIT ;");
    assert_int_equal(rig->fake->outbox_count, 2);
}

/* A refusal is stored after its rollback, when others may claim the key: the primary key tells. */
static void collision_when_storing_runs_again(void **state)
{
    (void)state;
    struct fake_rule *rule = fake_rule_add(rig->fake, "store", PG_OUTCOME_FAILED);
    rule->code = ERR_CONFLICT;
    rule->sqlstate = "23505";
    rule->constraint = "idempotency_pkey";
    size_t a = toy_send_keyed(rig, TOY_ADD, "u1", "a", "k1");
    toy_settle(rig);
    toy_time(rig, 110);
    toy_settle(rig);
    assert_int_equal(rig->replies[a].code, OK);
    assert_int_equal(rig->fake->outbox_count, 2);
}

static void refused_before_any_statement_needs_no_claim(void **state)
{
    (void)state;
    assert_int_equal(ask("u1", TOY_REFUSED, "k1")->code, ERR_INVALID);
    TRACE("");
}

static void anonymous_callers_share_the_empty_user(void **state)
{
    (void)state;
    size_t a = toy_send_keyed(rig, TOY_MOVE, NULL, "a", "k1");
    toy_settle(rig);
    size_t b = toy_send_keyed(rig, TOY_MOVE, NULL, "a", "k1");
    toy_settle(rig);
    assert_int_equal(rig->replies[a].code, OK);
    assert_true(rig->replies[b].replayed);
    assert_string_equal(rig->fake->stored[0].owner, "");
}

int main(void)
{
#define RIG(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(key_form),
        RIG(reply_is_stored_and_replayed),
        RIG(other_body_is_a_mismatch),
        RIG(keys_belong_to_users),
        RIG(key_in_flight_elsewhere),
        RIG(same_key_never_shares_a_transaction),
        RIG(refusal_is_stored),
        RIG(refusal_after_writing_is_stored_after_the_rollback),
        RIG(passing_errors_are_not_stored),
        RIG(loss_at_commit_is_asked_again),
        RIG(collision_when_storing_runs_again),
        RIG(refused_before_any_statement_needs_no_claim),
        RIG(anonymous_callers_share_the_empty_user),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
