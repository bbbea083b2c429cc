/* tidy: allow lines here: one listener for all of JetStream */
/* JetStream over the bus: streams, publishing once, durable consumers. */
#include "tests/support/bus_rig.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/bus.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOON    15000
#define IN_TIME (clock_mono_ms() + 5000)
#define WAIT_MS 400 /* ack_wait of the consumers here */

static const char *url;

static enum code ensure(struct bus_rig *rig, struct bus *bus, const struct bus_stream_spec *spec)
{
    struct bus_outcome outcome = {0};
    struct err err = {0};
    enum code code = bus_stream_ensure(bus, spec, IN_TIME, bus_rig_called, &outcome, &err);

    if (code != OK) {
        return code;
    }
    assert_int_equal(0, outcome.count);
    assert_true(bus_rig_until(rig, &outcome.count, 1, SOON));
    return outcome.code;
}

static void stream(struct bus_rig *rig, struct bus *bus, const char *name, const char *subject)
{
    const char *const subjects[] = {subject, NULL};
    const struct bus_stream_spec spec = {
        .name = name, .subjects = subjects, .duplicate_window_ms = 60000, .max_bytes = 1 << 24};

    assert_int_equal(OK, ensure(rig, bus, &spec));
}

static enum code
store(struct bus_rig *rig, struct bus *bus, const char *subject, const char *id, const char *text)
{
    struct bus_outcome outcome = {0};
    struct err err = {0};
    enum code code = bus_stream_publish(
        bus, subject, id, str_from(text), IN_TIME, bus_rig_called, &outcome, &err);

    if (code != OK) {
        return code;
    }
    assert_int_equal(0, outcome.count);
    assert_true(bus_rig_until(rig, &outcome.count, 1, SOON));
    return outcome.code;
}

/* --- a consumer that notes what it gets ------------------------------------------------ */

enum answer {
    ACK,
    NAK,
    TERM,
    SILENCE
};

struct delivery {
    char id[32];
    char text[32];
    uint64_t sequence;
    uint64_t deliveries;
    uint64_t at_ms;
};

struct listener {
    struct bus *bus;
    enum answer answers[8]; /* of the first, second, ... delivery; the last goes on */
    int answer_count;
    uint32_t nak_ms;
    int count;
    struct delivery seen[64];
};

static void copy(char *out, size_t cap, struct str s)
{
    assert_true(s.len < cap);
    memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
}

static void heard(void *ctx, struct bus_message *m)
{
    struct listener *l = ctx;
    struct delivery *d = &l->seen[l->count % 64];
    const int at = l->count < l->answer_count ? l->count : l->answer_count - 1;

    copy(d->id, sizeof(d->id), bus_message_id(m));
    copy(d->text, sizeof(d->text), bus_message_data(m));
    d->sequence = bus_message_stream_sequence(m);
    d->deliveries = bus_message_deliveries(m);
    d->at_ms = clock_mono_ms();
    l->count++;
    switch (at < 0 ? ACK : l->answers[at]) {
    case ACK:
        bus_message_ack(l->bus, m);
        break;
    case NAK:
        bus_message_nak(l->bus, m, l->nak_ms);
        break;
    case TERM:
        bus_message_term(l->bus, m);
        break;
    case SILENCE:
        break;
    }
    bus_message_destroy(m);
}

static struct bus_consumer *
consume(struct listener *l, const char *stream_name, const char *durable, const char *filter)
{
    const struct bus_consumer_spec spec = {
        .stream = stream_name,
        .durable = durable,
        .filter_subject = filter,
        .ack_pending_max = 64,
        .ack_wait_ms = WAIT_MS,
        .deliver_max = 4,
    };
    struct bus_consumer *out = NULL;
    struct err err = {0};

    assert_int_equal(OK, bus_consume(l->bus, &spec, heard, l, &out, &err));
    return out;
}

/* --- streams --------------------------------------------------------------------------- */

