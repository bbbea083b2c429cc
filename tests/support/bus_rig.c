#include "tests/support/bus_rig.h"

#include "tests/support/check.h"

#include "libcommon/base/clock.h"

#include <uv.h>

#include <assert.h>
#include <string.h>

#define TICK_MS 5
#define CALL_MS 5000

static void state_changed(void *ctx, bool connected)
{
    int *ups = ctx;

    /* The counts of one bus lie BUS_RIG_BUSES apart. */
    ups[connected ? 0 : BUS_RIG_BUSES]++;
}

static void nothing(void *arg)
{
    assert(arg != NULL);
}

void bus_rig_open(struct bus_rig *rig)
{
    *rig = (struct bus_rig){.loop = loop_open()};
    assert(rig->loop != NULL);
    rig->tick = loop_timer_open(rig->loop, nothing, rig);
    assert(rig->tick != NULL);
    loop_timer_start(rig->tick, TICK_MS, TICK_MS);
}

static struct bus *add(struct bus_rig *rig, struct bus_options options)
{
    struct err err = {0};
    enum code code = OK;
    const int at = rig->bus_count;

    _Static_assert(offsetof(struct bus_rig, downs) ==
                       offsetof(struct bus_rig, ups) + sizeof(int[BUS_RIG_BUSES]),
                   "downs follow ups");
    assert(at < BUS_RIG_BUSES);
    options.on_state = state_changed;
    options.ctx = &rig->ups[at];
    code = bus_open(rig->loop, &options, &rig->buses[at], &err);
    assert(code == OK);
    rig->bus_count++;
    return rig->buses[at];
}

struct bus *
bus_rig_add(struct bus_rig *rig, const char *url, const char *name, uint32_t in_flight_max)
{
    return add(rig, (struct bus_options){.url = url, .name = name, .in_flight_max = in_flight_max});
}

struct bus *
bus_rig_add_user(struct bus_rig *rig, const char *url, const char *user, const char *password)
{
    return add(
        rig,
        (struct bus_options){
            .url = url, .user = user, .password = password, .name = user, .in_flight_max = 64});
}

struct bus *bus_rig_add_options(struct bus_rig *rig, const struct bus_options *options)
{
    return add(rig, *options);
}

bool bus_rig_until(struct bus_rig *rig, const int *counter, int wanted, long ms_max)
{
    const uint64_t end = clock_mono_ms() + (uint64_t)ms_max;

    while (*counter < wanted && clock_mono_ms() < end) {
        (void)uv_run(loop_uv(rig->loop), UV_RUN_ONCE);
    }
    return *counter >= wanted;
}

void bus_rig_run(struct bus_rig *rig, long ms)
{
    const int never = 0;

    (void)bus_rig_until(rig, &never, 1, ms);
}

static bool all_up(const struct bus_rig *rig)
{
    for (int i = 0; i < rig->bus_count; i++) {
        if (rig->buses[i] != NULL && !bus_connected(rig->buses[i])) {
            return false;
        }
    }
    return true;
}

/* An answer to a question that nobody hears proves that the server knows every subscription made
 * before it on that connection. */
static bool settled(struct bus_rig *rig, struct bus *bus, long ms_max)
{
    struct bus_outcome outcome = {0};
    struct err err = {0};
    const enum code code = bus_call(bus,
                                    "rig.nobody",
                                    STR_EMPTY,
                                    clock_mono_ms() + (uint64_t)ms_max,
                                    bus_rig_called,
                                    &outcome,
                                    NULL,
                                    &err);

    return code == OK && bus_rig_until(rig, &outcome.count, 1, 2 * ms_max);
}

bool bus_rig_until_up(struct bus_rig *rig, long ms_max)
{
    const uint64_t end = clock_mono_ms() + (uint64_t)ms_max;

    while (!all_up(rig) && clock_mono_ms() < end) {
        (void)uv_run(loop_uv(rig->loop), UV_RUN_ONCE);
    }
    if (!all_up(rig)) {
        return false;
    }
    for (int i = 0; i < rig->bus_count; i++) {
        if (rig->buses[i] != NULL && !settled(rig, rig->buses[i], ms_max)) {
            return false;
        }
    }
    return true;
}

void bus_rig_close(struct bus_rig *rig)
{
    for (int i = 0; i < rig->bus_count; i++) {
        bus_close(&rig->buses[i]);
        assert(rig->buses[i] == NULL);
    }
    loop_timer_close(&rig->tick);
    loop_stop(rig->loop);
    loop_run(rig->loop);
    loop_close(&rig->loop);
}

void bus_rig_called(void *outcome, enum code code, struct str payload)
{
    struct bus_outcome *o = outcome;
    const size_t len = payload.len < sizeof(o->text) - 1 ? payload.len : sizeof(o->text) - 1;

    o->count++;
    o->code = code;
    o->len = payload.len;
    o->hash = hash_bytes(payload.ptr, payload.len, 1);
    memcpy(o->text, payload.ptr, len);
    o->text[len] = '\0';
}

void bus_rig_call(struct bus *bus,
                  const char *subject,
                  struct str payload,
                  struct bus_outcome *outcome)
{
    const uint64_t until = clock_mono_ms() + 3 * CALL_MS;
    struct err err = {0};

    *outcome = (struct bus_outcome){0};
    assert_int_equal(OK,
                     bus_call(bus, subject, payload, until, bus_rig_called, outcome, NULL, &err));
    assert_int_equal(0, outcome->count);
}

enum code bus_rig_ask(struct bus_rig *rig, struct bus *bus, const char *subject, const char *text)
{
    const uint64_t until = clock_mono_ms() + CALL_MS;
    struct bus_outcome outcome = {0};
    struct err err = {0};
    enum code code =
        bus_call(bus, subject, str_from(text), until, bus_rig_called, &outcome, NULL, &err);

    if (code != OK) {
        return code;
    }
    assert_int_equal(0, outcome.count);
    assert_true(bus_rig_until(rig, &outcome.count, 1, 2L * CALL_MS));
    return outcome.code;
}

struct bus_subscription *bus_rig_subscribe(struct bus *bus,
                                           const char *subject,
                                           const char *queue,
                                           void (*handler)(void *ctx, struct bus_message *message),
                                           void *ctx)
{
    struct bus_subscription *out = NULL;
    struct err err = {0};

    assert_int_equal(OK, bus_subscribe(bus, subject, queue, handler, ctx, &out, &err));
    assert_non_null(out);
    return out;
}

/* When the bus is down just then, the asker hears that from its own. */
void bus_rig_echo(void *bus, struct bus_message *message)
{
    struct err err = {0};
    enum code code = bus_respond(bus, bus_message_reply(message), bus_message_data(message), &err);

    (void)code;
    bus_message_destroy(message);
}

void bus_rig_count(void *counter, struct bus_message *message)
{
    int *count = counter;

    (*count)++;
    bus_message_destroy(message);
}

void bus_rig_expect(size_t row, enum code wanted, enum code got)
{
    if (wanted != got) {
        fail_msg("row %zu: %s wanted, %s given", row, code_wire(wanted), code_wire(got));
    }
}
