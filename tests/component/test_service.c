/* tidy: allow lines here: one process and its life in one program */
/* The toy service as a process, on a real PostgreSQL and a real NATS. */
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/toy_process.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/transcode.h"

#include <nats/nats.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *dsn;
static const char *url;
static struct toy_process toy;
static struct toy_caller caller;

static char text[256 * 1024];

static void migrate(const char *database)
{
    const char *const environment[] = {"AVANTA_PG_MIGRATE_DSN", database, NULL};

    if (toy_process_command("--migrate", environment, text, sizeof text) != 0) {
        fail_msg("--migrate: %s", text);
    }
}

static int setup_all(void **state)
{
    (void)state;
    url = scratch_nats_start(NULL);
    dsn = scratch_pg_database("toy");
    migrate(dsn);
    toy_process_start(&toy, dsn, url);
    toy_caller_open(&caller, url);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    if (caller.bus == NULL) {
        return 0; /* the setup failed */
    }
    toy_caller_close(&caller);
    toy_process_signal(&toy, SIGTERM);
    assert_int_equal(toy_process_end(&toy), 0);
    scratch_nats_end();
    scratch_pg_end();
    return 0;
}

static void wait_sql(const char *sql, const char *wanted)
{
    const uint64_t end = clock_mono_ms() + 15000;

    while (strcmp(scratch_pg_ask(dsn, sql), wanted) != 0) {
        if (clock_mono_ms() > end) {
            fail_msg("%s gives %s, not %s", sql, scratch_pg_ask(dsn, sql), wanted);
        }
        bus_rig_run(&caller.rig, 20);
    }
}

static void wait_get(const char *path, long status)
{
    const uint64_t end = clock_mono_ms() + 15000;

    while (toy_process_get(&toy, path, text, sizeof text) != status) {
        if (clock_mono_ms() > end) {
            fail_msg("%s does not come to %ld: %s", path, status, text);
        }
        bus_rig_run(&caller.rig, 20);
    }
}

/* --- the command line ---------------------------------------------------------------------- */

static void options_need_no_settings(void **state)
{
    static const char *const options[][2] = {
        {"--help",             "AVANTA_ENVELOPE_KEY"                                            },
        {"--print-config",     "AVANTA_PG_CONNECTIONS=4"                                        },
        {"--config-markdown",  "| AVANTA_PG_DSN |"                                              },
        {"--metrics-markdown", "| avanta_requests_total | counter | number | `method`, `code` |"},
        {"--version",          "toy 1.2.3"                                                      },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(options); i++) {
        assert_row(i, toy_process_command(options[i][0], NULL, text, sizeof text) == 0);
        assert_row(i, strstr(text, options[i][1]) != NULL);
    }
    const char *const secret[] = {"AVANTA_PG_DSN", "password=hunter2", NULL};
    assert_int_equal(toy_process_command("--print-config", secret, text, sizeof text), 0);
    assert_null(strstr(text, "hunter2"));
}

