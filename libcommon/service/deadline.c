/* Deadlines: what is late is answered, what waits for a database that is down is not kept waiting,
 * and what backed off comes back. */
#include "libcommon/service/runner_internal.h"

#include <assert.h>

/* Answers now what is not ready in time. A group or a thread that still holds the request lets go
 * of it later; an answer to a read finds its slot's generation changed. */
static void end_early(struct req *r, enum code code)
{
    bool held = r->group != NULL || r->sm.state == REQ_WAIT_WORK;

    assert(code != OK);
    assert(r->sm.state != REQ_EXPIRED);
    if (r->group == NULL) {
        runner_queue_remove(r);
    }
    if (r->code == OK) {
        r->replay = NULL;
        req_set_error(r, code, NULL);
    }
    runner_deliver(r);
    if (held) {
        sm_move(&r->sm, REQ_EXPIRED);
    } else {
        runner_free(r);
    }
}

static bool waits_for_database(const struct req *r)
{
    assert(r != NULL);
    return r->group == NULL && (r->sm.state == REQ_QUEUED || r->sm.state == REQ_DECIDED);
}

void runner_sweep(struct runner *runner)
{
    uint64_t now = clock_mono_ms();
    bool gone = !runner->database_ready && now - runner->database_down_ms >= DATABASE_WAIT_MS_MAX;
    uint32_t slot = 0;
    struct req *r = NULL;

    while ((r = pool_next(runner->requests, &slot)) != NULL) {
        if (r->sm.state == REQ_EXPIRED) {
            continue;
        }
        assert(r->sm.state != REQ_NEW);
        if (now >= r->deadline_mono_ms) {
            end_early(r, ERR_TIMEOUT);
        } else if (gone && waits_for_database(r)) {
            end_early(r, ERR_UNAVAILABLE);
        }
    }
    LIST_EACH_SAFE(&runner->backoff, node, following)
    {
        r = LIST_ENTRY(node, struct req, node);
        if (now >= r->not_before_ms) {
            list_remove(node);
            runner_rerun(r, true);
        }
    }
    if (pool_used(runner->requests) == 0 && runner->ticking) {
        runner->ticking = false;
        runner->effects->tick(runner->effects->ctx, false);
    }
}

void runner_expire(struct runner *runner)
{
    uint32_t slot = 0;
    struct req *r = NULL;

    assert(runner != NULL);
    while ((r = pool_next(runner->requests, &slot)) != NULL) {
        if (r->sm.state != REQ_EXPIRED) {
            r->deadline_mono_ms = 0;
        }
    }
    runner_sweep(runner);
}

void runner_database_state(struct runner *runner, bool ready)
{
    assert(runner != NULL);
    if (!ready && runner->database_ready) {
        runner->database_down_ms = clock_mono_ms();
    }
    runner->database_ready = ready;
    runner_wake(runner);
}
