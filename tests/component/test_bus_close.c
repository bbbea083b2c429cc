/* Draining and closing, at every moment and from everywhere. */
#include "tests/support/bus_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/bus.h"

#include <stdlib.h>
#include <unistd.h>

#define SOON    15000
#define IN_TIME (clock_mono_ms() + 5000)

static const char *url;

static void set_flag(void *arg)
{
    int *flag = arg;

    (*flag)++;
}

static void draining_hands_over_what_is_under_way(void **state)
{
    const int sent = 3000;
    struct bus_rig rig;
    struct bus *publisher = NULL;
    struct bus *drained = NULL;
    int received = 0;
    int done = 0;
    int at_done = 0;
    struct bus_subscription *late = NULL;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    publisher = bus_rig_add(&rig, url, "publisher", 16);
    drained = bus_rig_add(&rig, url, "drained", 16);
    (void)bus_rig_subscribe(publisher, "rpc.echo", NULL, bus_rig_echo, publisher);
    (void)bus_rig_subscribe(drained, "work.a", NULL, bus_rig_count, &received);
    (void)bus_rig_subscribe(drained, "work.b", "q", bus_rig_count, &received);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int i = 0; i < sent; i++) {
        assert_int_equal(OK,
                         bus_publish(publisher, i % 2 == 0 ? "work.a" : "work.b", STR("x"), &err));
    }
    /* Once this is answered the server has routed all of them. */
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, publisher, "rpc.nobody", "x"));
    bus_drain(drained, set_flag, &done);
    assert_int_equal(0, done);
    assert_int_equal(ERR_UNAVAILABLE,
                     bus_subscribe(drained, "x", NULL, bus_rig_count, &received, &late, &err));
    assert_true(bus_rig_until(&rig, &done, 1, SOON));
    at_done = received;
    assert_int_equal(sent, at_done);
    /* Calls still work, deliveries do not. */
    assert_int_equal(OK, bus_rig_ask(&rig, drained, "rpc.echo", "x"));
    assert_int_equal(OK, bus_publish(publisher, "work.a", STR("x"), &err));
    bus_rig_run(&rig, 100);
    assert_int_equal(at_done, received);
    assert_int_equal(1, done);
    bus_rig_close(&rig);
}

static void draining_needs_no_server(void **state)
{
    struct bus_rig rig;
    struct bus *bus = NULL;
    int received = 0;
    int done = 0;

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "drained", 16);
    (void)bus_rig_subscribe(bus, "work.a", NULL, bus_rig_count, &received);
    assert_true(bus_rig_until_up(&rig, SOON));
    scratch_nats_kill();
    assert_true(bus_rig_until(&rig, &rig.downs[0], 1, SOON));
    bus_drain(bus, set_flag, &done);
    assert_true(bus_rig_until(&rig, &done, 1, SOON));
    scratch_nats_restart(NULL);
    bus_rig_close(&rig);
}

/* The server stands still while nats.c waits for its answer, and then it dies. */
static void a_drain_may_be_cut_short(void **state)
{
    struct bus_rig rig;
    int received = 0;
    int done = 0;

    (void)state;
    bus_rig_open(&rig);
    (void)bus_rig_add(&rig, url, "drained", 16);
    (void)bus_rig_add(&rig, url, "drained", 16);
    for (int i = 0; i < 2; i++) {
        (void)bus_rig_subscribe(rig.buses[i], "work.a", NULL, bus_rig_count, &received);
        (void)bus_rig_subscribe(rig.buses[i], "work.b", NULL, bus_rig_count, &received);
    }
    assert_true(bus_rig_until_up(&rig, SOON));
    scratch_nats_pause();
    bus_drain(rig.buses[0], set_flag, &done);
    bus_drain(rig.buses[1], set_flag, &done);
    bus_rig_run(&rig, 200);
    assert_int_equal(0, done);
    bus_close(&rig.buses[1]); /* its `done` never comes */
    bus_rig_run(&rig, 50);
    scratch_nats_kill();
    assert_true(bus_rig_until(&rig, &done, 1, SOON));
    bus_rig_close(&rig);
    assert_int_equal(1, done);
    (void)usleep(100000); /* nats.c's last words */
    scratch_nats_restart(NULL);
}

/* Also when the one who leaves has not read what others say: a plain close would reset the
 * connection. */
