/* The record that every writing operation leaves: its own, or the runner's. */
#include "avanta/common.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include <string.h>

static struct toy_rig *rig;

static int setup(void **state)
{
    (void)state;
    rig = toy_open(4, 64);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    toy_close(rig);
    return 0;
}

static size_t audit_rows(void)
{
    size_t count = 0;

    for (size_t i = 0; i < rig->fake->outbox_count; i++) {
        count += strcmp(rig->fake->outbox[i].subject, "audit.toy") == 0 ? 1 : 0;
    }
    return count;
}

static void what_says_nothing_is_recorded_by_the_runner(void **state)
{
    const struct fake_outbox_row *row = &rig->fake->outbox[0];
    size_t a = toy_send(rig, TOY_MARK, "u1", "a");

    (void)state;
    toy_settle(rig);
    assert_int_equal(rig->replies[a].code, OK);
    assert_non_null(strstr(rig->fake->trace, "find(a) ; outbox(1) COMMIT"));
    assert_int_equal(rig->fake->outbox_count, 1);
    assert_string_equal(row->subject, "audit.toy");
    Avanta__AuditRecord *record = avanta__audit_record__unpack(NULL, row->len, row->body);
    assert_non_null(record);
    assert_string_equal(record->method, "toy.MarkRead");
    assert_string_equal(record->action_type, "mark");
    assert_string_equal(record->entity_type, "toy");
    assert_null(record->entity_id);
    assert_null(record->before);
    assert_string_equal(record->details, "{}");
    assert_string_equal(record->user_id, "u1");
    assert_string_equal(record->actor_id, "u1");
    assert_string_equal(record->status, "success");
    assert_true(record->occurred_ms > 0);
    avanta__audit_record__free_unpacked(record, NULL);
}

static void what_says_something_is_not(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_ADD, "u1", "a");
    (void)toy_send(rig, TOY_PING, "u1", "b"); /* it says that it is its own record */
    toy_settle(rig);
    assert_int_equal(rig->fake->outbox_count, 2); /* of the first: its event and its record */
    assert_int_equal(audit_rows(), 1);
}

static void a_read_leaves_none(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_LIST, "u1", "a");
    (void)toy_send(rig, TOY_NAP, "u1", "a");
    toy_settle(rig);
    assert_int_equal(rig->fake->outbox_count, 0);
}

static void what_failed_leaves_none(void **state)
{
    struct fake_rule *rule = fake_rule_add(rig->fake, "find", PG_OUTCOME_FAILED);
    size_t a = 0;

    (void)state;
    rule->code = ERR_INVALID;
    a = toy_send(rig, TOY_MARK, "u1", "a");
    toy_settle(rig);
    assert_int_not_equal(rig->replies[a].code, OK);
    assert_int_equal(rig->fake->outbox_count, 0);
}

static void what_is_replayed_leaves_no_second_one(void **state)
{
    size_t a = toy_send_keyed(rig, TOY_MARK, "u1", "a", "key-1");
    size_t b = 0;

    (void)state;
    toy_settle(rig);
    b = toy_send_keyed(rig, TOY_MARK, "u1", "a", "key-1");
    toy_settle(rig);
    assert_int_equal(rig->replies[a].code, OK);
    assert_int_equal(rig->replies[b].code, OK);
    assert_true(rig->replies[b].replayed);
    assert_int_equal(rig->fake->outbox_count, 1);
}

/* The transaction was rolled back with its record, and the next one has its own. */
static void what_runs_again_leaves_one(void **state)
{
    struct fake_rule *rule = fake_rule_add(rig->fake, "COMMIT", PG_OUTCOME_FAILED);
    size_t a = 0;

    (void)state;
    rule->code = ERR_SERIALIZATION;
    a = toy_send(rig, TOY_MARK, "u1", "a");
    for (int i = 0; i < 20; i++) {
        toy_settle(rig);
        toy_time(rig, 10);
    }
    assert_int_equal(rig->replies[a].code, OK);
    assert_int_equal(rig->fake->outbox_count, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(
            what_says_nothing_is_recorded_by_the_runner, setup, teardown),
        cmocka_unit_test_setup_teardown(what_says_something_is_not, setup, teardown),
        cmocka_unit_test_setup_teardown(a_read_leaves_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_failed_leaves_none, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_replayed_leaves_no_second_one, setup, teardown),
        cmocka_unit_test_setup_teardown(what_runs_again_leaves_one, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
