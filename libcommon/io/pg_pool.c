#include "libcommon/io/pg_pool.h"

#include "libcommon/base/log.h"
#include "libcommon/io/pg_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct pg_pool {
    struct pg_pool_options options;
    struct loop *loop;
    char dsn[PG_DSN_BYTES_MAX];
    struct list free; /* connections in PG_IDLE, the one unused longest first */
    struct pg_conn *conns[PG_CONNECTIONS_MAX];
    uint32_t ready;
    uint32_t down;
    bool was_ready;
    bool fatal_told;
    uint64_t connects;
    uint64_t lost;
    uint64_t statements;
    uint64_t log_slots[CODE_COUNT];
    /* draining */
    bool draining;
    void (*drained)(void *arg);
    void *drained_arg;
    struct loop_timer *drain_timer; /* calls `drained` from the loop */
};

/* --- for the connections ------------------------------------------------------- */

bool pg_pool_draining(const struct pg_pool *pool)
{
    return pool->draining;
}

const char *pg_pool_dsn(const struct pg_pool *pool)
{
    return pool->dsn;
}

void pg_pool_count_statement(struct pg_pool *pool)
{
    pool->statements++;
}

uint64_t *pg_pool_log_slot(struct pg_pool *pool, enum code code)
{
    assert((unsigned)code < CODE_COUNT);
    return &pool->log_slots[code];
}

void pg_pool_on_prepared(struct pg_pool *pool)
{
    assert(pool->ready < pool->options.connections);
    pool->connects++;
    pool->ready++;
    pool->was_ready = true;
    if (pool->ready == 1 && pool->options.on_ready != NULL) {
        pool->options.on_ready(pool->options.ctx, true);
    }
}

void pg_pool_on_unready(struct pg_pool *pool, bool lost)
{
    assert(pool->ready > 0);
    pool->ready--;
    pool->lost += lost ? 1 : 0;
    if (pool->ready == 0 && !pool->draining && pool->options.on_ready != NULL) {
        pool->options.on_ready(pool->options.ctx, false);
    }
}

void pg_pool_on_free(struct pg_pool *pool, struct pg_conn *conn)
{
    assert(!pool->draining);
    assert(list_empty(&conn->idle));
    list_push_back(&pool->free, &conn->idle);
    if (pool->options.on_idle != NULL) {
        pool->options.on_idle(pool->options.ctx);
    }
}

void pg_pool_on_down(struct pg_pool *pool)
{
    assert(pool->draining);
    assert(pool->down < pool->options.connections);
    pool->down++;
    if (pool->down == pool->options.connections) {
        loop_timer_start(pool->drain_timer, 0, 0);
    }
}

void pg_pool_on_fatal(struct pg_pool *pool, const struct err *err)
{
    assert(err->code != OK);
    if (log_rate_allows(&pool->log_slots[ERR_INTERNAL])) {
        log_event(LOG_ERROR, "pg_statement_unfit", LOG_S("error", err->text));
    }
    if (pool->was_ready || pool->fatal_told || pool->draining) {
        return; /* the others go on serving, this one tries again */
    }
    pool->fatal_told = true;
    if (pool->options.on_fatal != NULL) {
        pool->options.on_fatal(pool->options.ctx, err);
    }
}

/* --- for everybody ------------------------------------------------------------- */

/* The parser's own message is not shown: it may quote parts of the password. */
static enum code check_options(const struct pg_pool_options *options, struct err *err)
{
    PQconninfoOption *parsed = NULL;

    if (strlen(options->dsn) >= PG_DSN_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "the database address is too long");
    }
    if (options->connections == 0 || options->connections > PG_CONNECTIONS_MAX) {
        return err_set(err,
                       ERR_INVALID,
                       "%u database connections are not in 1..%d",
                       options->connections,
                       PG_CONNECTIONS_MAX);
    }
    if (options->statement_ms_max == 0 || options->statement_ms_max > PG_STATEMENT_MS_MAX) {
        return err_set(err,
                       ERR_INVALID,
                       "a statement timeout of %u ms is not in 1..%d",
                       options->statement_ms_max,
                       PG_STATEMENT_MS_MAX);
    }
    parsed = PQconninfoParse(options->dsn, NULL);
    if (parsed == NULL) {
        return err_set(err, ERR_INVALID, "the database address is not a connection string");
    }
    PQconninfoFree(parsed);
    return OK;
}

