/*
 * Subscriptions: nats.c's delivery thread pushes into the subscription's own ring and wakes the
 * loop, the loop hands over. A ring each, so that a flood of events cannot push out replies. The
 * object outlives connections: each new one attaches it again; it is freed when nats.c has said
 * that the last callback is over.
 */
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* --- on nats.c's threads ----------------------------------------------------------- */

static void
message_arrived(natsConnection *nc, natsSubscription *nats, natsMsg *message, void *closure)
{
    struct bus_subscription *s = closure;
    struct bus *bus = s->bus;
    const size_t len = (size_t)natsMsg_GetDataLength(message);
    enum ring_push pushed = RING_FULL;

    assert(nc != NULL);
    assert(nats != NULL);
    if (atomic_fetch_add_explicit(&s->bytes, len, memory_order_relaxed) + len <=
        BUS_RING_BYTES_MAX) {
        pushed = ring_push(s->ring, message);
    }
    if (pushed == RING_FULL) {
        (void)atomic_fetch_sub_explicit(&s->bytes, len, memory_order_relaxed);
        (void)atomic_fetch_add_explicit(&bus->overflows, 1, memory_order_relaxed);
        natsMsg_Destroy(message);
    } else if (pushed == RING_PUSHED_FIRST) {
        loop_wake(bus->waker);
    }
}

static void subscription_completed(void *closure)
{
    struct bus_subscription *s = closure;
    struct bus *bus = s->bus;

    bus_thread_enter(bus);
    atomic_store_explicit(&s->completed, true, memory_order_release);
    loop_wake(bus->waker);
    bus_thread_leave(bus);
}

/* --- life -------------------------------------------------------------------------- */

static bool attach(struct bus_subscription *s)
{
    struct bus_link *link = &s->bus->link;
    const char *queue = s->queue[0] != '\0' ? s->queue : NULL;
    natsStatus status = NATS_OK;

    assert(!s->attached);
    assert(s->nats == NULL);
    atomic_store_explicit(&s->completed, false, memory_order_relaxed);
    status = queue != NULL
                 ? natsConnection_QueueSubscribe(
                       &s->nats, link->nc, s->subject, queue, message_arrived, s)
                 : natsConnection_Subscribe(&s->nats, link->nc, s->subject, message_arrived, s);
    if (status != NATS_OK) {
        s->nats = NULL;
        return false;
    }
    (void)natsSubscription_SetPendingLimits(s->nats, BUS_RING_MESSAGES, (int)BUS_RING_BYTES_MAX);
    if (natsSubscription_SetOnCompleteCB(s->nats, subscription_completed, s) != NATS_OK) {
        /* Closed already. Only this thread reads the socket, so no message was ever under way. */
        natsSubscription_Destroy(s->nats);
        s->nats = NULL;
        return false;
    }
    s->attached = true;
    link->subscriptions++;
    return true;
}

static uint64_t dropped(const struct bus_subscription *s)
{
    int64_t count = 0;

    return s->nats != NULL && natsSubscription_GetDropped(s->nats, &count) == NATS_OK
               ? (uint64_t)count
               : 0;
}

static void give_up(struct bus_subscription *s)
{
    if (s->nats != NULL) {
        s->bus->dropped += dropped(s);
        natsSubscription_Destroy(s->nats); /* also tells the server */
        s->nats = NULL;
    }
}

enum code bus_subscription_open(struct bus *bus,
                                const struct subscription_spec *spec,
                                struct bus_subscription **out,
                                struct err *err)
{
    struct bus_subscription *s = NULL;
    enum code code = bus_subject_check(spec->subject, true, err);

    assert(spec->handler != NULL);
    if (code == OK && spec->queue != NULL) {
        code = bus_token_check(spec->queue, BUS_QUEUE_BYTES_MAX, err);
    }
    if (code != OK) {
        return code;
    }
    s = calloc(1, sizeof(*s));
    if (s != NULL) {
        s->ring = ring_open(spec->ring_messages);
    }
    if (s == NULL || s->ring == NULL) {
        free(s);
        return err_set(err, ERR_INTERNAL, "no memory for a subscription");
    }
    s->bus = bus;
    s->handler = spec->handler;
    s->ctx = spec->ctx;
    atomic_init(&s->completed, false);
    atomic_init(&s->bytes, 0);
    memcpy(s->subject, spec->subject, strlen(spec->subject) + 1);
    if (spec->queue != NULL) {
        memcpy(s->queue, spec->queue, strlen(spec->queue) + 1);
    }
    list_push_back(&bus->subscriptions, &s->node);
    if (bus_usable(bus)) {
        (void)attach(s); /* refused only when the connection is lost: the next one brings it */
    }
    *out = s;
    return OK;
}

