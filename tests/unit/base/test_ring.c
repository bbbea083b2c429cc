#include "tests/support/check.h"
#include "tests/unit/base/random.h"

#include "libcommon/base/ring.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#define WAKE_SECONDS_MAX 20 /* a missed wake-up shows as this wait */
#define SPINS_MAX        200

static void keeps_order_and_refuses_when_full(void **state)
{
    struct ring *ring = ring_open(4);
    int items[5];

    (void)state;
    assert_null(ring_pop(ring));
    for (size_t round = 0; round < 10; round++) {
        for (size_t i = 0; i < 4; i++) {
            assert_row(i, ring_push(ring, &items[i]) != RING_FULL);
        }
        assert_row(round, ring_push(ring, &items[4]) == RING_FULL);
        assert_row(round, ring_length(ring) == 4);
        for (size_t i = 0; i < 4; i++) {
            assert_row(i, ring_pop(ring) == &items[i]);
        }
        assert_row(round, ring_pop(ring) == NULL);
        assert_row(round, ring_length(ring) == 0);
    }
    ring_close(&ring);
    assert_null(ring);
    ring_close(&ring);
}

static void first_push_after_arming_says_so(void **state)
{
    struct ring *ring = ring_open(8);
    int item = 0;

    (void)state;
    assert_int_equal(ring_push(ring, &item), RING_PUSHED_FIRST); /* open counts as armed */
    assert_int_equal(ring_push(ring, &item), RING_PUSHED);
    assert_ptr_equal(ring_pop(ring), &item);
    assert_int_equal(ring_push(ring, &item), RING_PUSHED);
    ring_rearm(ring);
    ring_rearm(ring);
    assert_int_equal(ring_push(ring, &item), RING_PUSHED_FIRST);
    assert_int_equal(ring_push(ring, &item), RING_PUSHED);
    while (ring_pop(ring) != NULL) {
    }
    ring_close(&ring);
}

/* A refused push must leave the ring armed: no item, so nobody has been woken for it. */
static void full_push_does_not_disarm(void **state)
{
    struct ring *ring = ring_open(2);
    int item = 0;

    (void)state;
    assert_int_equal(ring_push(ring, &item), RING_PUSHED_FIRST);
    assert_int_equal(ring_push(ring, &item), RING_PUSHED);
    ring_rearm(ring);
    assert_int_equal(ring_push(ring, &item), RING_FULL);
    assert_ptr_equal(ring_pop(ring), &item);
    assert_int_equal(ring_push(ring, &item), RING_PUSHED_FIRST);
    while (ring_pop(ring) != NULL) {
    }
    ring_close(&ring);
}

/* --- threads ------------------------------------------------------------------- */

struct message {
    size_t producer;
    size_t number;
};

struct run {
    struct ring *ring;
    sem_t wake; /* stands for uv_async_send: posted only on RING_PUSHED_FIRST */
    size_t producers;
    size_t per_producer;
    size_t burst; /* a producer waits until so many were taken before it goes on; 0: never */
    atomic_size_t taken[8];
    atomic_size_t wakes;
};

struct producer {
    struct run *run;
    size_t index;
    struct message *messages;
    pthread_t thread;
};

static void push_until_it_fits(struct run *run, struct message *message)
{
    enum ring_push pushed = ring_push(run->ring, message);

    while (pushed == RING_FULL) {
        (void)sched_yield();
        pushed = ring_push(run->ring, message);
    }
    if (pushed == RING_PUSHED_FIRST) {
        atomic_fetch_add(&run->wakes, 1);
        (void)sem_post(&run->wake);
    }
}

/* Shifts the threads against each other by some nanoseconds. */
static void spin(uint64_t turns)
{
    for (volatile uint64_t i = 0; i < turns; i++) {
    }
}

/* Without giving the processor away at first: the next push should meet the consumer still busy. */
static void wait_until_taken(struct run *run, size_t producer, size_t count)
{
    for (size_t turns = 0; atomic_load(&run->taken[producer]) < count; turns++) {
        if (turns > SPINS_MAX) {
            (void)sched_yield();
        }
    }
}

