#pragma once
/*
 * Inside the bus. Files: bus.c (life), bus_publish.c, bus_link.c (one nats.c connection on the
 * loop), bus_tls.c (its TLS), bus_inbox.c (subscriptions, rings), bus_call.c (requests in flight),
 * bus_pack.c (many small messages as one), bus_stream.c and bus_consumer.c (JetStream). Everything
 * belongs to the loop thread but the fields marked atomic, which nats.c's threads write before they
 * wake the loop.
 */

#include "libcommon/base/backoff.h"
#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/list.h"
#include "libcommon/base/ring.h"
#include "libcommon/base/sm.h"
#include "libcommon/io/bus.h"

#include <nats/nats.h>

#include <pthread.h>
#include <stdatomic.h>

#define BUS_NAME_BYTES_MAX       48
#define BUS_SUBJECT_BYTES_MAX    511
#define BUS_QUEUE_BYTES_MAX      63
#define BUS_PENDING_BYTES_MAX    (32 * 1024 * 1024) /* written by us, not taken by the socket */
#define BUS_FLUSH_BYTES          (256 * 1024)       /* from here on a publish writes at once */
#define BUS_RING_BYTES_MAX       (128UL * 1024 * 1024)
#define BUS_REASSEMBLY_BYTES_MAX (64UL * 1024 * 1024)
#define BUS_READ_BYTES           65536 /* one read of the socket per turn */
#define BUS_MESSAGE_BYTES_MIN    14    /* "MSG x 1 0", two line ends */
#define BUS_BACKLOG_MESSAGES_MAX 3072  /* of one subscription; from here on nothing is read */
#define BUS_BACKLOG_BYTES_MAX    (BUS_RING_BYTES_MAX - 2 * BUS_PAYLOAD_BYTES_MAX)
#define BUS_TURN_MESSAGES_MAX    1024
#define BUS_TURN_BURST           64 /* messages of one subscription before the next one's turn */
#define BUS_CONNECT_MS_MAX       2000
#define BUS_PING_MS              20000
#define BUS_PINGS_OUT_MAX        2
#define BUS_RETRY_FIRST_MS       100
#define BUS_RETRY_MS_MAX         2000
#define BUS_CLOSE_FLUSH_MS_MAX   500
#define BUS_CONSUMERS_MAX        32
#define BUS_PART_HEAD_BYTES      4
#define BUS_PART_BYTES           ((size_t)BUS_PART_BYTES_MAX)
#define BUS_TICK_MS              16 /* deadlines are kept to this */
#define BUS_TICKS                2048
#define BUS_INBOX_BYTES_MAX      96 /* _INBOX.<name>.<16 hex>. */
#define BUS_INBOX_RANDOM_DIGITS  16
#define BUS_PACKS                8 /* destinations of one turn; more make it leave in between */
#define BUS_PACK_BYTES           (64UL * 1024)
#define BUS_PACK_BODY_BYTES_MAX  (16UL * 1024) /* larger ones go alone */
#define BUS_PACK_MEMBERS_MAX     64
#define BUS_PACK_HEAD_BYTES      12
#define BUS_API_BYTES_MAX        (64UL * 1024) /* of arena, for one request or reply of JetStream */

_Static_assert(BUS_TICK_MS *(BUS_TICKS - 2) > BUS_CALL_MS_MAX, "a deadline fits the wheel");
_Static_assert(BUS_PENDING_BYTES_MAX > BUS_PARTS_MAX * (BUS_PART_BYTES_MAX + 1024),
               "the largest reply can be written");
_Static_assert(BUS_BACKLOG_MESSAGES_MAX + BUS_READ_BYTES / BUS_MESSAGE_BYTES_MIN + 1 <=
                   BUS_RING_MESSAGES,
               "what is read fits the ring");
_Static_assert(BUS_PART_BYTES_MAX + BUS_PART_HEAD_BYTES <= BUS_PAYLOAD_BYTES_MAX,
               "a part and its head fit one message");

