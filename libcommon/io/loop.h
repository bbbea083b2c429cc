#pragma once
/*
 * One libuv loop per thread and what hangs on it: timers, signals, posted work, a pass per turn.
 * Everything here is called on the loop's own thread except loop_wake(). Handles are opened at
 * start or per connection, never per request. Shutdown is complete: loop_close() asserts
 * uv_loop_close() == 0.
 */

#include "libcommon/base/err.h"

#include <stdint.h>

struct loop;
struct uv_loop_s;

struct loop *loop_open(void); /* NULL when memory is refused */
/* Runs until loop_stop() was called and every handle is closed. */
void loop_run(struct loop *loop);
void loop_stop(struct loop *loop);
void loop_close(struct loop **loop);
struct uv_loop_s *loop_uv(struct loop *loop);  /* for libcommon/io only */
uint64_t loop_now_ms(const struct loop *loop); /* monotonic, cached per turn */

struct loop_timer;
struct loop_timer *loop_timer_open(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_timer_start(struct loop_timer *timer, uint64_t after_ms, uint64_t repeat_ms);
void loop_timer_stop(struct loop_timer *timer);
void loop_timer_close(struct loop_timer **timer); /* freed when libuv lets go */

/* fn runs once per turn after I/O callbacks while `armed`; it returns true to stay armed, in which
 * case the loop does not sleep. This is where requests are moved forward, up to TURN_REQUESTS_MAX.
 */
struct loop_pass;
struct loop_pass *loop_pass_open(struct loop *loop, bool (*fn)(void *arg), void *arg);
void loop_pass_arm(struct loop_pass *pass);
void loop_pass_close(struct loop_pass **pass);

/* The only function other threads may call. fn runs on the loop thread; wakes coalesce. */
struct loop_waker;
struct loop_waker *loop_waker_open(struct loop *loop, void (*fn)(void *arg), void *arg);
void loop_wake(struct loop_waker *waker);
void loop_waker_close(struct loop_waker **waker);

void loop_on_signal(struct loop *loop, int signum, void (*fn)(void *arg, int signum), void *arg);

#define LOOP_WORK_MAX 64
/* Runs `work` on libuv's thread pool, then `done` on the loop. ERR_OVERLOADED when LOOP_WORK_MAX
 * jobs are waiting or running. `arg` must stay valid until `done`. */
enum code loop_work(struct loop *loop,
                    void (*work)(void *arg),
                    void (*done)(void *arg),
                    void *arg,
                    struct err *err) MUST_CHECK;
/* The same for work that takes long: its thread yields to every other thread of the machine, from
 * then on for good, since no thread may raise itself again. */
enum code loop_work_long(struct loop *loop,
                         void (*work)(void *arg),
                         void (*done)(void *arg),
                         void *arg,
                         struct err *err) MUST_CHECK;
