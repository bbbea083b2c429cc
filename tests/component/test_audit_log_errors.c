/* The error log on real servers: reports over the bus as the gateway
 * sends them, lines as programs ship them. */
#include "avanta/audit_log_errors.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/service_rig.h"

#include "libcommon/base/clock.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define SIGNING_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define ADMIN       "00000000-0000-4000-8000-00000000000a"
#define ANA         "00000000-0000-4000-8000-00000000000b"
#define WAIT_MS_MAX 20000
#define SAMPLES     20
#define ALERTS_MAX  60 /* a minute's worth at once, and those of a minute */
#define ALERTS_MIN  20

static struct service_rig rig;
static int alerts;
static int events;

static void count(void *counter, struct bus_message *message)
{
    int *at = counter;

    (*at)++;
    bus_message_destroy(message);
}

/* The messages' texts are not written. */
static char *text(const char *given)
{
    return (char *)(uintptr_t)given;
}

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_AUDIT_SIGNING_KEY", SIGNING_KEY);
    service_rig_setting("AVANTA_ERRORS_PER_MINUTE", "20000");
    service_rig_setting("AVANTA_ERRORS_ADDRESS_PER_MINUTE", "200");
    service_rig_setting("AVANTA_ERRORS_ALERTS_PER_MINUTE", "30");
    service_rig_setting("AVANTA_ERRORS_GROUPS", "1000");
    service_rig_open(&rig, "audit-log", 1);
    (void)bus_rig_subscribe(rig.bus, "alert.warning.audit-log", NULL, count, &alerts);
    (void)bus_rig_subscribe(rig.bus, "evt.audit-log.error.updated", NULL, count, &events);
    return bus_rig_until_up(&rig.loop, WAIT_MS_MAX) ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    service_rig_close(&rig);
    return 0;
}

/* An address of its own for each test: what one reports is not counted for another. */
static const char *address_new(void)
{
    static char address[32];
    static unsigned used;

    used++;
    (void)snprintf(address, sizeof address, "10.1.%u.%u", used / 250, used % 250 + 1);
    return address;
}

static int64_t number(const char *sql)
{
    return strtoll(scratch_pg_ask(rig.dsn, sql), NULL, 10);
}

/* What was taken is written before long. */
static void wait_until(const char *sql, int64_t wanted)
{
    const uint64_t end = clock_mono_ms() + WAIT_MS_MAX;

    while (number(sql) != wanted && clock_mono_ms() < end) {
        bus_rig_run(&rig.loop, 20);
    }
    assert_int_equal(number(sql), wanted);
}

static void wait_for_alerts(int wanted)
{
    assert_true(bus_rig_until(&rig.loop, &alerts, wanted, WAIT_MS_MAX));
}

struct answer {
    enum code code;
    uint32_t retry_after_s;
    size_t fields;
    char id[64];
};

static struct answer
report_as(const Avanta__AuditLog__ReportErrorRequest *in, const char *address, const char *user)
{
    struct service_call call = {.method = service_method("audit-log.ReportError"),
                                .in = &in->base,
                                .user = user,
                                .client_ip = address};
    struct answer answer = {.code = service_call(&rig, &call)};

    assert_int_equal(call.bus, OK);
    answer.retry_after_s = call.retry_after_s;
    answer.fields = call.field_count;
    if (answer.code == OK) {
        const Avanta__AuditLog__ReportErrorReply *out = call.out;

        assert_true(out->success);
        assert_non_null(out->message);
        (void)snprintf(
            answer.id, sizeof answer.id, "%s", out->error_id == NULL ? "" : out->error_id);
    }
    service_call_end(&call);
    return answer;
}

static struct answer report(const char *message, const char *address)
{
    Avanta__AuditLog__ReportErrorRequest in = AVANTA__AUDIT_LOG__REPORT_ERROR_REQUEST__INIT;

    in.message = text(message);
    return report_as(&in, address, NULL);
}

