/* The pool against a real server: answers, failures, taking and giving back. */
#include "tests/support/pg_rig.h"
#include "tests/support/scratch_pg.h"

#include <stdio.h>
#include <string.h>

static struct rig *rig;

/* --- answers ---------------------------------------------------------------------- */

static void every_type_goes_through(void **state)
{
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
    Testbind__Everything nulls = TESTBIND__EVERYTHING__INIT;
    uint8_t bytes[] = {0, 92, 255, 39};
    char text[] = "ñ' \\ $1";
    struct err err = {.code = OK};

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    in.text = text;
    in.has_big = in.has_small = in.has_flag = in.has_blob = in.has_count = 1;
    in.big = INT64_MIN;
    in.small = INT32_MAX;
    in.flag = 1;
    in.blob = (ProtobufCBinaryData){sizeof(bytes), bytes};
    in.count = UINT32_MAX;
    assert_int_equal(rig_send(conn, Q_ECHO, &in, 1, &err), OK);
    assert_int_equal(rig_send(conn, Q_ECHO, &nulls, 2, &err), OK);
    rig_settle(conn);
    assert_int_equal(rig->answered, 2);
    assert_int_equal(rig->answers[0].tag, 1);
    assert_int_equal(rig->answers[1].tag, 2);
    rig_row(Q_ECHO, 0, 0, &out.base);
    assert_string_equal(out.text, text);
    assert_true(out.big == INT64_MIN && out.small == INT32_MAX && out.flag == 1);
    assert_true(out.count == UINT32_MAX);
    assert_int_equal(out.blob.len, sizeof(bytes));
    assert_memory_equal(out.blob.data, bytes, sizeof(bytes));
    assert_string_equal(out.with_default, "u1");
    rig_row(Q_ECHO, 1, 0, &nulls.base);
    assert_true(nulls.text == NULL && !nulls.has_big && !nulls.has_flag && !nulls.has_blob);
    pg_conn_release(&conn);
    assert_null(conn);
}

static void arrays_go_through(void **state)
{
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
    Testbind__Everything none = TESTBIND__EVERYTHING__INIT;
    char a[] = "a,\"b\"";
    char b[] = "";
    char *names[] = {a, b};
    int64_t ids[] = {INT64_MAX, -7, 0};
    uint8_t bytes[] = {0, 1};
    ProtobufCBinaryData blobs[] = {
        {2, bytes}
    };
    struct err err = {.code = OK};

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    in.n_names = 2;
    in.names = names;
    in.n_ids = 3;
    in.ids = ids;
    in.n_blobs = 1;
    in.blobs = blobs;
    assert_int_equal(rig_send(conn, Q_ARRAYS, &in, 1, &err), OK);
    assert_int_equal(rig_send(conn, Q_ARRAYS, &none, 2, &err), OK);
    rig_settle(conn);
    rig_row(Q_ARRAYS, 0, 0, &out.base);
    assert_string_equal(out.text, "a,\"b\"|");
    assert_true(out.big == INT64_MAX - 7);
    assert_memory_equal(out.blob.data, bytes, 2);
    out = (Testbind__Everything)TESTBIND__EVERYTHING__INIT;
    rig_row(Q_ARRAYS, 1, 0, &out.base);
    assert_int_equal(out.small, 0); /* an empty array, not NULL */
    assert_true(out.has_small && !out.has_big && !out.has_blob);
    pg_conn_release(&conn);
}

