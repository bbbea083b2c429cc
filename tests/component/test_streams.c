/* The toy service and streams that vanish, are full, or were made by somebody else. */
#include "avanta/common.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/toy_process.h"

#include "libcommon/base/clock.h"

#include <nats/nats.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SOON_MS     20000
#define ANSWER_MS   5000
#define RECORDS_MAX 1024

static const char *dsn;
static const char *url;
static struct toy_process toy;
static struct toy_caller caller;
static natsConnection *tool;
static char text[64 * 1024];

static int setup_all(void **state)
{
    const char *environment[] = {"AVANTA_PG_MIGRATE_DSN", NULL, NULL};

    (void)state;
    url = scratch_nats_start(NULL);
    dsn = scratch_pg_database("toy");
    environment[1] = dsn;
    if (toy_process_command("--migrate", environment, text, sizeof text) != 0) {
        fail_msg("--migrate: %s", text);
    }
    toy_process_start(&toy, dsn, url);
    toy_caller_open(&caller, url);
    assert_int_equal(natsConnection_ConnectTo(&tool, url), NATS_OK);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    if (caller.bus == NULL) {
        return 0; /* the setup failed */
    }
    natsConnection_Destroy(tool);
    toy_caller_close(&caller);
    toy_process_signal(&toy, SIGTERM);
    assert_int_equal(toy_process_end(&toy), 0);
    scratch_nats_end();
    scratch_pg_end();
    return 0;
}

/* --- looking on ------------------------------------------------------------------------------ */

static void wait_sql(const char *sql, const char *wanted)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    while (strcmp(scratch_pg_ask(dsn, sql), wanted) != 0) {
        if (clock_mono_ms() > end) {
            fail_msg("%s gives %s, not %s", sql, scratch_pg_ask(dsn, sql), wanted);
        }
        bus_rig_run(&caller.rig, 20);
    }
}

static void wait_ready(long status, const char *part)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    while (toy_process_get(&toy, "/readyz", text, sizeof text) != status ||
           strstr(text, part) == NULL) {
        if (clock_mono_ms() > end) {
            fail_msg("not %ld with %s: %s", status, part, text);
        }
        bus_rig_run(&caller.rig, 20);
    }
}

static void wait_logged(const char *line, unsigned times)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    while (toy_process_logged_times(&toy, line) < times) {
        if (clock_mono_ms() > end) {
            fail_msg("not logged: %s", line);
        }
        bus_rig_run(&caller.rig, 20);
    }
}

static void add(const char *user, const char *name)
{
    struct toy_answer answer;

    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, user, .name = name}, &answer), OK);
}

/* One request of JetStream's API, as an operator's tool would make it; what it says to `text`. */
static void api(const char *verb, const char *stream, const char *body)
{
    char subject[128];
    natsMsg *answer = NULL;

    (void)snprintf(subject, sizeof subject, "$JS.API.STREAM.%s.%s", verb, stream);
    assert_int_equal(natsConnection_RequestString(&answer, tool, subject, body, ANSWER_MS),
                     NATS_OK);
    (void)snprintf(text, sizeof text, "%s", natsMsg_GetData(answer));
    natsMsg_Destroy(answer);
}

static void api_good(const char *verb, const char *stream, const char *body)
{
    api(verb, stream, body);
    if (strstr(text, "\"error\"") != NULL) {
        fail_msg("%s %s: %s", verb, stream, text);
    }
}

/* The service may be quicker and make its own in between. */
static void replace(const char *stream, const char *body)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    do {
        if (clock_mono_ms() > end) {
            fail_msg("%s cannot be replaced: %s", stream, text);
        }
        api_good("DELETE", stream, "");
        api("CREATE", stream, body);
    } while (strstr(text, "\"error\"") != NULL);
}

static void restart(void)
{
    const int downs = caller.rig.downs[0];

    scratch_nats_stop();
    /* Else the old connection would still count as up. */
    assert_true(bus_rig_until(&caller.rig, &caller.rig.downs[0], downs + 1, SOON_MS));
    scratch_nats_restart(NULL);
    assert_true(bus_rig_until_up(&caller.rig, SOON_MS));
}

/* --- streams that vanish ------------------------------------------------------------------------
 */

