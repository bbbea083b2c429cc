/* The life of one connection: who may follow whom, and what leads from one to the next. */
#include "libcommon/io/pg_conn.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/io/pg_watch.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_BYTES_MAX 512
#define REASON_BYTES_MAX   160

/* PG_BUSY has no fixed end here: its guard is statement_ms_max and starts with every flush. */
/* clang-format off */
static const struct sm_row pg_rows[PG_STATE_COUNT] = {
    [PG_DOWN]       = {"down",       0,                 MAY(PG_RESOLVING)},
    [PG_RESOLVING]  = {"resolving",  0,                 MAY(PG_CONNECTING) | MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_CONNECTING] = {"connecting", PG_CONNECT_MS_MAX, MAY(PG_SETTING) | MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_SETTING]    = {"setting",    PG_CONNECT_MS_MAX, MAY(PG_PREPARING) | MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_PREPARING]  = {"preparing",  PG_PREPARE_MS_MAX, MAY(PG_IDLE) | MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_IDLE]       = {"idle",       0,                 MAY(PG_BUSY) | MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_BUSY]       = {"busy",       0,                 MAY(PG_IDLE) | MAY(PG_RESETTING) | MAY(PG_BROKEN) |
                                                        MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_RESETTING]  = {"resetting",  PG_RESET_MS_MAX,   MAY(PG_IDLE) | MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_BROKEN]     = {"broken",     0,                 MAY(PG_BACKOFF) | MAY(PG_DOWN)},
    [PG_BACKOFF]    = {"backoff",    0,                 MAY(PG_RESOLVING) | MAY(PG_DOWN)},
};
/* clang-format on */

void pg_conn_move(struct pg_conn *conn, enum pg_state state)
{
    sm_move(&conn->sm, (int)state);
    if (conn->doomed != NULL) {
        return; /* the timer is about to lose the connection */
    }
    if (pg_rows[state].timeout_ms > 0) {
        loop_timer_start(conn->timer, pg_rows[state].timeout_ms, 0);
    } else {
        loop_timer_stop(conn->timer);
    }
}

static void conn_on_io(void *arg, bool failed, unsigned events);

bool pg_conn_push(struct pg_conn *conn)
{
    int left = 0;

    assert(conn->pq != NULL);
    left = PQflush(conn->pq);
    if (left < 0) {
        return false;
    }
    pg_watch_want(conn->watch, left > 0 ? PG_WATCH_READ | PG_WATCH_WRITE : PG_WATCH_READ);
    return true;
}

/* --- losing and closing -------------------------------------------------------- */

static void disconnect(struct pg_conn *conn)
{
    pg_watch_close(&conn->watch); /* before libpq closes the descriptor */
    PQfinish(conn->pq);
    conn->pq = NULL;
    conn->doomed = NULL;
    conn->stale = false;
}

static bool is_ready(enum pg_state state)
{
    return state == PG_IDLE || state == PG_BUSY || state == PG_RESETTING;
}

/* Where a connection without a session goes. */
static void rest(struct pg_conn *conn)
{
    assert(conn->pq == NULL);
    pg_queue_clear(conn);
    if (pg_pool_draining(conn->pool)) {
        pg_conn_move(conn, PG_DOWN);
        pg_pool_on_down(conn->pool);
        return;
    }
    pg_conn_move(conn, PG_BACKOFF);
    loop_timer_start(conn->timer, backoff_next_ms(&conn->backoff), 0);
}

void pg_conn_retire(struct pg_conn *conn)
{
    const bool was_ready = is_ready(pg_conn_state(conn));

    list_remove(&conn->idle);
    disconnect(conn);
    rest(conn);
    if (was_ready) {
        pg_pool_on_unready(conn->pool, false);
    }
}

/* libpq ends its texts with a newline and may give several lines. */
static void first_line(const char *text, char out[REASON_BYTES_MAX])
{
    const int len = (int)strcspn(text, "\n");

    (void)snprintf(out, REASON_BYTES_MAX, "%.*s", len, text);
}

