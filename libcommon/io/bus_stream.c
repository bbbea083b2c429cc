/*
 * JetStream by plain requests on its API subjects: streams, and publishing with an answer. Nothing
 * here waits; the answers are JSON, read strictly and only for what we need.
 */
#include "libcommon/base/clock.h"
#include "libcommon/codec/json_read.h"
#include "libcommon/codec/json_write.h"
#include "libcommon/io/bus_internal.h"

#include <assert.h>
#include <string.h>

#define STREAM_SUBJECTS_MAX    16
#define STREAM_ENSURES_MAX     8 /* at a time */
#define API_CHUNKS             64
#define STREAM_NAME_BYTES_MAX  64
#define MESSAGE_ID_BYTES_MAX   128
#define PATH_DEPTH             3
#define PATH_KEY_BYTES         24
#define API_STREAM_NAME_IN_USE 10058
#define API_STORE_FAILED       10077 /* of a publish, with the status 503: the stream is full */
#define API_STATUS_UNAVAILABLE 503
#define API_STATUS_NOT_FOUND   404
#define NANOSECONDS_PER_MS     UINT64_C(1000000)
#define QUEUE_OVERHEAD_BYTES   UINT64_C(1024) /* of a message: what the server notes, the subject */

/* --- answers ------------------------------------------------------------------------ */

struct api_reader {
    struct api_reply *reply;
    uint32_t depth;
    char path[PATH_DEPTH][PATH_KEY_BYTES]; /* the key last met at each depth */
};

static bool at_path(const struct api_reader *r, const char *first, const char *second)
{
    return strcmp(r->path[0], first) == 0 && (second == NULL || strcmp(r->path[1], second) == 0);
}

static void note_key(struct api_reader *r, struct str key)
{
    struct buf b = {0};

    assert(r->depth > 0);
    if (r->depth > PATH_DEPTH) {
        return;
    }
    b = buf_over(r->path[r->depth - 1], PATH_KEY_BYTES);
    buf_str(&b, key);
    if (!buf_terminate(&b)) {
        r->path[r->depth - 1][0] = '\0'; /* longer than any that matters */
    }
}

static void copy_text(char *out, size_t cap, struct str text)
{
    struct buf b = buf_over(out, cap);

    buf_str(&b, str_sub(text, 0, cap - 1));
    (void)buf_terminate(&b);
}

static void note_number(const struct api_reader *r, struct str text)
{
    uint64_t sequence = 0;
    int64_t limit = 0;

    if (r->depth == 1 && at_path(r, "seq", NULL)) {
        r->reply->stored = str_to_uint64(text, &sequence) && sequence > 0;
    } else if (r->depth == 2 && at_path(r, "error", "err_code")) {
        (void)str_to_int64(text, &r->reply->error);
    } else if (r->depth == 2 && at_path(r, "error", "code")) {
        (void)str_to_int64(text, &r->reply->status);
    } else if (r->depth == 2 &&
               (at_path(r, "config", "max_age") || at_path(r, "config", "max_msgs_per_subject"))) {
        r->reply->drops = r->reply->drops || !str_to_int64(text, &limit) || limit > 0;
    } else if (r->depth == 2 && at_path(r, "config", "max_msgs")) {
        (void)str_to_int64(text, &r->reply->messages_max);
    } else if (r->depth == 2 && at_path(r, "config", "max_msg_size")) {
        (void)str_to_int64(text, &r->reply->message_bytes_max);
    } else if (r->depth == 2 && at_path(r, "config", "max_bytes")) {
        (void)str_to_int64(text, &r->reply->bytes_max);
    }
}

static void note_string(const struct api_reader *r, struct str text)
{
    struct api_reply *reply = r->reply;

    if (r->depth == 2 && at_path(r, "error", "description")) {
        copy_text(reply->text, sizeof(reply->text), text);
    } else if (r->depth == 2 && at_path(r, "config", "retention")) {
        copy_text(reply->retention, sizeof(reply->retention), text);
    } else if (r->depth == 2 && at_path(r, "config", "discard")) {
        reply->drops = reply->drops || !str_eq(text, STR("new"));
    }
    if (r->depth != 3 || !at_path(r, "config", "subjects")) {
        return;
    }
    for (uint32_t i = 0; i < reply->subject_count; i++) {
        if (str_eq(text, str_from(reply->subjects[i]))) {
            reply->found |= UINT64_C(1) << i;
        }
    }
}

static enum code note(void *ctx, const struct json_event *event)
{
    struct api_reader *r = ctx;

