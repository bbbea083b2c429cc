#include "tests/support/audit_rig.h"

#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/transcode.h"

#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SIGNING_KEY "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
#define OTHER_KEY   "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
#define ENTRY_BYTES 512
#define END_MS_MAX  120000
#define BATCHES     24

static struct audit_rig the_rig;
struct audit_rig *const audit_rig = &the_rig;
static uint64_t random_state;
static char text_path[64];

uint64_t audit_rig_random(void)
{
    random_state = random_state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return random_state >> 33;
}

/* --- records --- */

void audit_rig_until(const char *sql, const char *wanted)
{
    const uint64_t end = clock_mono_ms() + AUDIT_RIG_MS;

    while (strcmp(scratch_pg_ask(audit_rig->service.dsn, sql), wanted) != 0) {
        if (clock_mono_ms() > end) {
            fail_msg("%s: %s and not %s", sql, scratch_pg_ask(audit_rig->service.dsn, sql), wanted);
        }
        bus_rig_run(&audit_rig->service.loop, 10);
    }
}

static uint64_t time_of(const char *text)
{
    uint64_t ms = 0;

    assert_true(timestamp_parse(str_from(text), &ms));
    return ms;
}

/* Where months meet, records of both come as they please. */
static uint64_t time_choose(int number)
{
    static const char *const months[] = {
        "2024-01-20T10:00:00Z", "2024-02-20T10:00:00Z", "2024-03-20T10:00:00Z"};
    int batch = number / AUDIT_RIG_BATCH;
    int month = batch * 4 / BATCHES;

    if (batch % (BATCHES / 4) == BATCHES / 4 - 1 && audit_rig_random() % 3 == 0) {
        month++;
    }
    return month >= 3 ? clock_wall_ms() : time_of(months[month]) + (uint64_t)number;
}

static void batch_publish(uint64_t occurred_ms)
{
    static Avanta__AuditRecord records[AUDIT_RIG_BATCH];
    static uint8_t bytes[AUDIT_RIG_BATCH][1024];
    static uint8_t message[AUDIT_RIG_BATCH * 1024];
    ProtobufCBinaryData parts[AUDIT_RIG_BATCH];
    char id[32];
    Avanta__Records pack = AVANTA__RECORDS__INIT;
    struct bus_outcome outcome = {.count = 0};
    struct err err = {.code = OK};

    for (int i = 0; i < AUDIT_RIG_BATCH; i++) {
        avanta__audit_record__init(&records[i]);
        records[i].user_id = transcode_constant(AUDIT_RIG_USER);
        records[i].action_type = transcode_constant("create");
        records[i].entity_type = transcode_constant("transaction");
        records[i].details = transcode_constant("{\"description\":\"Ni\xc3\xb1o \\\"x\\\"\"}");
        records[i].occurred_ms =
            occurred_ms == 0 ? time_choose(audit_rig->published + i) : occurred_ms;
        records[i].severity = transcode_constant("low");
        records[i].status = transcode_constant("success");
        records[i].service = transcode_constant("ledger");
        parts[i] =
            (ProtobufCBinaryData){avanta__audit_record__pack(&records[i], bytes[i]), bytes[i]};
    }
    pack.n_record = AUDIT_RIG_BATCH;
    pack.record = parts;
    (void)snprintf(id, sizeof id, "test-%d", audit_rig->published);
    struct str payload = {(const char *)message, avanta__records__pack(&pack, message)};

    /* While commands ran nobody answered the server, which may have hung up. */
    assert_true(bus_rig_until_up(&audit_rig->service.loop, AUDIT_RIG_MS));
    assert_int_equal(bus_stream_publish(audit_rig->service.bus,
                                        "audit.ledger",
                                        id,
                                        payload,
                                        clock_mono_ms() + AUDIT_RIG_MS,
                                        bus_rig_called,
                                        &outcome,
                                        &err),
                     OK);
    assert_true(bus_rig_until(&audit_rig->service.loop, &outcome.count, 1, AUDIT_RIG_MS));
    assert_int_equal(outcome.code, OK);
    audit_rig->published += AUDIT_RIG_BATCH;
}

static void until_published(void)
{
    char wanted[16];

    (void)snprintf(wanted, sizeof wanted, "%d", audit_rig->published);
    audit_rig_until("SELECT coalesce(max(size), 0) FROM audit_checkpoint", wanted);
}

void audit_rig_publish(uint64_t occurred_ms)
{
    batch_publish(occurred_ms == 0 ? clock_wall_ms() : occurred_ms);
    until_published();
}

