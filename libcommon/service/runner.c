#include "libcommon/service/runner.h"

#include "libcommon/service/idempotency.h"
#include "libcommon/service/outbox.h"
#include "libcommon/service/runner_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define END(state) (MAY(REQ_REPLYING) | (state))

static const struct sm_row req_states[REQ_STATE_COUNT] = {
    [REQ_NEW] = {"new",        0, END(MAY(REQ_READY) | MAY(REQ_HELD))                         },
    [REQ_HELD] = {"held",       0, END(MAY(REQ_READY))                                         },
    [REQ_READY] = {"ready",      0, END(MAY(REQ_RUNNING) | MAY(REQ_QUEUED) | MAY(REQ_DECIDED))  },
    [REQ_RUNNING] = {"running",    0, MAY(REQ_QUEUED) | MAY(REQ_WAIT_WORK) | MAY(REQ_DECIDED)     },
    [REQ_QUEUED] = {"queued",     0, END(MAY(REQ_WAIT_QUERY) | MAY(REQ_READY) | MAY(REQ_DECIDED))},
    [REQ_WAIT_QUERY] = {"wait_query", 0, END(MAY(REQ_READY))                                         },
    [REQ_WAIT_WORK] = {"wait_work",  0, END(MAY(REQ_READY))                                         },
    [REQ_DECIDED] = {"decided",
                 0,               END(MAY(REQ_COMMITTING) | MAY(REQ_READY) | MAY(REQ_QUEUED) |
                         MAY(REQ_BACKOFF))                                 },
    [REQ_COMMITTING] = {"committing", 0, END(MAY(REQ_READY) | MAY(REQ_DECIDED))                      },
    [REQ_BACKOFF] = {"backoff",    0, END(MAY(REQ_READY))                                         },
    [REQ_REPLYING] = {"replying",   0, MAY(REQ_EXPIRED)                                            },
    [REQ_EXPIRED] = {"expired",    0, 0                                                           },
};

/* --- open and close ---------------------------------------------------------------- */

static enum code learn_queries(struct runner *runner, struct err *err)
{
    const struct service *service = runner->options.service;

    if (service->query_count == 0) {
        return OK;
    }
    /* tidy: allow alloc: a part of runner_open */
    runner->query_effects = calloc(service->query_count, sizeof *runner->query_effects);
    /* tidy: allow alloc: a part of runner_open */
    runner->query_locks = calloc(service->query_count, sizeof *runner->query_locks);
    if (runner->query_effects == NULL || runner->query_locks == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the runner");
    }
    for (uint16_t i = 0; i < service->query_count; i++) {
        runner->query_effects[i] = query_effect_of(str_from(service->queries[i].text));
        runner->query_locks[i] = query_locks_rows(str_from(service->queries[i].text));
    }
    return OK;
}

enum code runner_open(const struct runner_options *options, struct runner **out, struct err *err)
{
    struct runner *runner = calloc(1, sizeof *runner);
    enum code code = OK;

    assert(options->connections > 0);
    assert(options->connections <= PG_CONNECTIONS_MAX);
    assert(options->requests_max > 0);
    assert(options->work_threads > 0);
    if (runner == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the runner");
    }
    runner->effects = options->effects;
    runner->database = options->effects->database;
    runner->options = *options;
    runner->connections = options->connections;
    runner->database_down_ms = clock_mono_ms();
    /* Fewer transactions at a time batch better and collide less; reads may take every connection.
     */
    runner->groups_max = (options->connections + 1) / 2;
    runner->groups_apart_max = runner->groups_max > 1 ? runner->groups_max - 1 : 1;
    list_init(&runner->ready);
    list_init(&runner->reads);
    list_init(&runner->writes);
    list_init(&runner->writes_again);
    list_init(&runner->writes_apart);
    list_init(&runner->backoff);
    list_init(&runner->group_turns);
    list_init(&runner->groups_free);
    list_init(&runner->flights_free);
    list_init(&runner->works);
    runner->requests = pool_open(sizeof(struct req), options->requests_max);
    runner->state_spill = calloc(1, REQ_STATE_BYTES_MAX);
    runner->turns = turns_open(runner, options->connections > 1 ? options->connections / 2 : 1);
    if (runner->requests == NULL || runner->state_spill == NULL || runner->turns == NULL) {
        code = err_set(err, ERR_OVERLOADED, "no memory for %u requests", options->requests_max);
    }
    code = code == OK ? learn_queries(runner, err) : code;
    code = code == OK ? groups_open(runner, err) : code;
    code = code == OK ? flights_open(runner, err) : code;
    if (code != OK) {
        runner_close(&runner);
    }
    *out = runner;
    return code;
}