static void log_lost(struct pg_conn *conn, const char *why)
{
    char reason[REASON_BYTES_MAX];

    first_line(why, reason);
    if (!is_ready(pg_conn_state(conn)) &&
        !log_rate_allows(pg_pool_log_slot(conn->pool, ERR_UNAVAILABLE))) {
        return; /* a server that stays away fails every connection again and again */
    }
    log_event(LOG_WARN,
              "pg_lost",
              LOG_U("connection", conn->number),
              LOG_S("state", sm_name(&conn->sm)),
              LOG_S("sqlstate", conn->last_sqlstate),
              LOG_S("reason", reason));
}

void pg_conn_lost(struct pg_conn *conn, const char *why)
{
    const enum pg_state state = pg_conn_state(conn);

    assert(why != NULL);
    assert(state != PG_DOWN);
    assert(state != PG_BROKEN);
    log_lost(conn, why);
    list_remove(&conn->idle);
    disconnect(conn);
    if (state != PG_BUSY) {
        rest(conn);
    } else {
        pg_conn_move(conn, PG_BROKEN);
    }
    if (is_ready(state)) {
        pg_pool_on_unready(conn->pool, true);
    }
    if (state == PG_BUSY) {
        pg_queue_lose(conn);
    }
}

void pg_conn_doom(struct pg_conn *conn, const char *why)
{
    assert(conn->pq != NULL);
    assert(why != NULL);
    if (conn->doomed == NULL) {
        conn->doomed = why;
        loop_timer_start(conn->timer, 0, 0);
    }
}

/* --- connecting ---------------------------------------------------------------- */

/* The socket may be another one after every step of connecting (next address, TLS refused). */
static bool watch_follow(struct pg_conn *conn, unsigned events)
{
    const int fd = PQsocket(conn->pq);

    if (fd < 0) {
        return false;
    }
    if (conn->watch != NULL && pg_watch_fd(conn->watch) != fd) {
        pg_watch_close(&conn->watch);
    }
    if (conn->watch == NULL) {
        conn->watch = pg_watch_open(conn->loop, fd, conn_on_io, conn);
    }
    if (conn->watch == NULL) {
        return false;
    }
    pg_watch_want(conn->watch, events);
    return true;
}

/* Runs on libuv's thread pool: looking up a host name may take seconds. Nobody else touches the
 * connection in PG_RESOLVING, and the DSN does not change. */
static void resolve_work(void *arg)
{
    struct pg_conn *conn = arg;
    /* Settings before dbname yield to the DSN, those after it do not. */
    const char *const keywords[] = {"keepalives_idle",
                                    "keepalives_interval",
                                    "keepalives_count",
                                    "dbname",
                                    "application_name",
                                    "client_encoding",
                                    NULL};
    const char *const values[] = {
        "30", "10", "3", pg_pool_dsn(conn->pool), conn->options->application_name, "UTF8", NULL};

    conn->starting = PQconnectStartParams(keywords, values, 1);
}

/* What the server says outside of any statement: only the reason of a session's end matters. */
static void on_notice(void *arg, const PGresult *result)
{
    struct pg_conn *conn = arg;
    const char *severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);

    if (severity != NULL && sqlstate != NULL &&
        (strcmp(severity, "FATAL") == 0 || strcmp(severity, "PANIC") == 0)) {
        (void)snprintf(conn->last_sqlstate, sizeof(conn->last_sqlstate), "%s", sqlstate);
    }
}

static void resolve_done(void *arg)
{
    struct pg_conn *conn = arg;

    assert(pg_conn_state(conn) == PG_RESOLVING);
    assert(conn->pq == NULL);
    conn->pq = conn->starting;
    conn->starting = NULL;
    if (pg_pool_draining(conn->pool)) {
        pg_conn_retire(conn);
        return;
    }
    if (conn->pq == NULL) {
        pg_conn_lost(conn, "out of memory");
        return;
    }
    (void)PQsetNoticeReceiver(conn->pq, on_notice, conn);
    if (PQstatus(conn->pq) == CONNECTION_BAD) {
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
        return;
    }
    pg_conn_move(conn, PG_CONNECTING);
    /* As if PQconnectPoll() had asked for it (manual of libpq, 34.1). */
    if (!watch_follow(conn, PG_WATCH_WRITE)) {
        pg_conn_lost(conn, "the socket cannot be watched");
    }
}