_Static_assert(BUS_PACK_BYTES < BUS_PAYLOAD_BYTES_MAX, "a pack fits one message");
_Static_assert(BUS_PACK_BODY_BYTES_MAX + BUS_PART_HEAD_BYTES + BUS_PACK_HEAD_BYTES <=
                   BUS_PACK_BYTES,
               "a member fits a pack");

enum bus_state {
    BUS_WAITING,    /* no connection; the next attempt is due when the timer says */
    BUS_CONNECTING, /* nats.c connects on a thread of the pool */
    BUS_UP,
    BUS_LOSING, /* the connection ends; nats.c may still run callbacks */
    BUS_STATE_COUNT
};

/* What other threads tell about the connection. */
#define LINK_WRITE    1U /* bytes wait to be written */
#define LINK_STOPPED  2U /* lost or closed: nothing can be sent any more */
#define LINK_CLOSED   4U /* nats.c's last callback about the connection has run */
#define LINK_DETACHED 8U /* nats.c has let go of our event functions */

struct link_poll;

struct bus_link {
    natsConnection *nc;
    struct link_poll *poll;
    pthread_t thread; /* the loop's */
    int fd;           /* our duplicate of nats.c's socket */
    bool write_wanted;
    bool write_blocked;     /* the socket was full */
    bool paused;            /* nothing is read: the backlog has to be worked off first */
    uint32_t subscriptions; /* attached and not yet completed */
    bool secure;            /* TLS is configured */
    natsStatus status;      /* of the last attempt */
    char text[128];
    atomic_uint marks;
    atomic_uint inside; /* threads of nats.c inside a function of ours */
};

struct bus_subscription {
    struct bus *bus;
    struct list node;
    void (*handler)(void *ctx, struct bus_message *message);
    void *ctx;
    struct ring *ring;
    natsSubscription *nats; /* NULL once we have given it up */
    bool attached;          /* nats.c may still call into it */
    bool drained;           /* wants nothing more from the server */
    bool ended;             /* nothing is handed over any more; goes when nats.c lets go */
    atomic_bool completed;
    atomic_size_t bytes; /* in the ring */
    char subject[BUS_SUBJECT_BYTES_MAX + 1];
    char queue[BUS_QUEUE_BYTES_MAX + 1];
};

/* Messages that wait for the end of the turn. */
struct bus_pack {
    bool answers;
    uint32_t number; /* calls carry it, to end together when nobody listens */
    uint32_t count;  /* 0: the pack is free */
    struct pool_handle first;
    size_t len;
    unsigned char *bytes;
    char subject[BUS_SUBJECT_BYTES_MAX + 1]; /* of answers: the asker's inbox, ends in '.' */
};

struct bus {
    struct loop *loop;
    struct sm sm;
    bool closing;
    uint32_t depth; /* functions of ours on the stack that may call back */
    struct loop_waker *waker;
    struct loop_timer *retry; /* next attempt */
    struct loop_timer *sweep; /* deadlines; runs only while calls wait */
    struct loop_pass *flush;
    struct backoff backoff;
    natsOptions *options;
    struct bus_link link;
    void (*on_state)(void *ctx, bool connected);
    void *on_state_ctx;
    void (*on_drained)(void *arg);
    void *on_drained_arg;
    bool flushing; /* a pool thread waits until the server has read everything */
    uint64_t logged_ms;

    struct list subscriptions;
    struct bus_subscription *inbox;
    struct list consumers;
    struct pool *consumer_pool;
    struct arena_pool *arenas; /* JSON of JetStream */
    struct pool *ensures;      /* streams being made */

    struct pool *calls;
    uint64_t swept; /* last tick whose deadlines were looked at */
    bool sweeping;
    size_t reassembly_bytes;
    struct list wheel[BUS_TICKS];

    struct bus_pack packs[BUS_PACKS];
    unsigned char *pack_memory;
    uint32_t pack_number; /* of the newest */

