/* The bus on a real nats-server: requests, bounds, subjects, groups, floods. */
#include "tests/support/bus_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/bus.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOON    15000
#define IN_TIME (clock_mono_ms() + 5000)
#define WAITING 3

static const char *url;

/* Keeps what was asked and does not answer. */
struct mute {
    int asked;
    struct bus_message *kept;
};

static void keep(void *ctx, struct bus_message *message)
{
    struct mute *m = ctx;

    m->asked++;
    bus_message_destroy(m->kept);
    m->kept = message;
}

/* Answers without the head that a reply has. */
static void bare(void *ctx, struct bus_message *message)
{
    struct err err = {0};

    assert_int_equal(OK, bus_publish(ctx, bus_message_reply(message).ptr, STR("abc"), &err));
    bus_message_destroy(message);
}

/* --- requests ---------------------------------------------------------------------------- */

static void echoed(struct bus_rig *rig, struct str asked)
{
    struct bus_outcome outcome;

    bus_rig_call(rig->buses[0], "rpc.echo", asked, &outcome);
    assert_true(bus_rig_until(rig, &outcome.count, 1, SOON));
    assert_int_equal(OK, outcome.code);
    assert_int_equal(asked.len, outcome.len);
    assert_string_equal(asked.ptr, outcome.text);
}

static void a_request_is_answered(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    struct bus *server = NULL;
    struct bus_subscription *subscription = NULL;
    struct bus_stats stats;

    (void)state;
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    server = bus_rig_add(&rig, url, "server", 16);
    subscription = bus_rig_subscribe(server, "rpc.echo", "q", bus_rig_echo, server);
    assert_true(bus_rig_until_up(&rig, SOON));
    echoed(&rig, STR("hello"));
    echoed(&rig, STR_EMPTY);
    echoed(&rig, STR("{\"a\":1}"));
    bus_stats(client, &stats);
    assert_int_equal(0, stats.in_flight);
    assert_int_equal(1 + 3, stats.received); /* one for the rig's settling */
    assert_int_equal(1 + 3, stats.published);
    bus_unsubscribe(&subscription);
    assert_null(subscription);
    bus_rig_run(&rig, 50);
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, client, "rpc.echo", "x"));
    bus_rig_close(&rig);
}

static void nobody_and_a_wrong_answer(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    uint64_t from = 0;

    (void)state;
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    (void)bus_rig_subscribe(client, "rpc.bare", NULL, bare, client);
    assert_true(bus_rig_until_up(&rig, SOON));
    from = clock_mono_ms();
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, client, "rpc.nobody", "x"));
    assert_true(clock_mono_ms() - from < 1000); /* not by the deadline */
    assert_int_equal(ERR_INTERNAL, bus_rig_ask(&rig, client, "rpc.bare", "x"));
    bus_rig_close(&rig);
}

static void a_late_reply_finds_nobody(void **state)
{
    struct bus_rig rig;
    struct mute mute = {0};
    struct bus_outcome outcome = {0};
    struct bus *client = NULL;
    struct bus_stats stats;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    (void)bus_rig_subscribe(client, "rpc.mute", NULL, keep, &mute);
    assert_true(bus_rig_until_up(&rig, SOON));
    const uint64_t from = clock_mono_ms();
    assert_int_equal(
        OK,
        bus_call(client, "rpc.mute", STR("x"), from + 200, bus_rig_called, &outcome, NULL, &err));
    assert_true(bus_rig_until(&rig, &outcome.count, 1, SOON));
    assert_int_equal(ERR_TIMEOUT, outcome.code);
    assert_true(clock_mono_ms() >= from + 200);
    assert_true(clock_mono_ms() < from + 1200);

    assert_non_null(mute.kept);
    assert_int_equal(OK, bus_respond(client, bus_message_reply(mute.kept), STR("late"), &err));
    bus_rig_run(&rig, 100);
    assert_int_equal(1, outcome.count);
    bus_stats(client, &stats);
    assert_int_equal(1, stats.late_replies);
    assert_int_equal(0, stats.in_flight);
    bus_message_destroy(mute.kept);

    /* A deadline that is past is not sent at all. */
    assert_int_equal(
        ERR_TIMEOUT,
        bus_call(client, "rpc.mute", STR("x"), from, bus_rig_called, &outcome, NULL, &err));
    assert_int_equal(1, mute.asked);
    bus_rig_close(&rig);
}