void audit_rig_open(void)
{
    random_state = (uint64_t)time(NULL);
    print_message("seed %" PRIu64 "\n", random_state);
    service_rig_setting("AVANTA_AUDIT_SIGNING_KEY", SIGNING_KEY);
    service_rig_setting("AVANTA_AUDIT_VERIFY_RATE", "1000000");
    service_rig_open(&audit_rig->service, "audit-log", 1);
    (void)bus_rig_subscribe(audit_rig->service.bus,
                            "alert.critical.audit-log",
                            NULL,
                            bus_rig_count,
                            &audit_rig->alerts);
    assert_true(bus_rig_until_up(&audit_rig->service.loop, AUDIT_RIG_MS));
    scratch_pg_run(audit_rig->service.dsn, "SELECT audit_partitions_make('2024-01-15')");
    for (int i = 0; i < BATCHES; i++) {
        batch_publish(0);
    }
    until_published();
}

void audit_rig_close(void)
{
    (void)unlink(text_path);
    service_rig_close(&audit_rig->service);
}

/* --- commands --- */

const char *audit_command_text(void)
{
    static char text[AUDIT_COMMAND_TEXT_BYTES];
    FILE *file = fopen(text_path, "r");

    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

static int text_open(void)
{
    int file = -1;

    (void)snprintf(text_path, sizeof text_path, "/tmp/avanta-command-%ld.log", (long)getpid());
    file = open(text_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    assert_true(file >= 0);
    return file;
}

pid_t audit_command_start(enum audit_environment given, const char *const *args)
{
    static char entries[3][ENTRY_BYTES];
    static char words[AUDIT_COMMAND_ARGS_MAX][ENTRY_BYTES];
    char *environment[] = {NULL, NULL, NULL, NULL};
    char *argv[AUDIT_COMMAND_ARGS_MAX + 2] = {NULL};
    char program[ENTRY_BYTES];
    int file = text_open();
    pid_t pid = -1;

    assert_non_null(getenv("AVANTA_BUILD"));
    (void)snprintf(program, sizeof program, "%s/bin/audit-log", getenv("AVANTA_BUILD"));
    argv[0] = program;
    for (size_t i = 0; args[i] != NULL; i++) {
        assert_true(i < AUDIT_COMMAND_ARGS_MAX && strlen(args[i]) < ENTRY_BYTES);
        (void)snprintf(words[i], ENTRY_BYTES, "%s", args[i]);
        argv[i + 1] = words[i];
    }
    if (given != AUDIT_ENVIRONMENT_EMPTY) {
        (void)snprintf(entries[0],
                       ENTRY_BYTES,
                       "AVANTA_PG_DSN=%s user=audit_log password=scratch",
                       audit_rig->service.dsn);
        (void)snprintf(entries[1],
                       ENTRY_BYTES,
                       "AVANTA_PG_MIGRATE_DSN=%s user=audit_log_owner password=scratch",
                       audit_rig->service.dsn);
        (void)snprintf(entries[2],
                       ENTRY_BYTES,
                       "AVANTA_AUDIT_SIGNING_KEY=%s",
                       given == AUDIT_ENVIRONMENT_FULL ? SIGNING_KEY : OTHER_KEY);
        for (size_t i = 0; i < 3; i++) {
            environment[i] = entries[i];
        }
    }
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(file, STDOUT_FILENO);
        (void)dup2(file, STDERR_FILENO);
        (void)execve(program, argv, environment);
        _exit(127);
    }
    (void)close(file);
    return pid;
}

int audit_command_wait(pid_t pid)
{
    const uint64_t end = clock_mono_ms() + END_MS_MAX;
    int status = 0;

    while (waitpid(pid, &status, WNOHANG) != pid) {
        if (clock_mono_ms() > end) {
            (void)kill(pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            fail_msg("the command did not end: %s", audit_command_text());
        }
        /* The bus takes who says nothing for long for dead. */
        bus_rig_run(&audit_rig->service.loop, 1);
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int audit_command(enum audit_environment given, const char *const *args)
{
    int status = audit_command_wait(audit_command_start(given, args));

    assert_true(status == 0 || status == 1 || status == 2);
    return status;
}

void audit_command_says(const char *part)
{
    if (strstr(audit_command_text(), part) == NULL) {
        fail_msg("'%s' is not in: %s", part, audit_command_text());
    }
}

int audit_command_verify(const char *path)
{
    const char *const args[] = {"--verify", path, "--log-key", AUDIT_RIG_KEY, NULL};

    return audit_command(AUDIT_ENVIRONMENT_EMPTY, args);
}

int audit_command_export(const char *path, const char *from, const char *to)
{
    const char *const args[] = {"--export", path, "--from", from, "--to", to, NULL};

    return audit_command(AUDIT_ENVIRONMENT_FULL, args);
}