static void line_ship(const char *service, const char *event, const char *value)
{
    static uint8_t packed[4096];
    Avanta__LogLine line = AVANTA__LOG_LINE__INIT;
    Avanta__LogField fields[2] = {AVANTA__LOG_FIELD__INIT, AVANTA__LOG_FIELD__INIT};
    Avanta__LogField *pointers[] = {&fields[0], &fields[1]};
    char subject[64];
    struct err err = {.code = OK};
    size_t len = 0;

    fields[0].key = text("error");
    fields[0].value = text(value);
    fields[1].key = text("request_id");
    fields[1].value = text("r-1");
    line.time_ms = clock_wall_ms();
    line.level = text("error");
    line.service = text(service);
    line.instance = text("i");
    line.event = text(event);
    line.request_id = text("r-1");
    line.n_field = 2;
    line.field = pointers;
    len = avanta__log_line__pack(&line, packed);
    (void)snprintf(subject, sizeof subject, "log.%s.error", service);
    assert_int_equal(bus_publish(rig.bus, subject, (struct str){(const char *)packed, len}, &err),
                     OK);
}

static enum code change(const char *id, const char *state, const char *role)
{
    Avanta__AuditLog__UpdateErrorRequest in = AVANTA__AUDIT_LOG__UPDATE_ERROR_REQUEST__INIT;
    struct service_call call = {.method = service_method("audit-log.UpdateError"),
                                .in = &in.base,
                                .user = ADMIN,
                                .role = role};
    enum code code = OK;

    in.id = text(id);
    in.state = text(state);
    code = service_call(&rig, &call);
    assert_int_equal(call.bus, OK);
    service_call_end(&call);
    return code;
}

static void a_report_is_kept(void **state)
{
    Avanta__AuditLog__ReportErrorRequest in = AVANTA__AUDIT_LOG__REPORT_ERROR_REQUEST__INIT;
    struct answer answer;

    (void)state;
    in.error =
        text("{\"message\":\"x of ana@example.com is 17\",\"name\":\"TypeError\",\"stack\":\"at f "
             "(a.js:1:2)\"}");
    in.context = text("{\"password\":\"geheim\",\"step\":3}");
    in.url = text("\"https://a.example/books?token=geheim\"");
    in.source = text("\"shell\"");
    in.release = text("\"1.2\"");
    answer = report_as(&in, "203.0.113.77", ANA);
    assert_int_equal(answer.code, OK);
    assert_int_equal(strlen(answer.id), 36);
    wait_until("SELECT count(*) FROM error_event", 1);
    assert_string_equal(
        scratch_pg_ask(
            rig.dsn,
            "SELECT concat_ws('|', id, g.source, service, name, e.message, stack, context, url, "
            "network,"
            " reporter_id, release, count, state) FROM error_event e JOIN error_group g USING "
            "(fingerprint)") +
            37,
        "frontend|shell|TypeError|x of [masked] is 17|at f (a.js:1:2)|{\"password\":\"[masked]\","
        "\"step\":3}|"
        "https://a.example/books|203.0.113.0|" ANA "|1.2|1|open");
    wait_for_alerts(1);
    in.error =
        text("{\"message\":\"x of bob@example.com is 4\",\"name\":\"TypeError\",\"stack\":\"at f "
             "(a.js:3:4)\"}");
    assert_int_equal(report_as(&in, "203.0.113.77", NULL).code, OK);
    wait_until("SELECT count FROM error_group", 2);
    assert_int_equal(number("SELECT count(*) FROM error_event"), 2);
    assert_int_equal(alerts, 1); /* it is known */
}

static void what_says_nothing_is_refused(void **state)
{
    static const char *const bad[] = {NULL, "\"\"", "\"  \\n\""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct answer answer = report(bad[i], address_new());

        assert_int_equal(answer.code, ERR_INVALID);
        assert_int_equal(answer.fields, 1);
    }
    assert_int_equal(report("{\"odd\":[1]}", address_new()).code, OK);
    assert_int_equal(report("\"a\\u0000b\\u001b[1m\"", address_new()).code, OK);
    wait_until("SELECT count(*) FROM error_group WHERE message IN ('{\"odd\":[1]}', 'a b [1m')", 2);
}

