#include "libcommon/io/loop.h"

#include "libcommon/base/attr.h"
#include "libcommon/io/yield.h"

#include <uv.h>

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#define SIGNALS_MAX     8
#define CLOSE_TURNS_MAX 16 /* a close callback may close further handles */

struct loop_signal {
    uv_signal_t uv;
    void (*fn)(void *arg, int signum);
    void *arg;
};

struct loop_job {
    uv_work_t uv;
    struct loop *loop;
    struct loop_job *next_free;
    void (*work)(void *arg);
    void (*done)(void *arg);
    void *arg;
    bool is_long;
};

struct loop {
    uv_loop_t uv;
    uv_async_t keeper; /* open until loop_stop(): a loop without work waits instead of returning */
    bool stopping;
    uint32_t handles; /* timers, passes and wakers not yet let go by libuv */
    uint32_t signal_count;
    struct loop_signal signals[SIGNALS_MAX];
    struct loop_job *free_job;
    struct loop_job jobs[LOOP_WORK_MAX];
};

/* --- the loop ------------------------------------------------------------------ */

static void keeper_woken(uv_async_t *async)
{
    assert(async->data == NULL);
}

struct loop *loop_open(void)
{
    struct loop *loop = calloc(1, sizeof(*loop));

    if (loop == NULL) {
        return NULL;
    }
    /* libuv writes with write(2): a peer that has gone must be an error code, not a signal. */
    if (signal(SIGPIPE, SIG_IGN) == SIG_ERR || uv_loop_init(&loop->uv) != 0) {
        free(loop);
        return NULL;
    }
    if (uv_async_init(&loop->uv, &loop->keeper, keeper_woken) != 0) {
        (void)uv_loop_close(&loop->uv);
        free(loop);
        return NULL;
    }
    loop->keeper.data = NULL;
    for (size_t i = 0; i < LOOP_WORK_MAX; i++) {
        loop->jobs[i].loop = loop;
        loop->jobs[i].next_free = loop->free_job;
        loop->free_job = &loop->jobs[i];
    }
    return loop;
}

void loop_run(struct loop *loop)
{
    assert(loop != NULL);
    (void)uv_run(&loop->uv, UV_RUN_DEFAULT);
    assert(loop->stopping);
}

void loop_stop(struct loop *loop)
{
    assert(loop != NULL);
    assert(loop->signal_count <= SIGNALS_MAX);
    if (loop->stopping) {
        return;
    }
    loop->stopping = true;
    uv_close((uv_handle_t *)&loop->keeper, NULL);
    for (uint32_t i = 0; i < loop->signal_count; i++) {
        uv_close((uv_handle_t *)&loop->signals[i].uv, NULL);
    }
}

void loop_close(struct loop **loop)
{
    struct loop *closing = NULL;
    int status = 0;

    assert(loop != NULL);
    closing = *loop;
    *loop = NULL;
    if (closing == NULL) {
        return;
    }
    loop_stop(closing);
    /* What was closed after the run still waits for its callbacks. */
    for (int i = 0; i < CLOSE_TURNS_MAX && uv_loop_alive(&closing->uv) != 0; i++) {
        (void)uv_run(&closing->uv, UV_RUN_NOWAIT);
    }
    status = uv_loop_close(&closing->uv);
    if (status != 0) {
        uv_print_all_handles(&closing->uv, stderr);
    }
    assert(status == 0);
    assert(closing->handles == 0);
    free(closing);
}

struct uv_loop_s *loop_uv(struct loop *loop)
{
    assert(loop != NULL);
    return &loop->uv;
}

uint64_t loop_now_ms(const struct loop *loop)
{
    assert(loop != NULL);
    return uv_now(&loop->uv);
}

/* --- timers -------------------------------------------------------------------- */

struct loop_timer {
    uv_timer_t uv;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
};

struct loop_timer *loop_timer_open(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct loop_timer *timer = NULL;
    int status = 0;

    assert(loop != NULL);
    assert(fn != NULL);
    timer = calloc(1, sizeof(*timer));
    if (timer == NULL) {
        return NULL;
    }
    status = uv_timer_init(&loop->uv, &timer->uv);
    assert(status == 0);
    timer->loop = loop;
    timer->fn = fn;
    timer->arg = arg;
    loop->handles++;
    return timer;
}

static void timer_fired(uv_timer_t *uv)
{
    struct loop_timer *timer = CONTAINER_OF(uv, struct loop_timer, uv);

    assert(timer->fn != NULL);
    timer->fn(timer->arg);
}

