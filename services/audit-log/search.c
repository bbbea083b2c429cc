/* Search: the caller's own records, everybody's for administrators, and counts. */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log.pb-c.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"

#include "libcommon/service/req.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX        10000 /* more records are not counted */
#define TOP_ACTIONS      10
#define ID_PREFIX        "audit_"
#define CURSOR_SEPARATOR '_'

typedef Avanta__AuditLog__AuditSearch search;

/* --- ids and cursors ------------------------------------------------------------------- */

/* "audit_7" or "7" to the leaf's index. */
static bool audit_id_parse(const char *id, int64_t *out)
{
    struct str text = str_from(id);

    assert(out != NULL);
    if (str_starts(text, STR(ID_PREFIX))) {
        text = str_sub(text, strlen(ID_PREFIX), text.len);
    }
    return str_to_int64(text, out) && *out >= 0;
}

bool audit_cursor_read(struct req *r, const char *cursor, bool falling, search *out)
{
    struct str text = str_from(cursor);
    size_t at = 0;
    int64_t leaf = 0;

    assert(out != NULL);
    if (cursor == NULL) {
        return true;
    }
    out->has_cursor_ms = true;
    if (!str_find_char(text, CURSOR_SEPARATOR, &at) ||
        !str_to_int64(str_sub(text, 0, at), &out->cursor_ms) ||
        !str_to_int64(str_sub(text, at + 1, text.len), &leaf) || leaf < 0 || out->cursor_ms < 0) {
        (void)req_violation(
            r, ERR_INVALID, "cursor", "cursor", "must be next_cursor of another page");
        return false;
    }
    out->has_before_leaf = falling;
    out->before_leaf = leaf;
    out->has_after_leaf = !falling;
    out->after_leaf = leaf;
    return true;
}

char *audit_cursor_write(struct req *r, const Avanta__AuditLog__AuditEntry *last)
{
    assert(last != NULL);
    return arena_printf(req_arena(r),
                        "%llu%c%lld",
                        (unsigned long long)last->occurred_ms,
                        CURSOR_SEPARATOR,
                        (long long)last->leaf_index);
}

/* --- lists --------------------------------------------------------------------------------- */

static search *search_new(struct req *r, uint32_t limit)
{
    search *out = req_state(r, sizeof *out);

    avanta__audit_log__audit_search__init(out);
    out->has_limit = true;
    out->limit = limit;
    out->has_offset = true;
    out->has_count_max = true;
    out->count_max = COUNT_MAX;
    return out;
}

/* The variant of the list statement for the order asked for; they stand in pairs: falling, rising.
 */
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

static bool is_by_time(const Avanta__AuditLog__ListAuditLogRequest *in)
{
    return list_variant(in) <= Q_AUDIT_LIST_TIME_ASC;
}

static enum step list_select(struct req *r)
{
    const Avanta__AuditLog__ListAuditLogRequest *in = req_in(r);
    search *out = search_new(r, in->limit);
    uint16_t variant = list_variant(in);

    if (in->cursor != NULL && !is_by_time(in)) {
        return req_violation(r, ERR_INVALID, "cursor", "cursor", "needs sort_by=timestamp");
    }
    if (!audit_cursor_read(r, in->cursor, variant == Q_AUDIT_LIST_TIME_DESC, out)) {
        return STEP_FAIL;
    }
    out->action_type = in->action_type;
    out->entity_type = in->entity_type;
    out->entity_id = in->entity_id;
    out->severity = in->severity;
    out->status = in->status;
    out->request = in->request;
    out->date_from = in->date_from;
    out->date_to = in->date_to;
    if (in->cursor == NULL) {
        out->offset = in->has_page ? (int64_t)(in->page - 1) * in->limit : in->offset;
    }
    return req_query_from(r, variant, &out->base);
}

/* The page's records; one more than it holds tells that there are more. */
static bool page_take(struct req *r, uint32_t limit, bool cursors)
{
    Avanta__AuditLog__ListAuditLogReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_logs, &rows)) {
        return false;
    }
    out->logs = (Avanta__AuditLog__AuditEntry **)(void *)rows;
    out->has_limit = true;
    out->limit = limit;
    if (out->n_logs > limit) {
        out->n_logs = limit;
        out->next_cursor = cursors ? audit_cursor_write(r, out->logs[limit - 1]) : NULL;
        if (cursors && out->next_cursor == NULL) {
            (void)req_fail(r, ERR_TOO_LARGE, "the page needs too much memory");
            return false;
        }
    }
    return true;
}

static enum step list_total(struct req *r)
{
    const Avanta__AuditLog__ListAuditLogRequest *in = req_in(r);
    Avanta__AuditLog__ListAuditLogReply *out = req_out(r);
    search *asked = req_state(r, sizeof *asked);

    if (!page_take(r, in->limit, is_by_time(in))) {
        return STEP_FAIL;
    }
    out->has_offset = in->cursor == NULL;
    out->offset = (uint32_t)asked->offset;
    return in->cursor == NULL ? req_query_from(r, Q_AUDIT_TOTAL, &asked->base) : STEP_DONE;
}

static enum step list_reply(struct req *r)
{
    Avanta__AuditLog__ListAuditLogReply *out = req_out(r);
    Avanta__AuditLog__AuditTotal row = AVANTA__AUDIT_LOG__AUDIT_TOTAL__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &row.base)) {
        return STEP_FAIL;
    }
    assert(row.total >= 0);
    assert(row.total <= COUNT_MAX + 1);
    out->has_total = true;
    out->total = row.total <= COUNT_MAX ? row.total : COUNT_MAX;
    out->has_total_is_exact = true;
    out->total_is_exact = row.total <= COUNT_MAX;
    return STEP_DONE;
}