    switch (event->kind) {
    case JSON_OBJECT_BEGIN:
    case JSON_ARRAY_BEGIN:
        r->depth++;
        break;
    case JSON_OBJECT_END:
    case JSON_ARRAY_END:
        assert(r->depth > 0);
        r->depth--;
        break;
    case JSON_KEY:
        note_key(r, event->text);
        break;
    case JSON_NUMBER:
        note_number(r, event->text);
        break;
    case JSON_STRING:
        note_string(r, event->text);
        break;
    case JSON_NULL:
    case JSON_BOOL:
        break;
    }
    return OK;
}

enum code bus_api_read(struct bus *bus, struct str json, struct api_reply *reply, struct err *err)
{
    struct api_reader reader = {.reply = reply};
    struct arena *arena = arena_open(bus->arenas, BUS_API_BYTES_MAX);
    enum code code = OK;

    if (arena == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for an answer of JetStream");
    }
    code = json_read(json, arena, note, &reader, err);
    arena_dispose(&arena);
    /* An error without a number is still one. */
    if (code == OK && reply->status != 0 && reply->error == 0) {
        reply->error = reply->status;
    }
    return code;
}

static enum code code_of(const struct api_reply *reply)
{
    return reply->error == API_STORE_FAILED && reply->status == API_STATUS_UNAVAILABLE
               ? ERR_OVERLOADED
           : reply->status == API_STATUS_UNAVAILABLE ? ERR_UNAVAILABLE
           : reply->status == API_STATUS_NOT_FOUND   ? ERR_NOT_FOUND
                                                     : ERR_INTERNAL;
}

enum code bus_pub_ack(struct bus *bus, struct str json)
{
    struct api_reply reply = {0};
    enum code code = bus_api_read(bus, json, &reply, NULL);

    if (code != OK) {
        return code == ERR_OVERLOADED ? code : ERR_INTERNAL;
    }
    if (reply.error != 0) {
        return code_of(&reply);
    }
    return reply.stored ? OK : ERR_INTERNAL;
}

/* --- publishing ---------------------------------------------------------------------- */

/* It becomes a header line. */
static enum code message_id_check(const char *message_id, struct err *err)
{
    const size_t len = strlen(message_id);

    if (len == 0 || len > MESSAGE_ID_BYTES_MAX) {
        return err_set(err, ERR_INVALID, "a message id of %zu bytes", len);
    }
    for (size_t i = 0; i < len; i++) {
        if (message_id[i] <= ' ' || message_id[i] > '~') {
            return err_set(err, ERR_INVALID, "a message id is of visible ASCII characters");
        }
    }
    return OK;
}

/* The contract of the header has eight parameters. NOLINTNEXTLINE(readability-function-size) */
enum code bus_stream_publish(struct bus *bus,
                             const char *subject,
                             const char *message_id,
                             struct str payload,
                             uint64_t deadline_mono_ms,
                             bus_call_done done,
                             void *ctx,
                             struct err *err)
{
    const struct call_request request = {
        .subject = subject,
        .payload = payload,
        .message_id = message_id,
        .deadline_ms = deadline_mono_ms,
        .kind = CALL_PUB_ACK,
        .done = done,
        .ctx = ctx,
    };
    enum code code = OK;

    assert(bus != NULL);
    assert(message_id != NULL);
    code = message_id_check(message_id, err);
    return code != OK ? code : bus_call_start(bus, &request, NULL, err);
}

/* --- streams ------------------------------------------------------------------------- */

struct stream_ensure {
    struct bus *bus;
    bus_call_done done;
    void *ctx;
    uint64_t deadline_ms;
    uint32_t subject_count;
    uint64_t duplicate_window_ms;
    uint64_t max_age_ms;
    uint64_t max_bytes;
    uint64_t queue_message_bytes_max;
    char name[STREAM_NAME_BYTES_MAX + 1];
    char subjects[STREAM_SUBJECTS_MAX][BUS_SUBJECT_BYTES_MAX + 1];
};

enum code bus_streams_open(struct bus *bus, struct err *err)
{
    assert(bus->ensures == NULL);
    bus->ensures = pool_open(sizeof(struct stream_ensure), STREAM_ENSURES_MAX);
    bus->arenas = arena_pool_open(ARENA_CHUNK_BYTES, API_CHUNKS);
    return bus->ensures != NULL && bus->arenas != NULL
               ? OK
               : err_set(err, ERR_INTERNAL, "no memory for JetStream");
}