static void what_was_published_goes_out_before_the_end(void **state)
{
    struct bus_rig rig;
    struct bus *listener = NULL;
    struct bus *speaker = NULL;
    int received = 0;
    int noise = 0;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    listener = bus_rig_add(&rig, url, "listener", 16);
    speaker = bus_rig_add(&rig, url, "speaker", 16);
    (void)bus_rig_subscribe(listener, "last.words", NULL, bus_rig_count, &received);
    (void)bus_rig_subscribe(speaker, "noise", NULL, bus_rig_count, &noise);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int i = 0; i < 20000; i++) {
        assert_int_equal(OK, bus_publish(listener, "noise", STR("x"), &err));
    }
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, listener, "rpc.nobody", "x"));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(OK, bus_publish(speaker, "last.words", STR("x"), &err));
    }
    bus_close(&rig.buses[1]);
    noise = 0;
    assert_true(bus_rig_until(&rig, &received, 1000, SOON));
    assert_int_equal(0, noise); /* nothing is handed over after the close */
    bus_rig_close(&rig);
}

struct closer {
    struct bus **bus;
    struct bus_subscription **subscription;
    int count;
};

static void close_in_handler(void *ctx, struct bus_message *message)
{
    struct closer *c = ctx;

    c->count++;
    bus_message_destroy(message);
    bus_close(c->bus);
}

static void unsubscribe_in_handler(void *ctx, struct bus_message *message)
{
    struct closer *c = ctx;

    c->count++;
    bus_message_destroy(message);
    bus_unsubscribe(c->subscription);
}

static void close_in_call(void *ctx, enum code code, struct str payload)
{
    struct closer *c = ctx;

    (void)payload;
    c->count++;
    assert_int_equal(ERR_UNAVAILABLE, code);
    bus_close(c->bus);
}

static void closing_is_allowed_everywhere(void **state)
{
    struct bus_rig rig;
    struct closer in_handler = {0};
    struct closer in_call = {0};
    struct closer unsubscribing = {0};
    struct bus_subscription *subscription = NULL;
    struct bus *bus = NULL;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "first", 16);
    in_handler.bus = &rig.buses[0];
    (void)bus_rig_add(&rig, url, "second", 16);
    in_call.bus = &rig.buses[1];
    (void)bus_rig_subscribe(bus, "close", NULL, close_in_handler, &in_handler);
    subscription = bus_rig_subscribe(bus, "end", NULL, unsubscribe_in_handler, &unsubscribing);
    unsubscribing.subscription = &subscription;
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(OK, bus_publish(bus, "end", STR("x"), &err));
    }
    assert_true(bus_rig_until(&rig, &unsubscribing.count, 1, SOON));
    for (int i = 0; i < 10; i++) {
        assert_int_equal(OK, bus_publish(bus, "close", STR("x"), &err));
    }
    assert_int_equal(
        OK,
        bus_call(
            rig.buses[1], "rpc.nobody", STR("x"), IN_TIME, close_in_call, &in_call, NULL, &err));
    assert_true(bus_rig_until(&rig, &in_handler.count, 1, SOON));
    assert_true(bus_rig_until(&rig, &in_call.count, 1, SOON));
    bus_rig_run(&rig, 50);
    assert_int_equal(1, unsubscribing.count);
    assert_int_equal(1, in_handler.count);
    assert_null(rig.buses[0]);
    assert_null(rig.buses[1]);
    bus_rig_close(&rig);
}

/* From "never run" over "connecting" to "just up". */
static void closing_is_allowed_at_every_moment(void **state)
{
    (void)state;
    for (int turns = 0; turns < 12; turns++) {
        struct bus_rig rig;
        int received = 0;

        bus_rig_open(&rig);
        (void)bus_rig_add(&rig, url, "hasty", 16);
        (void)bus_rig_subscribe(rig.buses[0], "a", NULL, bus_rig_count, &received);
        bus_rig_run(&rig, turns);
        bus_rig_close(&rig);
    }
    {
        struct loop *loop = loop_open(); /* a start that fails before the loop ever runs */
        const struct bus_options options = {.url = url, .name = "unborn", .in_flight_max = 1};
        struct bus *bus = NULL;
        struct err err = {0};

        assert_int_equal(OK, bus_open(loop, &options, &bus, &err));
        bus_close(&bus);
        bus_close(&bus);
        loop_close(&loop);
    }
}

static void wrong_options_are_refused(void **state)
{
    static const char *const names[] = {"", "a.b", "a b", "a*", ">", NULL};
    struct loop *loop = loop_open();
    struct bus *bus = NULL;
    struct err err = {0};

    (void)state;
    for (size_t i = 0; names[i] != NULL; i++) {
        const struct bus_options options = {.url = url, .name = names[i], .in_flight_max = 1};

        bus_rig_expect(i, ERR_INVALID, bus_open(loop, &options, &bus, &err));
        assert_null(bus);
    }
    loop_close(&loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(draining_hands_over_what_is_under_way),
        cmocka_unit_test(draining_needs_no_server),
        cmocka_unit_test(a_drain_may_be_cut_short),
        cmocka_unit_test(what_was_published_goes_out_before_the_end),
        cmocka_unit_test(closing_is_allowed_everywhere),
        cmocka_unit_test(closing_is_allowed_at_every_moment),
        cmocka_unit_test(wrong_options_are_refused),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
