#include "tests/support/service_rig.h"

#include "api.gen.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEY_HEX      "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define READY_MS_MAX 60000
#define END_MS_MAX   20000
#define CALL_MS_MAX  20000
#define ENTRIES_MAX  24
#define ENTRY_BYTES  1024
#define LOG_BYTES    (256 * 1024)
#define ARENA_CHUNKS 8192
#define CALLS_MAX    1024

#define SETTINGS_MAX 8

static const char *settings[SETTINGS_MAX][2];
static size_t setting_count;

/* --- the program --- */

/* What the program sees: what the machine needs and its own settings. */
struct environment {
    char texts[ENTRIES_MAX][ENTRY_BYTES];
    char *entries[ENTRIES_MAX + 1];
    size_t count;
};

static void entry_add(struct environment *e, const char *name, const char *value)
{
    assert_true(e->count < ENTRIES_MAX);
    struct buf b = buf_over(e->texts[e->count], ENTRY_BYTES);
    buf_printf(&b, "%s=%s", name, value);
    assert_true(buf_terminate(&b));
    e->entries[e->count] = e->texts[e->count];
    e->count++;
    e->entries[e->count] = NULL;
}

static void environment_fill(struct environment *e, const struct service_rig *rig, const char *url)
{
    static const char *const kept[] = {
        "PATH", "HOME", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS", "LSAN_OPTIONS"};
    char dsn[ENTRY_BYTES];

    *e = (struct environment){.count = 0};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (getenv(kept[i]) != NULL) {
            entry_add(e, kept[i], getenv(kept[i]));
        }
    }
    (void)snprintf(dsn, sizeof dsn, "%s user=%s password=scratch", rig->dsn, rig->role);
    entry_add(e, "AVANTA_PG_DSN", dsn);
    (void)snprintf(dsn, sizeof dsn, "%s user=%s_owner password=scratch", rig->dsn, rig->role);
    entry_add(e, "AVANTA_PG_MIGRATE_DSN", dsn);
    entry_add(e, "AVANTA_NATS_URL", url);
    entry_add(e, "AVANTA_ENVELOPE_KEY", KEY_HEX);
    entry_add(e, "AVANTA_STREAM_MIB", "32");
    for (size_t i = 0; i < setting_count; i++) {
        entry_add(e, settings[i][0], settings[i][1]);
    }
}

void service_rig_setting(const char *name, const char *value)
{
    assert_true(setting_count < SETTINGS_MAX);
    settings[setting_count][0] = name;
    settings[setting_count][1] = value;
    setting_count++;
}

void service_rig_settings_forget(void)
{
    setting_count = 0;
}

static void log_path(const struct service_rig *rig, unsigned replica, char out[64])
{
    (void)snprintf(out, 64, "/tmp/avanta-%s-%ld-%u.log", rig->name, (long)getpid(), replica);
}

static const char *log_text(const struct service_rig *rig, unsigned replica)
{
    static char text[LOG_BYTES];
    char path[64];
    FILE *file = NULL;

    log_path(rig, replica, path);
    file = fopen(path, "r");
    assert_non_null(file);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    (void)fclose(file);
    return text;
}

/* The program dies with the test, however that ends. */
static pid_t
spawn(const struct service_rig *rig, unsigned replica, char *option, struct environment *e)
{
    const char *build = getenv("AVANTA_BUILD");
    char program[512];
    char path[64];

    if (build == NULL) {
        fail_msg("AVANTA_BUILD does not name the build directory");
    }
    (void)snprintf(program, sizeof program, "%s/bin/%s", build, rig->name);
    log_path(rig, replica, path);
    char *argv[] = {program, option, NULL};
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)execve(program, argv, e->entries);
        _exit(127);
    }
    (void)close(fd);
    return pid;
}

static int wait_for(pid_t pid)
{
    const uint64_t end = clock_mono_ms() + END_MS_MAX;
    int status = 0;

    while (clock_mono_ms() < end) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        (void)usleep(5000);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    return -1;
}

