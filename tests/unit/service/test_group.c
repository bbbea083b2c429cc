/* tidy: allow lines here: one module on one rig */
/* Group commit on the faked outside: who travels together, and what happens when something goes
 * wrong. */
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include "libcommon/base/limits.h"
#include "libcommon/service/service_metrics.h"

#include <stdio.h>
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
#define BRIEF           "SET LOCAL lock_timeout = '20ms'" /* where there is a change */

static enum code code_of(size_t number)
{
    assert_int_equal(rig->replies[number].times, 1);
    return rig->replies[number].code;
}

/* --- plain ------------------------------------------------------------------------------- */

static void lone_write_starts_at_once(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");

    toy_pass(rig);
    assert_int_equal(rig->replies[a].times, 0);
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_int_equal(rig->replies[a].times, 0); /* not before the commit */
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_int_equal(code_of(a), OK);
    assert_true(rig->replies[a].id > 0);
    TRACE("BEGIN insert(a) ; outbox(2) COMMIT ;");
    assert_int_equal(rig->commits, 1);
}

static void writes_gather_while_a_connection_is_busy(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_ADD, "u1", "a");
    toy_pass(rig);
    (void)toy_send(rig, TOY_ADD, "u1", "b");
    (void)toy_send(rig, TOY_ADD, "u2", "c");
    (void)toy_send(rig, TOY_ADD, "u1", "d");
    toy_settle(rig);
    TRACE("BEGIN insert(a) ; outbox(2) COMMIT ; "
          "BEGIN insert(b) insert(c) insert(d) ; outbox(6) COMMIT ;");
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(code_of(i), OK);
        assert_int_equal(rig->replies[i].order, i + 1);
    }
    assert_int_equal(rig->fake->outbox_count, 8);
}

static void batch_has_a_bound(void **state)
{
    char name[16];

    (void)state;
    for (int i = 0; i < PG_BATCH_MAX + 5; i++) {
        (void)snprintf(name, sizeof name, "n%d", i);
        (void)toy_send(rig, TOY_ADD, "u1", name);
    }
    toy_settle(rig);
    assert_non_null(strstr(rig->fake->trace, "outbox(256) COMMIT"));
    assert_non_null(strstr(rig->fake->trace, "outbox(10) COMMIT"));
    assert_int_equal(rig->answered, PG_BATCH_MAX + 5);
}

static void events_name_their_subjects(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_ADD, "u1", "a");
    toy_settle(rig);
    assert_int_equal(rig->fake->outbox_count, 2);
    const struct fake_outbox_row *event = &rig->fake->outbox[0];
    const struct fake_outbox_row *audit = &rig->fake->outbox[1];
    assert_string_equal(event->subject, "evt.toy.row.added");
    assert_string_equal(audit->subject, "audit.toy");
    Avanta__EventRecord *record = avanta__event_record__unpack(NULL, event->len, event->body);
    assert_non_null(record);
    assert_string_equal(record->subject, "evt.toy.row.added");
    assert_string_equal(record->user_id, "u1");
    assert_string_equal(record->request_id, "request-1");
    Toy__RowAdded *added = toy__row_added__unpack(NULL, record->body.len, record->body.data);
    assert_non_null(added);
    assert_string_equal(added->name, "a");
    toy__row_added__free_unpacked(added, NULL);
    avanta__event_record__free_unpacked(record, NULL);
    Avanta__AuditRecord *said = avanta__audit_record__unpack(NULL, audit->len, audit->body);
    assert_non_null(said);
    assert_string_equal(said->action_type, "create");
    assert_string_equal(said->entity_type, "row");
    assert_string_equal(said->entity_id, "row-1");
    assert_string_equal(said->details, "{\"id\":1,\"name\":\"a\"}");
    assert_string_equal(said->ip_address, "192.0.2.7");
    assert_string_equal(said->user_agent, "rig");
    assert_string_equal(said->session_id, "session-1");
    assert_string_equal(said->severity, "low");
    assert_string_equal(said->status, "success");
    assert_string_equal(said->service, "toy");
    avanta__audit_record__free_unpacked(said, NULL);
}