static void a_stream_is_made_once(void **state)
{
    static const char *const two[] = {"one.a.>", "one.b", NULL};
    static const char *const more[] = {"one.a.>", "one.b", "one.c", NULL};
    static const char *const fewer[] = {"one.b", NULL};
    static const char *const taken[] = {"one.b", "other", NULL};
    static const char *const none[] = {NULL};
    struct bus_stream_spec spec = {
        .name = "ONE", .subjects = two, .duplicate_window_ms = 60000, .max_bytes = 1 << 20};
    struct bus_rig rig;
    struct bus *bus = NULL;

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "maker", 16);
    assert_int_equal(ERR_UNAVAILABLE, ensure(&rig, bus, &spec)); /* not connected yet */
    assert_true(bus_rig_until_up(&rig, SOON));
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    spec.max_bytes = 1 << 21; /* other settings: an operator's */
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    spec.subjects = fewer;
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    spec.subjects = more;
    assert_int_equal(ERR_CONFLICT, ensure(&rig, bus, &spec));
    spec.name = "OTHER";
    spec.subjects = taken; /* overlaps */
    assert_int_equal(ERR_INTERNAL, ensure(&rig, bus, &spec));
    spec.subjects = none;
    assert_int_equal(ERR_INVALID, ensure(&rig, bus, &spec));
    spec.subjects = two;
    spec.name = "A.B";
    assert_int_equal(ERR_INVALID, ensure(&rig, bus, &spec));
    bus_rig_close(&rig);
}

static void an_id_is_stored_once(void **state)
{
    struct bus_rig rig;
    struct listener l = {0};

    (void)state;
    bus_rig_open(&rig);
    l.bus = bus_rig_add(&rig, url, "writer", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    stream(&rig, l.bus, "ONCE", "once.>");
    assert_int_equal(OK, store(&rig, l.bus, "once.a", "ledger-1", "first"));
    assert_int_equal(OK, store(&rig, l.bus, "once.a", "ledger-1", "first"));
    assert_int_equal(OK, store(&rig, l.bus, "once.a", "ledger-2", "second"));
    assert_int_equal(ERR_UNAVAILABLE, store(&rig, l.bus, "nowhere", "ledger-3", "x"));
    assert_int_equal(ERR_INVALID, store(&rig, l.bus, "once.a", "", "x"));
    assert_int_equal(ERR_INVALID, store(&rig, l.bus, "once.a", "a\r\nX: y", "x"));
    (void)consume(&l, "ONCE", "once", "once.>");
    assert_true(bus_rig_until(&rig, &l.count, 2, SOON));
    bus_rig_run(&rig, 2L * WAIT_MS);
    assert_int_equal(2, l.count);
    assert_string_equal("ledger-1", l.seen[0].id);
    assert_string_equal("first", l.seen[0].text);
    assert_int_equal(1, l.seen[0].sequence);
    assert_int_equal(1, l.seen[0].deliveries);
    assert_string_equal("ledger-2", l.seen[1].id);
    assert_int_equal(2, l.seen[1].sequence);
    bus_rig_close(&rig);
}

/* Somebody with subscriptions, but no stream, answers where an ack is expected. */
static void impostor(void *ctx, struct bus_message *m)
{
    static const char *const answers[] = {
        "", "{", "[]", "{\"seq\":0}", "{\"error\":{\"code\":503}}", "{\"seq\":\"7\"}", "+OK"};
    static size_t at;
    struct err err = {0};

    assert_int_equal(OK,
                     bus_publish(ctx, bus_message_reply(m).ptr, str_from(answers[at++ % 7]), &err));
    bus_message_destroy(m);
}

static void what_is_not_an_ack_is_an_error(void **state)
{
    static const enum code codes[] = {ERR_INTERNAL,
                                      ERR_INTERNAL,
                                      ERR_INTERNAL,
                                      ERR_INTERNAL,
                                      ERR_UNAVAILABLE,
                                      ERR_INTERNAL,
                                      ERR_INTERNAL};
    struct bus_rig rig;
    struct bus *bus = NULL;
    struct bus_subscription *subscription = NULL;
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "writer", 16);
    assert_int_equal(OK, bus_subscribe(bus, "fake", NULL, impostor, bus, &subscription, &err));
    assert_true(bus_rig_until_up(&rig, SOON));
    for (size_t i = 0; i < ARRAY_LEN(codes); i++) {
        bus_rig_expect(i, codes[i], store(&rig, bus, "fake", "id", "x"));
    }
    bus_rig_close(&rig);
}

