#include "libcommon/service/consumer.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>

_Static_assert(CONSUMER_DEADLINE_MS < CONSUMER_ACK_MS,
               "a message is not delivered twice while under way");
_Static_assert(CONSUMER_PENDING_MAX <= STREAM_ACK_PENDING_MAX, "pending messages fit the ring");
_Static_assert(CONSUMERS_MAX *CONSUMER_PENDING_MAX <= REQUESTS_MAX,
               "every message finds a request");

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
    uint64_t logged_ms;
    size_t count;
    struct consumer all[CONSUMERS_MAX];
};

static void count_outcome(const struct consumers *consumers, enum consumed outcome)
{
    metric_add(consumers->options.metrics, METRIC_CONSUMED, outcome, 1);
}

/* Doubles with every delivery: 0.25 s, 0.5 s, ... */
static uint32_t again_ms(uint64_t deliveries)
{
    uint64_t shift = deliveries < 9 ? deliveries : 9;
    uint64_t wait = UINT64_C(125) << shift;

    return wait < CONSUMER_AGAIN_MS_MAX ? (uint32_t)wait : CONSUMER_AGAIN_MS_MAX;
}

static void give_back(struct consumers *consumers, struct bus_message *message)
{
    count_outcome(consumers, CONSUMED_AGAIN);
    bus_message_nak(consumers->options.bus, message, again_ms(bus_message_deliveries(message)));
}

static void end_for_good(struct consumer *consumer, struct bus_message *message, const char *cause)
{
    log_event(LOG_ERROR,
              "message_terminated",
              LOG_S("consumer", consumer->row->durable),
              LOG_V("id", bus_message_id(message)),
              LOG_V("subject", bus_message_subject(message)),
              LOG_U("sequence", bus_message_stream_sequence(message)),
              LOG_S("cause", cause));
    count_outcome(consumer->owner, CONSUMED_NEVER);
    bus_message_term(consumer->owner->options.bus, message);
}

static bool is_final(enum code code, uint64_t deliveries)
{
    if (code == ERR_INTERNAL) {
        return deliveries >= CONSUMER_INTERNAL_MAX;
    }
    return !code_retryable(code);
}

static void finish(void *ctx, struct req *r)
{
    struct consumer *consumer = ctx;
    struct consumers *consumers = consumer->owner;
    struct bus_message *message = r->source_data;

    if (r->code == OK) {
        count_outcome(consumers, CONSUMED_DONE);
        bus_message_ack(consumers->options.bus, message);
    } else if (is_final(r->code, bus_message_deliveries(message))) {
        end_for_good(consumer, message, code_wire(r->code));
    } else {
        give_back(consumers, message);
    }
    bus_message_destroy(message);
    r->source_data = NULL;
}

/* How old the message is, when its type says when it happened. */
static void note_lag(const struct consumer *consumer, const ProtobufCMessage *in)
{
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(in->descriptor, "occurred_ms");
    uint64_t now = clock_wall_ms();

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

/* The envelope a message would have had; NULL when the arena is full. */
static Avanta__Request *envelope_new(const struct consumer *consumer,
                                     const struct bus_message *message,
                                     struct arena *arena)
{
    Avanta__Request *envelope = arena_alloc(arena, sizeof *envelope);
    char *id = arena_strdup(arena, bus_message_id(message));

    if (envelope == NULL || id == NULL) {
        return NULL;
    }
    avanta__request__init(envelope);
    envelope->method = proto_text(consumer->row->durable);
    envelope->request_id = id;
    envelope->issued_ms = clock_wall_ms();
    envelope->deadline_ms = envelope->issued_ms + CONSUMER_DEADLINE_MS;
    return envelope;
}

/* True: a request came of it, which owns the message from now on. */
static bool submit(struct consumer *consumer, struct bus_message *message, struct arena **arena)
{
    const struct consumers_options *options = &consumer->owner->options;
    struct str data = bus_message_data(message);
    ProtobufCAllocator allocator;
    Avanta__Request *envelope = envelope_new(consumer, message, *arena);
    ProtobufCMessage *in = NULL;
    struct req *r = NULL;

    transcode_allocator(&allocator, *arena);
    in = protobuf_c_message_unpack(
        consumer->row->in->descriptor, &allocator, data.len, (const uint8_t *)data.ptr);
    if (envelope == NULL || (in == NULL && arena_exhausted(*arena))) {
        give_back(consumer->owner, message);
        return false;
    }
    if (in == NULL) {
        end_for_good(consumer, message, "not a message of the expected type");
        return false;
    }
    r = runner_take(options->runner, consumer->endpoint, &consumer->source, arena);
    if (r == NULL) {
        give_back(consumer->owner, message);
        return false;
    }
    note_lag(consumer, in);
    r->in = in;
    r->envelope = envelope;
    r->context.request_id = envelope->request_id;
    r->source_data = message;
    runner_submit(r, clock_mono_ms() + CONSUMER_DEADLINE_MS);
    return true;
}

static void on_message(void *ctx, struct bus_message *message)
{
    struct consumer *consumer = ctx;
    struct arena *arena = arena_open(consumer->owner->options.arenas, REQ_ARENA_BYTES_MAX);

    if (arena == NULL) {
        give_back(consumer->owner, message);
        bus_message_destroy(message);
        return;
    }
    if (!submit(consumer, message, &arena)) {
        bus_message_destroy(message);
    }
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
    free(closing);
}