static void wrong_settings_stop_the_start(void **state)
{
    (void)state;
    assert_int_equal(toy_process_command(NULL, NULL, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_PG_DSN"));
    assert_int_equal(toy_process_command("--nonsense", NULL, text, sizeof text), 2);
    const char *const unknown[] = {"AVANTA_TYPO", "1", NULL};
    assert_int_equal(toy_process_command(NULL, unknown, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_TYPO"));
    const char *const key[] = {"AVANTA_PG_DSN",
                               "dbname=x",
                               "AVANTA_ENVELOPE_KEY",
                               "zz0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
                               NULL};
    assert_int_equal(toy_process_command(NULL, key, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_ENVELOPE_KEY"));
    const char *const level[] = {"AVANTA_LOG_LEVEL", "loud", NULL};
    assert_int_equal(toy_process_command("--print-config", level, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_LOG_LEVEL is none of"));
    const char *const address[] = {
        "AVANTA_PG_DSN", "nonsense", "AVANTA_ENVELOPE_KEY", TOY_KEY, NULL};
    assert_int_equal(toy_process_command(NULL, address, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_PG_DSN: "));
    assert_int_equal(toy_process_command("--migrate", NULL, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_PG_MIGRATE_DSN"));
}

static void statements_are_checked(void **state)
{
    const char *const settings[] = {"AVANTA_PG_DSN", dsn, "AVANTA_ENVELOPE_KEY", TOY_KEY, NULL};
    const char *empty = scratch_pg_database("empty");
    const char *const unfit[] = {"AVANTA_PG_DSN", empty, "AVANTA_ENVELOPE_KEY", TOY_KEY, NULL};

    (void)state;
    assert_int_equal(toy_process_command("--check-sql", settings, text, sizeof text), 0);
    assert_non_null(strstr(text, "statements are fit"));
    assert_int_equal(toy_process_command("--check-sql", unfit, text, sizeof text), 1);
    /* Nor does a service start on a database that is not migrated. */
    const char *const run[] = {
        "AVANTA_PG_DSN", empty, "AVANTA_ENVELOPE_KEY", TOY_KEY, "AVANTA_NATS_URL", url, NULL};
    assert_int_equal(toy_process_command(NULL, run, text, sizeof text), 1);
    assert_non_null(strstr(text, "database_unfit"));
    migrate(dsn); /* again: nothing to do */
}

/* --- requests -------------------------------------------------------------------------------- */

static void write_is_stored_published_and_consumed(void **state)
{
    struct toy_answer answer;

    (void)state;
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, "u1", .name = "one"}, &answer), OK);
    assert_true(answer.id > 0);
    assert_string_equal(scratch_pg_ask(dsn, "SELECT user_id FROM toy WHERE name = 'one'"), "u1");
    wait_sql("SELECT count(*) FROM toy_seen", "1");
    assert_string_equal(scratch_pg_ask(dsn, "SELECT subject FROM toy_seen"), "evt.toy.row.added");
    assert_string_equal(scratch_pg_ask(dsn, "SELECT left(id, 4) FROM toy_seen"), "toy-");
    wait_sql("SELECT count(*) FROM outbox", "0");
}

static void rules_and_permissions_are_checked_again(void **state)
{
    struct toy_answer a;

    (void)state;
    assert_int_equal(toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, "u1", .name = ""}, &a),
                     ERR_INVALID);
    assert_string_equal(a.field, "name");
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, "u1", .name = "x", .amount = -1}, &a),
        ERR_INVALID);
    assert_int_equal(toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, .name = "x"}, &a),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(toy_ask_wait(&caller, &(struct toy_question){TOY_SECRET, .name = "o"}, &a),
                     ERR_UNAUTHENTICATED);
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_SECRET, "u1", .name = "o"}, &a),
        ERR_FORBIDDEN);
    assert_int_equal(
        toy_ask_wait(
            &caller, &(struct toy_question){TOY_SECRET, "u1", .role = "admin", .name = "on"}, &a),
        OK);
    assert_int_equal(a.rows, 1);
    assert_int_equal(toy_ask_wait(&caller,
                                  &(struct toy_question){TOY_ADD, "u1", .name = "x", .key = "a\tb"},
                                  &a),
                     ERR_INVALID);
    assert_string_equal(a.field, "Idempotency-Key");
}

static void constraints_answer_with_their_meaning(void **state)
{
    struct toy_answer a;

    (void)state;
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, "u1", .name = "one"}, &a),
        ERR_CONFLICT);
    assert_int_equal(a.reason, AVANTA__REASON__DUPLICATE_ERROR);
    assert_string_equal(a.field, "name");
    assert_int_equal(
        toy_ask_wait(
            &caller, &(struct toy_question){TOY_MOVE, "u1", .name = "one", .amount = -100}, &a),
        ERR_INVALID); /* the check on the amount */
    assert_string_equal(a.detail, "");
}

#define MANY 300

/* Every fifth is there already, every seventh refuses. */
static bool many_is_right(size_t i, const struct toy_answer *answer)
{
    if (answer->bus != OK) {
        return false;
    }
    if (i % 7 == 6) {
        return answer->reason == AVANTA__REASON__NO_UPDATE_FIELDS;
    }
    return answer->code == OK || answer->code == ERR_CONFLICT;
}

