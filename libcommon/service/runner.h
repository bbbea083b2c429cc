#pragma once
/*
 * The runner moves requests forward: their steps, their statements, their deadline. Reads are
 * gathered into pipelines where every statement is its own failure domain (reads.c); writes into
 * group commits (group.c). Changes of one user take turns (turns.h). It owns the requests (a fixed
 * pool) and knows the outside only through `struct effects`. All on the loop thread; nothing runs
 * inside the callbacks of the outside but marking: runner_pass() works.
 */

#include "libcommon/base/metric.h"
#include "libcommon/service/req_internal.h"
#include "libcommon/service/service.h"

#define SWEEP_MS             10   /* how exactly deadlines are kept */
#define DATABASE_WAIT_MS_MAX 1000 /* what is queued waits this long for a database that is down */

struct outbox_rows;

struct runner_options {
    const struct effects *effects;
    const struct service *service;
    void *service_state;
    struct arena_pool *arenas;
    uint32_t requests_max;
    uint32_t connections;
    uint32_t work_threads; /* how many do the requests' work at a time */
    uint32_t work_waiting; /* how many requests may wait for them */
    const struct api_event *events;
    size_t event_count;
    const struct api_reason *reasons; /* by enum avanta.Reason */
    struct metrics *metrics;          /* rows of service_metrics.h */
    /* Rows were added to the outbox; valid during the call. */
    void (*on_committed)(void *ctx, const struct outbox_rows *rows);
    void *ctx;
};

enum code
runner_open(const struct runner_options *options, struct runner **out, struct err *err) MUST_CHECK;
void runner_close(struct runner **runner); /* no request may be left */

/* A request for the endpoint, or NULL: all are taken, or the runner is draining. Takes the arena
 * over. The caller fills envelope, context and in, then submits or answers it. */
struct req *runner_take(struct runner *runner,
                        struct endpoint *endpoint,
                        const struct request_source *source,
                        struct arena **arena) MUST_CHECK;
/* May answer at once: ERR_RATE_LIMITED when too many of its user wait. */
void runner_submit(struct req *r, uint64_t deadline_mono_ms);
/* Ends a request that was taken and not submitted; its verdict is set. */
void runner_answer(struct req *r);

bool runner_pass(struct runner *runner);  /* moves what is ready; true: more is */
void runner_sweep(struct runner *runner); /* deadlines */
void runner_database_state(struct runner *runner, bool ready);
/* Answers everything that is under way now, as if its deadline had come. */
void runner_expire(struct runner *runner);
void runner_wake(struct runner *runner); /* something may be ready */
/* Takes no more requests; `done` runs once none is left. */
void runner_drain(struct runner *runner, void (*done)(void *arg), void *arg);

struct runner_gauges {
    uint32_t requests;
    uint32_t turns_waiting;
    uint32_t reads_waiting;
    uint32_t writes_waiting;
    uint32_t works_placed;
};
void runner_gauges(const struct runner *runner, struct runner_gauges *out);
