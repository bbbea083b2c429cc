/* One look at the table: a transaction that deletes what is stored, publishes what was not offered,
 * and deletes that too. */
#include "avanta/service.pb-c.h"
#include "service_sql.gen.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/service/relay_internal.h"
#include "libcommon/service/req_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <string.h>

enum tag {
    TAG_COMMAND,
    TAG_LOCK,
    TAG_SELECT,
    TAG_LAG
};
static enum tag tags[] = {TAG_COMMAND, TAG_LOCK, TAG_SELECT, TAG_LAG};

static const struct pg_context no_context;

/* --- the end of a pass ------------------------------------------------------------------ */

static void pass_end(struct relay *relay)
{
    const struct database *db = relay->options.database;
    const bool good = !relay->lost && !relay->failed;
    const bool worked = relay->stored > 0;

    if (good) {
        relay->acked_count -= relay->deleting;
        memmove(relay->acked,
                relay->acked + relay->deleting,
                relay->acked_count * sizeof *relay->acked);
    }
    relay->held = (struct outbox_rows){0};
    db->clear(&relay->page);
    db->release(db->ctx, &relay->conn);
    arena_dispose(&relay->arena);
    sm_move(&relay->sm, RELAY_IDLE);
    relay_pass_ended(relay, worked);
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
            ids[count++] = relay->publications[i].number.id;
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
        relay->refused++;
        assert(relay->refused + relay->stored <= relay->publication_count);
        relay_refused(relay, code);
        relay_fall_behind(relay);
    }
    if (relay->pending == 0) {
        finish_transaction(relay);
    }
}

/* No server will ever take it. */
static bool is_unfit(struct relay *relay, enum code code, const struct err *err)
{
    if (code != ERR_TOO_LARGE && code != ERR_INVALID) {
        return false;
    }
    relay_log_failure(relay, "row", err->text);
    return true;
}

/* OK also when the row is left where it is, for a human: what comes later does not wait for it. */
static enum code publish_row(struct relay *relay, size_t row, size_t *bytes, struct err *err)
{
    const struct database *db = relay->options.database;
    struct publication *publication = &relay->publications[row];
    Avanta__Service__OutboxRow message = AVANTA__SERVICE__OUTBOX_ROW__INIT;
    struct row_call call = {
        {TABLE_SKELETON, Q_OUTBOX_SELECT},
        relay->page, row, relay->arena
    };
    enum code code = db->row(db->ctx, &call, &message.base, err);

    assert(row < relay->publication_count);
    if (code != OK) {
        return code;
    }
    *publication = (struct publication){
        relay, {message.id, message.written_ms},
         false
    };
    *bytes += message.body.len;
    code = relay_publish(relay,
                         publication,
                         message.subject,
                         (struct str){(const char *)message.body.data, message.body.len},
                         on_page_published,
                         err);
    if (code == OK) {
        relay->pending++;
    }
    return is_unfit(relay, code, err) ? OK : code;
}

static bool is_in_page(const struct relay *relay, int64_t id)
{
    assert(relay != NULL);
    for (size_t i = 0; i < relay->publication_count; i++) {
        if (relay->publications[i].number.id == id) {
            return true;
        }
    }
    return false;
}

/* The page was all there was when it was read: what has been committed since follows it. */
static void catch_up(struct relay *relay)
{
    struct outbox_rows rest = relay->held;

    assert(relay->ours && relay->swept);
    assert(!relay->missed);
    assert(relay->behind || relay->held.count == 0);
    rest.count = 0;
    for (size_t i = 0; i < relay->held.count; i++) {
        if (!is_in_page(relay, rest.numbers[i].id)) {
            rest.subjects[rest.count] = rest.subjects[i];
            relay->held_bodies[rest.count] = rest.bodies[i];
            rest.numbers[rest.count++] = rest.numbers[i];
        }
    }
    relay->held.count = 0;
    relay->behind = false;
    if (rest.count > 0) {
        relay_offer(relay, &rest);
    }
}

