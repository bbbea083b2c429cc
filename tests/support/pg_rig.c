#include "tests/support/pg_rig.h"

#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"

#include <uv.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS_MAX 30000
#define NAMES(...)  ((const char *const[]){__VA_ARGS__})

/* clang-format off */
static const struct pg_query queries[Q_COUNT] = {
    [Q_INSERT] = {"item_insert",
        "INSERT INTO item (name, amount) VALUES ($1, $2) RETURNING id, name, amount",
        NAMES("text", "big"), 2, &testbind__everything__descriptor, &testbind__row__descriptor, false},
    [Q_LIST] = {"item_list",
        "SELECT id, name, amount FROM item ORDER BY id",
        NULL, 0, NULL, &testbind__row__descriptor, false},
    [Q_SLEEP] = {"sleep",
        "SELECT pg_sleep($1)",
        NAMES("text"), 1, &testbind__everything__descriptor, NULL, false},
    [Q_ECHO] = {"echo",
        "SELECT $1::text AS text, $2::bigint AS big, $3::integer AS small, $4::boolean AS flag,"
        " $5 AS blob, $6::bigint AS count, $7::text AS with_default",
        NAMES("text", "big", "small", "flag", "blob", "count", "user_id"), 7,
        &testbind__everything__descriptor, &testbind__everything__descriptor, false},
    [Q_ARRAYS] = {"arrays",
        "SELECT array_to_string($1::text[], '|') AS text,"
        " (SELECT sum(x)::bigint FROM unnest($2) AS x) AS big, ($3)[1] AS blob,"
        " cardinality($1::text[]) AS small",
        NAMES("names", "ids", "blobs"), 3,
        &testbind__everything__descriptor, &testbind__everything__descriptor, false},
    [Q_GENERATE] = {"generate",
        "SELECT g AS id, repeat('x', 1000) AS name FROM generate_series(1, $1::integer) AS g",
        NAMES("big"), 1, &testbind__everything__descriptor, &testbind__row__descriptor, false},
    [Q_PID] = {"pid",
        "SELECT pg_backend_pid() AS id",
        NULL, 0, NULL, &testbind__row__descriptor, false},
    [Q_REFER] = {"refer",
        "INSERT INTO part (item_id) VALUES ($1)",
        NAMES("big"), 1, &testbind__everything__descriptor, NULL, false},
    [Q_CAST] = {"cast",
        "SELECT $1::uuid",
        NAMES("text"), 1, &testbind__everything__descriptor, NULL, false},
    [Q_RAISE] = {"raise",
        "SELECT raise_serialization()",
        NULL, 0, NULL, NULL, false},
};
/* clang-format on */

static const struct pg_query second[] = {
    {.name = "one", .text = "SELECT 1 AS small", .out = &testbind__everything__descriptor}
};
const struct pg_query_table rig_tables[2] = {
    {queries, Q_COUNT},
    {second,  1      }
};

static const char schema[] =
    "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " name varchar(100) CONSTRAINT item_name_once UNIQUE, amount bigint CONSTRAINT item_positive"
    " CHECK (amount >= 0));"
    "CREATE TABLE part (item_id bigint CONSTRAINT part_item REFERENCES item);"
    "CREATE FUNCTION raise_serialization() RETURNS void LANGUAGE plpgsql AS"
    " $$BEGIN RAISE EXCEPTION 'internal words' USING ERRCODE = '40001'; END$$";

/* --- a rig: one loop, one pool, everything that was answered --------------------- */

static struct rig rig;
static const char *shared_dsn;

struct rig *rig_instance(void)
{
    return &rig;
}

const char *rig_dsn(void)
{
    return shared_dsn;
}

static void on_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    struct rig *r = ctx;
    struct answer *a = &r->answers[r->answered];

    assert_true(r->answered < RIG_ANSWERS_MAX);
    r->answered++;
    a->outcome = answer->outcome;
    a->code = answer->err.code;
    a->tag = (uintptr_t)tag;
    a->result = answer->result;
    memcpy(a->sqlstate, answer->sqlstate, sizeof(a->sqlstate));
    memcpy(a->constraint, answer->constraint, sizeof(a->constraint));
    memcpy(a->text, answer->err.text, sizeof(a->text));
    assert_true((answer->outcome == PG_OUTCOME_OK) == (answer->result != NULL));
}

