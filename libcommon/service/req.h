#pragma once
/*
 * One request inside a service: identity, deadline, input, output, error, statements, events.
 * Everything about it lives in its arena and dies with it. Owned by the runner; handlers see it
 * only inside their steps, on the loop thread. A step issues at most one effect (req_query*,
 * req_work) and then returns its verdict. A step list may be run again from the first step with the
 * same input (group commit retry, serialization failure): steps keep no state outside req_state()
 * and the reply, and the runner resets both.
 */

#include "avanta/common.pb-c.h"

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/service/op.h"

const void *req_in(const struct req *r); /* the request message, checked against its rules */
void *req_out(struct req *r);            /* the reply message, initialised */
struct arena *req_arena(struct req *r);
const Avanta__Principal *req_principal(const struct req *r); /* NULL on public operations */
const char *req_user_id(const struct req *r);                /* asserts an authenticated caller */
const char *req_client_ip(const struct req *r);              /* NULL: not known */
const char *req_user_agent(const struct req *r);             /* likewise */
/* The caller's request id; of a consumer's record the record's, the same at each delivery. */
const char *req_id(const struct req *r);
const char *req_method(const struct req *r); /* "ledger.CreateTransaction"; NULL: of none */
/* Of the W3C trace context, 32 hex digits, copied; NULL: there is none, or no memory. */
char *req_trace_id(struct req *r);
uint64_t req_now_ms(const struct req *r);   /* wall time at arrival, stable in retries */
struct date req_today(const struct req *r); /* in Mexico City */
/* Zeroed memory for the steps of this request, the same block for every call with one size. */
void *req_state(struct req *r, size_t bytes);
void *req_service(const struct req *r); /* what the service's on_start made */

/* --- database: the result of the statement is there when the next step runs --- */
/* Parameters bind by name from the request message. `query` is an index of the service's table. */
enum step req_query(struct req *r, uint16_t query);
/* The same from another message of the query's `in` type; it must live in the arena. */
enum step req_query_from(struct req *r, uint16_t query, const ProtobufCMessage *in);
size_t req_rows(const struct req *r); /* rows of the last result */
/* One row into an initialised message; aborts on a programmer's error, ERR_TOO_LARGE sets the
 * request's error. */
bool req_row(struct req *r, size_t row, ProtobufCMessage *out) MUST_CHECK;
/* A new message of the query's `out` type for the row; NULL when the arena is full (error set). */
ProtobufCMessage *req_row_new(struct req *r, size_t row);
/* All rows as an array of messages, for a repeated field. False: error set. */
bool req_rows_all(struct req *r, size_t *out_count, ProtobufCMessage ***out) MUST_CHECK;

/* Ready-made last steps. */
/* The request's one statement could have changed rows and its answer says that it did not: a
 * refusal need not undo anything, and disturbs nobody in the same group commit. */
void req_changed_nothing(struct req *r);
enum step req_reply_row(struct req *r); /* row 0 into the reply; NOT_FOUND without a row */
/* Every row into the repeated message field of the reply with this protobuf field name. */
enum step req_reply_rows(struct req *r, const char *field);

/* --- refusals and errors: each sets the answer and gives STEP_FAIL --- */
enum step req_refuse(struct req *r, enum _Avanta__Reason reason);
/* The same, and what the request wrote, emitted and published stands: a token found stolen ends its
 * session although the answer is no. TX_WRITE only; the step must issue no effect. */
enum step req_refuse_keeping(struct req *r, enum _Avanta__Reason reason);
/* Both of this and the next one. */
enum step req_refuse_keeping_saying(struct req *r, enum _Avanta__Reason reason, const char *text);
/* With a text for people that says more than the reason's own; it is copied. */
enum step req_refuse_saying(struct req *r, enum _Avanta__Reason reason, const char *text);
enum step req_fail(struct req *r, enum code code, const char *fmt, ...) PRINTF(3, 4);
/* With a retryable refusal or error: how long the caller should wait, instead of one second. */
void req_retry_after(struct req *r, uint32_t seconds);
/* ERR_INVALID or ERR_REFERENCE about one input field; several calls gather. */
enum step req_violation(
    struct req *r, enum code code, const char *field, const char *rule, const char *fmt, ...)
    PRINTF(5, 6);

/* --- events (TX_WRITE only): published and audited once the transaction is committed --- */
/* `event` is a message declared with the event option, packed at once; entity_id names the record.
 * `user_id` NULL means the caller's. A request may emit up to 4096 events. A field `before` of the
 * event is the audit record's `before`, all others its details. An rpc that writes and emits
 * nothing that is audited leaves one record all the same: its verb, the service, no entity_id. */
void req_emit_for(struct req *r,
                  const char *user_id,
                  const ProtobufCMessage *event,
                  const char *entity_id);
void req_emit(struct req *r, const ProtobufCMessage *event, const char *entity_id);
/* What the request writes is an audit record itself: none is added to it. */
void req_recorded(struct req *r);
/* Audit severity of this request's records: "low" unless set. Literal. */
void req_audit_severity(struct req *r, const char *severity);
/* An audit record about a failed action (a wrong password); written although the request fails. */
void req_audit_failure(struct req *r,
                       const char *user_id,
                       const char *action,
                       const char *entity,
                       const char *entity_id);

/* Runs `work` on the thread pool; it may only touch `arg` (in the arena). A few run at a time, a
 * few more wait (AVANTA_WORK_THREADS, AVANTA_WORK_WAITING); ERR_OVERLOADED at once when that many
 * do. What waits past its request's deadline is not begun. */
enum step req_work(struct req *r, void (*work)(void *arg), void *arg);
/* Takes the place for it beforehand, so that what comes between is not done in vain. False: there
 * is none, the error is set. */
bool req_work_reserve(struct req *r) MUST_CHECK;

/* After the commit and before the reply: a core NATS message (best effort, at most 4): revocations,
 * invalidations. */
void req_publish(struct req *r, const char *subject, struct str payload);
