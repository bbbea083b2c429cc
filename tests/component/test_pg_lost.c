/* The pool when sessions, servers or statements fail, at its start and at its end. */
#include "tests/support/pg_rig.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct rig *rig;

/* --- lost connections ------------------------------------------------------------- */

static void a_terminated_session_answers_lost(void **state)
{
    struct pg_pool_stats stats;
    struct err err = {.code = OK};

    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    const int64_t pid = rig_backend_pid(conn);
    rig_forget();
    rig_command(conn, "BEGIN");
    rig_queue(conn, Q_SLEEP, "20", 0, 1);
    rig_queue(conn, Q_INSERT, "never", 1, 2);
    rig_flush(conn);
    rig_turn_for(100);
    rig_queue(conn, Q_INSERT, "not even flushed", 1, 3);
    rig_terminate(pid);
    rig_until(&rig->settled, 1, "the loss");
    assert_int_equal(rig->settled_lost, 1);
    assert_int_equal(rig->answered, 4);
    assert_int_equal(rig->answers[0].outcome, PG_OUTCOME_OK); /* BEGIN had been answered */
    for (size_t i = 1; i < 4; i++) {
        assert_row(i, rig->answers[i].tag == i);
        assert_row(i, rig->answers[i].outcome == PG_OUTCOME_LOST);
        assert_row(i, rig->answers[i].code == ERR_UNAVAILABLE);
    }
    assert_false(pg_pool_ready(rig->pool));
    assert_int_equal(rig->not_ready, 1);
    assert_int_equal(pg_conn_command(conn, "BEGIN", NULL, &err), ERR_UNAVAILABLE);
    assert_int_equal(pg_conn_flush(conn, NULL), ERR_UNAVAILABLE);
    assert_int_equal(pg_conn_sync(conn, NULL), ERR_UNAVAILABLE);
    pg_conn_release(&conn);
    rig_until(&rig->ready, 2, "the new session");
    conn = rig_take();
    assert_true(rig_backend_pid(conn) != pid);
    pg_conn_release(&conn);
    pg_pool_stats(rig->pool, &stats);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(stats.connects, 2);
}

