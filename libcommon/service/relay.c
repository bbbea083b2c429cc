#include "libcommon/service/relay.h"

#include "avanta/service.pb-c.h"
#include "service_sql.gen.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/base/pool.h"
#include "libcommon/base/sm.h"
#include "libcommon/service/req_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define OUTBOX_LOCK_KEY  INT64_C(0x6f7574626f78) /* "outbox" */
#define MESSAGE_ID_BYTES 96

_Static_assert(RELAY_ROWS_MAX + RELAY_OFFERED_MAX < BUS_IN_FLIGHT_MAX,
               "publications find room on the bus");

enum relay_state {
    RELAY_IDLE,    /* the timer runs */
    RELAY_SELECT,  /* BEGIN, DELETE and the page are under way */
    RELAY_PUBLISH, /* acknowledgements of the page are awaited */
    RELAY_END,     /* DELETE of the page and COMMIT are under way */
    RELAY_STOPPED,
    RELAY_STATE_COUNT
};

static const struct sm_row relay_states[RELAY_STATE_COUNT] = {
    [RELAY_IDLE] = {"idle",    0, MAY(RELAY_SELECT) | MAY(RELAY_STOPPED)               },
    [RELAY_SELECT] = {"select",  0, MAY(RELAY_PUBLISH) | MAY(RELAY_END) | MAY(RELAY_IDLE)},
    [RELAY_PUBLISH] = {"publish", 0, MAY(RELAY_END) | MAY(RELAY_IDLE)                     },
    [RELAY_END] = {"end",     0, MAY(RELAY_IDLE)                                      },
    [RELAY_STOPPED] = {"stopped", 0, 0                                                    },
};

/* One row on its way to the stream. */
struct publication {
    struct relay *relay;
    int64_t id;
    bool stored;
};

struct relay {
    struct relay_options options;
    struct sm sm;
    struct loop_timer *timer;

    /* Offered rows: of the pool while under way, then in the list until they are deleted. */
    struct pool *offered;
    int64_t *acked;
    size_t acked_count;

    /* The pass under way. */
    struct pg_conn *conn;
    struct arena *arena;
    struct pg_result *page;
    struct publication *publications;
    size_t publication_count;
    size_t pending;  /* acknowledgements to come */
    size_t stored;   /* of the page */
    size_t deleting; /* of the acked */
    bool swept;      /* the pass looks at the table */
    bool failed;     /* a statement of the pass failed */
    bool lost;

    bool behind; /* rows may wait that were not offered or not stored: nothing is offered before */
    bool missed; /* such came up during the pass */
    uint64_t retry_ms;
    uint64_t swept_ms; /* when the table was last looked at */
    uint64_t lag_at_ms;
    uint64_t logged_ms;
    void (*drained)(void *arg);
    void *drained_arg;
};

enum tag {
    TAG_COMMAND,
    TAG_SELECT,
    TAG_LAG
};
static enum tag tags[] = {TAG_COMMAND, TAG_SELECT, TAG_LAG};

static const struct pg_context no_context;

/* --- the end of a pass ------------------------------------------------------------------ */

static void log_failure(struct relay *relay, const char *what, const char *cause)
{
    if (log_rate_allows(&relay->logged_ms)) {
        log_event(LOG_WARN, "outbox_relay_failed", LOG_S("at", what), LOG_S("cause", cause));
    }
}

static bool is_empty(const struct relay *relay)
{
    return pool_used(relay->offered) == 0 && relay->acked_count == 0;
}

/* When the next pass is due: at once while there is surely more, later and later while it fails. */
static uint64_t wait_ms(struct relay *relay, bool worked)
{
    if (relay->failed || relay->lost) {
        relay->retry_ms = relay->retry_ms == 0 ? RELAY_RETRY_MS : relay->retry_ms * 2;
        relay->retry_ms = relay->retry_ms < RELAY_IDLE_MS ? relay->retry_ms : RELAY_IDLE_MS;
        return relay->retry_ms;
    }
    relay->retry_ms = 0;
    if (relay->behind) {
        return worked || relay->missed ? 0 : RELAY_IDLE_MS;
    }
    return relay->drained != NULL || relay->acked_count > 0 ? RELAY_DELETE_MS : RELAY_IDLE_MS;
}

