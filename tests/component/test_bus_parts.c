/* Replies in parts: large ones, and heads as somebody else might write them. */
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
#define PART    ((size_t)BUS_PART_BYTES_MAX)
#define LARGEST (PART * BUS_PARTS_MAX)
#define HEAD    4

static const char *url;

struct answerer {
    struct bus *bus;
    struct str answer;
};

static void answer(void *ctx, struct bus_message *message)
{
    const struct answerer *a = ctx;
    struct err err = {0};

    assert_int_equal(OK, bus_respond(a->bus, bus_message_reply(message), a->answer, &err));
    bus_message_destroy(message);
}

static char *pattern(size_t len)
{
    char *bytes = malloc(len);

    assert_non_null(bytes);
    for (size_t i = 0; i < len; i++) {
        bytes[i] = (char)(i * 31 + i / 251);
    }
    return bytes;
}

static void a_large_reply_comes_whole(void **state)
{
    const size_t sizes[] = {PART - 1, PART, PART + 1, 2 * PART, 2 * PART + 300000, LARGEST};
    char *bytes = pattern(LARGEST + 1);
    struct bus_rig rig;
    struct answerer answerer = {0};
    struct bus_outcome outcome;
    struct bus *client = NULL;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    client = bus_rig_add(&rig, url, "client", 16);
    answerer.bus = bus_rig_add(&rig, url, "server", 16);
    (void)bus_rig_subscribe(answerer.bus, "rpc.large", NULL, answer, &answerer);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        answerer.answer = (struct str){bytes, sizes[i]};
        bus_rig_call(client, "rpc.large", STR("x"), &outcome);
        assert_true(bus_rig_until(&rig, &outcome.count, 1, SOON));
        bus_rig_expect(i, OK, outcome.code);
        assert_int_equal(sizes[i], outcome.len);
        assert_int_equal(hash_bytes(bytes, sizes[i], 1), outcome.hash);
    }
    assert_int_equal(
        ERR_TOO_LARGE,
        bus_respond(answerer.bus, STR("_INBOX.x.1.1"), (struct str){bytes, LARGEST + 1}, &err));
    bus_rig_close(&rig);
    free(bytes);
}

/* --- heads of somebody else ------------------------------------------------------------------ */

#define PIECES_MAX 8

struct head {
    uint16_t index;
    uint16_t count;
};

struct forger {
    struct bus *bus;
    const struct head *heads;
    size_t head_count;
    size_t last_len;  /* of the last part */
    size_t other_len; /* of all others */
};

static void forge_one(const struct forger *f, const char *subject, struct head head)
{
    static unsigned char bytes[HEAD + BUS_PART_BYTES_MAX + 1];
    const size_t len = head.index + 1 == head.count ? f->last_len : f->other_len;
    struct err err = {0};

    bytes[0] = (unsigned char)(head.index >> 8);
    bytes[1] = (unsigned char)head.index;
    bytes[2] = (unsigned char)(head.count >> 8);
    bytes[3] = (unsigned char)head.count;
    memset(bytes + HEAD, 'a' + head.index % 26, len);
    assert_int_equal(
        OK, bus_publish(f->bus, subject, (struct str){(const char *)bytes, HEAD + len}, &err));
}

static void forge(void *ctx, struct bus_message *message)
{
    const struct forger *f = ctx;

    for (size_t i = 0; i < f->head_count; i++) {
        forge_one(f, bus_message_reply(message).ptr, f->heads[i]);
    }
    bus_message_destroy(message);
}

static void forged(struct bus_rig *rig, size_t row, enum code wanted)
{
    struct bus_outcome outcome = {0};
    struct err err = {0};

    assert_int_equal(OK,
                     bus_call(rig->buses[0],
                              "rpc.forge",
                              STR("x"),
                              clock_mono_ms() + 500,
                              bus_rig_called,
                              &outcome,
                              NULL,
                              &err));
    assert_true(bus_rig_until(rig, &outcome.count, 1, SOON));
    bus_rig_expect(row, wanted, outcome.code);
    if (wanted == OK) {
        assert_int_equal(2 * PART + 100, outcome.len);
        assert_int_equal('a', outcome.text[0]);
    } else {
        assert_int_equal(0, outcome.len);
    }
}

