/* The pool against a real server: answers, failures, lost connections. Every test ends with a drain
 * and with loop_close(), which asserts that libuv holds nothing any more. */
#include "tests/bind.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/io/pg_pool.h"

#include <uv.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_MS_MAX  30000
#define ANSWERS_MAX  4096
#define STATEMENT_MS 5000
#define NAMES(...)   ((const char *const[]){__VA_ARGS__})

enum query {
    Q_INSERT,
    Q_LIST,
    Q_SLEEP,
    Q_ECHO,
    Q_ARRAYS,
    Q_GENERATE,
    Q_PID,
    Q_REFER,
    Q_CAST,
    Q_RAISE,
    Q_COUNT
};

static const struct pg_query queries[Q_COUNT] = {
    [Q_INSERT] = {"item_insert",
                  "INSERT INTO item (name, amount) VALUES ($1, $2) RETURNING id, name, amount", NAMES("text",                     "big"),
                  2,                                                                                                                                                                                                                                                                                                                                                                                                                       &testbind__everything__descriptor,
                  &testbind__row__descriptor},
    [Q_LIST] = {"item_list",
                  "SELECT id, name, amount FROM item ORDER BY id",                                                                NULL,
                  0,                                                                                    NULL,
                  &testbind__row__descriptor                                                                                                                                                                                                                                                                                                                                                                },
    [Q_SLEEP] =
        {"sleep",                                 "SELECT pg_sleep($1)",                                                                    NAMES("text"),                                               1,                                                      &testbind__everything__descriptor,                                                                                                                                                                                                                     NULL},
    [Q_ECHO] =
        {"echo",
                  "SELECT $1::text AS text, $2::bigint AS big, $3::integer AS small, $4::boolean AS flag,"
         " $5 AS blob, $6::bigint AS count, $7::text AS with_default",                                                                     NAMES("text",                                                            "big",                                                                   "small",                                                                                                                                                                                                                 "flag",                                                                                                                                                                         "blob", "count", "user_id"),
                  7, &testbind__everything__descriptor,
                  &testbind__everything__descriptor},
    [Q_ARRAYS] = {"arrays",
                  "SELECT array_to_string($1::text[], '|') AS text,"
                  " (SELECT sum(x)::bigint FROM unnest($2) AS x) AS big, ($3)[1] AS blob,"
                  " cardinality($1::text[]) AS small",                                                             NAMES("names",                                                                                   "ids",                                                                                                                                                                                                       "blobs"),
                  3,                                                                                                                                                                                                                                                                                                                                                                                                                          &testbind__everything__descriptor,
                  &testbind__everything__descriptor},
    [Q_GENERATE] =
        {"generate",
                  "SELECT g AS id, repeat('x', 1000) AS name FROM generate_series(1, $1::integer) AS g",
                  NAMES("big"),
                  1, &testbind__everything__descriptor,
                  &testbind__row__descriptor                                                                                                                                                                                                                                                                                                                                                                                                                                                         },
    [Q_PID] = {"pid", "SELECT pg_backend_pid() AS id",                                          NULL,                                                                 0,                                                                                                                   NULL,                                                                                                                                                                                                                                                                                                                                                                                                            &testbind__row__descriptor                                                                                                                                                                                                                                                                                                                                                                                                                                                         },
    [Q_REFER] = {"refer",
                  "INSERT INTO part (item_id) VALUES ($1)",                                                 NAMES("big"),
                  1,                                                                                                                                     &testbind__everything__descriptor,
                  NULL},
    [Q_CAST] =
        {"cast",       "SELECT $1::uuid",                                                NAMES("text"),                                                                          1,                                                                                                                                                                &testbind__everything__descriptor,                                                                                                                                                                                                                                                                                                                  NULL                                                                                                                                                                                                                                                                                                                                                                                                                                                         },
    [Q_RAISE] = {"raise",                              "SELECT raise_serialization()",                                                                       NULL,                                                                                                  0,                                                                                                                                                                  NULL,                                                                                                                                                                                                                                                                                                                    NULL                                                                                                                                                                                                                                                                                                                                                                                                                                                              },
};
static const struct pg_query second[] = {
    {.name = "one", .text = "SELECT 1 AS small", .out = &testbind__everything__descriptor}
};
static const struct pg_query_table tables[] = {
    {queries, Q_COUNT},
    {second,  1      }
};