static void stop(struct relay *relay)
{
    void (*done)(void *arg) = relay->drained;

    relay->drained = NULL;
    sm_move(&relay->sm, RELAY_STOPPED);
    done(relay->drained_arg);
}

static void pass_end(struct relay *relay)
{
    const struct database *db = relay->options.database;
    const bool good = !relay->lost && !relay->failed;
    const bool worked = relay->stored > 0;
    const size_t found = relay->page == NULL ? 0 : db->rows(relay->page);

    if (good) {
        relay->acked_count -= relay->deleting;
        memmove(relay->acked,
                relay->acked + relay->deleting,
                relay->acked_count * sizeof *relay->acked);
        relay->behind = relay->missed || found > 0 || (relay->behind && !relay->swept);
    }
    db->clear(&relay->page);
    db->release(db->ctx, &relay->conn);
    arena_dispose(&relay->arena);
    sm_move(&relay->sm, RELAY_IDLE);
    if (relay->drained != NULL && pool_used(relay->offered) == 0 &&
        (relay->lost || (!worked && is_empty(relay)))) {
        stop(relay);
        return;
    }
    loop_timer_start(relay->timer, wait_ms(relay, worked), 0);
}

static enum code
delete_queue(struct relay *relay, const int64_t *ids, size_t count, struct err *err)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxIds message = AVANTA__SERVICE__OUTBOX_IDS__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_DELETE},
        &no_context, &message.base, relay->arena
    };

    if (count == 0) {
        return OK;
    }
    message.ids = arena_calloc(relay->arena, count, sizeof *message.ids);
    if (message.ids == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    memcpy(message.ids, ids, count * sizeof *ids);
    message.n_ids = count;
    return db->query(db->ctx, relay->conn, &call, &tags[TAG_COMMAND], err);
}

static enum code page_delete(struct relay *relay, struct err *err)
{
    int64_t *ids = NULL;
    size_t count = 0;

    if (relay->stored == 0) {
        return OK;
    }
    ids = arena_calloc(relay->arena, relay->stored, sizeof *ids);
    if (ids == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    for (size_t i = 0; i < relay->publication_count; i++) {
        if (relay->publications[i].stored) {
            ids[count++] = relay->publications[i].id;
        }
    }
    assert(count == relay->stored);
    return delete_queue(relay, ids, count, err);
}

/* Deletes what the stream has and ends the transaction, and with it our turn. */
static void finish_transaction(struct relay *relay)
{
    const struct database *db = relay->options.database;
    struct err err = {0};
    enum code code = relay->lost ? ERR_UNAVAILABLE : page_delete(relay, &err);

    if (code == OK) {
        code = db->command(
            db->ctx, relay->conn, relay->failed ? "ROLLBACK" : "COMMIT", &tags[TAG_COMMAND], &err);
    }
    if (code == OK) {
        code = db->flush(db->ctx, relay->conn, &err);
    }
    if (code == OK) {
        sm_move(&relay->sm, RELAY_END);
        return;
    }
    relay->lost = true;
    pass_end(relay);
}

/* --- publishing --------------------------------------------------------------------------- */

static enum code publish(struct relay *relay,
                         struct publication *publication,
                         const char *subject,
                         struct str body,
                         bus_call_done done,
                         struct err *err)
{
    char id[MESSAGE_ID_BYTES];
    struct buf text = buf_over(id, sizeof id);