static void many_at_once_are_each_right(void **state)
{
    static struct toy_answer answers[MANY];
    static char names[MANY][16];
    char wanted[16];
    size_t ok = 0;

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "many-%zu", i % 5 == 4 ? i - 4 : i);
        toy_ask(&caller,
                &(struct toy_question){TOY_ADD, "u2", .name = i % 7 == 6 ? TOY_REFUSED : names[i]},
                &answers[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        toy_wait(&caller, &answers[i]);
        assert_row(i, many_is_right(i, &answers[i]));
        ok += answers[i].code == OK ? 1 : 0;
    }
    (void)snprintf(wanted, sizeof wanted, "%zu", ok);
    assert_string_equal(scratch_pg_ask(dsn, "SELECT count(*) FROM toy WHERE user_id = 'u2'"),
                        wanted);
    (void)snprintf(wanted, sizeof wanted, "%zu", ok + 1); /* and one of the test before */
    wait_sql("SELECT count(*) FROM toy_seen", wanted);
    wait_sql("SELECT count(*) FROM outbox", "0");
    assert_int_equal(toy_process_get(&toy, "/metrics", text, sizeof text), 200);
    assert_non_null(strstr(text, "avanta_group_commits_total{size=\"1\"}"));
}

/* A set statement answers for all; one name is taken, one is refused by its missing row. */
static void many_in_one_statement_are_each_right(void **state)
{
    static struct toy_answer answers[MANY];
    static char names[MANY][16];

    (void)state;
    for (size_t i = 0; i < MANY; i++) {
        (void)snprintf(names[i], sizeof names[i], "join-%zu", i == 200 ? 100 : i);
        toy_ask(&caller,
                &(struct toy_question){
                    TOY_JOIN, "u7", .name = i == 50 ? TOY_UNKNOWN : names[i], .amount = (int64_t)i},
                &answers[i]);
    }
    for (size_t i = 0; i < MANY; i++) {
        toy_wait(&caller, &answers[i]);
        enum code wanted = i == 50 ? ERR_REFERENCE : OK;
        assert_row(i, answers[i].bus == OK);
        assert_row(i,
                   answers[i].code == wanted || (i % 100 == 0 && answers[i].code == ERR_CONFLICT));
    }
    assert_int_equal((answers[100].code == OK) + (answers[200].code == OK), 1);
    assert_string_equal(
        scratch_pg_ask(
            dsn, "SELECT count(*) FROM toy WHERE user_id = 'u7' AND name = 'join-' || amount"),
        answers[200].code == OK ? "296" : "297");
}

static void key_is_honoured(void **state)
{
    struct toy_answer first;
    struct toy_answer again;
    struct toy_question q = {TOY_ADD, "u3", .name = "keyed", .key = "key-1"};

    (void)state;
    assert_int_equal(toy_ask_wait(&caller, &q, &first), OK);
    assert_int_equal(toy_ask_wait(&caller, &q, &again), OK);
    assert_true(again.replayed);
    assert_int_equal(first.id, again.id);
    q.name = "other";
    assert_int_equal(toy_ask_wait(&caller, &q, &again), ERR_REFERENCE);
    assert_int_equal(again.reason, AVANTA__REASON__IDEMPOTENCY_MISMATCH);
    /* Many at once with one key: one row, and nobody is told something else. */
    struct toy_answer answers[20];
    q = (struct toy_question){TOY_ADD, "u3", .name = "raced", .key = "key-2"};
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        toy_ask(&caller, &q, &answers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        toy_wait(&caller, &answers[i]);
        assert_row(
            i, answers[i].code == OK || answers[i].reason == AVANTA__REASON__IDEMPOTENCY_IN_FLIGHT);
    }
    assert_string_equal(scratch_pg_ask(dsn, "SELECT count(*) FROM toy WHERE user_id = 'u3'"), "2");
    assert_string_equal(scratch_pg_ask(dsn, "SELECT count(*) FROM idempotency"), "2");
}

static void two_statements_do_not_race(void **state)
{
    struct toy_answer answers[40];

    (void)state;
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, "u4", .name = "sum"}, &answers[0]),
        OK);
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        toy_ask(&caller,
                &(struct toy_question){TOY_MOVE, "u4", .name = "sum", .amount = 1},
                &answers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        toy_wait(&caller, &answers[i]);
        assert_row(i, answers[i].code == OK);
    }
    assert_string_equal(scratch_pg_ask(dsn, "SELECT amount FROM toy WHERE name = 'sum'"), "41");
}

static void work_runs_on_a_thread(void **state)
{
    struct toy_answer answers[8];
    char names[8][8];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        (void)snprintf(names[i], sizeof names[i], "h%zu", i);
        toy_ask(&caller, &(struct toy_question){TOY_HASH, "u5", .name = names[i]}, &answers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        toy_wait(&caller, &answers[i]);
        assert_row(i, answers[i].code == OK);
    }
}

