#include "libcommon/io/bus.h"

#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define INBOX_RANDOM (BUS_INBOX_RANDOM_DIGITS / 2)

static const struct sm_row bus_rows[BUS_STATE_COUNT] = {
    [BUS_WAITING] = {"waiting",    0, MAY(BUS_CONNECTING)                             },
    [BUS_CONNECTING] = {"connecting", 0, MAY(BUS_WAITING) | MAY(BUS_UP) | MAY(BUS_LOSING)},
    [BUS_UP] = {"up",         0, MAY(BUS_LOSING)                                 },
    [BUS_LOSING] = {"losing",     0, MAY(BUS_WAITING)                                },
};

/* --- moving on --------------------------------------------------------------------- */

void bus_enter(struct bus *bus)
{
    bus->depth++;
}

static void bus_free(struct bus *bus)
{
    assert(bus->link.nc == NULL);
    loop_waker_close(&bus->waker);
    loop_timer_close(&bus->retry);
    loop_timer_close(&bus->sweep);
    loop_pass_close(&bus->flush);
    bus_link_close(bus);
    bus_calls_close(bus);
    bus_packs_close(bus);
    bus_streams_close(bus);
    bus_consumers_close(bus);
    free(bus);
}

static void retry_later(struct bus *bus)
{
    if (!bus->closing) {
        loop_timer_start(bus->retry, backoff_next_ms(&bus->backoff), 0);
    }
}

static void tell_drained(struct bus *bus)
{
    void (*done)(void *arg) = bus->on_drained;

    if (done != NULL && bus_subscriptions_drained(bus)) {
        bus->on_drained = NULL;
        done(bus->on_drained_arg);
    }
}

/* What can only happen when no function of the bus is on the stack. */
void bus_leave(struct bus *bus)
{
    assert(bus->depth > 0);
    if (bus->depth == 1) {
        bus_subscriptions_reap(bus);
        tell_drained(bus);
        if (bus->sm.state == BUS_LOSING && bus_link_gone(bus)) {
            sm_move(&bus->sm, BUS_WAITING);
            retry_later(bus);
        }
        bus_subscriptions_reap(bus); /* those of a bus closed in tell_drained() */
    }
    bus->depth--;
    if (bus->depth == 0 && bus->closing && bus->sm.state == BUS_WAITING) {
        bus_free(bus);
    }
}

static void say_state(const struct bus *bus, bool connected, const char *reason)
{
    log_event(connected || bus->closing ? LOG_INFO : LOG_WARN,
              connected ? "bus_up" : "bus_down",
              LOG_S("bus", bus->name),
              LOG_S("reason", reason));
}

static void bus_lose(struct bus *bus)
{
    const bool was_up = bus->sm.state == BUS_UP;

    assert(was_up || bus->sm.state == BUS_CONNECTING);
    sm_move(&bus->sm, BUS_LOSING);
    bus_link_end(bus);
    if (!was_up) {
        return;
    }
    say_state(bus, false, bus->closing ? "closed" : "connection lost");
    bus_packs_end(bus, false);
    bus_calls_fail(bus);
    if (bus->on_state != NULL && !bus->closing) {
        bus->on_state(bus->on_state_ctx, false);
    }
}

static void bus_woken(void *arg)
{
    struct bus *bus = arg;

    bus_enter(bus);
    bus_link_marked(bus);
    if (bus->sm.state == BUS_UP && bus_link_stopped(bus) && !bus->flushing) {
        bus_lose(bus);
    }
    if (bus_deliver(bus)) {
        loop_wake(bus->waker);
    }
    bus_link_pace(bus);
    bus_leave(bus);
}

static bool flush_pass(void *arg)
{
    struct bus *bus = arg;

    if (bus_usable(bus)) {
        bus_packs_flush(bus);
    }
    bus_link_flush(bus);
    return false;
}

/* --- connecting -------------------------------------------------------------------- */

