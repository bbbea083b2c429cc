/* The runner on the faked outside: reads, deadlines, bounds, draining. */
#include "tests/support/check.h"
#include "tests/support/toy_rig.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/service/query_effect.h"
#include "libcommon/service/service_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct toy_rig *rig;

static int setup(void **state)
{
    (void)state;
    rig = toy_open(2, 16);
    return 0;
}

static int setup_many(void **state)
{
    (void)state;
    rig = toy_open(6, 64);
    return 0;
}

static int setup_one(void **state)
{
    (void)state;
    rig = toy_open(1, 16);
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

/* --- reads ------------------------------------------------------------------------------- */

static void reads_share_a_pipeline_and_fail_apart(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_LIST, NULL, "a");
    toy_pass(rig);
    size_t b = toy_send(rig, TOY_LIST, NULL, "b");
    size_t c = toy_send(rig, TOY_LIST, NULL, "c");
    fake_rule_add(rig->fake, "select(b)", PG_OUTCOME_FAILED);
    toy_settle(rig);
    TRACE("select(a) ; select(b)! ; select(c) ;");
    assert_int_equal(code_of(a), OK);
    assert_int_equal(rig->replies[a].rows, 1);
    assert_int_equal(code_of(b), ERR_INTERNAL);
    assert_string_equal(rig->replies[b].detail, ""); /* nothing internal */
    assert_int_equal(code_of(c), OK);
}

static void free_connections_share_what_waits(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        (void)toy_send(rig, TOY_LIST, NULL, "x");
    }
    toy_pass(rig);
    (void)fake_answer(rig->fake);
    toy_pass(rig);
    assert_int_equal(rig->answered, 4); /* two pipelines of two, both answered in one turn */
}

static void lost_read_is_sent_again_once(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "select(a)", PG_OUTCOME_LOST);
    size_t a = toy_send(rig, TOY_LIST, NULL, "a");
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    fake_rule_add(rig->fake, "select(b)", PG_OUTCOME_LOST)->times = 2;
    size_t b = toy_send(rig, TOY_LIST, NULL, "b");
    toy_settle(rig);
    assert_int_equal(code_of(b), ERR_UNAVAILABLE);
}

static void lost_statement_outside_of_reads_is_an_error(void **state)
{
    (void)state;
    fake_rule_add(rig->fake, "sleep", PG_OUTCOME_LOST);
    size_t a = toy_send(rig, TOY_NAP, NULL, "a");
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_UNAVAILABLE);
}

static void serialization_failure_of_a_read_is_sent_again(void **state)
{
    (void)state;
    struct fake_rule *rule = fake_rule_add(rig->fake, "select(a)", PG_OUTCOME_FAILED);
    rule->code = ERR_SERIALIZATION;
    rule->times = 3;
    size_t a = toy_send(rig, TOY_LIST, NULL, "a");
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    rule->times = 4;
    size_t b = toy_send(rig, TOY_LIST, NULL, "a");
    toy_settle(rig);
    assert_int_equal(code_of(b), ERR_SERIALIZATION);
}

static void reads_and_writes_take_turns(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_LIST, NULL, "a");
    toy_pass(rig);
    for (int i = 0; i < 3; i++) {
        (void)toy_send(rig, TOY_LIST, NULL, "r");
    }
    (void)toy_send(rig, TOY_ADD, "u1", "w");
    toy_settle(rig);
    /* One connection: the write does not wait for every read, nor the reads for every write. */
    TRACE("select(a) ; BEGIN insert(w) ; outbox(2) COMMIT ; select(r) ; select(r) ; select(r) ;");
}

/* --- deadlines --------------------------------------------------------------------------- */

static void deadline_while_queued(void **state)
{
    (void)state;
    rig->fake->no_connection = true;
    size_t read = toy_send(rig, TOY_LIST, NULL, "a");
    size_t write = toy_send(rig, TOY_ADD, "u1", "b");
    toy_settle(rig);
    assert_true(rig->fake->ticking);
    toy_time(rig, TOY_DEADLINE_MS - 1);
    assert_int_equal(rig->answered, 0);
    toy_time(rig, 1);
    assert_int_equal(code_of(read), ERR_TIMEOUT);
    assert_int_equal(code_of(write), ERR_TIMEOUT);
    rig->fake->no_connection = false;
    toy_settle(rig);
    TRACE("");
    assert_false(rig->fake->ticking);
}

