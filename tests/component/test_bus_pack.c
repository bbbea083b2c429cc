/* Small messages of one turn travel together, and nobody above the bus can tell. */
#include "tests/support/bus_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/bus_internal.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOON  15000
#define CALLS 300

static const char *url;

/* Lengths around the bounds of a pack and of what goes into one. */
static const size_t lengths[] = {0,
                                 1,
                                 100,
                                 BUS_PACK_BODY_BYTES_MAX - BUS_PART_HEAD_BYTES,
                                 BUS_PACK_BODY_BYTES_MAX,
                                 BUS_PACK_BODY_BYTES_MAX + 1,
                                 40000};

static void all_are_answered_right(struct bus_rig *rig, struct bus *client, bool varied)
{
    static struct bus_outcome outcomes[CALLS];
    static char bytes[CALLS][40001];

    memset(outcomes, 0, sizeof outcomes);
    for (size_t i = 0; i < CALLS; i++) {
        const size_t len = varied ? lengths[i % ARRAY_LEN(lengths)] : 100;

        memset(bytes[i], 'a' + (int)(i % 26), len);
        bus_rig_call(client, "rpc.echo", (struct str){bytes[i], len}, &outcomes[i]);
    }
    for (size_t i = 0; i < CALLS; i++) {
        const size_t len = varied ? lengths[i % ARRAY_LEN(lengths)] : 100;

        assert_true(bus_rig_until(rig, &outcomes[i].count, 1, SOON));
        bus_rig_expect(i, OK, outcomes[i].code);
        assert_int_equal(len, outcomes[i].len);
        assert_int_equal(hash_bytes(bytes[i], len, 1), outcomes[i].hash);
    }
}

static void calls_of_a_turn_travel_together(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    struct bus *server = NULL;
    struct bus_stats before;
    struct bus_stats after;

    (void)state;
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", CALLS);
    server = bus_rig_add(&rig, url, "server", 16);
    (void)bus_rig_subscribe(server, "rpc.echo", "q", bus_rig_echo, server);
    assert_true(bus_rig_until_up(&rig, SOON));
    bus_stats(client, &before);
    all_are_answered_right(&rig, client, false);
    bus_stats(client, &after);
    assert_int_equal((CALLS + BUS_PACK_MEMBERS_MAX - 1) / BUS_PACK_MEMBERS_MAX,
                     after.published - before.published);
    assert_true(after.received - before.received < CALLS / 4);
    all_are_answered_right(&rig, client, true);
    bus_rig_close(&rig);
}

/* More subjects than packs: some leave in between. */
static void many_subjects_share_the_packs(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    struct bus *server = NULL;
    struct bus_outcome outcomes[4 * BUS_PACKS];
    char subject[32];

    (void)state;
    memset(outcomes, 0, sizeof outcomes);
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", CALLS);
    server = bus_rig_add(&rig, url, "server", 16);
    (void)bus_rig_subscribe(server, "rpc.many.*", "q", bus_rig_echo, server);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        (void)snprintf(subject, sizeof subject, "rpc.many.%zu", i % (2 * BUS_PACKS));
        bus_rig_call(client, subject, str_from(subject), &outcomes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        (void)snprintf(subject, sizeof subject, "rpc.many.%zu", i % (2 * BUS_PACKS));
        assert_true(bus_rig_until(&rig, &outcomes[i].count, 1, SOON));
        assert_int_equal(OK, outcomes[i].code);
        assert_string_equal(subject, outcomes[i].text);
    }
    bus_rig_close(&rig);
}

