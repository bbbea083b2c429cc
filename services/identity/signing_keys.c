/* Signing keys: made, rotated, dropped. Whatever changes the table holds one lock of the database
 * and reads the table under it, so replicas never make two keys at a time. A keyring takes up only
 * what is committed. */
#include "services/identity/signing_keys.h"

#include "avanta/identity_internal.pb-c.h"
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/log.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

#define SKEW_S 60 /* clocks of gateways, and requests under way */

/* A key that is being made. */
struct rotation {
    bool first;
    bool due;
    bool made;
    const char *cause;
    char kid[TOKEN_KID_BYTES];
    uint8_t sealed[KEYRING_SEALED_BYTES];
    Avanta__Identity__SigningKeyNew row;
};

static struct rotation *rotation_of(struct req *r)
{
    return req_state(r, sizeof(struct rotation));
}

static enum step no_memory(struct req *r)
{
    return req_fail(r, ERR_TOO_LARGE, "the request needs too much memory");
}

/* --- the table into the keyring --- */

static struct keyring_row row_of(const Avanta__Identity__SigningKeyRow *from)
{
    assert(from->kid != NULL);
    assert(from->use_from_ms >= 0);
    assert(from->honoured_until_ms >= 0);
    return (struct keyring_row){
        .kid = from->kid,
        .sealed = {(const char *)from->sealed.data, from->sealed.len},
        .use_from_ms = (uint64_t)from->use_from_ms,
        .honoured_until_ms = (uint64_t)from->honoured_until_ms,
    };
}

enum step signing_keys_take(struct req *r)
{
    struct identity *self = req_service(r);
    struct keyring_row rows[SIGNING_KEYS_MAX];
    ProtobufCMessage **found = NULL;
    size_t count = 0;
    struct err err = {.code = OK};

    assert(self != NULL);
    assert(self->vault != NULL);
    if (!req_rows_all(r, &count, &found)) {
        return STEP_FAIL;
    }
    if (count > SIGNING_KEYS_MAX) {
        return req_fail(r, ERR_INTERNAL, "there are %zu signing keys", count);
    }
    for (size_t i = 0; i < count; i++) {
        rows[i] = row_of((const Avanta__Identity__SigningKeyRow *)(const void *)found[i]);
    }
    if (keyring_load(&self->keyring, self->vault, rows, count, &err) != OK) {
        log_event(LOG_ERROR,
                  "signing_key_unreadable",
                  LOG_S("error", err.text),
                  LOG_S("hint", "is AVANTA_SECRETS_KEY the one of this database?"));
        return req_fail(r, ERR_INTERNAL, "%s", err.text);
    }
    if (count > 0) {
        const Avanta__Identity__SigningKeyRow *last = (const void *)found[count - 1];

        keyring_time(&self->keyring, (uint64_t)last->now_ms, clock_mono_ms());
    }
    return STEP_NEXT;
}

static enum step load_select(struct req *r)
{
    return req_query(r, Q_SIGNING_KEYS_LIVE);
}

static enum step load_take(struct req *r)
{
    const struct identity *self = req_service(r);

    if (signing_keys_take(r) != STEP_NEXT) {
        return STEP_FAIL;
    }
    return self->keyring.count > 0 ? STEP_DONE
                                   : req_fail(r, ERR_UNAVAILABLE, "there is no signing key yet");
}

const struct op op_identity_signing_keys_load = {
    TX_READ, {load_select, load_take}
};

/* --- a new key --- */

static enum step change_lock(struct req *r)
{
    return req_query(r, Q_SIGNING_KEYS_LOCK);
}

static enum step change_select(struct req *r)
{
    return req_query(r, Q_SIGNING_KEYS_LIVE);
}

/* Signs `ahead_s` from now; until then and a token's life longer the one before it is honoured. */
static enum step key_insert(struct req *r, const char *cause, uint64_t ahead_s)
{
    const struct identity *self = req_service(r);
    struct rotation *rotation = rotation_of(r);
    struct err err = {.code = OK};

    assert(cause != NULL);
    if (rotation == NULL) {
        return no_memory(r);
    }
    if (keyring_make(self->vault, rotation->kid, rotation->sealed, &err) != OK) {
        return req_fail(r, ERR_INTERNAL, "%s", err.text);
    }
    rotation->cause = cause;
    rotation->made = true;
    avanta__identity__signing_key_new__init(&rotation->row);
    rotation->row.kid = rotation->kid;
    rotation->row.has_sealed = true;
    rotation->row.sealed = (ProtobufCBinaryData){sizeof rotation->sealed, rotation->sealed};
    rotation->row.has_ahead_s = true;
    rotation->row.ahead_s = ahead_s;
    rotation->row.has_honoured_s = true;
    rotation->row.honoured_s = self->config.token_seconds + SKEW_S;
    return req_query_from(r, Q_SIGNING_KEY_INSERT, &rotation->row.base);
}