static void deadline_while_reading_ignores_the_late_answer(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_LIST, NULL, "a");
    toy_pass(rig);
    toy_time(rig, TOY_DEADLINE_MS);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    size_t b = toy_send(rig, TOY_LIST, NULL, "b"); /* in the same slot of the pool */
    toy_settle(rig);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    assert_int_equal(code_of(b), OK);
    TRACE("select(a) ; select(b) ;");
}

static void deadline_in_a_group_rolls_back_what_was_written(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_pass(rig);
    toy_time(rig, TOY_DEADLINE_MS);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    toy_settle(rig);
    TRACE("BEGIN insert(a) ; ROLLBACK ;");
    assert_int_equal(rig->fake->outbox_count, 0);
}

static void deadline_in_a_group_does_not_hurt_others(void **state)
{
    (void)state;
    (void)toy_send(rig, TOY_ADD, "u0", "first");
    toy_pass(rig);
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_time(rig, TOY_DEADLINE_MS / 2);
    size_t b = toy_send(rig, TOY_ADD, "u2", "b");
    toy_settle(rig);
    assert_int_equal(code_of(a), OK);
    a = toy_send(rig, TOY_ADD, "u1", "c");
    toy_pass(rig);
    (void)toy_send(rig, TOY_ADD, "u1", "d");
    toy_pass(rig);
    toy_time(rig, TOY_DEADLINE_MS);
    toy_settle(rig);
    assert_int_equal(code_of(b), OK);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
}

static void deadline_during_commit_answers_and_ends(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_pass(rig);
    (void)fake_answer(rig->fake);
    toy_pass(rig);
    toy_time(rig, TOY_DEADLINE_MS);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    toy_settle(rig);
    assert_int_equal(rig->fake->outbox_count, 2); /* it was committed all the same */
}

static void deadline_during_work_waits_for_the_thread(void **state)
{
    (void)state;
    size_t a = toy_send(rig, TOY_HASH, "u1", "a");
    toy_settle(rig);
    assert_int_equal(rig->fake->work_count, 1);
    toy_time(rig, TOY_DEADLINE_MS);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
    toy_settle(rig);
    fake_work(rig->fake);
    toy_settle(rig);
    TRACE("BEGIN SET LOCAL lock_timeout = '20ms' find(a) ; COMMIT ;");
}

static void database_that_is_down_is_not_waited_for_long(void **state)
{
    (void)state;
    rig->fake->no_connection = true;
    runner_database_state(rig->runner, false);
    size_t a = toy_send(rig, TOY_LIST, NULL, "a");
    size_t b = toy_send(rig, TOY_ADD, "u1", TOY_AUDITED);
    toy_settle(rig);
    toy_time(rig, DATABASE_WAIT_MS_MAX - 10);
    assert_int_equal(rig->answered, 0);
    fake_pass_time(rig->fake, 9);
    runner_sweep(rig->runner);
    assert_int_equal(rig->answered, 0);
    /* The deadline of these requests is the same second; a new one shows the difference. */
    toy_time(rig, 1);
    assert_int_equal(rig->answered, 2);
    assert_int_equal(code_of(b), ERR_INVALID); /* a refusal stands */
    size_t c = toy_send(rig, TOY_LIST, NULL, "c");
    toy_settle(rig);
    toy_time(rig, 10);
    assert_int_equal(code_of(c), ERR_UNAVAILABLE);
    assert_int_not_equal(code_of(a), OK);
    rig->fake->no_connection = false;
    runner_database_state(rig->runner, true);
}

/* --- bounds and draining ------------------------------------------------------------------ */