void pg_conn_start(struct pg_conn *conn)
{
    struct err err = {.code = OK};

    assert(conn->pq == NULL);
    assert(conn->starting == NULL);
    conn->last_sqlstate[0] = '\0';
    pg_conn_move(conn, PG_RESOLVING);
    if (loop_work(conn->loop, resolve_work, resolve_done, conn, &err) != OK) {
        pg_conn_lost(conn, err.text);
    }
}

static void send_settings(struct pg_conn *conn)
{
    char sql[SETTINGS_BYTES_MAX];
    const int len = snprintf(sql,
                             sizeof(sql),
                             "SET timezone = 'UTC'; SET datestyle = 'ISO, YMD';"
                             "SET intervalstyle = 'postgres'; SET bytea_output = 'hex';"
                             "SET standard_conforming_strings = on; SET synchronous_commit = on;"
                             "SET client_min_messages = warning; SET statement_timeout = %" PRIu32
                             "; SET idle_in_transaction_session_timeout = %d",
                             conn->options->statement_ms_max,
                             PG_IDLE_TRANSACTION_MS);

    assert(len > 0);
    assert((size_t)len < sizeof(sql));
    pg_conn_move(conn, PG_SETTING);
    if (PQsetnonblocking(conn->pq, 1) != 0 || PQsendQuery(conn->pq, sql) != 1 ||
        !pg_conn_push(conn)) {
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
    }
}

static void step_connect(struct pg_conn *conn)
{
    PostgresPollingStatusType next = PGRES_POLLING_FAILED;
    bool watched = true;

    pg_watch_pause(conn->watch);
    next = PQconnectPoll(conn->pq);
    if (next == PGRES_POLLING_READING) {
        watched = watch_follow(conn, PG_WATCH_READ);
    } else if (next == PGRES_POLLING_WRITING) {
        watched = watch_follow(conn, PG_WATCH_WRITE);
    } else if (next == PGRES_POLLING_OK) {
        watched = watch_follow(conn, PG_WATCH_READ);
        if (watched) {
            send_settings(conn);
        }
    } else {
        pg_conn_lost(conn, PQerrorMessage(conn->pq));
    }
    if (!watched) {
        pg_conn_lost(conn, "the socket cannot be watched");
    }
}

/* Results of the settings: one per SET, then NULL. */
static void step_settings(struct pg_conn *conn)
{
    while (!PQisBusy(conn->pq)) {
        PGresult *result = PQgetResult(conn->pq);
        const bool good = result == NULL || PQresultStatus(result) == PGRES_COMMAND_OK;

        PQclear(result);
        if (!good) {
            pg_conn_lost(conn, PQerrorMessage(conn->pq));
            return;
        }
        if (result == NULL) {
            pg_conn_move(conn, PG_PREPARING);
            pg_prepare_start(conn);
            return;
        }
    }
}

void pg_conn_become_idle(struct pg_conn *conn)
{
    const bool first = pg_conn_state(conn) == PG_PREPARING;

    assert(conn->head == conn->tail);
    pg_conn_move(conn, PG_IDLE);
    if (first) {
        backoff_reset(&conn->backoff);
        log_event(LOG_INFO, "pg_ready", LOG_U("connection", conn->number));
        pg_pool_on_prepared(conn->pool);
    }
    if (pg_conn_state(conn) == PG_IDLE) { /* on_ready may have started to drain */
        pg_pool_on_free(conn->pool, conn);
    }
}

/* --- events -------------------------------------------------------------------- */