void loop_timer_start(struct loop_timer *timer, uint64_t after_ms, uint64_t repeat_ms)
{
    int status = 0;

    assert(timer != NULL);
    status = uv_timer_start(&timer->uv, timer_fired, after_ms, repeat_ms);
    assert(status == 0); /* refused only while closing */
}

void loop_timer_stop(struct loop_timer *timer)
{
    int status = 0;

    assert(timer != NULL);
    status = uv_timer_stop(&timer->uv);
    assert(status == 0);
}

static void timer_gone(uv_handle_t *handle)
{
    struct loop_timer *timer = CONTAINER_OF(handle, struct loop_timer, uv);

    assert(timer->loop->handles > 0);
    timer->loop->handles--;
    free(timer);
}

void loop_timer_close(struct loop_timer **timer)
{
    struct loop_timer *closing = NULL;

    assert(timer != NULL);
    closing = *timer;
    *timer = NULL;
    if (closing != NULL) {
        uv_close((uv_handle_t *)&closing->uv, timer_gone);
    }
}

/* --- passes -------------------------------------------------------------------- */

/* `check` runs after the poll of every turn; `idle`, active while armed, keeps the poll from
 * sleeping. */
struct loop_pass {
    uv_check_t check;
    uv_idle_t idle;
    struct loop *loop;
    bool (*fn)(void *arg);
    void *arg;
    uint32_t open; /* handles that libuv still holds */
};

static void pass_idle(uv_idle_t *idle)
{
    assert(uv_is_active((const uv_handle_t *)idle) != 0);
}

static void pass_turn(uv_check_t *check)
{
    struct loop_pass *pass = CONTAINER_OF(check, struct loop_pass, check);

    if (uv_is_active((const uv_handle_t *)&pass->idle) == 0) {
        return;
    }
    /* Disarmed first: fn may arm it again for work it has just made. */
    (void)uv_idle_stop(&pass->idle);
    if (pass->fn(pass->arg) && uv_is_closing((const uv_handle_t *)check) == 0) {
        loop_pass_arm(pass);
    }
}

struct loop_pass *loop_pass_open(struct loop *loop, bool (*fn)(void *arg), void *arg)
{
    struct loop_pass *pass = NULL;
    int status = 0;

    assert(loop != NULL);
    assert(fn != NULL);
    pass = calloc(1, sizeof(*pass));
    if (pass == NULL) {
        return NULL;
    }
    status = uv_check_init(&loop->uv, &pass->check);
    assert(status == 0);
    status = uv_idle_init(&loop->uv, &pass->idle);
    assert(status == 0);
    status = uv_check_start(&pass->check, pass_turn);
    assert(status == 0);
    uv_unref((uv_handle_t *)&pass->check); /* only an armed pass keeps the loop alive */
    pass->loop = loop;
    pass->fn = fn;
    pass->arg = arg;
    pass->open = 2;
    loop->handles++;
    return pass;
}

void loop_pass_arm(struct loop_pass *pass)
{
    int status = 0;

    assert(pass != NULL);
    assert(uv_is_closing((const uv_handle_t *)&pass->idle) == 0);
    status = uv_idle_start(&pass->idle, pass_idle);
    assert(status == 0);
}

static void pass_part_gone(struct loop_pass *pass)
{
    assert(pass->open > 0);
    pass->open--;
    if (pass->open == 0) {
        assert(pass->loop->handles > 0);
        pass->loop->handles--;
        free(pass);
    }
}

static void pass_check_gone(uv_handle_t *handle)
{
    pass_part_gone(CONTAINER_OF(handle, struct loop_pass, check));
}

static void pass_idle_gone(uv_handle_t *handle)
{
    pass_part_gone(CONTAINER_OF(handle, struct loop_pass, idle));
}

void loop_pass_close(struct loop_pass **pass)
{
    struct loop_pass *closing = NULL;

    assert(pass != NULL);
    closing = *pass;
    *pass = NULL;
    if (closing != NULL) {
        uv_close((uv_handle_t *)&closing->check, pass_check_gone);
        uv_close((uv_handle_t *)&closing->idle, pass_idle_gone);
    }
}

/* --- wakers -------------------------------------------------------------------- */

struct loop_waker {
    uv_async_t uv;
    struct loop *loop;
    void (*fn)(void *arg);
    void *arg;
    atomic_bool pending;
};

