#include "services/audit-log/leaf.h"

#include "services/audit-log/clean.h"

#include "libcommon/codec/jcs.h"

#include <assert.h>
#include <string.h>

#define MEMBERS_MAX      20
#define ESCAPE_BYTES_MAX 6   /* of one byte of text */
#define NAMES_BYTES_MAX  512 /* all names, quotes and separators, and the time */

struct members {
    struct jcs_member all[MEMBERS_MAX];
    size_t count;
    size_t bytes; /* of texts */
};

static void add(struct members *members, const char *name, const char *text)
{
    if (text == NULL) {
        return;
    }
    assert(members->count < MEMBERS_MAX);
    members->all[members->count++] = (struct jcs_member){
        .name = str_from(name),
        .kind = JCS_STRING,
        .text = str_from(text),
    };
    members->bytes += strlen(text);
}

/* In the order of their names, which canonical JSON has them in. */
static void gather(const Avanta__AuditLog__AuditRow *row, struct members *members)
{
    assert(row->owner != NULL);
    assert(row->record != NULL);
    assert(row->has_occurred_ms);
    add(members, "action_type", row->action_type);
    add(members, "actor_id", row->actor);
    add(members, "before", row->before);
    add(members, "credential", row->credential);
    add(members, "details", row->details);
    add(members, "entity_id", row->entity_id);
    add(members, "entity_type", row->entity_type);
    add(members, "id", row->record);
    add(members, "ip_address", row->ip_address);
    add(members, "method", row->method);
    members->all[members->count++] = (struct jcs_member){
        .name = STR("occurred_ms"),
        .kind = JCS_INTEGER,
        .integer = (int64_t)row->occurred_ms,
    };
    add(members, "request_id", row->request);
    add(members, "service", row->service);
    add(members, "session_id", row->session);
    add(members, "severity", row->severity);
    add(members, "status", row->status);
    add(members, "trace_id", row->trace);
    add(members, "user_agent", row->agent);
    add(members, "user_id", row->owner);
}

struct str leaf_text(const Avanta__AuditLog__AuditRow *row, struct arena *arena)
{
    struct members members = {.count = 0};
    struct err err = {.code = OK};
    struct buf out = {0};
    size_t cap = 0;
    char *memory = NULL;
    enum code code = OK;

    _Static_assert(AUDIT_TIME_MS_MAX <= JCS_INTEGER_MAX, "a time is an exact number in JSON");
    gather(row, &members);
    cap = members.bytes + NAMES_BYTES_MAX;
    memory = arena_alloc(arena, cap);
    if (memory == NULL) {
        return STR_EMPTY;
    }
    out = buf_over(memory, cap);
    code = jcs_object(members.all, members.count, &out, &err);
    if (code == ERR_TOO_LARGE) { /* much of it is escaped */
        cap = members.bytes * ESCAPE_BYTES_MAX + NAMES_BYTES_MAX;
        memory = arena_alloc(arena, cap);
        if (memory == NULL) {
            return STR_EMPTY;
        }
        out = buf_over(memory, cap);
        code = jcs_object(members.all, members.count, &out, &err);
    }
    assert(code == OK); /* audit_clean() left UTF-8 and a time in bounds */
    return buf_view(&out);
}

void leaf_row(const Avanta__AuditLog__AuditEntry *entry, Avanta__AuditLog__AuditRow *out)
{
    assert(entry != NULL);
    assert(out != NULL);
    avanta__audit_log__audit_row__init(out);
    out->owner = entry->user_id;
    out->actor = entry->actor_id;
    out->action_type = entry->action_type;
    out->entity_type = entry->entity_type;
    out->entity_id = entry->entity_id;
    out->details = entry->action_details;
    out->ip_address = entry->ip_address;
    out->agent = entry->user_agent;
    out->session = entry->session_id;
    out->has_occurred_ms = true;
    out->occurred_ms = entry->occurred_ms;
    out->severity = entry->severity;
    out->status = entry->status;
    out->request = entry->request_id;
    out->service = entry->service;
    out->method = entry->method;
    out->trace = entry->trace_id;
    out->credential = entry->credential;
    out->before = entry->before;
    out->record = entry->message_id;
}

bool leaf_hash(const Avanta__AuditLog__AuditRow *row, struct arena *arena, struct merkle_hash *out)
{
    struct arena_mark mark = arena_mark(arena);
    struct str text = leaf_text(row, arena);

    if (text.len == 0) {
        return false;
    }
    merkle_leaf_hash(text, out);
    arena_rewind(arena, mark);
    return true;
}
