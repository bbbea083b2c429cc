#pragma once
/*
 * NATS for one loop: one connection (nats.c on the loop, SendAsap), publish, subscribe,
 * request/reply with one inbox, JetStream. Messages arrive on nats.c's threads, cross a bounded
 * ring, and are handled on the loop thread only. Every call has a deadline; every table a bound.
 * The connection retries for ever with back-off; while it is down calls answer ERR_UNAVAILABLE at
 * once: nothing was sent. Those that were waiting when it went down end with ERR_TIMEOUT, since
 * their message may have arrived. Several loops of a process may each have
 * their bus. All functions belong to the loop thread. Callbacks may call any of them, bus_close()
 * included.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/pool.h"
#include "libcommon/io/loop.h"

struct bus;
struct bus_message;
struct bus_subscription;

struct bus_options {
    const char *url;  /* nats://127.0.0.1:4222 */
    const char *user; /* NULL or empty: none */
    const char *password;
    /* PEM files, NULL or empty: none. With `ca_file` the connection is TLS 1.2 or newer, to a
     * server whose certificate that file vouches for and which is for the URL's host, or is not
     * made. The other two, both or none, say who we are. */
    const char *ca_file;
    const char *cert_file;
    const char *key_file;
    /* [A-Za-z0-9_-], shown by the server; the inbox is _INBOX.<name>.<random>, so several buses may
     * have one name and their user needs the right to hear _INBOX.<name>.> only. */
    const char *name;
    uint32_t in_flight_max;                      /* 1..BUS_IN_FLIGHT_MAX */
    void (*on_state)(void *ctx, bool connected); /* on the loop */
    void *ctx;
};

/* The first connection is made in the background; on_state tells. Nothing starts before the loop
 * runs. */
enum code bus_open(struct loop *loop,
                   const struct bus_options *options,
                   struct bus **out,
                   struct err *err) MUST_CHECK;
bool bus_connected(const struct bus *bus);
/* Tells the server to send no more; `done` when what was under way is handed over, at the latest
 * DRAIN_MS_MAX later. Calls go on: their replies still come. */
void bus_drain(struct bus *bus, void (*done)(void *arg), void *arg);
/* Answers waiting calls with ERR_UNAVAILABLE, frees subscriptions and consumers; after it returns
 * nothing is called back. The connection ends on the loop, once the server has read what was
 * published (half a second at most); the loop's run does not end before. Accepts NULL. */
void bus_close(struct bus **bus);

enum code
bus_publish(struct bus *bus, const char *subject, struct str payload, struct err *err) MUST_CHECK;

/* `queue` may be NULL. The handler owns the message and must end it with bus_message_destroy().
 * While a subscription has too many waiting, the socket is not read and the server holds the rest;
 * what would not fit its ring all the same is dropped and counted in bus_stats. Survives
 * reconnects. */
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

/* Answers a bus_call(): over BUS_PART_BYTES_MAX the payload goes in numbered parts, BUS_PARTS_MAX
 * at most. Each part has a head of four bytes: index and count, big-endian. ERR_INVALID: not an
 * inbox. */
enum code bus_respond(struct bus *bus,
                      struct str reply_subject,
                      struct str payload,
                      struct err *err) MUST_CHECK;

/*
 * Request/reply. `done` runs exactly once on the loop, never inside bus_call: OK with the payload
 * (valid during the callback); ERR_TIMEOUT at the deadline or when the connection goes meanwhile;
 * ERR_UNAVAILABLE when nobody listens or the connection is down: then nobody got it. Late replies
 * are counted and dropped. ERR_OVERLOADED at once when in_flight_max are waiting.
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
    /* Not 0: a work queue of messages of that size at most. A message goes when its one consumer
     * has acknowledged it and never before: what finds no room is refused, and max_age_ms is 0. 0:
     * the oldest go when it is full. */
    uint64_t queue_message_bytes_max;
};
/* Creates the stream or checks that it has at least these subjects and keeps messages in this way.
 * Asynchronous like bus_call. When it fails, the payload is the reason; ERR_CONFLICT: there is one
 * of that name that does not fit, and an operator has to see to it. */
enum code bus_stream_ensure(struct bus *bus,
                            const struct bus_stream_spec *spec,
                            uint64_t deadline_mono_ms,
                            bus_call_done done,
                            void *ctx,
                            struct err *err) MUST_CHECK;
/* Publishes with Nats-Msg-Id; OK once the server has stored it (or knew the id). The ack is parsed
 * here. ERR_UNAVAILABLE: no stream takes the subject, or the connection went; ERR_OVERLOADED: the
 * stream is full. Publish again. */
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
    int64_t deliver_max; /* then terminated by the server, an advisory tells; 0: no end */
};
struct bus_consumer;
/* Creates the durable push consumer when missing and subscribes; redelivers what is not
 * acknowledged in time. Waits for the stream when that is missing; re-established after a
 * reconnect. At least once: a crash of the server may bring back what was acknowledged. The handler
 * owns the message: bus_message_ack/nak, then destroy. */
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
/* 0 when the message is not from a stream. */
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
