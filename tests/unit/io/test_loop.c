#include "tests/support/check.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/loop.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#define WAKERS     4
#define WAKES_EACH 20000
#define ROUNDS     5000

/* One of everything, so that a test takes what it needs. */
struct fixture {
    struct loop *loop;
    struct loop_timer *timer;
    struct loop_pass *pass;
    struct loop_waker *waker;
    int fired;
    int turns;
    int limit;
    int taken;
    uint64_t at_ms[8];
    atomic_int given; /* by other threads */
    atomic_int answered;
    pthread_t main_thread;
    pthread_t threads[WAKERS];
};

static void begin(struct fixture *f)
{
    *f = (struct fixture){.loop = loop_open(), .main_thread = pthread_self()};
    assert_non_null(f->loop);
}

static void end(struct fixture *f)
{
    loop_timer_close(&f->timer);
    loop_pass_close(&f->pass);
    loop_waker_close(&f->waker);
    loop_close(&f->loop);
    assert_null(f->loop);
}

/* --- opening and closing ------------------------------------------------------------- */

static void closes_when_stopped(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    assert_non_null(loop_uv(f.loop));
    loop_stop(f.loop);
    loop_stop(f.loop); /* twice is once */
    loop_run(f.loop);
    end(&f);
    loop_close(&f.loop); /* NULL is nothing */
}

static void closes_without_a_run(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    end(&f);
}

/* --- timers ---------------------------------------------------------------------------- */

static void on_timer(void *arg)
{
    struct fixture *f = arg;

    f->at_ms[f->fired] = loop_now_ms(f->loop);
    f->fired++;
    if (f->fired == f->limit) {
        loop_timer_close(&f->timer); /* from inside its own callback */
        loop_stop(f->loop);
    }
}

static void timer_fires_once(void **state)
{
    struct fixture f;
    uint64_t start_ms = 0;

    (void)state;
    begin(&f);
    f.limit = 1;
    f.timer = loop_timer_open(f.loop, on_timer, &f);
    start_ms = loop_now_ms(f.loop);
    loop_timer_start(f.timer, 20, 0);
    loop_run(f.loop);
    assert_int_equal(f.fired, 1);
    assert_true(f.at_ms[0] >= start_ms + 20);
    assert_null(f.timer);
    end(&f);
}

static void timer_repeats(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.limit = 4;
    f.timer = loop_timer_open(f.loop, on_timer, &f);
    loop_timer_start(f.timer, 0, 5);
    loop_run(f.loop);
    assert_int_equal(f.fired, 4);
    assert_true(f.at_ms[3] >= f.at_ms[0] + 15);
    end(&f);
}

static void stop_loop(void *arg)
{
    loop_stop(arg);
}

static void timer_that_is_stopped_does_not_fire(void **state)
{
    struct fixture f;
    struct loop_timer *last = NULL;

    (void)state;
    begin(&f);
    f.timer = loop_timer_open(f.loop, on_timer, &f);
    last = loop_timer_open(f.loop, stop_loop, f.loop);
    loop_timer_start(f.timer, 5, 0);
    loop_timer_stop(f.timer);
    loop_timer_stop(f.timer);
    loop_timer_start(last, 20, 0);
    loop_run(f.loop);
    assert_int_equal(f.fired, 0);
    loop_timer_close(&last);
    loop_timer_close(&last);
    end(&f);
}

/* --- passes ------------------------------------------------------------------------------ */

static bool on_pass(void *arg)
{
    struct fixture *f = arg;

    f->turns++;
    if (f->turns == f->limit) {
        loop_stop(f->loop);
    }
    return f->turns < f->limit;
}

/* An armed pass runs every turn without waiting for anything. */
static void pass_does_not_sleep(void **state)
{
    struct fixture f;
    uint64_t start_us = clock_mono_us();

    (void)state;
    begin(&f);
    f.limit = 10000;
    f.pass = loop_pass_open(f.loop, on_pass, &f);
    f.timer = loop_timer_open(f.loop, on_timer, &f);
    loop_timer_start(f.timer, 60000, 0);
    loop_pass_arm(f.pass);
    loop_pass_arm(f.pass); /* twice is once */
    loop_timer_stop(f.timer);
    loop_run(f.loop);
    assert_int_equal(f.turns, 10000);
    assert_true(clock_mono_us() - start_us < 30000000);
    end(&f);
}

