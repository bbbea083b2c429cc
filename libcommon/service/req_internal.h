#pragma once
/*
 * The request as the skeleton sees it: one struct, nothing about a request lives elsewhere.
 * Handlers see it through req.h only. Owned by the runner's pool; on the loop thread. A request is
 * in at most one list (`node`), and its state says in which.
 */

#include "libcommon/base/limits.h"
#include "libcommon/base/list.h"
#include "libcommon/base/sm.h"
#include "libcommon/codec/violations.h"
#include "libcommon/service/effects.h"
#include "libcommon/service/req.h"

struct runner;
struct group;
struct lane;

enum req_state {
    REQ_NEW,   /* taken, not submitted */
    REQ_HELD,  /* waits for its turn: turns.h */
    REQ_READY, /* something arrived for it: in the runner's ready list, or its group's turn comes */
    REQ_RUNNING,    /* inside its steps */
    REQ_QUEUED,     /* has a statement to send: in a queue, or in its group between rounds */
    REQ_WAIT_QUERY, /* its statement is under way */
    REQ_WAIT_WORK,  /* its work is on the thread pool */
    REQ_DECIDED,    /* its verdict stands and waits for a commit */
    REQ_COMMITTING, /* in the commit that is under way */
    REQ_BACKOFF,    /* waits to be run again after a serialization failure */
    REQ_REPLYING,   /* the verdict is handed to its source */
    REQ_EXPIRED,    /* answered; a group or a thread still holds it */
    REQ_STATE_COUNT
};

/* What the last step started. */
enum req_effect {
    EFFECT_NONE,
    EFFECT_STATEMENT,
    EFFECT_WORK
};

/* The request's Idempotency-Key and this transaction. */
enum req_idempotency {
    IDEMPOTENCY_NONE,    /* no key */
    IDEMPOTENCY_DUE,     /* to be claimed before its first statement */
    IDEMPOTENCY_ASKED,   /* the claim is under way */
    IDEMPOTENCY_CLAIMED, /* ours: the verdict will be stored */
    IDEMPOTENCY_KNOWN,   /* ours, and nothing to store: replayed, or another request's key */
    IDEMPOTENCY_BUSY     /* in flight elsewhere */
};

/* A row for the outbox, in the order emitted. */
struct emission {
    struct emission *next;
    enum {
        EMISSION_EVENT,  /* written when the request succeeds */
        EMISSION_AUDIT,  /* the same; packed late, when the severity is known */
        EMISSION_FAILURE /* an audit record that is written in any case */
    } kind;
    const char *subject;
    struct str body;             /* EMISSION_EVENT */
    Avanta__AuditRecord *record; /* the others */
};

#define REQ_ARENA_BYTES_MAX ((size_t)REQUEST_ARENA_BYTES_MAX)
#define REQ_STATE_BYTES_MAX 65536
#define REQ_EVENTS_MAX      4096
#define REQ_PUBLISHES_MAX   4

/*
 * One operation, consumer or periodic job of the process: what its requests share. The counters
 * feed metrics and $SRV.STATS.
 */
struct endpoint {
    const char *name; /* "ledger.CreateTransaction", a consumer's durable name, a job's name */
    const struct op *op;
    const struct api_method *method;       /* NULL: not called over the bus */
    const struct message_rules *in;        /* NULL: no input */
    const ProtobufCMessageDescriptor *out; /* NULL: no reply message */
    size_t series;                         /* in the metrics by endpoint */
    bool sequential;                       /* seen to issue a second statement: see op.h */
    bool slow; /* seen to work on a thread inside a transaction: runs alone from then on */
    uint64_t answered[CODE_COUNT];
    uint64_t busy_us;
    char last_error[ERR_TEXT_BYTES];
};

/* Where requests come from; `finish` runs once for each, when the verdict stands. */
struct request_source {
    void (*finish)(void *ctx, struct req *r);
    void *ctx;
};

struct req {
    struct list node;
    struct sm sm;
    struct runner *runner;
    struct arena *arena;

