/* Append what the AUDIT stream brings; list the caller's own records. */
#include "services/audit-log/audit.h"

#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log.pb-c.h"
#include "services/audit-log/clean.h"

#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

static enum step append_insert(struct req *r)
{
    const Avanta__AuditRecord *record = req_in(r);
    Avanta__AuditLog__AuditRow *row = arena_alloc(req_arena(r), sizeof *row);

    if (row == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the record needs too much memory");
    }
    avanta__audit_log__audit_row__init(row);
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
    if (!audit_clean(row, req_arena(r))) {
        return req_fail(r, ERR_OVERLOADED, "the record needs too much memory");
    }
    assert(row->owner != NULL);
    assert(row->severity != NULL);
    assert(row->occurred_ms <= AUDIT_TIME_MS_MAX);
    return req_query_from(r, Q_AUDIT_INSERT, &row->base);
}

static enum step append_done(struct req *r)
{
    (void)r;
    return STEP_DONE;
}

const struct op op_audit_log_append = {
    TX_ADD, {append_insert, append_done}
};

/* The variant of the list statement for the order asked for; variants stand in pairs: falling,
 * rising. */
static uint16_t list_variant(const Avanta__AuditLog__ListAuditLogRequest *in)
{
    uint16_t base = Q_AUDIT_LIST_TIME_DESC;

    assert(in->sort_by != NULL);
    assert(in->sort_order != NULL);
    if (strcmp(in->sort_by, "action_type") == 0) {
        base = Q_AUDIT_LIST_ACTION_DESC;
    } else if (strcmp(in->sort_by, "severity") == 0) {
        base = Q_AUDIT_LIST_SEVERITY_DESC;
    }
    return (uint16_t)(base + (strcmp(in->sort_order, "asc") == 0));
}

static enum step list_select(struct req *r)
{
    return req_query(r, list_variant(req_in(r)));
}

static enum step list_total(struct req *r)
{
    Avanta__AuditLog__ListAuditLogReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_logs, &rows)) {
        return STEP_FAIL;
    }
    out->logs = (Avanta__AuditLog__AuditEntry **)(void *)rows;
    return req_query(r, Q_AUDIT_TOTAL);
}

static enum step list_reply(struct req *r)
{
    const Avanta__AuditLog__ListAuditLogRequest *in = req_in(r);
    Avanta__AuditLog__ListAuditLogReply *out = req_out(r);
    Avanta__AuditLog__AuditTotal total = AVANTA__AUDIT_LOG__AUDIT_TOTAL__INIT;

    assert(req_rows(r) == 1);
    assert(out->n_logs <= in->limit);
    if (!req_row(r, 0, &total.base)) {
        return STEP_FAIL;
    }
    assert(total.total >= 0);
    out->has_total = true;
    out->total = total.total;
    out->has_limit = true;
    out->limit = in->limit;
    out->has_offset = true;
    out->offset = in->has_page ? (in->page - 1) * in->limit : in->offset;
    return STEP_DONE;
}

const struct op op_audit_log_list_audit_log = {
    TX_READ, {list_select, list_total, list_reply}
};