/* The contract of the header has seven parameters. NOLINTNEXTLINE(readability-function-size) */
enum code bus_subscribe(struct bus *bus,
                        const char *subject,
                        const char *queue,
                        void (*handler)(void *ctx, struct bus_message *message),
                        void *ctx,
                        struct bus_subscription **out,
                        struct err *err)
{
    const struct subscription_spec spec = {subject, queue, handler, ctx, BUS_RING_MESSAGES};

    assert(bus != NULL);
    assert(out != NULL);
    *out = NULL;
    if (bus->closing || bus->on_drained != NULL) {
        return err_set(err, ERR_UNAVAILABLE, "the bus is closing");
    }
    return bus_subscription_open(bus, &spec, out, err);
}

void bus_unsubscribe(struct bus_subscription **subscription)
{
    struct bus_subscription *s = NULL;
    struct bus *bus = NULL;

    assert(subscription != NULL);
    s = *subscription;
    *subscription = NULL;
    if (s == NULL) {
        return;
    }
    assert(!s->ended);
    bus = s->bus;
    bus_enter(bus);
    s->ended = true;
    give_up(s);
    bus_leave(bus);
}

/* --- all of a bus ------------------------------------------------------------------ */

bool bus_subscriptions_attach(struct bus *bus)
{
    LIST_EACH(&bus->subscriptions, node)
    {
        struct bus_subscription *s = LIST_ENTRY(node, struct bus_subscription, node);

        if (!s->drained && !s->ended && !attach(s)) {
            return false;
        }
    }
    return true;
}

void bus_subscriptions_detach(struct bus *bus)
{
    LIST_EACH(&bus->subscriptions, node)
    {
        give_up(LIST_ENTRY(node, struct bus_subscription, node));
    }
}

/* The inbox stays: calls still wait for their replies. */
void bus_subscriptions_drain(struct bus *bus)
{
    LIST_EACH(&bus->subscriptions, node)
    {
        struct bus_subscription *s = LIST_ENTRY(node, struct bus_subscription, node);

        if (s == bus->inbox) {
            continue;
        }
        s->drained = true;
        /* nats.c waits for the server to have heard of it, then for the delivery thread. */
        if (s->nats != NULL && natsSubscription_DrainTimeout(s->nats, DRAIN_MS_MAX) != NATS_OK) {
            give_up(s);
        }
    }
}

bool bus_subscriptions_drained(const struct bus *bus)
{
    LIST_EACH(&bus->subscriptions, node)
    {
        const struct bus_subscription *s = LIST_ENTRY(node, struct bus_subscription, node);

        if (s != bus->inbox && (s->attached || ring_length(s->ring) > 0)) {
            return false;
        }
    }
    return true;
}

void bus_subscriptions_end(struct bus *bus)
{
    LIST_EACH(&bus->subscriptions, node)
    {
        LIST_ENTRY(node, struct bus_subscription, node)->ended = true;
    }
}

/* In nats.c, on the way to its delivery thread, and in the ring. */
static bool backlogged(const struct bus_subscription *s)
{
    int messages = 0;
    int bytes = 0;

    if (s->nats != NULL && natsSubscription_GetPending(s->nats, &messages, &bytes) != NATS_OK) {
        return false; /* over */
    }
    return (size_t)messages + ring_length(s->ring) > BUS_BACKLOG_MESSAGES_MAX ||
           (size_t)bytes + atomic_load_explicit(&s->bytes, memory_order_relaxed) >
               BUS_BACKLOG_BYTES_MAX;
}

bool bus_backlogged(const struct bus *bus)
{
    LIST_EACH(&bus->subscriptions, node)
    {
        if (backlogged(LIST_ENTRY(node, struct bus_subscription, node))) {
            return true;
        }
    }
    return false;
}

uint64_t bus_subscriptions_dropped(const struct bus *bus)
{
    uint64_t count = bus->dropped;

    LIST_EACH(&bus->subscriptions, node)
    {
        count += dropped(LIST_ENTRY(node, struct bus_subscription, node));
    }
    return count;
}

static void subscription_free(struct bus_subscription *s)
{
    natsMsg *message = NULL;

    assert(!s->attached);
    assert(s->nats == NULL);
    while ((message = ring_pop(s->ring)) != NULL) {
        natsMsg_Destroy(message);
    }
    list_remove(&s->node);
    ring_close(&s->ring);
    free(s);
}

void bus_subscriptions_reap(struct bus *bus)
{
    LIST_EACH_SAFE(&bus->subscriptions, node, following)
    {
        struct bus_subscription *s = LIST_ENTRY(node, struct bus_subscription, node);

        if (s->attached && atomic_load_explicit(&s->completed, memory_order_acquire)) {
            assert(bus->link.subscriptions > 0);
            give_up(s);
            s->attached = false;
            bus->link.subscriptions--;
        }
        if (s->ended && !s->attached) {
            subscription_free(s);
        }
    }
}

