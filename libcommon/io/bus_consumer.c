/*
 * Durable push consumers: replicas share one through its deliver group. After every connect, and
 * now and then in between (somebody may have deleted it), the consumer is asked for again, which
 * changes nothing when it is there.
 */
#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/json_write.h"
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <string.h>

#define CONSUMER_NAME_BYTES_MAX 64
#define CONSUMER_CALL_MS_MAX    5000
#define CONSUMER_CHECK_MS       30000
#define NANOSECONDS_PER_MS      UINT64_C(1000000)
#define ACK_TOKENS              9  /* $JS.ACK.stream.consumer.delivered.sseq.cseq.time.pending */
#define ACK_DOMAIN_TOKENS       11 /* with domain and account hash after ACK; more may follow */
#define ACK_TOKENS_MAX          16
#define ACK_DELIVERED           4
#define ACK_SEQUENCE            5

struct bus_consumer {
    struct bus *bus;
    struct list node;
    struct bus_subscription *subscription;
    struct loop_timer *timer;
    void (*handler)(void *ctx, struct bus_message *message);
    void *ctx;
    struct backoff backoff;
    bool asking;
    struct pool_handle call;
    uint32_t ack_pending_max;
    uint64_t ack_wait_ms;
    int64_t deliver_max;
    char stream[CONSUMER_NAME_BYTES_MAX + 1];
    char durable[CONSUMER_NAME_BYTES_MAX + 1];
    char filter_subject[BUS_SUBJECT_BYTES_MAX + 1];
    char deliver_subject[BUS_SUBJECT_BYTES_MAX + 1];
};

/* --- asking the server ----------------------------------------------------------------- */

static void key_text(struct json_writer *w, struct str key, const char *text)
{
    json_key(w, key);
    json_text(w, str_from(text));
}

static void write_request(struct json_writer *w, const struct bus_consumer *c)
{
    json_object_begin(w);
    key_text(w, STR("stream_name"), c->stream);
    json_key(w, STR("config"));
    json_object_begin(w);
    key_text(w, STR("durable_name"), c->durable);
    key_text(w, STR("deliver_subject"), c->deliver_subject);
    key_text(w, STR("deliver_group"), c->durable);
    key_text(w, STR("filter_subject"), c->filter_subject);
    key_text(w, STR("deliver_policy"), "all");
    key_text(w, STR("ack_policy"), "explicit");
    key_text(w, STR("replay_policy"), "instant");
    json_key(w, STR("ack_wait"));
    json_uint64(w, c->ack_wait_ms * NANOSECONDS_PER_MS);
    json_key(w, STR("max_deliver"));
    json_int64(w, c->deliver_max > 0 ? c->deliver_max : -1);
    json_key(w, STR("max_ack_pending"));
    json_uint64(w, c->ack_pending_max);
    json_object_end(w);
    json_object_end(w);
}

static void ask_later(struct bus_consumer *c, uint64_t after_ms)
{
    loop_timer_start(c->timer, after_ms, 0);
}

static void asked(void *ctx, enum code code, struct str payload)
{
    struct bus_consumer *c = ctx;
    struct api_reply reply = {0};

    c->asking = false;
    if (code == OK) {
        code = bus_api_read(c->bus, payload, &reply, NULL);
    }
    if (code == OK && reply.error == 0) {
        backoff_reset(&c->backoff);
        ask_later(c, CONSUMER_CHECK_MS);
        return;
    }
    if (!bus_usable(c->bus)) {
        return; /* asked again with the next connection */
    }
    log_event(LOG_WARN,
              "bus_consumer_refused",
              LOG_S("stream", c->stream),
              LOG_S("durable", c->durable),
              LOG_S("code", code_wire(code)),
              LOG_I("api_code", reply.error),
              LOG_S("text", reply.text));
    ask_later(c, backoff_next_ms(&c->backoff));
}

static enum code send_request(struct bus_consumer *c, struct arena *arena)
{
    char subject[BUS_SUBJECT_BYTES_MAX + 1];
    struct buf b = buf_over(subject, sizeof(subject));
    struct json_writer w = {0};
    struct call_request request = {
        .subject = subject,
        .deadline_ms = clock_mono_ms() + CONSUMER_CALL_MS_MAX,
        .kind = CALL_RAW,
        .done = asked,
        .ctx = c,
    };
    enum code code = OK;
    bool fits = false;

