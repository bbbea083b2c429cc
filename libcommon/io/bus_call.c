/*
 * Requests in flight: a pool slot each, its number and generation in the reply subject, its
 * deadline in a wheel of lists. A slot that was given back has another generation, so a late reply
 * finds nothing.
 */
#include "libcommon/base/clock.h"
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define RING_MESSAGES_MAX 32768

struct call {
    struct list node; /* in the wheel */
    bus_call_done done;
    void *ctx;
    uint64_t deadline_ms;
    enum call_kind kind;
    uint32_t pack; /* the request went in it; 0: alone */
    /* A reply in parts: every part but the last is full, so each has its place at once. */
    uint32_t part_count; /* 0: none came yet */
    uint32_t parts_seen; /* bit per part */
    size_t len;
    unsigned char *memory;
};

_Static_assert(BUS_PARTS_MAX <= 32, "a bit per part");

static struct call *call_of(struct list *node)
{
    return LIST_ENTRY(node, struct call, node);
}

static uint64_t tick_of(uint64_t deadline_ms)
{
    return deadline_ms / BUS_TICK_MS + 1; /* begins when the deadline is past */
}

/* --- the end of a call --------------------------------------------------------------- */

static void forget(struct bus *bus, struct call *call)
{
    list_remove(&call->node);
    if (call->memory != NULL) {
        bus->reassembly_bytes -= call->part_count * BUS_PART_BYTES;
        free(call->memory); /* tidy: allow alloc: see parts_begin */
    }
    pool_give(bus->calls, call);
}

static void finish(struct bus *bus, struct call *call, enum code code, struct str payload)
{
    const bus_call_done done = call->done;
    void *ctx = call->ctx;
    unsigned char *memory = call->memory;

    /* The slot is free before the callback, which may well make the next call. */
    if (memory != NULL) {
        bus->reassembly_bytes -= call->part_count * BUS_PART_BYTES;
        call->memory = NULL;
    }
    forget(bus, call);
    done(ctx, code, payload);
    free(memory); /* tidy: allow alloc: see parts_begin */
}

void bus_call_cancel(struct bus *bus, struct pool_handle handle)
{
    struct call *call = NULL;

    assert(bus != NULL);
    call = pool_get(bus->calls, handle);
    if (call != NULL) {
        forget(bus, call);
    }
}

void bus_calls_fail(struct bus *bus)
{
    uint32_t slot = 0;
    struct call *call = NULL;

    while ((call = pool_next(bus->calls, &slot)) != NULL) {
        /* A request may have arrived; what is left to JetStream has an id and may be repeated. */
        bool unknown = call->kind == CALL_PARTS && !bus->closing;
        finish(bus, call, unknown ? ERR_TIMEOUT : ERR_UNAVAILABLE, STR_EMPTY);
    }
}

void bus_calls_end_pack(struct bus *bus, uint32_t number, enum code code)
{
    uint32_t slot = 0;
    struct call *call = NULL;

    assert(code != OK);
    while (number != 0 && (call = pool_next(bus->calls, &slot)) != NULL) {
        if (call->pack == number) {
            finish(bus, call, code, STR_EMPTY);
        }
    }
}

/* --- deadlines ----------------------------------------------------------------------- */

static void sweep_tick(struct bus *bus, uint64_t tick, uint64_t now_tick)
{
    struct list *slot = &bus->wheel[tick % BUS_TICKS];
    struct list due;
    struct list *node = NULL;

    list_init(&due);
    while ((node = list_pop_front(slot)) != NULL) {
        list_push_back(&due, node);
    }
    while ((node = list_pop_front(&due)) != NULL) {
        if (tick_of(call_of(node)->deadline_ms) > now_tick) {
            list_push_back(slot, node); /* a round later: the loop had stood still for long */
        } else {
            finish(bus, call_of(node), ERR_TIMEOUT, STR_EMPTY);
        }
    }
}

