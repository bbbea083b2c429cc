/* The answers of exchanges: what a service or the gateway says becomes HTTP, and what is refused or
 * read by administrators its audit record first. */
#include "gateway/bind.h"
#include "gateway/exchange_internal.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define RESPONSE_BYTES_MAX ((size_t)8 * 1024 * 1024)

void exchange_finish(struct exchange *e, struct http_response *response, enum code code)
{
    const struct gateway *gateway = e->worker->gateway;
    uint64_t us = clock_mono_us() - e->begun_us;

    e->code = code;
    http_response_add(response, "X-Request-Id", str_from(e->request_id));
    response->head_only = str_eq(e->http->method, STR("HEAD"));
    metric_add(gateway->metrics, GATEWAY_METRIC_RESPONSES, response->status / 100U - 1U, 1);
    metric_observe_us(gateway->metrics, GATEWAY_METRIC_SECONDS, 0, us);
    http_exchange_reply(e->x, response);
}

/* --- audit records of the gateway's own: audit.h --- */

static struct audited audited_of(const struct exchange *e, enum code code)
{
    const struct caller *caller = &e->caller;
    const struct auth_principal *who = &caller->credential.principal;
    /* What a credential that was refused says counts for nothing. */
    bool known = caller->credential.kind != CREDENTIAL_NONE && code != ERR_UNAUTHENTICATED;
    bool on_behalf = known && caller->owner_id[0] != '\0';

    return (struct audited){
        .method = e->match.method,
        .user_id = str_from(!known      ? ""
                            : on_behalf ? caller->owner_id
                                        : who->user_id),
        .actor_id = str_from(on_behalf ? who->user_id : ""),
        .session_id = str_from(known ? who->session_id : ""),
        .by_key = caller->credential.kind == CREDENTIAL_KEY ||
                  caller->credential.kind == CREDENTIAL_SIGNATURE,
        .client_ip = http_exchange_peer(e->x),
        .user_agent = http_header_get(e->http, "User-Agent"),
        .request_id = str_from(e->request_id),
        .traceparent = str_from(e->traceparent),
        .code = code,
    };
}

/* Who has no credential at all is no more than somebody who is not logged in, and what is refused
 * to a log-in identity records. */
static bool is_audited_refusal(const struct exchange *e, enum code code)
{
    return e->match.method != NULL && e->match.method->permission != API_PUBLIC &&
           (code == ERR_FORBIDDEN ||
            (code == ERR_UNAUTHENTICATED && e->caller.credential.kind != CREDENTIAL_NONE));
}

/* A refusal stands, recorded or not. */
static void on_refusal_recorded(void *ctx, enum code code)
{
    struct exchange *e = ctx;

    (void)code; /* audit.c counts and logs it */
    assert(e->held != NULL);
    exchange_finish(e, e->held, e->held_code);
}

void exchange_fail(struct exchange *e,
                   enum code code,
                   const struct api_reason *reason,
                   const char *detail,
                   uint32_t retry_after_s)
{
    struct http_response *response = arena_calloc(e->arena, 1, sizeof *response);
    struct http_response last = {.status = 500};
    bool unknown = code == ERR_TIMEOUT && e->match.method != NULL && !exchange_is_repeatable(e);
    struct problem problem = {
        .code = code,
        .wire = reason == NULL ? NULL : reason->wire,
        .title = reason == NULL ? NULL : reason->text,
        .detail = unknown ? OUTCOME_UNKNOWN_TEXT : detail,
        .once = unknown,
        .instance = e->http->path,
        .request_id = str_from(e->request_id),
        .retry_after_s = retry_after_s == 0 && code_retryable(code) ? 1 : retry_after_s,
        .violations = e->violations,
    };

    assert(code != OK);
    if (response == NULL || problem_write(&problem, e->arena, response) != OK) {
        response = &last;
        response->close = true;
    }
    if (code == ERR_METHOD) {
        http_response_add(response, "Allow", str_from(e->match.allow));
    } else if (code == ERR_MEDIA_TYPE) {
        http_response_add(response, "Accept-Encoding", STR("identity")); /* RFC 9110, 12.5.3 */
    } else if (code == ERR_UNAUTHENTICATED) {
        http_response_add(response, "WWW-Authenticate", STR("Bearer"));
        metric_add(e->worker->gateway->metrics, GATEWAY_METRIC_UNAUTHENTICATED, 0, 1);
    }
    if (response != &last && is_audited_refusal(e, code)) {
        const struct audited what = audited_of(e, code);

        e->held = response;
        e->held_code = code;
        if (audit_refusal(e->worker->audit, &what, on_refusal_recorded, e)) {
            return;
        }
    }
    exchange_finish(e, response, code);
}