const struct op op_audit_log_list_audit_log = {
    TX_READ, {list_select, list_total, list_reply}
};

static enum step search_select(struct req *r)
{
    const Avanta__AuditLog__SearchAuditLogRequest *in = req_in(r);
    search *out = search_new(r, in->limit);
    bool falling = strcmp(in->sort_order, "desc") == 0;

    if (!audit_cursor_read(r, in->cursor, falling, out)) {
        return STEP_FAIL;
    }
    out->action_type = in->action_type;
    out->entity_type = in->entity_type;
    out->entity_id = in->entity_id;
    out->severity = in->severity;
    out->status = in->status;
    out->request = in->request;
    out->date_from = in->date_from;
    out->date_to = in->date_to;
    out->owner = in->owner;
    out->actor = in->actor;
    return req_query_from(r, falling ? Q_AUDIT_SEARCH_DESC : Q_AUDIT_SEARCH_ASC, &out->base);
}

static enum step search_reply(struct req *r)
{
    const Avanta__AuditLog__SearchAuditLogRequest *in = req_in(r);

    return page_take(r, in->limit, true) ? STEP_DONE : STEP_FAIL;
}

const struct op op_audit_log_search_audit_log = {
    TX_READ, {search_select, search_reply}
};

/* --- one record ------------------------------------------------------------------------------ */

enum step audit_get_select(struct req *r, const char *id)
{
    Avanta__AuditLog__AuditLeaf *leaf = arena_alloc(req_arena(r), sizeof *leaf);

    if (leaf == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the record needs too much memory");
    }
    avanta__audit_log__audit_leaf__init(leaf);
    leaf->has_leaf_index = true;
    if (!audit_id_parse(id, &leaf->leaf_index)) {
        return req_fail(r, ERR_NOT_FOUND, "there is no such record");
    }
    return req_query_from(r, Q_AUDIT_GET, &leaf->base);
}

static enum step get_select(struct req *r)
{
    const Avanta__AuditLog__AuditRecordIdRequest *in = req_in(r);

    return audit_get_select(r, in->id);
}

const struct op op_audit_log_get_audit_record = {
    TX_READ, {get_select, req_reply_row}
};

/* --- counts ---------------------------------------------------------------------------------- */

static void
severity_add(Avanta__AuditLog__AuditSeverities *out, const char *severity, int64_t count)
{
    int64_t *const counts[] = {&out->low, &out->medium, &out->high, &out->critical};
    static const char *const names[] = {"low", "medium", "high", "critical"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(severity, names[i]) == 0) {
            *counts[i] += count;
            return;
        }
    }
    assert(!"a severity the table does not allow");
}

static void action_add(Avanta__AuditLog__AuditAction *memory,
                       size_t *known,
                       const Avanta__AuditLog__AuditStats *row)
{
    assert(memory != NULL);
    assert(known != NULL);
    for (size_t i = 0; i < *known; i++) {
        if (strcmp(memory[i].action_type, row->action_type) == 0) {
            memory[i].count += row->count;
            return;
        }
    }
    avanta__audit_log__audit_action__init(&memory[*known]);
    memory[*known].action_type = row->action_type;
    memory[*known].has_count = true;
    memory[*known].count = row->count;
    (*known)++;
}

static int action_compare(const void *a, const void *b)
{
    const Avanta__AuditLog__AuditAction *left = a;
    const Avanta__AuditLog__AuditAction *right = b;

    if (left->count != right->count) {
        return left->count > right->count ? -1 : 1;
    }
    return strcmp(left->action_type, right->action_type);
}

static enum step stats_select(struct req *r)
{
    return req_query(r, Q_AUDIT_STATS);
}

static enum step stats_reply(struct req *r)
{
    Avanta__AuditLog__AuditLogStatsReply *out = req_out(r);
    size_t rows = req_rows(r);
    Avanta__AuditLog__AuditSeverities *severities = arena_alloc(req_arena(r), sizeof *severities);
    Avanta__AuditLog__AuditAction *actions = arena_calloc(req_arena(r), rows + 1, sizeof *actions);
    size_t known = 0;

    out->top_actions = arena_calloc(req_arena(r), TOP_ACTIONS, sizeof(void *));
    if (severities == NULL || actions == NULL || out->top_actions == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the counts need too much memory");
    }
    avanta__audit_log__audit_severities__init(severities);
    severities->has_low = severities->has_medium = true;
    severities->has_high = severities->has_critical = true;
    out->by_severity = severities;
    out->has_total = true;
    out->has_recent_24h = true;
    for (size_t i = 0; i < rows; i++) {
        const Avanta__AuditLog__AuditStats *row =
            (const Avanta__AuditLog__AuditStats *)(const void *)req_row_new(r, i);
        if (row == NULL) {
            return STEP_FAIL;
        }
        out->total += row->count;
        out->recent_24h += row->recent;
        severity_add(severities, row->severity, row->count);
        action_add(actions, &known, row);
    }
    qsort(actions, known, sizeof *actions, action_compare);
    for (size_t i = 0; i < known && i < TOP_ACTIONS; i++) {
        out->top_actions[out->n_top_actions++] = &actions[i];
    }
    return STEP_DONE;
}

const struct op op_audit_log_get_audit_log_stats = {
    TX_READ_HEAVY, {stats_select, stats_reply}
};