static void publish_page(struct relay *relay)
{
    size_t count = relay->options.database->rows(relay->page);
    size_t bytes = 0;
    struct err err = {0};

    sm_move(&relay->sm, RELAY_PUBLISH);
    relay->publications = arena_calloc(relay->arena, count, sizeof *relay->publications);
    relay->publication_count = relay->publications == NULL ? 0 : count;
    for (size_t i = 0; i < relay->publication_count; i++) {
        if (publish_row(relay, i, &bytes, &err) != OK) {
            relay_log_failure(relay, "publish", err.text);
            relay_fall_behind(relay);
            break; /* what comes later in order waits too */
        }
    }
    if (relay->publication_count < count || count >= RELAY_ROWS_MAX || bytes >= RELAY_BYTES_MAX) {
        relay_fall_behind(relay); /* there may be more */
    } else if (relay->ours && !relay->missed) {
        catch_up(relay);
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

static void note_turn(struct relay *relay, const struct pg_result *result)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxOurs turn = AVANTA__SERVICE__OUTBOX_OURS__INIT;
    struct row_call call = {
        {TABLE_SKELETON, Q_OUTBOX_LOCK},
        result, 0, relay->arena
    };
    struct err err = {0};

    relay->ours =
        db->rows(result) == 1 && db->row(db->ctx, &call, &turn.base, &err) == OK && turn.ours;
}

static void on_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    struct relay *relay = ctx;
    enum tag what = *(const enum tag *)tag;

    assert(answer != NULL);
    if (answer->outcome == PG_OUTCOME_FAILED) {
        relay->failed = true;
        relay_log_failure(relay, "database", answer->err.text);
    }
    if (answer->outcome == PG_OUTCOME_OK && what == TAG_SELECT) {
        relay->page = answer->result;
        answer->result = NULL;
        return;
    }
    if (answer->outcome == PG_OUTCOME_OK && what == TAG_LOCK) {
        note_turn(relay, answer->result);
    } else if (answer->outcome == PG_OUTCOME_OK && what == TAG_LAG) {
        note_lag(relay, answer->result);
    }
    relay->options.database->clear(&answer->result);
}

static void page_arrived(struct relay *relay)
{
    assert(relay->sm.state == RELAY_SELECT);
    if (relay->lost || relay->failed || relay->page == NULL) {
        finish_transaction(relay);
    } else if (relay->options.database->rows(relay->page) > 0) {
        publish_page(relay);
    } else {
        if (relay->ours && !relay->missed) {
            catch_up(relay);
        }
        finish_transaction(relay);
    }
}

static void on_settled(void *ctx, bool lost)
{
    struct relay *relay = ctx;

    relay->lost = relay->lost || lost;
    switch (relay->sm.state) {
    case RELAY_SELECT:
        page_arrived(relay);
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

static enum code lock_queue(struct relay *relay, struct err *err)
{
    const struct database *db = relay->options.database;
    Avanta__Service__OutboxLock lock = AVANTA__SERVICE__OUTBOX_LOCK__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OUTBOX_LOCK},
        &no_context, &lock.base, relay->arena
    };

    lock.lock_key = OUTBOX_LOCK_KEY;
    return db->query(db->ctx, relay->conn, &call, &tags[TAG_LOCK], err);
}

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
        turn.busy[turn.n_busy++] = publication->number.id;
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
        code = lock_queue(relay, err);
        code = code == OK ? select_queue(relay, err) : code;
    }
    if (code == OK && now - relay->lag_at_ms >= RELAY_LAG_MS) {
        relay->lag_at_ms = now;
        code = lag_queue(relay, err);
    }
    return code == OK ? db->flush(db->ctx, relay->conn, err) : code;
}

bool relay_pass_start(struct relay *relay)
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
    relay->refused = 0;
    relay->deleting = 0;
    relay->missed = false;
    relay->swept = false;
    relay->ours = false;
    relay->failed = false;
    relay->lost = false;
    sm_move(&relay->sm, RELAY_SELECT);
    if (pass_queue(relay, &err) != OK) {
        relay_log_failure(relay, "database", err.text);
        relay->lost = true;
        pass_end(relay);
    }
    return true;
}