static void sweep_due(void *arg)
{
    struct bus *bus = arg;
    const uint64_t now_tick = clock_mono_ms() / BUS_TICK_MS;
    uint64_t from = bus->swept + 1;

    if (now_tick >= BUS_TICKS && from < now_tick - BUS_TICKS + 1) {
        from = now_tick - BUS_TICKS + 1; /* once round is every slot */
    }
    bus_enter(bus);
    for (uint64_t tick = from; tick <= now_tick; tick++) {
        sweep_tick(bus, tick, now_tick);
    }
    bus->swept = now_tick > bus->swept ? now_tick : bus->swept;
    if (pool_used(bus->calls) == 0) {
        bus->sweeping = false;
        loop_timer_stop(bus->sweep);
    }
    bus_leave(bus);
}

static void watch_deadline(struct bus *bus, struct call *call)
{
    if (!bus->sweeping) {
        bus->sweeping = true;
        bus->swept = clock_mono_ms() / BUS_TICK_MS;
        loop_timer_start(bus->sweep, BUS_TICK_MS, BUS_TICK_MS);
    }
    list_push_back(&bus->wheel[tick_of(call->deadline_ms) % BUS_TICKS], &call->node);
}

/* --- replies ------------------------------------------------------------------------- */

bool bus_hex_number(struct str s, uint32_t *out)
{
    uint32_t value = 0;

    if (s.len == 0 || s.len > 8) {
        return false;
    }
    for (size_t i = 0; i < s.len; i++) {
        const char c = s.ptr[i];

        if (c >= '0' && c <= '9') {
            value = (value << 4) | (uint32_t)(c - '0');
        } else if (c >= 'a' && c <= 'f') {
            value = (value << 4) | (uint32_t)(c - 'a' + 10);
        } else {
            return false;
        }
    }
    *out = value;
    return true;
}

static struct call *call_of_subject(const struct bus *bus, struct str subject)
{
    struct str rest = str_sub(subject, bus->inbox_len, subject.len);
    struct str part = STR_EMPTY;
    struct pool_handle handle = {0, 0};

    if (!str_split(&rest, '.', &part) || !bus_hex_number(part, &handle.slot) ||
        !bus_hex_number(rest, &handle.generation)) {
        return NULL;
    }
    return pool_get(bus->calls, handle);
}

/* Memory for all parts at once: too seldom and too large for a pool of its own. */
static enum code parts_begin(struct bus *bus, struct call *call, uint32_t count)
{
    const size_t bytes = count * BUS_PART_BYTES;

    assert(call->memory == NULL);
    if (bus->reassembly_bytes + bytes > BUS_REASSEMBLY_BYTES_MAX) {
        return ERR_OVERLOADED;
    }
    /* tidy: allow alloc: bounded by BUS_REASSEMBLY_BYTES_MAX for all calls together */
    call->memory = malloc(bytes);
    if (call->memory == NULL) {
        return ERR_OVERLOADED;
    }
    bus->reassembly_bytes += bytes;
    call->part_count = count;
    return OK;
}

static enum code part_put(struct call *call, uint32_t index, struct str body)
{
    const bool last = index + 1 == call->part_count;
    const uint32_t bit = UINT32_C(1) << index;

    if (body.len > BUS_PART_BYTES || body.len == 0 || (!last && body.len != BUS_PART_BYTES)) {
        return ERR_INTERNAL;
    }
    if ((call->parts_seen & bit) == 0) {
        call->parts_seen |= bit;
        call->len += body.len;
        memcpy(call->memory + index * BUS_PART_BYTES, body.ptr, body.len);
    }
    return OK;
}

static void part_arrived(struct bus *bus, struct call *call, struct str data)
{
    const unsigned char *head = (const unsigned char *)data.ptr;
    const struct str body = str_sub(data, BUS_PART_HEAD_BYTES, data.len);
    uint32_t index = 0;
    uint32_t count = 0;
    enum code code = OK;

    if (data.len >= BUS_PART_HEAD_BYTES) {
        index = (uint32_t)head[0] << 8 | head[1];
        count = (uint32_t)head[2] << 8 | head[3];
    }
    if (index >= count || count > BUS_PARTS_MAX ||
        (call->part_count != 0 && count != call->part_count)) {
        finish(bus, call, ERR_INTERNAL, STR_EMPTY);
        return;
    }
    if (count == 1) {
        finish(bus, call, OK, body);
        return;
    }
    if (call->part_count == 0) {
        code = parts_begin(bus, call, count);
    }
    if (code == OK) {
        code = part_put(call, index, body);
    }
    if (code != OK) {
        finish(bus, call, code, STR_EMPTY);
    } else if (call->parts_seen == (uint32_t)((UINT64_C(1) << count) - 1)) {
        finish(bus, call, OK, (struct str){(const char *)call->memory, call->len});
    }
}