static void wait_ready(const struct service_rig *rig, unsigned replica)
{
    const uint64_t end = clock_mono_ms() + READY_MS_MAX;
    bool hopeless = false;

    /* It says one thing when it is reached, another when what it makes at its start is there. */
    while (!hopeless && (strstr(log_text(rig, replica), "event=ready") == NULL ||
                         strstr(log_text(rig, replica), "event=started") == NULL)) {
        hopeless = clock_mono_ms() > end || waitpid(rig->pids[replica], NULL, WNOHANG) != 0;
        (void)usleep(20000);
    }
    if (hopeless) {
        print_error("%s", log_text(rig, replica));
        fail_msg("%s is not ready", rig->name);
    }
}

static void database_make(struct service_rig *rig)
{
    char sql[1024];

    rig->dsn = scratch_pg_database(rig->role);
    (void)snprintf(sql,
                   sizeof sql,
                   "DO $$ BEGIN"
                   " IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%s') THEN"
                   "  CREATE ROLE %s LOGIN PASSWORD 'scratch';"
                   "  CREATE ROLE %s_owner LOGIN PASSWORD 'scratch';"
                   "  ALTER ROLE %s SET deadlock_timeout = '50ms';" /* as it is deployed */
                   " END IF;"
                   " EXECUTE format('ALTER DATABASE %%I OWNER TO %s_owner', current_database());"
                   "END $$",
                   rig->role,
                   rig->role,
                   rig->role,
                   rig->role,
                   rig->role);
    scratch_pg_run(rig->dsn, sql);
}

void service_rig_open(struct service_rig *rig, const char *name, unsigned replicas)
{
    const char *url = scratch_nats_start(NULL);
    struct environment e;
    char migrate[] = "--migrate";
    uint8_t key[ENVELOPE_KEY_BYTES];
    size_t key_len = 0;

    assert_true(replicas <= SERVICE_RIG_REPLICAS_MAX);
    *rig = (struct service_rig){.name = name, .replicas = replicas, .nats_url = url};
    for (size_t i = 0; name[i] != '\0' && i + 1 < sizeof rig->role; i++) {
        rig->role[i] = name[i] == '-' ? '_' : name[i];
    }
    database_make(rig);
    environment_fill(&e, rig, url);
    if (wait_for(spawn(rig, 0, migrate, &e)) != 0) {
        print_error("%s", log_text(rig, 0));
        fail_msg("%s --migrate failed", name);
    }
    for (unsigned i = 0; i < replicas; i++) {
        rig->pids[i] = spawn(rig, i, NULL, &e);
        wait_ready(rig, i);
    }
    bus_rig_open(&rig->loop);
    rig->bus = bus_rig_add(&rig->loop, url, "gateway", CALLS_MAX);
    assert_true(bus_rig_until_up(&rig->loop, READY_MS_MAX));
    assert_true(hex_decode(str_from(KEY_HEX), key, sizeof key, &key_len));
    rig->sealer = sealer_open(key);
    rig->arenas = arena_pool_open(ARENA_CHUNK_BYTES, ARENA_CHUNKS);
    assert_non_null(rig->sealer);
    assert_non_null(rig->arenas);
}

void service_rig_close(struct service_rig *rig)
{
    char path[64];

    if (rig->arenas == NULL) {
        return; /* the setup failed */
    }
    bus_rig_close(&rig->loop);
    sealer_close(&rig->sealer);
    arena_pool_close(&rig->arenas);
    for (unsigned i = 0; i < rig->replicas; i++) {
        assert_int_equal(kill(rig->pids[i], SIGTERM), 0);
    }
    for (unsigned i = 0; i < rig->replicas; i++) {
        int status = wait_for(rig->pids[i]);
        if (status != 0 || getenv("SERVICE_RIG_LOG") != NULL) {
            print_error("status %d\n%s", status, log_text(rig, i));
        }
        assert_int_equal(status, 0);
        log_path(rig, i, path);
        (void)unlink(path);
    }
    scratch_nats_end();
    scratch_pg_end();
}

/* --- calls --- */

const struct api_method *service_method(const char *full_name)
{
    for (size_t i = 0; i < API_METHOD_COUNT; i++) {
        if (strcmp(api_methods[i].full_name, full_name) == 0) {
            return &api_methods[i];
        }
    }
    fail_msg("there is no method %s", full_name);
    return NULL;
}

