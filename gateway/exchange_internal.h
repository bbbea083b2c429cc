#pragma once
/* Internal to exchange.c (what becomes of a call) and exchange_answer.c (what the client is told).
 */

#include "avanta/common.pb-c.h"
#include "gateway/caller.h"
#include "gateway/exchange.h"
#include "gateway/trace.h"

#include "libcommon/base/id.h"

struct exchange {
    struct list waiting; /* in worker->retries */
    struct worker *worker;
    struct http_exchange *x;
    const struct http_request *http;
    struct arena *arena;
    struct route_match match;
    struct forwarded from; /* the client, also behind a proxy */
    struct caller caller;
    struct violations *violations;
    ProtobufCMessage *in;
    Avanta__Request request;
    Avanta__Principal principal;
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
    char request_id[UUID_TEXT_BYTES];
    char traceparent[TRACEPARENT_BYTES];
    enum code code; /* of the answer */
    uint64_t begun_us;
    uint64_t allowed_us; /* when the caller was known to be allowed; 0: not yet */
    uint64_t called_us;  /* when the service was asked first */
    uint64_t answered_us;
    uint64_t deadline_ms; /* monotonic */
    uint64_t retry_at_ms;
    uint32_t attempts;
    uint32_t undelivered;
    struct http_response *held; /* until the audit record of it is stored */
    enum code held_code;
};

/* Delivering it twice does no harm. */
static inline bool exchange_is_repeatable(const struct exchange *e)
{
    return !e->match.method->writes || e->request.idempotency_key != NULL;
}

/* Each ends the exchange. `reason` and `detail` may be NULL: then the code and the violations speak
 * for themselves. */
void exchange_fail(struct exchange *e,
                   enum code code,
                   const struct api_reason *reason,
                   const char *detail,
                   uint32_t retry_after_s);
void exchange_fail_err(struct exchange *e, enum code code, const struct err *err);
void exchange_answer(struct exchange *e, const ProtobufCMessage *out, uint16_t status);
/* Without a body; the response is copied before this returns or lives in the arena. */
void exchange_finish(struct exchange *e, struct http_response *response, enum code code);
