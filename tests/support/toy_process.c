#include "tests/support/toy_process.h"

#include "avanta/common.pb-c.h"
#include "tests/support/check.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/service/req_internal.h"

#include <curl/curl.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define READY_MS_MAX 30000
#define END_MS_MAX   20000
#define LOG_BYTES    (1024 * 1024)
#define ENTRIES_MAX  24
#define ENTRY_BYTES  512

bool toy_process_main(int argc, char **argv, int *out_status)
{
    if (strcmp(argv[0], "toy") != 0) {
        return false;
    }
    *out_status = service_main(argc, argv, &toy_service);
    return true;
}

/* No process outlives the test, however that ends. */
static pid_t children[64];

static void children_kill(void)
{
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (children[i] > 0) {
            (void)kill(children[i], SIGKILL);
        }
    }
}

static void child_note(pid_t pid, pid_t instead_of)
{
    static bool registered;

    if (!registered) {
        registered = true;
        assert_int_equal(atexit(children_kill), 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(children); i++) {
        if (children[i] == instead_of) {
            children[i] = pid;
            return;
        }
    }
    fail_msg("too many processes");
}

/* --- the process ----------------------------------------------------------------------------- */

/* What the process sees: what the machine needs and what the test gives, nothing of the tests' own
 * settings. */
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

static void environment_base(struct environment *e)
{
    static const char *const kept[] = {"PATH",
                                       "HOME",
                                       "ASAN_OPTIONS",
                                       "UBSAN_OPTIONS",
                                       "TSAN_OPTIONS",
                                       "LSAN_OPTIONS",
                                       "AVANTA_LOG_FORMAT",
                                       "AVANTA_NATS_CA_FILE",
                                       "AVANTA_PG_TLS"};

    *e = (struct environment){.count = 0};
    for (size_t i = 0; i < ARRAY_LEN(kept); i++) {
        if (getenv(kept[i]) != NULL) {
            entry_add(e, kept[i], getenv(kept[i]));
        }
    }
}

static pid_t spawn(const char *option, struct environment *e, const char *output_path)
{
    char name[] = "toy";
    char *option_copy = option == NULL ? NULL : strdup(option);
    char *argv[] = {name, option_copy, NULL};
    posix_spawn_file_actions_t actions;
    pid_t pid = 0;

    assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
    assert_int_equal(
        posix_spawn_file_actions_addopen(
            &actions, STDERR_FILENO, output_path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600),
        0);
    assert_int_equal(posix_spawn_file_actions_adddup2(&actions, STDERR_FILENO, STDOUT_FILENO), 0);
    assert_int_equal(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, e->entries), 0);
    (void)posix_spawn_file_actions_destroy(&actions);
    child_note(pid, 0);
    free(option_copy);
    return pid;
}

static void temporary_path(char out[64])
{
    struct buf b = buf_over(out, 64);

    buf_text(&b, "/tmp/avanta-toy-XXXXXX");
    assert_true(buf_terminate(&b));
    int fd = mkstemp(out);
    assert_true(fd >= 0);
    (void)close(fd);
}

static size_t file_read(const char *path, char *out, size_t cap)
{
    FILE *file = fopen(path, "r");
    size_t len = 0;

    assert_non_null(file);
    len = fread(out, 1, cap - 1, file);
    out[len] = '\0';
    (void)fclose(file);
    return len;
}

static char *log_text(const struct toy_process *p)
{
    static char text[LOG_BYTES];

    (void)file_read(p->log_path, text, sizeof text);
    return text;
}

bool toy_process_logged(const struct toy_process *p, const char *text)
{
    return strstr(log_text(p), text) != NULL;
}

unsigned toy_process_logged_times(const struct toy_process *p, const char *text)
{
    unsigned times = 0;

    for (const char *at = log_text(p); (at = strstr(at, text)) != NULL; at++) {
        times++;
    }
    return times;
}

void toy_process_spawn(struct toy_process *p, const char *dsn, const char *nats_url)
{
    struct environment e;

    environment_base(&e);
    entry_add(&e, "AVANTA_PG_DSN", dsn);
    entry_add(&e, "AVANTA_NATS_URL", nats_url);
    entry_add(&e, "AVANTA_ENVELOPE_KEY", TOY_KEY);
    entry_add(&e, "AVANTA_STREAM_MIB", "32");
    temporary_path(p->log_path);
    p->admin_port = 0;
    p->pid = spawn(NULL, &e, p->log_path);
}

static void toy_process_wait_ready(struct toy_process *p)
{
    const uint64_t end = clock_mono_ms() + READY_MS_MAX;
    const char *at = NULL;

    while (clock_mono_ms() < end) {
        at = strstr(log_text(p), "event=ready");
        if (at != NULL && strchr(at, '\n') != NULL) {
            break;
        }
        (void)usleep(20000);
    }
    if (at == NULL) {
        print_error("%s", log_text(p));
        fail_msg("the service is not ready");
        return;
    }
    at = strstr(at, "admin_port=");
    p->admin_port = at == NULL ? 0 : (int)strtol(at + strlen("admin_port="), NULL, 10);
    assert_true(p->admin_port > 0);
}