static void read_reply(struct service_call *call, const Avanta__Reply *reply)
{
    assert_true(code_from_wire(reply->code, &call->code));
    call->reason = reply->has_reason ? reply->reason : AVANTA__REASON__NONE;
    call->replayed = reply->has_replayed && reply->replayed;
    call->retry_after_s = reply->retry_after_s;
    call->detail = reply->detail == NULL ? "" : reply->detail;
    for (size_t i = 0; i < reply->n_violations && i < SERVICE_CALL_FIELDS_MAX; i++) {
        call->fields[i] = reply->violations[i]->field;
        call->rules[i] = reply->violations[i]->code;
        call->field_count++;
    }
    if (call->code == OK && call->method->out != NULL) {
        transcode_allocator(&call->allocator, call->arena);
        call->out = protobuf_c_message_unpack(
            call->method->out->descriptor, &call->allocator, reply->body.len, reply->body.data);
        assert_non_null(call->out);
    }
}

static void answered(void *ctx, enum code code, struct str payload)
{
    struct service_call *call = ctx;
    Avanta__Reply *reply = NULL;
    struct err err = {0};

    call->count++;
    call->bus = code;
    if (code == OK) {
        assert_int_equal(
            envelope_open_reply(call->rig->sealer, payload, call->nonce, call->arena, &reply, &err),
            OK);
        read_reply(call, reply);
    }
}

static char *copy(struct arena *arena, const char *text)
{
    char *out = text == NULL ? NULL : arena_strdup(arena, str_from(text));

    assert_true(text == NULL || out != NULL);
    return out;
}

static void seal(struct service_rig *rig, struct service_call *call, struct str *out)
{
    Avanta__Request request = AVANTA__REQUEST__INIT;
    Avanta__Principal principal = AVANTA__PRINCIPAL__INIT;
    char *scope = NULL;
    struct err err = {0};

    principal.user_id = copy(call->arena, call->user);
    principal.role = copy(call->arena, call->role == NULL ? "user" : call->role);
    principal.email = copy(call->arena, call->email);
    principal.session_id = copy(call->arena, call->session);
    principal.actor_id = copy(call->arena, call->actor);
    principal.grant = copy(call->arena, call->grant);
    principal.has_by_key = call->by_key;
    principal.by_key = call->by_key;
    scope = copy(call->arena, call->scope);
    principal.n_scopes = scope != NULL;
    principal.scopes = &scope;
    request.method = copy(call->arena, call->method->full_name);
    request.nonce = (ProtobufCBinaryData){sizeof call->nonce, call->nonce};
    request.issued_ms = clock_wall_ms();
    request.deadline_ms = clock_wall_ms() + CALL_MS_MAX - 1000;
    request.request_id = copy(call->arena, "call");
    request.principal = call->user == NULL ? NULL : &principal;
    request.idempotency_key = copy(call->arena, call->key);
    request.client_ip = copy(call->arena, call->client_ip);
    request.has_body = 1;
    request.body.len = protobuf_c_message_get_packed_size(call->in);
    request.body.data = arena_alloc(call->arena, request.body.len + 1);
    assert_non_null(request.body.data);
    (void)protobuf_c_message_pack(call->in, request.body.data);
    assert_int_equal(envelope_seal_request(rig->sealer, &request, call->arena, out, &err), OK);
}

void service_call_start(struct service_rig *rig, struct service_call *call)
{
    struct str frame = STR_EMPTY;
    struct err err = {0};

    assert_non_null(call->method);
    assert_true(call->in->descriptor == call->method->in->descriptor);
    call->rig = rig;
    call->count = 0;
    call->field_count = 0;
    call->out = NULL;
    call->arena = arena_open(rig->arenas, (size_t)REQUEST_ARENA_BYTES_MAX);
    assert_non_null(call->arena);
    random_bytes(call->nonce, sizeof call->nonce);
    seal(rig, call, &frame);
    assert_int_equal(bus_call(rig->bus,
                              call->method->subject,
                              frame,
                              clock_mono_ms() + CALL_MS_MAX,
                              answered,
                              call,
                              NULL,
                              &err),
                     OK);
}

void service_call_wait(struct service_call *call)
{
    assert_true(bus_rig_until(&call->rig->loop, &call->count, 1, CALL_MS_MAX + 5000));
}

enum code service_call(struct service_rig *rig, struct service_call *call)
{
    service_call_start(rig, call);
    service_call_wait(call);
    return call->bus == OK ? call->code : call->bus;
}

void service_call_end(struct service_call *call)
{
    arena_dispose(&call->arena);
    call->out = NULL;
}
