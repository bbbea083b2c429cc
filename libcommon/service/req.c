#include "libcommon/service/req.h"

#include "libcommon/codec/transcode.h"
#include "libcommon/service/idempotency.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* --- input, output, identity ------------------------------------------------------- */

const void *req_in(const struct req *r)
{
    assert(r != NULL);
    assert(r->in != NULL);
    return r->in;
}

void *req_out(struct req *r)
{
    assert(r != NULL);
    assert(r->out != NULL);
    return r->out;
}

struct arena *req_arena(struct req *r)
{
    assert(r != NULL);
    return r->arena;
}

const Avanta__Principal *req_principal(const struct req *r)
{
    assert(r != NULL);
    assert(r->envelope != NULL);
    return r->envelope->principal;
}

const char *req_user_id(const struct req *r)
{
    const Avanta__Principal *principal = req_principal(r);

    assert(principal != NULL);
    assert(principal->user_id != NULL);
    return principal->user_id;
}

const char *req_client_ip(const struct req *r)
{
    assert(r != NULL);
    assert(r->envelope != NULL);
    return r->envelope->client_ip;
}

const char *req_user_agent(const struct req *r)
{
    assert(r != NULL);
    assert(r->envelope != NULL);
    return r->envelope->user_agent;
}

const char *req_id(const struct req *r)
{
    assert(r != NULL);
    assert(r->envelope != NULL);
    return r->envelope->request_id;
}

const char *req_method(const struct req *r)
{
    assert(r != NULL);
    assert(r->endpoint != NULL);
    return r->endpoint->method == NULL ? NULL : r->endpoint->method->full_name;
}

uint64_t req_now_ms(const struct req *r)
{
    assert(r->context.now_ms > 0);
    return r->context.now_ms;
}

struct date req_today(const struct req *r)
{
    return date_in_mexico_city(req_now_ms(r));
}

void *req_state(struct req *r, size_t bytes)
{
    assert(bytes > 0);
    assert(bytes <= REQ_STATE_BYTES_MAX);
    if (r->state == NULL) {
        r->state = arena_calloc(r->arena, 1, bytes);
        r->state_bytes = bytes;
    }
    if (r->state == NULL) {
        /* Steps need not check: the error ends the request after this one. */
        req_set_error(r, ERR_TOO_LARGE, NULL);
        memset(r->runner->state_spill, 0, bytes);
        return r->runner->state_spill;
    }
    assert(r->state_bytes == bytes);
    return r->state;
}

void *req_service(const struct req *r)
{
    assert(r != NULL);
    return r->runner->options.service_state;
}

/* --- a new run ------------------------------------------------------------------------ */

bool req_reset(struct req *r)
{
    const ProtobufCMessageDescriptor *out = r->endpoint->out;

    r->code = OK;
    r->reason = AVANTA__REASON__NONE;
    r->detail = NULL;
    r->violations = NULL;
    r->replay = NULL;
    r->cause = (struct err){0};
    r->step = r->step_first;
    r->retry_after_s = 0;
    r->statements = 0;
    r->effect = EFFECT_NONE;
    r->shared = NULL;
    r->result = NULL;
    r->row_first = 0;
    r->row_count = 0;
    r->affected = 0;
    r->wrote = false;
    r->keeps = false;
    r->afterwards = false;
    r->emissions = NULL;
    r->emission_last = NULL;
    r->emission_count = 0;
    r->recorded = false;
    r->severity = "low";
    r->publish_count = 0;
    if (r->state != NULL && r->state_first != NULL) {
        memcpy(r->state, r->state_first, r->state_bytes);
    } else if (r->state != NULL) {
        memset(r->state, 0, r->state_bytes);
    }
    r->idempotency = r->key == NULL ? IDEMPOTENCY_NONE : IDEMPOTENCY_DUE;
    r->out = out == NULL ? NULL : transcode_new(out, r->arena);
    if (out != NULL && r->out == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return false;
    }
    return true;
}

/* --- database ----------------------------------------------------------------------------- */