void toy_process_start(struct toy_process *p, const char *dsn, const char *nats_url)
{
    toy_process_spawn(p, dsn, nats_url);
    toy_process_wait_ready(p);
}

void toy_process_signal(const struct toy_process *p, int signum)
{
    assert_true(p->pid > 0);
    assert_int_equal(kill(p->pid, signum), 0);
}

static int wait_for(pid_t pid)
{
    const uint64_t end = clock_mono_ms() + END_MS_MAX;
    int status = 0;

    while (clock_mono_ms() < end) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            child_note(0, pid);
            return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        }
        (void)usleep(5000);
    }
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, &status, 0);
    child_note(0, pid);
    return -1;
}

int toy_process_end(struct toy_process *p)
{
    int status = wait_for(p->pid);

    if (status > 1 || status < 0 || getenv("TOY_SHOW_LOG") != NULL) {
        print_error("status %d\n%s", status, log_text(p));
    }
    (void)unlink(p->log_path);
    p->pid = 0;
    return status;
}

int toy_process_command(const char *option, const char *const *environment, char *out, size_t cap)
{
    struct environment e;
    char path[64];
    int status = 0;

    environment_base(&e);
    for (size_t i = 0; environment != NULL && environment[i] != NULL; i += 2) {
        entry_add(&e, environment[i], environment[i + 1]);
    }
    temporary_path(path);
    status = wait_for(spawn(option, &e, path));
    (void)file_read(path, out, cap);
    (void)unlink(path);
    return status;
}

/* --- HTTP ------------------------------------------------------------------------------------ */

static size_t body_take(char *bytes, size_t size, size_t count, void *ctx)
{
    buf_append(ctx, bytes, size * count);
    return size * count;
}

long toy_process_get(const struct toy_process *p, const char *path, char *out, size_t cap)
{
    return toy_process_admin(p, "GET", path, out, cap);
}

long toy_process_admin(
    const struct toy_process *p, const char *verb, const char *path, char *out, size_t cap)
{
    CURL *curl = curl_easy_init();
    struct buf body = buf_over(out, cap);
    char url[128];
    struct buf address = buf_over(url, sizeof url);
    long status = 0;

    assert_non_null(curl);
    buf_printf(&address, "http://127.0.0.1:%d%s", p->admin_port, path);
    assert_true(buf_terminate(&address));
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, verb);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, body_take);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    if (curl_easy_perform(curl) == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_easy_cleanup(curl);
    assert_true(buf_terminate(&body));
    return status;
}

/* --- calling -----------------------------------------------------------------------------------
 */

void toy_caller_open(struct toy_caller *caller, const char *nats_url)
{
    uint8_t key[ENVELOPE_KEY_BYTES];
    size_t len = 0;

    bus_rig_open(&caller->rig);
    caller->bus = bus_rig_add(&caller->rig, nats_url, "caller", 4096);
    assert_true(hex_decode(STR(TOY_KEY), key, sizeof key, &len));
    caller->sealer = sealer_open(key);
    caller->arenas = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    assert_non_null(caller->sealer);
    assert_non_null(caller->arenas);
    assert_true(bus_rig_until_up(&caller->rig, 10000));
}

void toy_caller_close(struct toy_caller *caller)
{
    bus_rig_close(&caller->rig);
    sealer_close(&caller->sealer);
    arena_pool_close(&caller->arenas);
}

static void put_copy(char *out, size_t cap, const char *text)
{
    struct buf b = buf_over(out, cap);

    buf_text(&b, text == NULL ? "" : text);
    assert_true(buf_terminate(&b));
}

static void body_read(struct toy_answer *answer, const Avanta__Reply *reply, struct arena *arena)
{
    const ProtobufCMessageDescriptor *type = toy_ops[answer->op].method->out->descriptor;
    ProtobufCAllocator allocator;

    transcode_allocator(&allocator, arena);
    ProtobufCMessage *body =
        protobuf_c_message_unpack(type, &allocator, reply->body.len, reply->body.data);
    assert_non_null(body);
    if (type == &toy__row__descriptor) {
        answer->id = ((const Toy__Row *)(const void *)body)->id;
    } else if (type == &toy__list_reply__descriptor) {
        answer->rows = ((const Toy__ListReply *)(const void *)body)->n_rows;
    }
}