static void lost_streams_are_made_again(void **state)
{
    (void)state;
    add("u1", "before");
    wait_sql("SELECT count(*) FROM toy_seen", "1");
    scratch_nats_stop();
    wait_ready(503, "\"streams\"");
    scratch_pg_run(dsn,
                   "INSERT INTO outbox (subject, body) SELECT 'evt.toy.row.added',"
                   " '\\x0a1d0a116576742e746f792e726f772e616464656412027531180132020000'::bytea"
                   " FROM generate_series(1, 3)");
    scratch_nats_wipe();
    scratch_nats_restart(NULL);
    wait_sql("SELECT count(*) FROM outbox", "0");
    wait_sql("SELECT count(*) FROM toy_seen", "4"); /* the consumer is there again, too */
    wait_ready(200, "\"ok\"");
    assert_true(bus_rig_until_up(&caller.rig, SOON_MS));
    add("u1", "after");
    wait_sql("SELECT count(*) FROM toy_seen", "5");
}

/* The connection stays, so only the refused publish tells. */
static void a_removed_stream_is_made_when_a_publish_needs_it(void **state)
{
    (void)state;
    wait_sql("SELECT count(*) FROM outbox", "0");
    api_good("DELETE", "EVENTS", "");
    api_good("DELETE", "AUDIT", "");
    add("u2", "needed");
    wait_sql("SELECT count(*) FROM outbox", "0");
    api_good("INFO", "EVENTS", "");
    assert_non_null(strstr(text, "\"messages\":1,"));
    api_good("INFO", "AUDIT", "");
    assert_non_null(strstr(text, "\"messages\":1,"));
    wait_ready(200, "\"ok\"");
}

/* --- streams of others --------------------------------------------------------------------------
 */

static void a_stream_that_cannot_be_made_is_told(void **state)
{
    (void)state;
    api_good("DELETE", "ALERTS", "");
    api_good("CREATE",
             "OTHER",
             "{\"name\":\"OTHER\",\"subjects\":[\"alert.x\"],\"storage\":\"file\","
             "\"max_bytes\":4096,\"num_replicas\":1}");
    restart();
    wait_logged("event=stream_missing stream=ALERTS", 1);
    wait_ready(503, "[\"streams\"]");
    add("u3", "meanwhile"); /* the other streams serve */
    wait_sql("SELECT count(*) FROM outbox", "0");
    api_good("DELETE", "OTHER", "");
    wait_ready(200, "\"ok\"");
    api_good("INFO", "ALERTS", "");
}

static void an_audit_stream_that_would_drop_records_is_refused(void **state)
{
    static const char *const others[][2] = {
        {"\"retention\":\"limits\",\"max_bytes\":4096",
         "reason=\"it has another retention, which cannot be changed: it must be made anew\""                                                        },
        {"\"retention\":\"workqueue\",\"discard\":\"new\",\"max_bytes\":4096",
         "reason=\"it would drop what was not consumed: it must be made anew\""                                                                      },
        {"\"retention\":\"workqueue\",\"discard\":\"new\",\"max_msgs\":10,\"max_msg_size\":9,"
         "\"max_age\":9000000000",                                    "reason=\"it would drop what was not consumed: it must be made anew\""},
    };
    char body[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(others); i++) {
        const unsigned before = toy_process_logged_times(&toy, others[i][1]);

        (void)snprintf(body,
                       sizeof body,
                       "{\"name\":\"AUDIT\",\"subjects\":[\"audit.>\"],\"storage\":\"file\","
                       "\"num_replicas\":1,%s}",
                       others[i][0]);
        replace("AUDIT", body);
        restart();
        wait_logged(others[i][1], before + 1);
        wait_ready(503, "[\"streams\"]");
    }
    api_good("DELETE", "AUDIT", "");
    wait_ready(200, "\"ok\"");
    api_good("INFO", "AUDIT", "");
    assert_non_null(strstr(text, "\"retention\":\"workqueue\""));
    assert_non_null(strstr(text, "\"discard\":\"new\""));
    assert_non_null(strstr(text, "\"max_age\":0"));
}

/* --- a full stream ---------------------------------------------------------------------------- */

/* The names of the rows that audit records tell of, each as often as it came. */
struct trail {
    struct bus *bus;
    int count;
    int times[RECORDS_MAX];
};