static void calls_in_flight_are_bounded(void **state)
{
    struct bus_rig rig;
    struct mute mute = {0};
    struct bus_outcome waiting[WAITING];
    struct bus_outcome cancelled = {0};
    struct pool_handle handle = {0};
    struct bus *client = NULL;
    struct bus_stats stats;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", WAITING + 1);
    (void)bus_rig_subscribe(client, "rpc.mute", NULL, keep, &mute);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < WAITING; i++) {
        bus_rig_call(client, "rpc.mute", STR("x"), &waiting[i]);
    }
    assert_int_equal(
        OK,
        bus_call(client, "rpc.mute", STR("x"), IN_TIME, bus_rig_called, &cancelled, &handle, &err));
    assert_int_equal(ERR_OVERLOADED, bus_rig_ask(&rig, client, "rpc.mute", "x"));
    bus_call_cancel(client, handle);
    bus_call_cancel(client, handle); /* twice is harmless */
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, client, "rpc.nobody", "x"));
    bus_stats(client, &stats);
    assert_int_equal(WAITING, stats.in_flight);
    assert_true(bus_rig_until(&rig, &mute.asked, WAITING + 1, SOON));
    bus_message_destroy(mute.kept);
    bus_rig_close(&rig); /* answers those that wait */
    for (size_t i = 0; i < WAITING; i++) {
        assert_int_equal(1, waiting[i].count);
        assert_int_equal(ERR_UNAVAILABLE, waiting[i].code);
    }
    assert_int_equal(0, cancelled.count);
}

/* --- subjects and sizes -------------------------------------------------------------------- */

static void refused_everywhere(struct bus_rig *rig, size_t row, const char *subject)
{
    struct bus *bus = rig->buses[0];
    struct err err = {0};

    bus_rig_expect(row, ERR_INVALID, bus_publish(bus, subject, STR("x"), &err));
    bus_rig_expect(row, ERR_INVALID, bus_rig_ask(rig, bus, subject, "x"));
    bus_rig_expect(row, ERR_INVALID, bus_respond(bus, str_from(subject), STR("x"), &err));
}

static void what_is_not_a_subject_is_refused(void **state)
{
    static const char *const bad[] = {
        "",
        "a b",
        "a\tb",
        "a\r\nPUB x 0",
        "a\x7f",
        ".a",
        "a.",
        "a..b",
        "a.*",
        "a.>",
        "*",
        "a.b*.c",
        "a.>b",
        NULL,
    };
    static const char *const bad_interest[] = {"", "a b", "a.>.b", "a..b", "a*", "a.>b", NULL};
    char long_subject[600];
    struct bus_rig rig;
    struct bus *bus = NULL;
    struct bus_subscription *out = NULL;
    struct err err = {0};

    (void)state;
    memset(long_subject, 'a', sizeof(long_subject) - 1);
    long_subject[sizeof(long_subject) - 1] = '\0';
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "client", 4);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; bad[i] != NULL; i++) {
        refused_everywhere(&rig, i, bad[i]);
    }
    refused_everywhere(&rig, 100, long_subject);
    for (size_t i = 0; bad_interest[i] != NULL; i++) {
        bus_rig_expect(
            i, ERR_INVALID, bus_subscribe(bus, bad_interest[i], NULL, bare, bus, &out, &err));
    }
    assert_int_equal(ERR_INVALID, bus_subscribe(bus, "a", "a queue", bare, bus, &out, &err));
    assert_null(out);
    /* An asker that names something else than an inbox is not obeyed. */
    assert_int_equal(ERR_INVALID, bus_respond(bus, STR("evt.ledger.x"), STR("x"), &err));
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, bus, "rpc.nobody", "x"));
    assert_int_equal(0, rig.downs[0]);
    bus_rig_close(&rig);
}

static void a_message_has_a_largest_size(void **state)
{
    const size_t largest = (size_t)BUS_PAYLOAD_BYTES_MAX;
    char *bytes = calloc(1, largest + 1);
    struct bus_rig rig;
    struct bus_outcome outcome = {0};
    struct bus *bus = NULL;
    struct err err = {0};

    (void)state;
    assert_non_null(bytes);
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "client", 4);
    assert_true(bus_rig_until_up(&rig, SOON));
    const struct str too_much = {bytes, largest + 1};
    assert_int_equal(ERR_TOO_LARGE, bus_publish(bus, "a", too_much, &err));
    assert_int_equal(ERR_TOO_LARGE,
                     bus_call(bus, "a", too_much, IN_TIME, bus_rig_called, &outcome, NULL, &err));
    assert_int_equal(OK, bus_publish(bus, "a", (struct str){bytes, largest}, &err));
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, bus, "rpc.nobody", "x"));
    assert_int_equal(0, rig.downs[0]); /* the server took it */
    bus_rig_close(&rig);
    free(bytes);
}