    json_open(&w, arena, 1024, BUS_API_BYTES_MAX);
    write_request(&w, c);
    code = json_finish(&w, &request.payload, NULL);
    if (code != OK) {
        return code;
    }
    buf_printf(&b, "$JS.API.CONSUMER.DURABLE.CREATE.%s.%s", c->stream, c->durable);
    fits = buf_terminate(&b);
    assert(fits);
    return bus_call_start(c->bus, &request, &c->call, NULL);
}

static void consumer_ask(struct bus_consumer *c)
{
    struct arena *arena = NULL;
    enum code code = ERR_OVERLOADED;

    if (c->asking || !bus_usable(c->bus)) {
        return;
    }
    arena = arena_open(c->bus->arenas, BUS_API_BYTES_MAX);
    if (arena != NULL) {
        code = send_request(c, arena);
        arena_dispose(&arena);
    }
    c->asking = code == OK;
    if (!c->asking) {
        ask_later(c, backoff_next_ms(&c->backoff));
    }
}

static void ask_due(void *arg)
{
    consumer_ask(arg);
}

void bus_consumers_ensure(struct bus *bus)
{
    LIST_EACH(&bus->consumers, node)
    {
        consumer_ask(LIST_ENTRY(node, struct bus_consumer, node));
    }
}

/* --- deliveries ------------------------------------------------------------------------ */

static bool from_stream(const struct bus_message *m)
{
    return str_starts(bus_message_reply(m), STR("$JS.ACK."));
}

/* Anybody who may speak on the deliver subject could have sent it. */
static void delivered(void *ctx, struct bus_message *message)
{
    const struct bus_consumer *c = ctx;

    if (from_stream(message)) {
        c->handler(c->ctx, message);
    } else {
        bus_message_destroy(message);
    }
}

/* --- life ------------------------------------------------------------------------------ */

static enum code
copy_spec(struct bus_consumer *c, const struct bus_consumer_spec *spec, struct err *err)
{
    struct buf b = buf_over(c->deliver_subject, sizeof(c->deliver_subject));
    enum code code = bus_token_check(spec->stream, CONSUMER_NAME_BYTES_MAX, err);
    bool fits = false;

    if (code == OK) {
        code = bus_token_check(spec->durable, BUS_QUEUE_BYTES_MAX, err);
    }
    if (code == OK) {
        code = bus_subject_check(spec->filter_subject, true, err);
    }
    if (code != OK) {
        return code;
    }
    memcpy(c->stream, spec->stream, strlen(spec->stream) + 1);
    memcpy(c->durable, spec->durable, strlen(spec->durable) + 1);
    memcpy(c->filter_subject, spec->filter_subject, strlen(spec->filter_subject) + 1);
    c->ack_pending_max = spec->ack_pending_max;
    c->ack_wait_ms = spec->ack_wait_ms;
    c->deliver_max = spec->deliver_max;
    buf_printf(&b, "deliver.%s.%s", c->stream, c->durable);
    fits = buf_terminate(&b);
    assert(fits);
    return OK;
}

enum code bus_consume(struct bus *bus,
                      const struct bus_consumer_spec *spec,
                      void (*handler)(void *ctx, struct bus_message *message),
                      void *ctx,
                      struct bus_consumer **out,
                      struct err *err)
{
    struct bus_consumer *c = NULL;
    enum code code = OK;

    assert(bus != NULL);
    assert(spec != NULL);
    assert(out != NULL);
    assert(spec->ack_pending_max > 0);
    assert(spec->ack_pending_max <= STREAM_ACK_PENDING_MAX);
    assert(spec->ack_wait_ms > 0);
    *out = NULL;
    c = pool_take(bus->consumer_pool, NULL);
    if (c == NULL) {
        return err_set(err, ERR_OVERLOADED, "more than %d consumers", BUS_CONSUMERS_MAX);
    }
    c->bus = bus;
    c->handler = handler;
    c->ctx = ctx;
    c->backoff = (struct backoff){.first_ms = BUS_RETRY_FIRST_MS, .cap_ms = BUS_RETRY_MS_MAX};
    list_init(&c->node);
    c->timer = loop_timer_open(bus->loop, ask_due, c);
    code = c->timer == NULL ? err_set(err, ERR_INTERNAL, "no memory for a timer")
                            : copy_spec(c, spec, err);
    if (code == OK) {
        code =
            bus_subscribe(bus, c->deliver_subject, c->durable, delivered, c, &c->subscription, err);
    }
    if (code != OK) {
        bus_consumer_close(&c);
        return code;
    }
    list_push_back(&bus->consumers, &c->node);
    consumer_ask(c);
    *out = c;
    return OK;
}

