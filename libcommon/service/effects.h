#pragma once
/*
 * Everything the runner does to the outside, as function pointers: database, thread pool, bus,
 * timer. The real ones (effects.c) stand on libcommon/io; tests give fakes that script answers,
 * delay and loss. Clock and random are injectable in libcommon/base. All on the loop thread. The
 * objects behind `ctx` outlive the runner.
 */

#include "libcommon/io/bus.h"
#include "libcommon/io/loop.h"
#include "libcommon/io/pg_bind.h"
#include "libcommon/io/pg_pool.h"

/* Index of a statement table: the skeleton's own and the service's. */
enum statement_table {
    TABLE_SKELETON,
    TABLE_SERVICE,
    TABLE_COUNT
};

struct statement {
    uint16_t table;
    uint16_t query;
};

/* One statement to send; what binding needs of the arena is given back at once. */
struct statement_call {
    struct statement statement;
    const struct pg_context *context;
    const ProtobufCMessage *in; /* NULL: the statement takes none */
    struct arena *arena;
};

/* One set statement for many requests: see pg_bind.h. */
struct set_call {
    struct statement statement;
    struct pg_member_list list;
    struct arena *arena;
};

/* One row to read; `out` is of the statement's type. */
struct row_call {
    struct statement statement;
    const struct pg_result *result;
    size_t row;
    struct arena *arena;
};

/* The contracts are those of pg_pool.h and pg_bind.h. query() sends a set statement for one. */
struct database {
    void *ctx;
    struct pg_conn *(*take)(void *ctx, const struct pg_holder *holder);
    void (*release)(void *ctx, struct pg_conn **conn);
    /* ERR_TOO_LARGE: the arena is full. ERR_OVERLOADED: the pipeline is. Anything else: the
     * connection is broken. */
    enum code (*query)(void *ctx,
                       struct pg_conn *conn,
                       const struct statement_call *call,
                       void *tag,
                       struct err *err);
    enum code (*query_set)(
        void *ctx, struct pg_conn *conn, const struct set_call *call, void *tag, struct err *err);
    enum code (*command)(
        void *ctx, struct pg_conn *conn, const char *sql, void *tag, struct err *err);
    enum code (*sync)(void *ctx, struct pg_conn *conn, struct err *err);
    enum code (*flush)(void *ctx, struct pg_conn *conn, struct err *err);
    size_t (*rows)(const struct pg_result *result);
    size_t (*affected)(const struct pg_result *result);
    uint64_t (*place)(const struct pg_result *result, size_t row);
    void (*clear)(struct pg_result **result);
    enum code (*attach)(struct pg_result *result, struct arena *arena, struct err *err);
    enum code (*row)(void *ctx,
                     const struct row_call *call,
                     ProtobufCMessage *out,
                     struct err *err);
    const struct pg_query *(*describe)(void *ctx, struct statement statement);
};

struct effects {
    const struct database *database;
    void *ctx;
    /* Runs work(arg) on a thread that yields to others, then done(arg) on the loop. */
    enum code (*work)(
        void *ctx, void (*work)(void *arg), void (*done)(void *arg), void *arg, struct err *err);
    void (*publish)(void *ctx, const char *subject, struct str payload); /* best effort */
    void (*wake)(void *ctx);               /* runner_pass() soon, on the loop */
    void (*tick)(void *ctx, bool running); /* runner_sweep() every SWEEP_MS while running */
};

/* --- the real ones --- */
struct real_database {
    struct database face;
    struct pg_pool *pool;
    struct pg_plan *const *plans; /* by enum statement_table; the relay has only the first */
    const struct pg_query_table *tables;
};
/* The pool may be set later, before the first statement. */
void real_database_init(struct real_database *db,
                        struct pg_plan *const *plans,
                        const struct pg_query_table *tables);

struct runner;
struct real_effects {
    struct effects face;
    struct loop *loop;
    struct bus *bus;
    struct runner *runner;
    struct loop_pass *pass;
    struct loop_timer *timer;
    uint64_t publish_logged_ms;
};
/* ERR_OVERLOADED when memory is refused. The bus and the runner are set by the caller before the
 * first request. */
enum code real_effects_init(struct real_effects *effects,
                            const struct database *database,
                            struct loop *loop,
                            struct err *err) MUST_CHECK;
void real_effects_fini(struct real_effects *effects);
