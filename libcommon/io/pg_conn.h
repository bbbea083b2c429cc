#pragma once
/*
 * Inside of one connection, for the pg_*.c files only. pg_conn.c: the state table, connecting,
 * losing and closing. pg_queue.c: statements sent and results handed out in order. pg_prepare.c:
 * the statements of a new connection. pg_pool.c owns the connections. All on the loop thread,
 * except the first connect call.
 */

#include "libcommon/base/backoff.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/list.h"
#include "libcommon/base/sm.h"
#include "libcommon/io/pg_libpq.h"
#include "libcommon/io/pg_pool.h"

#define PG_ITEMS_MAX           4096 /* statements and syncs under way; power of two */
#define PG_ITEMS_RESERVED      4 /* for the syncs and the ROLLBACK that a flush or a release adds */
#define PG_QUEUED_BYTES_MAX    ((size_t)64 * 1024 * 1024)
#define PG_PREPARE_CHUNK       64 /* statements prepared per round trip */
#define PG_PREPARE_MS_MAX      15000
#define PG_GUARD_MS            2000 /* beyond statement_timeout without a sign of life */
#define PG_LAST_CALL_MS        100
#define PG_RESET_MS_MAX        (PG_STATEMENT_MS_MAX + PG_GUARD_MS)
#define PG_BACKOFF_FIRST_MS    50
#define PG_BACKOFF_CAP_MS      5000
#define PG_IDLE_TRANSACTION_MS REQUEST_DEADLINE_MS_MAX
#define PG_DSN_BYTES_MAX       1024

_Static_assert((PG_ITEMS_MAX & (PG_ITEMS_MAX - 1)) == 0, "indexes wrap by mask");
_Static_assert(2 * PG_PREPARE_CHUNK + PG_ITEMS_RESERVED <= PG_ITEMS_MAX, "a chunk fits");

enum pg_state {
    PG_DOWN,       /* not connected and not trying: before the start, after draining */
    PG_RESOLVING,  /* the thread pool looks up the host and starts to connect */
    PG_CONNECTING, /* PQconnectPoll under way */
    PG_SETTING,    /* session settings sent */
    PG_PREPARING,  /* statements being prepared */
    PG_IDLE,       /* in the pool's list of free connections */
    PG_BUSY,       /* held */
    PG_RESETTING,  /* given back with work or a transaction left: ROLLBACK sent */
    PG_BROKEN,     /* lost while held: waits for the holder's release */
    PG_BACKOFF,    /* waits before it connects again */
    PG_STATE_COUNT
};

enum pg_item_kind {
    PG_ITEM_QUERY,
    PG_ITEM_COMMAND,
    PG_ITEM_SYNC,
    PG_ITEM_PREPARE,
    PG_ITEM_DESCRIBE,
    PG_ITEM_ROLLBACK /* our own, of a reset */
};

/* One thing sent whose results have not all come back. */
struct pg_item {
    void *tag;
    uint16_t table;
    uint16_t query;
    enum pg_item_kind kind;
    bool answered; /* its result came; the NULL that ends it has not */
};

struct pg_watch;

struct pg_conn {
    /* whose */
    struct list idle; /* in the pool's list while PG_IDLE */
    struct pg_pool *pool;
    const struct pg_pool_options *options;
    struct loop *loop;
    uint32_t number;
    /* life */
    struct sm sm;
    struct backoff backoff;
    struct loop_timer *timer;
    struct pg_watch *watch;
    PGconn *pq;
    PGconn *starting;      /* made on the thread pool, taken over on the loop */
    const char *doomed;    /* why a zero timer will lose this connection; NULL: it will not */
    bool stale;            /* its prepared statements no longer fit: reconnect when released */
    char last_sqlstate[6]; /* of the last FATAL notice: why an idle session ended */
    /* preparing */
    size_t prepare_table;
    uint16_t prepare_query;
    bool prepare_final; /* the error below is one of the program, not of the moment */
    struct err prepare_err;
    /* work */
    struct pg_holder holder;
    struct pg_item *items;
    uint32_t head; /* next to be answered; counts for ever, masked when used */
    uint32_t tail;
    uint32_t flushed; /* tail at the last flush */
    bool settle_due;  /* on_settled is owed for that flush */
    size_t queued_bytes;
    uint64_t progress_ms;
    bool last_call; /* the guard ran out once and nothing has come since */
};

/* --- pg_conn.c --- */
/* NULL when memory is refused. */
struct pg_conn *pg_conn_open(struct pg_pool *pool,
                             const struct pg_pool_options *options,
                             struct loop *loop,
                             uint32_t number);
void pg_conn_close(struct pg_conn **conn); /* PG_DOWN only */
void pg_conn_start(struct pg_conn *conn);  /* DOWN or BACKOFF -> RESOLVING */
void pg_conn_move(struct pg_conn *conn, enum pg_state state);
/* The connection is unusable: answers what is owed and goes to BACKOFF, BROKEN or DOWN. May call
 * back. */
void pg_conn_lost(struct pg_conn *conn, const char *why);
/* The same on the next turn of the loop, for places where nobody may be called back. */
void pg_conn_doom(struct pg_conn *conn, const char *why);
/* Disconnects without a word: reconnects after a back-off, or stays down when the pool drains. */
void pg_conn_retire(struct pg_conn *conn);
/* Writes what libpq holds; asks for write events while some is left. False: the socket failed. */
bool pg_conn_push(struct pg_conn *conn);
/* Prepared and free. */
void pg_conn_become_idle(struct pg_conn *conn);
static inline enum pg_state pg_conn_state(const struct pg_conn *conn)
{
    return (enum pg_state)conn->sm.state;
}

/* --- pg_queue.c --- */
void pg_queue_clear(struct pg_conn *conn);
void pg_queue_add(
    struct pg_conn *conn, enum pg_item_kind kind, uint16_t table, uint16_t query, void *tag);
/* Queues a sync and sends everything. */
void pg_queue_send(struct pg_conn *conn);
/* Hands out every result that has arrived. The connection may be lost or given back meanwhile. */
void pg_queue_pump(struct pg_conn *conn);
/* Answers everything owed to the holder with PG_OUTCOME_LOST, then on_settled(lost). PG_BROKEN
 * only. */
void pg_queue_lose(struct pg_conn *conn);

/* --- pg_prepare.c --- */
void pg_prepare_start(struct pg_conn *conn);
void pg_prepare_result(struct pg_conn *conn, const struct pg_item *item, const PGresult *result);
void pg_prepare_synced(struct pg_conn *conn); /* a chunk is answered; may lose the connection */

/* --- pg_pool.c --- */
bool pg_pool_draining(const struct pg_pool *pool);
const char *pg_pool_dsn(const struct pg_pool *pool);
void pg_pool_count_statement(struct pg_pool *pool);
uint64_t *pg_pool_log_slot(struct pg_pool *pool, enum code code);
void pg_pool_on_prepared(struct pg_pool *pool);                   /* one more is ready */
void pg_pool_on_unready(struct pg_pool *pool, bool lost);         /* a ready one is gone */
void pg_pool_on_free(struct pg_pool *pool, struct pg_conn *conn); /* it became PG_IDLE */
void pg_pool_on_down(struct pg_pool *pool);
void pg_pool_on_fatal(struct pg_pool *pool, const struct err *err);
