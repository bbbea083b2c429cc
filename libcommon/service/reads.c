/*
 * Reads: statements of requests outside of a transaction travel together in one pipeline, each
 * followed by a sync, so that one that fails does not touch the others. A flight is one pipeline on
 * its way.
 */
#include "libcommon/base/limits.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <stdlib.h>

#define READ_RETRIES_MAX 3

/* Requests may be gone when their answer comes: handles, not pointers. */
struct flight {
    struct list node;
    struct runner *runner;
    struct pg_conn *conn;
    uint32_t count;
    struct pool_handle requests[PG_BATCH_MAX];
};

static void on_answer(void *ctx, void *tag, struct pg_answer *answer);
static void on_settled(void *ctx, bool lost);

enum code flights_open(struct runner *runner, struct err *err)
{
    assert(runner->connections > 0);
    assert(runner->flights == NULL);
    runner->flights = calloc(runner->connections, sizeof *runner->flights);
    if (runner->flights == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the runner");
    }
    for (uint32_t i = 0; i < runner->connections; i++) {
        runner->flights[i].runner = runner;
        list_push_back(&runner->flights_free, &runner->flights[i].node);
    }
    return OK;
}

void flights_close(struct runner *runner)
{
    assert(runner != NULL);
    free(runner->flights);
    runner->flights = NULL;
}

static void flight_end(struct flight *flight)
{
    struct runner *runner = flight->runner;

    assert(flight->count <= PG_BATCH_MAX);
    runner->database->release(runner->database->ctx, &flight->conn);
    assert(runner->connections_held > 0);
    runner->connections_held--;
    flight->count = 0;
    list_push_back(&runner->flights_free, &flight->node);
    runner_wake(runner);
}

/* Sends the same statement again: nothing of the request has changed. */
static void send_again(struct req *r)
{
    assert(r->effect == EFFECT_STATEMENT);
    sm_move(&r->sm, REQ_READY);
    sm_move(&r->sm, REQ_QUEUED);
    runner_route(r);
}

static bool may_send_again(struct req *r, const struct pg_answer *answer)
{
    assert(answer != NULL);
    if (!op_reads(r->endpoint->op)) {
        return false;
    }
    if (answer->outcome == PG_OUTCOME_LOST) {
        return r->losses++ == 0;
    }
    return answer->outcome == PG_OUTCOME_FAILED && answer->err.code == ERR_SERIALIZATION &&
           r->retries++ < READ_RETRIES_MAX;
}

static void on_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    struct flight *flight = ctx;
    struct runner *runner = flight->runner;
    const struct pool_handle *handle = tag;
    struct req *r = pool_get(runner->requests, *handle);

    if (r == NULL) {
        runner->database->clear(&answer->result); /* answered meanwhile: too late */
        return;
    }
    assert(r->sm.state == REQ_WAIT_QUERY);
    if (may_send_again(r, answer)) {
        send_again(r);
        return;
    }
    r->answer = *answer;
    answer->result = NULL;
    sm_move(&r->sm, REQ_READY);
    list_push_back(&runner->ready, &r->node);
    runner_wake(runner);
}

static void on_settled(void *ctx, bool lost)
{
    (void)lost; /* each statement was told so */
    flight_end(ctx);
}

/* False: the connection takes no more; the request is queued again. */
static bool send_statement(struct flight *flight, struct req *r)
{
    const struct database *db = flight->runner->database;
    struct pool_handle *handle = &flight->requests[flight->count];
    struct statement_call call = {r->statement, &r->context, r->statement_in, r->arena};
    struct err err = {0};
    enum code code = OK;

    assert(r->effect == EFFECT_STATEMENT);
    assert(r->sm.state == REQ_QUEUED);
    assert(flight->count < PG_BATCH_MAX);
    *handle = pool_handle_of(flight->runner->requests, r);
    code = db->query(db->ctx, flight->conn, &call, handle, &err);
    if (code == ERR_TOO_LARGE || (code == ERR_OVERLOADED && flight->count == 0)) {
        req_set_error(r, ERR_TOO_LARGE, &err);
        sm_move(&r->sm, REQ_DECIDED);
        runner_route(r);
        return true;
    }
    if (code != OK) {
        runner_route(r);
        return false;
    }
    (void)db->sync(
        db->ctx, flight->conn, &err); /* a broken connection is told for each statement */
    flight->count++;
    r->statements++;
    runner_asked_begin(r);
    sm_move(&r->sm, REQ_WAIT_QUERY);
    return true;
}

/* The free connections share what waits, so that one slow statement holds up few others. */
static uint32_t fair_share(const struct runner *runner)
{
    assert(runner->connections_held < runner->connections);
    assert(runner->reads_waiting > 0);

    uint32_t free_connections = runner->connections - runner->connections_held;
    uint32_t share = (runner->reads_waiting + free_connections - 1) / free_connections;

    assert(share > 0);
    return share < PG_BATCH_MAX ? share : PG_BATCH_MAX;
}

/* The next of the queue goes with those on board: nobody goes with a heavy one. */
static bool may_board(const struct flight *flight, bool heavy)
{
    const struct req *next = LIST_ENTRY(flight->runner->reads.next, const struct req, node);

    assert(!list_empty(&flight->runner->reads));
    return flight->count == 0 || (!heavy && !op_is_heavy(next->endpoint->op));
}

bool flight_start(struct runner *runner)
{
    const struct database *db = runner->database;
    struct flight *flight = LIST_ENTRY(runner->flights_free.next, struct flight, node);
    struct pg_holder holder = {on_answer, on_settled, flight};
    uint32_t share = fair_share(runner);
    struct err err = {0};
    bool usable = true;
    bool heavy = false;

    assert(!list_empty(&runner->flights_free));
    assert(runner->reads_waiting > 0);
    flight->conn = db->take(db->ctx, &holder);
    if (flight->conn == NULL) {
        return false;
    }
    list_remove(&flight->node);
    runner->connections_held++;
    for (uint32_t i = 0; i < share && usable && may_board(flight, heavy); i++) {
        struct list *node = list_pop_front(&runner->reads);
        struct req *r = LIST_ENTRY(node, struct req, node);
        assert(node != NULL);
        runner->reads_waiting--;
        heavy = op_is_heavy(r->endpoint->op);
        usable = send_statement(flight, r);
    }
    if (flight->count == 0) {
        flight_end(flight);
        return usable;
    }
    /* A flush that fails is told to the holder like any loss. */
    (void)db->flush(db->ctx, flight->conn, &err);
    return usable;
}