static const char schema[] =
    "CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,"
    " name varchar(100) CONSTRAINT item_name_once UNIQUE, amount bigint CONSTRAINT item_positive CHECK (amount >= 0));"
    "CREATE TABLE part (item_id bigint CONSTRAINT part_item REFERENCES item);"
    "CREATE FUNCTION raise_serialization() RETURNS void LANGUAGE plpgsql AS"
    " $$BEGIN RAISE EXCEPTION 'internal words' USING ERRCODE = '40001'; END$$";

/* --- a rig: one loop, one pool, everything that was answered --------------------- */

struct answer {
    enum pg_outcome outcome;
    enum code code;
    uintptr_t tag;
    char sqlstate[6];
    char constraint[64];
    char text[ERR_TEXT_BYTES];
    struct pg_result *result;
};

struct rig {
    const char *dsn;
    struct loop *loop;
    struct loop_timer *tick; /* so that uv_run() returns */
    struct arena_pool *arenas;
    struct arena *arena;
    struct pg_plan *plans[2];
    struct pg_pool *pool;
    struct pg_holder holder;
    struct answer answers[ANSWERS_MAX];
    size_t answered;
    int settled;
    int settled_lost;
    int ready;     /* calls with true */
    int not_ready; /* calls with false */
    int idle;
    int fatal;
    struct err fatal_err;
    bool drained;
    struct pg_conn **release_on_settle;
};

static struct rig rig;
static const char *shared_dsn;

static void on_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    struct rig *r = ctx;
    struct answer *a = &r->answers[r->answered];

    assert_true(r->answered < ANSWERS_MAX);
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

static void on_drained(void *arg)
{
    ((struct rig *)arg)->drained = true;
}

static void on_tick(void *arg)
{
    assert_ptr_equal(arg, &rig);
}

