/* The outbox relay on a real database and a real bus: nothing is lost, doubled or overtaken, and
 * trouble passes when its cause does. */
#include "service_migrations.gen.h"
#include "service_sql.gen.h"
#include "tests/support/bus_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/bus_internal.h"
#include "libcommon/io/pg_migrate.h"
#include "libcommon/service/relay_internal.h"
#include "libcommon/service/req_internal.h"
#include "libcommon/service/service_metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOON      15000
#define ROWS_MAX  8192
#define LOAD_MS   1
#define PASSES_MS 1000

/* One replica's relay, and a client that commits rows and offers them. */
static struct {
    struct bus_rig rig;
    struct bus *bus;
    const char *dsn;
    struct pg_query_table tables[1];
    struct pg_plan *plans[1];
    struct pg_pool *pool;
    struct real_database database;
    struct arena_pool *arenas;
    struct endpoint endpoints[1];
    struct service_metrics *metrics;
    struct relay *relay;
    struct loop_timer *load;
    struct bus_consumer *listener;
    int refusals; /* reported by the relay */
    int drained;
    int pools_drained;
    int written;
    int64_t ids[ROWS_MAX]; /* in the order in which they were committed */
    int heard;
    int64_t heard_ids[ROWS_MAX];
} t;

static const char *url;

/* --- the rig -------------------------------------------------------------------------- */

static void count_up(void *counter)
{
    (*(int *)counter)++;
}

static void on_message(void *ctx, struct bus_message *message)
{
    struct str body = bus_message_data(message);

    (void)ctx;
    assert_true(t.heard < ROWS_MAX);
    assert_true(str_to_int64(body, &t.heard_ids[t.heard]));
    t.heard++;
    bus_message_ack(t.bus, message);
    bus_message_destroy(message);
}

static void make_stream(void)
{
    static const char *const subjects[] = {"evt.relay.>", NULL};
    const struct bus_stream_spec spec = {
        .name = "RELAY", .subjects = subjects, .duplicate_window_ms = 60000, .max_bytes = 1 << 24};
    const struct bus_consumer_spec listener = {.stream = "RELAY",
                                               .durable = "relay-test",
                                               .filter_subject = "evt.relay.>",
                                               .ack_pending_max = 1024,
                                               .ack_wait_ms = 30000};
    struct bus_outcome made = {0};
    struct err err = {0};

    assert_int_equal(
        OK, bus_stream_ensure(t.bus, &spec, clock_mono_ms() + SOON, bus_rig_called, &made, &err));
    assert_true(bus_rig_until(&t.rig, &made.count, 1, SOON));
    assert_int_equal(OK, made.code);
    assert_int_equal(OK, bus_consume(t.bus, &listener, on_message, NULL, &t.listener, &err));
}

static void database_open(void)
{
    const struct pg_migration_set set = {"service", service_migrations, SERVICE_MIGRATION_COUNT};
    struct pg_pool_options options = {.application_name = "relay",
                                      .connections = 2,
                                      .tables = t.tables,
                                      .plans = t.plans,
                                      .table_count = 1,
                                      .statement_ms_max = PG_STATEMENT_MS_MAX};
    struct err err = {0};

    t.dsn = scratch_pg_database("relay");
    assert_int_equal(OK, pg_migrate(t.dsn, &set, 1, NULL, &err));
    t.tables[0] = (struct pg_query_table){service_queries, SERVICE_QUERY_COUNT};
    assert_int_equal(OK, pg_plans_open(&t.tables[0], &t.plans[0], &err));
    options.dsn = t.dsn;
    real_database_init(&t.database, t.plans, t.tables);
    assert_int_equal(OK, pg_pool_open(t.rig.loop, &options, &t.pool, &err));
    t.database.pool = t.pool;
    for (int i = 0; i < 1000 && !pg_pool_ready(t.pool); i++) {
        bus_rig_run(&t.rig, 10);
    }
    assert_true(pg_pool_ready(t.pool));
}

static void load_due(void *arg);

static int setup(void **state)
{
    (void)state;
    memset(&t, 0, sizeof t);
    bus_rig_open(&t.rig);
    t.bus = bus_rig_add(&t.rig, url, "relay", BUS_IN_FLIGHT_MAX);
    assert_true(bus_rig_until_up(&t.rig, SOON));
    database_open();
    t.arenas = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    t.endpoints[0].name = "none";
    t.metrics = service_metrics_open(t.endpoints, 1, NULL, 0);
    t.load = loop_timer_open(t.rig.loop, load_due, NULL);
    assert_true(t.arenas != NULL && t.metrics != NULL && t.load != NULL);
    return 0;
}

static void relay_start(void)
{
    const struct relay_options options = {.loop = t.rig.loop,
                                          .database = &t.database.face,
                                          .bus = t.bus,
                                          .arenas = t.arenas,
                                          .service = "relay",
                                          .metrics = service_metrics_rows(t.metrics),
                                          .on_refused = count_up,
                                          .ctx = &t.refusals};
    struct err err = {0};

    assert_int_equal(OK, relay_open(&options, &t.relay, &err));
}