    buf_printf(&text, "%s-%lld", relay->options.service, (long long)publication->id);
    if (!buf_terminate(&text)) {
        return err_set(err, ERR_INTERNAL, "the service's name is too long");
    }
    return bus_stream_publish(relay->options.bus,
                              subject,
                              id,
                              body,
                              clock_mono_ms() + RELAY_PUBLISH_MS,
                              done,
                              publication,
                              err);
}

static void on_page_published(void *ctx, enum code code, struct str payload)
{
    struct publication *publication = ctx;
    struct relay *relay = publication->relay;

    (void)payload;
    assert(relay->sm.state == RELAY_PUBLISH);
    assert(relay->pending > 0);
    relay->pending--;
    if (code == OK) {
        publication->stored = true;
        relay->stored++;
        metric_add(relay->options.metrics, METRIC_OUTBOX_PUBLISHED, 0, 1);
    } else {
        log_failure(relay, "publish", code_wire(code));
    }
    if (relay->pending == 0) {
        finish_transaction(relay);
    }
}

static enum code publish_row(struct relay *relay, size_t row, struct err *err)
{
    const struct database *db = relay->options.database;
    struct publication *publication = &relay->publications[row];
    Avanta__Service__OutboxRow message = AVANTA__SERVICE__OUTBOX_ROW__INIT;
    struct row_call call = {
        {TABLE_SKELETON, Q_OUTBOX_SELECT},
        relay->page, row, relay->arena
    };
    enum code code = db->row(db->ctx, &call, &message.base, err);

    if (code != OK) {
        return code;
    }
    *publication = (struct publication){relay, message.id, false};
    return publish(relay,
                   publication,
                   message.subject,
                   (struct str){(const char *)message.body.data, message.body.len},
                   on_page_published,
                   err);
}

static void publish_page(struct relay *relay)
{
    size_t count = relay->options.database->rows(relay->page);
    struct err err = {0};

    sm_move(&relay->sm, RELAY_PUBLISH);
    relay->publications = arena_calloc(relay->arena, count, sizeof *relay->publications);
    relay->publication_count = relay->publications == NULL ? 0 : count;
    for (size_t i = 0; i < relay->publication_count; i++) {
        if (publish_row(relay, i, &err) != OK) {
            log_failure(relay, "publish", err.text);
            break; /* what comes later in order waits too */
        }
        relay->pending++;
    }
    if (relay->pending == 0) {
        finish_transaction(relay);
    }
}

/* --- the database's answers ------------------------------------------------------------------- */

static void note_lag(struct relay *relay, const struct pg_result *result)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxLag lag = AVANTA__SERVICE__OUTBOX_LAG__INIT;
    struct row_call call = {
        {TABLE_SKELETON, Q_OUTBOX_LAG},
        result, 0, relay->arena
    };
    struct err err = {0};

    if (db->rows(result) == 1 && db->row(db->ctx, &call, &lag.base, &err) == OK) {
        metric_set(relay->options.metrics, METRIC_OUTBOX_WAITING, 0, lag.waiting);
        metric_set(relay->options.metrics, METRIC_OUTBOX_AGE_MS, 0, lag.age_ms);
    }
}

static void on_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    struct relay *relay = ctx;
    enum tag what = *(const enum tag *)tag;

    if (answer->outcome == PG_OUTCOME_FAILED) {
        relay->failed = true;
        log_failure(relay, "database", answer->err.text);
    }
    if (answer->outcome == PG_OUTCOME_OK && what == TAG_SELECT) {
        relay->page = answer->result;
        answer->result = NULL;
        return;
    }
    if (answer->outcome == PG_OUTCOME_OK && what == TAG_LAG) {
        note_lag(relay, answer->result);
    }
    relay->options.database->clear(&answer->result);
}

static void on_settled(void *ctx, bool lost)
{
    struct relay *relay = ctx;

    relay->lost = relay->lost || lost;
    switch (relay->sm.state) {
    case RELAY_SELECT:
        if (!relay->lost && !relay->failed && relay->page != NULL &&
            relay->options.database->rows(relay->page) > 0) {
            publish_page(relay);
        } else {
            finish_transaction(relay);
        }
        break;
    case RELAY_END:
        pass_end(relay);
        break;
    default:
        break; /* lost while acknowledgements are awaited: seen when they are in */
    }
}

/* --- the start of a pass ------------------------------------------------------------------------
 */