/* Turns the loop until `*counter` has reached `value`. */
static void until(const int *counter, int value, const char *what)
{
    const uint64_t end_ms = clock_mono_ms() + WAIT_MS_MAX;

    while (*counter < value) {
        if (clock_mono_ms() > end_ms) {
            fail_msg("waited %d ms in vain for %s", WAIT_MS_MAX, what);
        }
        (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
    }
}

static void until_ready(uint32_t count)
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

static void turn_for(uint64_t ms)
{
    const uint64_t end_ms = clock_mono_ms() + ms;

    while (clock_mono_ms() < end_ms) {
        (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
    }
}

static void forget_answers(void)
{
    for (size_t i = 0; i < rig.answered; i++) {
        pg_result_clear(&rig.answers[i].result);
    }
    rig.answered = 0;
    rig.settled = 0;
    rig.settled_lost = 0;
}

static void open_rig(const char *dsn, const struct pg_query_table *some, size_t count)
{
    struct err err = {.code = OK};

    memset(&rig, 0, sizeof(rig));
    rig.dsn = dsn;
    rig.loop = loop_open();
    rig.tick = loop_timer_open(rig.loop, on_tick, &rig);
    loop_timer_start(rig.tick, 10, 10);
    rig.arenas = arena_pool_open(16384, 4096);
    rig.arena = arena_open(rig.arenas, 64 * 1024 * 1024);
    rig.holder = (struct pg_holder){on_answer, on_settled, &rig};
    for (size_t i = 0; i < count; i++) {
        if (pg_plans_open(&some[i], &rig.plans[i], &err) != OK) {
            fail_msg("%s", err.text);
        }
    }
}

static void open_pool(uint32_t connections,
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

static void start(uint32_t connections, uint32_t statement_ms)
{
    open_rig(shared_dsn, tables, 2);
    open_pool(connections, statement_ms, tables, 2);
    until_ready(connections);
}

static int close_rig(void **state)
{
    const uint64_t end_ms = clock_mono_ms() + WAIT_MS_MAX;

    (void)state;
    if (rig.loop == NULL) {
        return 0;
    }
    if (rig.pool != NULL) {
        pg_pool_drain(rig.pool, on_drained, &rig);
        assert_false(rig.drained); /* never inside the call */
        while (!rig.drained && clock_mono_ms() < end_ms) {
            (void)uv_run(loop_uv(rig.loop), UV_RUN_ONCE);
        }
        assert_true(rig.drained);
        assert_false(pg_pool_ready(rig.pool));
        pg_pool_close(&rig.pool);
    }
    forget_answers();
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

static int clean_tables(void **state)
{
    (void)state;
    scratch_pg_run(shared_dsn, "TRUNCATE item, part RESTART IDENTITY");
    return 0;
}

static struct pg_conn *take(void)
{
    struct pg_conn *conn = pg_pool_take(rig.pool, &rig.holder);

    assert_non_null(conn);
    return conn;
}

static enum code send_message(struct pg_conn *conn,
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
static void
queue(struct pg_conn *conn, enum query query, const char *text, int64_t big, uintptr_t tag)
{
    Testbind__Everything in = TESTBIND__EVERYTHING__INIT;
    struct err err = {.code = OK};

    in.text = (char *)(uintptr_t)text;
    in.has_big = 1;
    in.big = big;
    if (send_message(conn, query, &in, tag, &err) != OK) {
        fail_msg("%s", err.text);
    }
}

static void command(struct pg_conn *conn, const char *sql)
{
    struct err err = {.code = OK};

    if (pg_conn_command(conn, sql, NULL, &err) != OK) {
        fail_msg("%s", err.text);
    }
}

static void flush(struct pg_conn *conn)
{
    assert_int_equal(pg_conn_flush(conn, NULL), OK);
}

static void settle(struct pg_conn *conn)
{
    const int before = rig.settled;

    flush(conn);
    assert_int_equal(rig.settled, before); /* nothing is called back from inside */
    until(&rig.settled, before + 1, "the answers");
}

static void read_row(enum query query, size_t answer, size_t row, ProtobufCMessage *out)
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

static int64_t backend_pid(struct pg_conn *conn)
{
    Testbind__Row row = TESTBIND__ROW__INIT;
    const size_t at = rig.answered;

    queue(conn, Q_PID, NULL, 0, 0);
    settle(conn);
    read_row(Q_PID, at, 0, &row.base);
    return row.id;
}

static void terminate(int64_t pid)
{
    char sql[64];

    (void)snprintf(sql, sizeof(sql), "SELECT pg_terminate_backend(%lld)", (long long)pid);
    scratch_pg_run(shared_dsn, sql);
}

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
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    in.text = text;
    in.has_big = in.has_small = in.has_flag = in.has_blob = in.has_count = 1;
    in.big = INT64_MIN;
    in.small = INT32_MAX;
    in.flag = 1;
    in.blob = (ProtobufCBinaryData){sizeof(bytes), bytes};
    in.count = UINT32_MAX;
    assert_int_equal(send_message(conn, Q_ECHO, &in, 1, &err), OK);
    assert_int_equal(send_message(conn, Q_ECHO, &nulls, 2, &err), OK);
    settle(conn);
    assert_int_equal(rig.answered, 2);
    assert_int_equal(rig.answers[0].tag, 1);
    assert_int_equal(rig.answers[1].tag, 2);
    read_row(Q_ECHO, 0, 0, &out.base);
    assert_string_equal(out.text, text);
    assert_true(out.big == INT64_MIN && out.small == INT32_MAX && out.flag == 1);
    assert_true(out.count == UINT32_MAX);
    assert_int_equal(out.blob.len, sizeof(bytes));
    assert_memory_equal(out.blob.data, bytes, sizeof(bytes));
    assert_string_equal(out.with_default, "u1");
    read_row(Q_ECHO, 1, 0, &nulls.base);
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
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    in.n_names = 2;
    in.names = names;
    in.n_ids = 3;
    in.ids = ids;
    in.n_blobs = 1;
    in.blobs = blobs;
    assert_int_equal(send_message(conn, Q_ARRAYS, &in, 1, &err), OK);
    assert_int_equal(send_message(conn, Q_ARRAYS, &none, 2, &err), OK);
    settle(conn);
    read_row(Q_ARRAYS, 0, 0, &out.base);
    assert_string_equal(out.text, "a,\"b\"|");
    assert_true(out.big == INT64_MAX - 7);
    assert_memory_equal(out.blob.data, bytes, 2);
    out = (Testbind__Everything)TESTBIND__EVERYTHING__INIT;
    read_row(Q_ARRAYS, 1, 0, &out.base);
    assert_int_equal(out.small, 0); /* an empty array, not NULL */
    assert_true(out.has_small && !out.has_big && !out.has_blob);
    pg_conn_release(&conn);
}

static void session_is_set(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    start(2, STATEMENT_MS);
    assert_string_equal(
        scratch_pg_ask(
            shared_dsn,
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test_pg_pool'"),
        "2");
    struct pg_conn *conn = take();
    command(conn, "SELECT set_config('x.y', current_setting('timezone'), false)");
    command(
        conn,
        "INSERT INTO item (name, amount) SELECT concat_ws(' ', current_setting('timezone'),"
        "current_setting('datestyle'), current_setting('statement_timeout'),"
        "current_setting('idle_in_transaction_session_timeout'), current_setting('synchronous_commit')), 1");
    settle(conn);
    assert_int_equal(rig.answers[1].outcome, PG_OUTCOME_OK);
    assert_int_equal(pg_result_affected(rig.answers[1].result), 1);
    assert_string_equal(scratch_pg_ask(shared_dsn, "SELECT name FROM item"),
                        "UTC ISO, YMD 5s 30s on");
    pg_pool_stats(rig.pool, &stats);
    assert_int_equal(stats.ready, 2);
    assert_int_equal(stats.busy, 1);
    assert_int_equal(stats.connects, 2);
    assert_int_equal(stats.lost, 0);
    assert_int_equal(stats.statements, 2);
    assert_int_equal(rig.ready, 1); /* once for the pool, not per connection */
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
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    queue(conn, Q_INSERT, "once", 1, 0);
    settle(conn);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        forget_answers();
        queue(conn, rows[i].query, rows[i].text, rows[i].big, i);
        settle(conn);
        const struct answer *a = &rig.answers[0];
        assert_row(i, a->outcome == PG_OUTCOME_FAILED);
        assert_row(i, a->code == rows[i].code);
        assert_row(i, strcmp(a->sqlstate, rows[i].sqlstate) == 0);
        assert_row(i, strcmp(a->constraint, rows[i].constraint) == 0);
        assert_row(i, strstr(a->text, "hush") == NULL && strstr(a->text, "internal") == NULL);
        assert_row(i, a->text[0] != '\0');
    }
    forget_answers();
    command(conn, "SELECT missing");
    settle(conn);
    assert_int_equal(rig.answers[0].code, ERR_INTERNAL);
    assert_string_equal(rig.answers[0].sqlstate, "42703");
    pg_conn_release(&conn);
}

static void statements_time_out(void **state)
{
    (void)state;
    start(1, 100);
    struct pg_conn *conn = take();
    queue(conn, Q_SLEEP, "10", 0, 0);
    settle(conn);
    assert_int_equal(rig.answers[0].outcome, PG_OUTCOME_FAILED);
    assert_int_equal(rig.answers[0].code, ERR_TIMEOUT);
    assert_string_equal(rig.answers[0].sqlstate, "57014");
    assert_true(backend_pid(conn) > 0); /* still good */
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
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    queue(conn, Q_INSERT, "a", 1, 0);
    queue(conn, Q_INSERT, "b", -1, 1);
    queue(conn, Q_INSERT, "c", 1, 2);
    assert_int_equal(pg_conn_sync(conn, NULL), OK);
    queue(conn, Q_INSERT, "d", 1, 3);
    queue(conn, Q_INSERT, "d", 1, 4);
    queue(conn, Q_INSERT, "e", 1, 5);
    assert_int_equal(pg_conn_sync(conn, NULL), OK);
    queue(conn, Q_LIST, NULL, 0, 6);
    settle(conn);
    assert_int_equal(rig.settled, 1);
    assert_int_equal(rig.answered, ARRAY_LEN(expected));
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        assert_row(i, rig.answers[i].tag == i);
        assert_row(i, rig.answers[i].outcome == expected[i]);
    }
    /* Without BEGIN each domain is one implicit transaction: "a" and the first "d" went with
     * theirs. */
    assert_int_equal(pg_result_rows(rig.answers[6].result), 0);
    /* A flush right after a sync needs no further one. */
    queue(conn, Q_LIST, NULL, 0, 7);
    assert_int_equal(pg_conn_sync(conn, NULL), OK);
    settle(conn);
    assert_int_equal(rig.settled, 2);
    /* And an empty flush still settles. */
    settle(conn);
    assert_int_equal(rig.settled, 3);
    assert_int_equal(rig.answered, 8);
    pg_conn_release(&conn);
}

static void a_batch_commits_or_fails_as_one(void **state)
{
    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    for (int fail = 1; fail >= 0; fail--) {
        forget_answers();
        command(conn, "BEGIN");
        for (int i = 0; i < 128; i++) {
            char name[16];
            (void)snprintf(name, sizeof(name), "n%d", i);
            queue(conn, Q_INSERT, name, fail == 1 && i == 100 ? -1 : i, 0);
        }
        command(conn, "COMMIT");
        settle(conn);
        assert_int_equal(rig.answered, 130);
        assert_int_equal(rig.answers[100].outcome, PG_OUTCOME_OK);
        assert_int_equal(rig.answers[101].outcome, fail == 1 ? PG_OUTCOME_FAILED : PG_OUTCOME_OK);
        assert_int_equal(rig.answers[129].outcome, fail == 1 ? PG_OUTCOME_SKIPPED : PG_OUTCOME_OK);
        if (fail == 1) {
            command(conn, "ROLLBACK");
            settle(conn);
        }
        assert_string_equal(scratch_pg_ask(shared_dsn, "SELECT count(*) FROM item"),
                            fail == 1 ? "0" : "128");
    }
    pg_conn_release(&conn);
}

static void tables_are_told_apart(void **state)
{
    const struct pg_params none = {0, NULL, NULL, NULL, NULL};
    Testbind__Everything out = TESTBIND__EVERYTHING__INIT;

    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    assert_int_equal(pg_conn_query(conn, 1, 0, &none, NULL, NULL), OK);
    settle(conn);
    assert_int_equal(
        pg_bind_row(rig.plans[1], 0, rig.answers[0].result, 0, rig.arena, &out.base, NULL), OK);
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
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    queue(conn, Q_GENERATE, NULL, 40000, 0); /* 40 MB */
    settle(conn);
    assert_int_equal(pg_result_rows(rig.answers[0].result), 40000);
    read_row(Q_GENERATE, 0, 39999, &row.base);
    assert_int_equal(row.id, 40000);
    assert_int_equal(strlen(row.name), 1000);
    /* Both directions full at once: a client that only writes or only reads would hang here. */
    forget_answers();
    memset(text, 'y', sizeof(text) - 1);
    in.text = text;
    for (uintptr_t i = 0; i < 40; i++) {
        assert_int_equal(send_message(conn, Q_ECHO, &in, i, &err), OK);
    }
    settle(conn);
    assert_int_equal(rig.answered, 40);
    for (size_t i = 0; i < rig.answered; i++) {
        Testbind__Everything out = TESTBIND__EVERYTHING__INIT;
        read_row(Q_ECHO, i, 0, &out.base);
        assert_row(i, strlen(out.text) == sizeof(text) - 1);
    }
    /* The bytes of the queue are bounded, and free again afterwards. */
    enum code code = OK;
    for (int i = 0; i < 80 && code == OK; i++) {
        code = send_message(conn, Q_ECHO, &in, 0, &err);
    }
    assert_int_equal(code, ERR_OVERLOADED);
    settle(conn);
    assert_true(backend_pid(conn) > 0);
    pg_conn_release(&conn);
}

static void the_queue_is_bounded(void **state)
{
    struct err err = {.code = OK};
    enum code code = OK;
    size_t sent = 0;

    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    while (code == OK && sent < ANSWERS_MAX) {
        code = pg_conn_command(conn, "", NULL, &err);
        sent += code == OK ? 1 : 0;
    }
    assert_int_equal(code, ERR_OVERLOADED);
    assert_in_range(sent, 4000, ANSWERS_MAX - 1);
    settle(conn);
    assert_int_equal(rig.answered, sent);
    pg_conn_release(&conn);
}

/* --- taking and giving back ------------------------------------------------------- */

static void connections_take_turns(void **state)
{
    struct pg_conn *conns[3];
    int64_t pids[3];

    (void)state;
    start(3, STATEMENT_MS);
    for (int i = 0; i < 3; i++) {
        conns[i] = take();
        pids[i] = backend_pid(conns[i]);
    }
    assert_null(pg_pool_take(rig.pool, &rig.holder));
    const int idle = rig.idle;
    pg_conn_release(&conns[1]);
    pg_conn_release(&conns[0]);
    pg_conn_release(&conns[2]);
    assert_int_equal(rig.idle, idle + 3);
    static const int order[] = {1, 0, 2}; /* the one unused longest comes first */
    for (int i = 0; i < 3; i++) {
        conns[i] = take();
        assert_int_equal(backend_pid(conns[i]), pids[order[i]]);
    }
    for (int i = 0; i < 3; i++) {
        pg_conn_release(&conns[i]);
    }
}

static void an_open_transaction_is_rolled_back(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    const int64_t pid = backend_pid(conn);
    command(conn, "BEGIN");
    queue(conn, Q_INSERT, "never", 1, 0);
    settle(conn);
    const int idle = rig.idle;
    pg_conn_release(&conn);
    assert_null(pg_pool_take(rig.pool, &rig.holder)); /* not free yet */
    until(&rig.idle, idle + 1, "the reset");
    conn = take();
    assert_int_equal(backend_pid(conn), pid); /* the same session, cleaned */
    assert_string_equal(scratch_pg_ask(shared_dsn, "SELECT count(*) FROM item"), "0");
    pg_conn_release(&conn);
    pg_pool_stats(rig.pool, &stats);
    assert_int_equal(stats.lost, 0);
}

static void release_with_work_under_way(void **state)
{
    (void)state;
    start(1, STATEMENT_MS);
    for (int flushed = 0; flushed < 2; flushed++) {
        struct pg_conn *conn = take();
        const int idle = rig.idle;
        forget_answers();
        command(conn, "BEGIN");
        queue(conn, Q_INSERT, "never", 1, 0);
        if (flushed == 1) {
            flush(conn);
        }
        pg_conn_release(&conn);
        until(&rig.idle, idle + 1, "the reset");
        assert_int_equal(rig.answered, 0); /* nobody is there to be told */
        assert_int_equal(rig.settled, 0);
        assert_string_equal(scratch_pg_ask(shared_dsn, "SELECT count(*) FROM item"), "0");
    }
}

static void release_inside_on_settled(void **state)
{
    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    rig.release_on_settle = &conn;
    queue(conn, Q_INSERT, "a", 1, 0);
    settle(conn);
    assert_null(conn);
    conn = take();
    rig.release_on_settle = NULL;
    assert_true(backend_pid(conn) > 0);
    pg_conn_release(&conn);
}

static void changed_tables_lead_to_a_new_session(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    const int64_t pid = backend_pid(conn);
    scratch_pg_run(shared_dsn, "ALTER TABLE item ALTER amount TYPE integer");
    queue(conn, Q_LIST, NULL, 0, 0);
    settle(conn);
    assert_int_equal(rig.answers[1].outcome, PG_OUTCOME_FAILED);
    assert_string_equal(rig.answers[1].sqlstate, "0A000");
    pg_conn_release(&conn);
    until(&rig.ready, 2, "the new session");
    conn = take();
    assert_int_not_equal(backend_pid(conn), pid);
    queue(conn, Q_LIST, NULL, 0, 0);
    settle(conn);
    assert_int_equal(rig.answers[rig.answered - 1].outcome, PG_OUTCOME_OK);
    pg_conn_release(&conn);
    pg_pool_stats(rig.pool, &stats);
    assert_int_equal(stats.connects, 2);
    scratch_pg_run(shared_dsn, "ALTER TABLE item ALTER amount TYPE bigint");
}

/* --- lost connections ------------------------------------------------------------- */

static void a_terminated_session_answers_lost(void **state)
{
    struct pg_pool_stats stats;
    struct err err = {.code = OK};

    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    const int64_t pid = backend_pid(conn);
    forget_answers();
    command(conn, "BEGIN");
    queue(conn, Q_SLEEP, "20", 0, 1);
    queue(conn, Q_INSERT, "never", 1, 2);
    flush(conn);
    turn_for(100);
    queue(conn, Q_INSERT, "not even flushed", 1, 3);
    terminate(pid);
    until(&rig.settled, 1, "the loss");
    assert_int_equal(rig.settled_lost, 1);
    assert_int_equal(rig.answered, 4);
    assert_int_equal(rig.answers[0].outcome, PG_OUTCOME_OK); /* BEGIN had been answered */
    for (size_t i = 1; i < 4; i++) {
        assert_row(i, rig.answers[i].tag == i);
        assert_row(i, rig.answers[i].outcome == PG_OUTCOME_LOST);
        assert_row(i, rig.answers[i].code == ERR_UNAVAILABLE);
    }
    assert_false(pg_pool_ready(rig.pool));
    assert_int_equal(rig.not_ready, 1);
    assert_int_equal(pg_conn_command(conn, "BEGIN", NULL, &err), ERR_UNAVAILABLE);
    assert_int_equal(pg_conn_flush(conn, NULL), ERR_UNAVAILABLE);
    assert_int_equal(pg_conn_sync(conn, NULL), ERR_UNAVAILABLE);
    pg_conn_release(&conn);
    until(&rig.ready, 2, "the new session");
    conn = take();
    assert_true(backend_pid(conn) != pid);
    pg_conn_release(&conn);
    pg_pool_stats(rig.pool, &stats);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(stats.connects, 2);
}

static void a_loss_between_flushes_is_told(void **state)
{
    (void)state;
    start(1, STATEMENT_MS);
    struct pg_conn *conn = take();
    const int64_t pid = backend_pid(conn);
    forget_answers();
    rig.release_on_settle = &conn;
    terminate(pid);
    until(&rig.settled, 1, "the loss");
    assert_int_equal(rig.settled_lost, 1);
    assert_int_equal(rig.answered, 0);
    assert_null(conn);
    rig.release_on_settle = NULL;
    until(&rig.ready, 2, "the new session");
}

static void idle_sessions_come_back(void **state)
{
    struct pg_pool_stats stats;

    (void)state;
    start(2, STATEMENT_MS);
    struct pg_conn *conn = take();
    const int64_t pid = backend_pid(conn);
    pg_conn_release(&conn);
    terminate(pid);
    do {
        turn_for(20);
        pg_pool_stats(rig.pool, &stats);
    } while (stats.connects < 3);
    assert_int_equal(stats.lost, 1);
    assert_int_equal(rig.not_ready, 0); /* the other one was there all the time */
}

static void need_own_cluster(void)
{
    if (!scratch_pg_is_own()) {
        skip();
    }
}

static void the_server_is_killed_and_comes_back(void **state)
{
    (void)state;
    need_own_cluster();
    start(3, STATEMENT_MS);
    struct pg_conn *conn = take();
    queue(conn, Q_SLEEP, "20", 0, 1);
    flush(conn);
    turn_for(50);
    scratch_pg_kill();
    until(&rig.settled, 1, "the loss");
    assert_int_equal(rig.answers[0].outcome, PG_OUTCOME_LOST);
    pg_conn_release(&conn);
    until(&rig.not_ready, 1, "the end of the last session");
    assert_null(pg_pool_take(rig.pool, &rig.holder));
    turn_for(500); /* refused connections, backing off */
    scratch_pg_start();
    until_ready(3);
    conn = take();
    assert_true(backend_pid(conn) > 0);
    pg_conn_release(&conn);
    scratch_pg_restart(); /* the polite way: FATAL 57P01 while idle */
    until(&rig.not_ready, 2, "the end of the sessions");
    until_ready(3);
}

static void a_server_that_is_down_at_the_start(void **state)
{
    (void)state;
    need_own_cluster();
    scratch_pg_kill();
    open_rig(shared_dsn, tables, 2);
    open_pool(2, STATEMENT_MS, tables, 2);
    turn_for(300);
    assert_false(pg_pool_ready(rig.pool));
    assert_null(pg_pool_take(rig.pool, &rig.holder));
    scratch_pg_start();
    until_ready(2);
    assert_int_equal(rig.fatal, 0);
}

static void a_silent_server_is_given_up(void **state)
{
    (void)state;
    need_own_cluster();
    start(1, 100);
    struct pg_conn *conn = take();
    const int64_t pid = backend_pid(conn);
    forget_answers();
    assert_int_equal(kill((pid_t)pid, SIGSTOP), 0);
    queue(conn, Q_PID, NULL, 0, 0);
    const uint64_t from_ms = clock_mono_ms();
    settle(conn);
    const uint64_t took_ms = clock_mono_ms() - from_ms;
    assert_int_equal(kill((pid_t)pid, SIGCONT), 0);
    assert_int_equal(rig.answers[0].outcome, PG_OUTCOME_LOST);
    assert_int_equal(rig.settled_lost, 1);
    assert_in_range(took_ms, 2000, 10000);
    pg_conn_release(&conn);
    until(&rig.ready, 2, "the new session");
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
        const struct pg_query two[] = {second[0], rows[i].query};
        const struct pg_query_table table = {two, 2};
        open_rig(shared_dsn, &table, 1);
        open_pool(3, STATEMENT_MS, &table, 1);
        until(&rig.fatal, 1, "the fatal error");
        turn_for(100);
        assert_row(i, rig.fatal == 1); /* once, though three connections fail */
        assert_row(i, strstr(rig.fatal_err.text, rows[i].query.name) != NULL);
        assert_row(i, strstr(rig.fatal_err.text, rows[i].word) != NULL);
        assert_row(i, rig.ready == 0 && !pg_pool_ready(rig.pool));
        assert_int_equal(close_rig(state), 0);
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
    open_rig(shared_dsn, &table, 1);
    open_pool(2, STATEMENT_MS, &table, 1);
    until_ready(2);
    struct pg_conn *conn = take();
    assert_int_equal(pg_conn_query(conn, 0, 299, &none, NULL, NULL), OK);
    settle(conn);
    assert_int_equal(rig.answers[0].outcome, PG_OUTCOME_OK);
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
    open_rig(shared_dsn, tables, 0);
    assert_int_equal(pg_pool_open(rig.loop, &options, &pool, &err), ERR_INVALID);
    assert_null(strstr(err.text, "secret"));
    options.dsn = shared_dsn;
    options.connections = PG_CONNECTIONS_MAX + 1;
    assert_int_equal(pg_pool_open(rig.loop, &options, &pool, NULL), ERR_INVALID);
    options.connections = 0;
    assert_int_equal(pg_pool_open(rig.loop, &options, &pool, NULL), ERR_INVALID);
    options.connections = 1;
    options.statement_ms_max = 0;
    assert_int_equal(pg_pool_open(rig.loop, &options, &pool, NULL), ERR_INVALID);
    assert_null(pool);
}

static void other_addresses(void **state)
{
    char by_name[512] = "";

    (void)state;
    need_own_cluster();
    open_rig(scratch_pg_socket_dsn(shared_dsn), tables, 2);
    open_pool(1, STATEMENT_MS, tables, 2);
    until_ready(1);
    assert_int_equal(close_rig(state), 0);
    /* The first address refuses: the socket changes while connecting. */
    const char *port = strstr(shared_dsn, "port=");
    (void)snprintf(by_name, sizeof(by_name), "host=127.0.0.2,localhost %s", port);
    open_rig(by_name, tables, 2);
    open_pool(1, STATEMENT_MS, tables, 2);
    until_ready(1);
    assert_int_equal(close_rig(state), 0);
    open_rig("host=does-not-exist.invalid dbname=x", tables, 2);
    open_pool(2, STATEMENT_MS, tables, 2);
    turn_for(200);
    assert_int_equal(rig.fatal, 0);
}

static void drain_waits_for_the_holder(void **state)
{
    (void)state;
    start(2, STATEMENT_MS);
    struct pg_conn *conn = take();
    command(conn, "BEGIN");
    settle(conn);
    pg_pool_drain(rig.pool, on_drained, &rig);
    turn_for(50);
    assert_false(rig.drained);
    assert_null(pg_pool_take(rig.pool, &rig.holder));
    assert_true(backend_pid(conn) > 0); /* the holder goes on */
    pg_conn_release(&conn);
    turn_for(50);
    assert_true(rig.drained);
    assert_int_equal(rig.not_ready, 0);
    pg_pool_close(&rig.pool);
}

static void drain_at_any_moment(void **state)
{
    for (uint64_t ms = 0; ms < 12; ms++) {
        open_rig(shared_dsn, tables, 2);
        open_pool(4, STATEMENT_MS, tables, 2);
        if (ms > 0) {
            turn_for(ms - 1);
        }
        assert_int_equal(close_rig(state), 0);
    }
}

static int setup_group(void **state)
{
    (void)state;
    log_open("test_pg_pool", LOG_ERROR);
    shared_dsn = scratch_pg_database("pool");
    scratch_pg_run(shared_dsn, schema);
    return 0;
}

static int teardown_group(void **state)
{
    (void)state;
    scratch_pg_end();
    return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, clean_tables, close_rig)

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
        TEST(a_terminated_session_answers_lost),
        TEST(a_loss_between_flushes_is_told),
        TEST(idle_sessions_come_back),
        TEST(the_server_is_killed_and_comes_back),
        TEST(a_server_that_is_down_at_the_start),
        TEST(a_silent_server_is_given_up),
        TEST(statements_that_do_not_fit_are_fatal),
        TEST(many_statements_are_prepared_in_chunks),
        TEST(bad_options_are_refused),
        TEST(other_addresses),
        TEST(drain_waits_for_the_holder),
        TEST(drain_at_any_moment),
    };

    return cmocka_run_group_tests_name("pg_pool", tests, setup_group, teardown_group);
}