static void arm_from_timer(void *arg)
{
    struct fixture *f = arg;

    f->fired++;
    loop_pass_arm(f->pass);
}

static bool on_pass_once(void *arg)
{
    struct fixture *f = arg;

    f->turns++;
    assert_int_equal(f->turns, f->fired); /* in the same turn as the arming */
    if (f->turns == 3) {
        loop_timer_close(&f->timer);
        loop_stop(f->loop);
    }
    return false;
}

static void pass_runs_once_per_arming(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.pass = loop_pass_open(f.loop, on_pass_once, &f);
    f.timer = loop_timer_open(f.loop, arm_from_timer, &f);
    loop_timer_start(f.timer, 2, 2);
    loop_run(f.loop);
    assert_int_equal(f.turns, 3);
    end(&f);
}

static bool on_pass_close(void *arg)
{
    struct fixture *f = arg;

    f->turns++;
    loop_pass_close(&f->pass);
    loop_stop(f->loop);
    return true; /* has no effect any more */
}

static void pass_may_close_itself(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.pass = loop_pass_open(f.loop, on_pass_close, &f);
    loop_pass_arm(f.pass);
    loop_run(f.loop);
    assert_int_equal(f.turns, 1);
    end(&f);
}

/* --- wakers -------------------------------------------------------------------------------- */

static void *wake_often(void *arg)
{
    struct fixture *f = arg;

    for (int i = 0; i < WAKES_EACH; i++) {
        /* Relaxed: the wake itself must carry the order. */
        (void)atomic_fetch_add_explicit(&f->given, 1, memory_order_relaxed);
        loop_wake(f->waker);
    }
    return NULL;
}

static void on_wake(void *arg)
{
    struct fixture *f = arg;

    f->turns++;
    f->taken += atomic_exchange_explicit(&f->given, 0, memory_order_relaxed);
    if (f->taken < WAKERS * WAKES_EACH) {
        return;
    }
    /* The last caller may still be inside loop_wake(). */
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_join(f->threads[i], NULL), 0);
    }
    loop_waker_close(&f->waker);
    loop_stop(f->loop);
}

/* Whatever is given before a wake is seen by a run of fn after it: none is lost, or this never
 * ends. */
static void wakes_from_other_threads(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.waker = loop_waker_open(f.loop, on_wake, &f);
    for (int i = 0; i < WAKERS; i++) {
        assert_int_equal(pthread_create(&f.threads[i], NULL, wake_often, &f), 0);
    }
    loop_run(f.loop);
    assert_int_equal(f.taken, WAKERS * WAKES_EACH);
    assert_true(f.turns <= WAKERS * WAKES_EACH);
    end(&f);
}

static void *ping(void *arg)
{
    struct fixture *f = arg;

    for (int i = 1; i <= ROUNDS; i++) {
        atomic_store(&f->given, i);
        loop_wake(f->waker);
        while (atomic_load(&f->answered) < i) {
            (void)sched_yield();
        }
    }
    return NULL;
}

static void pong(void *arg)
{
    struct fixture *f = arg;
    int given = atomic_load(&f->given);

    /* From here the next wake may come, while this run of fn has not returned. */
    atomic_store(&f->answered, given);
    (void)sched_yield();
    if (given == ROUNDS) {
        assert_int_equal(pthread_join(f->threads[0], NULL), 0);
        loop_timer_close(&f->timer);
        loop_waker_close(&f->waker);
        loop_stop(f->loop);
    }
}

static void wake_was_lost(void *arg)
{
    (void)arg;
    fail_msg("the loop sleeps though it was woken");
}

/* Each wake is awaited, so no later one makes up for it. */
static void wakes_during_fn_are_kept(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.timer = loop_timer_open(f.loop, wake_was_lost, &f);
    loop_timer_start(f.timer, 60000, 0);
    f.waker = loop_waker_open(f.loop, pong, &f);
    assert_int_equal(pthread_create(&f.threads[0], NULL, ping, &f), 0);
    loop_run(f.loop);
    assert_int_equal(atomic_load(&f.answered), ROUNDS);
    end(&f);
}