void bus_streams_close(struct bus *bus)
{
    assert(bus->ensures == NULL || pool_used(bus->ensures) == 0);
    pool_close(&bus->ensures);
    arena_pool_close(&bus->arenas);
}

/* --- work queues --- */

static bool is_queue(const struct stream_ensure *e)
{
    return e->queue_message_bytes_max > 0;
}

/* What a message takes at most, with its headers and what the server keeps of it. */
static uint64_t queue_message_bytes(uint64_t message_bytes_max)
{
    assert(message_bytes_max > 0);
    return message_bytes_max + QUEUE_OVERHEAD_BYTES;
}

/* A work queue is bounded by the number of its messages, so that max_bytes is never reached. Where
 * it is, nats-server (2.9) forgets its own overhead when it decides whether to refuse, and drops
 * the oldest for the few bytes that are then too many. */
static uint64_t queue_messages_max(const struct stream_ensure *e)
{
    return e->max_bytes / queue_message_bytes(e->queue_message_bytes_max);
}

static enum code
copy_spec(struct stream_ensure *e, const struct bus_stream_spec *spec, struct err *err)
{
    enum code code = bus_token_check(spec->name, STREAM_NAME_BYTES_MAX, err);

    if (code != OK) {
        return code;
    }
    memcpy(e->name, spec->name, strlen(spec->name) + 1);
    e->duplicate_window_ms = spec->duplicate_window_ms;
    e->max_age_ms = spec->max_age_ms;
    e->max_bytes = spec->max_bytes;
    e->queue_message_bytes_max = spec->queue_message_bytes_max;
    if (is_queue(e) && (e->max_age_ms != 0 || queue_messages_max(e) == 0)) {
        return err_set(err, ERR_INVALID, "a work queue needs room, and nothing in it goes by age");
    }
    for (const char *const *subject = spec->subjects; *subject != NULL; subject++) {
        if (e->subject_count == STREAM_SUBJECTS_MAX) {
            return err_set(err, ERR_INVALID, "more than %d subjects", STREAM_SUBJECTS_MAX);
        }
        code = bus_subject_check(*subject, true, err);
        if (code != OK) {
            return code;
        }
        memcpy(e->subjects[e->subject_count], *subject, strlen(*subject) + 1);
        e->subject_count++;
    }
    return e->subject_count > 0 ? OK : err_set(err, ERR_INVALID, "a stream without subjects");
}

static void key_uint64(struct json_writer *w, struct str key, uint64_t value)
{
    json_key(w, key);
    json_uint64(w, value);
}

static void key_string(struct json_writer *w, struct str key, struct str value)
{
    json_key(w, key);
    json_text(w, value);
}

static const char *retention(const struct stream_ensure *e)
{
    return is_queue(e) ? "workqueue" : "limits";
}

static void write_config(struct json_writer *w, const struct stream_ensure *e)
{
    json_object_begin(w);
    key_string(w, STR("name"), str_from(e->name));
    json_key(w, STR("subjects"));
    json_array_begin(w);
    for (uint32_t i = 0; i < e->subject_count; i++) {
        json_text(w, str_from(e->subjects[i]));
    }
    json_array_end(w);
    key_string(w, STR("retention"), str_from(retention(e)));
    key_string(w, STR("storage"), STR("file"));
    key_string(w, STR("discard"), is_queue(e) ? STR("new") : STR("old"));
    if (is_queue(e)) {
        key_uint64(w, STR("max_msgs"), queue_messages_max(e));
        key_uint64(w, STR("max_msg_size"), e->queue_message_bytes_max);
    }
    json_key(w, STR("max_bytes"));
    json_int64(w, e->max_bytes == 0 ? -1 : (int64_t)e->max_bytes);
    key_uint64(w, STR("max_age"), e->max_age_ms * NANOSECONDS_PER_MS);
    key_uint64(w, STR("duplicate_window"), e->duplicate_window_ms * NANOSECONDS_PER_MS);
    key_uint64(w, STR("num_replicas"), 1);
    json_object_end(w);
}

static enum code
ask(struct stream_ensure *e, const char *verb, struct str body, bus_call_done done, struct err *err)
{
    char subject[BUS_SUBJECT_BYTES_MAX + 1];
    struct buf b = buf_over(subject, sizeof(subject));
    const struct call_request request = {
        .subject = subject,
        .payload = body,
        .deadline_ms = e->deadline_ms,
        .kind = CALL_RAW,
        .done = done,
        .ctx = e,
    };
    bool fits = false;

    buf_printf(&b, "$JS.API.STREAM.%s.%s", verb, e->name);
    fits = buf_terminate(&b);
    assert(fits);
    return bus_call_start(e->bus, &request, NULL, err);
}