static void two_askers_get_their_own(void **state)
{
    struct bus_rig rig;
    struct bus *askers[2];
    struct bus *server = NULL;
    struct bus_outcome outcomes[40];

    (void)state;
    memset(outcomes, 0, sizeof outcomes);
    bus_rig_open(&rig);
    askers[0] = bus_rig_add(&rig, url, "one", CALLS);
    askers[1] = bus_rig_add(&rig, url, "two", CALLS);
    server = bus_rig_add(&rig, url, "server", 16);
    (void)bus_rig_subscribe(server, "rpc.echo", "q", bus_rig_echo, server);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        bus_rig_call(askers[i % 2], "rpc.echo", i % 2 == 0 ? STR("one") : STR("two"), &outcomes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_true(bus_rig_until(&rig, &outcomes[i].count, 1, SOON));
        assert_string_equal(i % 2 == 0 ? "one" : "two", outcomes[i].text);
    }
    bus_rig_close(&rig);
}

static void a_pack_that_nobody_hears_ends_at_once(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    struct bus_outcome outcomes[10];
    uint64_t from = 0;

    (void)state;
    memset(outcomes, 0, sizeof outcomes);
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    from = clock_mono_ms();
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        bus_rig_call(client, "rpc.nobody", STR("x"), &outcomes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_true(bus_rig_until(&rig, &outcomes[i].count, 1, SOON));
        assert_int_equal(ERR_UNAVAILABLE, outcomes[i].code);
    }
    assert_true(clock_mono_ms() - from < 4000); /* not by the deadline, which is 5 s */
    bus_rig_close(&rig);
}

static void a_cancelled_member_is_not_missed(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    struct bus *server = NULL;
    struct bus_outcome outcomes[3];
    struct pool_handle handles[3];
    struct bus_stats stats;
    struct err err = {0};

    (void)state;
    memset(outcomes, 0, sizeof outcomes);
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    server = bus_rig_add(&rig, url, "server", 16);
    (void)bus_rig_subscribe(server, "rpc.echo", "q", bus_rig_echo, server);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_int_equal(OK,
                         bus_call(client,
                                  "rpc.echo",
                                  STR("x"),
                                  clock_mono_ms() + 5000,
                                  bus_rig_called,
                                  &outcomes[i],
                                  &handles[i],
                                  &err));
    }
    bus_call_cancel(client, handles[0]);
    assert_true(bus_rig_until(&rig, &outcomes[1].count, 1, SOON));
    assert_true(bus_rig_until(&rig, &outcomes[2].count, 1, SOON));
    assert_int_equal(0, outcomes[0].count);
    bus_stats(client, &stats);
    assert_int_equal(1, stats.late_replies);
    bus_rig_close(&rig);
}

/* --- the end ----------------------------------------------------------------------------- */

static void closing_ends_what_waits(void **state)
{
    struct bus_rig rig;
    struct bus *client = NULL;
    struct bus_outcome outcomes[3];

    (void)state;
    memset(outcomes, 0, sizeof outcomes);
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        bus_rig_call(client, "rpc.nobody", STR("x"), &outcomes[i]);
    }
    bus_rig_close(&rig);
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_int_equal(1, outcomes[i].count);
        assert_int_equal(ERR_UNAVAILABLE, outcomes[i].code);
    }
}

struct leaver {
    struct bus_rig *rig;
    int left;
};

/* Answers, and closes its bus in the same turn. */
static void answer_and_leave(void *ctx, struct bus_message *message)
{
    struct leaver *leaver = ctx;
    struct bus **bus = &leaver->rig->buses[1];
    struct err err = {0};

    assert_int_equal(OK, bus_respond(*bus, bus_message_reply(message), STR("bye"), &err));
    bus_message_destroy(message);
    if (--leaver->left == 0) {
        bus_close(bus);
    }
}