static enum code select_queue(struct relay *relay, struct err *err)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxTurn turn = AVANTA__SERVICE__OUTBOX_TURN__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_SELECT},
        &no_context, &turn.base, relay->arena
    };
    const struct publication *publication = NULL;
    uint32_t slot = 0;

    turn.lock_key = OUTBOX_LOCK_KEY;
    turn.rows_max = RELAY_ROWS_MAX;
    turn.bytes_max = RELAY_BYTES_MAX;
    turn.age_ms = relay->behind ? 0 : RELAY_YOUNG_MS;
    turn.busy = arena_calloc(relay->arena, pool_count(relay->offered), sizeof *turn.busy);
    if (turn.busy == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    while ((publication = pool_next(relay->offered, &slot)) != NULL) {
        turn.busy[turn.n_busy++] = publication->id;
    }
    return db->query(db->ctx, relay->conn, &call, &tags[TAG_SELECT], err);
}

static enum code lag_queue(struct relay *relay, struct err *err)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxCount count = AVANTA__SERVICE__OUTBOX_COUNT__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_LAG},
        &no_context, &count.base, relay->arena
    };

    count.rows_max = RELAY_LAG_ROWS_MAX;
    return db->query(db->ctx, relay->conn, &call, &tags[TAG_LAG], err);
}

static enum code pass_queue(struct relay *relay, struct err *err)
{
    const struct database *db = relay->options.database;
    const uint64_t now = clock_mono_ms();
    enum code code = db->command(db->ctx, relay->conn, "BEGIN", &tags[TAG_COMMAND], err);

    /* A deletion that a crash of the server undoes only publishes rows again, under their old ids.
     */
    if (code == OK) {
        code = db->command(
            db->ctx, relay->conn, "SET LOCAL synchronous_commit = off", &tags[TAG_COMMAND], err);
    }
    if (code == OK) {
        relay->deleting = relay->acked_count;
        code = delete_queue(relay, relay->acked, relay->deleting, err);
    }
    if (code == OK && bus_connected(relay->options.bus) &&
        (relay->behind || now - relay->swept_ms >= RELAY_IDLE_MS)) {
        relay->swept_ms = now;
        relay->swept = true;
        code = select_queue(relay, err);
    }
    if (code == OK && now - relay->lag_at_ms >= RELAY_LAG_MS) {
        relay->lag_at_ms = now;
        code = lag_queue(relay, err);
    }
    return code == OK ? db->flush(db->ctx, relay->conn, err) : code;
}

/* False: there is no connection or no memory just now. */
static bool pass_start(struct relay *relay)
{
    const struct database *db = relay->options.database;
    struct pg_holder holder = {on_answer, on_settled, relay};
    struct err err = {0};

    assert(relay->sm.state == RELAY_IDLE);
    relay->conn = db->take(db->ctx, &holder);
    if (relay->conn == NULL) {
        return false;
    }
    relay->arena = arena_open(relay->options.arenas, REQ_ARENA_BYTES_MAX);
    if (relay->arena == NULL) {
        db->release(db->ctx, &relay->conn);
        return false;
    }
    relay->publication_count = 0;
    relay->stored = 0;
    relay->deleting = 0;
    relay->missed = false;
    relay->swept = false;
    relay->failed = false;
    relay->lost = false;
    sm_move(&relay->sm, RELAY_SELECT);
    if (pass_queue(relay, &err) != OK) {
        log_failure(relay, "database", err.text);
        relay->lost = true;
        pass_end(relay);
    }
    return true;
}

/* A pass, or the end when none can be and nothing is under way. */
static void go_on(struct relay *relay)
{
    assert(relay->sm.state == RELAY_IDLE);
    if (pass_start(relay)) {
        return;
    }
    if (relay->drained != NULL && pool_used(relay->offered) == 0) {
        stop(relay);
    } else {
        loop_timer_start(relay->timer, RELAY_IDLE_MS, 0);
    }
}

static void on_timer(void *arg)
{
    struct relay *relay = arg;

    if (relay->sm.state == RELAY_IDLE) {
        go_on(relay);
    }
}

/* --- offers ------------------------------------------------------------------------------- */