void runner_close(struct runner **runner)
{
    struct runner *closing = *runner;

    *runner = NULL;
    if (closing == NULL) {
        return;
    }
    assert(closing->requests == NULL || pool_used(closing->requests) == 0);
    assert(closing->connections_held == 0);
    assert(closing->works_placed == 0);
    groups_close(closing);
    flights_close(closing);
    turns_close(&closing->turns);
    pool_close(&closing->requests);
    free(closing->query_effects);
    free(closing->query_locks);
    free(closing->state_spill);
    free(closing);
}

void runner_wake(struct runner *runner)
{
    assert(runner != NULL);
    runner->effects->wake(runner->effects->ctx);
}

/* --- in ------------------------------------------------------------------------------ */

struct req *runner_take(struct runner *runner,
                        struct endpoint *endpoint,
                        const struct request_source *source,
                        struct arena **arena)
{
    struct req *r = NULL;

    assert(*arena != NULL);
    assert(endpoint != NULL);
    if (runner->draining) {
        return NULL;
    }
    r = pool_take(runner->requests, NULL);
    if (r == NULL) {
        return NULL;
    }
    sm_init(&r->sm, "req", req_states, REQ_STATE_COUNT, REQ_NEW);
    list_init(&r->node);
    r->runner = runner;
    r->endpoint = endpoint;
    r->source = source;
    r->arena = *arena;
    *arena = NULL;
    r->arrived_mono_us = clock_mono_us();
    r->context.now_ms = clock_wall_ms();
    r->severity = "low";
    return r;
}

/* The user whose data the request works on: the caller, or the one an event names. */
static const char *owner_of(const struct req *r)
{
    const char *user_id = r->context.user_id;

    if (user_id == NULL && r->endpoint->method == NULL && r->in != NULL) {
        const ProtobufCFieldDescriptor *field =
            protobuf_c_message_descriptor_get_field_by_name(r->in->descriptor, "user_id");
        if (field != NULL && field->type == PROTOBUF_C_TYPE_STRING &&
            field->label != PROTOBUF_C_LABEL_REPEATED) {
            const char *at = (const char *)r->in + field->offset;
            user_id = *(const char *const *)(const void *)at;
        }
    }
    return user_id;
}

void runner_submit(struct req *r, uint64_t deadline_mono_ms)
{
    struct runner *runner = r->runner;

    assert(r->sm.state == REQ_NEW);
    assert(r->envelope != NULL);
    r->deadline_mono_ms = deadline_mono_ms;
    struct str owner = str_from(owner_of(r));
    r->owned = owner.len > 0;
    r->owner = hash_bytes(owner.ptr, owner.len, 0);
    r->alone = r->endpoint->op->tx == TX_WRITE_ALONE;
    r->outside = op_prepares(r->endpoint->op);
    if (!req_reset(r) || !turns_enter(runner->turns, r)) {
        runner_answer(r);
        return;
    }
    if (!runner->ticking) {
        runner->ticking = true;
        runner->effects->tick(runner->effects->ctx, true);
    }
}

void runner_go(struct req *r)
{
    sm_move(&r->sm, REQ_READY);
    list_push_back(&r->runner->ready, &r->node);
    runner_wake(r->runner);
}