static void publishes_after_commit_only(void **state)
{
    (void)state;
    struct fake_rule *rule = fake_rule_add(rig->fake, "COMMIT", PG_OUTCOME_FAILED);
    rule->code = ERR_INVALID;
    rule->sqlstate = "23514";
    size_t a = toy_send(rig, TOY_ADD, "u1", TOY_BROADCAST);
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_INVALID);
    assert_string_equal(rig->fake->published, "");
    a = toy_send(rig, TOY_ADD, "u1", TOY_BROADCAST);
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    assert_string_equal(rig->fake->published, "ctl.toy=added ");
}

static void ends_without_statement_needs_no_transaction(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_PING, "u1", "a");
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    TRACE("");
}

/* --- failures ---------------------------------------------------------------------------- */

static struct fake_rule *unique_violation(const char *text)
{
    struct fake_rule *rule = fake_rule_add(rig->fake, text, PG_OUTCOME_FAILED);

    rule->code = ERR_CONFLICT;
    rule->sqlstate = "23505";
    rule->constraint = "toy_name_once";
    return rule;
}

static void hold(const char *name)
{
    (void)toy_send(rig, TOY_ADD, "u0", name);
    toy_pass(rig);
}

static void failing_member_does_not_hurt_others(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    size_t bad = toy_send(rig, TOY_ADD, "u1", "bad");
    size_t c = toy_send(rig, TOY_ADD, "u2", "c");
    unique_violation("insert(bad)")->times = 2;
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert(a) insert(bad)! insert(c)~ ; ROLLBACK ; "
          "BEGIN insert(a) insert(c) ; outbox(4) COMMIT ; "
          "BEGIN insert(bad)! ; ROLLBACK ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(c), OK);
    assert_int_equal(code_of(bad), ERR_CONFLICT);
    assert_int_equal(rig->replies[bad].reason, AVANTA__REASON__DUPLICATE_ERROR);
    assert_string_equal(rig->replies[bad].field, "name");
    assert_string_equal(rig->replies[bad].violation, "unique");
    assert_int_equal(rig->fake->outbox_count, 6);
}

static void unmapped_constraint_gives_the_code(void **state)
{
    (void)state;
    struct fake_rule *rule = unique_violation("insert(bad)");
    rule->constraint = "something_else";
    size_t bad = toy_send(rig, TOY_ADD, "u1", "bad");
    toy_settle(rig);
    assert_int_equal(code_of(bad), ERR_CONFLICT);
    assert_int_equal(rig->replies[bad].reason, AVANTA__REASON__NONE);
    assert_string_equal(rig->replies[bad].detail, "");
}

static void group_that_fails_twice_goes_one_by_one(void **state)
{
    (void)state;
    hold("first");
    (void)toy_send(rig, TOY_ADD, "u1", "a");
    (void)toy_send(rig, TOY_ADD, "u1", "bad1");
    (void)toy_send(rig, TOY_ADD, "u1", "bad2");
    (void)toy_send(rig, TOY_ADD, "u1", "d");
    unique_violation("insert(bad1)")->times = 2;
    unique_violation("insert(bad2)")->times = 2;
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert(a) insert(bad1)! insert(bad2)~ insert(d)~ ; ROLLBACK ; "
          "BEGIN insert(a) insert(bad2)! insert(d)~ ; ROLLBACK ; "
          "BEGIN insert(bad1)! ; ROLLBACK ; "
          "BEGIN insert(a) ; outbox(2) COMMIT ; "
          "BEGIN insert(bad2)! ; ROLLBACK ; "
          "BEGIN insert(d) ; outbox(2) COMMIT ;");
    assert_int_equal(code_of(1), OK);
    assert_int_equal(code_of(2), ERR_CONFLICT);
    assert_int_equal(code_of(3), ERR_CONFLICT);
    assert_int_equal(code_of(4), OK);
}