static void deadline_is_kept(void **state)
{
    struct toy_answer a;

    (void)state;
    assert_int_equal(toy_ask_wait(&caller,
                                  &(struct toy_question){
                                      TOY_NAP, .name = "n", .amount = 1000, .deadline_ms = 200},
                                  &a),
                     ERR_TIMEOUT);
    assert_int_equal(a.bus, OK); /* the service's own answer */
}

static void bad_frames_are_dropped(void **state)
{
    struct toy_answer a;
    struct err err = {0};

    (void)state;
    assert_int_equal(
        toy_ask_wait(
            &caller,
            &(struct toy_question){TOY_PING, "u1", .name = "x", .deadline_ms = 100, .forged = true},
            &a),
        ERR_TIMEOUT);
    assert_int_equal(a.bus, ERR_TIMEOUT); /* silence */
    assert_int_equal(
        toy_ask_wait(&caller,
                     &(struct toy_question){
                         TOY_PING, "u1", .name = "x", .deadline_ms = -100, .issued_ms = -1000},
                     &a),
        ERR_TIMEOUT);
    assert_int_equal(a.bus, ERR_TIMEOUT);
    assert_int_equal(
        toy_ask_wait(
            &caller,
            &(struct toy_question){TOY_PING, "u1", .name = "x", .deadline_ms = 300, .twice = true},
            &a),
        ERR_TIMEOUT); /* the second one is what we wait for */
    assert_int_equal(a.bus, ERR_TIMEOUT);
    assert_int_equal(bus_publish(caller.bus, "rpc.toy.Ping", STR("garbage"), &err), OK);
    assert_int_equal(toy_ask_wait(&caller, &(struct toy_question){TOY_PING, "u1", .name = "x"}, &a),
                     OK);
    assert_int_equal(toy_process_get(&toy, "/metrics", text, sizeof text), 200);
    assert_non_null(strstr(text, "avanta_frames_dropped_total{reason=\"forged\"} 3"));
    assert_non_null(strstr(text, "avanta_frames_dropped_total{reason=\"expired\"} 1"));
}

/* --- events ---------------------------------------------------------------------------------- */

static long seen_count(void)
{
    return strtol(scratch_pg_ask(dsn, "SELECT count(*) FROM toy_seen"), NULL, 10);
}

static void message_that_cannot_succeed_is_terminated(void **state)
{
    (void)state;
    /* The table refuses this subject: as if a service had emitted it. */
    scratch_pg_run(dsn,
                   "INSERT INTO outbox (subject, body) VALUES ('evt.toy.row.bad',"
                   " '\\x0a1b0a0f6576742e746f792e726f772e62616412027531180132020000')");
    const uint64_t end = clock_mono_ms() + 15000;
    while (!toy_process_logged(&toy, "event=message_terminated") && clock_mono_ms() < end) {
        bus_rig_run(&caller.rig, 50);
    }
    assert_true(toy_process_logged(&toy, "event=message_terminated consumer=toy-seen"));
}

static void message_that_fails_comes_again(void **state)
{
    struct toy_answer a;
    char seen[32];

    (void)state;
    (void)snprintf(seen, sizeof seen, "%ld", seen_count() + 1);
    scratch_pg_run(dsn, "ALTER TABLE toy_seen RENAME TO toy_hidden");
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_ADD, "u6", .name = "again"}, &a), OK);
    const uint64_t end = clock_mono_ms() + 15000;
    while (!toy_process_logged(&toy, "method=toy-seen code=INTERNAL_ERROR") &&
           clock_mono_ms() < end) {
        bus_rig_run(&caller.rig, 50);
    }
    scratch_pg_run(dsn, "ALTER TABLE toy_hidden RENAME TO toy_seen");
    wait_sql("SELECT count(*) FROM toy_seen", seen);
}

static void outbox_survives_a_bus_that_is_away(void **state)
{
    char seen[32];

    (void)state;
    (void)snprintf(seen, sizeof seen, "%ld", seen_count() + 3);
    scratch_nats_stop();
    wait_get("/readyz", 503);
    assert_non_null(strstr(text, "\"bus\""));
    scratch_pg_run(dsn,
                   "INSERT INTO outbox (subject, body) SELECT 'evt.toy.row.added',"
                   " '\\x0a1d0a116576742e746f792e726f772e616464656412027531180132020000'::bytea"
                   " FROM generate_series(1, 3)");
    bus_rig_run(&caller.rig, 1000);
    assert_string_equal(scratch_pg_ask(dsn, "SELECT count(*) FROM outbox"), "3");
    scratch_nats_restart(NULL);
    wait_sql("SELECT count(*) FROM outbox", "0");
    wait_sql("SELECT count(*) FROM toy_seen", seen);
    wait_get("/readyz", 200);
    assert_true(bus_rig_until_up(&caller.rig, 10000));
    struct toy_answer a;
    assert_int_equal(toy_ask_wait(&caller, &(struct toy_question){TOY_PING, "u1", .name = "x"}, &a),
                     OK);
}