void runner_answer(struct req *r)
{
    assert(r->sm.state == REQ_NEW);
    runner_finish(r);
}

/* --- steps ------------------------------------------------------------------------------ */

static enum step next_step(struct req *r)
{
    const struct op *op = r->endpoint->op;
    enum step verdict = STEP_DONE;

    if (r->code != OK) {
        return STEP_FAIL; /* an error that came up in a step that went on to wait for its work */
    }
    if (r->step == OP_STEPS_MAX || op->steps[r->step] == NULL) {
        return STEP_DONE;
    }
    verdict = op->steps[r->step++](r);
    if (r->code != OK && r->effect != EFFECT_WORK) {
        r->effect = EFFECT_NONE; /* an error that the step did not look at */
        verdict = STEP_FAIL;
    }
    return verdict;
}

void runner_steps(struct req *r)
{
    enum step verdict = STEP_NEXT;

    sm_move(&r->sm, REQ_RUNNING);
    r->effect = EFFECT_NONE;
    while (verdict == STEP_NEXT) {
        verdict = next_step(r);
        assert(verdict == STEP_WAIT || r->effect == EFFECT_NONE);
    }
    if (verdict == STEP_WAIT) {
        assert(r->effect != EFFECT_NONE);
        sm_move(&r->sm, r->effect == EFFECT_WORK ? REQ_WAIT_WORK : REQ_QUEUED);
        return;
    }
    if (verdict == STEP_FAIL) {
        req_set_error(r, ERR_INTERNAL, NULL); /* unless the step said why */
    } else {
        req_record_rest(r);
    }
    sm_move(&r->sm, REQ_DECIDED);
}

static bool in_transaction(const struct req *r)
{
    assert(r != NULL);
    return op_writes(r->endpoint->op) && !r->outside;
}

static void queue_push(struct req *r)
{
    struct runner *runner = r->runner;
    bool again = r->singly || r->regroups + r->losses + r->retries > 0;

    if (r->sm.state == REQ_QUEUED && !in_transaction(r)) {
        list_push_back(&runner->reads, &r->node);
        runner->reads_waiting++;
        return;
    }
    if (r->apart) {
        list_push_back(&runner->writes_apart, &r->node);
    } else {
        list_push_back(again ? &runner->writes_again : &runner->writes, &r->node);
    }
    runner->writes_waiting++;
}

void runner_queue_remove(struct req *r)
{
    struct runner *runner = r->runner;

    if (list_empty(&r->node)) {
        return;
    }
    list_remove(&r->node);
    if (r->sm.state == REQ_QUEUED && !in_transaction(r)) {
        runner->reads_waiting--;
    } else if (r->sm.state == REQ_QUEUED || r->sm.state == REQ_DECIDED) {
        runner->writes_waiting--;
    }
}

void runner_route(struct req *r)
{
    assert(r->group == NULL);
    switch (r->sm.state) {
    case REQ_QUEUED:
        queue_push(r);
        return;
    case REQ_DECIDED:
        if (!outbox_wants(r) && !idempotency_stores(r)) {
            runner_finish(r);
            return;
        }
        r->afterwards = r->code != OK;
        if (r->code == OK && r->idempotency == IDEMPOTENCY_DUE) {
            sm_move(&r->sm, REQ_QUEUED); /* nothing but its key is to be asked before its events */
        }
        queue_push(r);
        return;
    default:
        assert(r->sm.state == REQ_WAIT_WORK); /* steps leave no other state */
    }
}

/* --- out ---------------------------------------------------------------------------------- */

void runner_deliver(struct req *r)
{
    const struct effects *effects = r->runner->effects;

    sm_move(&r->sm, REQ_REPLYING);
    for (uint32_t i = 0; (r->code == OK || r->keeps) && r->replay == NULL && i < r->publish_count;
         i++) {
        effects->publish(effects->ctx, r->publishes[i].subject, r->publishes[i].payload);
    }
    runner_account(r);
    r->source->finish(r->source->ctx, r);
}

