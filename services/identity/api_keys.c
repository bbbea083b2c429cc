/* API keys: made, rotated and revoked by their user, resolved for gateways. Only a hash is kept. */
#include "services/identity/api_keys.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/signatures.h"

#include "libcommon/base/id.h"
#include "libcommon/codec/access.h"
#include "libcommon/codec/network.h"
#include "libcommon/io/digest.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

#define KEYS_PER_USER_MAX 50
#define DAYS_DEFAULT      90
#define OVERLAP_DEFAULT   24
#define KEY_SECRET_BYTES  32U
#define KEY_PREFIX_BYTES  6U /* told to people as hex */
#define PREFIX_TEXT_BYTES (sizeof "avk_" + 2UL * KEY_PREFIX_BYTES)
#define KEY_TEXT_BYTES    (PREFIX_TEXT_BYTES + 44)

_Static_assert(KEY_TEXT_BYTES - 1 == SIGNING_KEY_BYTES, "what is sealed is what is opened");

/* A new key, in the request's state until it is told. */
struct new_key {
    char id[UUID_TEXT_BYTES];
    char prefix[PREFIX_TEXT_BYTES];
    char text[KEY_TEXT_BYTES];
    uint8_t hash[SHA256_BYTES];
    uint8_t sealed[KEY_TEXT_BYTES - 1 + VAULT_EXTRA_BYTES]; /* of a key that signs */
};

/* The purpose that binds a sealed secret to its row. */
static bool api_key_seal(struct req *r, const char *id, struct str text, uint8_t out[])
{
    const struct identity *self = req_service(r);
    char purpose[SIGNING_PURPOSE_BYTES];
    struct err err = {.code = OK};

    assert(text.len == KEY_TEXT_BYTES - 1);
    if (vault_seal(self->vault, signing_purpose(id, purpose), text, out, &err) != OK) {
        (void)req_fail(r, ERR_INTERNAL, "%s", err.text);
        return false;
    }
    return true;
}

static struct new_key *key_make(struct req *r)
{
    struct new_key *key = req_state(r, sizeof *key);
    uint8_t bytes[KEY_PREFIX_BYTES + KEY_SECRET_BYTES];
    char hex[2UL * KEY_PREFIX_BYTES + 1];
    char secret[44];
    struct buf prefix;
    struct buf text;
    bool fits = true;

    if (key == NULL) {
        (void)identity_no_memory(r);
        return NULL;
    }
    prefix = buf_over(key->prefix, sizeof key->prefix);
    text = buf_over(key->text, sizeof key->text);
    random_bytes(bytes, sizeof bytes);
    hex_encode(bytes, KEY_PREFIX_BYTES, hex);
    (void)base64url_encode(bytes + KEY_PREFIX_BYTES, KEY_SECRET_BYTES, secret, sizeof secret);
    buf_printf(&prefix, "avk_%s", hex);
    buf_printf(&text, "avk_%s_%s", hex, secret);
    fits = buf_terminate(&prefix) && buf_terminate(&text);
    assert(fits);
    explicit_bzero(bytes, sizeof bytes);
    explicit_bzero(secret, sizeof secret);
    sha256(buf_view(&text), key->hash);
    uuid_v7(key->id);
    if (!api_key_seal(r, key->id, buf_view(&text), key->sealed)) {
        return NULL;
    }
    return key;
}

/* "a b" as a list. False: error set. */
static bool words(struct req *r, const char *text, size_t *out_count, char ***out)
{
    struct str rest = str_from(text);
    struct str word = STR_EMPTY;
    size_t count = 0;

    assert(out != NULL);
    assert(out_count != NULL);
    *out = arena_calloc(req_arena(r), rest.len / 2 + 2, sizeof(char *));
    while (*out != NULL && rest.len > 0 && str_split(&rest, ' ', &word)) {
        (*out)[count] = arena_strdup(req_arena(r), word);
        if ((*out)[count] == NULL) {
            *out = NULL;
        }
        count++;
    }
    if (*out == NULL) {
        (void)identity_no_memory(r);
        return false;
    }
    *out_count = count;
    return true;
}