static enum step query(struct req *r, uint16_t index, const ProtobufCMessage *in)
{
    const struct database *db = r->runner->database;
    struct statement statement = {TABLE_SERVICE, index};
    const struct pg_query *row = db->describe(db->ctx, statement);

    assert(r->effect == EFFECT_NONE); /* one effect per step */
    assert(r->outside || r->endpoint->op->tx != TX_ADD || !r->runner->query_locks[index]);
    if (row->in != NULL) {
        assert(in != NULL);
        assert(in->descriptor == row->in);
    }
    r->effect = EFFECT_STATEMENT;
    r->statement = statement;
    r->statement_in = row->in == NULL ? NULL : in;
    return STEP_WAIT;
}

enum step req_query(struct req *r, uint16_t query_index)
{
    return query(r, query_index, r->in);
}

enum step req_query_from(struct req *r, uint16_t query_index, const ProtobufCMessage *in)
{
    assert(in != NULL);
    return query(r, query_index, in);
}

size_t req_rows(const struct req *r)
{
    assert(r != NULL);
    return r->result == NULL ? 0 : r->row_count;
}

bool req_row(struct req *r, size_t row, ProtobufCMessage *out)
{
    const struct database *db = r->runner->database;
    struct row_call call = {r->statement, r->result, r->row_first + row, r->arena};
    struct err err = {0};

    assert(row < req_rows(r));
    assert(out != NULL);
    if (db->row(db->ctx, &call, out, &err) != OK) {
        req_set_error(r, err.code, &err);
        return false;
    }
    return true;
}

ProtobufCMessage *req_row_new(struct req *r, size_t row)
{
    const struct database *db = r->runner->database;
    const struct pg_query *statement = db->describe(db->ctx, r->statement);
    ProtobufCMessage *message = NULL;

    assert(statement->out != NULL);
    assert(r->result != NULL);
    message = transcode_new(statement->out, r->arena);
    if (message == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return NULL;
    }
    return req_row(r, row, message) ? message : NULL;
}

bool req_rows_all(struct req *r, size_t *out_count, ProtobufCMessage ***out)
{
    size_t count = req_rows(r);
    ProtobufCMessage **messages = arena_calloc(r->arena, count, sizeof(void *));

    assert(out_count != NULL);
    assert(out != NULL);
    if (messages == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        messages[i] = req_row_new(r, i);
        if (messages[i] == NULL) {
            return false;
        }
    }
    *out_count = count;
    *out = messages;
    return true;
}

enum step req_transaction(struct req *r)
{
    void *kept = NULL;

    assert(r->step > 0);
    assert(r->group == NULL);
    assert(op_writes(r->endpoint->op));
    assert(r->outside);
    assert(r->emissions == NULL);
    if (r->state != NULL) {
        kept = arena_alloc(r->arena, r->state_bytes);
        if (kept == NULL) {
            req_set_error(r, ERR_TOO_LARGE, NULL);
            return STEP_FAIL;
        }
        memcpy(kept, r->state, r->state_bytes);
    }
    r->state_first = kept;
    r->step_first = r->step;
    r->outside = false;
    r->statements = 0;
    r->wrote = false;
    r->result = NULL;
    return STEP_NEXT;
}

void req_changed_nothing(struct req *r)
{
    assert(r->code == OK);      /* it is said before the refusal */
    assert(r->statements == 1); /* what earlier ones did is not known any more */
    r->wrote = false;
}

enum step req_reply_row(struct req *r)
{
    if (req_rows(r) == 0) {
        req_set_error(r, ERR_NOT_FOUND, NULL);
        return STEP_FAIL;
    }
    return req_row(r, 0, req_out(r)) ? STEP_DONE : STEP_FAIL;
}

enum step req_reply_rows(struct req *r, const char *field)
{
    assert(field != NULL);

    ProtobufCMessage *out = req_out(r);
    const ProtobufCFieldDescriptor *row =
        protobuf_c_message_descriptor_get_field_by_name(out->descriptor, field);
    char *base = (char *)out;