void bus_consumer_close(struct bus_consumer **consumer)
{
    struct bus_consumer *c = NULL;
    struct bus *bus = NULL;

    assert(consumer != NULL);
    c = *consumer;
    *consumer = NULL;
    if (c == NULL) {
        return;
    }
    bus = c->bus;
    if (c->asking) {
        bus_call_cancel(c->bus, c->call);
    }
    list_remove(&c->node);
    loop_timer_close(&c->timer);
    bus_unsubscribe(&c->subscription);
    pool_give(bus->consumer_pool, c);
}

enum code bus_consumers_open(struct bus *bus, struct err *err)
{
    assert(bus->consumer_pool == NULL);
    bus->consumer_pool = pool_open(sizeof(struct bus_consumer), BUS_CONSUMERS_MAX);
    return bus->consumer_pool != NULL ? OK : err_set(err, ERR_INTERNAL, "no memory for consumers");
}

void bus_consumers_end(struct bus *bus)
{
    struct list *node = NULL;

    while ((node = list_pop_front(&bus->consumers)) != NULL) {
        struct bus_consumer *c = LIST_ENTRY(node, struct bus_consumer, node);

        bus_consumer_close(&c);
    }
}

void bus_consumers_close(struct bus *bus)
{
    assert(list_empty(&bus->consumers));
    pool_close(&bus->consumer_pool);
}

/* --- answers to a delivery --------------------------------------------------------------- */

/* Best effort: an answer that is lost means another delivery, which the handler must bear anyway.
 */
static void answer(struct bus *bus, const struct bus_message *m, struct str text)
{
    const struct str reply = bus_message_reply(m);
    enum code code = OK;

    assert(from_stream(m));
    code = bus_publish(bus, reply.ptr, text, NULL);
    (void)code;
}

void bus_message_ack(struct bus *bus, const struct bus_message *m)
{
    answer(bus, m, STR("+ACK"));
}

void bus_message_nak(struct bus *bus, const struct bus_message *m, uint32_t delay_ms)
{
    char text[64];
    struct buf b = buf_over(text, sizeof(text));

    buf_text(&b, "-NAK {\"delay\": ");
    buf_uint64(&b, delay_ms * NANOSECONDS_PER_MS);
    buf_char(&b, '}');
    assert(!b.overflow);
    answer(bus, m, buf_view(&b));
}

void bus_message_term(struct bus *bus, const struct bus_message *m)
{
    answer(bus, m, STR("+TERM"));
}

/* --- what a delivery says about itself ----------------------------------------------------- */

struct str bus_message_id(const struct bus_message *m)
{
    const char *value = NULL;

    return natsMsgHeader_Get(bus_message_nats(m), "Nats-Msg-Id", &value) == NATS_OK
               ? str_from(value)
               : STR_EMPTY;
}

/* The number at that place of the short form; 0 when the message is not from a stream. */
static uint64_t ack_number(const struct bus_message *m, size_t place)
{
    struct str rest = bus_message_reply(m);
    struct str tokens[ACK_TOKENS_MAX];
    size_t count = 0;
    uint64_t value = 0;

    if (!str_starts(rest, STR("$JS.ACK."))) {
        return 0;
    }
    while (count < ACK_TOKENS_MAX && str_split(&rest, '.', &tokens[count])) {
        count++;
    }
    if (count >= ACK_DOMAIN_TOKENS) {
        place += ACK_DOMAIN_TOKENS - ACK_TOKENS;
    } else if (count != ACK_TOKENS) {
        return 0;
    }
    return str_to_uint64(tokens[place], &value) ? value : 0;
}

uint64_t bus_message_stream_sequence(const struct bus_message *m)
{
    return ack_number(m, ACK_SEQUENCE);
}

uint64_t bus_message_deliveries(const struct bus_message *m)
{
    return ack_number(m, ACK_DELIVERED);
}