static void on_records(void *ctx, struct bus_message *message)
{
    struct trail *trail = ctx;
    struct str data = bus_message_data(message);
    Avanta__Records *records = avanta__records__unpack(NULL, data.len, (const uint8_t *)data.ptr);

    assert_non_null(records);
    for (size_t i = 0; i < records->n_record; i++) {
        Avanta__AuditRecord *record =
            avanta__audit_record__unpack(NULL, records->record[i].len, records->record[i].data);
        const char *name = NULL;
        long number = 0;

        assert_non_null(record);
        name = record->details == NULL ? NULL : strstr(record->details, "full-");
        if (name != NULL) {
            number = strtol(name + strlen("full-"), NULL, 10);
            assert_in_range(number, 0, RECORDS_MAX - 1);
            trail->times[number]++;
            trail->count++;
        }
        avanta__audit_record__free_unpacked(record, NULL);
    }
    avanta__records__free_unpacked(records, NULL);
    bus_message_ack(trail->bus, message);
    bus_message_destroy(message);
}

static void records_wait_while_their_stream_is_full(void **state)
{
    const struct bus_consumer_spec spec = {.stream = "AUDIT",
                                           .durable = "audit-log",
                                           .filter_subject = "audit.>",
                                           .ack_pending_max = 16,
                                           .ack_wait_ms = 5000};
    static struct trail trail;
    struct bus_consumer *consumer = NULL;
    natsSubscription *attempts = NULL;
    int tries = 0;
    struct err err = {0};
    char name[32];
    int added = 0;

    (void)state;
    wait_sql("SELECT count(*) FROM outbox", "0");
    const unsigned before = toy_process_logged_times(&toy, "event=outbox_relay_failed");
    const uint64_t began_ms = clock_mono_ms();
    const char *waiting = "0";
    while (strcmp(waiting, "t") != 0) { /* until well more waits than the stream takes */
        assert_true(added < RECORDS_MAX);
        (void)snprintf(name, sizeof name, "full-%d", added++);
        add("u4", name);
        waiting = scratch_pg_ask(dsn, "SELECT count(*) >= 40 FROM outbox");
    }
    /* While it is full rows are tried now and then, not with every change. */
    assert_int_equal(natsConnection_SubscribeSync(&attempts, tool, "audit.toy"), NATS_OK);
    assert_int_equal(natsConnection_FlushTimeout(tool, ANSWER_MS), NATS_OK);
    const uint64_t end_ms = clock_mono_ms() + 2000;
    while (clock_mono_ms() < end_ms) {
        (void)snprintf(name, sizeof name, "full-%d", added++);
        add("u4", name);
        bus_rig_run(&caller.rig, 20);
    }
    assert_true(added < RECORDS_MAX);
    const long rows = strtol(scratch_pg_ask(dsn, "SELECT count(*) FROM outbox"), NULL, 10);
    assert_int_equal(natsConnection_FlushTimeout(tool, ANSWER_MS), NATS_OK);
    assert_int_equal(natsSubscription_GetPending(attempts, &tries, NULL), NATS_OK);
    natsSubscription_Destroy(attempts);
    assert_in_range(tries, 1, 8 * rows);
    assert_int_equal(toy_process_get(&toy, "/readyz", text, sizeof text), 200);
    /* Events are not in the way of it. */
    wait_sql("SELECT string_agg(DISTINCT subject, ' ') FROM outbox", "audit.toy");
    const unsigned failures = toy_process_logged_times(&toy, "event=outbox_relay_failed");
    assert_in_range(failures, before + 1, before + 2 + (clock_mono_ms() - began_ms) / 1000);
    assert_true(toy_process_logged(&toy, "at=publish cause=OVERLOADED"));

    trail.bus = caller.bus;
    assert_int_equal(bus_consume(caller.bus, &spec, on_records, &trail, &consumer, &err), OK);
    if (!bus_rig_until(&caller.rig, &trail.count, added, SOON_MS)) {
        api("INFO", "AUDIT", "");
        fail_msg("%d of %d have come: %s", trail.count, added, text);
    }
    wait_sql("SELECT count(*) FROM outbox", "0");
    for (int i = 0; i < added; i++) {
        assert_row((size_t)i, trail.times[i] == 1);
    }
    bus_rig_run(&caller.rig, 200);
    bus_consumer_close(&consumer);
    api_good("INFO", "AUDIT", "");
    assert_non_null(strstr(text, "\"messages\":0,")); /* what is consumed is gone */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lost_streams_are_made_again),
        cmocka_unit_test(a_removed_stream_is_made_when_a_publish_needs_it),
        cmocka_unit_test(a_stream_that_cannot_be_made_is_told),
        cmocka_unit_test(an_audit_stream_that_would_drop_records_is_refused),
        cmocka_unit_test(records_wait_while_their_stream_is_full),
    };
    int status = 0;

    if (toy_process_main(argc, argv, &status)) {
        return status;
    }
    (void)alarm(240); /* a test that hangs is a test that fails */
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
