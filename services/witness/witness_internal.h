#pragma once
/* Internal to witness.c (what it does with checkpoints) and witness_open.c (the making of its
 * parts).
 */

#include "services/witness/alarm.h"
#include "services/witness/ask.h"
#include "services/witness/witness.h"

#include "libcommon/service/log_bus.h"

#define WITNESS_TICK_MS    250
#define WITNESS_HEARD_MAX  16
#define WITNESS_LINE_BYTES 1024

struct heard {
    size_t len;
    char
        note[SEEN_BYTES_MAX + 1]; /* one byte more than a note may have shows that it is too long */
};

struct witness {
    struct loop *loop;
    struct metrics *metrics;
    struct bus *bus;
    struct log_bus *log_bus;
    struct bus_subscription *checkpoints;
    struct loop_timer *tick;
    struct asker asker;
    struct alarm *alarm;
    struct keep keep;
    struct note_verifier log;
    struct note_signer signer;
    struct seen last; /* cosigned; size 0: none yet */
    uint64_t quiet_until_ms;
    uint64_t not_taken_logged_ms;
    void (*drained)(void *arg);
    void *drained_arg;
    bool draining;

    /* --- heard and not yet looked at --- */
    struct heard heard[WITNESS_HEARD_MAX];
    size_t heard_first;
    size_t heard_count;

    /* --- under way --- */
    bool busy;
    bool newest;    /* the log's answer; else it was heard, maybe late */
    uint64_t floor; /* of that answer: what the log had when it was asked */
    struct seen now;
    struct merkle_proof proof;
    char line[WITNESS_LINE_BYTES]; /* our cosignature */
    char kept[SEEN_BYTES_MAX + WITNESS_LINE_BYTES];
    size_t kept_len;
    bool is_kept;
};

/* --- witness.c --- */
void witness_on_checkpoints(void *ctx, struct bus_message *message);
void witness_on_tick(void *ctx);
