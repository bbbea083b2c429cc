/* What the handlers of identity share. */
#include "services/identity/identity.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_sql.gen.h"

#include "libcommon/service/req.h"

#include <assert.h>

#define REVOKE_BYTES_MAX 32768 /* of one message: about 880 sessions */
#define SESSION_ID_BYTES 36

enum step identity_no_memory(struct req *r)
{
    return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
}

char *identity_text(struct req *r, const char *text)
{
    return arena_strdup(req_arena(r), str_from(text));
}

enum step identity_done(struct req *r, const char *message)
{
    Avanta__Identity__AccountReply *out = req_out(r);

    assert(out->base.descriptor == &avanta__identity__account_reply__descriptor);
    assert(message != NULL);
    out->has_success = true;
    out->success = true;
    out->message = identity_text(r, message);
    return out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

enum step identity_no_such_user(struct req *r)
{
    return req_fail(r, ERR_NOT_FOUND, "The user was not found");
}

enum step identity_reply_row_or_nobody(struct req *r)
{
    assert(req_rows(r) <= 1);
    return req_rows(r) == 0 ? STEP_DONE : req_reply_row(r);
}

enum step recent_query(struct req *r, uint16_t statement)
{
    const struct identity *self = req_service(r);
    Avanta__Identity__SessionRecent *query = arena_alloc(req_arena(r), sizeof *query);

    assert(self->config.recent_seconds > 0);
    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__session_recent__init(query);
    query->has_recent_s = true;
    query->recent_s = (int64_t)self->config.recent_seconds;
    return req_query_from(r, statement, &query->base);
}

enum step recent_select(struct req *r)
{
    return recent_query(r, Q_SESSION_RECENT);
}

bool recent_good(struct req *r)
{
    Avanta__Identity__SessionIsRecent row = AVANTA__IDENTITY__SESSION_IS_RECENT__INIT;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 1 && !req_row(r, 0, &row.base)) {
        return false;
    }
    if (!row.recent) {
        (void)req_refuse(r, AVANTA__REASON__REAUTHENTICATION_REQUIRED);
    }
    return row.recent != 0;
}

enum step entries_end(struct req *r, const char *user_id)
{
    Avanta__Identity__OwnerSessions *query = arena_alloc(req_arena(r), sizeof *query);

    assert(user_id != NULL);
    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__owner_sessions__init(query);
    query->owner_id = identity_text(r, user_id);
    return query->owner_id == NULL ? identity_no_memory(r)
                                   : req_query_from(r, Q_ENTRIES_END, &query->base);
}

bool sessions_ended_publish(struct req *r, uint32_t *out_count)
{
    ProtobufCMessage **rows = NULL;
    size_t count = 0;
    size_t bytes = 0;
    char *memory = NULL;
    struct buf list;

    assert(out_count != NULL);
    if (!req_rows_all(r, &count, &rows)) {
        return false;
    }
    *out_count = (uint32_t)count;
    bytes = count * (SESSION_ID_BYTES + 1) + 1;
    bytes = bytes < REVOKE_BYTES_MAX ? bytes : REVOKE_BYTES_MAX;
    memory = arena_alloc(req_arena(r), bytes);
    if (memory == NULL) {
        (void)identity_no_memory(r);
        return false;
    }
    list = buf_over(memory, bytes);
    /* What does not fit, gateways find in the list they fetch every few seconds. */
    for (size_t i = 0; i < count && list.len + SESSION_ID_BYTES + 1 < bytes; i++) {
        const Avanta__Identity__EndedNow *row = (void *)rows[i];

        assert(row->session_id != NULL);
        if (row->has_token) {
            buf_printf(&list, "%s%s", list.len == 0 ? "" : " ", row->session_id);
        }
    }
    assert(!list.overflow);
    if (list.len > 0) {
        req_publish(r, "ctl.revoke", buf_view(&list));
    }
    return true;
}

void access_changed_publish(struct req *r, const char *user_id)
{
    assert(user_id != NULL);
    req_publish(r, "ctl.access", str_from(user_id));
}
