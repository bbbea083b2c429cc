/* A call enters by the last function, exchange_begin(), and passes through them upwards. */
#include "api.gen.h"
#include "gateway/bind.h"
#include "gateway/exchange_internal.h"
#include "gateway/request_log.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/rules.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

/* A call that is safe to repeat is not left to wait for a dead instance until its deadline. */
#define ATTEMPT_MS_MAX     1500
#define ATTEMPTS_MAX       4
#define RETRY_PAUSE_MS     50
#define UNDELIVERED_MS_MAX 2000
#define IN_FLIGHT_PAUSE_MS 200
#define AGENT_BYTES_MAX    512

static void exchange_call(struct exchange *e);

static void answer_violations(struct exchange *e, const Avanta__Reply *reply)
{
    for (size_t i = 0; i < reply->n_violations; i++) {
        const Avanta__FieldViolation *v = reply->violations[i];

        violations_add(e->violations, v->field, v->code, "%s", v->message);
    }
}

static void reply_to_http(struct exchange *e, const Avanta__Reply *reply)
{
    const struct api_method *method = e->match.method;
    ProtobufCAllocator allocator;
    ProtobufCMessage *out = NULL;
    enum code code = ERR_INTERNAL;

    if (!code_from_wire(reply->code, &code)) {
        code = ERR_INTERNAL;
    }
    if (code != OK) {
        bool refused =
            reply->has_reason && reply->reason > 0 && (size_t)reply->reason < API_REASON_COUNT;
        const struct api_reason *reason = refused ? &api_reasons[reply->reason] : NULL;
        answer_violations(e, reply);
        exchange_fail(e, code, reason, reply->detail, reply->retry_after_s);
        return;
    }
    transcode_allocator(&allocator, e->arena);
    out = protobuf_c_message_unpack(
        method->out->descriptor, &allocator, reply->body.len, reply->body.data);
    if (out == NULL) {
        exchange_fail(e, ERR_INTERNAL, NULL, NULL, 0);
        return;
    }
    exchange_answer(e, out, method->status);
}

/* Nothing was delivered, or it does no harm to deliver it twice. */
static bool may_retry(const struct exchange *e, enum code code)
{
    uint64_t now = loop_now_ms(e->worker->loop);

    if (now + RETRY_PAUSE_MS >= e->deadline_ms) {
        return false;
    }
    if (code == ERR_UNAVAILABLE) { /* nobody got it */
        return e->undelivered * RETRY_PAUSE_MS < UNDELIVERED_MS_MAX;
    }
    return code == ERR_TIMEOUT && exchange_is_repeatable(e) && e->attempts < ATTEMPTS_MAX;
}

/* The first attempt was not lost but slow: its answer is stored when it is done. Another client's
 * use of the key looks the same, and waiting for it does no harm. */
static bool meets_own_attempt(const struct exchange *e, const Avanta__Reply *reply)
{
    return e->attempts > 1 && reply->has_reason &&
           reply->reason == AVANTA__REASON__IDEMPOTENCY_IN_FLIGHT;
}

static void retry_in(struct exchange *e, uint64_t pause_ms)
{
    assert(list_empty(&e->waiting));
    assert(loop_now_ms(e->worker->loop) + pause_ms < e->deadline_ms);
    e->retry_at_ms = loop_now_ms(e->worker->loop) + pause_ms;
    list_push_back(&e->worker->retries, &e->waiting);
    metric_add(e->worker->gateway->metrics, GATEWAY_METRIC_RETRIES, 0, 1);
}

static void on_reply(void *ctx, enum code code, struct str payload)
{
    struct exchange *e = ctx;
    const char *service = e->match.method->service;
    Avanta__Reply *reply = NULL;
    struct err err = {.code = OK};

    e->answered_us = clock_mono_us();
    if (code != OK && may_retry(e, code)) {
        e->undelivered += code == ERR_UNAVAILABLE;
        retry_in(e, RETRY_PAUSE_MS); /* a lost connection is often back by then */
        return;
    }
    if (code != OK) {
        exchange_fail(e, code, NULL, NULL, 0);
        return;
    }
    struct arena_mark mark = arena_mark(e->arena);
    code = envelope_open_reply(
        worker_sealer(e->worker, service), payload, e->nonce, e->arena, &reply, &err);
    if (code != OK) {
        log_event(LOG_ERROR, "reply_dropped", LOG_S("service", service), LOG_S("why", err.text));
        exchange_fail(e, ERR_INTERNAL, NULL, NULL, 0);
        return;
    }
    e->worker->service_seen_ms[worker_service(service)] = loop_now_ms(e->worker->loop);
    if (meets_own_attempt(e, reply)) {
        arena_rewind(e->arena, mark);
        if (loop_now_ms(e->worker->loop) + IN_FLIGHT_PAUSE_MS < e->deadline_ms) {
            retry_in(e, IN_FLIGHT_PAUSE_MS);
        } else { /* the client made no second request that it could be told of */
            exchange_fail(e, ERR_TIMEOUT, NULL, NULL, 0);
        }
        return;
    }
    reply_to_http(e, reply);
}