static void commit_that_fails_has_no_culprit(void **state)
{
    (void)state;
    hold("first");
    struct fake_rule *rule = fake_rule_add(rig->fake, "COMMIT", PG_OUTCOME_FAILED);
    (void)toy_send(rig, TOY_ADD, "u1", "a");
    rule->times = 0;
    toy_settle(rig);
    fake_trace_clear(rig->fake);
    hold("second");
    size_t b = toy_send(rig, TOY_ADD, "u1", "b");
    size_t c = toy_send(rig, TOY_ADD, "u1", "c");
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_true(fake_answer(rig->fake)); /* second is committed */
    rule->times = 2;                     /* a deferred constraint: the group, then b */
    rule->code = ERR_INVALID;
    rule->sqlstate = "23514";
    toy_settle(rig);
    TRACE("BEGIN insert(second) ; outbox(2) COMMIT ; "
          "BEGIN insert(b) insert(c) ; outbox(4) COMMIT! ; ROLLBACK ; "
          "BEGIN insert(b) ; outbox(2) COMMIT! ; ROLLBACK ; "
          "BEGIN insert(c) ; outbox(2) COMMIT ;");
    assert_int_equal(code_of(b), ERR_INVALID);
    assert_int_equal(code_of(c), OK);
}

static void refusal_without_writing_leaves(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    size_t no = toy_send(rig, TOY_ADD, "u1", TOY_REFUSED);
    size_t missing = toy_send(rig, TOY_MOVE, "u2", "missing");
    fake_rule_add(rig->fake, "find(missing)", PG_OUTCOME_OK)->no_rows = true;
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN " BRIEF " insert(a) find(missing) ; outbox(2) COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(no), ERR_INVALID);
    assert_int_equal(rig->replies[no].reason, AVANTA__REASON__NO_UPDATE_FIELDS);
    assert_int_equal(code_of(missing), ERR_NOT_FOUND);
    assert_string_equal(rig->replies[missing].detail, "There is no row of this name");
    assert_true(rig->replies[missing].order < rig->replies[a].order);
}

static void refusal_after_writing_rolls_back(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    size_t no = toy_send(rig, TOY_ADD, "u1", TOY_REFUSED_LATE);
    toy_settle(rig);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN insert(a) insert(refused-late) ; ROLLBACK ; "
          "BEGIN insert(a) ; outbox(2) COMMIT ; "
          "BEGIN insert(refused-late) ; ROLLBACK ; "
          "BEGIN outbox(1) COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(no), ERR_REFERENCE);
    assert_int_equal(rig->replies[no].reason, AVANTA__REASON__ACCOUNT_NOT_FOUND);
    assert_int_equal(rig->fake->outbox_count, 5);
    assert_string_equal(rig->fake->outbox[4].subject, "audit.toy"); /* of the failure */
}

static void failure_is_audited_before_its_reply(void **state)
{
    (void)state;
    size_t no = toy_send(rig, TOY_ADD, "u1", TOY_AUDITED);
    toy_pass(rig);
    assert_int_equal(rig->replies[no].times, 0);
    toy_settle(rig);
    TRACE("BEGIN outbox(1) COMMIT ;");
    assert_int_equal(code_of(no), ERR_INVALID);
    const struct fake_outbox_row *row = &rig->fake->outbox[0];
    Avanta__AuditRecord *said = avanta__audit_record__unpack(NULL, row->len, row->body);
    assert_non_null(said);
    assert_string_equal(said->status, "failed");
    assert_string_equal(said->severity, "high");
    assert_string_equal(said->action_type, "add");
    assert_string_equal(said->actor_id, "u1");
    avanta__audit_record__free_unpacked(said, NULL);
}

static void refusal_stands_when_its_record_cannot_be_written(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "outbox", PG_OUTCOME_FAILED);
    size_t no = toy_send(rig, TOY_ADD, "u1", TOY_AUDITED);
    toy_settle(rig);
    assert_int_equal(code_of(no), ERR_INVALID);
    assert_int_equal(rig->fake->outbox_count, 0);
}

/* --- serialization ------------------------------------------------------------------------- */

