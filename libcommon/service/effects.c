#include "libcommon/service/effects.h"

#include "libcommon/base/log.h"
#include "libcommon/service/runner.h"

#include <assert.h>

/* --- database ------------------------------------------------------------------ */

static struct pg_conn *database_take(void *ctx, const struct pg_holder *holder)
{
    struct real_database *db = ctx;

    assert(db->pool != NULL);
    return pg_pool_take(db->pool, holder);
}

static void database_release(void *ctx, struct pg_conn **conn)
{
    assert(ctx != NULL);
    pg_conn_release(conn);
}

static enum code database_query_set(
    void *ctx, struct pg_conn *conn, const struct set_call *call, void *tag, struct err *err)
{
    assert(call->statement.table < TABLE_COUNT);

    struct real_database *db = ctx;
    struct arena_mark mark = arena_mark(call->arena);
    const struct statement statement = call->statement;
    struct pg_params params = {0};
    enum code code = pg_bind_set(
        db->plans[statement.table], statement.query, &call->list, call->arena, &params, err);

    if (code == OK) {
        code = pg_conn_query(conn, statement.table, statement.query, &params, tag, err);
    }
    arena_rewind(call->arena, mark); /* libpq has its own copy */
    return code;
}

static enum code database_query(
    void *ctx, struct pg_conn *conn, const struct statement_call *call, void *tag, struct err *err)
{
    struct real_database *db = ctx;
    struct arena_mark mark = arena_mark(call->arena);
    struct pg_params params = {0};
    enum code code = OK;

    assert(call->statement.table < TABLE_COUNT);
    assert(call->statement.query < db->tables[call->statement.table].count);
    if (db->tables[call->statement.table].queries[call->statement.query].set) {
        struct pg_member member = {call->context, call->in};
        struct set_call set = {
            call->statement, {&member, 1},
             call->arena
        };
        return database_query_set(ctx, conn, &set, tag, err);
    }
    code = pg_bind_params(db->plans[call->statement.table],
                          call->statement.query,
                          call->context,
                          call->in,
                          call->arena,
                          &params,
                          err);
    if (code == OK) {
        code = pg_conn_query(conn, call->statement.table, call->statement.query, &params, tag, err);
    }
    arena_rewind(call->arena, mark); /* libpq has its own copy */
    return code;
}

static enum code
database_command(void *ctx, struct pg_conn *conn, const char *sql, void *tag, struct err *err)
{
    assert(ctx != NULL);
    return pg_conn_command(conn, sql, tag, err);
}

static enum code database_sync(void *ctx, struct pg_conn *conn, struct err *err)
{
    assert(ctx != NULL);
    return pg_conn_sync(conn, err);
}

static enum code database_flush(void *ctx, struct pg_conn *conn, struct err *err)
{
    assert(ctx != NULL);
    return pg_conn_flush(conn, err);
}

static enum code
database_row(void *ctx, const struct row_call *call, ProtobufCMessage *out, struct err *err)
{
    struct real_database *db = ctx;

    assert(call->statement.table < TABLE_COUNT);
    assert(out != NULL);
    return pg_bind_row(db->plans[call->statement.table],
                       call->statement.query,
                       call->result,
                       call->row,
                       call->arena,
                       out,
                       err);
}

static const struct pg_query *database_describe(void *ctx, struct statement statement)
{
    struct real_database *db = ctx;

    assert(statement.table < TABLE_COUNT);
    assert(statement.query < db->tables[statement.table].count);
    return &db->tables[statement.table].queries[statement.query];
}

void real_database_init(struct real_database *db,
                        struct pg_plan *const *plans,
                        const struct pg_query_table *tables)
{
    assert(plans != NULL);
    assert(tables != NULL);
    *db = (struct real_database){
        .face = {.ctx = db,
                 .take = database_take,
                 .release = database_release,
                 .query = database_query,
                 .query_set = database_query_set,
                 .command = database_command,
                 .sync = database_sync,
                 .flush = database_flush,
                 .rows = pg_result_rows,
                 .affected = pg_result_affected,
                 .place = pg_result_place,
                 .clear = pg_result_clear,
                 .attach = pg_result_attach,
                 .row = database_row,
                 .describe = database_describe},
        .plans = plans,
        .tables = tables,
    };
}

/* --- loop and bus -------------------------------------------------------------- */

static enum code effects_work(
    void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg, struct err *err)
{
    struct real_effects *effects = ctx;

    assert(work != NULL);
    assert(done != NULL);
    return loop_work_long(effects->loop, work, done, arg, err);
}

static void effects_publish(void *ctx, const char *subject, struct str payload)
{
    struct real_effects *effects = ctx;
    struct err err = {0};

    assert(subject != NULL);
    if (effects->bus == NULL || bus_publish(effects->bus, subject, payload, &err) == OK) {
        return;
    }
    if (log_rate_allows(&effects->publish_logged_ms)) {
        log_event(LOG_WARN, "publish_failed", LOG_S("subject", subject), LOG_S("error", err.text));
    }
}

static void effects_wake(void *ctx)
{
    struct real_effects *effects = ctx;

    assert(effects->pass != NULL);
    loop_pass_arm(effects->pass);
}

static void effects_tick(void *ctx, bool running)
{
    struct real_effects *effects = ctx;

    assert(effects->timer != NULL);
    if (running) {
        loop_timer_start(effects->timer, SWEEP_MS, SWEEP_MS);
    } else {
        loop_timer_stop(effects->timer);
    }
}

static bool on_pass(void *arg)
{
    struct real_effects *effects = arg;

    return effects->runner != NULL && runner_pass(effects->runner);
}

static void on_timer(void *arg)
{
    struct real_effects *effects = arg;

    if (effects->runner != NULL) {
        runner_sweep(effects->runner);
    }
}

enum code real_effects_init(struct real_effects *effects,
                            const struct database *database,
                            struct loop *loop,
                            struct err *err)
{
    assert(database != NULL);
    assert(loop != NULL);
    *effects = (struct real_effects){
        .face = {.database = database,
                 .ctx = effects,
                 .work = effects_work,
                 .publish = effects_publish,
                 .wake = effects_wake,
                 .tick = effects_tick},
        .loop = loop,
    };
    effects->pass = loop_pass_open(loop, on_pass, effects);
    effects->timer = loop_timer_open(loop, on_timer, effects);
    if (effects->pass == NULL || effects->timer == NULL) {
        real_effects_fini(effects);
        return err_set(err, ERR_OVERLOADED, "no memory for the runner's timer");
    }
    return OK;
}

void real_effects_fini(struct real_effects *effects)
{
    assert(effects != NULL);
    if (effects->pass != NULL) {
        loop_pass_close(&effects->pass);
    }
    if (effects->timer != NULL) {
        loop_timer_close(&effects->timer);
    }
}