void exchange_retry_due(struct worker *worker)
{
    uint64_t now = loop_now_ms(worker->loop);

    LIST_EACH_SAFE(&worker->retries, node, following)
    {
        struct exchange *e = LIST_ENTRY(node, struct exchange, waiting);

        if (e->retry_at_ms <= now) {
            list_remove(&e->waiting);
            exchange_call(e);
        }
    }
}

/* Each attempt is a message of its own: new nonce, so that a service never sees one twice. */
static void exchange_call(struct exchange *e)
{
    const struct api_method *method = e->match.method;
    struct sealer *sealer = worker_sealer(e->worker, method->service);
    uint64_t now = loop_now_ms(e->worker->loop);
    uint64_t until = e->deadline_ms; /* also of the last attempt: it may be slow, not lost */
    struct arena_mark mark = arena_mark(e->arena);
    struct str frame = STR_EMPTY;
    struct pool_handle handle;
    struct err err = {.code = OK};
    enum code code = OK;

    assert(sealer != NULL);
    if (e->attempts++ == 0) {
        e->called_us = clock_mono_us();
    }
    if (exchange_is_repeatable(e) && e->attempts < ATTEMPTS_MAX && now + ATTEMPT_MS_MAX < until) {
        until = now + ATTEMPT_MS_MAX;
    }
    random_bytes(e->nonce, sizeof e->nonce);
    e->request.nonce = (ProtobufCBinaryData){sizeof e->nonce, e->nonce};
    e->request.issued_ms = clock_wall_ms();
    e->request.deadline_ms =
        e->request.issued_ms + (e->deadline_ms > now ? e->deadline_ms - now : 1);
    code = envelope_seal_request(sealer, &e->request, e->arena, &frame, &err);
    if (code == OK && frame.len > BUS_PAYLOAD_BYTES_MAX) {
        code = ERR_TOO_LARGE;
    }
    if (code == OK) {
        code = bus_call(e->worker->bus, method->subject, frame, until, on_reply, e, &handle, &err);
    }
    arena_rewind(e->arena, mark); /* the bus has its own copy */
    if (code != OK) {
        exchange_fail_err(e, code, &err);
    }
}

static enum code envelope_fill(struct exchange *e)
{
    size_t size = protobuf_c_message_get_packed_size(e->in);
    uint8_t *body = arena_alloc(e->arena, size + 1);
    struct str agent = http_header_get(e->http, "User-Agent");
    Avanta__Request *request = &e->request;

    if (body == NULL) {
        return ERR_TOO_LARGE;
    }
    (void)protobuf_c_message_pack(e->in, body);
    request->method = transcode_constant(e->match.method->full_name);
    request->request_id = e->request_id;
    request->traceparent = e->traceparent;
    request->has_body = true;
    request->body = (ProtobufCBinaryData){size, body};
    request->client_ip = arena_strdup(e->arena, str_from(e->from.client));
    request->has_secure = true;
    request->secure = e->from.secure;
    request->user_agent = agent.ptr == NULL || !utf8_valid(agent)
                              ? NULL
                              : arena_strdup(e->arena, utf8_cut(agent, AGENT_BYTES_MAX));
    if (e->caller.credential.kind != CREDENTIAL_NONE) {
        if (!caller_principal(&e->caller, e->arena, &e->principal)) {
            return ERR_TOO_LARGE;
        }
        request->principal = &e->principal;
    }
    return api_method_keyed(e->match.method)
               ? bind_idempotency_key(e->http, e->arena, &request->idempotency_key, e->violations)
               : OK;
}

static void answer_locally(struct exchange *e, local_fn *local)
{
    const struct api_method *method = e->match.method;
    struct local_call call = {
        .worker = e->worker,
        .arena = e->arena,
        .in = e->in,
        .out = transcode_new(method->out->descriptor, e->arena),
        .status = method->status,
    };
    enum code code = call.out == NULL ? ERR_TOO_LARGE : local(&call);

    if (code != OK) {
        exchange_fail(e, code, NULL, NULL, 0);
        return;
    }
    exchange_answer(e, call.out, call.status);
}