/* Rows wait in the table that only a pass will find. */
static void fall_behind(struct relay *relay)
{
    const bool first = !relay->behind;

    relay->behind = true;
    relay->missed = true;
    if (first && relay->sm.state == RELAY_IDLE) {
        loop_timer_start(relay->timer, 0, 0);
    }
}

static void on_offer_published(void *ctx, enum code code, struct str payload)
{
    struct publication *publication = ctx;
    struct relay *relay = publication->relay;

    (void)payload;
    if (code == OK) {
        assert(relay->acked_count < RELAY_OFFERED_MAX);
        relay->acked[relay->acked_count++] = publication->id;
        metric_add(relay->options.metrics, METRIC_OUTBOX_PUBLISHED, 0, 1);
    } else {
        log_failure(relay, "publish", code_wire(code));
        fall_behind(relay);
    }
    pool_give(relay->offered, publication);
    if (relay->sm.state == RELAY_IDLE && relay->acked_count == 1 && !relay->behind) {
        loop_timer_start(relay->timer, RELAY_DELETE_MS, 0);
    }
}

static enum code offer_row(struct relay *relay, const struct outbox_rows *rows, size_t i)
{
    struct publication *publication = pool_take(relay->offered, NULL);
    struct err err = {0};
    enum code code = ERR_OVERLOADED;

    assert(publication != NULL);
    *publication = (struct publication){relay, rows->ids[i], false};
    code = publish(relay,
                   publication,
                   rows->subjects[i],
                   (struct str){(const char *)rows->bodies[i].data, rows->bodies[i].len},
                   on_offer_published,
                   &err);
    if (code != OK) {
        log_failure(relay, "publish", err.text);
        pool_give(relay->offered, publication);
    }
    return code;
}

void relay_offer(struct relay *relay, const struct outbox_rows *rows)
{
    const size_t room = RELAY_OFFERED_MAX - pool_used(relay->offered) - relay->acked_count;

    if (!rows->numbered || relay->behind || rows->count > room ||
        !bus_connected(relay->options.bus)) {
        fall_behind(relay);
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (offer_row(relay, rows, i) != OK) {
            fall_behind(relay);
            return;
        }
    }
}

void relay_drain(struct relay *relay, void (*done)(void *arg), void *arg)
{
    assert(done != NULL);
    relay->drained = done;
    relay->drained_arg = arg;
    if (relay->sm.state != RELAY_IDLE) {
        return; /* the pass under way ends it, or another if there is more */
    }
    loop_timer_stop(relay->timer);
    relay->behind = true;
    if (bus_connected(relay->options.bus)) {
        go_on(relay);
    } else {
        assert(pool_used(relay->offered) == 0); /* they ended with the connection */
        stop(relay);
    }
}

enum code relay_open(const struct relay_options *options, struct relay **out, struct err *err)
{
    struct relay *relay = calloc(1, sizeof *relay);

    assert(options->service != NULL);
    if (relay == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the outbox relay");
    }
    relay->options = *options;
    sm_init(&relay->sm, "relay", relay_states, RELAY_STATE_COUNT, RELAY_IDLE);
    relay->timer = loop_timer_open(options->loop, on_timer, relay);
    relay->offered = pool_open(sizeof(struct publication), RELAY_OFFERED_MAX);
    relay->acked = calloc(RELAY_OFFERED_MAX, sizeof *relay->acked);
    if (relay->timer == NULL || relay->offered == NULL || relay->acked == NULL) {
        relay_close(&relay);
        return err_set(err, ERR_OVERLOADED, "no memory for the outbox relay");
    }
    relay->behind = true; /* until a look at the table says otherwise */
    loop_timer_start(relay->timer, RELAY_RETRY_MS, 0);
    *out = relay;
    return OK;
}

void relay_close(struct relay **relay)
{
    struct relay *closing = *relay;

    *relay = NULL;
    if (closing == NULL) {
        return;
    }
    assert(closing->conn == NULL);
    loop_timer_close(&closing->timer);
    pool_close(&closing->offered);
    free(closing->acked);
    free(closing);
}