static void on_settled(void *ctx, bool lost)
{
    struct rig *r = ctx;

    r->settled++;
    r->settled_lost += lost ? 1 : 0;
    if (r->release_on_settle != NULL) {
        pg_conn_release(r->release_on_settle);
    }
}

static void on_ready(void *ctx, bool any)
{
    struct rig *r = ctx;

    r->ready += any ? 1 : 0;
    r->not_ready += any ? 0 : 1;
}

static void on_idle(void *ctx)
{
    ((struct rig *)ctx)->idle++;
}

static void on_fatal(void *ctx, const struct err *err)
{
    struct rig *r = ctx;

    r->fatal++;
    r->fatal_err = *err;
}

void rig_on_drained(void *arg)
{
    ((struct rig *)arg)->drained = true;
}

static void on_tick(void *arg)
{
    assert_ptr_equal(arg, &rig);
}

/* Turns the loop until `*counter` has reached `value`. */
void rig_until(const int *counter, int value, const char *what)
{
    const uint64_t end_ms = clock_mono_ms() + WAIT_MS_MAX;

    while (*counter < value) {
        if (clock_mono_ms() > end_ms) {
            fail_msg("waited %d ms in vain for %s", WAIT_MS_MAX, what);
        }
        (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
    }
}

void rig_until_ready(uint32_t count)
{
    const uint64_t end_ms = clock_mono_ms() + WAIT_MS_MAX;
    struct pg_pool_stats stats = {0};

    for (;;) {
        pg_pool_stats(rig.pool, &stats);
        if (stats.ready == count && stats.busy == 0) {
            return;
        }
        if (clock_mono_ms() > end_ms) {
            fail_msg("%u connections are ready, not %u", stats.ready, count);
        }
        (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
    }
}

void rig_turn_for(uint64_t ms)
{
    const uint64_t end_ms = clock_mono_ms() + ms;

    while (clock_mono_ms() < end_ms) {
        (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
    }
}

void rig_forget(void)
{
    for (size_t i = 0; i < rig.answered; i++) {
        pg_result_clear(&rig.answers[i].result);
    }
    rig.answered = 0;
    rig.settled = 0;
    rig.settled_lost = 0;
}

void rig_open(const char *dsn, const struct pg_query_table *some, size_t count)
{
    struct err err = {.code = OK};

    memset(&rig, 0, sizeof(rig));
    rig.dsn = dsn;
    rig.loop = loop_open();
    rig.tick = loop_timer_open(rig.loop, on_tick, &rig);
    loop_timer_start(rig.tick, 10, 10);
    rig.arenas = arena_pool_open(16384, 4096);
    rig.arena = arena_open(rig.arenas, (size_t)64 * 1024 * 1024);
    rig.holder = (struct pg_holder){on_answer, on_settled, &rig};
    for (size_t i = 0; i < count; i++) {
        if (pg_plans_open(&some[i], &rig.plans[i], &err) != OK) {
            fail_msg("%s", err.text);
        }
    }
}

void rig_open_pool(uint32_t connections,
                   uint32_t statement_ms,
                   const struct pg_query_table *some,
                   size_t count)
{
    const struct pg_pool_options options = {.dsn = rig.dsn,
                                            .application_name = "test_pg_pool",
                                            .connections = connections,
                                            .tables = some,
                                            .plans = rig.plans,
                                            .table_count = count,
                                            .statement_ms_max = statement_ms,
                                            .on_ready = on_ready,
                                            .on_idle = on_idle,
                                            .on_fatal = on_fatal,
                                            .ctx = &rig};
    struct err err = {.code = OK};

    if (pg_pool_open(rig.loop, &options, &rig.pool, &err) != OK) {
        fail_msg("%s", err.text);
    }
}

void rig_start(uint32_t connections, uint32_t statement_ms)
{
    rig_open(shared_dsn, rig_tables, 2);
    rig_open_pool(connections, statement_ms, rig_tables, 2);
    rig_until_ready(connections);
}

int rig_close(void **state)
{
    const uint64_t end_ms = clock_mono_ms() + WAIT_MS_MAX;

    (void)state;
    if (rig.loop == NULL) {
        return 0;
    }
    if (rig.pool != NULL) {
        pg_pool_drain(rig.pool, rig_on_drained, &rig);
        assert_false(rig.drained); /* never inside the call */
        while (!rig.drained && clock_mono_ms() < end_ms) {
            (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
        }
        assert_true(rig.drained);
        assert_false(pg_pool_ready(rig.pool));
        pg_pool_close(&rig.pool);
    }
    rig_forget();
    pg_plans_close(&rig.plans[0]);
    pg_plans_close(&rig.plans[1]);
    arena_dispose(&rig.arena);
    arena_pool_close(&rig.arenas);
    loop_timer_close(&rig.tick);
    loop_stop(rig.loop);
    loop_run(rig.loop);
    loop_close(&rig.loop);
    return 0;
}

int rig_clean(void **state)
{
    (void)state;
    scratch_pg_run(shared_dsn, "TRUNCATE item, part RESTART IDENTITY");
    return 0;
}

struct pg_conn *rig_take(void)
{
    struct pg_conn *conn = pg_pool_take(rig.pool, &rig.holder);

    assert_non_null(conn);
    return conn;
}

enum code rig_send(struct pg_conn *conn,
                   enum query query,
                   const Testbind__Everything *in,
                   uintptr_t tag,
                   struct err *err)
{
    const struct pg_context context = {.user_id = "u1", .now_ms = 1};
    struct pg_params params;

    assert_int_equal(pg_bind_params(rig.plans[0],
                                    (uint16_t)query,
                                    &context,
                                    queries[query].in == NULL ? NULL : &in->base,
                                    rig.arena,
                                    &params,
                                    err),
                     OK);
    /* Tags are only numbers to us. NOLINTNEXTLINE(performance-no-int-to-ptr) */
    return pg_conn_query(conn, 0, (uint16_t)query, &params, (void *)tag, err);
}

/* Text and number are what most of the statements take. */
void rig_queue(struct pg_conn *conn, enum query query, const char *text, int64_t big, uintptr_t tag)
{
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    struct err err = {.code = OK};

    /* protobuf-c has no const strings. NOLINTNEXTLINE(performance-no-int-to-ptr) */
    in.text = (char *)(uintptr_t)text;
    in.has_big = 1;
    in.big = big;
    if (rig_send(conn, query, &in, tag, &err) != OK) {
        fail_msg("%s", err.text);
    }
}

void rig_command(struct pg_conn *conn, const char *sql)
{
    struct err err = {.code = OK};

    if (pg_conn_command(conn, sql, NULL, &err) != OK) {
        fail_msg("%s", err.text);
    }
}

void rig_flush(struct pg_conn *conn)
{
    assert_int_equal(pg_conn_flush(conn, NULL), OK);
}

void rig_settle(struct pg_conn *conn)
{
    const int before = rig.settled;

    rig_flush(conn);
    assert_int_equal(rig.settled, before); /* nothing is called back from inside */
    rig_until(&rig.settled, before + 1, "the answers");
}

void rig_row(enum query query, size_t answer, size_t row, ProtobufCMessage *out)
{
    struct err err = {.code = OK};

    assert_true(answer < rig.answered);
    assert_int_equal(rig.answers[answer].outcome, PG_OUTCOME_OK);
    if (pg_bind_row(
            rig.plans[0], (uint16_t)query, rig.answers[answer].result, row, rig.arena, out, &err) !=
        OK) {
        fail_msg("%s %s", err.field, err.text);
    }
}

int64_t rig_backend_pid(struct pg_conn *conn)
{
    Testbind__Row row = TESTBIND__ROW__INIT;
    const size_t at = rig.answered;

    rig_queue(conn, Q_PID, NULL, 0, 0);
    rig_settle(conn);
    rig_row(Q_PID, at, 0, &row.base);
    return row.id;
}

void rig_terminate(int64_t pid)
{
    char sql[64];

    (void)snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld)", (long long)pid);
    scratch_pg_run(shared_dsn, sql);
}

void need_own_cluster(void)
{
    if (!scratch_pg_is_own()) {
        skip();
    }
}

int rig_setup_group(void **state)
{
    (void)state;
    log_open(&(const struct log_options){
        .service = "test_pg", .level = LOG_ERROR, .ship = LOG_LEVEL_COUNT});
    shared_dsn = scratch_pg_database("pool");
    scratch_pg_run(shared_dsn, schema);
    return 0;
}

int rig_teardown_group(void **state)
{
    (void)state;
    scratch_pg_end();
    return 0;
}