/* A thousand times the same: one group, few samples, no row for each. */
static void a_repeated_error_is_only_counted(void **state)
{
    const char *address = NULL;

    (void)state;
    for (int i = 0; i < 600; i++) {
        char message[64];

        address = i % 150 == 0 ? address_new() : address;
        (void)snprintf(message, sizeof message, "\"again and again %d\"", i);
        assert_int_equal(report(message, address).code, OK);
    }
    wait_until(
        "SELECT coalesce(sum(count), 0) FROM error_group WHERE message LIKE 'again and again%'",
        600);
    assert_int_equal(
        number("SELECT count(*) FROM error_group WHERE message LIKE 'again and again%'"), 1);
    assert_in_range(
        number("SELECT count(*) FROM error_event WHERE message LIKE 'again and again%'"),
        1,
        SAMPLES);
    assert_int_equal(
        number("SELECT sum(count) - (SELECT sum(count) FROM error_group) FROM error_hour"), 0);
}

/* One address reaches its limit and is told when to come again; others go on. */
static void an_address_that_floods_is_told(void **state)
{
    char address[32];
    struct answer answer = {.code = OK};
    int taken = 0;

    (void)state;
    (void)snprintf(address, sizeof address, "%s", address_new());
    for (int i = 0; i < 400 && answer.code == OK; i++) {
        answer = report("\"flood\"", address);
        taken += answer.code == OK ? 1 : 0;
    }
    assert_in_range(taken, 200, 399);
    assert_int_equal(answer.code, ERR_RATE_LIMITED);
    assert_int_equal(answer.retry_after_s, 1);
    assert_int_equal(report("\"flood\"", address_new()).code, OK);
    wait_until("SELECT count(*) FROM error_hour WHERE dropped > 0", 1);
}

static void lines_of_programs_are_errors_too(void **state)
{
    (void)state;
    for (int i = 0; i < 30; i++) {
        char value[64];

        (void)snprintf(value, sizeof value, "statement %d failed for ana@example.com", i);
        line_ship("ledger", "pg_statement_failed", value);
    }
    line_ship("identity", "pg_statement_failed", "statement 1 failed");
    wait_until("SELECT coalesce(sum(count), 0) FROM error_group WHERE source = 'server'", 31);
    assert_int_equal(number("SELECT count(*) FROM error_group WHERE source = 'server'"), 2);
    assert_string_equal(
        scratch_pg_ask(rig.dsn,
                       "SELECT concat_ws('|', service, name, message, count) FROM error_group"
                       " WHERE source = 'server' AND count > 1"),
        "ledger|pg_statement_failed|error=statement 29 failed for [masked]|30");
    assert_int_equal(
        number("SELECT count(*) FROM error_event WHERE request_id = 'r-1' AND message LIKE "
               "'error=statement%'"),
        5);
}

/* Bytes that are no line, and a line from the far future, disturb nothing. */
static void odd_lines_disturb_nothing(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(bus_publish(rig.bus, "log.ledger.error", STR("\xFF\xFF no line"), &err), OK);
    assert_int_equal(bus_publish(rig.bus, "log.ledger.error", STR_EMPTY, &err), OK);
    assert_int_equal(bus_publish(rig.bus, "log.ledger.warn", STR("x"), &err), OK);
    line_ship("ledger", "after_odd_lines", "");
    wait_until("SELECT count(*) FROM error_group WHERE name = 'after_odd_lines'", 1);
}

static void a_resolved_error_that_returns_alerts_again(void **state)
{
    char id[80];
    int before = 0;

    (void)state;
    scratch_pg_run(rig.dsn, "UPDATE error_group SET alerted = true");
    (void)snprintf(
        id,
        sizeof id,
        "%s",
        scratch_pg_ask(
            rig.dsn,
            "SELECT encode(fingerprint, 'hex') FROM error_group WHERE name = 'TypeError'"));
    assert_int_equal(change(id, "resolved", "admin"), OK);
    assert_int_equal(change(id, "resolved", "user"), ERR_FORBIDDEN);
    assert_int_equal(change("nothing", "resolved", "admin"), ERR_NOT_FOUND);
    assert_true(bus_rig_until(&rig.loop, &events, 1, WAIT_MS_MAX));
    assert_string_equal(
        scratch_pg_ask(
            rig.dsn,
            "SELECT concat_ws('|', state, resolved_by) FROM error_group WHERE name = 'TypeError'"),
        "resolved|" ADMIN);
    before = alerts;
    Avanta__AuditLog__ReportErrorRequest in = AVANTA__AUDIT_LOG__REPORT_ERROR_REQUEST__INIT;
    in.error =
        text("{\"message\":\"x of bob@example.com is 5\",\"name\":\"TypeError\",\"stack\":\"at f "
             "(a.js:3:4)\"}");
    in.source = text("\"shell\"");
    assert_int_equal(report_as(&in, address_new(), NULL).code, OK);
    wait_for_alerts(before + 1);
    assert_string_equal(
        scratch_pg_ask(rig.dsn,
                       "SELECT concat_ws('|', state, resolved_by, resolved_at, count, again)"
                       " FROM error_group WHERE name = 'TypeError'"),
        "open|3|t");
    /* Ignored, it is counted and alerts nobody. */
    assert_int_equal(change(id, "ignored", "admin"), OK);
    assert_int_equal(report_as(&in, address_new(), NULL).code, OK);
    wait_until("SELECT count FROM error_group WHERE name = 'TypeError'", 4);
    assert_string_equal(
        scratch_pg_ask(rig.dsn, "SELECT state FROM error_group WHERE name = 'TypeError'"),
        "ignored");
    assert_int_equal(alerts, before + 1);
}