/* --- several of them ------------------------------------------------------------------------ */

static void a_queue_group_shares(void **state)
{
    struct bus_rig rig;
    struct bus *buses[3];
    int shared[2] = {0};
    int all = 0;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    for (size_t i = 0; i < 3; i++) {
        buses[i] = bus_rig_add(&rig, url, "same-name", 4);
    }
    (void)bus_rig_subscribe(buses[0], "work.*", "q", bus_rig_count, &shared[0]);
    (void)bus_rig_subscribe(buses[1], "work.>", "q", bus_rig_count, &shared[1]);
    (void)bus_rig_subscribe(buses[1], "work.a", NULL, bus_rig_count, &all);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int i = 0; i < 200; i++) {
        assert_int_equal(OK, bus_publish(buses[2], "work.a", STR("x"), &err));
    }
    assert_true(bus_rig_until(&rig, &all, 200, SOON));
    bus_rig_run(&rig, 50);
    assert_int_equal(200, shared[0] + shared[1]);
    bus_rig_close(&rig);
}

/* Replicas have one name: each must see its own replies only. */
static void one_name_twice_keeps_replies_apart(void **state)
{
    struct bus_rig rig;
    struct bus_outcome first;
    struct bus_outcome second;
    struct bus *buses[2];
    struct bus *server = NULL;
    struct bus_stats stats[2];

    (void)state;
    bus_rig_open(&rig);
    buses[0] = bus_rig_add(&rig, url, "replica", 4);
    buses[1] = bus_rig_add(&rig, url, "replica", 4);
    server = bus_rig_add(&rig, url, "server", 4);
    (void)bus_rig_subscribe(server, "rpc.echo", "q", bus_rig_echo, server);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int i = 0; i < 20; i++) {
        bus_rig_call(buses[0], "rpc.echo", STR("first"), &first);
        bus_rig_call(buses[1], "rpc.echo", STR("second"), &second);
        assert_true(bus_rig_until(&rig, &first.count, 1, SOON));
        assert_true(bus_rig_until(&rig, &second.count, 1, SOON));
        assert_string_equal("first", first.text);
        assert_string_equal("second", second.text);
    }
    bus_stats(buses[0], &stats[0]);
    bus_stats(buses[1], &stats[1]);
    assert_int_equal(0, stats[0].late_replies + stats[1].late_replies);
    bus_rig_close(&rig);
}

/* More than every queue holds: the server keeps what we do not read, and nothing is lost. */
static void a_flood_loses_nothing(void **state)
{
    const int sent = 20 * BUS_RING_MESSAGES;
    struct bus_rig rig;
    struct bus *bus = NULL;
    struct bus_stats stats;
    int received = 0;
    int other = 0;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "flooded", 4);
    (void)bus_rig_subscribe(bus, "f", NULL, bus_rig_count, &received);
    (void)bus_rig_subscribe(bus, "calm", NULL, bus_rig_count, &other);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int i = 0; i < sent; i++) {
        assert_int_equal(OK, bus_publish(bus, "f", STR_EMPTY, &err));
    }
    assert_int_equal(OK, bus_publish(bus, "calm", STR("x"), &err));
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, bus, "rpc.nobody", "x"));
    assert_true(bus_rig_until(&rig, &other, 1, SOON));
    assert_true(bus_rig_until(&rig, &received, sent, SOON));
    bus_stats(bus, &stats);
    assert_int_equal(0, stats.ring_overflows);
    assert_int_equal(0, rig.downs[0]);
    bus_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_answered),
        cmocka_unit_test(nobody_and_a_wrong_answer),
        cmocka_unit_test(a_late_reply_finds_nobody),
        cmocka_unit_test(calls_in_flight_are_bounded),
        cmocka_unit_test(what_is_not_a_subject_is_refused),
        cmocka_unit_test(a_message_has_a_largest_size),
        cmocka_unit_test(a_queue_group_shares),
        cmocka_unit_test(one_name_twice_keeps_replies_apart),
        cmocka_unit_test(a_flood_loses_nothing),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
