/* What a holder sends and what comes back, in order. Items are counted from taking them to the NULL
 * that libpq gives after each result; a sync has no NULL. */
#include "libcommon/base/buf.h"
#include "libcommon/base/clock.h"
#include "libcommon/io/pg_conn.h"
#include "libcommon/io/pg_error.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 24

/* --- the ring of items --------------------------------------------------------- */

static struct pg_item *item_at(struct pg_conn *conn, uint32_t position)
{
    return &conn->items[position & (PG_ITEMS_MAX - 1)];
}

static uint32_t items_used(const struct pg_conn *conn)
{
    return conn->tail - conn->head;
}

void pg_queue_clear(struct pg_conn *conn)
{
    assert(conn->pq == NULL);
    conn->head = conn->tail;
    conn->flushed = conn->tail;
    conn->settle_due = false;
    conn->queued_bytes = 0;
}

void pg_queue_add(
    struct pg_conn *conn, enum pg_item_kind kind, uint16_t table, uint16_t query, void *tag)
{
    assert(items_used(conn) < PG_ITEMS_MAX);
    *item_at(conn, conn->tail) = (struct pg_item){tag, table, query, kind, false};
    conn->tail++;
}

static void pop_item(struct pg_conn *conn)
{
    assert(items_used(conn) > 0);
    conn->head++;
    if (conn->head == conn->tail) {
        conn->queued_bytes = 0;
    }
}

/* --- sending ------------------------------------------------------------------- */

static enum code broken(struct err *err)
{
    return err_set(err, ERR_UNAVAILABLE, "The database connection was lost");
}

static enum code admit(struct pg_conn *conn, size_t bytes, struct err *err)
{
    assert(pg_conn_state(conn) == PG_BUSY || pg_conn_state(conn) == PG_BROKEN);
    assert(conn->queued_bytes <= PG_QUEUED_BYTES_MAX);
    if (conn->pq == NULL || conn->doomed != NULL) {
        return broken(err);
    }
    if (items_used(conn) >= PG_ITEMS_MAX - PG_ITEMS_RESERVED ||
        bytes > PG_QUEUED_BYTES_MAX - conn->queued_bytes) {
        return err_set(err, ERR_OVERLOADED, "Too much is queued for one database connection");
    }
    conn->queued_bytes += bytes;
    return OK;
}

static size_t params_bytes(const struct pg_params *params)
{
    size_t bytes = 0;

    assert(params->count >= 0);
    for (int i = 0; i < params->count; i++) {
        if (params->values[i] == NULL) {
            continue;
        }
        bytes += params->formats[i] == 1 ? (size_t)params->lengths[i] : strlen(params->values[i]);
    }
    return bytes;
}

enum code pg_conn_query(struct pg_conn *conn,
                        uint16_t table,
                        uint16_t query,
                        const struct pg_params *params,
                        void *tag,
                        struct err *err)
{
    char name[NAME_BYTES];
    struct buf b = buf_over(name, sizeof(name));
    enum code code = OK;

    assert(conn != NULL);
    assert(params != NULL);
    assert(table < conn->options->table_count);
    assert(query < conn->options->tables[table].count);
    code = admit(conn, params_bytes(params), err);
    if (code != OK) {
        return code;
    }
    buf_char(&b, 't');
    buf_uint64(&b, table);
    buf_char(&b, 'q');
    buf_uint64(&b, query);
    (void)buf_terminate(&b);
    assert(!b.overflow);
    if (PQsendQueryPrepared(
            conn->pq, name, params->count, params->values, params->lengths, params->formats, 0) !=
        1) {
        pg_conn_doom(conn, "a statement cannot be sent");
        return broken(err);
    }
    pg_queue_add(conn, PG_ITEM_QUERY, table, query, tag);
    pg_pool_count_statement(conn->pool);
    return OK;
}

enum code pg_conn_command(struct pg_conn *conn, const char *sql, void *tag, struct err *err)
{
    enum code code = OK;

    assert(conn != NULL);
    assert(sql != NULL);
    code = admit(conn, strlen(sql), err);
    if (code != OK) {
        return code;
    }
    if (PQsendQueryParams(conn->pq, sql, 0, NULL, NULL, NULL, NULL, 0) != 1) {
        pg_conn_doom(conn, "a command cannot be sent");
        return broken(err);
    }
    pg_queue_add(conn, PG_ITEM_COMMAND, 0, 0, tag);
    pg_pool_count_statement(conn->pool);
    return OK;
}

static void add_sync(struct pg_conn *conn)
{
    assert(conn->pq != NULL);
    if (PQpipelineSync(conn->pq) == 1) {
        pg_queue_add(conn, PG_ITEM_SYNC, 0, 0, NULL);
    } else {
        pg_conn_doom(conn, "a sync cannot be sent");
    }
}