static struct fake_rule *serialization(const char *text, uint32_t times)
{
    struct fake_rule *rule = fake_rule_add(rig->fake, text, PG_OUTCOME_FAILED);

    rule->code = ERR_SERIALIZATION;
    rule->sqlstate = "40001";
    rule->times = times;
    return rule;
}

static void wait_out_backoff(void)
{
    for (int i = 0; i < 5; i++) {
        toy_settle(rig);
        toy_time(rig, 110);
    }
    toy_settle(rig);
}

static void serialization_failure_is_retried(void **state)
{
    (void)state;
    serialization("insert(a)", 3);
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_settle(rig);
    assert_int_equal(rig->replies[a].times, 0); /* it backs off */
    wait_out_backoff();
    assert_int_equal(code_of(a), OK);
    TRACE("BEGIN insert(a)! ; ROLLBACK ; BEGIN insert(a)! ; ROLLBACK ; "
          "BEGIN insert(a)! ; ROLLBACK ; BEGIN insert(a) ; outbox(2) COMMIT ;");
    assert_int_equal(rig->fake->outbox_count, 2);
}

static void serialization_failure_gives_up(void **state)
{
    (void)state;
    serialization("COMMIT", 4);
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    wait_out_backoff();
    assert_int_equal(code_of(a), ERR_SERIALIZATION);
    assert_int_equal(rig->fake->outbox_count, 0);
}

/* --- lost connections --------------------------------------------------------------------------
 */

static void loss_before_commit_runs_again(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_pass(rig);
    fake_lose(rig->fake);
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    TRACE("BEGIN insert(a) ; outbox(2) COMMIT ;");
    assert_int_equal(toy_metric(rig, METRIC_LOST), 1);
}

static void second_loss_is_an_error(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "insert(a)", PG_OUTCOME_LOST)->times = 2;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_UNAVAILABLE);
    TRACE("BEGIN insert(a)? BEGIN insert(a)?");
}

static void loss_at_commit_is_unknown(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "COMMIT", PG_OUTCOME_LOST);
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    assert_string_equal(rig->replies[a].detail, "It is not known whether the change was saved");
    TRACE("BEGIN insert(a) ; outbox(2) COMMIT?");
}

static void loss_between_rounds_is_found_when_sending(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_MOVE, "u1", "a");
    toy_pass(rig);
    assert_true(fake_answer(rig->fake));
    fake_lose(rig->fake); /* settled, and its turn has not come */
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    TRACE("BEGIN " BRIEF " find(a) ; BEGIN " BRIEF " find(a) ; update() ; COMMIT ;");
}

static void loss_after_commit_changes_nothing(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_pass(rig);
    assert_true(fake_answer(rig->fake));
    toy_pass(rig);
    assert_true(fake_answer(rig->fake)); /* COMMIT is answered */
    fake_lose(rig->fake);
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    assert_int_equal(rig->fake->outbox_count, 2);
}

/* --- who may share -----------------------------------------------------------------------------
 */

static void second_statement_is_kept_from_the_same_user(void **state)
{
    (void)state;
    hold("first");
    size_t a = toy_send(rig, TOY_MOVE, NULL, "a");
    size_t b = toy_send(rig, TOY_MOVE, NULL, "b");
    size_t c = toy_send(rig, TOY_MOVE, "u2", "c");
    toy_settle(rig);
    /* Not known before: a sees b of the same user and leaves; b and c go on. Then a alone. */
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN " BRIEF " find(a) find(b) find(c) ; update() update() ; COMMIT ; "
          "BEGIN find(a) ; update() ; COMMIT ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
    assert_int_equal(code_of(c), OK);
    fake_trace_clear(rig->fake);
    /* Known now: they are not put together at all. */
    hold("second");
    (void)toy_send(rig, TOY_MOVE, NULL, "d");
    (void)toy_send(rig, TOY_MOVE, NULL, "e");
    (void)toy_send(rig, TOY_MOVE, "u1", "f");
    (void)toy_send(rig, TOY_ADD, "u1", "g");
    (void)toy_send(rig, TOY_MOVE, "u2", "h");
    toy_settle(rig);
    TRACE("BEGIN insert(second) ; outbox(2) COMMIT ; "
          "BEGIN " BRIEF " find(d) find(f) find(h) ; update() update() update() ; COMMIT ; "
          "BEGIN find(e) insert(g) ; update() ; outbox(2) COMMIT ;");
}

