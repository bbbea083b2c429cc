/* Access to one's books, granted to an accountant. */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/base/id.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

/* --- list: given and received --- */

static enum step given_select(struct req *r)
{
    return req_query(r, Q_GRANTS_GIVEN);
}

static enum step received_select(struct req *r)
{
    Avanta__Identity__ListGrantsReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    assert(out->n_granted == 0);
    if (!req_rows_all(r, &out->n_granted, &rows)) {
        return STEP_FAIL;
    }
    out->granted = (Avanta__Identity__GivenGrant **)(void *)rows;
    return req_query(r, Q_GRANTS_RECEIVED);
}

static enum step list_reply(struct req *r)
{
    Avanta__Identity__ListGrantsReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    assert(out->n_received == 0);
    if (!req_rows_all(r, &out->n_received, &rows)) {
        return STEP_FAIL;
    }
    out->received = (Avanta__Identity__ReceivedGrant **)(void *)rows;
    return STEP_DONE;
}

const struct op op_identity_list_grants = {
    TX_READ, {given_select, received_select, list_reply}
};

/* --- grant: another one for the same e-mail takes the place of the first --- */

struct granting {
    char id[UUID_TEXT_BYTES];
    Avanta__Identity__GrantNew row;
};

static enum step create_supersede(struct req *r)
{
    const Avanta__Identity__CreateGrantRequest *in = req_in(r);

    assert(in->email != NULL);
    assert(in->access != NULL);
    if (!recent_good(r)) {
        return STEP_FAIL;
    }
    if (strcmp(in->email, req_principal(r)->email) == 0) {
        return req_violation(r, ERR_INVALID, "email", "value", "is your own");
    }
    return req_query(r, Q_GRANT_SUPERSEDE);
}

/* A grant that is no more: gateways forget it, and its record says what it allowed. */
static void grant_end(struct req *r, const Avanta__Identity__GrantOwner *row)
{
    Avanta__Identity__GrantRevoked event = AVANTA__IDENTITY__GRANT_REVOKED__INIT;
    Avanta__Identity__GivenGrant before = AVANTA__IDENTITY__GIVEN_GRANT__INIT;

    assert(row->id != NULL);
    assert(row->owner_id != NULL);
    req_publish(r, "ctl.revoke", str_from(row->id));
    before.email = row->email;
    before.access = row->access;
    event.id = row->id;
    event.before = &before;
    req_audit_severity(r, "high");
    req_emit_for(r, row->owner_id, &event.base, row->id);
}

static enum step create_insert(struct req *r)
{
    const Avanta__Identity__CreateGrantRequest *in = req_in(r);
    struct granting *granting = req_state(r, sizeof *granting);

    if (granting == NULL) {
        return identity_no_memory(r);
    }
    for (size_t i = 0; i < req_rows(r); i++) {
        Avanta__Identity__GrantOwner old = AVANTA__IDENTITY__GRANT_OWNER__INIT;

        if (!req_row(r, i, &old.base)) {
            return STEP_FAIL;
        }
        grant_end(r, &old);
    }
    /* Gateways may remember that there is none. */
    access_changed_publish(r, req_user_id(r));
    uuid_v7(granting->id);
    avanta__identity__grant_new__init(&granting->row);
    granting->row.id = granting->id;
    granting->row.email = in->email;
    granting->row.access = in->access;
    return req_query_from(r, Q_GRANT_INSERT, &granting->row.base);
}

static enum step create_reply(struct req *r)
{
    const Avanta__Identity__CreateGrantRequest *in = req_in(r);
    struct granting *granting = req_state(r, sizeof *granting);
    Avanta__Identity__GrantReply *out = req_out(r);
    Avanta__Identity__GrantCreated event = AVANTA__IDENTITY__GRANT_CREATED__INIT;

    assert(granting->id[0] != '\0');
    event.id = granting->id;
    event.email = in->email;
    event.access = in->access;
    req_audit_severity(r, "high");
    req_emit(r, &event.base, granting->id);
    out->has_success = true;
    out->success = true;
    out->message =
        identity_text(r, "Access granted: it is of effect while this is an accountant's e-mail");
    out->id = granting->id;
    out->email = in->email;
    out->access = in->access;
    return out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_create_grant = {
    TX_WRITE, {recent_select, create_supersede, create_insert, create_reply}
};

/* --- revoke --- */

static enum step revoke_update(struct req *r)
{
    return req_query(r, Q_GRANT_REVOKE);
}

static enum step revoke_reply(struct req *r)
{
    const Avanta__Identity__GrantOwner *row = NULL;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "The grant was not found");
    }
    row = (const Avanta__Identity__GrantOwner *)(const void *)req_row_new(r, 0);
    if (row == NULL) {
        return STEP_FAIL;
    }
    grant_end(r, row);
    return identity_done(r, "Access revoked");
}

const struct op op_identity_revoke_grant = {
    TX_WRITE, {revoke_update, revoke_reply}
};

/* --- for gateways --- */

static enum step resolve_select(struct req *r)
{
    return req_query(r, Q_GRANT_RESOLVE);
}

const struct op op_identity_resolve_grant = {
    TX_READ, {resolve_select, identity_reply_row_or_nobody}
};