/* Path, query, cookies, headers and body into the request message, then the rules. */
static enum code request_read(struct exchange *e, struct err *err)
{
    const struct api_method *method = e->match.method;
    enum code code = OK;

    e->in = transcode_new(method->in->descriptor, e->arena);
    if (e->in == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the request needs too much memory");
    }
    code = bind_request(e->http, &e->match, e->arena, e->in, e->violations, err);
    if (code == OK) { /* also when fields could not be read: all that is wrong is told at once */
        rules_check(e->in, method->in, date_in_mexico_city(clock_wall_ms()), e->violations);
    }
    if (code == OK && e->violations->count > 0) {
        code = ERR_INVALID;
    }
    return code;
}

/* What is left to do once it is known which operation is meant. */
static void proceed(void *ctx)
{
    struct exchange *e = ctx;
    struct err err = {.code = OK};
    local_fn *local = NULL;
    enum code code = OK;
    enum caller_verdict verdict = caller_authorise(&e->caller, e->match.method, &err);

    if (verdict == CALLER_WAITS) {
        return;
    }
    e->allowed_us = clock_mono_us();
    code = verdict == CALLER_MAY ? request_read(e, &err) : err.code;
    if (code != OK) {
        exchange_fail_err(e, code, &err);
        return;
    }
    local = e->worker->gateway->locals[e->match.method - api_methods];
    if (local != NULL) {
        answer_locally(e, local);
        return;
    }
    code = envelope_fill(e);
    if (code != OK) {
        exchange_fail(e, code, NULL, NULL, 0);
        return;
    }
    e->deadline_ms = loop_now_ms(e->worker->loop) + e->match.method->deadline_ms;
    exchange_call(e);
}

static void handle(struct exchange *e)
{
    if (!router_match(e->worker->gateway->router, e->http->method, e->http->path, &e->match)) {
        exchange_fail(e, ERR_NOT_FOUND, NULL, "There is nothing at this address", 0);
        return;
    }
    if (str_eq(e->http->method, STR("OPTIONS"))) {
        struct http_response response = {.status = 204};

        http_response_add(&response, "Allow", str_from(e->match.allow));
        exchange_finish(e, &response, OK);
        return;
    }
    if (e->match.method == NULL) {
        exchange_fail(e, ERR_METHOD, NULL, NULL, 0);
        return;
    }
    proceed(e);
}

void exchange_begin(void *ctx, struct http_exchange *x)
{
    static const struct http_response full = {.status = 503, .close = true};
    struct arena *arena = http_exchange_arena(x);
    struct exchange *e = arena_calloc(arena, 1, sizeof *e);
    struct violations *violations = arena_alloc(arena, sizeof *violations);

    if (e == NULL || violations == NULL) {
        http_exchange_reply(x, &full);
        return;
    }
    violations_init(violations, arena);
    e->worker = ctx;
    e->x = x;
    e->http = http_exchange_request(x);
    e->arena = arena;
    e->violations = violations;
    forwarded_read(&e->worker->gateway->proxies, e->http, http_exchange_peer(x), &e->from);
    e->caller = (struct caller){
        .worker = ctx,
        .http = e->http,
        .peer = str_from(e->from.client),
        .violations = violations,
        .resume = proceed,
        .ctx = e,
    };
    e->begun_us = clock_mono_us();
    http_exchange_attach(x, e);
    list_init(&e->waiting);
    avanta__request__init(&e->request);
    avanta__principal__init(&e->principal);
    uuid_v7(e->request_id);
    trace_continue(http_header_get(e->http, "traceparent"), e->traceparent);
    handle(e);
}

void exchange_ended(void *ctx, void *attached, struct str peer, const struct http_end *end)
{
    const struct exchange *e = attached;

    (void)ctx;
    if (e == NULL) {
        request_log_write(NULL, peer, end);
        return;
    }
    const struct request_log known = {
        .route = e->match.path,
        .code = e->code,
        .request_id = e->request_id,
        .traceparent = e->traceparent,
        .user = e->caller.credential.principal.user_id,
        .attempts = e->attempts,
        .auth_us = e->allowed_us == 0 ? 0 : e->allowed_us - e->begun_us,
        .bus_us = e->answered_us == 0 ? 0 : e->answered_us - e->called_us,
    };

    request_log_write(&known, peer, end);
}