static void session_is_set(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    rig_start(2, RIG_STATEMENT_MS);
    assert_string_equal(
        scratch_pg_ask(
            rig_dsn(),
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test_pg_pool'"),
        "2");
    struct pg_conn *conn = rig_take();
    rig_command(conn, "SELECT set_config('x.y', current_setting('timezone'), false)");
    rig_command(conn,
                "INSERT INTO item (name, amount) SELECT concat_ws(' ', current_setting('timezone'),"
                "current_setting('datestyle'), current_setting('statement_timeout'),"
                "current_setting('idle_in_transaction_session_timeout'),"
                " current_setting('synchronous_commit')), 1");
    rig_settle(conn);
    assert_int_equal(rig->answers[1].outcome, PG_OUTCOME_OK);
    assert_int_equal(pg_result_affected(rig->answers[1].result), 1);
    assert_string_equal(scratch_pg_ask(rig_dsn(), "SELECT name FROM item"),
                        "UTC ISO, YMD 5s 30s on");
    pg_pool_stats(rig->pool, &stats);
    assert_int_equal(stats.ready, 2);
    assert_int_equal(stats.busy, 1);
    assert_int_equal(stats.connects, 2);
    assert_int_equal(stats.lost, 0);
    assert_int_equal(stats.statements, 2);
    assert_int_equal(rig->ready, 1); /* once for the pool, not per connection */
    pg_conn_release(&conn);
}

static void errors_are_mapped(void **state)
{
    static const struct {
        enum query query;
        const char *text;
        int64_t big;
        enum code code;
        const char *sqlstate;
        const char *constraint;
    } rows[] = {
        {Q_INSERT, "once",      1,  ERR_CONFLICT,      "23505", "item_name_once"},
        {Q_INSERT, "negative",  -1, ERR_INVALID,       "23514", "item_positive" },
        {Q_REFER,  NULL,        99, ERR_REFERENCE,     "23503", "part_item"     },
        {Q_CAST,   "hush-hush", 0,  ERR_INVALID,       "22P02", ""              },
        {Q_RAISE,  NULL,        0,  ERR_SERIALIZATION, "40001", ""              },
    };

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    rig_queue(conn, Q_INSERT, "once", 1, 0);
    rig_settle(conn);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rig_forget();
        rig_queue(conn, rows[i].query, rows[i].text, rows[i].big, i);
        rig_settle(conn);
        const struct answer *a = &rig->answers[0];
        assert_row(i, a->outcome == PG_OUTCOME_FAILED);
        assert_row(i, a->code == rows[i].code);
        assert_row(i, strcmp(a->sqlstate, rows[i].sqlstate) == 0);
        assert_row(i, strcmp(a->constraint, rows[i].constraint) == 0);
        assert_row(i, strstr(a->text, "hush") == NULL && strstr(a->text, "internal") == NULL);
        assert_row(i, a->text[0] != '\0');
    }
    rig_forget();
    rig_command(conn, "SELECT missing");
    rig_settle(conn);
    assert_int_equal(rig->answers[0].code, ERR_INTERNAL);
    assert_string_equal(rig->answers[0].sqlstate, "42703");
    pg_conn_release(&conn);
}

static void statements_time_out(void **state)
{
    (void)state;
    rig_start(1, 100);
    struct pg_conn *conn = rig_take();
    rig_queue(conn, Q_SLEEP, "10", 0, 0);
    rig_settle(conn);
    assert_int_equal(rig->answers[0].outcome, PG_OUTCOME_FAILED);
    assert_int_equal(rig->answers[0].code, ERR_TIMEOUT);
    assert_string_equal(rig->answers[0].sqlstate, "57014");
    assert_true(rig_backend_pid(conn) > 0); /* still good */
    pg_conn_release(&conn);
}

static void failure_domains_end_at_a_sync(void **state)
{
    static const enum pg_outcome expected[] = {PG_OUTCOME_OK,
                                               PG_OUTCOME_FAILED,
                                               PG_OUTCOME_SKIPPED,
                                               PG_OUTCOME_OK,
                                               PG_OUTCOME_FAILED,
                                               PG_OUTCOME_SKIPPED,
                                               PG_OUTCOME_OK};

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    rig_queue(conn, Q_INSERT, "a", 1, 0);
    rig_queue(conn, Q_INSERT, "b", -1, 1);
    rig_queue(conn, Q_INSERT, "c", 1, 2);
    assert_int_equal(pg_conn_sync(conn, NULL), OK);
    rig_queue(conn, Q_INSERT, "d", 1, 3);
    rig_queue(conn, Q_INSERT, "d", 1, 4);
    rig_queue(conn, Q_INSERT, "e", 1, 5);
    assert_int_equal(pg_conn_sync(conn, NULL), OK);
    rig_queue(conn, Q_LIST, NULL, 0, 6);
    rig_settle(conn);
    assert_int_equal(rig->settled, 1);
    assert_int_equal(rig->answered, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_row(i, rig->answers[i].tag == i);
        assert_row(i, rig->answers[i].outcome == expected[i]);
    }
    /* Without BEGIN each domain is one implicit transaction: "a" and the first "d" went with
     * theirs. */
    assert_int_equal(pg_result_rows(rig->answers[6].result), 0);
    /* A flush right after a sync needs no further one. */
    rig_queue(conn, Q_LIST, NULL, 0, 7);
    assert_int_equal(pg_conn_sync(conn, NULL), OK);
    rig_settle(conn);
    assert_int_equal(rig->settled, 2);
    /* And an empty flush still settles. */
    rig_settle(conn);
    assert_int_equal(rig->settled, 3);
    assert_int_equal(rig->answered, 8);
    pg_conn_release(&conn);
}