static int teardown(void **state)
{
    (void)state;
    loop_timer_close(&t.load);
    if (t.drained == 0) {
        relay_drain(t.relay, count_up, &t.drained);
    }
    assert_true(bus_rig_until(&t.rig, &t.drained, 1, SOON));
    relay_close(&t.relay);
    pg_pool_drain(t.pool, count_up, &t.pools_drained);
    assert_true(bus_rig_until(&t.rig, &t.pools_drained, 1, SOON));
    pg_pool_close(&t.pool);
    if (t.listener != NULL) {
        bus_consumer_close(&t.listener);
    }
    bus_rig_close(&t.rig);
    pg_plans_close(&t.plans[0]);
    service_metrics_close(&t.metrics);
    arena_pool_close(&t.arenas);
    scratch_nats_end();
    url = scratch_nats_start(NULL);
    return 0;
}

/* --- rows ----------------------------------------------------------------------------- */

/* Commits a row whose body says its number; when it is, and what it will be known by. */
static struct outbox_number row_commit(const char *age)
{
    struct outbox_number number = {0};
    struct str answer = STR_EMPTY;
    struct str id = STR_EMPTY;
    char sql[512];

    (void)snprintf(sql,
                   sizeof sql,
                   "INSERT INTO outbox (subject, body, created_at) SELECT 'evt.relay.x',"
                   " convert_to('%d', 'UTF8'), clock_timestamp() - interval '%s'"
                   " RETURNING id || ' ' || (extract(epoch FROM created_at) * 1000)::bigint",
                   t.written,
                   age);
    answer = str_from(scratch_pg_ask(t.dsn, sql));
    assert_true(str_split(&answer, ' ', &id));
    assert_true(str_to_int64(id, &number.id) && str_to_int64(answer, &number.written_ms));
    t.written++;
    return number;
}

/* As a group commit does. */
static void row_offer(void)
{
    struct outbox_number number = row_commit("0");
    char subject[] = "evt.relay.x";
    char *subjects[] = {subject};
    char body[16];
    const int len = snprintf(body, sizeof body, "%d", t.written - 1);
    const ProtobufCBinaryData bodies[] = {
        {(size_t)len, (uint8_t *)body}
    };
    const struct outbox_rows rows = {1, subjects, bodies, &number, true};

    relay_offer(t.relay, &rows);
}

static void load_due(void *arg)
{
    (void)arg;
    if (t.written < ROWS_MAX) {
        row_offer();
    }
}

/* As after a commit of more than one statement, whose rows nobody names. */
static void nudge_due(void *arg)
{
    relay_offer(t.relay, arg);
}

static void wait_caught_up(void)
{
    const uint64_t end = clock_mono_ms() + SOON;

    while (t.relay->behind && clock_mono_ms() < end) {
        bus_rig_run(&t.rig, 1);
    }
    assert_false(t.relay->behind);
}

/* Every row arrived once, in the order of the commits, and none waits any more. */
static void check_arrived(void)
{
    const uint64_t end = clock_mono_ms() + SOON;

    assert_true(bus_rig_until(&t.rig, &t.heard, t.written, SOON));
    while (strcmp(scratch_pg_ask(t.dsn, "SELECT count(*) FROM outbox"), "0") != 0 &&
           clock_mono_ms() < end) {
        bus_rig_run(&t.rig, 20);
    }
    assert_string_equal(scratch_pg_ask(t.dsn, "SELECT count(*) FROM outbox"), "0");
    assert_int_equal(t.written, t.heard);
    for (int i = 0; i < t.heard; i++) {
        assert_int_equal(i, t.heard_ids[i]);
    }
}

/* --- what it does ----------------------------------------------------------------------- */

static void offered_rows_arrive_in_order(void **state)
{
    (void)state;
    make_stream();
    relay_start();
    for (int i = 0; i < 10; i++) {
        (void)row_commit("1 minute"); /* of a replica that died */
    }
    wait_caught_up();
    for (int i = 0; i < 300; i++) {
        row_offer();
        bus_rig_run(&t.rig, 1);
    }
    check_arrived();
}

/* Whatever the pace at which more is committed. */
static void catches_up_under_load(void **state)
{
    (void)state;
    make_stream();
    relay_start();
    loop_timer_start(t.load, LOAD_MS, LOAD_MS);
    wait_caught_up();
    scratch_nats_stop();
    bus_rig_run(&t.rig, 500);
    assert_true(t.relay->behind);
    scratch_nats_restart(NULL);
    assert_true(bus_rig_until_up(&t.rig, SOON));
    wait_caught_up();
    bus_rig_run(&t.rig, 200);
    loop_timer_stop(t.load);
    check_arrived();
}

static enum code lock_step(struct pg_conn *conn, const char *sql)
{
    struct err err = {0};