static void connection_ready(struct bus *bus)
{
    if (!bus_link_begin(bus) || !bus_subscriptions_attach(bus)) {
        bus_lose(bus);
        return;
    }
    sm_move(&bus->sm, BUS_UP);
    backoff_reset(&bus->backoff);
    bus->connects++;
    say_state(bus, true, "connected");
    bus_consumers_ensure(bus);
    if (bus->on_state != NULL) {
        bus->on_state(bus->on_state_ctx, true);
    }
}

static void connect_done(void *arg)
{
    struct bus *bus = arg;

    assert(bus->sm.state == BUS_CONNECTING);
    bus_enter(bus);
    if (bus->link.status != NATS_OK) {
        if (!bus->closing && log_rate_allows(&bus->logged_ms)) {
            log_event(LOG_WARN,
                      "bus_connect_failed",
                      LOG_S("bus", bus->name),
                      LOG_S("status", natsStatus_GetText(bus->link.status)),
                      LOG_S("text", bus->link.text),
                      LOG_S("advice", bus_tls_advice(bus->link.status, bus->link.secure)));
        }
        sm_move(&bus->sm, BUS_WAITING);
        retry_later(bus);
    } else if (bus->closing) {
        bus_lose(bus);
    } else {
        connection_ready(bus);
    }
    bus_leave(bus);
}

static void connect_now(struct bus *bus)
{
    struct err err = {0};

    bus->link.thread = pthread_self();
    sm_move(&bus->sm, BUS_CONNECTING);
    if (loop_work(bus->loop, bus_link_connect, connect_done, bus, &err) != OK) {
        sm_move(&bus->sm, BUS_WAITING);
        retry_later(bus);
    }
}

static void retry_due(void *arg)
{
    struct bus *bus = arg;

    assert(bus->sm.state == BUS_WAITING);
    assert(!bus->closing);
    bus_enter(bus);
    connect_now(bus);
    bus_leave(bus);
}

/* --- opening ------------------------------------------------------------------------ */

static enum code handles_open(struct bus *bus, struct err *err)
{
    bus->waker = loop_waker_open(bus->loop, bus_woken, bus);
    bus->retry = loop_timer_open(bus->loop, retry_due, bus);
    bus->flush = loop_pass_open(bus->loop, flush_pass, bus);
    if (bus->waker == NULL || bus->retry == NULL || bus->flush == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the bus");
    }
    return OK;
}

/* The random part keeps replicas of one name apart, and strangers from guessing it. */
static void name_inbox(struct bus *bus)
{
    uint8_t random[INBOX_RANDOM];
    char hex[2 * INBOX_RANDOM + 1];
    struct buf b = buf_over(bus->inbox_prefix, sizeof(bus->inbox_prefix));
    bool fits = false;

    random_bytes(random, sizeof(random));
    hex_encode(random, sizeof(random), hex);
    buf_printf(&b, "_INBOX.%s.%s.", bus->name, hex);
    fits = buf_terminate(&b);
    assert(fits);
    bus->inbox_len = buf_view(&b).len;
}

static struct bus *bus_new(struct loop *loop, const struct bus_options *options)
{
    struct bus *bus = calloc(1, sizeof(*bus));

    if (bus == NULL) {
        return NULL;
    }
    bus->loop = loop;
    bus->on_state = options->on_state;
    bus->on_state_ctx = options->ctx;
    bus->backoff = (struct backoff){.first_ms = BUS_RETRY_FIRST_MS, .cap_ms = BUS_RETRY_MS_MAX};
    memcpy(bus->name, options->name, strlen(options->name) + 1);
    sm_init(&bus->sm, "bus", bus_rows, BUS_STATE_COUNT, BUS_WAITING);
    list_init(&bus->subscriptions);
    list_init(&bus->consumers);
    atomic_init(&bus->overflows, 0);
    name_inbox(bus);
    return bus;
}

