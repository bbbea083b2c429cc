/* The log of a service on the bus: what is shipped, how much of a flood, and its level. */
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/toy_process.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log_ship.h"

#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WAIT_MS    15000
#define LINES_MAX  4096
#define FLOOD      600
#define QUIET_MS   1000 /* several ticks of the service */
#define TEXT_BYTES (512 * 1024)

static const char *dsn;
static const char *url;
static struct toy_process toy;
static struct toy_caller caller;
static struct bus_subscription *subscription;
static char text[TEXT_BYTES];

/* What came over the bus, oldest first. */
static struct {
    Avanta__LogLine *lines[LINES_MAX];
    char subjects[LINES_MAX][64];
    size_t count;
} heard;

static void on_line(void *ctx, struct bus_message *message)
{
    struct str data = bus_message_data(message);
    Avanta__LogLine *line = avanta__log_line__unpack(NULL, data.len, (const uint8_t *)data.ptr);

    (void)ctx;
    assert_non_null(line);
    assert_true(heard.count < LINES_MAX);
    assert_true(str_copy(bus_message_subject(message), heard.subjects[heard.count], 64));
    heard.lines[heard.count++] = line;
    bus_message_destroy(message);
}

static void forget(void)
{
    for (size_t i = 0; i < heard.count; i++) {
        avanta__log_line__free_unpacked(heard.lines[i], NULL);
    }
    heard.count = 0;
}

static int setup_all(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    url = scratch_nats_start(NULL);
    dsn = scratch_pg_database("toy");
    const char *const environment[] = {"AVANTA_PG_MIGRATE_DSN", dsn, NULL};
    assert_int_equal(toy_process_command("--migrate", environment, text, sizeof text), 0);
    toy_caller_open(&caller, url);
    assert_int_equal(bus_subscribe(caller.bus, "log.>", NULL, on_line, NULL, &subscription, &err),
                     OK);
    assert_true(bus_rig_until_up(&caller.rig, WAIT_MS));
    toy_process_start(&toy, dsn, url);
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    forget();
    bus_unsubscribe(&subscription);
    toy_caller_close(&caller);
    scratch_nats_end();
    scratch_pg_end();
    return 0;
}

/* The shipped lines of that event, once there is one. */
static size_t wait_heard(const char *event, const Avanta__LogLine **out)
{
    const uint64_t end = clock_mono_ms() + WAIT_MS;
    size_t count = 0;

    while (count == 0) {
        for (size_t i = 0; i < heard.count; i++) {
            if (strcmp(heard.lines[i]->event, event) == 0) {
                *out = heard.lines[i];
                count++;
            }
        }
        if (count == 0) {
            assert_true(clock_mono_ms() < end);
            bus_rig_run(&caller.rig, 20);
        }
    }
    return count;
}

static const char *field_of(const Avanta__LogLine *line, const char *key)
{
    for (size_t i = 0; i < line->n_field; i++) {
        if (strcmp(line->field[i]->key, key) == 0) {
            return line->field[i]->value;
        }
    }
    return "";
}

static void a_warning_is_shipped_once(void **state)
{
    const struct toy_question question = {
        .op = TOY_LIST, .user = "u", .role = "user", .forged = true};
    struct toy_answer answer = {0};
    const Avanta__LogLine *line = NULL;
    char expected[1024];

    (void)state;
    toy_ask(&caller, &question, &answer);
    (void)wait_heard("frame_dropped", &line);
    bus_rig_run(&caller.rig, QUIET_MS);
    assert_int_equal(wait_heard("frame_dropped", &line), 1);
    assert_string_equal(heard.subjects[0], "log.toy.warn");
    assert_string_equal(line->level, "warn");
    assert_string_equal(line->service, "toy");
    assert_int_equal(strlen(line->instance), 36);
    assert_in_range(line->time_ms, clock_wall_ms() - 60000, clock_wall_ms());
    (void)snprintf(expected,
                   sizeof expected,
                   "level=warn service=toy instance=%s event=frame_dropped error=\"%s\"\n",
                   line->instance,
                   field_of(line, "error"));
    assert_true(toy_process_logged(&toy, expected)); /* as logged */
    forget();
}

static int64_t not_shipped(void)
{
    static const char name[] = "\navanta_log_lines_not_shipped ";
    const char *at = NULL;

    assert_int_equal(toy_process_get(&toy, "/metrics", text, sizeof text), 200);
    at = strstr(text, name);
    assert_non_null(at);
    return strtoll(at + strlen(name), NULL, 10);
}