/* What came for a pack: answers to some of its calls or others', or that nobody listens. */
static void pack_arrived(struct bus *bus, const struct bus_message *message, uint32_t number)
{
    struct str rest = bus_message_data(message);
    struct pack_member member;

    if (natsMsg_IsNoResponders(bus_message_nats(message))) {
        bus_calls_end_pack(bus, number, ERR_UNAVAILABLE);
        return;
    }
    for (size_t i = 0; i < BUS_PACK_MEMBERS_MAX && bus_pack_next(&rest, &member); i++) {
        struct call *call = pool_get(bus->calls, member.handle);

        if (call != NULL && call->kind == CALL_PARTS) {
            part_arrived(bus, call, member.body);
        } else {
            bus->late_replies++;
        }
    }
}

static void reply_arrived(void *ctx, struct bus_message *message)
{
    struct bus *bus = ctx;
    const struct str subject = bus_message_subject(message);
    struct call *call = call_of_subject(bus, subject);
    const struct str data = bus_message_data(message);
    struct str inbox = STR_EMPTY;
    uint32_t number = 0;

    if (call == NULL && bus_pack_subject(subject, &inbox, &number)) {
        pack_arrived(bus, message, number);
    } else if (call == NULL) {
        bus->late_replies++;
    } else if (natsMsg_IsNoResponders(bus_message_nats(message))) {
        finish(bus, call, ERR_UNAVAILABLE, STR_EMPTY);
    } else if (call->kind == CALL_PARTS) {
        part_arrived(bus, call, data);
    } else {
        finish(bus, call, call->kind == CALL_PUB_ACK ? bus_pub_ack(bus, data) : OK, data);
    }
    bus_message_destroy(message);
}

/* --- calling ------------------------------------------------------------------------- */

static natsStatus
send_with_id(struct bus *bus, const struct call_request *request, const char *reply)
{
    natsMsg *message = NULL;
    natsStatus status = natsMsg_Create(
        &message, request->subject, reply, request->payload.ptr, (int)request->payload.len);

    if (status == NATS_OK) {
        status = natsMsgHeader_Set(message, "Nats-Msg-Id", request->message_id);
    }
    if (status == NATS_OK) {
        status = natsConnection_PublishMsg(bus->link.nc, message);
    }
    natsMsg_Destroy(message);
    return status;
}

static enum code send_alone(struct bus *bus,
                            const struct call_request *request,
                            struct pool_handle handle,
                            struct err *err)
{
    char reply[BUS_INBOX_BYTES_MAX + 24];
    struct buf b = buf_over(reply, sizeof(reply));
    natsStatus status = NATS_OK;
    bool fits = false;

    buf_append(&b, bus->inbox_prefix, bus->inbox_len);
    buf_printf(&b, "%x.%x", handle.slot, handle.generation);
    fits = buf_terminate(&b);
    assert(fits);
    if (request->message_id != NULL) {
        status = send_with_id(bus, request, reply);
    } else {
        status = natsConnection_PublishRequest(
            bus->link.nc, request->subject, reply, request->payload.ptr, (int)request->payload.len);
    }
    return bus_sent(bus, status, err);
}

static enum code send(struct bus *bus,
                      const struct call_request *request,
                      struct pool_handle handle,
                      struct err *err)
{
    const struct pack_entry entry = {
        .subject = request->subject, .handle = handle, .body = request->payload};
    struct call *call = pool_get(bus->calls, handle);

    assert(call != NULL);
    call->pack = 0;
    if (request->kind != CALL_PARTS || !bus_pack_takes(request->payload)) {
        return send_alone(bus, request, handle, err);
    }
    call->pack = bus_pack_add(bus, &entry);
    return OK;
}