static void work_holds_its_group(void **state)
{
    (void)state;
    hold("first");
    size_t h = toy_send(rig, TOY_HASH, "u1", "h");
    size_t a = toy_send(rig, TOY_ADD, "u2", "a");
    toy_settle(rig);
    assert_int_equal(rig->fake->work_count, 1);
    assert_int_equal(rig->replies[a].times, 0);
    fake_work(rig->fake);
    toy_settle(rig);
    assert_int_equal(code_of(h), OK);
    assert_int_equal(code_of(a), OK);
    TRACE("BEGIN insert(first) ; outbox(2) COMMIT ; "
          "BEGIN " BRIEF " find(h) insert(a) ; insert(h) ; outbox(2) COMMIT ;");
    fake_trace_clear(rig->fake);
    /* Known to be slow now: it travels alone. */
    hold("second");
    (void)toy_send(rig, TOY_HASH, "u1", "i");
    (void)toy_send(rig, TOY_ADD, "u2", "b");
    toy_settle(rig);
    fake_work(rig->fake);
    toy_settle(rig);
    TRACE("BEGIN insert(second) ; outbox(2) COMMIT ; "
          "BEGIN " BRIEF " find(i) ; insert(i) ; COMMIT ; "
          "BEGIN insert(b) ; outbox(2) COMMIT ;");
}

static void loss_during_work_waits_for_it(void **state)
{
    (void)state;
    size_t h = toy_send(rig, TOY_HASH, "u1", "h");
    toy_settle(rig);
    assert_int_equal(rig->fake->work_count, 1);
    fake_lose(rig->fake);
    toy_settle(rig);
    assert_int_equal(rig->replies[h].times, 0);
    fake_work(rig->fake);
    toy_settle(rig);
    fake_work(rig->fake); /* run again from the first step */
    toy_settle(rig);
    assert_int_equal(code_of(h), OK);
}

static void full_thread_pool_is_overload(void **state)
{
    (void)state;
    rig->fake->work_full = true;
    size_t h = toy_send(rig, TOY_HASH, "u1", "h");
    toy_settle(rig);
    assert_int_equal(code_of(h), ERR_OVERLOADED);
    TRACE("BEGIN " BRIEF " find(h) ; COMMIT ;");
}

int main(void)
{
#define GROUP(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        GROUP(lone_write_starts_at_once),
        GROUP(writes_gather_while_a_connection_is_busy),
        GROUP(batch_has_a_bound),
        GROUP(events_name_their_subjects),
        GROUP(publishes_after_commit_only),
        GROUP(ends_without_statement_needs_no_transaction),
        GROUP(failing_member_does_not_hurt_others),
        GROUP(unmapped_constraint_gives_the_code),
        GROUP(group_that_fails_twice_goes_one_by_one),
        GROUP(commit_that_fails_has_no_culprit),
        GROUP(refusal_without_writing_leaves),
        GROUP(refusal_after_writing_rolls_back),
        GROUP(failure_is_audited_before_its_reply),
        GROUP(refusal_stands_when_its_record_cannot_be_written),
        GROUP(serialization_failure_is_retried),
        GROUP(serialization_failure_gives_up),
        GROUP(loss_before_commit_runs_again),
        GROUP(second_loss_is_an_error),
        GROUP(loss_at_commit_is_unknown),
        GROUP(loss_between_rounds_is_found_when_sending),
        GROUP(loss_after_commit_changes_nothing),
        GROUP(second_statement_is_kept_from_the_same_user),
        GROUP(work_holds_its_group),
        GROUP(loss_during_work_waits_for_it),
        GROUP(full_thread_pool_is_overload),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
