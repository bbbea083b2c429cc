#include "tests/support/gateway_rig.h"

#include "avanta/common.pb-c.h"
#include "avanta/identity.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_nats.h"

#include "libcommon/base/clock.h"
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

#define KEY_HEX       "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
#define READY_MS_MAX  30000
#define END_MS_MAX    20000
#define ANSWER_MS_MAX 20000
#define SLICE_MS      2
#define ARENA_CHUNKS  1024
#define GUARD_MAX     65536
#define LOG_BYTES     ((size_t)8 * 1024 * 1024)
#define REQUEST_BYTES 16384
#define ENTRIES_MAX   16

/* --- identity --- */

static char *copy(struct arena *arena, const char *text)
{
    char *out = arena_strdup(arena, str_from(text));

    assert_non_null(out);
    return out;
}

static void keys_pack(struct gateway_rig *rig, struct arena *arena, ProtobufCBinaryData *out)
{
    Avanta__Identity__GetKeysReply reply = AVANTA__IDENTITY__GET_KEYS_REPLY__INIT;
    Avanta__Identity__Key rows[GATEWAY_RIG_KEYS_MAX];
    Avanta__Identity__Key *list[GATEWAY_RIG_KEYS_MAX];

    assert_true(rig->key_count <= GATEWAY_RIG_KEYS_MAX);
    for (size_t i = 0; i < rig->key_count; i++) {
        avanta__identity__key__init(&rows[i]);
        rows[i].kid = rig->keys[i].kid;
        rows[i].x = rig->keys[i].x;
        rows[i].y = rig->keys[i].y;
        list[i] = &rows[i];
    }
    reply.keys = list;
    reply.n_keys = rig->key_count;
    out->data = arena_alloc(arena, avanta__identity__get_keys_reply__get_packed_size(&reply) + 1);
    assert_non_null(out->data);
    out->len = avanta__identity__get_keys_reply__pack(&reply, out->data);
}

static void respond(struct gateway_rig *rig,
                    const Avanta__Request *request,
                    struct str subject,
                    struct arena *arena)
{
    bool keys = strcmp(request->method, "identity.GetKeys") == 0;
    Avanta__Reply reply = AVANTA__REPLY__INIT;
    struct str frame = STR_EMPTY;
    struct err err = {0};

    rig->fetches += keys ? 1 : 0;
    rig->calls += keys ? 0 : 1;
    if (keys && rig->silent) {
        return;
    }
    reply.nonce = request->nonce;
    reply.code = copy(arena, code_wire(keys ? OK : ERR_NOT_FOUND));
    reply.has_body = keys;
    if (keys) {
        keys_pack(rig, arena, &reply.body);
    }
    assert_int_equal(envelope_seal_reply(rig->sealer, &reply, arena, &frame, &err), OK);
    assert_int_equal(bus_respond(rig->bus, subject, frame, &err), OK);
}

static void asked(void *ctx, struct bus_message *message)
{
    struct gateway_rig *rig = ctx;
    struct arena *arena = arena_open(rig->arenas, (size_t)REQUEST_ARENA_BYTES_MAX);
    Avanta__Request *request = NULL;
    struct err err = {0};

    assert_non_null(arena);
    assert_int_equal(envelope_open_request(rig->sealer,
                                           rig->guard,
                                           bus_message_data(message),
                                           clock_wall_ms(),
                                           arena,
                                           &request,
                                           &err),
                     OK);
    respond(rig, request, bus_message_reply(message), arena);
    arena_dispose(&arena);
    bus_message_destroy(message);
}

/* --- the program --- */

static const char *log_text(struct gateway_rig *rig)
{
    FILE *file = fopen(rig->log_path, "r");

    assert_non_null(file);
    rig->log[fread(rig->log, 1, LOG_BYTES - 1, file)] = '\0';
    (void)fclose(file);
    return rig->log;
}

struct environment {
    char texts[ENTRIES_MAX][256];
    char *entries[ENTRIES_MAX + 1];
    size_t count;
};