static void parts_may_come_in_any_order(void **state)
{
    static const struct {
        size_t count;
        struct head heads[PIECES_MAX];
        enum code code;
    } rows[] = {
        {3, {{2, 3}, {0, 3}, {1, 3}},                 OK          },
        {5, {{1, 3}, {2, 3}, {1, 3}, {2, 3}, {0, 3}}, OK          }, /* some twice */
        {2, {{0, 3}, {1, 2}},                         ERR_INTERNAL}, /* the count changes */
        {2, {{0, 3}, {0, 1}},                         ERR_INTERNAL},
        {1, {{0, 0}},                                 ERR_INTERNAL},
        {1, {{3, 3}},                                 ERR_INTERNAL},
        {1, {{0, BUS_PARTS_MAX + 1}},                 ERR_INTERNAL},
        {1, {{0xFFFF, 0xFFFF}},                       ERR_INTERNAL},
        {2, {{0, 3}, {2, 3}},                         ERR_TIMEOUT }, /* one is missing */
    };
    struct bus_rig rig;
    struct forger forger = {.last_len = 100, .other_len = PART};

    (void)state;
    bus_rig_open(&rig);
    forger.bus = bus_rig_add(&rig, url, "client", 16);
    (void)bus_rig_subscribe(forger.bus, "rpc.forge", NULL, forge, &forger);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        forger.heads = rows[i].heads;
        forger.head_count = rows[i].count;
        forged(&rig, i, rows[i].code);
    }
    bus_rig_close(&rig);
}

static void parts_have_their_size(void **state)
{
    static const struct head three[] = {
        {0, 3},
        {1, 3},
        {2, 3}
    };
    static const struct {
        size_t last_len;
        size_t other_len;
    } rows[] = {
        {100,      PART - 1},
        {100,      PART + 1},
        {100,      0       },
        {0,        PART    },
        {PART + 1, PART    }
    };
    struct bus_rig rig;
    struct forger forger = {.heads = three, .head_count = 3};

    (void)state;
    bus_rig_open(&rig);
    forger.bus = bus_rig_add(&rig, url, "client", 16);
    (void)bus_rig_subscribe(forger.bus, "rpc.forge", NULL, forge, &forger);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        forger.last_len = rows[i].last_len;
        forger.other_len = rows[i].other_len;
        forged(&rig, i, ERR_INTERNAL);
    }
    bus_rig_close(&rig);
}

static void begin(struct bus *bus, struct bus_outcome *outcome, struct pool_handle *handle)
{
    struct err err = {0};

    *outcome = (struct bus_outcome){0};
    assert_int_equal(OK,
                     bus_call(bus,
                              "rpc.forge",
                              STR("x"),
                              clock_mono_ms() + 2000,
                              bus_rig_called,
                              outcome,
                              handle,
                              &err));
}

/* Each begins a reply of 16 MiB and never ends it; 64 MiB are set aside. */
static void reassembly_is_bounded(void **state)
{
    static const struct head first[] = {
        {0, BUS_PARTS_MAX}
    };
    enum {
        FITTING = 4
    };
    struct bus_rig rig;
    struct forger forger = {.heads = first, .head_count = 1, .last_len = 1, .other_len = PART};
    struct bus_outcome outcomes[FITTING + 1];
    struct pool_handle handle = {0};

    (void)state;
    bus_rig_open(&rig);
    forger.bus = bus_rig_add(&rig, url, "client", 16);
    (void)bus_rig_subscribe(forger.bus, "rpc.forge", NULL, forge, &forger);
    assert_true(bus_rig_until_up(&rig, SOON));
    for (int round = 0; round < 3; round++) { /* all of it comes back each time */
        for (size_t i = 0; i <= FITTING; i++) {
            begin(forger.bus, &outcomes[i], &handle);
        }
        assert_true(bus_rig_until(&rig, &outcomes[FITTING].count, 1, SOON));
        assert_int_equal(ERR_OVERLOADED, outcomes[FITTING].code);
        assert_int_equal(0, outcomes[0].count);
        begin(forger.bus, &outcomes[FITTING], &handle);
        assert_true(bus_rig_until(&rig, &outcomes[FITTING].count, 1, SOON));
        assert_int_equal(ERR_OVERLOADED, outcomes[FITTING].code);
        assert_true(bus_rig_until(&rig, &outcomes[0].count, 1, SOON));
        assert_int_equal(ERR_TIMEOUT, outcomes[0].code);
        assert_true(bus_rig_until(&rig, &outcomes[FITTING - 1].count, 1, SOON));
    }
    /* A call that is given up, and a bus that is closed, give it back too. */
    for (size_t i = 0; i < FITTING; i++) {
        begin(forger.bus, &outcomes[i], &handle);
    }
    bus_rig_run(&rig, 200);
    bus_call_cancel(forger.bus, handle);
    begin(forger.bus, &outcomes[FITTING], &handle);
    bus_rig_run(&rig, 200);
    assert_int_equal(0, outcomes[FITTING].count);
    bus_rig_close(&rig);
    assert_int_equal(ERR_UNAVAILABLE, outcomes[FITTING].code);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_large_reply_comes_whole),
        cmocka_unit_test(parts_may_come_in_any_order),
        cmocka_unit_test(parts_have_their_size),
        cmocka_unit_test(reassembly_is_bounded),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
