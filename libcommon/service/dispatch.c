#include "libcommon/service/dispatch.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/base/table.h"
#include "libcommon/codec/rules.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/service/idempotency.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define REFUSAL_BYTES_MAX ((size_t)ARENA_CHUNK_BYTES)

struct dispatch {
    struct dispatch_options options;
    struct table *methods; /* full name -> endpoint */
    struct bus_subscription *subscription;
    struct request_source source;
    uint64_t dropped_logged_ms;
    uint64_t reply_logged_ms;
};

/* --- replies ----------------------------------------------------------------------------- */

static enum code send_reply(struct dispatch *dispatch,
                            const Avanta__Request *request,
                            const char *reply_subject,
                            Avanta__Reply *reply,
                            struct arena *arena)
{
    struct str frame = STR_EMPTY;
    struct err err = {0};
    enum code code = OK;

    assert(request != NULL);
    assert(reply_subject != NULL);
    assert(reply->code != NULL);
    reply->nonce = request->nonce;
    code = envelope_seal_reply(dispatch->options.sealer, reply, arena, &frame, &err);
    if (code == OK) {
        code = bus_respond(dispatch->options.bus, str_from(reply_subject), frame, &err);
    }
    if (code != OK && log_rate_allows(&dispatch->reply_logged_ms)) {
        log_event(LOG_WARN,
                  "reply_failed",
                  LOG_S("method", request->method),
                  LOG_S("request_id", request->request_id),
                  LOG_S("error", err.text));
    }
    return code;
}

/* An answer without a body. */
static void refuse(struct dispatch *dispatch,
                   const Avanta__Request *request,
                   const char *reply_subject,
                   enum code code,
                   struct arena *arena)
{
    Avanta__Reply reply = AVANTA__REPLY__INIT;

    assert(code != OK);
    reply.code = proto_text(code_wire(code));
    reply.has_retry_after_s = code_retryable(code);
    reply.retry_after_s = 1;
    (void)send_reply(dispatch, request, reply_subject, &reply, arena);
}

/* The code for a verdict that cannot be told in full. What was done is no refusal. */
static enum code untold(const struct req *r, enum code code)
{
    assert(code != OK);
    if (r->code != OK) {
        return r->code;
    }
    return r->wrote ? ERR_INTERNAL : code;
}

/* The request's own arena is full: its verdict goes without a body, from a small one. */
static void send_bare(struct dispatch *dispatch, const struct req *r)
{
    struct arena *arena = arena_open(dispatch->options.arenas, REFUSAL_BYTES_MAX);

    assert(r->source_data != NULL);
    if (arena == NULL) {
        return; /* the caller's deadline ends it */
    }
    refuse(dispatch, r->envelope, r->source_data, untold(r, ERR_TOO_LARGE), arena);
    arena_dispose(&arena);
}

static void finish(void *ctx, struct req *r)
{
    struct dispatch *dispatch = ctx;
    Avanta__Reply reply;
    struct err err = {0};

    assert(r->envelope != NULL);
    assert(r->source_data != NULL);
    if (req_reply(r, &reply, &err) != OK) {
        avanta__reply__init(&reply);
        reply.code = proto_text(code_wire(untold(r, err.code)));
    }
    if (send_reply(dispatch, r->envelope, r->source_data, &reply, r->arena) == ERR_TOO_LARGE) {
        send_bare(dispatch, r);
    }
}

/* --- checks ------------------------------------------------------------------------------ */

static uint32_t scopes_of(const Avanta__Principal *principal)
{
    uint32_t scopes = 0;

    assert(principal != NULL);
    for (size_t i = 0; i < principal->n_scopes; i++) {
        enum api_permission permission = API_PUBLIC;

        if (permission_find(str_from(principal->scopes[i]), &permission)) {
            scopes |= 1U << (unsigned)permission;
        }
    }
    return scopes;
}

static void check_permission(struct req *r)
{
    const Avanta__Principal *principal = r->envelope->principal;
    enum api_permission permission = r->endpoint->method->permission;
    struct access_caller caller;
    struct err err = {0};

    if (permission == API_PUBLIC) {
        return;
    }
    if (principal == NULL || principal->user_id == NULL || principal->user_id[0] == '\0') {
        req_set_error(r, ERR_UNAUTHENTICATED, NULL);
        return;
    }
    caller = (struct access_caller){
        .role = str_from(principal->role),
        .by_key = principal->by_key != 0,
        .scopes = scopes_of(principal),
        .on_behalf = principal->actor_id != NULL,
        .grant = grant_find(str_from(principal->grant)),
    };
    if (access_check(permission, &caller, &err) != OK) {
        (void)req_fail(r, ERR_FORBIDDEN, "%s", err.text);
    }
}