/* Gateways fetch the keys once they hear of it. */
static void key_tell(struct req *r, const char *user_id)
{
    struct rotation *rotation = rotation_of(r);
    Avanta__Identity__SigningKeyRotated event = AVANTA__IDENTITY__SIGNING_KEY_ROTATED__INIT;

    assert(rotation->made);
    assert(rotation->kid[0] != '\0');
    event.kid = rotation->kid;
    event.cause = arena_strdup(req_arena(r), str_from(rotation->cause));
    req_emit_for(r, user_id, &event.base, rotation->kid);
    req_publish(r, "ctl.keys", str_from(rotation->kid));
    log_event(
        LOG_INFO, "signing_key_made", LOG_S("kid", rotation->kid), LOG_S("cause", rotation->cause));
}

/* --- by the clock --- */

/* Decides at once: by the next step another request with an older look at the table may have
 * changed the keyring. */
static enum step scheduled_expire(struct req *r)
{
    const struct identity *self = req_service(r);
    const struct keyring *keyring = &self->keyring;
    struct rotation *rotation = rotation_of(r);

    if (signing_keys_take(r) != STEP_NEXT) {
        return STEP_FAIL;
    }
    rotation->first = keyring->count == 0;
    rotation->due = keyring_is_due(keyring,
                                   clock_mono_ms(),
                                   self->config.key_rotate_hours * 3600 * 1000,
                                   self->config.key_ahead_s * 1000);
    return req_query(r, Q_SIGNING_KEYS_EXPIRE);
}

static enum step scheduled_insert(struct req *r)
{
    const struct identity *self = req_service(r);
    const struct rotation *rotation = rotation_of(r);

    if (rotation->first) { /* nobody can have a token yet, so nobody waits for it */
        return key_insert(r, "first", 0);
    }
    return rotation->due ? key_insert(r, "scheduled", self->config.key_ahead_s) : STEP_DONE;
}

static enum step scheduled_tell(struct req *r)
{
    key_tell(r, SYSTEM_USER_ID);
    return STEP_DONE;
}

const struct op op_identity_signing_keys_rotate = {
    TX_WRITE_ALONE,
    {change_lock, change_select, scheduled_expire, scheduled_insert, scheduled_tell}
};

/* --- by an administrator --- */

static enum step requested_lock(struct req *r)
{
    return recent_good(r) ? change_lock(r) : STEP_FAIL;
}

static enum step requested_decide(struct req *r)
{
    const Avanta__Identity__RotateSigningKeyRequest *in = req_in(r);
    const struct identity *self = req_service(r);
    const struct keyring *keyring = &self->keyring;
    Avanta__Identity__RotateSigningKeyReply *out = req_out(r);

    if (signing_keys_take(r) != STEP_NEXT) {
        return STEP_FAIL;
    }
    if (in->has_compromised && in->compromised) {
        return req_query(r, Q_SIGNING_KEYS_DROP);
    }
    if (keyring_has_next(keyring, clock_mono_ms())) {
        out->kid = arena_strdup(req_arena(r), str_from(keyring->keys[keyring->count - 1].kid));
        out->has_created = true;
        out->created = false;
        return out->kid == NULL ? no_memory(r) : STEP_DONE;
    }
    return keyring->count < SIGNING_KEYS_MAX
               ? STEP_NEXT
               : req_fail(r, ERR_CONFLICT, "Too many keys are still honoured: wait some minutes");
}

static enum step requested_insert(struct req *r)
{
    const Avanta__Identity__RotateSigningKeyRequest *in = req_in(r);
    const struct identity *self = req_service(r);

    return in->has_compromised && in->compromised
               ? key_insert(r, "compromised", 0)
               : key_insert(r, "requested", self->config.key_ahead_s);
}

static enum step requested_reply(struct req *r)
{
    const Avanta__Identity__RotateSigningKeyRequest *in = req_in(r);
    Avanta__Identity__RotateSigningKeyReply *out = req_out(r);

    req_audit_severity(r, in->has_compromised && in->compromised ? "critical" : "high");
    key_tell(r, req_user_id(r));
    out->kid = arena_strdup(req_arena(r), str_from(rotation_of(r)->kid));
    out->has_created = true;
    out->created = true;
    return out->kid == NULL ? no_memory(r) : STEP_DONE;
}

const struct op op_identity_rotate_signing_key = {
    TX_WRITE_ALONE,
    {recent_select,
      requested_lock, change_select,
      requested_decide, requested_insert,
      requested_reply}
};

static enum step list_select(struct req *r)
{
    return req_query(r, Q_SIGNING_KEYS_LIST);
}

static enum step list_reply(struct req *r)
{
    return req_reply_rows(r, "keys");
}

const struct op op_identity_list_signing_keys = {
    TX_READ, {list_select, list_reply}
};