    return pg_conn_command(conn, sql, NULL, &err) == OK ? pg_conn_flush(conn, &err)
                                                        : ERR_UNAVAILABLE;
}

static void on_lock_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    (void)ctx;
    (void)tag;
    assert_int_equal(PG_OUTCOME_OK, answer->outcome);
    pg_result_clear(&answer->result);
}

static void on_lock_settled(void *ctx, bool lost)
{
    assert_false(lost);
    count_up(ctx);
}

/* Another replica looks at the table: what this one did not publish is still behind that. */
static void rows_that_wait_for_a_turn_are_not_overtaken(void **state)
{
    int settled = 0;
    const struct pg_holder holder = {on_lock_answer, on_lock_settled, &settled};
    struct pg_conn *conn = NULL;
    char sql[96];

    (void)state;
    make_stream();
    relay_start();
    wait_caught_up();
    for (int i = 0; i < 1000 && (conn = pg_pool_take(t.pool, &holder)) == NULL; i++) {
        bus_rig_run(&t.rig, 10); /* the relay has one, the other comes up */
    }
    assert_non_null(conn);
    (void)snprintf(sql, sizeof sql, "SELECT pg_advisory_lock(%lld)", (long long)OUTBOX_LOCK_KEY);
    assert_int_equal(OK, lock_step(conn, sql));
    assert_true(bus_rig_until(&t.rig, &settled, 1, SOON));
    relay_offer(t.relay, &(struct outbox_rows){0}); /* as more than one statement does */
    (void)row_commit("0");
    bus_rig_run(&t.rig, 1000);
    row_offer();
    assert_int_equal(OK, lock_step(conn, "SELECT pg_advisory_unlock_all()"));
    assert_true(bus_rig_until(&t.rig, &settled, 2, SOON));
    pg_conn_release(&conn);
    check_arrived();
}

/* The server's clock was set back: nobody waits until it is there again. */
static void rows_of_the_future_are_published(void **state)
{
    (void)state;
    make_stream();
    (void)row_commit("-1 hour");
    relay_start();
    wait_caught_up();
    (void)row_commit("-1 hour");
    check_arrived();
}

/* Nothing takes the rows: looking again and again at once would only cost. */
static void passes_that_fail_are_far_apart(void **state)
{
    static struct outbox_rows unnamed;
    struct loop_timer *nudge = loop_timer_open(t.rig.loop, nudge_due, &unnamed);
    struct pg_pool_stats before;
    struct pg_pool_stats after;

    (void)state;
    assert_non_null(nudge);
    relay_start(); /* there is no stream */
    (void)row_commit("0");
    loop_timer_start(nudge, LOAD_MS, LOAD_MS);
    bus_rig_run(&t.rig, PASSES_MS);
    pg_pool_stats(t.pool, &before);
    bus_rig_run(&t.rig, PASSES_MS);
    pg_pool_stats(t.pool, &after);
    loop_timer_close(&nudge);
    assert_in_range(after.statements - before.statements, 1, 40);
    make_stream();
    check_arrived();
}

/* nats.c has seen the end of the connection, the loop has not yet. */
static void stops_with_rows_under_way(void **state)
{
    (void)state;
    make_stream();
    relay_start();
    wait_caught_up();
    bus_rig_run(&t.rig, 10);
    assert_int_equal(RELAY_IDLE, t.relay->sm.state);
    scratch_nats_pause();
    row_offer();
    (void)atomic_fetch_or(&t.bus->link.marks, LINK_STOPPED);
    assert_false(bus_connected(t.bus));
    relay_drain(t.relay, count_up, &t.drained);
    loop_wake(t.bus->waker);
    assert_true(bus_rig_until(&t.rig, &t.drained, 1, SOON));
    scratch_nats_continue();
}

/* A row that no server takes does not hold up the others. */
static void row_that_is_too_large_is_left_behind(void **state)
{
    (void)state;
    make_stream();
    scratch_pg_run(t.dsn,
                   "INSERT INTO outbox (subject, body, created_at) SELECT 'evt.relay.x',"
                   " decode(repeat('00', 2 * 1024 * 1024), 'hex'), now() - interval '1 minute'");
    relay_start();
    for (int i = 0; i < 5; i++) {
        (void)row_commit("1 minute");
    }
    assert_true(bus_rig_until(&t.rig, &t.heard, 5, SOON));
    wait_caught_up();
    row_offer();
    assert_true(bus_rig_until(&t.rig, &t.heard, 6, SOON));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(offered_rows_arrive_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(catches_up_under_load, setup, teardown),
        cmocka_unit_test_setup_teardown(
            rows_that_wait_for_a_turn_are_not_overtaken, setup, teardown),
        cmocka_unit_test_setup_teardown(rows_of_the_future_are_published, setup, teardown),
        cmocka_unit_test_setup_teardown(passes_that_fail_are_far_apart, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_with_rows_under_way, setup, teardown),
        cmocka_unit_test_setup_teardown(row_that_is_too_large_is_left_behind, setup, teardown),
    };

    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