static void on_drained(void *arg)
{
    struct pg_pool *pool = arg;

    assert(pool->down == pool->options.connections);
    pool->drained(pool->drained_arg); /* may close the pool */
}

static void pool_free(struct pg_pool *pool)
{
    for (uint32_t i = 0; i < pool->options.connections; i++) {
        pg_conn_close(&pool->conns[i]);
    }
    loop_timer_close(&pool->drain_timer);
    explicit_bzero(pool->dsn, sizeof(pool->dsn));
    free(pool);
}

enum code pg_pool_open(struct loop *loop,
                       const struct pg_pool_options *options,
                       struct pg_pool **out,
                       struct err *err)
{
    struct pg_pool *pool = NULL;
    enum code code = OK;
    bool complete = true;

    assert(loop != NULL);
    assert(options != NULL);
    assert(options->dsn != NULL);
    assert(options->application_name != NULL);
    assert(options->table_count == 0 || options->plans != NULL);
    *out = NULL;
    code = check_options(options, err);
    if (code != OK) {
        return code;
    }
    pool = calloc(1, sizeof(*pool));
    if (pool == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the database pool");
    }
    pool->options = *options;
    pool->options.dsn = NULL;
    pool->loop = loop;
    memcpy(pool->dsn, options->dsn, strlen(options->dsn) + 1);
    list_init(&pool->free);
    pool->drain_timer = loop_timer_open(loop, on_drained, pool);
    complete = pool->drain_timer != NULL;
    for (uint32_t i = 0; complete && i < options->connections; i++) {
        pool->conns[i] = pg_conn_open(pool, &pool->options, loop, i);
        complete = pool->conns[i] != NULL;
    }
    if (!complete) {
        pool_free(pool);
        return err_set(err, ERR_OVERLOADED, "no memory for the database pool");
    }
    for (uint32_t i = 0; i < options->connections; i++) {
        pg_conn_start(pool->conns[i]);
    }
    *out = pool;
    return OK;
}

void pg_pool_drain(struct pg_pool *pool, void (*done)(void *arg), void *arg)
{
    assert(pool != NULL);
    assert(done != NULL);
    assert(!pool->draining);
    pool->draining = true;
    pool->drained = done;
    pool->drained_arg = arg;
    for (uint32_t i = 0; i < pool->options.connections; i++) {
        const enum pg_state state = pg_conn_state(pool->conns[i]);
        /* The thread pool cannot be interrupted and holders finish: those come later. */
        if (state != PG_BUSY && state != PG_BROKEN && state != PG_RESOLVING) {
            pg_conn_retire(pool->conns[i]);
        }
    }
}

void pg_pool_close(struct pg_pool **pool)
{
    struct pg_pool *closing = NULL;

    assert(pool != NULL);
    closing = *pool;
    *pool = NULL;
    if (closing == NULL) {
        return;
    }
    assert(closing->draining);
    assert(closing->down == closing->options.connections);
    pool_free(closing);
}

bool pg_pool_ready(const struct pg_pool *pool)
{
    assert(pool != NULL);
    return pool->ready > 0 && !pool->draining;
}

struct pg_conn *pg_pool_take(struct pg_pool *pool, const struct pg_holder *holder)
{
    struct list *node = NULL;
    struct pg_conn *conn = NULL;

    assert(pool != NULL);
    assert(holder->on_answer != NULL);
    assert(holder->on_settled != NULL);
    node = list_pop_front(&pool->free);
    if (node == NULL) {
        return NULL;
    }
    conn = LIST_ENTRY(node, struct pg_conn, idle);
    pg_conn_move(conn, PG_BUSY);
    conn->holder = *holder;
    return conn;
}

void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *out)
{
    assert(pool != NULL);
    assert(out != NULL);
    *out = (struct pg_pool_stats){.ready = pool->ready,
                                  .connects = pool->connects,
                                  .lost = pool->lost,
                                  .statements = pool->statements};
    for (uint32_t i = 0; i < pool->options.connections; i++) {
        const enum pg_state state = pg_conn_state(pool->conns[i]);
        out->busy += state == PG_BUSY || state == PG_RESETTING ? 1 : 0;
    }
}