static void full_pool_is_overload(void **state)
{
    (void)state;
    rig->fake->no_connection = true;
    for (int i = 0; i < 16; i++) {
        (void)toy_send(rig, TOY_LIST, NULL, "a");
    }
    size_t late = toy_send(rig, TOY_LIST, NULL, "b");
    assert_int_equal(code_of(late), ERR_OVERLOADED);
    struct runner_gauges gauges;
    toy_pass(rig);
    runner_gauges(rig->runner, &gauges);
    assert_int_equal(gauges.requests, 16);
    assert_int_equal(gauges.reads_waiting, 16);
    rig->fake->no_connection = false;
    runner_wake(rig->runner);
    toy_settle(rig);
    assert_int_equal(rig->answered, 16);
}

static void note_drained(void *arg)
{
    ++*(int *)arg;
}

static void draining_ends_what_is_under_way(void **state)
{
    int drained = 0;

    (void)state;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    size_t b = toy_send(rig, TOY_LIST, NULL, "b");
    toy_pass(rig);
    runner_drain(rig->runner, note_drained, &drained);
    size_t c = toy_send(rig, TOY_LIST, NULL, "c");
    assert_int_equal(code_of(c), ERR_OVERLOADED);
    toy_pass(rig);
    assert_int_equal(drained, 0);
    toy_settle(rig);
    assert_int_equal(drained, 1);
    assert_int_equal(code_of(a), OK);
    assert_int_equal(code_of(b), OK);
}

static void draining_can_be_hurried(void **state)
{
    int drained = 0;

    (void)state;
    rig->fake->no_connection = true;
    size_t a = toy_send(rig, TOY_ADD, "u1", "a");
    toy_pass(rig);
    runner_drain(rig->runner, note_drained, &drained);
    runner_expire(rig->runner);
    toy_pass(rig);
    assert_int_equal(drained, 1);
    assert_int_equal(code_of(a), ERR_TIMEOUT);
}

/* Random operations with random failures: everybody is answered once, and the outbox holds exactly
 * the events of those who were told OK or were left in the dark. */
static void random_trouble(void **state)
{
    const char *seed_text = getenv("AVANTA_TEST_SEED");
    uint64_t seed = 0;
    static const char *const texts[] = {
        "insert", "find", "update", "COMMIT", "outbox", "store", "lock", "select"};
    static const enum toy_op others[] = {TOY_MOVE, TOY_TOUCH, TOY_BULK, TOY_EXPORT};
    size_t ok = 0;
    size_t dark = 0;
    size_t events = 0;
    bool adds[TOY_REPLIES_MAX] = {false};

    (void)state;
    if (seed_text == NULL || !str_to_uint64(str_from(seed_text), &seed)) {
        random_bytes(&seed, 4);
    }
    print_message("seed %llu\n", (unsigned long long)seed);
    srandom((unsigned)seed);
    for (int i = 0; i < 400; i++) {
        char name[8];
        struct fake_rule *rule = &rig->fake->rules[(size_t)random() % 4];
        (void)snprintf(name, sizeof name, "n%ld", random() % 50);
        *rule =
            (struct fake_rule){.text = texts[(size_t)random() % ARRAY_LEN(texts)],
                               .times = (uint32_t)(random() % 2),
                               .outcome = random() % 2 == 0 ? PG_OUTCOME_FAILED : PG_OUTCOME_LOST,
                               .code = random() % 2 == 0 ? ERR_SERIALIZATION : ERR_CONFLICT};
        adds[i] = random() % 3 != 0;
        (void)toy_send_keyed(rig,
                             adds[i] ? TOY_ADD : others[(size_t)random() % ARRAY_LEN(others)],
                             random() % 2 == 0 ? "u1" : "u2",
                             random() % 9 == 0 ? TOY_REFUSED_LATE : name,
                             random() % 3 == 0 ? name : NULL);
        if (random() % 3 == 0) {
            toy_pass(rig);
        }
        if (random() % 3 == 0) {
            (void)fake_answer(rig->fake);
        }
        if (random() % 4 == 0) {
            toy_settle(rig);
            fake_trace_clear(rig->fake);
        }
    }
    memset(rig->fake->rules, 0, sizeof rig->fake->rules);
    for (int i = 0; i < 20; i++) {
        toy_settle(rig);
        fake_pass_time(rig->fake, 20); /* back-off, well before the deadline */
        runner_sweep(rig->runner);
    }
    for (size_t i = 0; i < rig->sent; i++) {
        assert_int_equal(rig->replies[i].times, 1);
        ok += adds[i] && rig->replies[i].code == OK && !rig->replies[i].replayed ? 1 : 0;
        dark += adds[i] && rig->replies[i].code == ERR_TIMEOUT ? 1 : 0;
    }
    for (size_t i = 0; i < rig->fake->outbox_count; i++) {
        events += strcmp(rig->fake->outbox[i].subject, "evt.toy.row.added") == 0 ? 1 : 0;
    }
    assert_true(events >= ok);
    assert_true(events <= ok + dark);
    assert_true(ok > 0);
}