static void answered(void *ctx, enum code code, struct str payload)
{
    struct toy_answer *answer = ctx;
    struct arena *arena = NULL;
    Avanta__Reply *reply = NULL;
    struct err err = {0};

    answer->count++;
    answer->bus = code;
    if (code != OK) {
        return;
    }
    arena = arena_open(answer->caller->arenas, REQ_ARENA_BYTES_MAX);
    assert_non_null(arena);
    assert_int_equal(
        envelope_open_reply(answer->caller->sealer, payload, answer->nonce, arena, &reply, &err),
        OK);
    assert_true(code_from_wire(reply->code, &answer->code));
    answer->reason = reply->has_reason ? reply->reason : AVANTA__REASON__NONE;
    answer->replayed = reply->has_replayed && reply->replayed;
    put_copy(answer->detail, sizeof answer->detail, reply->detail);
    put_copy(answer->field,
             sizeof answer->field,
             reply->n_violations > 0 ? reply->violations[0]->field : "");
    if (answer->code == OK) {
        body_read(answer, reply, arena);
    }
    arena_dispose(&arena);
}

static char *copy(struct arena *arena, const char *text)
{
    char *out = text == NULL ? NULL : arena_strdup(arena, str_from(text));

    assert_true(text == NULL || out != NULL);
    return out;
}

static void body_pack(const struct toy_question *q, struct arena *arena, ProtobufCBinaryData *out)
{
    Toy__AddRequest add = TOY__ADD_REQUEST__INIT;
    Toy__ListRequest list = TOY__LIST_REQUEST__INIT;
    ProtobufCMessage *in = &add.base;

    add.name = copy(arena, q->name == NULL ? "" : q->name);
    add.has_amount = q->amount != 0;
    add.amount = q->amount;
    list.prefix = copy(arena, q->name);
    if (q->op == TOY_LIST || q->op == TOY_SECRET) {
        in = &list.base;
    }
    out->data = arena_alloc(arena, protobuf_c_message_get_packed_size(in));
    assert_non_null(out->data);
    out->len = protobuf_c_message_pack(in, out->data);
}

static void seal(struct toy_caller *caller,
                 const struct toy_question *q,
                 struct arena *arena,
                 const uint8_t nonce[ENVELOPE_NONCE_BYTES],
                 struct str *out)
{
    static const uint8_t other_key[ENVELOPE_KEY_BYTES] = {1};
    struct sealer *sealer = q->forged ? sealer_open(other_key) : caller->sealer;
    Avanta__Request request = AVANTA__REQUEST__INIT;
    Avanta__Principal principal = AVANTA__PRINCIPAL__INIT;
    uint8_t nonce_copy[ENVELOPE_NONCE_BYTES];
    struct err err = {0};

    memcpy(nonce_copy, nonce, sizeof nonce_copy);
    principal.user_id = copy(arena, q->user);
    principal.role = copy(arena, q->role == NULL ? "user" : q->role);
    request.method = copy(arena, toy_ops[q->op].method->full_name);
    request.nonce = (ProtobufCBinaryData){sizeof nonce_copy, nonce_copy};
    request.issued_ms = (uint64_t)((int64_t)clock_wall_ms() + q->issued_ms);
    request.deadline_ms =
        (uint64_t)((int64_t)clock_wall_ms() + (q->deadline_ms == 0 ? 5000 : q->deadline_ms));
    request.request_id = copy(arena, "call");
    request.principal = q->user == NULL ? NULL : &principal;
    request.idempotency_key = copy(arena, q->key);
    request.has_body = 1;
    body_pack(q, arena, &request.body);
    assert_int_equal(envelope_seal_request(sealer, &request, arena, out, &err), OK);
    if (q->forged) {
        sealer_close(&sealer);
    }
}

void toy_ask(struct toy_caller *caller, const struct toy_question *q, struct toy_answer *answer)
{
    struct arena *arena = arena_open(caller->arenas, REQ_ARENA_BYTES_MAX);
    const char *subject = toy_ops[q->op].method->subject;
    uint64_t deadline =
        clock_mono_ms() + (uint64_t)(q->deadline_ms <= 0 ? 6000 : q->deadline_ms + 1000);
    struct str frame = STR_EMPTY;
    struct err err = {0};

    assert_non_null(arena);
    *answer = (struct toy_answer){.caller = caller, .op = q->op};
    random_bytes(answer->nonce, sizeof answer->nonce);
    seal(caller, q, arena, answer->nonce, &frame);
    if (q->twice) {
        assert_int_equal(bus_publish(caller->bus, subject, frame, &err), OK);
    }
    assert_int_equal(bus_call(caller->bus, subject, frame, deadline, answered, answer, NULL, &err),
                     OK);
    arena_dispose(&arena);
}

void toy_wait(struct toy_caller *caller, struct toy_answer *answer)
{
    assert_true(bus_rig_until(&caller->rig, &answer->count, 1, 15000));
}

enum code
toy_ask_wait(struct toy_caller *caller, const struct toy_question *q, struct toy_answer *answer)
{
    toy_ask(caller, q, answer);
    toy_wait(caller, answer);
    return answer->bus == OK ? answer->code : answer->bus;
}
