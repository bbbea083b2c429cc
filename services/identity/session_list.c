/* Sessions as their user sees them: list, end one, end all others. */
#include "services/identity/session_list.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"

#include <assert.h>
#include <string.h>

enum step session_list_select(struct req *r, const char *owner_id)
{
    const struct identity *self = req_service(r);
    Avanta__Identity__OwnerSessions *query = arena_alloc(req_arena(r), sizeof *query);

    assert(owner_id != NULL);
    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__owner_sessions__init(query);
    query->owner_id = identity_text(r, owner_id);
    query->has_idle_s = true;
    query->idle_s = (int64_t)self->config.idle_seconds;
    return query->owner_id == NULL ? identity_no_memory(r)
                                   : req_query_from(r, Q_SESSION_LIST, &query->base);
}

bool session_list_read(struct req *r, size_t *out_count, Avanta__Identity__Session ***out)
{
    ProtobufCMessage **rows = NULL;
    Avanta__Identity__Session **sessions = NULL;
    bool room = true;

    assert(out != NULL);
    if (!req_rows_all(r, out_count, &rows)) {
        return false;
    }
    sessions = arena_calloc(req_arena(r), *out_count + 1, sizeof(void *));
    room = sessions != NULL;
    for (size_t i = 0; room && i < *out_count; i++) {
        char name[DEVICE_BYTES];

        sessions[i] = (Avanta__Identity__Session *)(void *)rows[i];
        sessions[i]->device =
            identity_text(r, device_name(str_from(sessions[i]->user_agent), name));
        room = sessions[i]->device != NULL;
    }
    if (!room) {
        (void)identity_no_memory(r);
        return false;
    }
    *out = sessions;
    return true;
}

static enum step list_select(struct req *r)
{
    return session_list_select(r, req_user_id(r));
}

static enum step list_reply(struct req *r)
{
    Avanta__Identity__ListSessionsReply *out = req_out(r);

    return session_list_read(r, &out->n_sessions, &out->sessions) ? STEP_DONE : STEP_FAIL;
}

const struct op op_identity_list_sessions = {
    TX_READ, {list_select, list_reply}
};

/* --- end one --- */

static enum step end_one(struct req *r)
{
    return req_query(r, Q_SESSION_END_OWN);
}

static enum step end_one_reply(struct req *r)
{
    const Avanta__Identity__EndSessionRequest *in = req_in(r);
    Avanta__Identity__UserLoggedOut event = AVANTA__IDENTITY__USER_LOGGED_OUT__INIT;
    uint32_t count = 0;

    assert(req_rows(r) <= 1);
    assert(in->id != NULL);
    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "The session was not found");
    }
    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    event.session_id = in->id;
    req_emit(r, &event.base, in->id);
    return identity_done(r, "Session ended");
}

const struct op op_identity_end_session = {
    TX_WRITE, {end_one, end_one_reply}
};

/* --- end all others --- */

static enum step end_entries(struct req *r)
{
    return entries_end(r, req_user_id(r));
}

static enum step end_others(struct req *r)
{
    return req_query(r, Q_SESSIONS_END_OTHERS);
}

void sessions_ended_emit(struct req *r, const char *user_id, uint32_t count, const char *reason)
{
    Avanta__Identity__SessionsEnded event = AVANTA__IDENTITY__SESSIONS_ENDED__INIT;

    assert(r != NULL);
    assert(reason != NULL);
    event.has_count = true;
    event.count = count;
    event.reason = identity_text(r, reason);
    req_emit_for(r, user_id, &event.base, NULL);
}

static enum step end_others_reply(struct req *r)
{
    Avanta__Identity__EndOtherSessionsReply *out = req_out(r);
    uint32_t count = 0;

    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    sessions_ended_emit(r, NULL, count, "asked for by the user");
    out->has_success = true;
    out->success = true;
    out->message = identity_text(r, "The other sessions have ended");
    out->has_ended = true;
    out->ended = count;
    return out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_end_other_sessions = {
    TX_WRITE, {end_entries, end_others, end_others_reply}
};

/* --- old ones go --- */

#define PURGE_ROWS_MAX 5000

static enum step purge(struct req *r)
{
    Avanta__Identity__PurgeQuery *query = arena_alloc(req_arena(r), sizeof *query);

    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__purge_query__init(query);
    query->has_rows_max = true;
    query->rows_max = PURGE_ROWS_MAX;
    return req_query_from(r, Q_SESSION_PURGE, &query->base);
}

static enum step purged(struct req *r)
{
    (void)r;
    return STEP_DONE;
}

const struct op op_identity_purge_sessions = {
    TX_WRITE, {purge, purged}
};
