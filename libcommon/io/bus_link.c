/*
 * One nats.c connection on the loop, through nats.c's event loop interface with SendAsap. These are
 * our own event functions and not the packaged libuv adapter, because that one (3.4.1)
 * - refuses to attach a first connection that was made off the loop, so a bus opened before its
 * server is up would never connect, and connecting on the loop blocks it;
 * - polls the very descriptor that nats.c closes, at times on its timer thread: the number can be
 *   reused before the loop hears of it. We poll a duplicate, which only the loop closes;
 * - needs an epoll_ctl() and a further turn for every write. We write at the end of the same turn.
 * Reconnecting is ours too (bus.c): nats.c holds the connection's lock while it connects, which
 * would stop every publish, gives up after two refused log-ins, and keeps what was published
 * meanwhile.
 */
#include "libcommon/base/log.h"
#include "libcommon/io/bus_internal.h"

#include <uv.h>

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Apart from the bus, which may be gone when libuv lets go of the handle. */
struct link_poll {
    uv_poll_t uv;
    struct bus *bus;
    int fd;
};

static bool on_loop(const struct bus_link *link)
{
    return pthread_equal(link->thread, pthread_self()) != 0;
}

/* --- what nats.c's threads do ----------------------------------------------------- */

void bus_thread_enter(struct bus *bus)
{
    (void)atomic_fetch_add_explicit(&bus->link.inside, 1, memory_order_relaxed);
}

/* The last access of this thread to the bus. */
void bus_thread_leave(struct bus *bus)
{
    unsigned before = atomic_fetch_sub_explicit(&bus->link.inside, 1, memory_order_release);

    assert(before > 0);
}

/* From any thread; on the loop's own the mark is acted upon in the next turn as well. */
static void mark(struct bus *bus, unsigned bits)
{
    bus_thread_enter(bus);
    (void)atomic_fetch_or_explicit(&bus->link.marks, bits, memory_order_acq_rel);
    loop_wake(bus->waker);
    bus_thread_leave(bus);
}

static unsigned marks(const struct bus *bus)
{
    return atomic_load_explicit(&bus->link.marks, memory_order_acquire);
}

static void connection_closed(natsConnection *nc, void *closure)
{
    assert(nc != NULL);
    mark(closure, LINK_CLOSED);
}

/* Refused subjects, mostly: the caller sees a timeout, the log the reason. It may come after
 * connection_closed(), from a drain that was cut short; so it does without the bus. */
static void
connection_error(natsConnection *nc, natsSubscription *nats, natsStatus status, void *closure)
{
    static _Thread_local uint64_t logged_ms;
    const char *text = NULL;

    assert(closure == NULL);
    (void)nats;
    if (!log_rate_allows(&logged_ms)) {
        return;
    }
    (void)natsConnection_GetLastError(nc, &text);
    if (text != NULL && strstr(text, "\"log.") != NULL) { /* its own line would be refused again */
        log_event_here(LOG_WARN,
                       "log_ship_refused",
                       LOG_S("status", natsStatus_GetText(status)),
                       LOG_S("text", text));
        return;
    }
    log_event(
        LOG_WARN, "bus_error", LOG_S("status", natsStatus_GetText(status)), LOG_S("text", text));
}

/* --- nats.c's event loop interface; it holds the connection's lock --------------------- */

/* On the pool thread that connects: the loop starts polling when it hears of the connection. */
static natsStatus event_attach(void **user_data, void *loop, natsConnection *nc, natsSock socket)
{
    struct bus *bus = loop;
    int fd = -1;

    assert(nc != NULL);
    assert(bus->link.fd < 0);
    fd = fcntl(socket, F_DUPFD_CLOEXEC, 0);
    if (fd < 0) {
        return NATS_SYS_ERROR;
    }
    bus->link.fd = fd;
    *user_data = bus;
    return NATS_OK;
}

/* Only ever to stop: reading starts with the connection. */
static natsStatus event_read(void *user_data, bool add)
{
    if (!add) {
        mark(user_data, LINK_STOPPED);
    }
    return NATS_OK;
}

static natsStatus event_write(void *user_data, bool add)
{
    struct bus *bus = user_data;

    if (on_loop(&bus->link)) {
        bus->link.write_wanted = add;
        if (add) {
            loop_pass_arm(bus->flush);
        }
    } else if (add) {
        mark(bus, LINK_WRITE);
    }
    return NATS_OK;
}