static void ensured(struct stream_ensure *e, enum code code, const char *reason)
{
    const bus_call_done done = e->done;
    void *ctx = e->ctx;

    assert(code != OK || reason[0] == '\0');
    pool_give(e->bus->ensures, e);
    done(ctx, code, str_from(reason));
}

static enum code
reply_code(struct stream_ensure *e, enum code code, struct str payload, struct api_reply *reply)
{
    if (code == OK) {
        code = bus_api_read(e->bus, payload, reply, NULL);
    }
    return code != OK ? code : reply->error != 0 ? code_of(reply) : OK;
}

/* Messages leave the queue only by being consumed. */
static bool keeps_all(const struct api_reply *reply)
{
    const uint64_t room = reply->bytes_max < 0 ? (uint64_t)INT64_MAX : (uint64_t)reply->bytes_max;

    return !reply->drops && reply->messages_max > 0 && reply->message_bytes_max > 0 &&
           (uint64_t)reply->messages_max <=
               room / queue_message_bytes((uint64_t)reply->message_bytes_max);
}

/* What of a stream is no operator's choice; empty: it fits. */
static const char *misfit(const struct stream_ensure *e, const struct api_reply *reply)
{
    if (reply->found != (UINT64_C(1) << e->subject_count) - 1) {
        return "it was made for other subjects";
    }
    if (strcmp(reply->retention, retention(e)) != 0) {
        return "it has another retention, which cannot be changed: it must be made anew";
    }
    if (is_queue(e) && !keeps_all(reply)) {
        return "it would drop what was not consumed: it must be made anew";
    }
    return "";
}

static void stream_described(void *ctx, enum code code, struct str payload)
{
    struct stream_ensure *e = ctx;
    struct api_reply reply = {
        .subjects = (const char(*)[BUS_SUBJECT_BYTES_MAX + 1]) e->subjects,
        .subject_count = e->subject_count,
    };

    const char *reason = reply.text;

    code = reply_code(e, code, payload, &reply);
    if (code == OK) {
        reason = misfit(e, &reply);
        code = reason[0] == '\0' ? OK : ERR_CONFLICT;
    }
    ensured(e, code, reason);
}

static void stream_created(void *ctx, enum code code, struct str payload)
{
    struct stream_ensure *e = ctx;
    struct api_reply reply = {0};

    code = reply_code(e, code, payload, &reply);
    if (code == ERR_INTERNAL && reply.error == API_STREAM_NAME_IN_USE) {
        /* There with other settings: an operator's choice within bounds. */
        code = ask(e, "INFO", STR_EMPTY, stream_described, NULL);
        if (code == OK) {
            return;
        }
    }
    ensured(e, code, code == OK ? "" : reply.text);
}

static enum code create(struct stream_ensure *e, struct err *err)
{
    struct arena *arena = arena_open(e->bus->arenas, BUS_API_BYTES_MAX);
    struct json_writer w = {0};
    struct str body = STR_EMPTY;
    enum code code = OK;

    if (arena == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for a stream's description");
    }
    json_open(&w, arena, 1024, BUS_API_BYTES_MAX);
    write_config(&w, e);
    code = json_finish(&w, &body, err);
    if (code == OK) {
        code = ask(e, "CREATE", body, stream_created, err);
    }
    arena_dispose(&arena);
    return code;
}

enum code bus_stream_ensure(struct bus *bus,
                            const struct bus_stream_spec *spec,
                            uint64_t deadline_mono_ms,
                            bus_call_done done,
                            void *ctx,
                            struct err *err)
{
    struct stream_ensure *e = NULL;
    enum code code = OK;

    assert(bus != NULL);
    assert(spec != NULL);
    assert(done != NULL);
    e = pool_take(bus->ensures, NULL);
    if (e == NULL) {
        return err_set(err, ERR_OVERLOADED, "%d streams are being made", STREAM_ENSURES_MAX);
    }
    e->bus = bus;
    e->done = done;
    e->ctx = ctx;
    e->deadline_ms = deadline_mono_ms;
    code = copy_spec(e, spec, err);
    if (code == OK) {
        code = create(e, err);
    }
    if (code != OK) {
        pool_give(bus->ensures, e);
    }
    return code;
}
