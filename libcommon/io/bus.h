#pragma once
/*
 * NATS for one loop: one connection (libuv adapter and SendAsap), publish, subscribe, request/reply
 * with one inbox, JetStream. Messages arrive on nats.c's threads, cross a bounded ring, and are
 * handled on the loop thread only. Every call has a deadline; every table a bound. The connection
 * retries for ever with back-off; while it is down calls answer ERR_UNAVAILABLE at once.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/pool.h"
#include "libcommon/io/loop.h"

struct bus;
struct bus_message;
struct bus_subscription;

struct bus_options {
    const char *url; /* nats://127.0.0.1:4222 */
    const char *user;
    const char *password;
    const char *name; /* process name, shown by the server, and the inbox prefix _INBOX.<name>. */
    uint32_t in_flight_max;
    void (*on_state)(void *ctx, bool connected); /* on the loop */
    void *ctx;
};

/* The first connection is made in the background; on_state tells. */
enum code bus_open(struct loop *loop,
                   const struct bus_options *options,
                   struct bus **out,
                   struct err *err) MUST_CHECK;
bool bus_connected(const struct bus *bus);
/* Stops deliveries after what the ring holds; `done` when nothing is left to hand over. */
void bus_drain(struct bus *bus, void (*done)(void *arg), void *arg);
void bus_close(struct bus **bus); /* destroys subscriptions and the connection */

enum code
bus_publish(struct bus *bus, const char *subject, struct str payload, struct err *err) MUST_CHECK;

/* `queue` may be NULL. The handler owns the message and must end it with bus_message_destroy().
 * While more than BUS_RING_MESSAGES wait, `on_overflow` runs on a nats.c thread with the message's
 * reply subject handled by the bus: a request is answered "overloaded" by silence and the caller's
 * retry; counted in bus_stats. */
enum code bus_subscribe(struct bus *bus,
                        const char *subject,
                        const char *queue,
                        void (*handler)(void *ctx, struct bus_message *message),
                        void *ctx,
                        struct bus_subscription **out,
                        struct err *err) MUST_CHECK;
void bus_unsubscribe(struct bus_subscription **subscription);

struct str bus_message_subject(const struct bus_message *m);
struct str bus_message_data(const struct bus_message *m);
struct str bus_message_reply(const struct bus_message *m); /* empty: none wanted */
void bus_message_destroy(struct bus_message *m);           /* accepts NULL */

/* Answers a bus_call(): over BUS_PART_BYTES_MAX the payload goes in numbered parts. */
enum code bus_respond(struct bus *bus,
                      struct str reply_subject,
                      struct str payload,
                      struct err *err) MUST_CHECK;

/*
 * Request/reply. `done` runs exactly once on the loop, never inside bus_call: OK with the payload
 * (valid during the callback), ERR_TIMEOUT at the deadline, ERR_UNAVAILABLE when nobody listens or
 * the connection is down. Late replies are counted and dropped. ERR_OVERLOADED at once when
 * in_flight_max are waiting.
 */
typedef void (*bus_call_done)(void *ctx, enum code code, struct str payload);
enum code bus_call(struct bus *bus,
                   const char *subject,
                   struct str payload,
                   uint64_t deadline_mono_ms,
                   bus_call_done done,
                   void *ctx,
                   struct pool_handle *out_handle,
                   struct err *err) MUST_CHECK;
void bus_call_cancel(struct bus *bus, struct pool_handle handle); /* done will not run */

/* --- JetStream --- */
struct bus_stream_spec {
    const char *name;            /* "EVENTS" */
    const char *const *subjects; /* NULL-terminated */
    uint64_t duplicate_window_ms;
    uint64_t max_age_ms; /* 0: keep */
    uint64_t max_bytes;
};
/* Creates the stream or checks that it has at least these subjects. Asynchronous like bus_call. */
enum code bus_stream_ensure(struct bus *bus,
                            const struct bus_stream_spec *spec,
                            uint64_t deadline_mono_ms,
                            bus_call_done done,
                            void *ctx,
                            struct err *err) MUST_CHECK;
/* Publishes with Nats-Msg-Id; OK once the server has stored it (or knew the id). The ack is parsed
 * here. */
enum code bus_stream_publish(struct bus *bus,
                             const char *subject,
                             const char *message_id,
                             struct str payload,
                             uint64_t deadline_mono_ms,
                             bus_call_done done,
                             void *ctx,
                             struct err *err) MUST_CHECK;

struct bus_consumer_spec {
    const char *stream;
    const char *durable; /* also the deliver group, so that replicas share */
    const char *filter_subject;
    uint32_t ack_pending_max; /* <= STREAM_ACK_PENDING_MAX */
    uint64_t ack_wait_ms;
    int64_t deliver_max; /* then terminated by the server, an advisory tells */
};
struct bus_consumer;
/* Creates the durable push consumer when missing and subscribes; redelivers what is not
 * acknowledged in time. Re-established after a reconnect. The handler owns the message:
 * bus_message_ack/nak, then destroy. */
enum code bus_consume(struct bus *bus,
                      const struct bus_consumer_spec *spec,
                      void (*handler)(void *ctx, struct bus_message *message),
                      void *ctx,
                      struct bus_consumer **out,
                      struct err *err) MUST_CHECK;
void bus_consumer_close(struct bus_consumer **consumer);
void bus_message_ack(struct bus *bus, const struct bus_message *m);
void bus_message_nak(struct bus *bus, const struct bus_message *m, uint32_t delay_ms);
void bus_message_term(struct bus *bus, const struct bus_message *m); /* never deliver again */
struct str bus_message_id(const struct bus_message *m); /* Nats-Msg-Id, empty when absent */
uint64_t bus_message_stream_sequence(const struct bus_message *m);
uint64_t bus_message_deliveries(const struct bus_message *m);

struct bus_stats {
    uint64_t received;
    uint64_t published;
    uint64_t ring_overflows;
    uint64_t late_replies;
    uint64_t reconnects;
    uint32_t in_flight;
};
void bus_stats(const struct bus *bus, struct bus_stats *out);
