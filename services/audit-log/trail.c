/* The caller's records in the words of the page of the system's audit trail. */
#include "audit_log_ops.gen.h"
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/audit.h"

#include "libcommon/base/clock.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TIMELINE_DAYS 7
#define PERIOD_DAYS   30

/* --- the list -------------------------------------------------------------------------- */

static enum step list_select(struct req *r)
{
    return req_query(r, Q_TRAIL_LIST);
}

static enum step list_total(struct req *r)
{
    Avanta__AuditLog__ListAuditTrailReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_entries, &rows)) {
        return STEP_FAIL;
    }
    out->entries = (Avanta__AuditLog__TrailEntry **)(void *)rows;
    return req_query(r, Q_TRAIL_TOTAL);
}

static enum step list_reply(struct req *r)
{
    const Avanta__AuditLog__ListAuditTrailRequest *in = req_in(r);
    Avanta__AuditLog__ListAuditTrailReply *out = req_out(r);
    Avanta__AuditLog__TrailPagination *page = arena_alloc(req_arena(r), sizeof *page);
    Avanta__AuditLog__AuditTotal total = AVANTA__AUDIT_LOG__AUDIT_TOTAL__INIT;

    assert(in->limit > 0);
    if (page == NULL) {
        return req_fail(r, ERR_TOO_LARGE, "the page needs too much memory");
    }
    if (!req_row(r, 0, &total.base)) {
        return STEP_FAIL;
    }
    avanta__audit_log__trail_pagination__init(page);
    page->has_page = page->has_limit = page->has_total = page->has_pages = true;
    page->page = in->page;
    page->limit = in->limit;
    page->total = total.total;
    page->pages = (total.total + in->limit - 1) / in->limit;
    out->pagination = page;
    return STEP_DONE;
}

const struct op op_audit_log_list_audit_trail = {
    TX_READ, {list_select, list_total, list_reply}
};

static enum step get_select(struct req *r)
{
    return req_query(r, Q_TRAIL_GET);
}

const struct op op_audit_log_get_audit_trail_entry = {
    TX_READ, {get_select, req_reply_row}
};

/* --- the summary ------------------------------------------------------------------------ */

static enum step no_memory(struct req *r)
{
    return req_fail(r, ERR_TOO_LARGE, "the summary needs too much memory");
}

static Avanta__AuditLog__TrailWindow *window_of(struct req *r)
{
    return req_state(r, sizeof(Avanta__AuditLog__TrailWindow));
}

static char *date_text(struct req *r, struct date date)
{
    return arena_printf(req_arena(r), "%04d-%02d-%02d", date.year, date.month, date.day);
}

static enum step summary_counts(struct req *r)
{
    const Avanta__AuditLog__AuditTrailSummaryRequest *in = req_in(r);
    Avanta__AuditLog__TrailWindow *window = window_of(r);
    const uint64_t past_ms = req_now_ms(r) - (uint64_t)PERIOD_DAYS * 24 * 3600 * 1000;

    avanta__audit_log__trail_window__init(window);
    window->date_from =
        in->date_from != NULL ? in->date_from : date_text(r, date_in_mexico_city(past_ms));
    window->date_to = in->date_to != NULL ? in->date_to : date_text(r, req_today(r));
    if (window->date_from == NULL || window->date_to == NULL) {
        return no_memory(r);
    }
    if (strcmp(window->date_from, window->date_to) > 0) {
        return req_violation(r, ERR_INVALID, "end_date", "range", "must not be before start_date");
    }
    return req_query_from(r, Q_TRAIL_COUNTS, &window->base);
}

/* A list of counts by a word, as far as it has come. */
struct tally {
    const char *word;
    int64_t count;
};

static void tally_add(struct tally *all, size_t *known, const char *word, int64_t count)
{
    assert(all != NULL);
    assert(known != NULL);
    for (size_t i = 0; i < *known; i++) {
        if (strcmp(all[i].word, word) == 0) {
            all[i].count += count;
            return;
        }
    }
    all[(*known)++] = (struct tally){word, count};
}

static int tally_compare(const void *a, const void *b)
{
    const struct tally *left = a;
    const struct tally *right = b;

    if (left->count != right->count) {
        return left->count > right->count ? -1 : 1;
    }
    return strcmp(left->word, right->word);
}

struct tallies {
    struct tally *actions;
    struct tally *entities;
    struct tally *days; /* newest first, as the rows come */
    size_t action_count;
    size_t entity_count;
    size_t day_count;
};

static bool summary_head(struct req *r, Avanta__AuditLog__AuditTrailSummaryReply *out)
{
    const Avanta__AuditLog__TrailWindow *window = window_of(r);

    assert(out != NULL);
    out->period = arena_alloc(req_arena(r), sizeof *out->period);
    out->summary = arena_alloc(req_arena(r), sizeof *out->summary);
    if (out->period == NULL || out->summary == NULL) {
        return false;
    }
    avanta__audit_log__trail_period__init(out->period);
    out->period->start_date = window->date_from;
    out->period->end_date = window->date_to;
    avanta__audit_log__trail_totals__init(out->summary);
    out->summary->has_total_activities = true;
    out->summary->has_compliance_relevant = true;
    out->summary->has_security_events = true;
    return true;
}

