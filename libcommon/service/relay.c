#include "libcommon/service/relay.h"

#include "avanta/service.pb-c.h"
#include "service_sql.gen.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/base/sm.h"
#include "libcommon/service/req_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>

#define OUTBOX_LOCK_KEY  INT64_C(0x6f7574626f78) /* "outbox" */
#define MESSAGE_ID_BYTES 96

_Static_assert(RELAY_ROWS_MAX < BUS_IN_FLIGHT_MAX, "a pass finds room for its publications");

enum relay_state {
    RELAY_IDLE,    /* the timer runs */
    RELAY_SELECT,  /* BEGIN and the page are under way */
    RELAY_PUBLISH, /* acknowledgements are awaited */
    RELAY_END,     /* DELETE and COMMIT are under way */
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
    struct pg_conn *conn;
    struct arena *arena; /* of one pass */
    struct pg_result *page;
    struct publication *publications;
    size_t publication_count;
    size_t pending; /* acknowledgements to come */
    size_t stored;
    uint64_t idle_ms;
    uint64_t lag_at_ms;
    uint64_t logged_ms;
    bool poked;  /* during a pass */
    bool failed; /* a statement of the pass failed */
    bool lost;
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

/* When to look again: at once while there is surely more, later and later while there is nothing.
 */
static uint64_t wait_ms(const struct relay *relay)
{
    uint64_t longer = relay->idle_ms * 2;

    if (relay->failed || relay->lost || (relay->stored == 0 && !relay->poked)) {
        longer = longer < RELAY_IDLE_FIRST_MS ? RELAY_IDLE_FIRST_MS : longer;
        return longer < RELAY_IDLE_CAP_MS ? longer : RELAY_IDLE_CAP_MS;
    }
    if (relay->drained != NULL || relay->stored >= RELAY_ROWS_MAX / 2) {
        return 0;
    }
    return relay->poked ? RELAY_LINGER_MS : RELAY_IDLE_FIRST_MS;
}

static void pass_end(struct relay *relay)
{
    const struct database *db = relay->options.database;

    db->clear(&relay->page);
    db->release(db->ctx, &relay->conn);
    arena_dispose(&relay->arena);
    sm_move(&relay->sm, RELAY_IDLE);
    if (relay->drained != NULL && (relay->stored == 0 || relay->lost)) {
        void (*done)(void *arg) = relay->drained;
        relay->drained = NULL;
        sm_move(&relay->sm, RELAY_STOPPED);
        done(relay->drained_arg);
        return;
    }
    relay->idle_ms = wait_ms(relay);
    loop_timer_start(relay->timer, relay->idle_ms, 0);
}

static enum code delete_queue(struct relay *relay, struct err *err)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxIds ids = AVANTA__SERVICE__OUTBOX_IDS__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_DELETE},
        &no_context, &ids.base, relay->arena
    };

    if (relay->stored == 0) {
        return OK;
    }
    ids.ids = arena_calloc(relay->arena, relay->stored, sizeof *ids.ids);
    if (ids.ids == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the outbox");
    }
    for (size_t i = 0; i < relay->publication_count; i++) {
        if (relay->publications[i].stored) {
            ids.ids[ids.n_ids++] = relay->publications[i].id;
        }
    }
    assert(ids.n_ids == relay->stored);
    return db->query(db->ctx, relay->conn, &call, &tags[TAG_COMMAND], err);
}

/* Deletes what the stream has and ends the transaction, and with it our turn. */
static void finish_transaction(struct relay *relay)
{
    const struct database *db = relay->options.database;
    struct err err = {0};
    enum code code = relay->lost ? ERR_UNAVAILABLE : delete_queue(relay, &err);

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

static void on_published(void *ctx, enum code code, struct str payload)
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
    char id[MESSAGE_ID_BYTES];
    struct buf text = buf_over(id, sizeof id);
    enum code code = db->row(db->ctx, &call, &message.base, err);

    if (code != OK) {
        return code;
    }
    buf_printf(&text, "%s-%lld", relay->options.service, (long long)message.id);
    if (!buf_terminate(&text)) {
        return err_set(err, ERR_INTERNAL, "the service's name is too long");
    }
    *publication = (struct publication){relay, message.id, false};
    return bus_stream_publish(relay->options.bus,
                              message.subject,
                              id,
                              (struct str){(const char *)message.body.data, message.body.len},
                              clock_mono_ms() + RELAY_PUBLISH_MS,
                              on_published,
                              publication,
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

static enum code page_queue(struct relay *relay, struct err *err)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxTurn turn = AVANTA__SERVICE__OUTBOX_TURN__INIT;
    Avanta__Service__OutboxCount count = AVANTA__SERVICE__OUTBOX_COUNT__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_SELECT},
        &no_context, &turn.base, relay->arena
    };
    uint64_t now = clock_mono_ms();
    enum code code = db->command(db->ctx, relay->conn, "BEGIN", &tags[TAG_COMMAND], err);

    /* A deletion that a crash of the server undoes only publishes rows again, under their old ids.
     */
    if (code == OK) {
        code = db->command(
            db->ctx, relay->conn, "SET LOCAL synchronous_commit = off", &tags[TAG_COMMAND], err);
    }

    turn.lock_key = OUTBOX_LOCK_KEY;
    turn.rows_max = RELAY_ROWS_MAX;
    turn.bytes_max = RELAY_BYTES_MAX;
    if (code == OK && bus_connected(relay->options.bus)) {
        code = db->query(db->ctx, relay->conn, &call, &tags[TAG_SELECT], err);
    }
    if (code == OK && now - relay->lag_at_ms >= RELAY_LAG_MS) {
        relay->lag_at_ms = now;
        count.rows_max = RELAY_LAG_ROWS_MAX;
        call.statement.query = Q_OUTBOX_LAG;
        call.in = &count.base;
        code = db->query(db->ctx, relay->conn, &call, &tags[TAG_LAG], err);
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
    relay->poked = false;
    relay->failed = false;
    relay->lost = false;
    sm_move(&relay->sm, RELAY_SELECT);
    if (page_queue(relay, &err) != OK) {
        log_failure(relay, "database", err.text);
        relay->lost = true;
        pass_end(relay);
    }
    return true;
}

static void on_timer(void *arg)
{
    struct relay *relay = arg;

    if (relay->sm.state == RELAY_IDLE && !pass_start(relay)) {
        loop_timer_start(relay->timer, RELAY_IDLE_CAP_MS, 0);
    }
}

void relay_poke(struct relay *relay)
{
    assert(relay != NULL);
    if (relay->sm.state == RELAY_IDLE && !relay->poked) {
        relay->poked = true; /* until the pass starts: one timer start per turn is enough */
        loop_timer_start(relay->timer, RELAY_LINGER_MS, 0);
    } else {
        relay->poked = true;
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
    if (!bus_connected(relay->options.bus) || !pass_start(relay)) {
        relay->drained = NULL;
        sm_move(&relay->sm, RELAY_STOPPED);
        done(arg);
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
    if (relay->timer == NULL) {
        free(relay);
        return err_set(err, ERR_OVERLOADED, "no memory for a timer");
    }
    loop_timer_start(relay->timer, RELAY_IDLE_FIRST_MS, 0);
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
    free(closing);
}