    uint64_t received;
    uint64_t published;
    uint64_t late_replies;
    uint64_t connects;
    atomic_ulong overflows;
    uint64_t dropped; /* by nats.c, of subscriptions that are over */

    size_t inbox_len;
    char inbox_prefix[BUS_INBOX_BYTES_MAX]; /* ends in '.' */
    char name[BUS_NAME_BYTES_MAX + 1];
    unsigned char part[BUS_PART_HEAD_BYTES + BUS_PART_BYTES]; /* one part being sent */
};

/* --- bus.c ------------------------------------------------------------------------ */
/* Around everything that may call the user: the bus is freed by the outermost leave at the
 * earliest, so nothing may touch it afterwards. */
void bus_enter(struct bus *bus);
void bus_leave(struct bus *bus);
bool bus_usable(const struct bus *bus);

/* --- bus_publish.c ---------------------------------------------------------------- */
/* ERR_INVALID for what is not a subject; wildcards only where they are allowed. */
enum code bus_subject_check(const char *subject, bool wildcards, struct err *err) MUST_CHECK;
enum code bus_token_check(const char *token, size_t bytes_max, struct err *err) MUST_CHECK;
/* Down, closing, or too much not yet written. */
enum code bus_ready(struct bus *bus, struct err *err) MUST_CHECK;
/* What nats.c said about a publish; counts and writes out when a lot waits. */
enum code bus_sent(struct bus *bus, natsStatus status, struct err *err) MUST_CHECK;

/* --- bus_link.c ------------------------------------------------------------------- */
enum code
bus_link_open(struct bus *bus, const struct bus_options *options, struct err *err) MUST_CHECK;
void bus_link_connect(void *arg); /* on a pool thread; the result is in link.status */
/* On the loop, after a good bus_link_connect(). */
bool bus_link_begin(struct bus *bus) MUST_CHECK;
bool bus_link_stopped(const struct bus *bus);
void bus_link_marked(struct bus *bus); /* a wake: acts on what other threads have marked */
void bus_link_flush(struct bus *bus);
void bus_link_pace(struct bus *bus); /* reads or pauses, as the backlog says */
void bus_link_settle(void *arg);     /* on a pool thread: until the server has read everything */
/* Starts the end; true from bus_link_gone() when no thread will call again. */
void bus_link_end(struct bus *bus);
bool bus_link_gone(struct bus *bus);
void bus_link_close(struct bus *bus);
/* Around what nats.c's threads do to the bus. */
void bus_thread_enter(struct bus *bus);
void bus_thread_leave(struct bus *bus);

/* --- bus_tls.c -------------------------------------------------------------------- */
/* With a CA the connection is TLS or is not made. ERR_INVALID: the setting in err's field. */
enum code
bus_tls_open(natsOptions *o, const struct bus_options *options, struct err *err) MUST_CHECK;
/* What an operator can do about a failed connection; empty for what TLS has no part in. */
const char *bus_tls_advice(natsStatus status, bool secure);

/* --- bus_inbox.c ------------------------------------------------------------------ */
struct subscription_spec {
    const char *subject;
    const char *queue;
    void (*handler)(void *ctx, struct bus_message *message);
    void *ctx;
    size_t ring_messages;
};
enum code bus_subscription_open(struct bus *bus,
                                const struct subscription_spec *spec,
                                struct bus_subscription **out,
                                struct err *err) MUST_CHECK;
bool bus_subscriptions_attach(struct bus *bus) MUST_CHECK; /* false: the connection is no good */
void bus_subscriptions_detach(struct bus *bus);
void bus_subscriptions_drain(struct bus *bus);
bool bus_subscriptions_drained(const struct bus *bus);
void bus_subscriptions_end(struct bus *bus);
void bus_subscriptions_reap(struct bus *bus);
bool bus_deliver(struct bus *bus); /* true: more waits */
bool bus_backlogged(const struct bus *bus);
uint64_t bus_subscriptions_dropped(const struct bus *bus);
natsMsg *bus_message_nats(const struct bus_message *m);