static bool
lists_fill(struct req *r, const struct tallies *t, Avanta__AuditLog__AuditTrailSummaryReply *out)
{
    struct arena *arena = req_arena(r);
    size_t days = t->day_count < TIMELINE_DAYS ? t->day_count : TIMELINE_DAYS;
    Avanta__AuditLog__TrailActionCount *actions =
        arena_calloc(arena, t->action_count + 1, sizeof *actions);
    Avanta__AuditLog__TrailEntityTypeCount *entities =
        arena_calloc(arena, t->entity_count + 1, sizeof *entities);
    Avanta__AuditLog__TrailDay *timeline = arena_calloc(arena, days + 1, sizeof *timeline);

    assert(out != NULL);
    out->by_action_type = arena_calloc(arena, t->action_count + 1, sizeof(void *));
    out->by_entity_type = arena_calloc(arena, t->entity_count + 1, sizeof(void *));
    out->activity_timeline = arena_calloc(arena, days + 1, sizeof(void *));
    if (actions == NULL || entities == NULL || timeline == NULL || out->by_action_type == NULL ||
        out->by_entity_type == NULL || out->activity_timeline == NULL) {
        return false;
    }
    for (size_t i = 0; i < t->action_count; i++) {
        avanta__audit_log__trail_action_count__init(&actions[i]);
        actions[i].action_type = transcode_constant(t->actions[i].word);
        actions[i].has_count = true;
        actions[i].count = t->actions[i].count;
        out->by_action_type[out->n_by_action_type++] = &actions[i];
    }
    for (size_t i = 0; i < t->entity_count; i++) {
        avanta__audit_log__trail_entity_type_count__init(&entities[i]);
        entities[i].entity_type = transcode_constant(t->entities[i].word);
        entities[i].has_count = true;
        entities[i].count = t->entities[i].count;
        out->by_entity_type[out->n_by_entity_type++] = &entities[i];
    }
    for (size_t i = 0; i < days; i++) {
        avanta__audit_log__trail_day__init(&timeline[i]);
        timeline[i].date = transcode_constant(t->days[i].word);
        timeline[i].has_count = true;
        timeline[i].count = t->days[i].count;
        out->activity_timeline[out->n_activity_timeline++] = &timeline[i];
    }
    return true;
}

static enum step summary_security(struct req *r)
{
    Avanta__AuditLog__AuditTrailSummaryReply *out = req_out(r);
    size_t rows = req_rows(r);
    struct tallies t = {
        .actions = arena_calloc(req_arena(r), rows + 1, sizeof(struct tally)),
        .entities = arena_calloc(req_arena(r), rows + 1, sizeof(struct tally)),
        .days = arena_calloc(req_arena(r), rows + 1, sizeof(struct tally)),
    };

    if (t.actions == NULL || t.entities == NULL || t.days == NULL || !summary_head(r, out)) {
        return no_memory(r);
    }
    for (size_t i = 0; i < rows; i++) {
        const Avanta__AuditLog__TrailCount *row =
            (const Avanta__AuditLog__TrailCount *)(const void *)req_row_new(r, i);
        if (row == NULL) {
            return STEP_FAIL;
        }
        out->summary->total_activities += row->count;
        out->summary->compliance_relevant += row->compliance_relevant ? row->count : 0;
        out->summary->security_events += row->security_events;
        tally_add(t.actions, &t.action_count, row->action_type, row->count);
        tally_add(t.entities, &t.entity_count, row->entity_type, row->count);
        tally_add(t.days, &t.day_count, row->day, row->count);
    }
    qsort(t.actions, t.action_count, sizeof *t.actions, tally_compare);
    qsort(t.entities, t.entity_count, sizeof *t.entities, tally_compare);
    if (!lists_fill(r, &t, out)) {
        return no_memory(r);
    }
    return req_query_from(r, Q_TRAIL_SECURITY, &window_of(r)->base);
}

static enum step summary_entities(struct req *r)
{
    Avanta__AuditLog__AuditTrailSummaryReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_security_events, &rows)) {
        return STEP_FAIL;
    }
    out->security_events = (Avanta__AuditLog__TrailEntry **)(void *)rows;
    return req_query_from(r, Q_TRAIL_ENTITIES, &window_of(r)->base);
}

static enum step summary_reply(struct req *r)
{
    Avanta__AuditLog__AuditTrailSummaryReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_top_entities, &rows)) {
        return STEP_FAIL;
    }
    out->top_entities = (Avanta__AuditLog__TrailEntityCount **)(void *)rows;
    return STEP_DONE;
}

const struct op op_audit_log_get_audit_trail_summary = {
    TX_READ_HEAVY, {summary_counts, summary_security, summary_entities, summary_reply}
};