/* --- handing over ------------------------------------------------------------------ */

/* A member of a pack as the message it would have been alone. */
static void hand_member(struct bus_subscription *s,
                        const struct bus_message *pack,
                        struct str inbox,
                        const struct pack_member *member)
{
    char reply[BUS_INBOX_BYTES_MAX + 24];
    struct buf b = buf_over(reply, sizeof reply);
    natsMsg *message = NULL;

    buf_str(&b, inbox);
    buf_printf(&b, "%x.%x", member->handle.slot, member->handle.generation);
    if (!buf_terminate(&b) || natsMsg_Create(&message,
                                             natsMsg_GetSubject(bus_message_nats(pack)),
                                             reply,
                                             member->body.ptr,
                                             (int)member->body.len) != NATS_OK) {
        (void)atomic_fetch_add_explicit(&s->bus->overflows, 1, memory_order_relaxed);
        return; /* the caller's deadline ends it */
    }
    s->bus->received++;
    s->handler(s->ctx, (struct bus_message *)(void *)message);
}

/* Takes the message; returns how many it was. */
static uint32_t hand(struct bus_subscription *s, struct bus_message *message)
{
    struct str rest = bus_message_data(message);
    struct str inbox = STR_EMPTY;
    struct pack_member member;
    uint32_t number = 0;
    uint32_t count = 0;

    if (s == s->bus->inbox || !bus_pack_subject(bus_message_reply(message), &inbox, &number)) {
        s->bus->received++;
        s->handler(s->ctx, message);
        return 1;
    }
    while (count < BUS_PACK_MEMBERS_MAX && !s->ended && bus_pack_next(&rest, &member)) {
        hand_member(s, message, inbox, &member);
        count++;
    }
    bus_message_destroy(message);
    return count > 0 ? count : 1;
}

static uint32_t hand_over(struct bus_subscription *s, uint32_t messages_max)
{
    uint32_t count = 0;
    natsMsg *message = NULL;

    while (count < messages_max && (message = ring_pop(s->ring)) != NULL) {
        (void)atomic_fetch_sub_explicit(
            &s->bytes, (size_t)natsMsg_GetDataLength(message), memory_order_relaxed);
        if (s->ended) {
            count++;
            natsMsg_Destroy(message);
        } else {
            count += hand(s, (struct bus_message *)(void *)message);
        }
    }
    return count;
}

/* Rounds of a burst each, so that one busy subscription does not hold up the others. Handlers may
 * subscribe and unsubscribe: nodes leave the list only in bus_subscriptions_reap(). */
bool bus_deliver(struct bus *bus)
{
    uint32_t left = BUS_TURN_MESSAGES_MAX;
    bool more = true;

    LIST_EACH(&bus->subscriptions, node)
    {
        ring_rearm(LIST_ENTRY(node, struct bus_subscription, node)->ring);
    }
    while (more && left > 0) {
        more = false;
        LIST_EACH(&bus->subscriptions, node)
        {
            struct bus_subscription *s = LIST_ENTRY(node, struct bus_subscription, node);
            const uint32_t burst = left < BUS_TURN_BURST ? left : BUS_TURN_BURST;
            const uint32_t count = hand_over(s, burst);

            left -= count < left ? count : left; /* the last may have been a pack */
            more = more || count >= burst;
        }
    }
    if (!list_empty(&bus->subscriptions)) {
        list_push_back(&bus->subscriptions, list_pop_front(&bus->subscriptions));
    }
    return more;
}

/* --- messages: natsMsg under another name --------------------------------------------- */

/* Reading a header may index the headers, so nats.c wants it writable. */
natsMsg *bus_message_nats(const struct bus_message *m)
{
    const union {
        const struct bus_message *ours;
        natsMsg *theirs;
    } message = {.ours = m};

    assert(m != NULL);
    return message.theirs;
}

struct str bus_message_subject(const struct bus_message *m)
{
    return str_from(natsMsg_GetSubject(bus_message_nats(m)));
}

struct str bus_message_data(const struct bus_message *m)
{
    const natsMsg *message = bus_message_nats(m);
    const int len = natsMsg_GetDataLength(message);

    assert(len >= 0);
    return len == 0 ? STR_EMPTY : (struct str){natsMsg_GetData(message), (size_t)len};
}

struct str bus_message_reply(const struct bus_message *m)
{
    return str_from(natsMsg_GetReply(bus_message_nats(m)));
}

void bus_message_destroy(struct bus_message *m)
{
    if (m != NULL) {
        natsMsg_Destroy(bus_message_nats(m));
    }
}