/* --- operation ------------------------------------------------------------------------------- */

static void admin_port_answers(void **state)
{
    (void)state;
    assert_int_equal(toy_process_get(&toy, "/livez", text, sizeof text), 200);
    assert_int_equal(toy_process_get(&toy, "/readyz", text, sizeof text), 200);
    assert_string_equal(text, "{\"not_ready\":[],\"status\":\"ok\"}");
    assert_int_equal(toy_process_get(&toy, "/metrics", text, sizeof text), 200);
    assert_non_null(strstr(text, "avanta_requests_total{method=\"toy.Add\",code=\"OK\"}"));
    assert_non_null(strstr(text, "avanta_request_duration_seconds_bucket{method=\"toy.Add\""));
    assert_non_null(strstr(text, "avanta_consumer_lag_milliseconds{consumer=\"toy-seen\"}"));
    assert_int_equal(toy_process_get(&toy, "/else", text, sizeof text), 404);
}

static void readiness_is_asked_from_the_command_line(void **state)
{
    char port[16];
    const char *const settings[] = {"AVANTA_ADMIN_PORT", port, NULL};

    (void)state;
    (void)snprintf(port, sizeof port, "%d", toy.admin_port);
    assert_int_equal(toy_process_command("--ready", settings, text, sizeof text), 0);
    assert_string_equal(text, "");
    assert_int_equal(toy_process_command("--ready", NULL, text, sizeof text), 2);
    assert_non_null(strstr(text, "AVANTA_ADMIN_PORT"));
}

/* Asked as the standard tools ask: with a connection of nats.c of its own. */
static void ask_srv(natsConnection *connection, const char *subject, const char *const *wanted)
{
    natsMsg *answer = NULL;
    struct err err = {0};

    assert_int_equal(natsConnection_RequestString(&answer, connection, subject, "", 3000), NATS_OK);
    const char *json = natsMsg_GetData(answer);
    assert_int_equal(json_check(str_from(json), &err), OK);
    for (size_t i = 0; wanted[i] != NULL; i++) {
        if (strstr(json, wanted[i]) == NULL) {
            fail_msg("%s: no %s in %s", subject, wanted[i], json);
        }
    }
    natsMsg_Destroy(answer);
}

static void services_protocol_is_spoken(void **state)
{
    static const char *const ping[] = {"\"type\":\"io.nats.micro.v1.ping_response\"",
                                       "\"name\":\"toy\"",
                                       "\"version\":\"1.2.3\"",
                                       "\"id\":\"",
                                       "\"metadata\":{}",
                                       NULL};
    static const char *const info[] = {
        "\"type\":\"io.nats.micro.v1.info_response\"",
        "\"description\":\"A service for tests\"",
        "{\"name\":\"Add\",\"subject\":\"rpc.toy.Add\",\"queue_group\":\"q\",\"metadata\":{}}",
        NULL};
    static const char *const stats[] = {"\"type\":\"io.nats.micro.v1.stats_response\"",
                                        "\"started\":\"20",
                                        "\"num_requests\":",
                                        "\"num_errors\":",
                                        "\"last_error\":\"CONFLICT\"",
                                        "\"processing_time\":",
                                        "\"average_processing_time\":",
                                        NULL};
    const struct toy_question twice = {TOY_ADD, "u8", .name = "twice"};
    natsConnection *connection = NULL;
    struct toy_answer answer = {0};

    (void)state;
    assert_int_equal(toy_ask_wait(&caller, &twice, &answer), OK);
    assert_int_equal(toy_ask_wait(&caller, &twice, &answer), ERR_CONFLICT); /* Add's last error */
    assert_int_equal(natsConnection_ConnectTo(&connection, url), NATS_OK);
    ask_srv(connection, "$SRV.PING", ping);
    ask_srv(connection, "$SRV.PING.toy", ping);
    ask_srv(connection, "$SRV.INFO", info);
    ask_srv(connection, "$SRV.INFO.toy", info);
    ask_srv(connection, "$SRV.STATS", stats);
    ask_srv(connection, "$SRV.STATS.toy", stats);
    natsConnection_Destroy(connection);
}