static void last_answers_still_leave(void **state)
{
    struct bus_rig rig;
    struct leaver leaver = {&rig, 3};
    struct bus *client = NULL;
    struct bus_outcome outcomes[3];

    (void)state;
    memset(outcomes, 0, sizeof outcomes);
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    (void)bus_rig_subscribe(
        bus_rig_add(&rig, url, "server", 16), "rpc.bye", "q", answer_and_leave, &leaver);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        bus_rig_call(client, "rpc.bye", STR("x"), &outcomes[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(outcomes); i++) {
        assert_true(bus_rig_until(&rig, &outcomes[i].count, 1, SOON));
        assert_int_equal(OK, outcomes[i].code);
        assert_string_equal("bye", outcomes[i].text);
    }
    bus_rig_close(&rig);
}

/* --- packs of somebody else --------------------------------------------------------------- */

#define INBOX "_INBOX.stranger.0123456789abcdef."

static void member_write(unsigned char *at, uint32_t slot, uint32_t len)
{
    memset(at, 0, BUS_PACK_HEAD_BYTES);
    at[2] = (unsigned char)(slot >> 8);
    at[3] = (unsigned char)slot;
    at[7] = 1; /* generation */
    at[10] = (unsigned char)(len >> 8);
    at[11] = (unsigned char)len;
}

static int handed(struct bus_rig *rig, int *count, const char *reply, const void *bytes, int len)
{
    natsConnection *connection = NULL;
    const int before = *count;

    assert_int_equal(NATS_OK, natsConnection_ConnectTo(&connection, url));
    assert_int_equal(NATS_OK,
                     natsConnection_PublishRequest(connection, "rpc.count", reply, bytes, len));
    assert_int_equal(NATS_OK, natsConnection_PublishString(connection, "rpc.count", "end"));
    assert_int_equal(NATS_OK, natsConnection_Flush(connection));
    natsConnection_Destroy(connection);
    assert_true(bus_rig_until(rig, count, before + 1, SOON)); /* the last at the latest */
    bus_rig_run(rig, 100);
    return *count - before - 1;
}

static void strangers_packs_are_read_with_care(void **state)
{
    static unsigned char bytes[BUS_PACK_HEAD_BYTES * 4096];
    struct bus_rig rig;
    int count = 0;

    (void)state;
    bus_rig_open(&rig);
    (void)bus_rig_subscribe(
        bus_rig_add(&rig, url, "server", 16), "rpc.count", NULL, bus_rig_count, &count);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (uint32_t i = 0; i < sizeof bytes / BUS_PACK_HEAD_BYTES; i++) {
        member_write(bytes + (size_t)i * BUS_PACK_HEAD_BYTES, i, 0);
    }
    assert_int_equal(3, handed(&rig, &count, INBOX "pack.1", bytes, 3 * BUS_PACK_HEAD_BYTES));
    assert_int_equal(BUS_PACK_MEMBERS_MAX,
                     handed(&rig, &count, INBOX "pack.1", bytes, (int)sizeof bytes));
    assert_int_equal(2, handed(&rig, &count, INBOX "pack.1", bytes, 3 * BUS_PACK_HEAD_BYTES - 1));
    assert_int_equal(0, handed(&rig, &count, INBOX "pack.1", bytes, 5));
    assert_int_equal(0, handed(&rig, &count, INBOX "pack.1", bytes, 0));
    member_write(bytes, 1, 200); /* longer than what is there */
    assert_int_equal(0, handed(&rig, &count, INBOX "pack.1", bytes, 100));
    /* What is no pack's subject is a plain message. */
    assert_int_equal(1, handed(&rig, &count, INBOX "pack.x", bytes, 100));
    assert_int_equal(1, handed(&rig, &count, INBOX "pack", bytes, 100));
    assert_int_equal(1, handed(&rig, &count, "pack.1", bytes, 100));
    bus_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(calls_of_a_turn_travel_together),
        cmocka_unit_test(many_subjects_share_the_packs),
        cmocka_unit_test(two_askers_get_their_own),
        cmocka_unit_test(a_pack_that_nobody_hears_ends_at_once),
        cmocka_unit_test(a_cancelled_member_is_not_missed),
        cmocka_unit_test(closing_ends_what_waits),
        cmocka_unit_test(last_answers_still_leave),
        cmocka_unit_test(strangers_packs_are_read_with_care),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