enum code
bus_open(struct loop *loop, const struct bus_options *options, struct bus **out, struct err *err)
{
    struct bus *bus = NULL;
    enum code code = OK;

    assert(loop != NULL);
    assert(out != NULL);
    assert(options->url != NULL);
    assert(options->name != NULL);
    *out = NULL;
    code = bus_token_check(options->name, BUS_NAME_BYTES_MAX, err);
    if (code != OK) {
        return code;
    }
    bus = bus_new(loop, options);
    if (bus == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for the bus");
    }
    code = handles_open(bus, err);
    if (code == OK) {
        code = bus_packs_open(bus, err);
    }
    if (code == OK) {
        code = bus_streams_open(bus, err);
    }
    if (code == OK) {
        code = bus_consumers_open(bus, err);
    }
    if (code == OK) {
        code = bus_link_open(bus, options, err);
    }
    if (code == OK) {
        code = bus_calls_open(bus, options->in_flight_max, err);
    }
    if (code != OK) {
        bus_close(&bus);
        return code;
    }
    loop_timer_start(bus->retry, 0, 0); /* on the loop's thread, which may not be this one */
    *out = bus;
    return OK;
}

/* --- closing ------------------------------------------------------------------------ */

void bus_drain(struct bus *bus, void (*done)(void *arg), void *arg)
{
    assert(bus != NULL);
    assert(done != NULL);
    assert(bus->on_drained == NULL);
    assert(!bus->closing);
    bus->on_drained = done;
    bus->on_drained_arg = arg;
    bus_subscriptions_drain(bus);
    loop_wake(bus->waker); /* `done` comes from the loop, never from here */
}

static void flush_done(void *arg)
{
    struct bus *bus = arg;

    assert(bus->flushing);
    bus_enter(bus);
    bus->flushing = false;
    bus_lose(bus);
    bus_leave(bus);
}

static void close_connection(struct bus *bus)
{
    bus->flushing = !bus_link_stopped(bus) &&
                    loop_work(bus->loop, bus_link_settle, flush_done, bus, NULL) == OK;
    if (!bus->flushing) {
        bus_lose(bus);
    }
}

/* What was published goes out first, for a short while; nothing is called back after this. */
void bus_close(struct bus **bus)
{
    struct bus *closing = NULL;

    assert(bus != NULL);
    closing = *bus;
    *bus = NULL;
    if (closing == NULL) {
        return;
    }
    assert(!closing->closing);
    bus_enter(closing);
    closing->closing = true;
    closing->on_drained = NULL;
    bus_consumers_end(closing);
    bus_packs_end(closing, closing->sm.state == BUS_UP);
    if (closing->calls != NULL) {
        bus_calls_fail(closing);
    }
    bus_subscriptions_end(closing);
    if (closing->sm.state == BUS_WAITING && closing->retry != NULL) {
        loop_timer_stop(closing->retry);
    } else if (closing->sm.state == BUS_UP) {
        close_connection(closing);
    }
    bus_leave(closing);
}

/* --- state ------------------------------------------------------------ */

bool bus_usable(const struct bus *bus)
{
    return bus->sm.state == BUS_UP && !bus->closing && !bus_link_stopped(bus);
}

bool bus_connected(const struct bus *bus)
{
    assert(bus != NULL);
    return bus_usable(bus);
}

void bus_stats(const struct bus *bus, struct bus_stats *out)
{
    assert(bus != NULL);
    assert(out != NULL);
    *out = (struct bus_stats){
        .received = bus->received,
        .published = bus->published,
        .ring_overflows = atomic_load_explicit(&bus->overflows, memory_order_relaxed) +
                          bus_subscriptions_dropped(bus),
        .late_replies = bus->late_replies,
        .reconnects = bus->connects > 0 ? bus->connects - 1 : 0,
        .in_flight = pool_used(bus->calls),
    };
}