/* NULL: error set. */
static Avanta__Identity__ApiKey *key_shown(struct req *r, const Avanta__Identity__ApiKeyRow *row)
{
    Avanta__Identity__ApiKey *out = arena_alloc(req_arena(r), sizeof *out);

    assert(row->id != NULL);
    assert(row->scopes != NULL);
    if (out == NULL) {
        (void)identity_no_memory(r);
        return NULL;
    }
    avanta__identity__api_key__init(out);
    out->id = row->id;
    out->name = row->name;
    out->prefix = row->prefix;
    out->created_at = row->created_at;
    out->expires_at = row->expires_at;
    out->last_used_at = row->last_used_at;
    out->last_used_ip = row->last_used_ip;
    out->replaces = row->replaces;
    out->has_signing = true;
    out->signing = row->signing;
    return words(r, row->scopes, &out->n_scopes, &out->scopes) &&
                   words(r, row->networks, &out->n_allowed_ips, &out->allowed_ips)
               ? out
               : NULL;
}

/* --- list --- */

enum step api_keys_select(struct req *r, const char *owner_id)
{
    Avanta__Identity__OwnerSessions *query = arena_alloc(req_arena(r), sizeof *query);

    assert(owner_id != NULL);
    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__owner_sessions__init(query);
    query->owner_id = identity_text(r, owner_id);
    return query->owner_id == NULL ? identity_no_memory(r)
                                   : req_query_from(r, Q_API_KEY_LIST, &query->base);
}

static enum step list_select(struct req *r)
{
    return api_keys_select(r, req_user_id(r));
}

enum step api_keys_reply(struct req *r)
{
    Avanta__Identity__ListApiKeysReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;
    size_t count = 0;

    if (!req_rows_all(r, &count, &rows)) {
        return STEP_FAIL;
    }
    out->api_keys = arena_calloc(req_arena(r), count + 1, sizeof(void *));
    if (out->api_keys == NULL) {
        return identity_no_memory(r);
    }
    for (size_t i = 0; i < count; i++) {
        out->api_keys[i] = key_shown(r, (const Avanta__Identity__ApiKeyRow *)(const void *)rows[i]);
        if (out->api_keys[i] == NULL) {
            return STEP_FAIL;
        }
    }
    out->n_api_keys = count;
    return STEP_DONE;
}

const struct op op_identity_list_api_keys = {
    TX_READ, {list_select, api_keys_reply}
};

/* --- create --- */

/* A key may carry what its user's role allows and keys may have at all. */
static bool scope_can_be_given(const char *name, const char *role_text)
{
    enum api_permission permission = API_PUBLIC;
    enum role role = ROLE_COUNT;

    assert(name != NULL);
    return permission_find(str_from(name), &permission) && permission_keyed(permission) &&
           role_find(str_from(role_text), &role) &&
           (permission_roles(permission) & (1U << (unsigned)role)) != 0;
}

static bool wishes_good(struct req *r, const struct key_wishes *in)
{
    bool good = true;

    for (size_t i = 0; i < in->scope_count; i++) {
        if (!scope_can_be_given(in->scopes[i], in->role)) {
            (void)req_violation(r,
                                ERR_INVALID,
                                "scopes",
                                "value",
                                "holds %.40s, which is no scope the keys of this role can have",
                                in->scopes[i]);
            good = false;
        }
    }
    for (size_t i = 0; i < in->network_count; i++) {
        struct network network;

        if (!network_parse(str_from(in->networks[i]), &network)) {
            (void)req_violation(r,
                                ERR_INVALID,
                                "allowed_ips",
                                "format",
                                "holds %.40s, which is no address or network",
                                in->networks[i]);
            good = false;
        }
    }
    return good;
}

enum step api_key_insert(struct req *r, const struct key_wishes *in)
{
    Avanta__Identity__ApiKeyNew *row = arena_alloc(req_arena(r), sizeof *row);
    struct new_key *key = NULL;

