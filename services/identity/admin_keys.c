/* API keys of a user, by an administrator. Made they are for users of the role service alone: those
 * cannot log in to make any. Everybody's can be seen, and revoked. */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/api_keys.h"

#include "libcommon/codec/access.h"

#include <assert.h>
#include <string.h>

/* The user's row, locked: whether there is one, and of what role. */
static enum step owner_lock(struct req *r, const char *id)
{
    Avanta__Identity__UserIdRequest *query = arena_alloc(req_arena(r), sizeof *query);

    assert(id != NULL);
    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__user_id_request__init(query);
    query->id = identity_text(r, id);
    return query->id == NULL ? identity_no_memory(r) : req_query_from(r, Q_USER_LOCK, &query->base);
}

/* --- list --- */

static enum step list_exists(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);

    assert(in->id != NULL);
    return req_query(r, Q_USER_GET);
}

static enum step list_select(struct req *r)
{
    const Avanta__Identity__UserIdRequest *in = req_in(r);

    assert(req_rows(r) <= 1);
    return req_rows(r) == 0 ? identity_no_such_user(r) : api_keys_select(r, in->id);
}

const struct op op_identity_list_user_api_keys = {
    TX_READ, {list_exists, list_select, api_keys_reply}
};

/* --- create --- */

static enum step create_lock(struct req *r)
{
    const Avanta__Identity__CreateUserApiKeyRequest *in = req_in(r);

    return recent_good(r) ? owner_lock(r, in->id) : STEP_FAIL;
}

static enum step create_insert(struct req *r)
{
    const Avanta__Identity__CreateUserApiKeyRequest *in = req_in(r);
    Avanta__Identity__AdminUser user = AVANTA__IDENTITY__ADMIN_USER__INIT;
    const struct key_wishes wishes = {
        .owner_id = in->id,
        .role = role_name(ROLE_SERVICE),
        .name = in->name,
        .scope_count = in->n_scopes,
        .scopes = in->scopes,
        .network_count = in->n_allowed_ips,
        .networks = in->allowed_ips,
        .days = in->expires_in_days,
        .signing = in->signing,
    };

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return identity_no_such_user(r);
    }
    if (!req_row(r, 0, &user.base)) {
        return STEP_FAIL;
    }
    assert(user.role != NULL);
    return strcmp(user.role, wishes.role) == 0 ? api_key_insert(r, &wishes)
                                               : req_refuse(r, AVANTA__REASON__NOT_A_SERVICE);
}

const struct op op_identity_create_user_api_key = {
    TX_WRITE, {recent_select, create_lock, create_insert, api_key_inserted}
};

/* --- revoke --- */

static enum step revoke_update(struct req *r)
{
    const Avanta__Identity__UserApiKeyRequest *in = req_in(r);

    return recent_good(r) ? api_key_revoke(r, in->id, in->key) : STEP_FAIL;
}

const struct op op_identity_revoke_user_api_key = {
    TX_WRITE, {recent_select, revoke_update, api_key_revoked}
};