/* --- work queues ----------------------------------------------------------------------- */

/* Refused and not dropped when it is full, and there is room once the consumer has had its say. */
static void a_full_queue_refuses_and_loses_nothing(void **state)
{
    static const char *const subjects[] = {"queue.>", NULL};
    struct bus_stream_spec spec = {.name = "QUEUE",
                                   .subjects = subjects,
                                   .duplicate_window_ms = 60000,
                                   .max_bytes = 12 * 1124,
                                   .queue_message_bytes_max = 100};
    struct bus_consumer *consumer = NULL;
    struct bus_rig rig;
    struct listener l = {0};
    enum code code = OK;
    int stored = 0;
    char id[16];

    (void)state;
    bus_rig_open(&rig);
    l.bus = bus_rig_add(&rig, url, "writer", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    assert_int_equal(OK, ensure(&rig, l.bus, &spec));
    assert_int_equal(OK, ensure(&rig, l.bus, &spec)); /* the same again */
    for (int round = 0; round < 3; round++) {         /* what is consumed leaves room */
        for (code = OK; code == OK; stored += code == OK ? 1 : 0) {
            (void)snprintf(id, sizeof(id), "id-%d", stored);
            code = store(&rig, l.bus, "queue.a", id, id);
        }
        assert_int_equal(ERR_OVERLOADED, code);
        assert_int_equal(12, stored - l.count);
        consumer = consume(&l, "QUEUE", "queue", "queue.>");
        assert_true(bus_rig_until(&rig, &l.count, stored, SOON));
        while (code == ERR_OVERLOADED) { /* until the acknowledgements are in */
            code = store(&rig, l.bus, "queue.a", id, id);
        }
        assert_int_equal(OK, code);
        stored++;
        assert_true(bus_rig_until(&rig, &l.count, stored, SOON));
        assert_string_equal(id, l.seen[l.count - 1].text);
        bus_consumer_close(&consumer);
    }
    assert_true(stored < 64);
    for (int i = 0; i < stored; i++) {
        (void)snprintf(id, sizeof(id), "id-%d", i);
        assert_string_equal(id, l.seen[i].text);
    }
    bus_rig_close(&rig);
}

static void made_in_another_way(struct bus_rig *rig,
                                struct bus *bus,
                                const struct bus_stream_spec *spec,
                                const char *reason)
{
    struct bus_outcome outcome = {0};
    struct err err = {0};

    assert_int_equal(OK, bus_stream_ensure(bus, spec, IN_TIME, bus_rig_called, &outcome, &err));
    assert_true(bus_rig_until(rig, &outcome.count, 1, SOON));
    assert_int_equal(ERR_CONFLICT, outcome.code);
    if (strstr(outcome.text, reason) == NULL) {
        fail_msg("%s: %s", spec->name, outcome.text);
    }
}

static void a_stream_that_keeps_otherwise_is_told_of(void **state)
{
    static const char *const subjects[] = {"kept.>", NULL};
    static const char *const others[] = {"worked.>", NULL};
    struct bus_stream_spec spec = {
        .name = "KEPT", .subjects = subjects, .duplicate_window_ms = 60000, .max_bytes = 1 << 16};
    struct bus_rig rig;
    struct bus *bus = NULL;

    (void)state;
    bus_rig_open(&rig);
    bus = bus_rig_add(&rig, url, "maker", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    spec.queue_message_bytes_max = 1000;
    made_in_another_way(&rig, bus, &spec, "it has another retention");
    spec.max_age_ms = 1000;
    assert_int_equal(ERR_INVALID, ensure(&rig, bus, &spec)); /* would go by age */
    spec = (struct bus_stream_spec){.name = "WORKED",
                                    .subjects = others,
                                    .max_bytes = 1 << 16,
                                    .queue_message_bytes_max = 1000};
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    spec.max_bytes = 1 << 17; /* an operator's choice */
    assert_int_equal(OK, ensure(&rig, bus, &spec));
    spec.queue_message_bytes_max = 0;
    made_in_another_way(&rig, bus, &spec, "it has another retention");
    bus_rig_close(&rig);
}

/* --- consumers ------------------------------------------------------------------------- */

static void unacknowledged_comes_again(void **state)
{
    struct bus_rig rig;
    struct listener l = {
        .answers = {SILENCE, NAK, ACK},
          .answer_count = 3, .nak_ms = 250
    };

    (void)state;
    bus_rig_open(&rig);
    l.bus = bus_rig_add(&rig, url, "reader", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    stream(&rig, l.bus, "AGAIN", "again.>");
    (void)consume(&l, "AGAIN", "again", "again.a");
    assert_int_equal(OK, store(&rig, l.bus, "again.b", "b", "not for us"));
    assert_int_equal(OK, store(&rig, l.bus, "again.a", "a", "x"));
    assert_true(bus_rig_until(&rig, &l.count, 3, SOON));
    assert_true(l.seen[1].at_ms - l.seen[0].at_ms >= WAIT_MS - 20);
    assert_true(l.seen[2].at_ms - l.seen[1].at_ms >= 230);
    for (uint64_t i = 0; i < 3; i++) {
        assert_int_equal(i + 1, l.seen[i].deliveries);
        assert_int_equal(2, l.seen[i].sequence);
        assert_string_equal("a", l.seen[i].id);
    }
    bus_rig_run(&rig, 2L * WAIT_MS);
    assert_int_equal(3, l.count);
    bus_rig_close(&rig);
}

static void terminated_and_given_up_stay_away(void **state)
{
    struct bus_rig rig;
    struct listener terminating = {.answers = {TERM}, .answer_count = 1};
    struct listener silent = {.answers = {NAK}, .answer_count = 1, .nak_ms = 1};

    (void)state;
    bus_rig_open(&rig);
    terminating.bus = bus_rig_add(&rig, url, "reader", 16);
    silent.bus = terminating.bus;
    assert_true(bus_rig_until_up(&rig, SOON));
    stream(&rig, silent.bus, "NEVER", "never.>");
    (void)consume(&terminating, "NEVER", "terminating", "never.>");
    (void)consume(&silent, "NEVER", "silent", "never.>");
    assert_int_equal(OK, store(&rig, silent.bus, "never.a", "a", "x"));
    assert_true(bus_rig_until(&rig, &silent.count, 4, SOON));
    bus_rig_run(&rig, 2L * WAIT_MS);
    assert_int_equal(1, terminating.count);
    assert_int_equal(4, silent.count); /* deliver_max */
    bus_rig_close(&rig);
}

static void replicas_share_one_consumer(void **state)
{
    struct bus_rig rig;
    struct listener l[2] = {{0}, {0}};
    struct bus_consumer *first = NULL;
    char id[32];

    (void)state;
    bus_rig_open(&rig);
    l[0].bus = bus_rig_add(&rig, url, "reader", 16);
    l[1].bus = bus_rig_add(&rig, url, "reader", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    stream(&rig, l[0].bus, "SHARED", "shared.>");
    first = consume(&l[0], "SHARED", "shared", "shared.>");
    bus_rig_run(&rig, 100); /* the second meets an active consumer */
    (void)consume(&l[1], "SHARED", "shared", "shared.>");
    bus_rig_run(&rig, 100);
    for (int i = 0; i < 40; i++) {
        (void)snprintf(id, sizeof(id), "id-%d", i);
        assert_int_equal(OK, store(&rig, l[0].bus, "shared.a", id, "x"));
    }
    bus_rig_run(&rig, WAIT_MS + 100);
    assert_int_equal(40, l[0].count + l[1].count);
    assert_true(l[0].count > 0);
    assert_true(l[1].count > 0);
    /* The first leaves; what comes now is the other's. */
    bus_consumer_close(&first);
    assert_null(first);
    bus_rig_run(&rig, 50);
    l[0].count = 0;
    l[1].count = 0;
    for (int i = 0; i < 20; i++) {
        (void)snprintf(id, sizeof(id), "more-%d", i);
        assert_int_equal(OK, store(&rig, l[0].bus, "shared.a", id, "x"));
    }
    assert_true(bus_rig_until(&rig, &l[1].count, 20, SOON));
    assert_int_equal(0, l[0].count);
    bus_rig_close(&rig);
}

/* A service may start before the one that owns the stream. */
static void a_consumer_waits_for_its_stream(void **state)
{
    struct bus_rig rig;
    struct listener l = {0};
    struct err err = {0};

    (void)state;
    bus_rig_open(&rig);
    l.bus = bus_rig_add(&rig, url, "reader", 16);
    (void)consume(&l, "LATER", "later", "later.>"); /* before the connection, too */
    assert_true(bus_rig_until_up(&rig, SOON));
    bus_rig_run(&rig, 300);
    stream(&rig, l.bus, "LATER", "later.>");
    /* What is said on the deliver subject, but not by the stream, is no delivery. */
    assert_int_equal(OK, bus_publish(l.bus, "deliver.LATER.later", STR("fake"), &err));
    assert_int_equal(OK, store(&rig, l.bus, "later.a", "a", "x"));
    assert_true(bus_rig_until(&rig, &l.count, 1, SOON));
    bus_rig_run(&rig, 50);
    assert_int_equal(1, l.count);
    assert_string_equal("x", l.seen[0].text);
    bus_rig_close(&rig);
}

/* How often the sequence came, of the last 64. */
static int times_seen(const struct listener *l, uint64_t sequence)
{
    int times = 0;

    for (int i = 0; i < l->count && i < 64; i++) {
        times += l->seen[i].sequence == sequence ? 1 : 0;
    }
    return times;
}

/* kill -9 may lose what consumers had acknowledged: at least once is what is promised. */
static void a_consumer_goes_on_after_a_crash(void **state)
{
    static const char *const ids[] = {"1", "2", "3", "4"};
    struct bus_rig rig;
    struct listener l = {0};
    struct bus_stats stats;

    (void)state;
    bus_rig_open(&rig);
    l.bus = bus_rig_add(&rig, url, "reader", 16);
    assert_true(bus_rig_until_up(&rig, SOON));
    stream(&rig, l.bus, "CRASH", "crash.>");
    (void)consume(&l, "CRASH", "crash", "crash.>");
    assert_int_equal(OK, store(&rig, l.bus, "crash.a", ids[0], "x"));
    assert_true(bus_rig_until(&rig, &l.count, 1, SOON));
    for (int round = 1; round <= 3; round++) {
        scratch_nats_kill();
        assert_true(bus_rig_until(&rig, &rig.downs[0], round, SOON));
        assert_false(bus_connected(l.bus));
        assert_int_equal(ERR_UNAVAILABLE, store(&rig, l.bus, "crash.a", "down", "x"));
        scratch_nats_restart(NULL);
        assert_true(bus_rig_until(&rig, &rig.ups[0], round + 1, SOON));
        assert_int_equal(OK, store(&rig, l.bus, "crash.a", ids[round], "x"));
        for (int i = 0; i < 100 && times_seen(&l, (uint64_t)round + 1) == 0; i++) {
            bus_rig_run(&rig, 50);
        }
    }
    for (uint64_t i = 1; i <= 4; i++) {
        assert_in_range(times_seen(&l, i), 1, 4);
    }
    bus_stats(l.bus, &stats);
    assert_int_equal(3, stats.reconnects);
    bus_rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_stream_is_made_once),
        cmocka_unit_test(an_id_is_stored_once),
        cmocka_unit_test(what_is_not_an_ack_is_an_error),
        cmocka_unit_test(a_full_queue_refuses_and_loses_nothing),
        cmocka_unit_test(a_stream_that_keeps_otherwise_is_told_of),
        cmocka_unit_test(unacknowledged_comes_again),
        cmocka_unit_test(terminated_and_given_up_stay_away),
        cmocka_unit_test(replicas_share_one_consumer),
        cmocka_unit_test(a_consumer_waits_for_its_stream),
        cmocka_unit_test(a_consumer_goes_on_after_a_crash),
    };

    (void)alarm(120); /* a test that hangs is a test that fails */
    url = scratch_nats_start(NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