static void database_that_comes_back_is_used_again(void **state)
{
    struct toy_answer a = {0};

    (void)state;
    if (!scratch_pg_is_own()) {
        skip();
    }
    scratch_pg_restart();
    const uint64_t end = clock_mono_ms() + 20000;
    enum code code = ERR_UNAVAILABLE;
    while (code != OK && clock_mono_ms() < end) {
        code = toy_ask_wait(&caller, &(struct toy_question){TOY_LIST, .name = "one"}, &a);
        assert_true(code == OK || code == ERR_UNAVAILABLE || code == ERR_TIMEOUT);
    }
    assert_int_equal(code, OK);
    assert_int_equal(a.rows, 1);
}

static void draining_answers_what_is_under_way(void **state)
{
    struct toy_process other;
    struct toy_answer nap;
    struct toy_answer after;

    (void)state;
    /* The other instance goes first, so that the nap is at ours. */
    toy_process_signal(&toy, SIGTERM);
    assert_int_equal(toy_process_end(&toy), 0);
    toy_process_start(&other, dsn, url);
    toy_ask(&caller, &(struct toy_question){TOY_NAP, .name = "n", .amount = 700}, &nap);
    bus_rig_run(&caller.rig, 200);
    toy_process_signal(&other, SIGTERM);
    toy_wait(&caller, &nap);
    assert_int_equal(nap.bus, OK);
    assert_int_equal(nap.code, OK);
    assert_int_equal(toy_process_end(&other), 0);
    assert_int_equal(
        toy_ask_wait(&caller, &(struct toy_question){TOY_PING, "u1", .name = "x"}, &after),
        ERR_UNAVAILABLE); /* nobody listens any more */
    /* A second signal ends a drain at once. */
    toy_process_start(&other, dsn, url);
    toy_ask(&caller, &(struct toy_question){TOY_NAP, .name = "n", .amount = 3000}, &nap);
    bus_rig_run(&caller.rig, 200);
    toy_process_signal(&other, SIGTERM);
    bus_rig_run(&caller.rig, 200);
    toy_process_signal(&other, SIGTERM);
    assert_int_equal(toy_process_end(&other), 1);
    toy_wait(&caller, &nap);
    toy_process_start(&toy, dsn, url);
}

static void stops_before_it_is_ready(void **state)
{
    struct toy_process lonely;

    (void)state;
    toy_process_spawn(&lonely, "host=127.0.0.1 port=1 dbname=x", "nats://127.0.0.1:1");
    for (int i = 0; i < 500 && !toy_process_logged(&lonely, "event="); i++) {
        (void)usleep(20000);
    }
    toy_process_signal(&lonely, SIGTERM);
    assert_int_equal(toy_process_end(&lonely), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_need_no_settings),
        cmocka_unit_test(wrong_settings_stop_the_start),
        cmocka_unit_test(statements_are_checked),
        cmocka_unit_test(stops_before_it_is_ready),
        cmocka_unit_test(write_is_stored_published_and_consumed),
        cmocka_unit_test(rules_and_permissions_are_checked_again),
        cmocka_unit_test(constraints_answer_with_their_meaning),
        cmocka_unit_test(many_at_once_are_each_right),
        cmocka_unit_test(many_in_one_statement_are_each_right),
        cmocka_unit_test(key_is_honoured),
        cmocka_unit_test(two_statements_do_not_race),
        cmocka_unit_test(work_runs_on_a_thread),
        cmocka_unit_test(deadline_is_kept),
        cmocka_unit_test(bad_frames_are_dropped),
        cmocka_unit_test(message_that_cannot_succeed_is_terminated),
        cmocka_unit_test(message_that_fails_comes_again),
        cmocka_unit_test(outbox_survives_a_bus_that_is_away),
        cmocka_unit_test(admin_port_answers),
        cmocka_unit_test(readiness_is_asked_from_the_command_line),
        cmocka_unit_test(services_protocol_is_spoken),
        cmocka_unit_test(database_that_comes_back_is_used_again),
        cmocka_unit_test(draining_answers_what_is_under_way),
    };
    int status = 0;

    if (toy_process_main(argc, argv, &status)) {
        return status;
    }
    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