    assert(in->owner_id != NULL);
    assert(in->role != NULL);
    if (!wishes_good(r, in)) {
        return STEP_FAIL;
    }
    key = key_make(r);
    if (key == NULL) {
        return STEP_FAIL;
    }
    if (row == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__api_key_new__init(row);
    row->id = key->id;
    row->owner_id = identity_text(r, in->owner_id);
    row->name = in->name;
    row->prefix = key->prefix;
    row->has_key_hash = !in->signing;
    row->key_hash = (ProtobufCBinaryData){sizeof key->hash, key->hash};
    row->has_sealed = in->signing;
    row->sealed = (ProtobufCBinaryData){sizeof key->sealed, key->sealed};
    row->n_scopes = in->scope_count;
    row->scopes = in->scopes;
    row->n_networks = in->network_count;
    row->networks = in->networks;
    row->has_days = true;
    row->days = in->days == 0 ? DAYS_DEFAULT : in->days;
    row->has_keys_max = true;
    row->keys_max = KEYS_PER_USER_MAX;
    return row->owner_id == NULL ? identity_no_memory(r)
                                 : req_query_from(r, Q_API_KEY_INSERT, &row->base);
}

static enum step create_insert(struct req *r)
{
    const Avanta__Identity__CreateApiKeyRequest *in = req_in(r);
    const struct key_wishes wishes = {
        .owner_id = req_user_id(r),
        .role = req_principal(r)->role,
        .name = in->name,
        .scope_count = in->n_scopes,
        .scopes = in->scopes,
        .network_count = in->n_allowed_ips,
        .networks = in->allowed_ips,
        .days = in->expires_in_days,
        .signing = in->signing,
    };

    return recent_good(r) ? api_key_insert(r, &wishes) : STEP_FAIL;
}

/* The key's only showing, and the event without it. */
static enum step key_reply(struct req *r, const char *message)
{
    Avanta__Identity__ApiKeyReply *out = req_out(r);
    Avanta__Identity__ApiKeyCreated event = AVANTA__IDENTITY__API_KEY_CREATED__INIT;
    const Avanta__Identity__ApiKeyRow *row =
        (const Avanta__Identity__ApiKeyRow *)(const void *)req_row_new(r, 0);
    struct new_key *key = req_state(r, sizeof *key);

    assert(key->text[0] != '\0');
    if (row == NULL) {
        return STEP_FAIL;
    }
    out->api_key = key_shown(r, row);
    if (out->api_key == NULL) {
        return STEP_FAIL;
    }
    out->has_success = true;
    out->success = true;
    out->message = identity_text(r, message);
    out->key = identity_text(r, key->text);
    explicit_bzero(key->text, sizeof key->text);
    event.id = row->id;
    event.name = row->name;
    event.prefix = row->prefix;
    event.scopes = row->scopes;
    event.allowed_ips = row->networks;
    event.expires_at = row->expires_at;
    event.replaces = row->replaces;
    req_audit_severity(r, "high");
    req_emit_for(r, row->owner_id, &event.base, row->id);
    return out->message == NULL || out->key == NULL ? identity_no_memory(r) : STEP_DONE;
}

enum step api_key_inserted(struct req *r)
{
    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_refuse(r, AVANTA__REASON__TOO_MANY_API_KEYS);
    }
    return key_reply(r, "Keep the key: it is not shown again");
}

const struct op op_identity_create_api_key = {
    TX_WRITE, {recent_select, create_insert, api_key_inserted}
};

/* --- rotate --- */

static enum step rotate_insert(struct req *r)
{
    const Avanta__Identity__RotateApiKeyRequest *in = req_in(r);
    Avanta__Identity__ApiKeyRotation *row = arena_alloc(req_arena(r), sizeof *row);
    struct new_key *key = NULL;

