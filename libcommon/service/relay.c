#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/service/relay_internal.h"
#include "libcommon/service/req_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>

#define MESSAGE_ID_BYTES 96

_Static_assert(RELAY_ROWS_MAX + RELAY_OFFERED_MAX < BUS_IN_FLIGHT_MAX,
               "publications find room on the bus");

static const struct sm_row relay_states[RELAY_STATE_COUNT] = {
    [RELAY_IDLE] = {"idle",    0, MAY(RELAY_SELECT) | MAY(RELAY_STOPPED)               },
    [RELAY_SELECT] = {"select",  0, MAY(RELAY_PUBLISH) | MAY(RELAY_END) | MAY(RELAY_IDLE)},
    [RELAY_PUBLISH] = {"publish", 0, MAY(RELAY_END) | MAY(RELAY_IDLE)                     },
    [RELAY_END] = {"end",     0, MAY(RELAY_IDLE)                                      },
    [RELAY_STOPPED] = {"stopped", 0, 0                                                    },
};

void relay_log_failure(struct relay *relay, const char *what, const char *cause)
{
    assert(relay != NULL);
    if (log_rate_allows(&relay->logged_ms)) {
        log_event(LOG_WARN, "outbox_relay_failed", LOG_S("at", what), LOG_S("cause", cause));
    }
}

void relay_refused(struct relay *relay, enum code code)
{
    assert(code != OK);
    relay_log_failure(relay, "publish", code_wire(code));
    if (code != ERR_OVERLOADED) { /* which a stream says that is there, and full */
        relay->options.on_refused(relay->options.ctx);
    }
}

enum code relay_publish(struct relay *relay,
                        struct publication *publication,
                        const char *subject,
                        struct str body,
                        bus_call_done done,
                        struct err *err)
{
    char id[MESSAGE_ID_BYTES];
    struct buf text = buf_over(id, sizeof id);

    assert(relay != NULL);
    assert(publication != NULL);
    buf_printf(&text,
               "%s-%lld-%lld",
               relay->options.service,
               (long long)publication->number.id,
               (long long)publication->number.written_ms);
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

/* --- between passes ---------------------------------------------------------------------- */

static bool is_empty(const struct relay *relay)
{
    assert(relay != NULL);
    return pool_used(relay->offered) == 0 && relay->acked_count == 0;
}

/* When the next pass is due: at once while there is surely more, later and later while nothing gets
 * on. */
static uint64_t wait_ms(struct relay *relay, bool worked)
{
    assert(relay != NULL);
    if (relay->failed || relay->lost || relay->refused > relay->stored ||
        (relay->behind && !worked)) {
        relay->retry_ms = relay->retry_ms == 0 ? RELAY_RETRY_MS : relay->retry_ms * 2;
        relay->retry_ms = relay->retry_ms < RELAY_IDLE_MS ? relay->retry_ms : RELAY_IDLE_MS;
        return relay->retry_ms;
    }
    relay->retry_ms = 0;
    if (relay->refused > 0) {
        return RELAY_RETRY_MS; /* there is room now and then */
    }
    if (relay->behind) {
        return 0;
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

void relay_pass_ended(struct relay *relay, bool worked)
{
    assert(relay != NULL);
    if (relay->drained != NULL && pool_used(relay->offered) == 0 &&
        (relay->lost || (!worked && is_empty(relay)))) {
        stop(relay);
        return;
    }
    loop_timer_start(relay->timer, wait_ms(relay, worked), 0);
}

/* A pass, or the end when none can be and nothing is under way. */
static void go_on(struct relay *relay)
{
    assert(relay->sm.state == RELAY_IDLE);
    if (relay_pass_start(relay)) {
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

void relay_fall_behind(struct relay *relay)
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
        relay->acked[relay->acked_count++] = publication->number.id;
        metric_add(relay->options.metrics, METRIC_OUTBOX_PUBLISHED, 0, 1);
    } else {
        relay_refused(relay, code);
        relay_fall_behind(relay);
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
    *publication = (struct publication){relay, rows->numbers[i], false};
    code = relay_publish(relay,
                         publication,
                         rows->subjects[i],
                         (struct str){(const char *)rows->bodies[i].data, rows->bodies[i].len},
                         on_offer_published,
                         &err);
    if (code != OK) {
        relay_log_failure(relay, "publish", err.text);
        pool_give(relay->offered, publication);
    }
    return code;
}

void relay_offer(struct relay *relay, const struct outbox_rows *rows)
{
    const size_t room = RELAY_OFFERED_MAX - pool_used(relay->offered) - relay->acked_count;

    assert(rows != NULL);
    if (relay->behind && relay_pass_hold(relay, rows)) {
        return;
    }
    if (!rows->numbered || relay->behind || rows->count > room ||
        !bus_connected(relay->options.bus)) {
        relay_fall_behind(relay);
        return;
    }
    for (size_t i = 0; i < rows->count; i++) {
        if (offer_row(relay, rows, i) != OK) {
            relay_fall_behind(relay);
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
    } else if (pool_used(relay->offered) == 0) {
        stop(relay);
    } else {
        loop_timer_start(relay->timer, RELAY_RETRY_MS, 0); /* they end with the connection */
    }
}

enum code relay_open(const struct relay_options *options, struct relay **out, struct err *err)
{
    struct relay *relay = calloc(1, sizeof *relay);

    assert(options->service != NULL);
    assert(options->on_refused != NULL);
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