/* --- bus_pack.c ------------------------------------------------------------------- */
struct pack_entry {
    const char *subject; /* of a request; of an answer: the asker's inbox */
    bool answer;
    struct pool_handle handle;
    struct str head; /* BUS_PART_HEAD_BYTES at most; goes before the body */
    struct str body;
};
struct pack_member {
    struct pool_handle handle;
    struct str body;
};
enum code bus_packs_open(struct bus *bus, struct err *err) MUST_CHECK;
void bus_packs_close(struct bus *bus);
bool bus_pack_takes(struct str body); /* small enough */
/* Copies the entry; the bus must be ready. Returns the pack's number. */
uint32_t bus_pack_add(struct bus *bus, const struct pack_entry *entry);
void bus_packs_flush(struct bus *bus);
/* The end of the connection: waiting calls end with ERR_UNAVAILABLE, answers go if `answer`. */
void bus_packs_end(struct bus *bus, bool answer);
/* Reading: what is left of a pack; false at its end or where it makes no sense. */
bool bus_pack_next(struct str *rest, struct pack_member *out);
/* Splits the reply subject of a plain request of a bus; false: it is another's. */
bool bus_pack_inbox(struct str subject, struct str *out_inbox, struct pool_handle *out_handle);
/* The same for the reply subject of a pack. */
bool bus_pack_subject(struct str subject, struct str *out_inbox, uint32_t *out_number);

/* --- bus_call.c ------------------------------------------------------------------- */
enum call_kind {
    CALL_PARTS,
    CALL_RAW,    /* the reply as it is */
    CALL_PUB_ACK /* the reply is JetStream's answer to a publish */
};
struct call_request {
    const char *subject;
    struct str payload;
    const char *message_id; /* NULL: no header */
    uint64_t deadline_ms;
    enum call_kind kind;
    bus_call_done done;
    void *ctx;
};
enum code bus_calls_open(struct bus *bus, uint32_t in_flight_max, struct err *err) MUST_CHECK;
void bus_calls_close(struct bus *bus);
void bus_calls_fail(struct bus *bus); /* all, with the codes of bus.h */
void bus_calls_end_pack(struct bus *bus, uint32_t number, enum code code);
bool bus_hex_number(struct str s, uint32_t *out); /* 1 to 8 small digits */
enum code bus_call_start(struct bus *bus,
                         const struct call_request *request,
                         struct pool_handle *out_handle,
                         struct err *err) MUST_CHECK;

/* --- bus_stream.c ----------------------------------------------------------------- */
enum code bus_streams_open(struct bus *bus, struct err *err) MUST_CHECK;
void bus_streams_close(struct bus *bus);
/* What an answer of the JetStream API says. */
struct api_reply {
    int64_t error;  /* the API's err_code; 0: none */
    int64_t status; /* HTTP-like code of the error */
    uint64_t found; /* bit i: subjects[i] is among the stream's */
    bool stored;    /* has a sequence: a publish was stored */
    bool drops;     /* the stream: messages go by age, or by number per subject, or the oldest */
    int64_t messages_max; /* the stream's bounds; -1: none */
    int64_t message_bytes_max;
    int64_t bytes_max;
    char retention[16];
    char text[128];                                    /* description of the error */
    const char (*subjects)[BUS_SUBJECT_BYTES_MAX + 1]; /* in: what to look for */
    uint32_t subject_count;
};
enum code
bus_api_read(struct bus *bus, struct str json, struct api_reply *reply, struct err *err) MUST_CHECK;
enum code bus_pub_ack(struct bus *bus, struct str json);

/* --- bus_consumer.c --------------------------------------------------------------- */
enum code bus_consumers_open(struct bus *bus, struct err *err) MUST_CHECK;
void bus_consumers_ensure(struct bus *bus);
void bus_consumers_end(struct bus *bus);
void bus_consumers_close(struct bus *bus);
