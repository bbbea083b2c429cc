/* The life of the connection: restarts, refusals, a stalled server, many loops. */
#include "tests/support/bus_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/bus.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOON    15000
#define THREADS 4
#define WAITING 8
#define ROUNDS  20
#define CALLS   100

static const char *url;

/* --- servers come and go --------------------------------------------------------------- */

static void a_bus_may_be_there_before_its_server(void **state)
{
    struct bus_rig rig;
    struct bus *bus = NULL;
    uint64_t from = 0;
    struct err err = {0};

    (void)state;
    scratch_nats_stop();
    bus_rig_open(&rig);
    from = clock_mono_ms();
    bus = bus_rig_add(&rig, url, "early", 16);
    assert_true(clock_mono_ms() - from < 1000);
    (void)bus_rig_subscribe(bus, "rpc.echo", "q", bus_rig_echo, bus);
    bus_rig_run(&rig, 600);
    assert_false(bus_connected(bus));
    assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, bus, "rpc.echo", "x"));
    assert_int_equal(ERR_UNAVAILABLE, bus_publish(bus, "a", STR("x"), &err));
    assert_int_equal(ERR_UNAVAILABLE, bus_respond(bus, STR("_INBOX.a"), STR("x"), &err));
    assert_int_equal(0, rig.ups[0] + rig.downs[0]);
    scratch_nats_restart(NULL);
    assert_true(bus_rig_until_up(&rig, SOON));
    assert_int_equal(OK, bus_rig_ask(&rig, bus, "rpc.echo", "x"));
    assert_int_equal(1, rig.ups[0]);
    bus_rig_close(&rig);
}

static void
wait_for_answers(struct bus_rig *rig, struct bus_outcome *waiting, int *silent, int wanted)
{
    for (size_t i = 0; i < WAITING; i++) {
        bus_rig_call(rig->buses[0], "rpc.silent", STR("x"), &waiting[i]);
    }
    assert_true(bus_rig_until(rig, silent, wanted, SOON));
}

static void a_restart_is_survived(void **state)
{
    struct bus_rig rig;
    struct bus_outcome waiting[WAITING];
    struct bus *bus = NULL;
    struct bus_stats stats;
    uint64_t from = 0;
    int silent = 0;

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "survivor", 16);
    (void)bus_rig_subscribe(bus, "rpc.echo", "q", bus_rig_echo, bus);
    (void)bus_rig_subscribe(bus, "rpc.silent", NULL, bus_rig_count, &silent);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int round = 1; round <= 4; round++) {
        void (*const end)(void) = round % 2 == 0 ? scratch_nats_kill : scratch_nats_stop;

        wait_for_answers(&rig, waiting, &silent, round * WAITING);
        end();
        from = clock_mono_ms();
        assert_true(bus_rig_until(&rig, &rig.downs[0], round, SOON));
        /* Who waits hears of it at once, and that his message may have arrived; so does who comes
         * now, whose message has not. */
        for (size_t i = 0; i < WAITING; i++) {
            assert_int_equal(1, waiting[i].count);
            bus_rig_expect(i, ERR_TIMEOUT, waiting[i].code);
        }
        assert_int_equal(ERR_UNAVAILABLE, bus_rig_ask(&rig, bus, "rpc.echo", "x"));
        assert_true(clock_mono_ms() - from < 1000);
        scratch_nats_restart(NULL);
        assert_true(bus_rig_until(&rig, &rig.ups[0], round + 1, SOON));
        assert_int_equal(OK, bus_rig_ask(&rig, bus, "rpc.echo", "x"));
    }
    bus_stats(bus, &stats);
    assert_int_equal(4, stats.reconnects);
    assert_int_equal(0, stats.in_flight);
    bus_rig_close(&rig);
}

/* nats.c itself would give up after the second refusal. */
static void a_refused_login_is_tried_again(void **state)
{
    static const struct scratch_nats_user before[] = {
        {"ledger", "old", NULL, NULL}
    };
    static const struct scratch_nats_user after[] = {
        {"ledger",
         "secret",            "\"_INBOX.>\", \"evt.ledger.>\", \"rig.nobody\"",
         "\"_INBOX.ledger.>\", \"rpc.ledger.>\""                                                      },
        {"gateway", "secret", "\"rpc.>\", \"rig.nobody\"",                      "\"_INBOX.gateway.>\""}
    };
    struct bus_rig rig;
    struct bus *ledger = NULL;
    struct bus *gateway = NULL;
    int stolen = 0;

    (void)state;
    scratch_nats_stop();
    scratch_nats_restart(&(struct scratch_nats_options){.users = before, .user_count = 1});
    bus_rig_open(&rig);
    ledger = bus_rig_add_user(&rig, url, "ledger", "secret");
    (void)bus_rig_subscribe(ledger, "rpc.ledger.>", "q", bus_rig_echo, ledger);
    bus_rig_run(&rig, 1500);
    assert_false(bus_connected(ledger));
    scratch_nats_stop();
    scratch_nats_restart(&(struct scratch_nats_options){.users = after, .user_count = 2});
    gateway = bus_rig_add_user(&rig, url, "gateway", "secret");
    (void)bus_rig_subscribe(
        gateway, "rpc.ledger.Post", NULL, bus_rig_count, &stolen); /* not allowed */
    assert_true(bus_rig_until_up(&rig, SOON));
    assert_int_equal(OK, bus_rig_ask(&rig, gateway, "rpc.ledger.Post", "x"));
    assert_int_equal(0, stolen);
    /* What is not allowed is refused by the server, and the connection stays. */
    assert_int_equal(ERR_TIMEOUT, bus_rig_ask(&rig, ledger, "rpc.ledger.Post", "x"));
    assert_int_equal(0, rig.downs[0] + rig.downs[1]);
    assert_true(bus_connected(ledger));
    bus_rig_close(&rig);
    scratch_nats_stop();
    scratch_nats_restart(NULL);
}

