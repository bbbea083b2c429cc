/* Users as administrators see and change them. A change of role or state ends the user's sessions.
 */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/session_list.h"

#include "libcommon/codec/access.h"

#include <assert.h>
#include <string.h>

/* --- list and get --- */

static enum step list_select(struct req *r)
{
    return req_query(r, Q_USER_LIST);
}

static enum step list_reply(struct req *r)
{
    return req_reply_rows(r, "users");
}

const struct op op_identity_list_users = {
    TX_READ, {list_select, list_reply}
};

static enum step get_select(struct req *r)
{
    return req_query(r, Q_USER_GET);
}

const struct op op_identity_get_user = {
    TX_READ, {get_select, req_reply_row}
};

/* --- change: role and state end sessions, and there is always an administrator --- */

struct change {
    Avanta__Identity__UpdateUserRequest wanted;
    const Avanta__Identity__UserChange *row;
};

static struct change *change_of(struct req *r)
{
    return req_state(r, sizeof(struct change));
}

/* Everybody's role but the one of unfinished logins. */
static bool role_can_be_given(const char *name)
{
    enum role role = ROLE_COUNT;

    assert(name != NULL);
    return role_find(str_from(name), &role) && role != ROLE_ENROLLING;
}

/* Checks what was asked for; the step after recent_select(). */
static enum step change_begin(struct req *r, const Avanta__Identity__UpdateUserRequest *wanted)
{
    struct change *change = change_of(r);
    bool own = str_eq_nocase(str_from(wanted->id), str_from(req_user_id(r)));

    assert(wanted->id != NULL);
    if (!recent_good(r)) {
        return STEP_FAIL;
    }
    if (change == NULL) {
        return identity_no_memory(r);
    }
    change->wanted = *wanted;
    if (wanted->role != NULL && !role_can_be_given(wanted->role)) {
        return req_violation(r, ERR_INVALID, "role", "value", "is none of the roles users have");
    }
    if (own && (wanted->role != NULL || wanted->has_is_active)) {
        return req_refuse(r, AVANTA__REASON__OWN_ACCOUNT);
    }
    return req_query(r, Q_ADMINS_LOCK);
}

static enum step update_begin(struct req *r)
{
    const Avanta__Identity__UpdateUserRequest *in = req_in(r);

    if (in->name == NULL && in->role == NULL && !in->has_is_active) {
        return req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS);
    }
    return change_begin(r, in);
}

static enum step deactivate_begin(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);
    Avanta__Identity__UpdateUserRequest wanted = AVANTA__IDENTITY__UPDATE_USER_REQUEST__INIT;

    assert(in->id != NULL);
    wanted.id = in->id;
    wanted.has_is_active = true;
    return change_begin(r, &wanted);
}

/* The administrators are locked. Whoever asks was one when he was let in: he may be none by now. */
static enum step change_update(struct req *r)
{
    struct change *change = change_of(r);
    bool still = false;

    assert(change->wanted.id != NULL);
    assert(change->row == NULL);
    for (size_t i = 0; i < req_rows(r); i++) {
        Avanta__Identity__RowId row = AVANTA__IDENTITY__ROW_ID__INIT;

        if (!req_row(r, i, &row.base)) {
            return STEP_FAIL;
        }
        still = still || strcmp(row.id, req_user_id(r)) == 0;
    }
    return still ? req_query_from(r, Q_USER_CHANGE, &change->wanted.base)
                 : req_fail(r, ERR_FORBIDDEN, "You are no administrator any more");
}

static bool ends_sessions(const Avanta__Identity__UserChange *row)
{
    assert(row->role != NULL);
    assert(row->old_role != NULL);
    return strcmp(row->role, row->old_role) != 0 || row->is_active != row->was_active;
}

static enum step sessions_end(struct req *r, const char *user_id)
{
    Avanta__Identity__OwnerSessions *end = arena_alloc(req_arena(r), sizeof *end);

