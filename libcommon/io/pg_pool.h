#pragma once
/*
 * PostgreSQL for one loop: a fixed number of non-blocking libpq connections in pipeline mode, each
 * prepared with every statement of the tables before it serves. A holder takes a connection, queues
 * statements and syncs, flushes, and gets every result by callback in order. Lost connections come
 * back with back-off. All on the loop thread. Session settings: UTC, ISO dates, statement_timeout,
 * application_name, idle_in_transaction_session_timeout, synchronous_commit=on.
 */

#include "libcommon/io/loop.h"
#include "libcommon/io/pg_bind.h"

struct pg_pool;
struct pg_conn;

struct pg_pool_options {
    const char *dsn;
    const char *application_name;
    uint32_t connections;
    const struct pg_query_table *tables; /* prepared as t<table>q<index> */
    struct pg_plan *const *plans;        /* one per table; columns are checked on first connect */
    size_t table_count;
    uint32_t statement_ms_max;
    void (*on_ready)(void *ctx, bool any_ready); /* first connection ready / last one lost */
    void (*on_idle)(void *ctx); /* a connection became free; may run inside release */
    /* At most once, before the pool was ever ready: a statement, its parameters or columns do not
     * fit the database (not migrated, misspelt). The program should stop; the pool goes on trying.
     * May be NULL. */
    void (*on_fatal)(void *ctx, const struct err *err);
    void *ctx;
};

/* Tables, plans and application_name must outlive the pool; the DSN is copied and wiped at the end.
 * A host name is resolved on the thread pool, so no call here blocks. ERR_INVALID: the DSN is not
 * one. */
enum code pg_pool_open(struct loop *loop,
                       const struct pg_pool_options *options,
                       struct pg_pool **out,
                       struct err *err) MUST_CHECK;
/* All connections are closed when idle; held ones when released. `done` runs when none is left,
 * never inside this call; pg_pool_close() is allowed from then on. */
void pg_pool_drain(struct pg_pool *pool, void (*done)(void *arg), void *arg);
void pg_pool_close(struct pg_pool **pool);
/* tidy: allow unused: tests wait without a callback */
bool pg_pool_ready(const struct pg_pool *pool);

enum pg_outcome {
    PG_OUTCOME_OK,
    PG_OUTCOME_FAILED,  /* this statement raised an error: see `err` (mapped) and sqlstate */
    PG_OUTCOME_SKIPPED, /* not run because an earlier one of its pipeline failed */
    PG_OUTCOME_LOST     /* the connection broke: it is unknown whether it ran */
};

struct pg_answer {
    enum pg_outcome outcome;
    struct pg_result *result; /* OK only; the receiver owns it */
    char sqlstate[6];
    char constraint[64]; /* of an integrity error */
    struct err err; /* FAILED, LOST: mapped: 23505 ERR_CONFLICT, 23503 ERR_REFERENCE, 23514/22xxx
                       ERR_INVALID, 40001/40P01 ERR_SERIALIZATION, 57014 ERR_TIMEOUT, connection
                       ERR_UNAVAILABLE, else ERR_INTERNAL */
};

struct pg_holder {
    void (*on_answer)(void *ctx, void *tag, struct pg_answer *answer);
    /* Every statement up to the last flush has been answered (or the connection is lost: `lost`).
     */
    void (*on_settled)(void *ctx, bool lost);
    void *ctx;
};

/* A free ready connection, or NULL. No waiting here: the runner queues and is told by on_idle. */
struct pg_conn *pg_pool_take(struct pg_pool *pool, const struct pg_holder *holder);
/* Gives it back and nulls the pointer; no callback of the holder runs afterwards. With statements
 * not yet answered or a transaction left open the connection is reset before it serves again. */
void pg_conn_release(struct pg_conn **conn);

/* None of these sends at once or calls back. ERR_OVERLOADED: too much is queued (4096 statements,
 * 64 MiB); ERR_UNAVAILABLE: the connection is broken. After an error the tag is not answered. `sql`
 * takes no parameters. */
enum code pg_conn_query(struct pg_conn *conn,
                        uint16_t table,
                        uint16_t query,
                        const struct pg_params *params,
                        void *tag,
                        struct err *err) MUST_CHECK;
enum code
pg_conn_command(struct pg_conn *conn, const char *sql, void *tag, struct err *err) MUST_CHECK;
/* Ends a failure domain: statements after it run even if earlier ones failed. */
enum code pg_conn_sync(struct pg_conn *conn, struct err *err) MUST_CHECK;
/* Sends; a sync is added when the last queued item is none. on_settled follows. */
enum code pg_conn_flush(struct pg_conn *conn, struct err *err) MUST_CHECK;

struct pg_pool_stats {
    uint32_t ready;
    uint32_t busy;
    uint64_t connects;
    uint64_t lost;
    uint64_t statements;
};
void pg_pool_stats(const struct pg_pool *pool, struct pg_pool_stats *out);