static enum code
request_check(struct bus *bus, const struct call_request *request, uint64_t now_ms, struct err *err)
{
    enum code code = bus_subject_check(request->subject, false, err);

    if (code == OK && request->payload.len > BUS_PAYLOAD_BYTES_MAX) {
        code = err_set(err, ERR_TOO_LARGE, "a request of %zu bytes", request->payload.len);
    }
    if (code == OK) {
        code = bus_ready(bus, err);
    }
    if (code == OK && request->deadline_ms <= now_ms) {
        code = err_set(err, ERR_TIMEOUT, "the deadline is past");
    }
    return code;
}

enum code bus_call_start(struct bus *bus,
                         const struct call_request *request,
                         struct pool_handle *out_handle,
                         struct err *err)
{
    const uint64_t now_ms = clock_mono_ms();
    struct pool_handle handle = {0, 0};
    struct call *call = NULL;
    enum code code = request_check(bus, request, now_ms, err);

    assert(request->done != NULL);
    if (code != OK) {
        return code;
    }
    call = pool_take(bus->calls, &handle);
    if (call == NULL) {
        return err_set(err, ERR_OVERLOADED, "%u calls are waiting", pool_count(bus->calls));
    }
    list_init(&call->node);
    call->done = request->done;
    call->ctx = request->ctx;
    call->kind = request->kind;
    call->deadline_ms = request->deadline_ms < now_ms + BUS_CALL_MS_MAX ? request->deadline_ms
                                                                        : now_ms + BUS_CALL_MS_MAX;
    code = send(bus, request, handle, err);
    if (code != OK) {
        forget(bus, call);
        return code;
    }
    watch_deadline(bus, call);
    if (out_handle != NULL) {
        *out_handle = handle;
    }
    return OK;
}

/* The contract of the header has eight parameters. NOLINTNEXTLINE(readability-function-size) */
enum code bus_call(struct bus *bus,
                   const char *subject,
                   struct str payload,
                   uint64_t deadline_mono_ms,
                   bus_call_done done,
                   void *ctx,
                   struct pool_handle *out_handle,
                   struct err *err)
{
    const struct call_request request = {
        .subject = subject,
        .payload = payload,
        .deadline_ms = deadline_mono_ms,
        .kind = CALL_PARTS,
        .done = done,
        .ctx = ctx,
    };

    assert(bus != NULL);
    return bus_call_start(bus, &request, out_handle, err);
}

/* --- life ---------------------------------------------------------------------------- */

/* Twice the calls fit: parts come in numbers. */
static size_t ring_messages(uint32_t in_flight_max)
{
    size_t messages = BUS_RING_MESSAGES;

    while (messages < 2 * (size_t)in_flight_max && messages < RING_MESSAGES_MAX) {
        messages *= 2;
    }
    return messages;
}

enum code bus_calls_open(struct bus *bus, uint32_t in_flight_max, struct err *err)
{
    char subject[BUS_INBOX_BYTES_MAX + 2];
    struct buf b = buf_over(subject, sizeof(subject));
    const struct subscription_spec spec = {
        subject, NULL, reply_arrived, bus, ring_messages(in_flight_max)};
    bool fits = false;

    assert(in_flight_max > 0);
    assert(in_flight_max <= BUS_IN_FLIGHT_MAX);
    for (size_t i = 0; i < BUS_TICKS; i++) {
        list_init(&bus->wheel[i]);
    }
    bus->calls = pool_open(sizeof(struct call), in_flight_max);
    bus->sweep = loop_timer_open(bus->loop, sweep_due, bus);
    if (bus->calls == NULL || bus->sweep == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory for %u calls", in_flight_max);
    }
    buf_append(&b, bus->inbox_prefix, bus->inbox_len);
    buf_char(&b, '>');
    fits = buf_terminate(&b);
    assert(fits);
    return bus_subscription_open(bus, &spec, &bus->inbox, err);
}

void bus_calls_close(struct bus *bus)
{
    assert(bus->calls == NULL || pool_used(bus->calls) == 0);
    assert(bus->reassembly_bytes == 0);
    pool_close(&bus->calls);
}