    /* --- where it comes from and how long it may take --- */
    struct endpoint *endpoint;
    const struct request_source *source;
    void *source_data; /* in the arena, or the source's */
    Avanta__Request *envelope;
    struct pg_context context;
    uint64_t owner; /* hash of the user whose data it works on */
    bool owned;     /* there is one */
    uint64_t arrived_mono_us;
    struct {
        uint64_t queue_us; /* from its arrival to its first statement, or commit; 0: it had none */
        uint64_t asked_us; /* since when the database works for it; 0: it does not */
        uint64_t database_us;
    } clock; /* for the log */
    uint64_t deadline_mono_ms;

    /* --- input and output --- */
    ProtobufCMessage *in;
    ProtobufCMessage *out;
    void *state;
    size_t state_bytes;
    uint32_t retry_after_s; /* 0: not said */

    /* --- the verdict: OK, an error, or a refusal with a reason --- */
    enum code code;
    Avanta__Reason reason;
    const char *detail;            /* for people */
    struct violations *violations; /* NULL: none */
    Avanta__Reply *replay;         /* the stored reply to give instead */
    struct err cause;              /* for the log only */

    /* --- steps and their effects --- */
    uint32_t step;       /* the next one */
    uint32_t step_first; /* where a new run begins: behind req_transaction once that was passed */
    const void *state_first; /* what req_state() holds then; NULL: zeros */
    bool outside;            /* of its transaction: before req_transaction */
    bool work_place;         /* it holds one of the places for work */
    uint32_t statements;     /* sent in this run */
    enum req_effect effect;
    struct statement statement;
    const ProtobufCMessage *statement_in;
    struct pg_answer answer;
    struct pg_result *shared; /* of a set statement, the group's: its answer for this request */
    struct pg_result *result; /* what req_row() reads, from row_first on */
    size_t row_first;
    size_t row_count;
    size_t affected;

    /* --- the transaction --- */
    struct lane *lane;   /* NULL: it takes no turn */
    bool its_turn;       /* it has come */
    bool apart;          /* shares its transaction only with its owner's */
    struct group *group; /* NULL: in none */
    enum req_idempotency idempotency;
    struct idempotency *key; /* NULL without a key */
    bool wrote;              /* a statement of this run changed rows */
    bool singly;             /* a set statement it was part of failed: sent by itself from now on */
    bool keeps;              /* refused, and what it wrote is committed all the same */
    bool alone;              /* shares its transaction with nobody */
    bool afterwards;         /* only its records are left to be written */
    uint32_t regroups;
    uint32_t losses;
    uint32_t retries;
    uint64_t not_before_ms;

    /* --- what the commit carries and what follows it --- */
    struct emission *emissions;
    struct emission *emission_last;
    uint32_t emission_count;
    bool recorded; /* it leaves an audit record of what it did */
    const char *severity;
    uint32_t publish_count;
    struct {
        const char *subject;
        struct str payload;
    } publishes[REQ_PUBLISHES_MAX];
};

_Static_assert(sizeof(struct req) <= 2048, "all requests together stay below 16 MiB");

/* For the messages of protobuf-c, whose texts are `char *` even where nothing writes them. */
static inline char *proto_text(const char *text)
{
    union {
        const char *given;
        char *taken;
    } same = {text};

    return same.taken;
}

/* The verdict "error" with the first cause; later ones are ignored. */
void req_set_error(struct req *r, enum code code, const struct err *cause);
/* Forgets everything a run of the steps left, so that they may run again. False: the arena is full,
 * the error is set. */
bool req_reset(struct req *r) MUST_CHECK;
void req_result_clear(struct req *r);
/* Its steps are done: what an rpc that writes has not recorded by itself is recorded now. */
void req_record_rest(struct req *r);
/* The reply as it goes over the bus, without its nonce; views into the request. */
enum code req_reply(struct req *r, Avanta__Reply *out, struct err *err) MUST_CHECK;