static void a_loss_between_flushes_is_told(void **state)
{
    (void)state;
    rig_start(1, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    const int64_t pid = rig_backend_pid(conn);
    rig_forget();
    rig->release_on_settle = &conn;
    rig_terminate(pid);
    rig_until(&rig->settled, 1, "the loss");
    assert_int_equal(rig->settled_lost, 1);
    assert_int_equal(rig->answered, 0);
    assert_null(conn);
    rig->release_on_settle = NULL;
    rig_until(&rig->ready, 2, "the new session");
}

static void idle_sessions_come_back(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    rig_start(2, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    const int64_t pid = rig_backend_pid(conn);
    pg_conn_release(&conn);
    rig_terminate(pid);
    do {
        rig_turn_for(20);
        pg_pool_stats(rig->pool, &stats);
    } while (stats.connects < 3);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(rig->not_ready, 0); /* the other one was there all the time */
}

static void the_server_is_killed_and_comes_back(void **state)
{
    (void)state;
    need_own_cluster();
    rig_start(3, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    rig_queue(conn, Q_SLEEP, "20", 0, 1);
    rig_flush(conn);
    rig_turn_for(50);
    scratch_pg_kill();
    rig_until(&rig->settled, 1, "the loss");
    assert_int_equal(rig->answers[0].outcome, PG_OUTCOME_LOST);
    pg_conn_release(&conn);
    rig_until(&rig->not_ready, 1, "the end of the last session");
    assert_null(pg_pool_take(rig->pool, &rig->holder));
    rig_turn_for(500); /* refused connections, backing off */
    scratch_pg_start();
    rig_until_ready(3);
    conn = rig_take();
    assert_true(rig_backend_pid(conn) > 0);
    pg_conn_release(&conn);
    scratch_pg_restart(); /* the polite way: FATAL 57P01 while idle */
    rig_until(&rig->not_ready, 2, "the end of the sessions");
    rig_until_ready(3);
}

static void a_server_that_is_down_at_the_start(void **state)
{
    (void)state;
    need_own_cluster();
    scratch_pg_kill();
    rig_open(rig_dsn(), rig_tables, 2);
    rig_open_pool(2, RIG_STATEMENT_MS, rig_tables, 2);
    rig_turn_for(300);
    assert_false(pg_pool_ready(rig->pool));
    assert_null(pg_pool_take(rig->pool, &rig->holder));
    scratch_pg_start();
    rig_until_ready(2);
    assert_int_equal(rig->fatal, 0);
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    need_own_cluster();
    rig_start(1, 100);
    struct pg_conn *conn = rig_take();
    const int64_t pid = rig_backend_pid(conn);
    rig_forget();
    assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
    rig_queue(conn, Q_PID, NULL, 0, 0);
    const uint64_t from_ms = clock_mono_ms();
    rig_settle(conn);
    const uint64_t took_ms = clock_mono_ms() - from_ms;
    assert_int_equal(kill((pid_t)pid, SIGCONT), 0);
    assert_int_equal(rig->answers[0].outcome, PG_OUTCOME_LOST);
    assert_int_equal(rig->settled_lost, 1);
    assert_in_range(took_ms, 2000, 10000);
    pg_conn_release(&conn);
    rig_until(&rig->ready, 2, "the new session");
}

/* The process stood still longer than the guard allows; the answer is there all the same. */
static void a_stall_of_our_own_loses_nothing(void **state)
{
    (void)state;
    rig_start(1, 100);
    struct pg_conn *conn = rig_take();
    rig_queue(conn, Q_PID, NULL, 0, 0);
    rig_flush(conn);
    assert_int_equal(usleep(2300 * 1000), 0);
    rig_until(&rig->settled, 1, "the answer");
    assert_int_equal(rig->settled_lost, 0);
    assert_int_equal(rig->answers[0].outcome, PG_OUTCOME_OK);
    pg_conn_release(&conn);
}

/* --- start and end ---------------------------------------------------------------- */

static void statements_that_do_not_fit_are_fatal(void **state)
{
    static const char *const now_ms_name[] = {"now_ms"};
    static const char *const role_name[] = {"role"};
    static const struct {
        struct pg_query query;
        const char *word;
    } rows[] = {
        {{.name = "typo", .text = "SELECT nmae AS name FROM item"},                          "nmae"},
        {{.name = "no_field",
          .text = "SELECT 1 AS id, 2 AS other",
          .out = &testbind__row__descriptor},
         "other"                                                                                   },
        {{.name = "no_type", .text = "SELECT 'x' AS id", .out = &testbind__row__descriptor}, "id"  },
        {{.name = "bad_parameter",
          .text = "SELECT 1 WHERE now() > $1",
          .parameters = now_ms_name,
          .parameter_count = 1},
         "now_ms"                                                                                  },
        {{.name = "two_for_one",
          .text = "SELECT $1::int + $2::int",
          .parameters = role_name,
          .parameter_count = 1},
         "parameters"                                                                              },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct pg_query two[] = {rig_tables[1].queries[0], rows[i].query};
        const struct pg_query_table table = {two, 2};
        rig_open(rig_dsn(), &table, 1);
        rig_open_pool(3, RIG_STATEMENT_MS, &table, 1);
        rig_until(&rig->fatal, 1, "the fatal error");
        rig_turn_for(100);
        assert_row(i, rig->fatal == 1); /* once, though three connections fail */
        assert_row(i, strstr(rig->fatal_err.text, rows[i].query.name) != NULL);
        assert_row(i, strstr(rig->fatal_err.text, rows[i].word) != NULL);
        assert_row(i, rig->ready == 0 && !pg_pool_ready(rig->pool));
        assert_int_equal(rig_close(state), 0);
    }
}

static void many_statements_are_prepared_in_chunks(void **state)
{
    static struct pg_query many[300];
    static const struct pg_query_table table = {many, 300};
    const struct pg_params none = {0, NULL, NULL, NULL, NULL};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        many[i] = (struct pg_query){.name = "same", .text = "SELECT 1"};
    }
    rig_open(rig_dsn(), &table, 1);
    rig_open_pool(2, RIG_STATEMENT_MS, &table, 1);
    rig_until_ready(2);
    struct pg_conn *conn = rig_take();
    assert_int_equal(pg_conn_query(conn, 0, 299, &none, NULL, NULL), OK);
    rig_settle(conn);
    assert_int_equal(rig->answers[0].outcome, PG_OUTCOME_OK);
    pg_conn_release(&conn);
}

static void bad_options_are_refused(void **state)
{
    struct pg_pool_options options = {.dsn = "host=x pass word=secret",
                                      .application_name = "t",
                                      .connections = 1,
                                      .statement_ms_max = 1};
    struct pg_pool *pool = NULL;
    struct err err = {.code = OK};

    (void)state;
    rig_open(rig_dsn(), rig_tables, 0);
    assert_int_equal(pg_pool_open(rig->loop, &options, &pool, &err), ERR_INVALID);
    assert_null(strstr(err.text, "secret"));
    options.dsn = rig_dsn();
    options.connections = PG_CONNECTIONS_MAX + 1;
    assert_int_equal(pg_pool_open(rig->loop, &options, &pool, NULL), ERR_INVALID);
    options.connections = 0;
    assert_int_equal(pg_pool_open(rig->loop, &options, &pool, NULL), ERR_INVALID);
    options.connections = 1;
    options.statement_ms_max = 0;
    assert_int_equal(pg_pool_open(rig->loop, &options, &pool, NULL), ERR_INVALID);
    assert_null(pool);
}

static void other_addresses(void **state)
{
    char by_name[512] = "";

    (void)state;
    need_own_cluster();
    rig_open(scratch_pg_socket_dsn(rig_dsn()), rig_tables, 2);
    rig_open_pool(1, RIG_STATEMENT_MS, rig_tables, 2);
    rig_until_ready(1);
    assert_int_equal(rig_close(state), 0);
    /* The first address refuses: the socket changes while connecting. */
    const char *port = strstr(rig_dsn(), "port=");
    (void)snprintf(by_name, sizeof(by_name), "host=127.0.0.2,localhost %s", port);
    rig_open(by_name, rig_tables, 2);
    rig_open_pool(1, RIG_STATEMENT_MS, rig_tables, 2);
    rig_until_ready(1);
    assert_int_equal(rig_close(state), 0);
    rig_open("host=does-not-exist.invalid dbname=x", rig_tables, 2);
    rig_open_pool(2, RIG_STATEMENT_MS, rig_tables, 2);
    rig_turn_for(200);
    assert_int_equal(rig->fatal, 0);
}

static void drain_waits_for_the_holder(void **state)
{
    (void)state;
    rig_start(2, RIG_STATEMENT_MS);
    struct pg_conn *conn = rig_take();
    rig_command(conn, "BEGIN");
    rig_settle(conn);
    pg_pool_drain(rig->pool, rig_on_drained, rig);
    rig_turn_for(50);
    assert_false(rig->drained);
    assert_null(pg_pool_take(rig->pool, &rig->holder));
    assert_true(rig_backend_pid(conn) > 0); /* the holder goes on */
    pg_conn_release(&conn);
    rig_turn_for(50);
    assert_true(rig->drained);
    assert_int_equal(rig->not_ready, 0);
    pg_pool_close(&rig->pool);
}

static void drain_at_any_moment(void **state)
{
    for (uint64_t ms = 0; ms < 12; ms++) {
        rig_open(rig_dsn(), rig_tables, 2);
        rig_open_pool(4, RIG_STATEMENT_MS, rig_tables, 2);
        if (ms > 0) {
            rig_turn_for(ms - 1);
        }
        assert_int_equal(rig_close(state), 0);
    }
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
        TEST(a_terminated_session_answers_lost),
        TEST(a_loss_between_flushes_is_told),
        TEST(idle_sessions_come_back),
        TEST(the_server_is_killed_and_comes_back),
        TEST(a_server_that_is_down_at_the_start),
        TEST(a_silent_server_is_given_up),
        TEST(a_stall_of_our_own_loses_nothing),
        TEST(statements_that_do_not_fit_are_fatal),
        TEST(many_statements_are_prepared_in_chunks),
        TEST(bad_options_are_refused),
        TEST(other_addresses),
        TEST(drain_waits_for_the_holder),
        TEST(drain_at_any_moment),
    };

    return cmocka_run_group_tests_name("pg_lost", tests, setup, rig_teardown_group);
}