enum code pg_conn_sync(struct pg_conn *conn, struct err *err)
{
    enum code code = OK;

    assert(conn != NULL);
    code = admit(conn, 0, err);
    if (code == OK) {
        add_sync(conn);
    }
    return code;
}

/* Nothing is under way before this flush: the clock of the guard starts now. */
static void start_guard(struct pg_conn *conn)
{
    assert(conn->timer != NULL);
    conn->progress_ms = clock_mono_ms(); /* not the loop's time: it may be stale by a stall */
    conn->last_call = false;
    if (pg_conn_state(conn) == PG_BUSY && conn->doomed == NULL) {
        loop_timer_start(conn->timer, (uint64_t)conn->options->statement_ms_max + PG_GUARD_MS, 0);
    }
}

void pg_queue_send(struct pg_conn *conn)
{
    const bool quiet = !conn->settle_due;
    const bool ended = conn->tail != conn->flushed && conn->tail != conn->head &&
                       item_at(conn, conn->tail - 1)->kind == PG_ITEM_SYNC;

    assert(conn->pq != NULL);
    if (!ended) {
        add_sync(conn);
    }
    conn->flushed = conn->tail;
    conn->settle_due = true;
    if (quiet) {
        start_guard(conn);
    }
    if (!pg_conn_push(conn)) {
        pg_conn_doom(conn, "the socket failed while writing");
    }
}

enum code pg_conn_flush(struct pg_conn *conn, struct err *err)
{
    assert(conn != NULL);
    assert(pg_conn_state(conn) == PG_BUSY || pg_conn_state(conn) == PG_BROKEN);
    if (conn->pq == NULL) {
        return broken(err);
    }
    pg_queue_send(conn); /* a doomed connection answers all of it with "lost" on the next turn */
    return OK;
}

static void reset(struct pg_conn *conn)
{
    pg_conn_move(conn, PG_RESETTING);
    if (conn->doomed != NULL) {
        return;
    }
    if (items_used(conn) > 0 && item_at(conn, conn->tail - 1)->kind != PG_ITEM_SYNC) {
        add_sync(conn);
    }
    if (PQsendQueryParams(conn->pq, "ROLLBACK", 0, NULL, NULL, NULL, NULL, 0) != 1) {
        pg_conn_doom(conn, "ROLLBACK cannot be sent");
        return;
    }
    pg_queue_add(conn, PG_ITEM_ROLLBACK, 0, 0, NULL);
    pg_queue_send(conn);
}

void pg_conn_release(struct pg_conn **conn)
{
    struct pg_conn *released = NULL;

    assert(conn != NULL);
    released = *conn;
    assert(released != NULL);
    assert(pg_conn_state(released) == PG_BUSY || pg_conn_state(released) == PG_BROKEN);
    *conn = NULL;
    released->holder = (struct pg_holder){NULL, NULL, NULL};
    if (pg_conn_state(released) == PG_BROKEN || released->stale ||
        pg_pool_draining(released->pool)) {
        pg_conn_retire(released);
        return;
    }
    if (items_used(released) > 0 || released->doomed != NULL ||
        PQtransactionStatus(released->pq) != PQTRANS_IDLE) {
        reset(released);
        return;
    }
    pg_conn_become_idle(released);
}

/* --- answers ------------------------------------------------------------------- */

static bool is_owed(const struct pg_conn *conn, const struct pg_item *item)
{
    return conn->holder.on_answer != NULL && !item->answered &&
           (item->kind == PG_ITEM_QUERY || item->kind == PG_ITEM_COMMAND);
}

static void answer_lost(struct pg_conn *conn, const struct pg_item *item)
{
    struct pg_answer answer = {.outcome = PG_OUTCOME_LOST};

    assert(conn->holder.on_answer != NULL);
    (void)broken(&answer.err);
    conn->holder.on_answer(conn->holder.ctx, item->tag, &answer);
}

void pg_queue_lose(struct pg_conn *conn)
{
    assert(pg_conn_state(conn) == PG_BROKEN);
    /* Any of the callbacks may release, which clears holder and queue. */
    while (pg_conn_state(conn) == PG_BROKEN && items_used(conn) > 0) {
        const struct pg_item item = *item_at(conn, conn->head);
        pop_item(conn);
        if (is_owed(conn, &item)) {
            answer_lost(conn, &item);
        }
    }
    if (pg_conn_state(conn) == PG_BROKEN) {
        conn->settle_due = false;
        conn->holder.on_settled(conn->holder.ctx, true);
    }
}

static const char *item_name(const struct pg_conn *conn, const struct pg_item *item)
{
    return item->kind == PG_ITEM_QUERY
               ? conn->options->tables[item->table].queries[item->query].name
               : "command";
}