static void on_wake_stop(void *arg)
{
    struct fixture *f = arg;

    f->turns++;
    loop_waker_close(&f->waker);
    loop_stop(f->loop);
}

static void wakes_coalesce(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    f.waker = loop_waker_open(f.loop, on_wake_stop, &f);
    for (int i = 0; i < 100; i++) {
        loop_wake(f.waker);
    }
    loop_run(f.loop);
    assert_int_equal(f.turns, 1);
    end(&f);
}

/* --- signals ------------------------------------------------------------------------------- */

static void on_signal(void *arg, int signum)
{
    struct fixture *f = arg;

    f->at_ms[f->fired] = (uint64_t)signum;
    f->fired++;
    if (f->fired == 2) {
        loop_stop(f->loop);
    } else {
        assert_int_equal(raise(SIGUSR2), 0);
    }
}

static void signals_arrive_on_the_loop(void **state)
{
    struct fixture f;

    (void)state;
    begin(&f);
    loop_on_signal(f.loop, SIGUSR1, on_signal, &f);
    loop_on_signal(f.loop, SIGUSR2, on_signal, &f);
    assert_int_equal(raise(SIGUSR1), 0);
    loop_run(f.loop);
    assert_int_equal(f.fired, 2);
    assert_int_equal(f.at_ms[0], SIGUSR1);
    assert_int_equal(f.at_ms[1], SIGUSR2);
    end(&f);
}

/* A peer that has gone is an error code. */
static void broken_pipes_are_no_signals(void **state)
{
    struct fixture f;
    int ends[2];

    (void)state;
    begin(&f);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(close(ends[0]), 0);
    assert_int_equal(write(ends[1], "x", 1), -1);
    assert_int_equal(close(ends[1]), 0);
    end(&f);
}

/* --- posted work ---------------------------------------------------------------------------- */

static void work(void *arg)
{
    struct fixture *f = arg;

    assert_false(pthread_equal(pthread_self(), f->main_thread));
    (void)atomic_fetch_add_explicit(&f->given, 1, memory_order_relaxed);
}

static void done(void *arg)
{
    struct fixture *f = arg;

    assert_true(pthread_equal(pthread_self(), f->main_thread));
    f->fired++;
    if (f->fired == 1) { /* its place is free again */
        assert_int_equal(loop_work(f->loop, work, done, f, NULL), OK);
    }
    if (f->fired == LOOP_WORK_MAX + 1) {
        loop_stop(f->loop);
    }
}

static void work_is_bounded(void **state)
{
    struct fixture f;
    struct err err = {.code = OK};

    (void)state;
    begin(&f);
    for (int i = 0; i < LOOP_WORK_MAX; i++) {
        assert_int_equal(loop_work(f.loop, work, done, &f, NULL), OK);
    }
    assert_int_equal(loop_work(f.loop, work, done, &f, &err), ERR_OVERLOADED);
    assert_true(err.text[0] != '\0');
    loop_run(f.loop);
    assert_int_equal(f.fired, LOOP_WORK_MAX + 1);
    assert_int_equal(atomic_load(&f.given), LOOP_WORK_MAX + 1);
    end(&f);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(closes_when_stopped),
        cmocka_unit_test(closes_without_a_run),
        cmocka_unit_test(timer_fires_once),
        cmocka_unit_test(timer_repeats),
        cmocka_unit_test(timer_that_is_stopped_does_not_fire),
        cmocka_unit_test(pass_does_not_sleep),
        cmocka_unit_test(pass_runs_once_per_arming),
        cmocka_unit_test(pass_may_close_itself),
        cmocka_unit_test(wakes_from_other_threads),
        cmocka_unit_test(wakes_during_fn_are_kept),
        cmocka_unit_test(wakes_coalesce),
        cmocka_unit_test(signals_arrive_on_the_loop),
        cmocka_unit_test(broken_pipes_are_no_signals),
        cmocka_unit_test(work_is_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
