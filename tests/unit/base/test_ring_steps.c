/*
 * The hand-over of base/ring.c step by step: its atomic operations are replaced by ones that stop
 * at a chosen operation and let the other side run there. So every place where a wake-up could be
 * missed is visited, which threads alone hit too rarely.
 */
/* NOLINTBEGIN(readability-identifier-naming): the names replaced are not ours. */
#define ring_open   stepped_open
#define ring_close  stepped_close
#define ring_push   stepped_push
#define ring_rearm  stepped_rearm
#define ring_pop    stepped_pop
#define ring_length stepped_length
/* NOLINTEND(readability-identifier-naming) */

#include "tests/support/check.h"

#include <stdatomic.h>

static void step(void);

static bool stepped_swap(atomic_bool *object, bool value)
{
    bool before = false;

    step();
    before = *object;
    *object = value;
    return before;
}

static bool stepped_claim(_Atomic size_t *object, size_t *expected, size_t value)
{
    step();
    if (*object != *expected) {
        *expected = *object;
        return false;
    }
    *object = value;
    return true;
}

/* One thread runs all sides, so plain operations do. */
/* NOLINTBEGIN(readability-identifier-naming) */
#undef atomic_load_explicit
#undef atomic_store_explicit
#undef atomic_exchange_explicit
#undef atomic_compare_exchange_weak_explicit
#define atomic_load_explicit(object, order)            (step(), *(object))
#define atomic_store_explicit(object, value, order)    (step(), (void)(*(object) = (value)))
#define atomic_exchange_explicit(object, value, order) stepped_swap((object), (value))
#define atomic_compare_exchange_weak_explicit(object, expected, value, success, failure) \
    stepped_claim((object), (expected), (value))
/* NOLINTEND(readability-identifier-naming) */

#include "libcommon/base/ring.c" /* NOLINT(bugprone-suspicious-include) */

#define STEPS_MAX 64

static struct ring *ring;
static int items[8];
static size_t popped;
static size_t steps_left;
static void (*at_stop)(void);
static bool wake_due; /* a push said FIRST after the consumer last went to sleep */

static void step(void)
{
    void (*stopped)(void) = at_stop;

    if (at_stop == NULL || --steps_left > 0) {
        return;
    }
    at_stop = NULL;
    stopped();
}

static void stop_at(size_t count, void (*what)(void))
{
    steps_left = count;
    at_stop = what;
}

static bool stop_reached(void)
{
    bool reached = at_stop == NULL;

    at_stop = NULL;
    return reached;
}

static void push(int *item)
{
    enum ring_push pushed = ring_push(ring, item);

    assert_int_not_equal(pushed, RING_FULL);
    wake_due = wake_due || pushed == RING_PUSHED_FIRST;
}

static void push_third(void)
{
    push(&items[3]);
}

/* What the consumer does between being woken and going to sleep again. */
static void consumer_turn(void)
{
    wake_due = false;
    ring_rearm(ring);
    while (ring_pop(ring) != NULL) {
        popped++;
    }
}

static void push_and_consume(void)
{
    push_third();
    consumer_turn();
}

static void start(size_t pushed_before)
{
    ring = ring_open(8);
    popped = 0;
    wake_due = false;
    for (size_t i = 0; i < pushed_before; i++) {
        push(&items[i]);
    }
}

/* An item in the ring needs a wake-up on its way. Then everything must come out. */
static void finish(size_t row, size_t pushed)
{
    assert_row(row, ring_length(ring) == 0 || wake_due);
    consumer_turn();
    assert_row(row, popped == pushed);
    ring_close(&ring);
}

static void consumer_runs_within_a_push(void **state)
{
    bool more = true;

    (void)state;
    for (size_t before = 0; before < 3; before++) {
        size_t stops = 0;

        more = true;
        for (size_t i = 1; more && i < STEPS_MAX; i++) {
            start(before);
            stop_at(i, consumer_turn);
            push(&items[before]);
            more = stop_reached();
            stops += more ? 1 : 0;
            finish(i, before + 1);
        }
        assert_in_range(stops, 4, STEPS_MAX - 2); /* tail, cell, claim, publish, armed */
    }
}

static void push_runs_within_a_consumer_turn(void **state)
{
    bool more = true;

    (void)state;
    for (size_t before = 0; before < 3; before++) {
        size_t stops = 0;

        more = true;
        for (size_t i = 1; more && i < STEPS_MAX; i++) {
            start(before);
            stop_at(i, push_third);
            consumer_turn();
            more = stop_reached();
            stops += more ? 1 : 0;
            finish(i, before + (more ? 1 : 0));
        }
        assert_in_range(stops, 3, STEPS_MAX - 2); /* armed, head, cell */
    }
}

/* A claimed cell that is not published yet hides the ones after it; its push must wake. */
static void second_push_overtakes_the_first(void **state)
{
    bool more = true;

    (void)state;
    for (size_t i = 1; more && i < STEPS_MAX; i++) {
        start(1);
        stop_at(i, push_and_consume);
        push(&items[1]);
        more = stop_reached();
        finish(i, more ? 3 : 2);
    }
    assert_false(more);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(consumer_runs_within_a_push),
        cmocka_unit_test(push_runs_within_a_consumer_turn),
        cmocka_unit_test(second_push_overtakes_the_first),
    };

    return cmocka_run_group_tests_name("ring_steps", tests, NULL, NULL);
}
