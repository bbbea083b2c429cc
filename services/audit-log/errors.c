/* The error log's operations: taking reports, and showing what is kept to administrators. */
#include "services/audit-log/errors.h"

#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/error_report.h"

#include "libcommon/codec/transcode.h"

#include <assert.h>

#define STATS_RECENT 10

/* --- taking ------------------------------------------------------------------------------------
 */

/* A browser that goes too fast is told so; that all of them together do is none of its business. */
static enum step report_take(struct req *r)
{
    const struct audit *self = req_service(r);
    const Avanta__Principal *principal = req_principal(r);
    Avanta__AuditLog__ReportErrorReply *out = req_out(r);
    const struct error_client client = {.client_ip = req_client_ip(r),
                                        .agent = req_user_agent(r),
                                        .user_id = principal == NULL ? NULL : principal->user_id,
                                        .request_id = req_id(r),
                                        .now_ms = req_now_ms(r)};
    struct error_report report;
    uint64_t wait_ms = 0;
    enum error_verdict verdict = error_intake_admit(
        self->errors, ERROR_FRONTEND, str_from(client.client_ip), clock_mono_us(), &wait_ms);
    enum error_read read = ERROR_READ;

    if (verdict == ERROR_TOO_MANY_OF_ADDRESS) {
        req_retry_after(r, (uint32_t)((wait_ms + 999) / 1000));
        return req_fail(r, ERR_RATE_LIMITED, "Too many errors are reported from this address");
    }
    if (verdict == ERROR_ADMITTED) {
        read = error_report_read(req_in(r), &client, req_arena(r), &report);
        if (read == ERROR_NO_MESSAGE) {
            return req_violation(
                r, ERR_INVALID, "message", "required", "is required, here or as error.message");
        }
    }
    out->has_success = true;
    out->success = true;
    if (verdict == ERROR_ADMITTED && read == ERROR_READ &&
        error_intake_add(self->errors, &report)) {
        out->error_id = arena_strdup(req_arena(r), str_from(report.id));
        out->message = transcode_constant("The error was noted");
    } else {
        out->message = transcode_constant("Too many errors come in: this one was not kept");
    }
    return STEP_DONE;
}

const struct op op_audit_log_report_error = {TX_NONE, {report_take}};

void errors_on_line(void *state, struct arena *arena, struct str payload)
{
    const struct audit *self = state;
    ProtobufCAllocator allocator;
    Avanta__LogLine *line = NULL;
    struct error_report report;
    uint64_t wait_ms = 0;

    assert(self->errors != NULL);
    if (error_intake_admit(self->errors, ERROR_SERVER, STR_EMPTY, clock_mono_us(), &wait_ms) !=
        ERROR_ADMITTED) {
        return;
    }
    transcode_allocator(&allocator, arena);
    line = avanta__log_line__unpack(&allocator, payload.len, (const uint8_t *)payload.ptr);
    if (line != NULL && error_report_of_line(line, clock_wall_ms(), arena, &report)) {
        (void)error_intake_add(self->errors, &report); /* or counted as dropped */
    }
}

/* --- lists -------------------------------------------------------------------------------------
 */

static bool take_groups(struct req *r, size_t *out_count, Avanta__AuditLog__ErrorGroup ***out)
{
    ProtobufCMessage **rows = NULL;

    assert(out != NULL);
    if (!req_rows_all(r, out_count, &rows)) {
        return false;
    }
    *out = (Avanta__AuditLog__ErrorGroup **)(void *)rows;
    return true;
}

static bool take_samples(struct req *r, size_t *out_count, Avanta__AuditLog__ErrorSample ***out)
{
    ProtobufCMessage **rows = NULL;

    assert(out != NULL);
    if (!req_rows_all(r, out_count, &rows)) {
        return false;
    }
    *out = (Avanta__AuditLog__ErrorSample **)(void *)rows;
    return true;
}

static bool take_total(struct req *r, int64_t *out)
{
    Avanta__AuditLog__ErrorTotal row = AVANTA__AUDIT_LOG__ERROR_TOTAL__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &row.base)) {
        return false;
    }
    *out = row.total;
    return true;
}

static enum step list_select(struct req *r)
{
    return req_query(r, Q_ERROR_LIST);
}

static enum step list_count(struct req *r)
{
    Avanta__AuditLog__ListErrorsReply *out = req_out(r);

    return take_groups(r, &out->n_errors, &out->errors) ? req_query(r, Q_ERROR_TOTAL) : STEP_FAIL;
}

static enum step list_reply(struct req *r)
{
    const Avanta__AuditLog__ListErrorsRequest *in = req_in(r);
    Avanta__AuditLog__ListErrorsReply *out = req_out(r);

    out->has_success = out->has_total = out->has_limit = out->has_offset = true;
    out->success = true;
    out->limit = in->limit;
    out->offset = in->offset;
    return take_total(r, &out->total) ? STEP_DONE : STEP_FAIL;
}

const struct op op_audit_log_list_errors = {
    TX_READ, {list_select, list_count, list_reply}
};

static enum step recent_select(struct req *r)
{
    return req_query(r, Q_ERROR_RECENT);
}

