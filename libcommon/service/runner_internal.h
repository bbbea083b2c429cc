#pragma once
/* The runner's inside, shared by runner.c (life of a request), reads.c (pipelines), work.c (the
 * thread pool), turns.c (whose turn it is) and group*.c (group commit). */

#include "libcommon/service/outbox.h"
#include "libcommon/service/query_effect.h"
#include "libcommon/service/runner.h"
#include "libcommon/service/turns.h"

struct flight;

enum group_state {
    GROUP_FREE,
    GROUP_OPEN,     /* its members' steps run */
    GROUP_ROUND,    /* statements are under way */
    GROUP_WORK,     /* a member's work is on the thread pool */
    GROUP_COMMIT,   /* the last statements and COMMIT are under way */
    GROUP_ROLLBACK, /* ROLLBACK is under way; the members have left */
    GROUP_STATE_COUNT
};

#define GROUP_RESULTS_MAX 8 /* beyond it members send their set statements by themselves */

/* One transaction that carries many requests: see group.c. */
struct group {
    struct list node;    /* free list, or the runner's groups whose turn has come */
    struct list members; /* requests, in order of arrival */
    struct list lanes;   /* of the owners it holds: turns.h */
    struct sm sm;
    struct runner *runner;
    struct pg_conn *conn;
    struct req *culprit; /* whose statement failed, who refused after writing, who must run alone */
    uint32_t member_count;
    bool lone;                 /* started with one member */
    bool apart;                /* all its members are so, and of one owner */
    bool brief;                /* waits for locks only briefly */
    bool begun;                /* BEGIN was sent */
    bool lost;                 /* the connection broke */
    bool failed;               /* one of the group's own statements failed: see `answer` */
    bool added;                /* the commit carries rows for the outbox */
    struct outbox_rows outbox; /* these */
    struct arena *arena;       /* of the commit's own statements and rows */
    bool set_failed;           /* a set statement did: any of its members may be at fault */
    struct pg_answer answer;   /* without result */
    uint32_t set_count;        /* members of the set statement under way */
    uint32_t result_count;
    struct pg_result *results[GROUP_RESULTS_MAX]; /* of set statements; members read them */
    struct req *set[PG_BATCH_MAX];
};

struct runner {
    const struct effects *effects;
    const struct database *database;
    struct runner_options options;
    struct pool *requests;
    struct list ready;        /* REQ_READY outside of groups */
    struct list reads;        /* REQ_QUEUED, one statement each */
    struct list writes;       /* REQ_QUEUED or REQ_DECIDED, for the next groups */
    struct list writes_again; /* the same, run again after a failed group: served first */
    struct list writes_apart; /* the same, for groups apart */
    struct list backoff;      /* REQ_BACKOFF */
    struct list group_turns;  /* groups with something to do */
    struct list groups_free;
    struct list flights_free;
    struct group *groups;
    struct flight *flights;
    struct turns *turns;
    enum query_effect *query_effects; /* by statement of the service */
    bool *query_locks;                /* the same: it locks rows */
    struct list works;                /* that wait for a thread: work.c */
    uint32_t works_running;
    uint32_t works_placed; /* requests that hold a place */
    void *state_spill;     /* REQ_STATE_BYTES_MAX for a step whose state did not fit */
    uint32_t connections;
    uint32_t connections_held;
    uint32_t groups_open;
    uint32_t groups_max;
    uint32_t groups_apart;
    uint32_t groups_apart_max;
    uint32_t reads_waiting;
    uint32_t writes_waiting;
    bool writes_turn; /* who goes next when both wait */
    bool apart_turn;  /* the same among writes */
    bool ticking;
    bool draining;
    bool database_ready;
    uint64_t database_down_ms; /* since when */
    void (*drained)(void *arg);
    void *drained_arg;
};

/* --- runner.c --- */
/* A request that was submitted begins. */
void runner_go(struct req *r);
/* Runs steps until one waits or the list ends; the state afterwards says which. */
void runner_steps(struct req *r);
/* Puts a request whose steps paused or ended outside of a group where it belongs now. */
void runner_route(struct req *r);
/* The verdict stands: account, publish, hand over, free. */
void runner_finish(struct req *r);
/* Ends an expired request that nothing holds any more. */
void runner_free(struct req *r);
/* The first half: everything but freeing. */
void runner_deliver(struct req *r);
/* Takes a request that is in no group out of whatever list it is in. */
void runner_queue_remove(struct req *r);
/* Runs its steps again from the first; alone: in a transaction of its own. */
void runner_rerun(struct req *r, bool alone);

/* --- runner_account.c --- */
/* The database works for the request from now on, and has done so. */
void runner_asked_begin(struct req *r);
void runner_asked_end(struct req *r);
/* The verdict stands: counts it, and writes its line. */
void runner_account(struct req *r);

/* --- answer.c --- */
/* Takes the answer of its statement: the result, or the error that becomes its verdict. */
bool runner_accept_answer(struct req *r) MUST_CHECK;
/* The verdict after a statement's error: a refusal when the service maps the constraint. */
void runner_database_error(struct req *r, const struct pg_answer *answer);

/* --- work.c --- */
/* The request ends: its place is free. */
void work_leave(struct req *r);

/* --- reads.c --- */
enum code flights_open(struct runner *runner, struct err *err) MUST_CHECK;
void flights_close(struct runner *runner);
bool flight_start(struct runner *runner); /* false: no connection is free */

/* --- group.c: rounds --- */
struct pg_holder group_holder(struct group *group);
enum code groups_open(struct runner *runner, struct err *err) MUST_CHECK;
void groups_close(struct runner *runner);
void group_turn(struct group *group);
/* The next round, or the end. */
void group_go_on(struct group *group);
/* A member's work is done. */
void group_poke(struct group *group);
/* Queues BEGIN unless it was. */
enum code group_begin(struct group *group, struct err *err) MUST_CHECK;

/* --- group_gather.c: who travels together --- */
bool group_possible(struct runner *runner); /* what waits may start one */
bool group_start(struct runner *runner);    /* false: no connection is free */
/* The request is no member any more. */
void group_leave(struct req *r);

/* --- group_set.c: one statement for many members --- */
/* True: one was sent, and its members wait for it. */
bool group_set_send(struct group *group);
void group_set_answer(struct group *group, struct pg_answer *answer);
void group_set_clear(struct group *group); /* the results go */

/* --- group_end.c: how a group ends --- */
void group_commit(struct group *group); /* every member's verdict stands */
void group_outbox_answer(struct group *group, const struct pg_answer *answer);
void group_committed(struct group *group); /* COMMIT is answered */
void group_rollback(struct group *group);
void group_lost(struct group *group);
void group_end(struct group *group); /* gives the connection back */
