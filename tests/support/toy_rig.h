#pragma once
/* The runner with the toy's operations on the fake outside. Requests are sent by name, replies are
 * kept by the number the sending gave. Single-threaded; ends the test when something is left over
 * at the end. */

#include "tests/support/fake_effects.h"
#include "tests/support/toy.h"

#include "libcommon/service/runner.h"

#define TOY_REPLIES_MAX 512
#define TOY_DEADLINE_MS 1000

#define TOY_WORK_THREADS 1
#define TOY_WORK_WAITING 2

struct toy_reply {
    uint32_t times; /* 0: not yet answered */
    uint32_t order; /* among all replies, from 1 */
    enum code code;
    Avanta__Reason reason;
    char detail[128];
    char field[64]; /* of the first violation */
    char violation[64];
    bool replayed;
    int64_t id; /* of the row in the reply */
    size_t rows;
};

struct toy_rig {
    struct fake *fake;
    struct runner *runner;
    struct arena_pool *arenas;
    struct service_metrics *metrics;
    struct endpoint endpoints[TOY_OP_COUNT];
    struct request_source source;
    struct toy_reply replies[TOY_REPLIES_MAX];
    size_t sent;
    uint32_t answered;
    uint32_t commits; /* with rows for the outbox */
};

struct toy_rig *toy_open(uint32_t connections, uint32_t requests_max);
void toy_close(struct toy_rig *rig);
/* `key` NULL: none. The request's number; its reply comes at once when no request is free. */
size_t toy_send_keyed(
    struct toy_rig *rig, enum toy_op op, const char *user, const char *name, const char *key);
size_t toy_send(struct toy_rig *rig, enum toy_op op, const char *user, const char *name);
void toy_pass(struct toy_rig *rig);   /* lets the runner do what it can without an answer */
void toy_settle(struct toy_rig *rig); /* the same with answers, until nothing moves */
void toy_time(struct toy_rig *rig, uint64_t ms); /* passes time and sweeps */
uint64_t toy_metric(const struct toy_rig *rig, size_t row);