/* Every line was shipped or counted, and the service went on. */
static void a_flood_is_bounded(void **state)
{
    const struct toy_question question = {.op = TOY_LIST, .user = "u", .role = "user", .name = "a"};
    static struct toy_answer answers[FLOOD];
    const Avanta__LogLine *line = NULL;
    size_t logged = 0;
    size_t shipped = 0;

    (void)state;
    scratch_pg_run(dsn, "ALTER TABLE toy RENAME TO toy_away");
    for (int i = 0; i < FLOOD; i++) {
        toy_ask(&caller, &question, &answers[i]);
    }
    for (int i = 0; i < FLOOD; i++) {
        toy_wait(&caller, &answers[i]);
        assert_row(i, answers[i].code != OK);
    }
    scratch_pg_run(dsn, "ALTER TABLE toy_away RENAME TO toy");
    (void)wait_heard("request", &line);
    assert_string_equal(line->level, "error");
    assert_string_equal(field_of(line, "request_id"), line->request_id);
    bus_rig_run(&caller.rig, QUIET_MS);
    logged = toy_process_logged_times(&toy, "level=error") +
             toy_process_logged_times(&toy, "level=warn");
    shipped = heard.count + 1; /* and the first test's */
    assert_true(logged >= FLOOD);
    assert_true(shipped < logged);
    assert_true(shipped >= LOG_SHIP_WAITING_MAX);
    assert_int_equal(not_shipped(), logged - shipped);
    assert_int_equal(toy_ask_wait(&caller, &question, &answers[0]), OK);
    assert_int_equal(answers[0].code, OK);
    forget();
}

static void level_is(const char *level)
{
    char wanted[64];

    (void)snprintf(wanted, sizeof wanted, "\"level\":\"%s\"", level);
    for (int i = 0; i < 500; i++) {
        assert_int_equal(toy_process_get(&toy, "/log-level", text, sizeof text), 200);
        if (strstr(text, wanted) != NULL) {
            return;
        }
        bus_rig_run(&caller.rig, 20);
    }
    fail_msg("%s", text);
}

static void the_level_changes_for_a_while(void **state)
{
    static const char *const refused[] = {"?level=debug",
                                          "?seconds=1",
                                          "?level=loud&seconds=1",
                                          "?level=debug&seconds=0",
                                          "?level=debug&seconds=86401",
                                          "?level=debug&seconds=1&more=1",
                                          ""};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        char path[64];

        (void)snprintf(path, sizeof path, "/log-level%s", refused[i]);
        assert_row(i, toy_process_admin(&toy, "PUT", path, text, sizeof text) == 400);
    }
    assert_int_equal(toy_process_admin(&toy, "POST", "/log-level", text, sizeof text), 405);
    level_is("info");
    assert_null(strstr(text, "seconds"));
    assert_int_equal(
        toy_process_admin(&toy, "PUT", "/log-level?level=debug&seconds=1", text, sizeof text), 200);
    assert_non_null(strstr(text, "\"level\":\"debug\",\"seconds\":1"));
    level_is("info"); /* by itself */
    assert_true(toy_process_logged(&toy, "event=log_level_changed to=debug seconds=1\n"));
}

static void the_level_changes_over_the_bus(void **state)
{
    static const char *const said[] = {"other debug 300",
                                       "toy loud 300",
                                       "toy debug",
                                       "toy debug 0",
                                       "toy debug -1",
                                       "",
                                       "toy error 300"};
    struct err err = {.code = OK};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(said); i++) {
        assert_int_equal(bus_publish(caller.bus, "ctl.log", str_from(said[i]), &err), OK);
    }
    level_is("error");
    assert_int_equal(toy_process_logged_times(&toy, "to=debug"), 1); /* the other test's */
    assert_int_equal(bus_publish(caller.bus, "ctl.log", STR("* info 300"), &err), OK);
    level_is("info");
    forget();
}

static void a_fatal_end_is_shipped(void **state)
{
    struct toy_process broken;
    const Avanta__LogLine *line = NULL;

    (void)state;
    toy_process_signal(&toy, SIGTERM);
    assert_int_equal(toy_process_end(&toy), 0);
    scratch_pg_run(dsn, "ALTER TABLE toy RENAME TO toy_away");
    toy_process_spawn(&broken, dsn, url);
    assert_int_equal(wait_heard("database_unfit", &line), 1);
    assert_string_equal(line->level, "error");
    assert_string_not_equal(field_of(line, "error"), "");
    assert_int_equal(toy_process_end(&broken), 1);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_warning_is_shipped_once),
        cmocka_unit_test(a_flood_is_bounded),
        cmocka_unit_test(the_level_changes_for_a_while),
        cmocka_unit_test(the_level_changes_over_the_bus),
        cmocka_unit_test(a_fatal_end_is_shipped),
    };
    int status = 0;

    if (toy_process_main(argc, argv, &status)) {
        return status;
    }
    return cmocka_run_group_tests_name("log_ship", tests, setup_all, teardown_all);
}