static void waker_woken(uv_async_t *async)
{
    struct loop_waker *waker = CONTAINER_OF(async, struct loop_waker, uv);

    assert(waker->fn != NULL);
    /* Cleared before fn looks: a wake that comes while fn runs is not lost. */
    (void)atomic_exchange_explicit(&waker->pending, false, memory_order_acq_rel);
    waker->fn(waker->arg);
}

struct loop_waker *loop_waker_open(struct loop *loop, void (*fn)(void *arg), void *arg)
{
    struct loop_waker *waker = NULL;

    assert(loop != NULL);
    assert(fn != NULL);
    waker = calloc(1, sizeof(*waker));
    if (waker == NULL) {
        return NULL;
    }
    if (uv_async_init(&loop->uv, &waker->uv, waker_woken) != 0) {
        free(waker);
        return NULL;
    }
    waker->loop = loop;
    waker->fn = fn;
    waker->arg = arg;
    atomic_init(&waker->pending, false);
    loop->handles++;
    return waker;
}

void loop_wake(struct loop_waker *waker)
{
    assert(waker != NULL);
    /* Our own flag, besides libuv's, orders the caller's data before fn even when the wake
     * coalesces. */
    if (!atomic_exchange_explicit(&waker->pending, true, memory_order_acq_rel)) {
        int status = uv_async_send(&waker->uv);

        assert(status == 0);
    }
}

static void waker_gone(uv_handle_t *handle)
{
    struct loop_waker *waker = CONTAINER_OF(handle, struct loop_waker, uv);

    assert(waker->loop->handles > 0);
    waker->loop->handles--;
    free(waker);
}

void loop_waker_close(struct loop_waker **waker)
{
    struct loop_waker *closing = NULL;

    assert(waker != NULL);
    closing = *waker;
    *waker = NULL;
    if (closing != NULL) {
        uv_close((uv_handle_t *)&closing->uv, waker_gone);
    }
}

/* --- signals and posted work --------------------------------------------------- */

static void signal_came(uv_signal_t *uv, int signum)
{
    struct loop_signal *entry = CONTAINER_OF(uv, struct loop_signal, uv);

    assert(entry->fn != NULL);
    entry->fn(entry->arg, signum);
}

void loop_on_signal(struct loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg)
{
    struct loop_signal *entry = NULL;
    int status = 0;

    assert(loop != NULL);
    assert(fn != NULL);
    assert(!loop->stopping);
    assert(loop->signal_count < SIGNALS_MAX);
    entry = &loop->signals[loop->signal_count];
    loop->signal_count++;
    entry->fn = fn;
    entry->arg = arg;
    status = uv_signal_init(&loop->uv, &entry->uv);
    assert(status == 0);
    status = uv_signal_start(&entry->uv, signal_came, signum);
    assert(status == 0);
}

static void job_run(uv_work_t *uv)
{
    const struct loop_job *job = CONTAINER_OF(uv, struct loop_job, uv);

    assert(job->work != NULL);
    if (job->is_long) {
        yield_to_others();
    }
    job->work(job->arg);
}

static void job_done(uv_work_t *uv, int status)
{
    struct loop_job *job = CONTAINER_OF(uv, struct loop_job, uv);
    void (*done)(void *arg) = job->done;
    void *arg = job->arg;

    assert(status == 0); /* jobs are never cancelled */
    job->next_free = job->loop->free_job;
    job->loop->free_job = job; /* before `done`, which may post the next job */
    done(arg);
}

/* `what` says what to do; it is copied into a free place. */
static enum code job_post(struct loop *loop, const struct loop_job *what, struct err *err)
{
    struct loop_job *job = loop->free_job;
    int status = 0;

    assert(what->work != NULL);
    assert(what->done != NULL);
    if (job == NULL) {
        return err_set(
            err, ERR_OVERLOADED, "all %d places for posted work are taken", LOOP_WORK_MAX);
    }
    loop->free_job = job->next_free;
    job->work = what->work;
    job->done = what->done;
    job->arg = what->arg;
    job->is_long = what->is_long;
    status = uv_queue_work(&loop->uv, &job->uv, job_run, job_done);
    assert(status == 0);
    return OK;
}

enum code loop_work(
    struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg, struct err *err)
{
    assert(loop != NULL);
    return job_post(loop, &(struct loop_job){.work = work, .done = done, .arg = arg}, err);
}

enum code loop_work_long(
    struct loop *loop, void (*work)(void *arg), void (*done)(void *arg), void *arg, struct err *err)
{
    const struct loop_job job = {.work = work, .done = done, .arg = arg, .is_long = true};

    assert(loop != NULL);
    return job_post(loop, &job, err);
}
