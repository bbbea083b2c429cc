/* Events and audit records of a request: built when emitted, written with the commit. */
#include "libcommon/codec/transcode.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <string.h>

#define DETAILS_BYTES_MAX 65536 /* of the JSON in one audit record, before and after */
#define BEFORE_FIELD      "before"
#define VERB_BYTES_MAX    32
#define TRACE_ID_AT       3 /* in a traceparent, behind its version */
#define TRACE_ID_DIGITS   32

static const struct api_event *event_row(const struct runner *runner,
                                         const ProtobufCMessageDescriptor *descriptor)
{
    assert(descriptor != NULL);
    for (size_t i = 0; i < runner->options.event_count; i++) {
        if (runner->options.events[i].descriptor == descriptor) {
            return &runner->options.events[i];
        }
    }
    return NULL;
}

static void emission_add(struct req *r, const struct emission *emission)
{
    struct emission *kept = arena_alloc(r->arena, sizeof *kept);

    assert((r->emissions == NULL) == (r->emission_last == NULL));
    assert(emission != NULL);
    if (kept == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    *kept = *emission;
    kept->next = NULL;
    if (r->emission_last == NULL) {
        r->emissions = kept;
    } else {
        r->emission_last->next = kept;
    }
    r->emission_last = kept;
}

static char *copy(struct req *r, const char *text)
{
    return text == NULL ? NULL : arena_strdup(r->arena, str_from(text));
}

char *req_trace_id(struct req *r)
{
    struct str parent = str_from(r->envelope->traceparent);

    assert(r->arena != NULL);
    if (parent.len < TRACE_ID_AT + TRACE_ID_DIGITS) {
        return NULL;
    }
    return arena_strdup(r->arena, str_sub(parent, TRACE_ID_AT, TRACE_ID_AT + TRACE_ID_DIGITS));
}

/* What every audit record of the request says; NULL when the arena is full. */
static Avanta__AuditRecord *record_new(struct req *r, const char *user_id, const char *entity_id)
{
    Avanta__AuditRecord *record = arena_alloc(r->arena, sizeof *record);
    const Avanta__Request *envelope = r->envelope;

    assert(envelope != NULL);
    if (record == NULL) {
        return NULL;
    }
    avanta__audit_record__init(record);
    record->user_id = copy(r, user_id == NULL ? "" : user_id);
    record->entity_id = copy(r, entity_id);
    if (record->user_id == NULL || (entity_id != NULL && record->entity_id == NULL)) {
        return NULL;
    }
    if (envelope->principal != NULL) {
        record->actor_id = proto_text(r->context.actor_id);
        record->session_id = envelope->principal->session_id;
        record->credential = proto_text(envelope->principal->by_key ? "api-key" : "session");
    }
    record->method = r->endpoint->method == NULL ? NULL : envelope->method;
    record->trace_id = req_trace_id(r);
    record->ip_address = envelope->client_ip;
    record->user_agent = envelope->user_agent;
    record->request_id = envelope->request_id;
    record->occurred_ms = req_now_ms(r);
    return record;
}

/* What is kept goes into the request's arena, the rest into `scratch`: a request may emit
 * thousands. */
static bool event_pack(struct req *r,
                       const struct api_event *row,
                       const Avanta__AuditRecord *audit,
                       const ProtobufCMessage *event,
                       struct arena *scratch,
                       struct str *out)
{
    Avanta__EventRecord record = AVANTA__EVENT_RECORD__INIT;
    uint8_t *body = arena_alloc(scratch, protobuf_c_message_get_packed_size(event));
    uint8_t *packed = NULL;

    assert(row->subject != NULL);
    assert(audit->user_id != NULL);
    assert(out != NULL);
    if (body == NULL) {
        return false;
    }
    record.body.len = protobuf_c_message_pack(event, body);
    record.body.data = body;
    record.subject = proto_text(row->subject);
    record.user_id = audit->user_id;
    record.occurred_ms = audit->occurred_ms;
    record.request_id = audit->request_id;
    record.traceparent = r->envelope->traceparent;
    packed = arena_alloc(r->arena, avanta__event_record__get_packed_size(&record));
    if (packed == NULL) {
        return false;
    }
    *out = (struct str){(const char *)packed, avanta__event_record__pack(&record, packed)};
    return true;
}

/* Where a message keeps the pointer to its message field. */
static ProtobufCMessage **member_at(ProtobufCMessage *message,
                                    const ProtobufCFieldDescriptor *field)
{
    assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
    assert(field->label == PROTOBUF_C_LABEL_OPTIONAL);
    return (ProtobufCMessage **)(void *)((char *)message + field->offset);
}

/* Texts of one record on their way into the request's arena. */
struct keeping {
    struct req *r;
    struct arena *scratch;
    size_t room; /* for more of them */
    struct err err;
};

static enum code text_keep(struct keeping *k,
                           const ProtobufCMessage *message,
                           const struct message_rules *rules,
                           char **out)
{
    struct str text = STR_EMPTY;
    enum code code = transcode_to_record(message, rules, k->scratch, k->room, &text, &k->err);

    if (code != OK) {
        return code;
    }
    assert(text.len <= k->room);
    k->room -= text.len;
    *out = arena_strdup(k->r->arena, text);
    return *out == NULL ? ERR_TOO_LARGE : OK;
}

/* What the event says was before, and the rest of it beside that. */
static enum code texts_keep(struct keeping *k,
                            const struct api_event *row,
                            const ProtobufCMessage *event,
                            Avanta__AuditRecord *record)
{
    const ProtobufCMessageDescriptor *type = event->descriptor;
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(type, BEFORE_FIELD);
    ProtobufCMessage *rest = NULL;
    ProtobufCMessage **before = NULL;
    enum code code = OK;

    if (field == NULL) {
        return text_keep(k, event, row->rules, &record->details);
    }
    rest = arena_alloc(k->scratch, type->sizeof_message);
    if (rest == NULL) {
        return ERR_TOO_LARGE;
    }
    memcpy(rest, event, type->sizeof_message);
    before = member_at(rest, field);
    if (*before != NULL) {
        const struct field_rule *rule = &row->rules->fields[field - type->fields];

        assert(rule->message != NULL);
        code = text_keep(k, *before, rule->message, &record->before);
        *before = NULL;
    }
    return code == OK ? text_keep(k, rest, row->rules, &record->details) : code;
}

/* Fills what an event adds to its audit record, and packs it. */
static enum code event_keep(struct req *r,
                            const struct api_event *row,
                            const ProtobufCMessage *event,
                            Avanta__AuditRecord *record,
                            struct str *out)
{
    struct keeping k = {
        .r = r,
        .scratch = arena_open(r->runner->options.arenas, REQ_ARENA_BYTES_MAX),
        .room = DETAILS_BYTES_MAX,
    };
    enum code code = ERR_TOO_LARGE;

    assert(record->details == NULL);
    assert(record->user_id != NULL);
    assert(out != NULL);
    if (k.scratch != NULL && event_pack(r, row, record, event, k.scratch, out)) {
        code = texts_keep(&k, row, event, record);
    }
    arena_dispose(&k.scratch);
    if (code != OK) {
        req_set_error(r, code, k.err.code == OK ? NULL : &k.err);
    }
    return code;
}

void req_emit_for(struct req *r,
                  const char *user_id,
                  const ProtobufCMessage *event,
                  const char *entity_id)
{
    const struct api_event *row = event_row(r->runner, event->descriptor);
    const char *owner = user_id == NULL ? req_user_id(r) : user_id;
    struct str body = STR_EMPTY;
    Avanta__AuditRecord *record = NULL;

    assert(row != NULL); /* the message carries the event option */
    assert(op_writes(r->endpoint->op));
    assert(r->emission_count < REQ_EVENTS_MAX);
    r->emission_count++;
    record = record_new(r, owner, entity_id);
    if (record == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    if (event_keep(r, row, event, record, &body) != OK) {
        return;
    }
    record->action_type = proto_text(row->action);
    record->entity_type = proto_text(row->entity);
    record->status = proto_text("success");
    emission_add(r,
                 &(struct emission){.kind = EMISSION_EVENT, .subject = row->subject, .body = body});
    if (row->alert != NULL) {
        emission_add(
            r, &(struct emission){.kind = EMISSION_EVENT, .subject = row->alert, .body = body});
    }
    if (!row->unaudited) {
        emission_add(r, &(struct emission){.kind = EMISSION_AUDIT, .record = record});
        r->recorded = true;
    }
}

void req_emit(struct req *r, const ProtobufCMessage *event, const char *entity_id)
{
    req_emit_for(r, NULL, event, entity_id);
}

void req_recorded(struct req *r)
{
    assert(r != NULL);
    assert(op_writes(r->endpoint->op));
    r->recorded = true;
}

/* "CreateAccount": create. */
static char *verb_of(struct req *r, const char *name)
{
    char memory[VERB_BYTES_MAX];
    struct buf verb = buf_over(memory, sizeof memory);

    assert(name != NULL);
    assert(name[0] >= 'A' && name[0] <= 'Z');
    buf_char(&verb, (char)(name[0] - 'A' + 'a'));
    for (const char *c = name + 1; *c >= 'a' && *c <= 'z'; c++) {
        buf_char(&verb, *c);
    }
    return verb.overflow ? NULL : arena_strdup(r->arena, buf_view(&verb));
}

void req_record_rest(struct req *r)
{
    const struct api_method *method = r->endpoint->method;
    Avanta__AuditRecord *record = NULL;

    assert(r->code == OK);
    if (r->recorded || r->outside || method == NULL || !method->writes) {
        return;
    }
    assert(op_writes(r->endpoint->op));
    record = record_new(r, r->context.user_id, NULL);
    if (record != NULL) {
        record->action_type = verb_of(r, method->name);
        record->details = arena_strdup(r->arena, STR("{}"));
    }
    if (record == NULL || record->action_type == NULL || record->details == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    record->entity_type = proto_text(method->service);
    record->status = proto_text("success");
    r->recorded = true;
    emission_add(r, &(struct emission){.kind = EMISSION_AUDIT, .record = record});
}

void req_audit_severity(struct req *r, const char *severity)
{
    assert(severity != NULL);
    assert(r != NULL);
    r->severity = severity;
}

void req_audit_failure(struct req *r,
                       const char *user_id,
                       const char *action,
                       const char *entity,
                       const char *entity_id)
{
    Avanta__AuditRecord *record = record_new(r, user_id, entity_id);

    assert(action != NULL);
    assert(entity != NULL);
    if (record == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    record->action_type = copy(r, action);
    record->entity_type = copy(r, entity);
    record->status = proto_text("failed");
    if (record->action_type == NULL || record->entity_type == NULL) {
        req_set_error(r, ERR_TOO_LARGE, NULL);
        return;
    }
    emission_add(r, &(struct emission){.kind = EMISSION_FAILURE, .record = record});
}