static void entry_add(struct environment *e, const char *name, const char *value)
{
    assert_true(e->count < ENTRIES_MAX);
    (void)snprintf(e->texts[e->count], sizeof e->texts[0], "%s=%s", name, value);
    e->entries[e->count] = e->texts[e->count];
    e->count++;
    e->entries[e->count] = NULL;
}

static void spawn(struct gateway_rig *rig, const char *url)
{
    static const char *const kept[] = {"PATH", "ASAN_OPTIONS", "UBSAN_OPTIONS", "TSAN_OPTIONS"};
    const char *build = getenv("AVANTA_BUILD");
    struct environment e = {.count = 0};
    char program[512];
    char *argv[] = {program, NULL};
    int fd = open(rig->log_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);

    assert_non_null(build);
    assert_true(fd >= 0);
    (void)snprintf(program, sizeof program, "%s/bin/gateway", build);
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (getenv(kept[i]) != NULL) {
            entry_add(&e, kept[i], getenv(kept[i]));
        }
    }
    entry_add(&e, "AVANTA_HTTP_PORT", "0");
    entry_add(&e, "AVANTA_ADMIN_PORT", "0");
    entry_add(&e, "AVANTA_LOG_LEVEL", "debug");
    entry_add(&e, "AVANTA_NATS_URL", url);
    entry_add(&e, "AVANTA_NATS_PASSWORD", "none");
    entry_add(&e, "AVANTA_ENVELOPE_KEY_IDENTITY", KEY_HEX);
    entry_add(&e, "AVANTA_ENVELOPE_KEY_LEDGER", KEY_HEX);
    entry_add(&e, "AVANTA_ENVELOPE_KEY_AUDIT_LOG", KEY_HEX);
    rig->pid = fork();
    assert_true(rig->pid >= 0);
    if (rig->pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)dup2(fd, STDOUT_FILENO);
        (void)dup2(fd, STDERR_FILENO);
        (void)execve(program, argv, e.entries);
        _exit(127);
    }
    (void)close(fd);
}

static void wait_ready(struct gateway_rig *rig)
{
    static const char mark[] = "event=ready port=";
    const uint64_t end = clock_mono_ms() + READY_MS_MAX;
    const char *found = NULL;

    while ((found = strstr(log_text(rig), mark)) == NULL) {
        if (clock_mono_ms() > end || waitpid(rig->pid, NULL, WNOHANG) != 0) {
            print_error("%s", rig->log);
            fail_msg("the gateway is not ready");
        }
        bus_rig_run(&rig->loop, 20);
    }
    found += strlen(mark);
    (void)snprintf(rig->port, sizeof rig->port, "%.*s", (int)strcspn(found, " \n"), found);
    while (rig->fetches == 0) {
        assert_true(clock_mono_ms() < end);
        bus_rig_run(&rig->loop, 20);
    }
}

void gateway_rig_open(struct gateway_rig *rig)
{
    const char *url = scratch_nats_start(NULL);
    uint8_t key[ENVELOPE_KEY_BYTES];
    size_t len = 0;

    *rig = (struct gateway_rig){.pid = -1};
    rig->log = malloc(LOG_BYTES);
    assert_non_null(rig->log);
    (void)snprintf(
        rig->log_path, sizeof rig->log_path, "/tmp/avanta-gateway-%ld.log", (long)getpid());
    assert_true(hex_decode(STR(KEY_HEX), key, sizeof key, &len));
    rig->sealer = sealer_open(key);
    rig->guard = replay_guard_open(GUARD_MAX);
    rig->arenas = arena_pool_open(ARENA_CHUNK_BYTES, ARENA_CHUNKS);
    assert_true(rig->sealer != NULL && rig->guard != NULL && rig->arenas != NULL);
    bus_rig_open(&rig->loop);
    rig->bus = bus_rig_add(&rig->loop, url, "identity", 64);
    (void)bus_rig_subscribe(rig->bus, "rpc.identity.>", "q", asked, rig);
    assert_true(bus_rig_until_up(&rig->loop, READY_MS_MAX));
    spawn(rig, url);
    wait_ready(rig);
    raw_open(&rig->raw, rig->port);
}