    assert(in->id != NULL);
    if (!recent_good(r)) {
        return STEP_FAIL;
    }
    key = key_make(r);
    if (key == NULL) {
        return STEP_FAIL;
    }
    if (row == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__api_key_rotation__init(row);
    row->id = key->id;
    row->prefix = key->prefix;
    row->has_key_hash = true;
    row->key_hash = (ProtobufCBinaryData){sizeof key->hash, key->hash};
    row->has_sealed = true;
    row->sealed = (ProtobufCBinaryData){sizeof key->sealed, key->sealed};
    row->old_id = in->id;
    row->has_overlap_hours = true;
    row->overlap_hours = in->has_overlap_hours ? in->overlap_hours : OVERLAP_DEFAULT;
    return req_query_from(r, Q_API_KEY_ROTATE, &row->base);
}

static enum step no_such_key(struct req *r)
{
    assert(req_rows(r) == 0);
    return req_fail(r, ERR_NOT_FOUND, "The API key was not found");
}

/* The old key, which has less time now. */
static bool old_key_tell(struct req *r)
{
    const Avanta__Identity__ApiKeyRow *row =
        (const Avanta__Identity__ApiKeyRow *)(const void *)req_row_new(r, 0);
    Avanta__Identity__ApiKeyUpdated event = AVANTA__IDENTITY__API_KEY_UPDATED__INIT;
    Avanta__Identity__ApiKeyState before = AVANTA__IDENTITY__API_KEY_STATE__INIT;
    Avanta__Identity__ApiKeyState after = AVANTA__IDENTITY__API_KEY_STATE__INIT;

    if (row == NULL) {
        return false;
    }
    assert(row->replaces != NULL);
    before.expires_at = row->old_expires_at;
    after.expires_at = row->cut_expires_at;
    event.id = row->replaces;
    event.before = &before;
    event.after = &after;
    req_emit(r, &event.base, row->replaces);
    return true;
}

static enum step rotate_reply(struct req *r)
{
    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return no_such_key(r);
    }
    access_changed_publish(r, req_user_id(r)); /* gateways know the old expiry */
    if (!old_key_tell(r)) {
        return STEP_FAIL;
    }
    return key_reply(r, "Keep the new key: it is not shown again");
}

const struct op op_identity_rotate_api_key = {
    TX_WRITE, {recent_select, rotate_insert, rotate_reply}
};

/* --- revoke --- */

enum step api_key_revoke(struct req *r, const char *owner_id, const char *id)
{
    Avanta__Identity__ApiKeyOfOwner *query = arena_alloc(req_arena(r), sizeof *query);

    assert(owner_id != NULL);
    assert(id != NULL);
    if (query == NULL) {
        return identity_no_memory(r);
    }
    avanta__identity__api_key_of_owner__init(query);
    query->id = identity_text(r, id);
    query->owner_id = identity_text(r, owner_id);
    return query->id == NULL || query->owner_id == NULL
               ? identity_no_memory(r)
               : req_query_from(r, Q_API_KEY_REVOKE, &query->base);
}

static enum step revoke_update(struct req *r)
{
    const Avanta__Identity__ApiKeyIdRequest *in = req_in(r);

    return api_key_revoke(r, req_user_id(r), in->id);
}

enum step api_key_revoked(struct req *r)
{
    Avanta__Identity__ApiKeyRevoked event = AVANTA__IDENTITY__API_KEY_REVOKED__INIT;
    Avanta__Identity__ApiKeyState before = AVANTA__IDENTITY__API_KEY_STATE__INIT;
    const Avanta__Identity__ApiKeyRow *row = NULL;

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return no_such_key(r);
    }
    row = (const Avanta__Identity__ApiKeyRow *)(const void *)req_row_new(r, 0);
    if (row == NULL) {
        return STEP_FAIL;
    }
    assert(row->id != NULL);
    req_publish(r, "ctl.revoke", str_from(row->id)); /* as gateways know it, not as it was spelt */
    before.name = row->name;
    before.prefix = row->prefix;
    before.scopes = row->scopes;
    before.allowed_ips = row->networks;
    before.expires_at = row->expires_at;
    event.id = row->id;
    event.before = &before;
    req_audit_severity(r, "high");
    req_emit_for(r, row->owner_id, &event.base, row->id);
    return identity_done(r, "API key revoked");
}

const struct op op_identity_revoke_api_key = {
    TX_WRITE, {revoke_update, api_key_revoked}
};