/* A server that stands still: what is written is bounded, and closing does not wait for it. */
static void a_stalled_server_is_not_fed_without_end(void **state)
{
    static char bytes[1 << 20];
    struct bus_rig rig;
    struct bus *bus = NULL;
    uint64_t from = 0;
    size_t taken = 0;
    enum code code = OK;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "feeder", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    scratch_nats_pause();
    for (int i = 0; code == OK && i < 1000; i++) {
        code = bus_publish(bus, "a", (struct str){bytes, sizeof(bytes)}, &err);
        taken += code == OK ? 1 : 0;
        bus_rig_run(&rig, 1);
    }
    assert_int_equal(ERR_OVERLOADED, code);
    assert_in_range(taken, 32, 64);
    scratch_nats_continue();
    for (int i = 0; code == ERR_OVERLOADED && i < 100; i++) {
        bus_rig_run(&rig, 20);
        code = bus_rig_ask(&rig, bus, "rpc.nobody", "x");
    }
    assert_int_equal(ERR_UNAVAILABLE, code); /* nobody answers: it got through all of it */
    scratch_nats_pause();
    for (int i = 0; i < 30; i++) {
        code = bus_publish(bus, "a", (struct str){bytes, sizeof(bytes)}, &err);
        assert_int_equal(OK, code);
    }
    from = clock_mono_ms();
    bus_rig_close(&rig);
    assert_true(clock_mono_ms() - from < 3000);
    scratch_nats_continue();
}

/* --- many loops in one process -------------------------------------------------------------- */

struct worker {
    pthread_t thread;
    int number;
    bool good;
    int answered;
};

/* A hundred at a time, half of them to itself. True when all came to an end in time. */
static bool round_of_calls(struct worker *w, struct bus_rig *rig, const char *own)
{
    struct bus_outcome outcomes[CALLS] = {{0}};
    struct err err = {0};
    bool good = true;

    for (size_t i = 0; i < CALLS; i++) {
        good = good && bus_call(rig->buses[0],
                                i % 2 == 0 ? own : "rpc.shared",
                                STR("x"),
                                clock_mono_ms() + SOON,
                                bus_rig_called,
                                &outcomes[i],
                                NULL,
                                &err) == OK;
    }
    for (size_t i = 0; good && i < CALLS; i++) {
        good = bus_rig_until(rig, &outcomes[i].count, 1, 2L * SOON);
        w->answered += outcomes[i].code == OK ? 1 : 0;
    }
    return good;
}

static void *work(void *arg)
{
    struct worker *w = arg;
    struct bus_rig rig;
    struct bus *bus = NULL;
    char own[32];

    (void)snprintf(own, sizeof(own), "rpc.thread%d", w->number);
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "worker", 2 * CALLS);
    (void)bus_rig_subscribe(bus, "rpc.shared", "q", bus_rig_echo, bus);
    (void)bus_rig_subscribe(bus, own, NULL, bus_rig_echo, bus);
    w->good = bus_rig_until_up(&rig, SOON);
    for (int round = 0; w->good && round < ROUNDS; round++) {
        w->good = round_of_calls(w, &rig, own);
    }
    bus_rig_close(&rig);
    return NULL;
}

/* The shared subject may lose what went to a worker that was just leaving; its own may not. */
static void every_loop_has_its_own_bus(void **state)
{
    struct worker workers[THREADS] = {{0}};

    (void)state;
    for (int i = 0; i < THREADS; i++) {
        workers[i].number = i;
        assert_int_equal(0, pthread_create(&workers[i].thread, NULL, work, &workers[i]));
    }
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(0, pthread_join(workers[i].thread, NULL));
    }
    for (int i = 0; i < THREADS; i++) {
        assert_true(workers[i].good);
        assert_in_range(workers[i].answered, ROUNDS * CALLS / 2, ROUNDS * CALLS);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bus_may_be_there_before_its_server),
        cmocka_unit_test(a_restart_is_survived),
        cmocka_unit_test(a_refused_login_is_tried_again),
        cmocka_unit_test(a_stalled_server_is_not_fed_without_end),
        cmocka_unit_test(every_loop_has_its_own_bus),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