static void a_batch_commits_or_fails_as_one(void **state)
{
    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    for (int fail = 1; fail >= 0; fail--) {
        rig_forget();
        rig_command(conn, "BEGIN");
        for (int i = 0; i < 128; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "n%d", i);
            rig_queue(conn, Q_INSERT, name, fail == 1 && i == 100 ? -1 : i, 0);
        }
        rig_command(conn, "COMMIT");
        rig_settle(conn);
        assert_int_equal(rig->answered, 130);
        assert_int_equal(rig->answers[100].outcome, PG_OUTCOME_OK);
        assert_int_equal(rig->answers[101].outcome, fail == 1 ? PG_OUTCOME_FAILED : PG_OUTCOME_OK);
        assert_int_equal(rig->answers[129].outcome, fail == 1 ? PG_OUTCOME_SKIPPED : PG_OUTCOME_OK);
        if (fail == 1) {
            rig_command(conn, "ROLLBACK");
            rig_settle(conn);
        }
        assert_string_equal(scratch_pg_ask(rig_dsn(), "SELECT count(*) FROM item"),
                            fail == 1 ? "0" : "128");
    }
    pg_conn_release(&conn);
}

static void tables_are_told_apart(void **state)
{
    const struct pg_params none = {0, NULL, NULL, NULL, NULL};
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    assert_int_equal(pg_conn_query(conn, 1, 0, &none, NULL, NULL), OK);
    rig_settle(conn);
    assert_int_equal(
        pg_bind_row(rig->plans[1], 0, rig->answers[0].result, 0, rig->arena, &out.base, NULL), OK);
    assert_int_equal(out.small, 1);
    pg_conn_release(&conn);
}

static void big_results_and_parameters(void **state)
{
    static char text[1000000];
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    Testbind__Row row = TESTBIND__ROW__INIT;
    struct err err = {.code = OK};

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    rig_queue(conn, Q_GENERATE, NULL, 40000, 0); /* 40 MB */
    rig_settle(conn);
    assert_int_equal(pg_result_rows(rig->answers[0].result), 40000);
    rig_row(Q_GENERATE, 0, 39999, &row.base);
    assert_int_equal(row.id, 40000);
    assert_int_equal(strlen(row.name), 1000);
    /* Both directions full at once: a client that only writes or only reads would hang here. */
    rig_forget();
    memset(text, 'y', sizeof(text) - 1);
    in.text = text;
    for (uintptr_t i = 0; i < 40; i++) {
        assert_int_equal(rig_send(conn, Q_ECHO, &in, i, &err), OK);
    }
    rig_settle(conn);
    assert_int_equal(rig->answered, 40);
    for (size_t i = 0; i < rig->answered; i++) {
        Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
        rig_row(Q_ECHO, i, 0, &out.base);
        assert_row(i, strlen(out.text) == sizeof(text) - 1);
    }
    /* The bytes of the queue are bounded, and free again afterwards. */
    enum code code = OK;
    for (int i = 0; i < 80 && code == OK; i++) {
        code = rig_send(conn, Q_ECHO, &in, 0, &err);
    }
    assert_int_equal(code, ERR_OVERLOADED);
    rig_settle(conn);
    assert_true(rig_backend_pid(conn) > 0);
    pg_conn_release(&conn);
}

static void the_queue_is_bounded(void **state)
{
    struct err err = {.code = OK};
    enum code code = OK;
    size_t sent = 0;

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    while (code == OK && sent < RIG_ANSWERS_MAX) {
        code = pg_conn_command(conn, "", NULL, &err);
        sent += code == OK ? 1 : 0;
    }
    assert_int_equal(code, ERR_OVERLOADED);
    assert_in_range(sent, 4000, RIG_ANSWERS_MAX - 1);
    rig_settle(conn);
    assert_int_equal(rig->answered, sent);
    pg_conn_release(&conn);
}

/* --- taking and giving back ------------------------------------------------------- */

