/* What gateways ask about an API key they were sent: whose it is, and what it may. */
#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/api_keys.h"
#include "services/identity/signatures.h"

#include "libcommon/service/req.h"

#include <assert.h>

/* The key, in the request's state. */
struct resolved {
    const Avanta__Identity__KeyFound *key;
};

void key_found_reply(struct req *r, const Avanta__Identity__KeyFound *key)
{
    Avanta__Identity__AccessReply *out = req_out(r);

    assert(key->id != NULL);
    assert(key->user_id != NULL);
    out->id = key->id;
    out->user_id = key->user_id;
    out->email = key->email;
    out->role = key->role;
    out->scopes = key->scopes;
    out->networks = key->networks;
    out->has_good_ms = key->has_good_ms;
    out->good_ms = key->good_ms;
}

static enum step resolve_select(struct req *r)
{
    return req_query(r, Q_API_KEY_RESOLVE);
}

/* Who guesses costs no transaction, nor does a key that was used just now. */
static enum step resolve_found(struct req *r)
{
    struct resolved *found = req_state(r, sizeof *found);

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return STEP_DONE; /* nobody */
    }
    if (found == NULL) {
        return identity_no_memory(r);
    }
    found->key = (const Avanta__Identity__KeyFound *)(const void *)req_row_new(r, 0);
    if (found->key == NULL) {
        return STEP_FAIL;
    }
    if (found->key->use_due) {
        return STEP_NEXT;
    }
    key_found_reply(r, found->key);
    return STEP_DONE;
}

static enum step resolve_use(struct req *r)
{
    const struct resolved *found = req_state(r, sizeof *found);
    Avanta__Identity__KeyUsed *used = arena_alloc(req_arena(r), sizeof *used);

    assert(found->key != NULL);
    if (used == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__key_used__init(used);
    used->key_id = found->key->id;
    return req_query_from(r, Q_API_KEY_USED, &used->base);
}

static enum step resolve_reply(struct req *r)
{
    const struct resolved *found = req_state(r, sizeof *found);

    assert(req_rows(r) == 0);
    key_found_reply(r, found->key);
    return STEP_DONE;
}

const struct op op_identity_resolve_api_key = {
    TX_WRITE, {resolve_select, resolve_found, req_transaction, resolve_use, resolve_reply}
};