    assert(row != NULL);
    assert(row->label == PROTOBUF_C_LABEL_REPEATED);
    assert(row->type == PROTOBUF_C_TYPE_MESSAGE);
    if (!req_rows_all(r,
                      (size_t *)(void *)(base + row->quantifier_offset),
                      (ProtobufCMessage ***)(void *)(base + row->offset))) {
        return STEP_FAIL;
    }
    return STEP_DONE;
}

/* --- refusals and errors ------------------------------------------------------------------ */

void req_set_error(struct req *r, enum code code, const struct err *cause)
{
    assert(code > OK);
    assert(code < CODE_COUNT);
    if (r->code != OK) {
        return; /* the first cause wins */
    }
    r->code = code;
    if (cause != NULL) {
        r->cause = *cause;
    }
}

enum step req_refuse(struct req *r, enum _Avanta__Reason reason)
{
    assert(reason != AVANTA__REASON__NONE);
    if (r->code == OK) {
        r->reason = reason;
        req_set_error(r, r->runner->options.reasons[reason].code, NULL);
    }
    return STEP_FAIL;
}

enum step req_refuse_keeping(struct req *r, enum _Avanta__Reason reason)
{
    assert(op_writes(r->endpoint->op));
    assert(r->code == OK);
    r->keeps = true;
    return req_refuse(r, reason);
}

enum step req_refuse_keeping_saying(struct req *r, enum _Avanta__Reason reason, const char *text)
{
    assert(text != NULL);
    assert(r->code == OK);
    r->detail = arena_strdup(r->arena, str_from(text)); /* NULL: the reason's text is given */
    return req_refuse_keeping(r, reason);
}

enum step req_refuse_saying(struct req *r, enum _Avanta__Reason reason, const char *text)
{
    assert(text != NULL);
    if (r->code == OK) {
        r->detail = arena_strdup(r->arena, str_from(text)); /* NULL: the reason's text is given */
    }
    return req_refuse(r, reason);
}

enum step req_fail(struct req *r, enum code code, const char *fmt, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list args;

    assert(fmt != NULL);
    assert(code != OK);
    if (r->code == OK) {
        va_start(args, fmt);
        (void)vsnprintf(text, sizeof text, fmt, args);
        va_end(args);
        r->detail = arena_strdup(r->arena, str_from(text)); /* NULL: the code's title is given */
        req_set_error(r, code, NULL);
    }
    return STEP_FAIL;
}

void req_retry_after(struct req *r, uint32_t seconds)
{
    assert(r != NULL);
    r->retry_after_s = seconds;
}

enum step req_violation(
    struct req *r, enum code code, const char *field, const char *rule, const char *fmt, ...)
{
    char text[ERR_TEXT_BYTES];
    va_list args;

    assert(code == ERR_INVALID || code == ERR_REFERENCE || code == ERR_CONFLICT);
    assert(field != NULL);
    assert(rule != NULL);
    assert(fmt != NULL);
    if (r->violations == NULL) {
        r->violations = arena_alloc(r->arena, sizeof *r->violations);
        if (r->violations == NULL) {
            req_set_error(r, ERR_TOO_LARGE, NULL);
            return STEP_FAIL;
        }
        violations_init(r->violations, r->arena);
    }
    va_start(args, fmt);
    (void)vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    violations_add(r->violations, field, rule, "%s", text);
    req_set_error(r, code, NULL);
    return STEP_FAIL;
}

/* --- messages ------------------------------------------------------------------------------- */

void req_publish(struct req *r, const char *subject, struct str payload)
{
    char *subject_copy = arena_strdup(r->arena, str_from(subject));
    char *payload_copy = arena_strdup(r->arena, payload);

    assert(subject != NULL);
    assert(r->publish_count < REQ_PUBLISHES_MAX);
    if (subject_copy == NULL || payload_copy == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    r->publishes[r->publish_count].subject = subject_copy;
    r->publishes[r->publish_count].payload = (struct str){payload_copy, payload.len};
    r->publish_count++;
}
