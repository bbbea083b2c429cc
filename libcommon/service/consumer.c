#include "libcommon/service/consumer.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/base/pool.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/service/outbox.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>

_Static_assert(CONSUMER_DEADLINE_MS < CONSUMER_ACK_MS,
               "a message is not delivered twice while under way");
_Static_assert(CONSUMER_PENDING_MAX <= STREAM_ACK_PENDING_MAX, "pending messages fit the ring");
_Static_assert(CONSUMERS_MAX *CONSUMER_PENDING_MAX *OUTBOX_PACK_RECORDS_MAX <= REQUESTS_MAX,
               "every record finds a request");

/* A message whose records are under way. */
struct delivery {
    struct consumer *consumer;
    struct bus_message *message;
    size_t pending;
    bool again;     /* a record failed for a passing reason */
    bool malformed; /* no records at all */
};

struct consumer {
    const struct consumer_row *row;
    struct consumers *owner;
    struct endpoint *endpoint;
    struct bus_consumer *handle;
    size_t index;
    struct request_source source;
};

struct consumers {
    struct consumers_options options;
    struct pool *deliveries;
    size_t count;
    struct consumer all[CONSUMERS_MAX];
};

static void count_outcome(const struct consumers *consumers, enum consumed outcome)
{
    assert(consumers != NULL);
    metric_add(consumers->options.metrics, METRIC_CONSUMED, outcome, 1);
}

/* Doubles with every delivery: 0.25 s, 0.5 s, ... */
static uint32_t again_ms(uint64_t deliveries)
{
    uint64_t shift = deliveries < 9 ? deliveries : 9;
    uint64_t wait = UINT64_C(125) << shift;

    return wait < CONSUMER_AGAIN_MS_MAX ? (uint32_t)wait : CONSUMER_AGAIN_MS_MAX;
}

/* `id` is the message's, or a record's in it. */
static void say_terminated(const struct delivery *delivery, struct str id, const char *cause)
{
    const struct bus_message *message = delivery->message;

    log_event(LOG_ERROR,
              "message_terminated",
              LOG_S("consumer", delivery->consumer->row->durable),
              LOG_V("id", id),
              LOG_V("subject", bus_message_subject(message)),
              LOG_U("sequence", bus_message_stream_sequence(message)),
              LOG_S("cause", cause));
    count_outcome(delivery->consumer->owner, CONSUMED_NEVER);
}

static bool is_final(enum code code, uint64_t deliveries)
{
    if (code == ERR_INTERNAL) {
        return deliveries >= CONSUMER_INTERNAL_MAX;
    }
    return !code_retryable(code);
}

/* One record less is under way; after the last the server hears about the message. */
static void settle(struct delivery *delivery)
{
    struct consumers *consumers = delivery->consumer->owner;
    struct bus_message *message = delivery->message;

    assert(delivery->pending > 0);
    if (--delivery->pending > 0) {
        return;
    }
    if (delivery->malformed) {
        bus_message_term(consumers->options.bus, message);
    } else if (delivery->again) {
        bus_message_nak(consumers->options.bus, message, again_ms(bus_message_deliveries(message)));
    } else {
        bus_message_ack(consumers->options.bus, message);
    }
    bus_message_destroy(message);
    pool_give(consumers->deliveries, delivery);
}

static void again(struct delivery *delivery)
{
    assert(delivery != NULL);
    delivery->again = true;
    count_outcome(delivery->consumer->owner, CONSUMED_AGAIN);
}

static void finish(void *ctx, struct req *r)
{
    struct consumer *consumer = ctx;
    struct delivery *delivery = r->source_data;

    assert(delivery->consumer == consumer);
    if (r->code == OK) {
        count_outcome(consumer->owner, CONSUMED_DONE);
    } else if (is_final(r->code, bus_message_deliveries(delivery->message))) {
        say_terminated(delivery, str_from(r->envelope->request_id), code_wire(r->code));
    } else {
        again(delivery);
    }
    r->source_data = NULL;
    settle(delivery);
}

/* How old the message is, when its type says when it happened. */
static void note_lag(const struct consumer *consumer, const ProtobufCMessage *in)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(in->descriptor, "occurred_ms");
    uint64_t now = clock_wall_ms();

    assert(consumer != NULL);
    if (field == NULL || field->type != PROTOBUF_C_TYPE_UINT64) {
        return;
    }
    const char *at = (const char *)in + field->offset;
    uint64_t occurred = *(const uint64_t *)(const void *)at;
    metric_set(consumer->owner->options.metrics,
               METRIC_CONSUMER_LAG_MS,
               consumer->index,
               occurred < now ? (int64_t)(now - occurred) : 0);
}

/* The envelope a record would have had; NULL when the arena is full. */
static Avanta__Request *
envelope_new(const struct delivery *delivery, size_t index, struct arena *arena)
{
    const struct str message_id = bus_message_id(delivery->message);
    Avanta__Request *envelope = arena_alloc(arena, sizeof *envelope);
    char *id = arena_printf(arena, "%.*s-%zu", STR_FMT(message_id), index);

    if (envelope == NULL || id == NULL) {
        return NULL;
    }
    avanta__request__init(envelope);
    envelope->method = proto_text(delivery->consumer->row->durable);
    envelope->request_id = id;
    envelope->issued_ms = clock_wall_ms();
    envelope->deadline_ms = envelope->issued_ms + CONSUMER_DEADLINE_MS;
    return envelope;
}