    assert(user_id != NULL);
    if (end == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__owner_sessions__init(end);
    end->owner_id = identity_text(r, user_id);
    return end->owner_id == NULL ? identity_no_memory(r)
                                 : req_query_from(r, Q_SESSIONS_END_USER, &end->base);
}

static enum step change_end_sessions(struct req *r)
{
    struct change *change = change_of(r);

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return identity_no_such_user(r);
    }
    change->row = (const Avanta__Identity__UserChange *)(const void *)req_row_new(r, 0);
    if (change->row == NULL) {
        return STEP_FAIL;
    }
    return ends_sessions(change->row) ? sessions_end(r, change->row->id) : STEP_NEXT;
}

static void user_fill(Avanta__Identity__AdminUser *out, const Avanta__Identity__UserChange *row)
{
    assert(row->id != NULL);
    out->id = row->id;
    out->email = row->email;
    out->name = row->name;
    out->role = row->role;
    out->has_is_active = true;
    out->is_active = row->is_active;
    out->created_at = row->created_at;
    out->last_login_at = row->last_login_at;
    out->avatar_url = row->avatar_url;
}

/* Events and what gateways must hear; false with the error set. */
static bool change_tell(struct req *r)
{
    const Avanta__Identity__UserChange *row = change_of(r)->row;
    Avanta__Identity__UserChanged event = AVANTA__IDENTITY__USER_CHANGED__INIT;
    Avanta__Identity__AdminUser user = AVANTA__IDENTITY__ADMIN_USER__INIT;
    Avanta__Identity__AdminUser before = AVANTA__IDENTITY__ADMIN_USER__INIT;
    uint32_t count = 0;

    assert(row != NULL);
    if (ends_sessions(row)) {
        if (!sessions_ended_publish(r, &count)) {
            return false;
        }
        access_changed_publish(r, row->id);
    }
    user_fill(&user, row);
    before.name = row->old_name;
    before.role = row->old_role;
    before.has_is_active = true;
    before.is_active = row->was_active;
    event.before = &before;
    event.user = &user;
    event.old_role = row->old_role;
    event.has_was_active = true;
    event.was_active = row->was_active;
    event.has_sessions_ended = true;
    event.sessions_ended = count;
    req_audit_severity(r, ends_sessions(row) ? "critical" : "medium");
    req_emit_for(r, row->id, &event.base, row->id);
    return true;
}

static enum step update_reply(struct req *r)
{
    if (!change_tell(r)) {
        return STEP_FAIL;
    }
    user_fill(req_out(r), change_of(r)->row);
    return STEP_DONE;
}

const struct op op_identity_update_user = {
    TX_WRITE_ALONE,
    {recent_select, update_begin, change_update, change_end_sessions, update_reply}
};

static enum step deactivate_reply(struct req *r)
{
    assert(!change_of(r)->row->is_active);
    if (!change_tell(r)) {
        return STEP_FAIL;
    }
    return identity_done(r, "User deactivated successfully");
}

const struct op op_identity_deactivate_user = {
    TX_WRITE_ALONE,
    {recent_select, deactivate_begin, change_update, change_end_sessions, deactivate_reply}
};

/* --- a user's sessions --- */

static enum step sessions_select(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);

    assert(in->id != NULL);
    return session_list_select(r, in->id);
}

static enum step sessions_reply(struct req *r)
{
    Avanta__Identity__ListUserSessionsReply *out = req_out(r);

    return session_list_read(r, &out->n_sessions, &out->sessions) ? STEP_DONE : STEP_FAIL;
}

const struct op op_identity_list_user_sessions = {
    TX_READ, {sessions_select, sessions_reply}
};

static enum step entries_end_first(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);

    assert(in->id != NULL);
    return recent_good(r) ? entries_end(r, in->id) : STEP_FAIL;
}

static enum step sessions_exist(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);

    assert(req_rows(r) <= 1);
    return req_rows(r) == 0 ? identity_no_such_user(r) : sessions_end(r, in->id);
}

static enum step sessions_ended(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);
    Avanta__Identity__EndUserSessionsReply *out = req_out(r);
    uint32_t count = 0;

    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    req_audit_severity(r, "high");
    sessions_ended_emit(r, in->id, count, "ended by an administrator");
    out->has_success = true;
    out->success = true;
    out->message = identity_text(r, "The user's sessions have ended");
    out->has_ended = true;
    out->ended = count;
    return out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_end_user_sessions = {
    TX_WRITE, {recent_select, entries_end_first, sessions_exist, sessions_ended}
};