static void *produce(void *argument)
{
    struct producer *producer = argument;
    struct run *run = producer->run;
    uint64_t random = producer->index;

    for (size_t i = 0; i < run->per_producer; i++) {
        spin(random_next(&random) % SPINS_MAX);
        producer->messages[i] = (struct message){producer->index, i};
        push_until_it_fits(run, &producer->messages[i]);
        if (run->burst != 0 && (i + 1) % run->burst == 0) {
            wait_until_taken(run, producer->index, i + 1);
        }
    }
    return NULL;
}

static bool wait_for_wake(struct run *run)
{
    struct timespec until;

    for (size_t turns = 0; turns < SPINS_MAX; turns++) {
        if (sem_trywait(&run->wake) == 0) {
            return true;
        }
    }
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += WAKE_SECONDS_MAX;
    while (sem_timedwait(&run->wake, &until) != 0) {
        if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Each producer's messages must come complete and in order. */
static size_t drain(struct run *run, size_t expected[8])
{
    const struct message *message = ring_pop(run->ring);
    size_t count = 0;

    while (message != NULL) {
        assert_row(message->number, message->number == expected[message->producer]);
        expected[message->producer]++;
        atomic_fetch_add(&run->taken[message->producer], 1);
        count++;
        message = ring_pop(run->ring);
    }
    return count;
}

/* The consumer's protocol: wait to be woken, re-arm, drain. */
static void consume(struct run *run)
{
    size_t expected[8] = {0};
    size_t left = run->producers * run->per_producer;

    while (left > 0) {
        assert_row(left, wait_for_wake(run)); /* else `left` messages are lost or nobody woke us */
        ring_rearm(run->ring);
        left -= drain(run, expected);
    }
    assert_null(ring_pop(run->ring));
}

static void run_threads(size_t capacity, size_t producers, size_t per_producer, size_t burst)
{
    struct run run = {.ring = ring_open(capacity),
                      .producers = producers,
                      .per_producer = per_producer,
                      .burst = burst};
    struct producer threads[8];

    assert_non_null(run.ring);
    assert_int_equal(sem_init(&run.wake, 0, 0), 0);
    for (size_t i = 0; i < producers; i++) {
        threads[i] = (struct producer){.run = &run, .index = i};
        threads[i].messages = calloc(per_producer, sizeof(struct message));
        assert_non_null(threads[i].messages);
        assert_int_equal(pthread_create(&threads[i].thread, NULL, produce, &threads[i]), 0);
    }
    consume(&run);
    for (size_t i = 0; i < producers; i++) {
        assert_int_equal(pthread_join(threads[i].thread, NULL), 0);
        free(threads[i].messages);
    }
    print_message("capacity %zu, %zu messages, %zu wake-ups\n",
                  capacity,
                  producers * per_producer,
                  atomic_load(&run.wakes));
    (void)sem_destroy(&run.wake);
    ring_close(&run.ring);
}

static void many_producers_lose_nothing(void **state)
{
    (void)state;
    run_threads(2, 4, 5000, 0);
    run_threads(1024, 4, 50000, 0);
}

/* The last push of a burst races with the consumer that the first one woke, and nobody else's
 * wake-up makes up for a missed one. */
static void no_wake_up_is_missed(void **state)
{
    (void)state;
    run_threads(8, 1, 20000, 1);
    run_threads(8, 1, 40000, 2);
    run_threads(8, 2, 10000, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_order_and_refuses_when_full),
        cmocka_unit_test(first_push_after_arming_says_so),
        cmocka_unit_test(full_push_does_not_disarm),
        cmocka_unit_test(many_producers_lose_nothing),
        cmocka_unit_test(no_wake_up_is_missed),
    };

    return cmocka_run_group_tests_name("ring", tests, NULL, NULL);
}