void gateway_rig_close(struct gateway_rig *rig)
{
    const uint64_t end = clock_mono_ms() + END_MS_MAX;
    int status = -1;

    raw_close(&rig->raw);
    assert_int_equal(kill(rig->pid, SIGTERM), 0);
    while (waitpid(rig->pid, &status, WNOHANG) != rig->pid) {
        if (clock_mono_ms() > end) {
            (void)kill(rig->pid, SIGKILL);
        }
        bus_rig_run(&rig->loop, 20);
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        const char *text = log_text(rig);
        size_t length = strlen(text);

        print_error("status %x\n%s", (unsigned)status, text + (length > 8192 ? length - 8192 : 0));
        fail_msg("the gateway did not end well");
    }
    bus_rig_close(&rig->loop);
    sealer_close(&rig->sealer);
    replay_guard_close(&rig->guard);
    arena_pool_close(&rig->arenas);
    free(rig->log);
    (void)unlink(rig->log_path);
    scratch_nats_end();
}

/* --- asking --- */

void gateway_rig_poke(struct gateway_rig *rig)
{
    struct err err = {0};
    int fetches = rig->fetches;

    assert_int_equal(bus_publish(rig->bus, "ctl.keys", STR("poke"), &err), OK);
    assert_true(bus_rig_until(&rig->loop, &rig->fetches, fetches + 1, ANSWER_MS_MAX));
}

void gateway_rig_send(struct raw *raw, const char *path, struct str bearer)
{
    static char memory[REQUEST_BYTES];
    struct buf b = buf_over(memory, sizeof memory);

    buf_printf(&b, "GET %s HTTP/1.1\r\nHost: localhost\r\n", path);
    if (bearer.ptr != NULL) {
        buf_printf(&b, "Authorization: Bearer %.*s\r\n", STR_FMT(bearer));
    }
    buf_text(&b, "\r\n");
    assert_false(b.overflow);
    assert_true(raw_send(raw, buf_view(&b)));
}

static void request_id_keep(struct gateway_rig *rig, const struct raw *raw)
{
    static const char mark[] = "X-Request-Id: ";
    const char *at = strstr(raw->bytes, mark);

    assert_non_null(at);
    at += strlen(mark);
    (void)snprintf(rig->request_id, sizeof rig->request_id, "%.*s", (int)strcspn(at, "\r\n"), at);
}

long gateway_rig_answer(struct gateway_rig *rig, struct raw *raw, int ms_max)
{
    const uint64_t end = clock_mono_ms() + (uint64_t)ms_max;
    long status = -1;

    while ((status = raw_answer(raw, SLICE_MS)) == -1 && clock_mono_ms() < end) {
        bus_rig_run(&rig->loop, SLICE_MS);
    }
    if (status > 0) {
        request_id_keep(rig, raw);
    }
    return status;
}

long gateway_rig_get(struct gateway_rig *rig, const char *path, struct str bearer)
{
    long status = 0;

    gateway_rig_send(&rig->raw, path, bearer);
    status = gateway_rig_answer(rig, &rig->raw, ANSWER_MS_MAX);
    assert_true(status > 0);
    return status;
}

const char *gateway_rig_why(struct gateway_rig *rig)
{
    static char why[256];
    const uint64_t end = clock_mono_ms() + ANSWER_MS_MAX;
    char mark[128];
    char *line = NULL;

    (void)snprintf(mark, sizeof mark, "request_id=%s\n", rig->request_id);
    while (line == NULL) { /* lines are written a few times a second */
        char *at = strstr((char *)(uintptr_t)log_text(rig), "event=request_refused");

        while (line == NULL && at != NULL) {
            size_t length = strcspn(at, "\n") + 1;

            line = strncmp(at + length - strlen(mark), mark, strlen(mark)) == 0 ? at : NULL;
            at = strstr(at + length - 1, "event=request_refused");
        }
        assert_true(clock_mono_ms() < end);
        if (line == NULL) {
            bus_rig_run(&rig->loop, 20);
        }
    }
    line = strstr(line, "why=") + strlen("why=");
    bool quoted = line[0] == '"';
    line += quoted ? 1 : 0;
    (void)snprintf(why, sizeof why, "%.*s", (int)strcspn(line, quoted ? "\"\n" : " \n"), line);
    return why;
}
