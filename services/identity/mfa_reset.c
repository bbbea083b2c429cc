/* An administrator takes the second factor away from a user who lost it. */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

static enum step reset_delete(struct req *r)
{
    const Avanta__Identity__ResetMfaRequest *in = req_in(r);

    assert(in->id != NULL);
    if (!recent_good(r)) {
        return STEP_FAIL;
    }
    if (str_eq_nocase(str_from(in->id), str_from(req_user_id(r)))) {
        return req_refuse_saying(
            r, AVANTA__REASON__OWN_ACCOUNT, "Disable your own second factor with its code");
    }
    return req_query(r, Q_MFA_RESET);
}

static enum step reset_end_sessions(struct req *r)
{
    Avanta__Identity__OwnerSessions *query = arena_alloc(req_arena(r), sizeof *query);
    const Avanta__Identity__MfaRemoval *found = NULL;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "The user was not found");
    }
    found = (const Avanta__Identity__MfaRemoval *)(const void *)req_row_new(r, 0);
    if (found == NULL || query == NULL) {
        return identity_no_memory(r);
    }
    assert(found->owner_id != NULL);
    if (!found->removed) {
        return req_refuse(r, AVANTA__REASON__MFA_NOT_ENABLED);
    }
    avanta__identity__owner_sessions__init(query);
    query->owner_id = found->owner_id;
    return req_query_from(r, Q_SESSIONS_END_USER, &query->base);
}

static enum step reset_reply(struct req *r)
{
    const Avanta__Identity__ResetMfaRequest *in = req_in(r);
    Avanta__Identity__MfaReset event = AVANTA__IDENTITY__MFA_RESET__INIT;
    uint32_t count = 0;

    assert(in->id != NULL);
    assert(strcmp(in->id, req_user_id(r)) != 0);
    if (!sessions_ended_publish(r, &count)) {
        return STEP_FAIL;
    }
    event.user_id = in->id;
    event.has_sessions_ended = true;
    event.sessions_ended = count;
    req_audit_severity(r, "critical");
    req_emit_for(r, in->id, &event.base, in->id);
    return identity_done(r, "The user's second factor is removed");
}

const struct op op_identity_reset_mfa = {
    TX_WRITE, {recent_select, reset_delete, reset_end_sessions, reset_reply}
};
