#include "libcommon/service/srv_protocol.h"

#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/json_write.h"

#include <assert.h>
#include <stdlib.h>

#define ANSWER_BYTES_MAX ((size_t)512 * 1024)
#define SUBJECT_BYTES    192

enum verb {
    VERB_PING,
    VERB_INFO,
    VERB_STATS,
    VERB_COUNT
};

enum scope {
    SCOPE_ALL,
    SCOPE_NAME,
    SCOPE_INSTANCE,
    SCOPE_COUNT
};

struct question {
    struct srv_protocol *srv;
    enum verb verb;
    struct bus_subscription *subscription;
};

struct srv_protocol {
    struct srv_protocol_options options;
    const char *id; /* of this instance */
    char started[TIMESTAMP_TEXT_BYTES];
    uint64_t logged_ms;
    struct question questions[VERB_COUNT * SCOPE_COUNT];
};

static const struct {
    const char *subject;
    const char *type;
} verbs[VERB_COUNT] = {
    [VERB_PING] = {"PING",  "io.nats.micro.v1.ping_response" },
    [VERB_INFO] = {"INFO",  "io.nats.micro.v1.info_response" },
    [VERB_STATS] = {"STATS", "io.nats.micro.v1.stats_response"},
};

static void put_text(struct json_writer *w, struct str key, const char *text)
{
    json_key(w, key);
    json_text(w, str_from(text));
}

static void put_number(struct json_writer *w, struct str key, uint64_t number)
{
    json_key(w, key);
    json_uint64(w, number);
}

static void put_metadata(struct json_writer *w)
{
    json_key(w, STR("metadata"));
    json_object_begin(w);
    json_object_end(w);
}

static void put_stats(struct json_writer *w, const struct endpoint *endpoint)
{
    uint64_t requests = 0;
    uint64_t errors = 0;
    uint64_t busy_ns = endpoint->busy_us * 1000;

    for (int code = OK; code < CODE_COUNT; code++) {
        requests += endpoint->answered[code];
        errors += code == OK ? 0 : endpoint->answered[code];
    }
    put_number(w, STR("num_requests"), requests);
    put_number(w, STR("num_errors"), errors);
    put_text(w, STR("last_error"), endpoint->last_error);
    put_number(w, STR("processing_time"), busy_ns);
    put_number(w, STR("average_processing_time"), requests == 0 ? 0 : busy_ns / requests);
}

static void put_endpoints(struct json_writer *w, const struct srv_protocol *srv, enum verb verb)
{
    json_key(w, STR("endpoints"));
    json_array_begin(w);
    for (size_t i = 0; i < srv->options.endpoint_count; i++) {
        const struct endpoint *endpoint = &srv->options.endpoints[i];
        assert(endpoint->method != NULL);
        json_object_begin(w);
        put_text(w, STR("name"), endpoint->method->name);
        put_text(w, STR("subject"), endpoint->method->subject);
        put_text(w, STR("queue_group"), "q");
        if (verb == VERB_STATS) {
            put_stats(w, endpoint);
        } else {
            put_metadata(w);
        }
        json_object_end(w);
    }
    json_array_end(w);
}

static enum code write_answer(const struct srv_protocol *srv,
                              enum verb verb,
                              struct arena *arena,
                              struct str *out,
                              struct err *err)
{
    struct json_writer w;

    assert(verb < VERB_COUNT);
    assert(out != NULL);
    json_open(&w, arena, 1024, ANSWER_BYTES_MAX);
    json_object_begin(&w);
    put_text(&w, STR("type"), verbs[verb].type);
    put_text(&w, STR("name"), srv->options.name);
    put_text(&w, STR("id"), srv->id);
    put_text(&w, STR("version"), srv->options.version);
    put_metadata(&w);
    if (verb == VERB_INFO) {
        put_text(&w, STR("description"), srv->options.description);
    }
    if (verb == VERB_STATS) {
        put_text(&w, STR("started"), srv->started);
    }
    if (verb != VERB_PING) {
        put_endpoints(&w, srv, verb);
    }
    json_object_end(&w);
    return json_finish(&w, out, err);
}

static void on_message(void *ctx, struct bus_message *message)
{
    struct question *question = ctx;
    struct srv_protocol *srv = question->srv;
    struct arena *arena = arena_open(srv->options.arenas, 2 * ANSWER_BYTES_MAX);
    struct str answer = STR_EMPTY;
    struct err err = {0};

    assert(question->verb < VERB_COUNT);
    if (arena != NULL && bus_message_reply(message).len > 0) {
        const char *subject = arena_strdup(arena, bus_message_reply(message));
        enum code code = subject == NULL ? ERR_TOO_LARGE : OK;
        code = code == OK ? write_answer(srv, question->verb, arena, &answer, &err) : code;
        code = code == OK ? bus_publish(srv->options.bus, subject, answer, &err) : code;
        if (code != OK && log_rate_allows(&srv->logged_ms)) {
            log_event(LOG_WARN, "srv_answer_failed", LOG_S("error", err.text));
        }
    }
    bus_message_destroy(message);
    arena_dispose(&arena);
}

static enum code ask_subscribe(struct srv_protocol *srv, size_t index, struct err *err)
{
    assert(index < ARRAY_LEN(srv->questions));

    struct question *question = &srv->questions[index];
    enum scope scope = (enum scope)(index % SCOPE_COUNT);
    char subject[SUBJECT_BYTES];
    struct buf text = buf_over(subject, sizeof subject);

    question->srv = srv;
    question->verb = (enum verb)(index / SCOPE_COUNT);
    buf_printf(&text, "$SRV.%s", verbs[question->verb].subject);
    if (scope != SCOPE_ALL) {
        buf_printf(&text, ".%s", srv->options.name);
    }
    if (scope == SCOPE_INSTANCE) {
        buf_printf(&text, ".%s", srv->id);
    }
    if (!buf_terminate(&text)) {
        return err_set(err, ERR_INTERNAL, "the service's name is too long");
    }
    return bus_subscribe(
        srv->options.bus, subject, NULL, on_message, question, &question->subscription, err);
}

enum code srv_protocol_open(const struct srv_protocol_options *options,
                            struct srv_protocol **out,
                            struct err *err)
{
    struct srv_protocol *srv = calloc(1, sizeof *srv);
    enum code code = OK;

    assert(options->name != NULL);
    assert(options->version != NULL);
    assert(out != NULL);
    if (srv == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the services protocol");
    }
    srv->options = *options;
    srv->id = instance_id();
    timestamp_format(clock_wall_ms(), srv->started);
    for (size_t i = 0; i < ARRAY_LEN(srv->questions) && code == OK; i++) {
        code = ask_subscribe(srv, i, err);
    }
    if (code != OK) {
        srv_protocol_close(&srv);
    }
    *out = srv;
    return code;
}

void srv_protocol_close(struct srv_protocol **srv)
{
    struct srv_protocol *closing = *srv;

    *srv = NULL;
    if (closing == NULL) {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(closing->questions); i++) {
        if (closing->questions[i].subscription != NULL) {
            bus_unsubscribe(&closing->questions[i].subscription);
        }
    }
    free(closing);
}
