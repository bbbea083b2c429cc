#pragma once
/*
 * Audit records of what no service records: refused requests, and reads that leave a trace
 * (administration; operations declared `audited`). Published as avanta.Records on audit.gateway;
 * the stream has stored a record when `done` is told OK.
 *
 * Refusals that repeat are gathered: the first of a caller, operation and code is recorded at once,
 * those of the next AUDIT_WINDOW_MS as one record that says how many. At most AUDIT_FIRST_MAX first
 * ones are recorded a window; more are counted in one record for all. So nobody can fill the log by
 * being refused, and every refusal is counted in it. One per worker, loop thread only.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"
#include "libcommon/codec/api.h"

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_WINDOW_MS   60000
#define AUDIT_FIRST_MAX   256
#define AUDIT_ACK_MS      2000
#define AUDIT_SENDING_MAX 1024 /* records the stream has not acknowledged yet */

struct worker;
struct gateway_audit;

/* What the record says; views, needed for the call only. */
struct audited {
    const struct api_method *method;
    struct str user_id;  /* whose data; empty: nobody is known */
    struct str actor_id; /* empty: the same */
    struct str session_id;
    bool by_key;
    struct str client_ip;
    struct str user_agent;
    struct str request_id;
    struct str traceparent;
    enum code code; /* OK: a read; else the refusal */
};

/* NULL: no memory. */
struct gateway_audit *audit_open(struct worker *worker);
/* Publishes what was gathered: no more refusals come. */
void audit_drain(struct gateway_audit *audit);
/* After the bus is closed; accepts NULL. */
void audit_close(struct gateway_audit **audit);
/* A successful call of this operation leaves a record of the gateway's. */
bool audit_wants_read(const struct api_method *method);
/* `done` runs exactly once, never from here, when the answer is true; false: it cannot be recorded
 * now. */
typedef void (*audit_done)(void *ctx, enum code code);
bool audit_record(struct gateway_audit *audit,
                  const struct audited *what,
                  audit_done done,
                  void *ctx) MUST_CHECK;
/* True: the refusal is recorded by itself and `done` will run; false: it is counted. */
bool audit_refusal(struct gateway_audit *audit,
                   const struct audited *what,
                   audit_done done,
                   void *ctx) MUST_CHECK;
/* Publishes the counts of windows that are over; every second or so. */
void audit_tick(struct gateway_audit *audit);