void exchange_fail_err(struct exchange *e, enum code code, const struct err *err)
{
    /* Only what a client did wrong is told to it; our own trouble stays in the log. */
    bool tell = code_http(code) < 500 && code != ERR_UNAUTHENTICATED && err->text[0] != '\0';

    if (!tell && err->text[0] != '\0') {
        log_event(LOG_DEBUG,
                  "request_refused",
                  LOG_S("code", code_wire(code)),
                  LOG_S("why", err->text),
                  LOG_S("request_id", e->request_id));
    }
    exchange_fail(e, code, NULL, tell ? err->text : NULL, 0);
}

/* A file: the bytes as they are. */
static bool
body_is_file(const ProtobufCMessage *out, const struct api_method *method, struct str *body)
{
    const ProtobufCFieldDescriptor *field = NULL;
    const ProtobufCBinaryData *bytes = NULL;

    if (method->media_type == NULL || method->body_field < 0) {
        return false;
    }
    field = &method->out->descriptor->fields[method->body_field];
    if (field->type != PROTOBUF_C_TYPE_BYTES) {
        return false;
    }
    bytes = (const ProtobufCBinaryData *)(const void *)((const char *)out + field->offset);
    *body = (struct str){(const char *)bytes->data, bytes->len};
    return true;
}

/* Nobody is shown what leaves no trace. */
static void on_read_recorded(void *ctx, enum code code)
{
    struct exchange *e = ctx;

    assert(e->held != NULL);
    if (code == OK) {
        exchange_finish(e, e->held, OK);
    } else {
        exchange_fail(e, ERR_UNAVAILABLE, NULL, "The audit log cannot be reached", 0);
    }
}

void exchange_answer(struct exchange *e, const ProtobufCMessage *out, uint16_t status)
{
    const struct api_method *method = e->match.method;
    struct http_response *response = arena_calloc(e->arena, 1, sizeof *response);
    struct err err = {.code = OK};
    enum code code = OK;

    if (response == NULL) {
        exchange_fail(e, ERR_TOO_LARGE, NULL, NULL, 0);
        return;
    }
    response->status = status;
    response->content_type = method->media_type == NULL ? STR("application/json; charset=utf-8")
                                                        : str_from(method->media_type);
    if (!body_is_file(out, method, &response->body)) {
        code = transcode_to_json(out,
                                 method->out,
                                 method->body_field,
                                 e->arena,
                                 RESPONSE_BYTES_MAX,
                                 &response->body,
                                 &err);
    }
    if (code == OK) {
        code = bind_cookies(out,
                            method->out,
                            e->from.secure || e->worker->gateway->config.secure_cookies,
                            e->arena,
                            response);
    }
    if (code != OK) {
        exchange_fail_err(e, ERR_INTERNAL, &err);
        return;
    }
    bind_reply_headers(out, method->out, response);
    if (!audit_wants_read(method)) {
        exchange_finish(e, response, OK);
        return;
    }
    const struct audited what = audited_of(e, OK);

    e->held = response;
    if (!audit_record(e->worker->audit, &what, on_read_recorded, e)) {
        on_read_recorded(e, ERR_UNAVAILABLE);
    }
}