/* A request for one record; the arena is the request's from then on. */
static void submit(struct delivery *delivery,
                   size_t index,
                   const ProtobufCBinaryData *record,
                   struct arena **arena)
{
    struct consumer *consumer = delivery->consumer;
    ProtobufCAllocator allocator;
    Avanta__Request *envelope = envelope_new(delivery, index, *arena);
    ProtobufCMessage *in = NULL;
    struct req *r = NULL;

    assert(record != NULL);
    transcode_allocator(&allocator, *arena);
    in = protobuf_c_message_unpack(
        consumer->row->in->descriptor, &allocator, record->len, record->data);
    if (envelope == NULL || (in == NULL && arena_exhausted(*arena))) {
        again(delivery);
        return;
    }
    if (in == NULL) {
        say_terminated(
            delivery, str_from(envelope->request_id), "not a record of the expected type");
        return;
    }
    r = runner_take(consumer->owner->options.runner, consumer->endpoint, &consumer->source, arena);
    if (r == NULL) {
        again(delivery);
        return;
    }
    note_lag(consumer, in);
    r->in = in;
    r->envelope = envelope;
    r->context.request_id = envelope->request_id;
    r->source_data = delivery;
    delivery->pending++;
    runner_submit(r, clock_mono_ms() + CONSUMER_DEADLINE_MS);
}

/* Once one had no room the rest waits for the next delivery too. */
static void submit_all(struct delivery *delivery, const Avanta__Records *records)
{
    assert(delivery != NULL);
    assert(records != NULL);
    for (size_t i = 0; i < records->n_record && !delivery->again; i++) {
        struct arena *arena =
            arena_open(delivery->consumer->owner->options.arenas, REQ_ARENA_BYTES_MAX);

        if (arena == NULL) {
            again(delivery);
        } else {
            submit(delivery, i, &records->record[i], &arena);
        }
        arena_dispose(&arena);
    }
}

static void on_message(void *ctx, struct bus_message *message)
{
    struct consumer *consumer = ctx;
    struct consumers *consumers = consumer->owner;
    struct arena *arena = arena_open(consumers->options.arenas, REQ_ARENA_BYTES_MAX);
    struct delivery *delivery = pool_take(consumers->deliveries, NULL);
    const struct str data = bus_message_data(message);
    ProtobufCAllocator allocator;
    Avanta__Records *records = NULL;

    if (delivery == NULL) { /* a server that restarted sends again what is still under way */
        count_outcome(consumers, CONSUMED_AGAIN);
        bus_message_nak(consumers->options.bus, message, again_ms(bus_message_deliveries(message)));
        bus_message_destroy(message);
        arena_dispose(&arena);
        return;
    }
    *delivery = (struct delivery){.consumer = consumer, .message = message};
    delivery->pending = 1; /* held until all are submitted */
    if (arena != NULL) {
        transcode_allocator(&allocator, arena);
        records = avanta__records__unpack(&allocator, data.len, (const uint8_t *)data.ptr);
    }
    if (records != NULL) {
        submit_all(delivery, records);
    } else if (arena == NULL || arena_exhausted(arena)) {
        again(delivery);
    } else {
        delivery->malformed = true;
        say_terminated(delivery, bus_message_id(message), "not a message of records");
    }
    settle(delivery);
    arena_dispose(&arena);
}

enum code
consumers_open(const struct consumers_options *options, struct consumers **out, struct err *err)
{
    struct consumers *consumers = calloc(1, sizeof *consumers);
    enum code code = OK;

    assert(options->count <= CONSUMERS_MAX);
    if (consumers == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the consumers");
    }
    consumers->options = *options;
    consumers->deliveries =
        pool_open(sizeof(struct delivery), CONSUMERS_MAX * CONSUMER_PENDING_MAX);
    if (consumers->deliveries == NULL) {
        code = err_set(err, ERR_OVERLOADED, "no memory for the consumers");
    }
    for (size_t i = 0; i < options->count && code == OK; i++) {
        struct consumer *consumer = &consumers->all[i];
        const struct consumer_row *row = &options->rows[i];
        struct bus_consumer_spec spec = {.stream = row->stream,
                                         .durable = row->durable,
                                         .filter_subject = row->filter_subject,
                                         .ack_pending_max = CONSUMER_PENDING_MAX,
                                         .ack_wait_ms = CONSUMER_ACK_MS,
                                         .deliver_max = 0 /* the end is ours to judge */};
        *consumer = (struct consumer){
            .row = row,
            .owner = consumers,
            .endpoint = &options->endpoints[i],
            .index = i,
            .source = {finish, consumer}
        };
        code = bus_consume(options->bus, &spec, on_message, consumer, &consumer->handle, err);
        consumers->count++;
    }
    if (code != OK) {
        consumers_close(&consumers);
    }
    *out = consumers;
    return code;
}

void consumers_stop(struct consumers *consumers)
{
    assert(consumers != NULL);
    for (size_t i = 0; i < consumers->count; i++) {
        if (consumers->all[i].handle != NULL) {
            bus_consumer_close(&consumers->all[i].handle);
        }
    }
}

void consumers_close(struct consumers **consumers)
{
    struct consumers *closing = *consumers;

    *consumers = NULL;
    if (closing == NULL) {
        return;
    }
    consumers_stop(closing);
    if (closing->deliveries != NULL) {
        assert(pool_used(closing->deliveries) == 0);
        pool_close(&closing->deliveries);
    }
    free(closing);
}
