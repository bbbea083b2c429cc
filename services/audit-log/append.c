/* Stores what the AUDIT stream brings, and what clients note themselves. */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/clean.h"
#include "services/audit-log/leaf.h"

#include "libcommon/base/id.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

/* The row as the table takes it, with its leaf. */
static enum step row_insert(struct req *r, Avanta__AuditLog__AuditRow *row)
{
    struct arena *arena = req_arena(r);
    struct merkle_hash *hash = arena_alloc(arena, sizeof *hash);

    if (hash == NULL || !audit_clean(row, arena) || !leaf_hash(row, arena, hash)) {
        return req_fail(r, ERR_OVERLOADED, "the record needs too much memory");
    }
    assert(row->owner != NULL);
    assert(row->severity != NULL);
    assert(row->occurred_ms <= AUDIT_TIME_MS_MAX);
    row->has_leaf_hash = true;
    row->leaf_hash = (ProtobufCBinaryData){sizeof hash->bytes, hash->bytes};
    return req_query_from(r, Q_AUDIT_APPEND, &row->base);
}

static Avanta__AuditLog__AuditRow *row_new(struct req *r)
{
    Avanta__AuditLog__AuditRow *row = arena_alloc(req_arena(r), sizeof *row);

    if (row != NULL) {
        avanta__audit_log__audit_row__init(row);
    }
    return row;
}

static enum step append_insert(struct req *r)
{
    const Avanta__AuditRecord *record = req_in(r);
    Avanta__AuditLog__AuditRow *row = row_new(r);

    if (row == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the record needs too much memory");
    }
    row->owner = record->user_id;
    row->actor = record->actor_id;
    row->action_type = record->action_type;
    row->entity_type = record->entity_type;
    row->entity_id = record->entity_id;
    row->details = record->details;
    row->ip_address = record->ip_address;
    row->agent = record->user_agent;
    row->session = record->session_id;
    row->has_occurred_ms = true;
    row->occurred_ms = record->occurred_ms;
    row->severity = record->severity;
    row->status = record->status;
    row->request = record->request_id;
    row->service = record->service;
    row->method = record->method;
    row->trace = record->trace_id;
    row->credential = record->credential;
    row->before = record->before;
    row->record = transcode_constant(req_id(r));
    return row_insert(r, row);
}

static enum step append_done(struct req *r)
{
    (void)r;
    return STEP_DONE;
}

const struct op op_audit_log_append = {
    TX_ADD, {append_insert, append_done}
};

/* --- what clients note themselves ---------------------------------------------------------- */

#define NOTE_ID_BYTES 48

struct client_note {
    char id[NOTE_ID_BYTES];
    Avanta__AuditLog__AuditRow row;
};

/* A row of the caller's own; who, when and from where is what the credential and the connection
 * say. It is told from what services record by its service. */
static struct client_note *note_new(struct req *r)
{
    struct client_note *note = req_state(r, sizeof *note);
    const Avanta__Principal *principal = req_principal(r);
    char uuid[UUID_TEXT_BYTES];
    struct buf id = buf_over(note->id, sizeof note->id);

    assert(principal != NULL);
    uuid_v7(uuid);
    id.len = 0;
    buf_printf(&id, "client-%s", uuid);
    assert(!id.overflow);
    avanta__audit_log__audit_row__init(&note->row);
    note->row.record = note->id;
    note->row.owner = principal->user_id;
    note->row.actor = principal->actor_id;
    note->row.session = principal->session_id;
    note->row.credential = transcode_constant(principal->by_key ? "api-key" : "session");
    note->row.ip_address = transcode_constant(req_client_ip(r));
    note->row.agent = transcode_constant(req_user_agent(r));
    note->row.request = transcode_constant(req_id(r));
    note->row.has_occurred_ms = true;
    note->row.occurred_ms = req_now_ms(r);
    note->row.service = transcode_constant("client");
    note->row.method = transcode_constant(req_method(r));
    note->row.trace = req_trace_id(r);
    req_recorded(r); /* this row is the record */
    return note;
}

static enum step note_select(struct req *r)
{
    struct client_note *note = req_state(r, sizeof *note);

    return req_query_from(r, Q_AUDIT_APPENDED, &note->row.base);
}

static enum step entry_insert(struct req *r)
{
    const Avanta__AuditLog__CreateAuditEntryRequest *in = req_in(r);
    struct client_note *note = note_new(r);

    note->row.action_type = in->action_type;
    note->row.entity_type = in->entity_type == NULL ? transcode_constant("other") : in->entity_type;
    note->row.entity_id = in->entity_id;
    note->row.details = in->action_details;
    note->row.severity = in->severity;
    note->row.status = in->status;
    return row_insert(r, &note->row);
}

const struct op op_audit_log_create_audit_entry = {
    TX_ADD, {entry_insert, note_select, req_reply_row}
};

/* The record's details are what was given: the new values, else what it says of itself. */
static enum step trail_insert(struct req *r)
{
    static const char *const levels[][2] = {
        {"normal",   "low"   },
        {"elevated", "medium"},
        {"critical", "high"  }
    };
    const Avanta__AuditLog__CreateAuditTrailEntryRequest *in = req_in(r);
    struct client_note *note = note_new(r);

    note->row.action_type = in->action_type;
    note->row.entity_type = in->entity_type;
    note->row.entity_id = in->entity_id;
    note->row.before = in->old_values;
    note->row.details = in->new_values == NULL ? in->action_details : in->new_values;
    note->row.status = transcode_constant("success");
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        if (strcmp(in->security_level, levels[i][0]) == 0) {
            note->row.severity = transcode_constant(levels[i][1]);
        }
    }
    assert(note->row.severity != NULL);
    return row_insert(r, &note->row);
}

static enum step trail_reply(struct req *r)
{
    Avanta__AuditLog__CreateAuditTrailEntryReply *out = req_out(r);
    Avanta__AuditLog__AuditEntry row = AVANTA__AUDIT_LOG__AUDIT_ENTRY__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    out->has_success = true;
    out->success = true;
    out->has_id = true;
    out->id = row.leaf_index;
    out->message = transcode_constant("The entry was noted");
    return STEP_DONE;
}

const struct op op_audit_log_create_audit_trail_entry = {
    TX_ADD, {trail_insert, note_select, trail_reply}
};
