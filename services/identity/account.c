/* The caller's profile and settings. */
#include "identity_ops.gen.h"
#include "identity_sql.gen.h"
#include "services/identity/identity.h"

#include "libcommon/codec/transcode.h"
#include "libcommon/service/req.h"

#include <assert.h>
#include <string.h>

/* --- profile --- */

static enum step profile_select(struct req *r)
{
    return req_query(r, Q_PROFILE_SELECT);
}

static enum step profile_answer(struct req *r, size_t row, const char *message)
{
    Avanta__Identity__ProfileReply *out = req_out(r);

    assert(row < req_rows(r));
    assert(out->user == NULL);
    out->user = (Avanta__Identity__Profile *)(void *)req_row_new(r, row);
    if (out->user == NULL) {
        return STEP_FAIL;
    }
    out->has_success = true;
    out->success = true;
    out->message = message == NULL ? NULL : identity_text(r, message);
    return message != NULL && out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

static enum step profile_reply(struct req *r)
{
    assert(req_rows(r) <= 1);
    return req_rows(r) == 0 ? identity_no_such_user(r) : profile_answer(r, 0, NULL);
}

const struct op op_identity_get_profile = {
    TX_READ, {profile_select, profile_reply}
};

static enum step profile_update(struct req *r)
{
    const Avanta__Identity__UpdateProfileRequest *in = req_in(r);

    if (in->name == NULL && in->preferences == NULL && in->avatar_url == NULL &&
        in->n_cleared == 0) {
        return req_fail(r, ERR_INVALID, "Nothing to change was given");
    }
    if (in->preferences != NULL && in->preferences[0] != '{') {
        return req_violation(r, ERR_INVALID, "preferences", "type", "must be an object");
    }
    return req_query(r, Q_PROFILE_UPDATE);
}

static enum step profile_updated(struct req *r)
{
    Avanta__Identity__ProfileUpdated event = AVANTA__IDENTITY__PROFILE_UPDATED__INIT;
    Avanta__Identity__ProfileReply *out = req_out(r);
    enum step step = STEP_FAIL;

    if (req_rows(r) == 0) {
        return identity_no_such_user(r);
    }
    assert(req_rows(r) == 2);
    event.before = (Avanta__Identity__Profile *)(void *)req_row_new(r, 0);
    step = event.before == NULL ? STEP_FAIL : profile_answer(r, 1, "Profile updated successfully");
    if (step == STEP_DONE) {
        assert(out->user->id != NULL);
        event.user = out->user;
        req_emit(r, &event.base, out->user->id);
    }
    return step;
}

const struct op op_identity_update_profile = {
    TX_WRITE, {profile_update, profile_updated}
};

/* --- settings --- */

/* For the settings page; the names are the front end's. */
static const char categories[] =
    "{\"appearance\":{\"name\":\"Apariencia\",\"description\":\"Personaliza el aspecto de la "
    "aplicaci\\u00f3n\",\"settings\":[\"theme\",\"language\"]},"
    "\"regional\":{\"name\":\"Regional\",\"description\":\"Configuraci\\u00f3n regional y de "
    "formato\",\"settings\":[\"currency\",\"date_format\",\"time_format\","
    "\"decimal_separator\",\"thousands_separator\"]},"
    "\"notifications\":{\"name\":\"Notificaciones\",\"description\":\"Gestiona tus preferencias "
    "de notificaci\\u00f3n\",\"settings\":[\"notifications_enabled\",\"email_notifications\"]},"
    "\"fiscal\":{\"name\":\"Fiscal\",\"description\":\"Configuraci\\u00f3n fiscal y "
    "tributaria\",\"settings\":[\"fiscal_regime\",\"tax_residence\"]},"
    "\"dashboard\":{\"name\":\"Dashboard\",\"description\":\"Personaliza tu panel de "
    "control\",\"settings\":[\"dashboard_layout\"]}}";

static enum step settings_select(struct req *r)
{
    return req_query(r, Q_SETTINGS_SELECT);
}

static Avanta__Identity__Settings *settings_row(struct req *r)
{
    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        (void)identity_no_such_user(r);
        return NULL;
    }
    return (Avanta__Identity__Settings *)(void *)req_row_new(r, 0);
}

static enum step settings_reply(struct req *r)
{
    Avanta__Identity__SettingsReply *out = req_out(r);

    assert(out->settings == NULL);
    out->settings = settings_row(r);
    out->categories = identity_text(r, categories);
    if (out->settings == NULL) {
        return STEP_FAIL;
    }
    return out->categories == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_get_settings = {
    TX_READ, {settings_select, settings_reply}
};

static char *const *text_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    assert(field->type == PROTOBUF_C_TYPE_STRING);
    return (char *const *)(const void *)((const char *)message + field->offset);
}

static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;

    assert(field->label == PROTOBUF_C_LABEL_OPTIONAL);
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return *text_at(message, field) != NULL;
    }
    return *(const protobuf_c_boolean *)(const void *)(base + field->quantifier_offset) != 0;
}

