/*
 * The caller's records as a file: CSV for spreadsheets, JSON, or NDJSON, one object a line. One
 * answer holds what fits its bounds; X-Next-Cursor names the rest. A line of NDJSON holds the
 * record as it is hashed, with its leaf, so that each can be proven.
 */
#include "api.gen.h"
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "services/audit-log/audit.h"
#include "services/audit-log/clean.h"
#include "services/audit-log/leaf.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/csv_write.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define ROWS_BYTES_MAX   ((int64_t)3 * 1024 * 1024) /* of text in the rows of one answer */
#define BODY_BYTES_MAX   ((size_t)6 * 1024 * 1024)
#define ROW_BYTES        2000 /* what the statement counts for a row besides its JSON */
#define ROW_BYTES_MAX    (ROW_BYTES + 2 * (int64_t)AUDIT_DETAILS_BYTES_MAX)
#define RECORD_BYTES_MAX ((size_t)1024 * 1024)

enum export_format {
    EXPORT_CSV,
    EXPORT_JSON,
    EXPORT_NDJSON,
    EXPORT_FORMAT_COUNT
};

static const struct {
    const char *name;
    const char *content_type;
    const char *extension;
} formats[EXPORT_FORMAT_COUNT] = {
    [EXPORT_CSV] = {"csv",    "text/csv; charset=utf-8",         "csv"   },
    [EXPORT_JSON] = {"json",   "application/json; charset=utf-8", "json"  },
    [EXPORT_NDJSON] = {"ndjson", "application/x-ndjson",            "ndjson"},
};

/* What is asked for, of either route. */
struct exporting {
    Avanta__AuditLog__AuditSearch search;
    enum export_format format;
    const char *file; /* its name without the extension */
    int64_t bytes;    /* of text in the rows written, as the statement counts them */
};

static struct exporting *exporting_of(struct req *r)
{
    return req_state(r, sizeof(struct exporting));
}

static enum export_format format_find(const char *name)
{
    for (int i = 0; i < EXPORT_FORMAT_COUNT; i++) {
        if (strcmp(formats[i].name, name) == 0) {
            return (enum export_format)i;
        }
    }
    assert(!"a format the rules do not allow");
    return EXPORT_CSV;
}

static enum step rows_select(struct req *r, struct exporting *exporting, const char *cursor)
{
    Avanta__AuditLog__AuditSearch *search = &exporting->search;

    if (!audit_cursor_read(r, cursor, true, search)) {
        return STEP_FAIL;
    }
    search->has_limit = true;
    search->has_bytes_max = true;
    search->bytes_max = ROWS_BYTES_MAX;
    return req_query_from(r, Q_AUDIT_EXPORT, &search->base);
}

static enum step log_select(struct req *r)
{
    const Avanta__AuditLog__ExportAuditLogRequest *in = req_in(r);
    struct exporting *exporting = exporting_of(r);
    Avanta__AuditLog__AuditSearch *search = &exporting->search;

    avanta__audit_log__audit_search__init(search);
    exporting->format = format_find(in->format);
    exporting->file = "audit_log";
    search->action_type = in->action_type;
    search->entity_type = in->entity_type;
    search->entity_id = in->entity_id;
    search->date_from = in->date_from;
    search->date_to = in->date_to;
    search->severity = in->severity;
    search->status = in->status;
    search->limit = in->limit;
    return rows_select(r, exporting, in->cursor);
}

static enum step trail_select(struct req *r)
{
    const Avanta__AuditLog__ExportAuditTrailRequest *in = req_in(r);
    struct exporting *exporting = exporting_of(r);
    Avanta__AuditLog__AuditSearch *search = &exporting->search;

    avanta__audit_log__audit_search__init(search);
    exporting->format = format_find(in->format);
    exporting->file = "audit_trail";
    search->date_from = in->date_from;
    search->date_to = in->date_to;
    search->has_compliance_only = true;
    search->compliance_only = in->compliance_only;
    search->limit = in->limit;
    return rows_select(r, exporting, in->cursor);
}

/* --- writing --------------------------------------------------------------------------------- */

static void csv_head(struct buf *out)
{
    static const char *const names[] = {"ID",
                                        "User ID",
                                        "Action Type",
                                        "Entity Type",
                                        "Entity ID",
                                        "Severity",
                                        "Status",
                                        "Timestamp",
                                        "Actor ID",
                                        "IP Address",
                                        "Request ID",
                                        "Operation",
                                        "Leaf Index",
                                        "Before JSON",
                                        "Details JSON"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        csv_put_field(out, str_from(names[i]), i == 0);
    }
    csv_end_record(out);
}

static void csv_record_put(const Avanta__AuditLog__AuditEntry *row, struct buf *out)
{
    const char *const texts[] = {row->id,
                                 row->user_id,
                                 row->action_type,
                                 row->entity_type,
                                 row->entity_id,
                                 row->severity,
                                 row->status,
                                 row->timestamp,
                                 row->actor_id,
                                 row->ip_address,
                                 row->request_id,
                                 row->method};

    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        csv_put_field(out, str_from(texts[i]), i == 0);
    }
    csv_put_number(out, row->leaf_index, false);
    csv_put_field(out, str_from(row->before), false);
    csv_put_field(out, str_from(row->action_details), false);
    csv_end_record(out);
}

static bool json_put(struct req *r, const Avanta__AuditLog__AuditEntry *row, struct buf *out)
{
    struct str text = STR_EMPTY;
    struct err err = {.code = OK};

    assert(row != NULL);
    if (transcode_to_json(&row->base,
                          api_methods[API_AUDIT_LOG_GET_AUDIT_RECORD].out,
                          -1,
                          req_arena(r),
                          RECORD_BYTES_MAX,
                          &text,
                          &err) != OK) {
        return false;
    }
    buf_str(out, text);
    return true;
}