/* Many new errors at once: each has its group, and there are only so many alerts. */
static void new_errors_without_end_are_bounded(void **state)
{
    const char *address = NULL;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        char message[64];

        address = i % 100 == 0 ? address_new() : address;
        (void)snprintf(message,
                       sizeof message,
                       "\"kind %c%c%c\"",
                       (int)('g' + i % 10),
                       (int)('g' + i / 10 % 10),
                       (int)('g' + i / 100));
        assert_int_equal(report(message, address).code, OK);
        if (i % 100 == 99) {
            char sql[128];

            (void)snprintf(sql,
                           sizeof sql,
                           "SELECT count(*) FROM error_group WHERE message LIKE 'kind __%c'",
                           (int)('g' + i / 100));
            wait_until(sql, 100);
        }
    }
    wait_for_alerts(ALERTS_MIN);
    assert_in_range(alerts, ALERTS_MIN, ALERTS_MAX);
}

/* What is old goes, with its samples; of too many the ones that matter least. */
static void what_is_old_or_too_much_goes(void **state)
{
    (void)state;
    scratch_pg_run(
        rig.dsn,
        "UPDATE error_group SET last_seen = now() - interval '31 days' WHERE message LIKE 'kind "
        "__g';"
        "INSERT INTO error_group (fingerprint, source, service, name, message, count, first_seen,"
        " last_seen)"
        " SELECT sha256(i::text::bytea), 'frontend', 'x', 'E', 'surplus', 1, now(), now()"
        " FROM generate_series(1, 1100) AS i");
    wait_until("SELECT count(*) FROM error_group", 1000);
    assert_int_equal(number("SELECT count(*) FROM error_group WHERE message LIKE 'kind __g'"), 0);
    assert_int_equal(number("SELECT count(*) FROM error_group WHERE source = 'server'"), 3);
    assert_int_equal(number("SELECT count(*) FROM error_group WHERE name = 'TypeError'"), 1);
}

/* The last of all: what was taken is written before the program ends. */
static void what_was_taken_is_written_at_the_end(void **state)
{
    const uint64_t end = clock_mono_ms() + WAIT_MS_MAX;
    int status = -1;

    (void)state;
    assert_int_equal(report("\"the last words\"", address_new()).code, OK);
    assert_int_equal(kill(rig.pids[0], SIGTERM), 0);
    while (waitpid(rig.pids[0], &status, WNOHANG) == 0 && clock_mono_ms() < end) {
        bus_rig_run(&rig.loop, 20);
    }
    rig.replicas = 0; /* there is none left to be ended */
    assert_int_equal(status, 0);
    assert_int_equal(number("SELECT count(*) FROM error_group WHERE message = 'the last words'"),
                     1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_report_is_kept),
        cmocka_unit_test(what_says_nothing_is_refused),
        cmocka_unit_test(a_repeated_error_is_only_counted),
        cmocka_unit_test(an_address_that_floods_is_told),
        cmocka_unit_test(lines_of_programs_are_errors_too),
        cmocka_unit_test(odd_lines_disturb_nothing),
        cmocka_unit_test(a_resolved_error_that_returns_alerts_again),
        cmocka_unit_test(new_errors_without_end_are_bounded),
        cmocka_unit_test(what_is_old_or_too_much_goes),
        cmocka_unit_test(what_was_taken_is_written_at_the_end),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