void runner_free(struct req *r)
{
    struct runner *runner = r->runner;

    assert(list_empty(&r->node));
    assert(r->sm.state == REQ_REPLYING || r->sm.state == REQ_EXPIRED);
    if (r->answer.result != NULL) {
        runner->database->clear(&r->answer.result);
    }
    turns_leave(runner->turns, r);
    work_leave(r);
    arena_dispose(&r->arena);
    pool_give(runner->requests, r);
    if (runner->draining && pool_used(runner->requests) == 0) {
        runner_wake(runner);
    }
}

void runner_finish(struct req *r)
{
    assert(list_empty(&r->node));
    assert(r->group == NULL);
    runner_deliver(r);
    runner_free(r);
}

void runner_rerun(struct req *r, bool alone)
{
    assert(list_empty(&r->node));
    metric_add(r->runner->options.metrics, METRIC_RERUNS, 0, 1);
    r->group = NULL;
    r->alone = r->alone || alone;
    r->apart = r->apart || (alone && r->lane != NULL); /* it may have to wait for a lock */
    if (r->answer.result != NULL) {
        r->runner->database->clear(&r->answer.result);
    }
    r->answer = (struct pg_answer){0};
    if (!req_reset(r)) {
        runner_finish(r);
        return;
    }
    if (r->sm.state != REQ_READY) {
        sm_move(&r->sm, REQ_READY);
    }
    list_push_back(&r->runner->ready, &r->node);
    runner_wake(r->runner);
}

/* --- the pass ----------------------------------------------------------------------------------
 */

static void resume(struct req *r)
{
    assert(r->group == NULL);
    if (r->effect == EFFECT_STATEMENT && !runner_accept_answer(r)) {
        sm_move(&r->sm, REQ_DECIDED);
    } else {
        runner_steps(r);
    }
    runner_route(r);
}

/* Gives free connections to what waits; reads and writes take turns while both do. */
static void pump(struct runner *runner)
{
    assert(runner != NULL);
    while (runner->connections_held < runner->connections) {
        bool reads = runner->reads_waiting > 0;
        bool writes = runner->writes_waiting > 0 && runner->groups_open < runner->groups_max &&
                      group_possible(runner);
        bool write_now = writes && (!reads || runner->writes_turn);

        if (!reads && !writes) {
            return;
        }
        runner->writes_turn = !write_now;
        if (!(write_now ? group_start(runner) : flight_start(runner))) {
            return;
        }
    }
}

bool runner_pass(struct runner *runner)
{
    struct list *node = NULL;

    assert(runner != NULL);
    while ((node = list_pop_front(&runner->group_turns)) != NULL) {
        group_turn(LIST_ENTRY(node, struct group, node));
    }
    for (size_t i = 0; i < TURN_REQUESTS_MAX; i++) {
        node = list_pop_front(&runner->ready);
        if (node == NULL) {
            break;
        }
        resume(LIST_ENTRY(node, struct req, node));
    }
    pump(runner);
    if (runner->draining && runner->drained != NULL && pool_used(runner->requests) == 0) {
        void (*done)(void *arg) = runner->drained;
        runner->drained = NULL;
        done(runner->drained_arg);
        return false;
    }
    return !list_empty(&runner->ready) || !list_empty(&runner->group_turns);
}

void runner_drain(struct runner *runner, void (*done)(void *arg), void *arg)
{
    assert(!runner->draining);
    assert(done != NULL);
    runner->draining = true;
    runner->drained = done;
    runner->drained_arg = arg;
    runner_wake(runner);
}

void runner_gauges(const struct runner *runner, struct runner_gauges *out)
{
    assert(out != NULL);
    *out = (struct runner_gauges){pool_used(runner->requests),
                                  turns_waiting(runner->turns),
                                  runner->reads_waiting,
                                  runner->writes_waiting,
                                  runner->works_placed};
}