static natsStatus event_detach(void *user_data)
{
    mark(user_data, LINK_DETACHED);
    return NATS_OK;
}

/* --- connecting --------------------------------------------------------------------- */

static natsStatus set_identity(natsOptions *o, const struct bus_options *options)
{
    natsStatus s = natsOptions_SetURL(o, options->url);

    if (s == NATS_OK && options->user != NULL && options->user[0] != '\0') {
        s = natsOptions_SetUserInfo(o, options->user, options->password);
    }
    return s != NATS_OK ? s : natsOptions_SetName(o, options->name);
}

static natsStatus set_behaviour(natsOptions *o, struct bus *bus)
{
    natsStatus s =
        natsOptions_SetEventLoop(o, bus, event_attach, event_read, event_write, event_detach);

    s = s != NATS_OK ? s : natsOptions_SetSendAsap(o, true);
    s = s != NATS_OK ? s : natsOptions_SetAllowReconnect(o, false);
    s = s != NATS_OK ? s : natsOptions_SetTimeout(o, BUS_CONNECT_MS_MAX);
    s = s != NATS_OK ? s : natsOptions_SetPingInterval(o, BUS_PING_MS);
    s = s != NATS_OK ? s : natsOptions_SetMaxPingsOut(o, BUS_PINGS_OUT_MAX);
    s = s != NATS_OK ? s : natsOptions_SetIOBufSize(o, BUS_READ_BYTES);
    s = s != NATS_OK ? s : natsOptions_SetIgnoreDiscoveredServers(o, true);
    s = s != NATS_OK ? s : natsOptions_UseGlobalMessageDelivery(o, true);
    s = s != NATS_OK ? s : natsOptions_SetClosedCB(o, connection_closed, bus);
    return s != NATS_OK ? s : natsOptions_SetErrorHandler(o, connection_error, NULL);
}

enum code bus_link_open(struct bus *bus, const struct bus_options *options, struct err *err)
{
    natsStatus s = NATS_OK;

    assert(bus->options == NULL);
    bus->link.fd = -1;
    bus->link.secure = options->ca_file != NULL && options->ca_file[0] != '\0';
    atomic_init(&bus->link.marks, 0);
    atomic_init(&bus->link.inside, 0);
    s = natsOptions_Create(&bus->options);
    s = s != NATS_OK ? s : set_identity(bus->options, options);
    s = s != NATS_OK ? s : set_behaviour(bus->options, bus);
    if (s != NATS_OK) {
        return err_set(err, ERR_INTERNAL, "NATS options: %s", natsStatus_GetText(s));
    }
    return bus_tls_open(bus->options, options, err);
}

void bus_link_connect(void *arg)
{
    struct bus *bus = arg;
    struct bus_link *link = &bus->link;
    const char *text = NULL;

    assert(link->nc == NULL);
    assert(link->fd < 0);
    link->status = natsConnection_Connect(&link->nc, bus->options);
    if (link->status != NATS_OK) {
        link->nc = NULL;
        text = nats_GetLastError(NULL); /* of this thread */
        (void)snprintf(link->text, sizeof link->text, "%s", text != NULL ? text : "");
    }
}

/* --- the socket --------------------------------------------------------------------- */

static void polled(uv_poll_t *uv, int status, int events);

/* Tells libuv what we wait for now. */
static void watch(struct bus_link *link)
{
    const int events = (link->paused ? 0 : UV_READABLE) | (link->write_blocked ? UV_WRITABLE : 0);
    int status = 0;

    status = events == 0 ? uv_poll_stop(&link->poll->uv)
                         : uv_poll_start(&link->poll->uv, events, polled);
    assert(status == 0);
}

/* The socket takes what it can at once; for the rest it says when. */
void bus_link_flush(struct bus *bus)
{
    struct bus_link *link = &bus->link;

    if (link->poll == NULL) {
        return;
    }
    if (link->write_wanted && !bus_link_stopped(bus)) {
        errno = 0; /* with TLS nats.c looks there after failures that do not set it */
        natsConnection_ProcessWriteEvent(link->nc);
    }
    if (link->write_blocked != link->write_wanted && !bus_link_stopped(bus)) {
        link->write_blocked = link->write_wanted;
        watch(link);
    }
}