static bool line_put(struct req *r, const Avanta__AuditLog__AuditEntry *entry, struct buf *out)
{
    Avanta__AuditLog__AuditRow row;
    struct str text;

    assert(entry != NULL);
    leaf_row(entry, &row);
    text = leaf_text(&row, req_arena(r));
    buf_printf(out, "{\"leaf_index\":%lld,\"record\":", (long long)entry->leaf_index);
    buf_str(out, text);
    buf_str(out, STR("}\n"));
    return text.len > 0;
}

static void body_begin(const struct req *r, const struct exporting *exporting, struct buf *out)
{
    char now[TIMESTAMP_TEXT_BYTES];

    assert(exporting != NULL);
    if (exporting->format == EXPORT_CSV) {
        csv_head(out);
    } else if (exporting->format == EXPORT_JSON) {
        timestamp_format(req_now_ms(r), now);
        buf_printf(out, "{\"export_date\":\"%s\",\"entries\":[", now);
    }
}

static void date_put(struct buf *out, const char *name, const char *date)
{
    buf_printf(out, "\"%s\":", name);
    if (date == NULL) {
        buf_str(out, STR("null"));
    } else {
        buf_printf(out, "\"%s\"", date); /* checked: digits and dashes */
    }
}

static void body_end(const struct exporting *exporting, size_t count, struct buf *out)
{
    const Avanta__AuditLog__AuditSearch *search = &exporting->search;

    if (exporting->format != EXPORT_JSON) {
        return;
    }
    buf_printf(out, "],\"count\":%zu,\"filters\":{", count);
    date_put(out, "start_date", search->date_from);
    buf_char(out, ',');
    date_put(out, "end_date", search->date_to);
    buf_printf(out, ",\"compliance_only\":%s}}", search->compliance_only ? "true" : "false");
}

static bool
row_put(struct req *r, const Avanta__AuditLog__AuditEntry *row, size_t number, struct buf *out)
{
    const struct exporting *exporting = exporting_of(r);

    if (exporting->format == EXPORT_CSV) {
        csv_record_put(row, out);
        return true;
    }
    if (exporting->format == EXPORT_NDJSON) {
        return line_put(r, row, out);
    }
    if (number > 0) {
        buf_char(out, ',');
    }
    return json_put(r, row, out);
}

/* As many rows as fit; the cursor is that of the last one. */
static bool rows_put(struct req *r, struct buf *out, size_t *out_count, char **out_cursor)
{
    struct exporting *exporting = exporting_of(r);
    size_t rows = req_rows(r);
    Avanta__AuditLog__AuditEntry last = AVANTA__AUDIT_LOG__AUDIT_ENTRY__INIT;

    assert(out != NULL);
    assert(out_count != NULL);
    *out_count = 0;
    while (*out_count < rows) {
        struct arena_mark mark = arena_mark(req_arena(r));
        struct buf before = *out;
        Avanta__AuditLog__AuditEntry row = AVANTA__AUDIT_LOG__AUDIT_ENTRY__INIT;

        if (!req_row(r, *out_count, &row.base)) {
            return false;
        }
        if (!row_put(r, &row, *out_count, out) || out->overflow) {
            *out = before;
            arena_rewind(req_arena(r), mark);
            break;
        }
        exporting->bytes +=
            (int64_t)(ROW_BYTES + str_from(row.action_details).len + str_from(row.before).len);
        last.occurred_ms = row.occurred_ms;
        last.leaf_index = row.leaf_index;
        arena_rewind(req_arena(r), mark);
        (*out_count)++;
    }
    *out_cursor = audit_cursor_write(r, &last);
    return *out_cursor != NULL && (*out_count > 0 || rows == 0);
}

/* There may be more behind the last row: the page was full, or its text so long that the statement
 * would have left the next one out. */
static bool is_cut(struct req *r, const struct exporting *exporting, size_t count)
{
    assert(exporting != NULL);
    return count > 0 && (count < req_rows(r) || (int64_t)count == exporting->search.limit ||
                         exporting->bytes + ROW_BYTES_MAX > ROWS_BYTES_MAX);
}

static enum step file_reply(struct req *r)
{
    struct exporting *exporting = exporting_of(r);
    Avanta__AuditLog__ExportReply *out = req_out(r);
    char *memory = arena_alloc(req_arena(r), BODY_BYTES_MAX);
    struct buf body = {0};
    size_t count = 0;
    char *cursor = NULL;

    if (memory == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the export needs too much memory");
    }
    body = buf_over(memory, BODY_BYTES_MAX - 256); /* for the end */
    body_begin(r, exporting, &body);
    if (!rows_put(r, &body, &count, &cursor)) {
        return req_fail(r, ERR_TOO_LARGE, "the export needs too much memory: give a smaller limit");
    }
    body.cap = BODY_BYTES_MAX;
    body_end(exporting, count, &body);
    assert(!body.overflow);
    out->has_body = true;
    out->body = (ProtobufCBinaryData){body.len, (uint8_t *)memory};
    out->content_type = transcode_constant(formats[exporting->format].content_type);
    out->disposition = arena_printf(req_arena(r),
                                    "attachment; filename=\"%s.%s\"",
                                    exporting->file,
                                    formats[exporting->format].extension);
    out->next_cursor = is_cut(r, exporting, count) ? cursor : NULL;
    return out->disposition == NULL ? req_fail(r, ERR_TOO_LARGE, "the export needs too much memory")
                                    : STEP_DONE;
}

const struct op op_audit_log_export_audit_log = {
    TX_READ_HEAVY, {log_select, file_reply}
};

const struct op op_audit_log_export_audit_trail = {
    TX_READ_HEAVY, {trail_select, file_reply}
};