static void connections_take_turns(void **state)
{
    struct pg_conn *conns[3];
    int64_t pids[3];

    (void)state;
    rig_start(3, RIG_STATEMENT_MS);
    for (int i = 0; i < 3; i++) {
        conns[i] = rig_take();
        pids[i] = rig_backend_pid(conns[i]);
    }
    assert_null(pg_pool_take(rig->pool, &rig->holder));
    const int idle = rig->idle;
    pg_conn_release(&conns[1]);
    pg_conn_release(&conns[0]);
    pg_conn_release(&conns[2]);
    assert_int_equal(rig->idle, idle + 3);
    static const int order[] = {1, 0, 2}; /* the one unused longest comes first */
    for (int i = 0; i < 3; i++) {
        conns[i] = rig_take();
        assert_int_equal(rig_backend_pid(conns[i]), pids[order[i]]);
    }
    for (int i = 0; i < 3; i++) {
        pg_conn_release(&conns[i]);
    }
}

static void an_open_transaction_is_rolled_back(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    const int64_t pid = rig_backend_pid(conn);
    rig_command(conn, "BEGIN");
    rig_queue(conn, Q_INSERT, "never", 1, 0);
    rig_settle(conn);
    const int idle = rig->idle;
    pg_conn_release(&conn);
    assert_null(pg_pool_take(rig->pool, &rig->holder)); /* not free yet */
    rig_until(&rig->idle, idle + 1, "the reset");
    conn = rig_take();
    assert_int_equal(rig_backend_pid(conn), pid); /* the same session, cleaned */
    assert_string_equal(scratch_pg_ask(rig_dsn(), "SELECT count(*) FROM item"), "0");
    pg_conn_release(&conn);
    pg_pool_stats(rig->pool, &stats);
    assert_int_equal(stats.lost, 0);
}

static void release_with_work_under_way(void **state)
{
    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    for (int flushed = 0; flushed < 2; flushed++) {
        struct pg_conn *conn = rig_take();
        const int idle = rig->idle;
        rig_forget();
        rig_command(conn, "BEGIN");
        rig_queue(conn, Q_INSERT, "never", 1, 0);
        if (flushed == 1) {
            rig_flush(conn);
        }
        pg_conn_release(&conn);
        rig_until(&rig->idle, idle + 1, "the reset");
        assert_int_equal(rig->answered, 0); /* nobody is there to be told */
        assert_int_equal(rig->settled, 0);
        assert_string_equal(scratch_pg_ask(rig_dsn(), "SELECT count(*) FROM item"), "0");
    }
}

static void release_inside_on_settled(void **state)
{
    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    rig->release_on_settle = &conn;
    rig_queue(conn, Q_INSERT, "a", 1, 0);
    rig_settle(conn);
    assert_null(conn);
    conn = rig_take();
    rig->release_on_settle = NULL;
    assert_true(rig_backend_pid(conn) > 0);
    pg_conn_release(&conn);
}

static void changed_tables_lead_to_a_new_session(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    const int64_t pid = rig_backend_pid(conn);
    scratch_pg_run(rig_dsn(), "ALTER TABLE item ALTER amount TYPE integer");
    rig_queue(conn, Q_LIST, NULL, 0, 0);
    rig_settle(conn);
    assert_int_equal(rig->answers[1].outcome, PG_OUTCOME_FAILED);
    assert_string_equal(rig->answers[1].sqlstate, "0A000");
    pg_conn_release(&conn);
    rig_until(&rig->ready, 2, "the new session");
    conn = rig_take();
    assert_int_not_equal(rig_backend_pid(conn), pid);
    rig_queue(conn, Q_LIST, NULL, 0, 0);
    rig_settle(conn);
    assert_int_equal(rig->answers[rig->answered - 1].outcome, PG_OUTCOME_OK);
    pg_conn_release(&conn);
    pg_pool_stats(rig->pool, &stats);
    assert_int_equal(stats.connects, 2);
    scratch_pg_run(rig_dsn(), "ALTER TABLE item ALTER amount TYPE bigint");
}

static int setup(void **state)
{
    rig = rig_instance();
    return rig_setup_group(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_clean, rig_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(every_type_goes_through),
        TEST(arrays_go_through),
        TEST(session_is_set),
        TEST(errors_are_mapped),
        TEST(statements_time_out),
        TEST(failure_domains_end_at_a_sync),
        TEST(a_batch_commits_or_fails_as_one),
        TEST(tables_are_told_apart),
        TEST(big_results_and_parameters),
        TEST(the_queue_is_bounded),
        TEST(connections_take_turns),
        TEST(an_open_transaction_is_rolled_back),
        TEST(release_with_work_under_way),
        TEST(release_inside_on_settled),
        TEST(changed_tables_lead_to_a_new_session),
    };

    return cmocka_run_group_tests_name("pg_pool", tests, setup, rig_teardown_group);
}