static enum step recent_reply(struct req *r)
{
    Avanta__AuditLog__RecentErrorsReply *out = req_out(r);

    if (!take_samples(r, &out->n_errors, &out->errors)) {
        return STEP_FAIL;
    }
    out->has_success = out->has_count = true;
    out->success = true;
    out->count = (int64_t)out->n_errors;
    return STEP_DONE;
}

const struct op op_audit_log_list_recent_errors = {
    TX_READ, {recent_select, recent_reply}
};

static enum step logs_select(struct req *r)
{
    return req_query(r, Q_ERROR_LOGS);
}

static enum step logs_count(struct req *r)
{
    Avanta__AuditLog__ListLogsReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_logs, &rows)) {
        return STEP_FAIL;
    }
    out->logs = (Avanta__AuditLog__LogEntry **)(void *)rows;
    return req_query(r, Q_ERROR_LOGS_TOTAL);
}

static enum step logs_reply(struct req *r)
{
    const Avanta__AuditLog__ListLogsRequest *in = req_in(r);
    Avanta__AuditLog__ListLogsReply *out = req_out(r);
    Avanta__AuditLog__LogsPagination *page = arena_alloc(req_arena(r), sizeof *page);

    if (page == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the list needs too much memory");
    }
    avanta__audit_log__logs_pagination__init(page);
    page->has_total = page->has_limit = page->has_offset = page->has_has_more = true;
    if (!take_total(r, &page->total)) {
        return STEP_FAIL;
    }
    page->limit = in->limit;
    page->offset = in->offset;
    page->has_more = (int64_t)in->offset + (int64_t)out->n_logs < page->total;
    out->pagination = page;
    return STEP_DONE;
}

const struct op op_audit_log_list_logs = {
    TX_READ, {logs_select, logs_count, logs_reply}
};

/* --- counts ------------------------------------------------------------------------------------
 */

static enum step stats_select(struct req *r)
{
    return req_query(r, Q_ERROR_COUNTS);
}

static enum step stats_recent(struct req *r)
{
    Avanta__AuditLog__ErrorStatsReply *out = req_out(r);
    Avanta__AuditLog__RecentErrorsRequest *recent = arena_alloc(req_arena(r), sizeof *recent);

    assert(req_rows(r) == 1);
    out->stats = (Avanta__AuditLog__ErrorStats *)(void *)req_row_new(r, 0);
    if (out->stats == NULL || recent == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the counts need too much memory");
    }
    avanta__audit_log__recent_errors_request__init(recent);
    recent->has_limit = true;
    recent->limit = STATS_RECENT;
    return req_query_from(r, Q_ERROR_RECENT, &recent->base);
}

static enum step stats_reply(struct req *r)
{
    Avanta__AuditLog__ErrorStatsReply *out = req_out(r);

    out->has_success = true;
    out->success = true;
    return take_samples(r, &out->stats->n_recent_errors, &out->stats->recent_errors) ? STEP_DONE
                                                                                     : STEP_FAIL;
}

const struct op op_audit_log_get_error_stats = {
    TX_READ, {stats_select, stats_recent, stats_reply}
};

/* --- one group ---------------------------------------------------------------------------------
 */

static enum step get_select(struct req *r)
{
    return req_query(r, Q_ERROR_GET);
}

static enum step get_samples(struct req *r)
{
    Avanta__AuditLog__ErrorReply *out = req_out(r);
    Avanta__AuditLog__ErrorIdRequest *group = arena_alloc(req_arena(r), sizeof *group);

    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "there is no such error");
    }
    out->error = (Avanta__AuditLog__ErrorGroup *)(void *)req_row_new(r, 0);
    if (out->error == NULL || group == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the error needs too much memory");
    }
    avanta__audit_log__error_id_request__init(group);
    group->id = out->error->id;
    return req_query_from(r, Q_ERROR_GET_SAMPLES, &group->base);
}

static enum step get_reply(struct req *r)
{
    Avanta__AuditLog__ErrorReply *out = req_out(r);

    out->has_success = true;
    out->success = true;
    return take_samples(r, &out->n_samples, &out->samples) ? STEP_DONE : STEP_FAIL;
}

const struct op op_audit_log_get_error = {
    TX_READ, {get_select, get_samples, get_reply}
};

static enum step update_change(struct req *r)
{
    return req_query(r, Q_ERROR_UPDATE);
}

static enum step update_reply(struct req *r)
{
    const Avanta__AuditLog__UpdateErrorRequest *in = req_in(r);
    Avanta__AuditLog__UpdateErrorReply *out = req_out(r);
    Avanta__AuditLog__ErrorStateChanged event = AVANTA__AUDIT_LOG__ERROR_STATE_CHANGED__INIT;

    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "there is no such error");
    }
    out->error = (Avanta__AuditLog__ErrorGroup *)(void *)req_row_new(r, 0);
    if (out->error == NULL) {
        return STEP_FAIL;
    }
    out->has_success = true;
    out->success = true;
    event.id = out->error->id;
    event.state = in->state;
    req_emit(r, &event.base, out->error->id);
    return STEP_DONE;
}

const struct op op_audit_log_update_error = {
    TX_WRITE, {update_change, update_reply}
};
