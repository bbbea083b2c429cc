#pragma once
/*
 * For tests of the pool: one loop, one pool, and a holder that keeps everything it is told. One rig
 * per process; rig_close() drains and asserts that libuv holds nothing any more. Loop thread only.
 * Failures fail the test.
 */

#include "tests/bind.pb-c.h"
#include "tests/support/check.h"

#include "libcommon/io/pg_pool.h"

#define RIG_ANSWERS_MAX  4096
#define RIG_STATEMENT_MS 5000

/* The statements of rig_tables[0]; rig_tables[1] has one, "SELECT 1 AS small". */
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

extern const struct pg_query_table rig_tables[2];

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
    struct answer answers[RIG_ANSWERS_MAX];
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

struct rig *rig_instance(void);
const char *rig_dsn(void); /* of the shared scratch database: tables item and part */

/* cmocka's set-up and tear-down functions. */
int rig_setup_group(void **state);
int rig_teardown_group(void **state);
int rig_clean(void **state); /* empties the tables */
int rig_close(void **state);

/* The rig without a pool, then the pool; rig_start() does both with rig_tables and waits until all
 * are ready. */
void rig_open(const char *dsn, const struct pg_query_table *some, size_t count);
void rig_open_pool(uint32_t connections,
                   uint32_t statement_ms,
                   const struct pg_query_table *some,
                   size_t count);
void rig_start(uint32_t connections, uint32_t statement_ms);
void rig_on_drained(void *arg);
void need_own_cluster(void); /* skips the test otherwise */

/* Each turns the loop: until a counter reaches a value, so many are ready and free, so long.
 * Bounded. */
void rig_until(const int *counter, int value, const char *what);
void rig_until_ready(uint32_t count);
void rig_turn_for(uint64_t ms);
void rig_forget(void); /* clears results and counts of answers */

struct pg_conn *rig_take(void);
enum code rig_send(struct pg_conn *conn,
                   enum query query,
                   const Testbind__Everything *in,
                   uintptr_t tag,
                   struct err *err);
void rig_queue(
    struct pg_conn *conn, enum query query, const char *text, int64_t big, uintptr_t tag);
void rig_command(struct pg_conn *conn, const char *sql);
void rig_flush(struct pg_conn *conn);
void rig_settle(struct pg_conn *conn); /* flushes and waits */
void rig_row(enum query query, size_t answer, size_t row, ProtobufCMessage *out);
int64_t rig_backend_pid(struct pg_conn *conn);
void rig_terminate(int64_t pid);
