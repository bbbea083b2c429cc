/*
 * Work on the thread pool: a few at a time, so that the cores stay free for the loops, a few more
 * in a queue, the rest refused at once. A request that has a place keeps it until its work is done
 * or it ends.
 */
#include "libcommon/service/runner_internal.h"

#include <assert.h>

struct work_item {
    struct list node; /* in the runner's queue */
    struct req *r;
    void (*work)(void *arg);
    void *arg;
};

static void work_run(void *arg)
{
    struct work_item *item = arg;

    assert(item->work != NULL);
    item->work(item->arg);
}

void work_leave(struct req *r)
{
    if (r->work_place) {
        assert(r->runner->works_placed > 0);
        r->work_place = false;
        r->runner->works_placed--;
    }
}

/* The work of the request is done, or will not be. */
static void go_on(struct req *r)
{
    assert(r->effect == EFFECT_WORK);
    work_leave(r);
    assert(!r->work_place);
    if (r->sm.state == REQ_EXPIRED) {
        r->effect = EFFECT_NONE;
        if (r->group != NULL) {
            group_poke(r->group);
        } else {
            runner_free(r);
        }
        return;
    }
    sm_move(&r->sm, REQ_READY);
    if (r->group != NULL) {
        group_poke(r->group);
    } else {
        list_push_back(&r->runner->ready, &r->node);
        runner_wake(r->runner);
    }
}

static void next_start(struct runner *runner);

static void work_done(void *arg)
{
    struct work_item *item = arg;
    struct runner *runner = item->r->runner;

    assert(list_empty(&item->node));
    assert(runner->works_running > 0);
    runner->works_running--;
    go_on(item->r);
    next_start(runner);
}

static bool is_late(const struct req *r)
{
    assert(r != NULL);
    return r->sm.state == REQ_EXPIRED || clock_mono_ms() >= r->deadline_mono_ms;
}

/* False: the pool of the process takes no more; the request's error is set. */
static bool start(struct work_item *item)
{
    struct runner *runner = item->r->runner;
    const struct effects *effects = runner->effects;
    struct err err = {0};

    assert(item->r->work_place);
    assert(runner->works_running < runner->options.work_threads);
    if (effects->work(effects->ctx, work_run, work_done, item, &err) != OK) {
        req_set_error(item->r, err.code, &err);
        return false;
    }
    runner->works_running++;
    return true;
}

/* Fills the threads from the queue. */
static void next_start(struct runner *runner)
{
    assert(runner != NULL);
    while (runner->works_running < runner->options.work_threads) {
        struct list *node = list_pop_front(&runner->works);
        if (node == NULL) {
            return;
        }
        struct work_item *item = LIST_ENTRY(node, struct work_item, node);
        if (is_late(item->r)) {
            req_set_error(item->r, ERR_TIMEOUT, NULL);
            go_on(item->r);
        } else if (!start(item)) {
            go_on(item->r);
        }
    }
}

bool req_work_reserve(struct req *r)
{
    struct runner *runner = r->runner;

    assert(r->code == OK);
    if (r->work_place) {
        return true;
    }
    if (runner->works_placed >= runner->options.work_threads + runner->options.work_waiting) {
        req_set_error(r, ERR_OVERLOADED, NULL);
        return false;
    }
    r->work_place = true;
    runner->works_placed++;
    return true;
}

enum step req_work(struct req *r, void (*work)(void *arg), void *arg)
{
    struct runner *runner = r->runner;
    struct work_item *item = arena_alloc(r->arena, sizeof *item);

    assert(work != NULL);
    assert(r->effect == EFFECT_NONE);
    if (item == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return STEP_FAIL;
    }
    if (!req_work_reserve(r)) {
        return STEP_FAIL;
    }
    *item = (struct work_item){.r = r, .work = work, .arg = arg};
    list_init(&item->node);
    assert(r->work_place);
    if (runner->works_running >= runner->options.work_threads) {
        list_push_back(&runner->works, &item->node);
    } else if (!start(item)) {
        return STEP_FAIL;
    }
    r->effect = EFFECT_WORK;
    return STEP_WAIT;
}