static void effects_of_statements(void **state)
{
    static const struct {
        const char *sql;
        enum query_effect effect;
    } rows[] = {
        {"SELECT 1",                                                  QUERY_READS    },
        {"select id from t for update",                               QUERY_READS    },
        {"INSERT INTO t VALUES (1)",                                  QUERY_WRITES   },
        {"\n  update t SET a = 1",                                    QUERY_WRITES   },
        {"DELETE FROM t",                                             QUERY_WRITES   },
        {"MERGE INTO t USING s ON true WHEN MATCHED THEN DO NOTHING", QUERY_WRITES   },
        {"WITH x AS (SELECT 1) SELECT * FROM x",                      QUERY_READS    },
        {"WITH x AS (INSERT INTO t VALUES (1) RETURNING id) SELECT",  QUERY_MAY_WRITE},
        {"WITH updated_at AS (SELECT 1) SELECT inserted FROM t",      QUERY_READS    },
        {"",                                                          QUERY_READS    },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, query_effect_of(str_from(rows[i].sql)) == rows[i].effect);
    }
}

static void statements_that_lock(void **state)
{
    static const struct {
        const char *sql;
        bool locks;
    } rows[] = {
        {"SELECT updated_at FROM t",                         false},
        {"INSERT INTO t SELECT share_of FROM u",             false},
        {"INSERT INTO t VALUES (1) ON CONFLICT DO NOTHING",  false},
        {"INSERT INTO t VALUES (1) ON CONFLICT DO UPDATE x", true },
        {"select id from t for no key update",               true },
        {"SELECT id FROM t FOR KEY SHARE",                   true },
        {"WITH x AS (DELETE FROM t RETURNING id) SELECT 1",  true },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, query_locks_rows(str_from(rows[i].sql)) == rows[i].locks);
    }
}

static void sizes_of_groups(void **state)
{
    static const size_t sizes[][2] = {
        {1,   0},
        {2,   1},
        {3,   1},
        {4,   2},
        {8,   3},
        {127, 6},
        {128, 7}
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_row(i, service_metrics_group_series(sizes[i][0]) == sizes[i][1]);
    }
}

int main(void)
{
#define TWO(test)  cmocka_unit_test_setup_teardown(test, setup, teardown)
#define ONE(test)  cmocka_unit_test_setup_teardown(test, setup_one, teardown)
#define MANY(test) cmocka_unit_test_setup_teardown(test, setup_many, teardown)
    const struct CMUnitTest tests[] = {
        ONE(reads_share_a_pipeline_and_fail_apart),
        TWO(free_connections_share_what_waits),
        TWO(lost_read_is_sent_again_once),
        TWO(lost_statement_outside_of_reads_is_an_error),
        TWO(serialization_failure_of_a_read_is_sent_again),
        ONE(reads_and_writes_take_turns),
        TWO(deadline_while_queued),
        TWO(deadline_while_reading_ignores_the_late_answer),
        TWO(deadline_in_a_group_rolls_back_what_was_written),
        ONE(deadline_in_a_group_does_not_hurt_others),
        TWO(deadline_during_commit_answers_and_ends),
        TWO(deadline_during_work_waits_for_the_thread),
        TWO(database_that_is_down_is_not_waited_for_long),
        TWO(full_pool_is_overload),
        TWO(draining_ends_what_is_under_way),
        TWO(draining_can_be_hurried),
        TWO(random_trouble),
        MANY(random_trouble),
        cmocka_unit_test(effects_of_statements),
        cmocka_unit_test(statements_that_lock),
        cmocka_unit_test(sizes_of_groups),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