/* Both are rows, where every setting is set. */
static bool
is_same(const ProtobufCMessage *a, const ProtobufCMessage *b, const ProtobufCFieldDescriptor *field)
{
    const size_t at = field->offset;

    assert(is_set(a, field));
    assert(is_set(b, field));
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        return strcmp(*text_at(a, field), *text_at(b, field)) == 0;
    }
    assert(field->type == PROTOBUF_C_TYPE_BOOL);
    return memcmp((const char *)a + at, (const char *)b + at, sizeof(protobuf_c_boolean)) == 0;
}

static void unset(ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    char *base = (char *)message;

    if (field->type == PROTOBUF_C_TYPE_STRING) {
        *(char **)(void *)(base + field->offset) = NULL;
    } else {
        *(protobuf_c_boolean *)(void *)(base + field->quantifier_offset) = 0;
    }
    assert(!is_set(message, field));
}

/* The names of the settings that were given, for the reply. */
static bool updated_fill(struct req *r,
                         const ProtobufCMessage *given,
                         Avanta__Identity__UpdateSettingsReply *out)
{
    const ProtobufCMessageDescriptor *descriptor = given->descriptor;

    assert(out->n_updated == 0);
    out->updated = arena_calloc(req_arena(r), descriptor->n_fields + 1, sizeof(char *));
    for (unsigned i = 0; out->updated != NULL && i < descriptor->n_fields; i++) {
        if (is_set(given, &descriptor->fields[i])) {
            out->updated[out->n_updated++] = transcode_constant(descriptor->fields[i].name);
        }
    }
    return out->updated != NULL;
}

/* Settings before a change of them; the user is locked, so nobody changes them meanwhile. */
struct resetting {
    Avanta__Identity__Settings *before;
};

static enum step settings_lock(struct req *r)
{
    return req_query(r, Q_SETTINGS_LOCK);
}

/* False: error set. */
static bool settings_keep(struct req *r)
{
    struct resetting *resetting = req_state(r, sizeof *resetting);

    resetting->before = settings_row(r);
    return resetting->before != NULL;
}

static enum step settings_check(struct req *r)
{
    const Avanta__Identity__UpdateSettingsRequest *in = req_in(r);
    Avanta__Identity__UpdateSettingsReply *out = req_out(r);

    assert(in->settings != NULL);
    if (!updated_fill(r, &in->settings->base, out)) {
        return identity_no_memory(r);
    }
    return out->n_updated == 0 ? req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS) : settings_lock(r);
}

static enum step settings_update(struct req *r)
{
    const Avanta__Identity__UpdateSettingsRequest *in = req_in(r);

    assert(in->settings != NULL);
    return settings_keep(r) ? req_query_from(r, Q_SETTINGS_UPDATE, &in->settings->base) : STEP_FAIL;
}

/* What changed, as it was and as it is. */
static void settings_emit(struct req *r, const Avanta__Identity__Settings *settings)
{
    struct resetting *resetting = req_state(r, sizeof *resetting);
    Avanta__Identity__SettingsUpdated event = AVANTA__IDENTITY__SETTINGS_UPDATED__INIT;
    Avanta__Identity__Settings before = *resetting->before;
    Avanta__Identity__Settings after = *settings;
    const ProtobufCMessageDescriptor *descriptor = after.base.descriptor;

    assert(settings->theme != NULL); /* the defaults are in it */
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &descriptor->fields[i];

        if (is_same(&before.base, &after.base, field)) {
            unset(&before.base, field);
            unset(&after.base, field);
        }
    }
    event.settings = &after;
    event.before = &before;
    req_emit(r, &event.base, req_user_id(r));
}

static enum step settings_updated(struct req *r)
{
    Avanta__Identity__UpdateSettingsReply *out = req_out(r);

    assert(out->n_updated > 0);
    out->settings = settings_row(r);
    out->message = identity_text(r, "Configuración actualizada");
    if (out->settings == NULL) {
        return STEP_FAIL;
    }
    settings_emit(r, out->settings);
    return out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_update_settings = {
    TX_WRITE,
    {settings_check, settings_select, settings_update, settings_select, settings_updated}
};

static enum step settings_reset(struct req *r)
{
    if (!settings_keep(r)) {
        return STEP_FAIL;
    }
    return req_query(r, Q_SETTINGS_RESET);
}

static enum step settings_were_reset(struct req *r)
{
    Avanta__Identity__ResetSettingsReply *out = req_out(r);

    out->settings = settings_row(r);
    out->message = identity_text(r, "Configuración restablecida a valores predeterminados");
    if (out->settings == NULL) {
        return STEP_FAIL;
    }
    settings_emit(r, out->settings);
    return out->message == NULL ? identity_no_memory(r) : STEP_DONE;
}

const struct op op_identity_reset_settings = {
    TX_WRITE,
    {settings_lock, settings_select, settings_reset, settings_select, settings_were_reset}
};