static void unpack_input(struct req *r)
{
    const struct message_rules *rules = r->endpoint->in;
    const Avanta__Request *envelope = r->envelope;
    ProtobufCAllocator allocator;

    assert(rules != NULL);
    assert(envelope != NULL);
    assert(r->in == NULL);
    transcode_allocator(&allocator, r->arena);
    r->in = protobuf_c_message_unpack(
        rules->descriptor, &allocator, envelope->body.len, envelope->body.data);
    if (r->in == NULL) {
        (void)req_fail(r,
                       arena_exhausted(r->arena) ? ERR_TOO_LARGE : ERR_INVALID,
                       "The request cannot be read");
    }
}

static void check_rules(struct req *r)
{
    struct violations *violations = arena_alloc(r->arena, sizeof *violations);

    assert(r->in != NULL);
    if (violations == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    violations_init(violations, r->arena);
    rules_check(r->in, r->endpoint->in, req_today(r), violations);
    if (violations->count > 0) {
        r->violations = violations;
        req_set_error(r, ERR_INVALID, NULL);
    }
}

/* Only writes in a transaction can keep a reply; elsewhere the key changes nothing. */
static void check_key(struct req *r)
{
    const char *key = r->envelope->idempotency_key;

    if (key == NULL || !api_method_keyed(r->endpoint->method) || !op_writes(r->endpoint->op)) {
        return;
    }
    if (!idempotency_key_valid(str_from(key))) {
        (void)req_violation(
            r, ERR_INVALID, "Idempotency-Key", "value", "must be 1 to 255 printable characters");
        return;
    }
    if (!idempotency_prepare(r)) {
        assert(r->code != OK);
    }
}

static void check(struct req *r)
{
    void (*const checks[])(struct req *) = {check_permission, unpack_input, check_rules, check_key};

    assert(r->code == OK);
    for (size_t i = 0; i < ARRAY_LEN(checks) && r->code == OK; i++) {
        checks[i](r);
    }
}

/* --- in ---------------------------------------------------------------------------------- */

static char *text_or_none(char *text)
{
    return utf8_valid(str_from(text)) ? text : NULL;
}

static void context_fill(struct req *r)
{
    Avanta__Request *envelope = r->envelope;
    struct pg_context *context = &r->context;

    assert(envelope != NULL);
    assert(context->user_id == NULL);
    /* What no database takes would cost the request, or later its audit record. */
    envelope->client_ip = text_or_none(envelope->client_ip);
    envelope->user_agent = text_or_none(envelope->user_agent);
    if (envelope->principal != NULL) {
        context->user_id = envelope->principal->user_id;
        context->actor_id = envelope->principal->actor_id != NULL ? envelope->principal->actor_id
                                                                  : envelope->principal->user_id;
        context->session_id = envelope->principal->session_id;
        context->role = envelope->principal->role;
    }
    context->request_id = envelope->request_id;
    context->client_ip = envelope->client_ip;
    context->user_agent = envelope->user_agent;
}

/* The envelope's deadline is wall time; from here on it is ours. */
static uint64_t deadline_of(const struct req *r)
{
    uint64_t left = 0;
    uint64_t most = r->endpoint->method->deadline_ms;

    assert(r->context.now_ms > 0);
    if (r->envelope->deadline_ms > r->context.now_ms) {
        left = r->envelope->deadline_ms - r->context.now_ms;
    }
    if (most == 0 || most > REQUEST_DEADLINE_MS_MAX) {
        most = REQUEST_DEADLINE_MS_MAX;
    }
    return clock_mono_ms() + (left < most ? left : most);
}

static struct endpoint *
endpoint_of(const struct dispatch *dispatch, const Avanta__Request *request, struct str subject)
{
    struct str prefix = STR("rpc.");

    assert(dispatch != NULL);
    assert(request != NULL);
    /* The server grants subjects; a frame must not ask for another method than its subject. */
    if (!str_starts(subject, prefix) ||
        !str_eq(str_sub(subject, prefix.len, subject.len), str_from(request->method))) {
        return NULL;
    }
    return table_get(dispatch->methods, str_from(request->method));
}

static void drop(struct dispatch *dispatch, enum code code, const struct err *err)
{
    enum frame_drop why = code == ERR_TIMEOUT      ? FRAME_EXPIRED
                          : code == ERR_OVERLOADED ? FRAME_GUARD_FULL
                          : code == ERR_TOO_LARGE  ? FRAME_NO_MEMORY
                                                   : FRAME_FORGED;

    assert(code != OK);
    metric_add(dispatch->options.metrics, METRIC_FRAMES_DROPPED, why, 1);
    if (log_rate_allows(&dispatch->dropped_logged_ms)) {
        log_event(LOG_WARN, "frame_dropped", LOG_S("error", err->text));
    }
}

/* Takes the arena over as far as a request comes of it. */
static void take_in(struct dispatch *dispatch,
                    Avanta__Request *request,
                    struct str subject,
                    char *reply_subject,
                    struct arena **arena)
{
    struct endpoint *endpoint = endpoint_of(dispatch, request, subject);
    struct req *r = NULL;

    assert(reply_subject != NULL);
    assert(*arena != NULL);
    if (endpoint == NULL) {
        refuse(dispatch, request, reply_subject, ERR_NOT_IMPLEMENTED, *arena);
        return;
    }
    r = runner_take(dispatch->options.runner, endpoint, &dispatch->source, arena);
    if (r == NULL) {
        refuse(dispatch, request, reply_subject, ERR_OVERLOADED, *arena);
        return;
    }
    r->envelope = request;
    r->source_data = reply_subject;
    context_fill(r);
    check(r);
    if (r->code != OK) {
        runner_answer(r);
    } else {
        runner_submit(r, deadline_of(r));
    }
}

static void on_message(void *ctx, struct bus_message *message)
{
    struct dispatch *dispatch = ctx;
    struct arena *arena = arena_open(dispatch->options.arenas, REQ_ARENA_BYTES_MAX);
    Avanta__Request *request = NULL;
    char *reply_subject = NULL;
    struct err err = {0};
    enum code code = ERR_TOO_LARGE;

    assert(message != NULL);
    if (arena != NULL) {
        code = envelope_open_request(dispatch->options.sealer,
                                     dispatch->options.guard,
                                     bus_message_data(message),
                                     clock_wall_ms(),
                                     arena,
                                     &request,
                                     &err);
    }
    if (code == OK) {
        reply_subject = arena_strdup(arena, bus_message_reply(message));
        code = reply_subject == NULL ? ERR_TOO_LARGE : OK;
    }
    if (code == OK) {
        take_in(dispatch, request, bus_message_subject(message), reply_subject, &arena);
    } else {
        drop(dispatch, code, &err);
    }
    bus_message_destroy(message);
    arena_dispose(&arena);
}

/* --- open and close ------------------------------------------------------------------------ */

static enum code methods_fill(struct dispatch *dispatch, struct err *err)
{
    const struct dispatch_options *options = &dispatch->options;

    for (size_t i = 0; i < options->endpoint_count; i++) {
        struct endpoint *endpoint = &options->endpoints[i];
        assert(endpoint->method != NULL);
        if (!table_put(dispatch->methods, str_from(endpoint->method->full_name), endpoint)) {
            return err_set(err, ERR_INTERNAL, "method %s is there twice", endpoint->name);
        }
    }
    return OK;
}

enum code
dispatch_open(const struct dispatch_options *options, struct dispatch **out, struct err *err)
{
    struct dispatch *dispatch = calloc(1, sizeof *dispatch);
    char subject[128];
    struct buf text = buf_over(subject, sizeof subject);
    uint64_t seed = 0;
    enum code code = OK;

    assert(options->service != NULL);
    assert(out != NULL);
    if (dispatch == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the dispatch");
    }
    dispatch->options = *options;
    dispatch->source = (struct request_source){finish, dispatch};
    random_bytes(&seed, sizeof seed);
    dispatch->methods = table_open((uint32_t)options->endpoint_count + 1, seed);
    buf_printf(&text, "rpc.%s.>", options->service);
    if (dispatch->methods == NULL || !buf_terminate(&text)) {
        code = err_set(err, ERR_OVERLOADED, "no memory for the dispatch");
    }
    code = code == OK ? methods_fill(dispatch, err) : code;
    if (code == OK) {
        code = bus_subscribe(
            options->bus, subject, "q", on_message, dispatch, &dispatch->subscription, err);
    }
    if (code != OK) {
        dispatch_close(&dispatch);
    }
    *out = dispatch;
    return code;
}

void dispatch_stop(struct dispatch *dispatch)
{
    assert(dispatch != NULL);
    if (dispatch->subscription != NULL) {
        bus_unsubscribe(&dispatch->subscription);
    }
}

void dispatch_close(struct dispatch **dispatch)
{
    struct dispatch *closing = *dispatch;

    *dispatch = NULL;
    if (closing == NULL) {
        return;
    }
    dispatch_stop(closing);
    table_close(&closing->methods);
    free(closing);
}