/* A round trip. Closing a socket with bytes unread can take back bytes already written. */
void bus_link_settle(void *arg)
{
    struct bus *bus = arg;

    assert(bus->link.nc != NULL);
    (void)natsConnection_FlushTimeout(bus->link.nc, BUS_CLOSE_FLUSH_MS_MAX);
}

/* The server holds what we do not read. */
void bus_link_pace(struct bus *bus)
{
    struct bus_link *link = &bus->link;
    const bool paused = bus_backlogged(bus);

    if (link->poll != NULL && link->paused != paused && !bus_link_stopped(bus)) {
        link->paused = paused;
        watch(link);
    }
}

static void polled(uv_poll_t *uv, int status, int events)
{
    struct link_poll *poll = CONTAINER_OF(uv, struct link_poll, uv);
    struct bus *bus = poll->bus;

    assert(bus->link.poll == poll);
    if (status == 0 && (events & UV_WRITABLE) != 0) {
        bus_link_flush(bus);
    }
    /* A failing socket too is something to read: nats.c meets the error and gives up. */
    if (status != 0 || (events & UV_READABLE) != 0) {
        errno = 0;
        natsConnection_ProcessReadEvent(bus->link.nc);
        bus_link_pace(bus);
    }
    if (bus_link_stopped(bus)) {
        (void)uv_poll_stop(&poll->uv);
    } else if (status != 0) {
        watch(&bus->link); /* libuv has stopped it */
    }
}

static void poll_gone(uv_handle_t *handle)
{
    struct link_poll *poll = CONTAINER_OF((uv_poll_t *)handle, struct link_poll, uv);

    (void)close(poll->fd);
    free(poll);
}

bool bus_link_begin(struct bus *bus)
{
    /* tidy: allow alloc: one for each connection to the bus, given back by poll_gone */
    struct link_poll *poll = calloc(1, sizeof(*poll));

    assert(bus->link.nc != NULL);
    assert(bus->link.fd >= 0);
    assert(bus->link.poll == NULL);
    if (poll == NULL) {
        return false;
    }
    if (uv_poll_init(loop_uv(bus->loop), &poll->uv, bus->link.fd) != 0) {
        free(poll); /* tidy: allow alloc: the same, never watched */
        return false;
    }
    poll->bus = bus;
    poll->fd = bus->link.fd;
    bus->link.poll = poll;
    watch(&bus->link);
    return true;
}

/* --- the end ------------------------------------------------------------------------ */

bool bus_link_stopped(const struct bus *bus)
{
    return (marks(bus) & LINK_STOPPED) != 0;
}

void bus_link_marked(struct bus *bus)
{
    if ((marks(bus) & LINK_WRITE) != 0) {
        (void)atomic_fetch_and_explicit(&bus->link.marks, ~LINK_WRITE, memory_order_acq_rel);
        bus->link.write_wanted = true;
        bus_link_flush(bus);
    }
}

void bus_link_end(struct bus *bus)
{
    struct bus_link *link = &bus->link;

    assert(link->nc != NULL);
    /* The connection first: telling the server about each subscription would leave bytes to write,
     * and nats.c would wait half a second for an answer that only this thread could read. */
    natsConnection_Destroy(link->nc);
    link->nc = NULL;
    bus_subscriptions_detach(bus);
    link->write_wanted = false;
    link->write_blocked = false;
    link->paused = false;
    if (link->poll != NULL) {
        uv_close((uv_handle_t *)&link->poll->uv, poll_gone);
        link->poll = NULL;
    } else {
        (void)close(link->fd);
    }
    link->fd = -1;
}

bool bus_link_gone(struct bus *bus)
{
    const unsigned last = LINK_CLOSED | LINK_DETACHED;

    assert(bus->link.nc == NULL);
    if ((marks(bus) & last) != last || bus->link.subscriptions > 0) {
        return false;
    }
    /* The thread that set the last mark may still be waking us; it has only that left to do. */
    while (atomic_load_explicit(&bus->link.inside, memory_order_acquire) > 0) {
        (void)sched_yield();
    }
    atomic_store_explicit(&bus->link.marks, 0, memory_order_relaxed);
    return true;
}

void bus_link_close(struct bus *bus)
{
    assert(bus->link.nc == NULL);
    assert(bus->link.poll == NULL);
    natsOptions_Destroy(bus->options);
    bus->options = NULL;
}