/* 0A000 "cached plan must not change result type" and 26000 "prepared statement does not exist". */
static bool needs_preparing(const struct pg_item *item, const char *sqlstate)
{
    assert(sqlstate != NULL);
    return item->kind == PG_ITEM_QUERY &&
           (strcmp(sqlstate, "0A000") == 0 || strcmp(sqlstate, "26000") == 0);
}

static void note_end(struct pg_conn *conn, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    (void)snprintf(
        conn->last_sqlstate, sizeof(conn->last_sqlstate), "%s", sqlstate == NULL ? "" : sqlstate);
}

static void fail_item(struct pg_conn *conn,
                      const struct pg_item *item,
                      const PGresult *result,
                      struct pg_answer *out)
{
    pg_error_answer(result, out);
    pg_error_log(result, out, item_name(conn, item), pg_pool_log_slot(conn->pool, out->err.code));
    conn->stale = conn->stale || needs_preparing(item, out->sqlstate);
}

/* Takes the result. False: the session is over, the item is still unanswered. */
static bool answer_item(struct pg_conn *conn, struct pg_item *item, PGresult *result)
{
    const ExecStatusType status = PQresultStatus(result);
    const bool owed = is_owed(conn, item);
    struct pg_answer answer = {.outcome = PG_OUTCOME_OK};

    assert(result != NULL);
    assert(!item->answered);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK || status == PGRES_EMPTY_QUERY) {
        answer.result = owed ? result : NULL;
    } else if (status == PGRES_PIPELINE_ABORTED) {
        answer.outcome = PG_OUTCOME_SKIPPED;
    } else if (status == PGRES_FATAL_ERROR && !pg_error_ends_session(result)) {
        fail_item(conn, item, result, &answer);
    } else {
        note_end(conn, result);
        PQclear(result); /* FATAL, or COPY, which no statement of ours may start */
        return false;
    }
    if (answer.result == NULL) {
        PQclear(result);
    }
    item->answered = true;
    if (owed) {
        conn->holder.on_answer(conn->holder.ctx, item->tag, &answer);
    }
    return true;
}

static void settle(struct pg_conn *conn)
{
    assert(conn->settle_due);
    conn->settle_due = false;
    if (conn->doomed == NULL && pg_conn_state(conn) == PG_BUSY) {
        loop_timer_stop(conn->timer);
    }
    switch (pg_conn_state(conn)) {
    case PG_PREPARING:
        pg_prepare_synced(conn);
        break;
    case PG_BUSY:
        conn->holder.on_settled(conn->holder.ctx, false);
        break;
    case PG_RESETTING:
        if (PQtransactionStatus(conn->pq) != PQTRANS_IDLE) {
            pg_conn_lost(conn, "a transaction could not be rolled back");
        } else if (conn->stale) {
            pg_conn_retire(conn);
        } else {
            pg_conn_become_idle(conn);
        }
        break;
    case PG_DOWN:
    case PG_RESOLVING:
    case PG_CONNECTING:
    case PG_SETTING:
    case PG_IDLE:
    case PG_BROKEN:
    case PG_BACKOFF:
    case PG_STATE_COUNT:
        assert(pg_conn_state(conn) == PG_BUSY); /* nothing else has anything queued */
    }
}

static void end_of_sync(struct pg_conn *conn)
{
    pop_item(conn);
    if (conn->settle_due && (int32_t)(conn->head - conn->flushed) >= 0) {
        settle(conn);
    }
}

/* One result for the oldest item. False: what came cannot be, or the session is over. */
static bool take_result(struct pg_conn *conn, PGresult *result)
{
    struct pg_item *item = item_at(conn, conn->head);
    const bool is_sync = result != NULL && PQresultStatus(result) == PGRES_PIPELINE_SYNC;

    assert(items_used(conn) > 0);
    if (is_sync != (item->kind == PG_ITEM_SYNC) || (result == NULL && !item->answered) ||
        (result != NULL && item->answered)) {
        PQclear(result);
        return false;
    }
    if (is_sync) {
        PQclear(result);
        end_of_sync(conn);
        return true;
    }
    if (result == NULL) {
        pop_item(conn);
        return true;
    }
    if (item->kind == PG_ITEM_PREPARE || item->kind == PG_ITEM_DESCRIBE) {
        pg_prepare_result(conn, item, result);
        PQclear(result);
        item->answered = true;
        return true;
    }
    return answer_item(conn, item, result);
}

void pg_queue_pump(struct pg_conn *conn)
{
    PGconn *pq = conn->pq;

    assert(pq != NULL);
    conn->progress_ms = clock_mono_ms();
    conn->last_call = false;
    /* PQisBusy() also reads notices while nothing is queued. */
    while (conn->pq == pq && PQisBusy(pq) == 0 && items_used(conn) > 0) {
        if (!take_result(conn, PQgetResult(pq))) {
            pg_conn_lost(conn, PQerrorMessage(pq));
            return;
        }
    }
}