/* False when the session is over. With TLS a second call takes what of one record did not fit. */
static bool consume(struct pg_conn *conn)
{
    if (PQconsumeInput(conn->pq) != 1) {
        return false;
    }
    return PQsslInUse(conn->pq) == 0 || PQconsumeInput(conn->pq) == 1;
}

static void conn_on_io(void *arg, bool failed, unsigned events)
{
    struct pg_conn *conn = arg;
    PGconn *pq = conn->pq;
    bool alive = !failed;

    assert(pq != NULL);
    if (pg_conn_state(conn) == PG_CONNECTING) {
        step_connect(conn); /* libpq finds the error itself and tries the next address */
        return;
    }
    if (alive && (events & PG_WATCH_WRITE) != 0) {
        alive = pg_conn_push(conn);
    }
    /* What arrived before the end is still good: read first, judge afterwards. */
    alive = consume(conn) && alive;
    if (pg_conn_state(conn) == PG_SETTING) {
        step_settings(conn);
    } else {
        pg_queue_pump(conn);
    }
    if (conn->pq == pq && conn->pq != NULL && (!alive || PQstatus(pq) == CONNECTION_BAD)) {
        pg_conn_lost(conn, PQerrorMessage(pq));
    }
}

/* A busy connection is given up when nothing came for longer than the server itself would wait.
 * Timers run before sockets are read: after a stall of our own the answer may be there, so one more
 * turn is given. */
static void check_guard(struct pg_conn *conn)
{
    const uint64_t limit_ms = (uint64_t)conn->options->statement_ms_max + PG_GUARD_MS;
    const uint64_t quiet_ms = clock_mono_ms() - conn->progress_ms;

    if (!conn->settle_due) {
        return;
    }
    if (quiet_ms < limit_ms) {
        loop_timer_start(conn->timer, limit_ms - quiet_ms, 0);
    } else if (!conn->last_call) {
        conn->last_call = true;
        loop_timer_start(conn->timer, PG_LAST_CALL_MS, 0);
    } else {
        pg_conn_lost(conn, "no answer within the statement timeout");
    }
}

static void conn_on_timer(void *arg)
{
    struct pg_conn *conn = arg;
    const enum pg_state state = pg_conn_state(conn);

    if (conn->doomed != NULL) {
        pg_conn_lost(conn, conn->doomed);
    } else if (state == PG_BACKOFF) {
        pg_conn_start(conn);
    } else if (state == PG_BUSY) {
        check_guard(conn);
    } else {
        assert(pg_rows[state].timeout_ms > 0);
        pg_conn_lost(conn, "timed out");
    }
}

/* --- memory -------------------------------------------------------------------- */

struct pg_conn *pg_conn_open(struct pg_pool *pool,
                             const struct pg_pool_options *options,
                             struct loop *loop,
                             uint32_t number)
{
    struct pg_conn *conn = calloc(1, sizeof(*conn));

    assert(pool != NULL);
    assert(options != NULL);
    if (conn == NULL) {
        return NULL;
    }
    conn->pool = pool;
    conn->options = options;
    conn->loop = loop;
    conn->number = number;
    conn->backoff = (struct backoff){PG_BACKOFF_FIRST_MS, PG_BACKOFF_CAP_MS, 0};
    list_init(&conn->idle);
    sm_init(&conn->sm, "pg_conn", pg_rows, PG_STATE_COUNT, PG_DOWN);
    conn->items = calloc(PG_ITEMS_MAX, sizeof(*conn->items));
    conn->timer = loop_timer_open(loop, conn_on_timer, conn);
    if (conn->items == NULL || conn->timer == NULL) {
        pg_conn_close(&conn);
    }
    return conn;
}

void pg_conn_close(struct pg_conn **conn)
{
    struct pg_conn *closing = NULL;

    assert(conn != NULL);
    closing = *conn;
    *conn = NULL;
    if (closing == NULL) {
        return;
    }
    assert(pg_conn_state(closing) == PG_DOWN);
    assert(closing->pq == NULL);
    loop_timer_close(&closing->timer);
    free(closing->items);
    free(closing);
}
