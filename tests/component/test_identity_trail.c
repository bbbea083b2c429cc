/* What identity's operations leave in the audit trail: one record for each thing that changed, with
 * what it was before, and never a secret. */
#include "tests/support/check.h"
#include "tests/support/mfa_client.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/trail.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>

#define SECRETS_KEY    "4040404040404040404040404040404040404040404040404040404040404040"
#define NEW_PASSWORD   "Otra clave larga 8"
#define WRONG_PASSWORD "No es la clave 1"
#define WAIT_MS_MAX    8000
#define SECRETS_MAX    64
#define SECRET_BYTES   256

static struct service_rig rig;
static struct trail trail;
static struct mfa_user admin;
static char secrets[SECRETS_MAX][SECRET_BYTES]; /* that were used */
static size_t secret_count;

/* The first key is made after the service says that it is ready to make it. */
static void wait_for_key(void)
{
    Avanta__Identity__GetKeysRequest in = AVANTA__IDENTITY__GET_KEYS_REQUEST__INIT;
    const uint64_t until = clock_mono_ms() + WAIT_MS_MAX;
    enum code code = ERR_UNAVAILABLE;

    while (code != OK) {
        struct service_call call = {.method = service_method("identity.GetKeys"), .in = &in.base};

        assert_true(clock_mono_ms() < until);
        code = service_call(&rig, &call);
        service_call_end(&call);
    }
}

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_ARGON2_KIB", "8");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_open(&rig, "identity", 1);
    wait_for_key();
    trail_open(&trail, rig.dsn);
    mfa_user_make(&admin, &rig, "jefa");
    mfa_run(&admin, "UPDATE users SET role = 'admin' WHERE id = '%s'");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    trail_close(&trail);
    service_rig_close(&rig);
    return 0;
}

/* The messages' texts are not written. */
static char *text(const char *given)
{
    return (char *)(uintptr_t)given;
}

static void secret_used(const char *secret)
{
    assert_true(secret_count < SECRETS_MAX);
    assert_true(strlen(secret) > 5);
    (void)snprintf(secrets[secret_count++], SECRET_BYTES, "%s", secret);
}

static struct service_call call_by(const struct mfa_user *user, const char *method)
{
    return (struct service_call){
        .method = service_method(method),
        .user = user->id,
        .email = user->email,
        .session = user->session,
    };
}

static void done(struct mfa_user *user, const char *method, const ProtobufCMessage *in)
{
    struct service_call call = call_by(user, method);

    call.in = in;
    call.role = user == &admin ? "admin" : NULL;
    (void)trail_read(&trail);
    if (service_call(&rig, &call) != OK) {
        fail_msg("%s: %s %s", method, code_wire(call.code), call.detail);
    }
    service_call_end(&call);
}

/* The one record of the last request. */
static const Avanta__AuditRecord *
only(const char *method, const char *action, const char *entity, const char *id)
{
    const Avanta__AuditRecord *record = NULL;

    if (trail_read(&trail) != 1) {
        fail_msg("%s: %zu records", method, trail.count);
    }
    record = trail_one(&trail, action, entity, id);
    assert_string_equal(record->method, method);
    assert_non_null(record->request_id);
    return record;
}

/* --- the user's own --- */

static void a_profile_says_what_it_was(void **state)
{
    Avanta__Identity__UpdateProfileRequest in = AVANTA__IDENTITY__UPDATE_PROFILE_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user ana;

    (void)state;
    mfa_user_make(&ana, &rig, "ana");
    assert_int_equal(trail_read(&trail), 4); /* the administrator's, and hers: user and session */
    record = trail_one(&trail, "register", "user", ana.id);
    assert_string_equal(trail_value(record->details, "email"), "ana@example.com");
    (void)trail_one(&trail, "login", "session", ana.session);
    in.name = text("Ana dos");
    in.preferences = text("{\"a\":1}");
    done(&ana, "identity.UpdateProfile", &in.base);
    record = only("identity.UpdateProfile", "update", "user", ana.id);
    assert_string_equal(trail_value(record->before, "name"), "Persona");
    assert_string_equal(trail_value(record->before, "email"), "ana@example.com");
    assert_string_equal(trail_value(record->details, "user.name"), "Ana dos");
    assert_string_equal(trail_value(record->details, "user.preferences.a"), "1");
    assert_string_equal(record->session_id, ana.session);
    assert_string_equal(record->credential, "session");
}

static void settings_say_what_changed(void **state)
{
    Avanta__Identity__Settings settings = AVANTA__IDENTITY__SETTINGS__INIT;
    Avanta__Identity__UpdateSettingsRequest in = AVANTA__IDENTITY__UPDATE_SETTINGS_REQUEST__INIT;
    Avanta__Identity__ResetSettingsRequest reset = AVANTA__IDENTITY__RESET_SETTINGS_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user bea;

    (void)state;
    mfa_user_make(&bea, &rig, "bea");
    settings.theme = text("dark");
    settings.language = text("es"); /* as it is */
    settings.has_email_notifications = true;
    in.settings = &settings;
    done(&bea, "identity.UpdateSettings", &in.base);
    record = only("identity.UpdateSettings", "update", "settings", bea.id);
    assert_string_equal(record->before, "{\"theme\":\"system\",\"email_notifications\":true}");
    assert_string_equal(record->details,
                        "{\"settings\":{\"theme\":\"dark\",\"email_notifications\":false}}");
    done(&bea, "identity.ResetSettings", &reset.base);
    record = only("identity.ResetSettings", "update", "settings", bea.id);
    assert_string_equal(record->before, "{\"theme\":\"dark\",\"email_notifications\":false}");
    done(&bea, "identity.ResetSettings", &reset.base);
    record = only("identity.ResetSettings", "update", "settings", bea.id);
    assert_string_equal(record->before, "{}");
}

static void sessions_leave_their_records(void **state)
{
    Avanta__Identity__ReauthenticateRequest again = AVANTA__IDENTITY__REAUTHENTICATE_REQUEST__INIT;
    Avanta__Identity__EndSessionRequest one = AVANTA__IDENTITY__END_SESSION_REQUEST__INIT;
    Avanta__Identity__EndOtherSessionsRequest others =
        AVANTA__IDENTITY__END_OTHER_SESSIONS_REQUEST__INIT;
    Avanta__Identity__LogoutRequest out = AVANTA__IDENTITY__LOGOUT_REQUEST__INIT;
    struct mfa_user cora;
    char first[64];

    (void)state;
    mfa_user_make(&cora, &rig, "cora");
    secret_used(cora.refresh);
    (void)snprintf(first, sizeof first, "%s", cora.session);
    (void)trail_read(&trail);
    assert_int_equal(mfa_refresh(&cora).code, OK);
    secret_used(cora.refresh);
    (void)only("identity.Refresh", "refresh", "session", cora.session);
    assert_int_equal(mfa_login(&cora, MFA_PASSWORD, NULL).code, OK);
    (void)only("identity.Login", "login", "session", cora.session);
    again.password = text(MFA_PASSWORD);
    done(&cora, "identity.Reauthenticate", &again.base);
    (void)only("identity.Reauthenticate", "reauthenticate", "session", cora.session);
    one.id = first;
    done(&cora, "identity.EndSession", &one.base);
    (void)only("identity.EndSession", "logout", "session", first);
    done(&cora, "identity.EndOtherSessions", &others.base);
    (void)only("identity.EndOtherSessions", "end", "session", NULL);
    done(&cora, "identity.Logout", &out.base);
    (void)only("identity.Logout", "logout", "session", cora.session);
}

static void failed_entries_leave_their_records(void **state)
{
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user dora;
    struct mfa_user nobody = {.rig = &rig, .email = "nadie@example.com"};

    (void)state;
    mfa_user_make(&dora, &rig, "dora");
    (void)trail_read(&trail);
    assert_int_equal(mfa_login(&dora, WRONG_PASSWORD, NULL).code, ERR_UNAUTHENTICATED);
    record = only("identity.Login", "login", "session", NULL);
    assert_string_equal(record->status, "failed");
    assert_string_equal(record->user_id, dora.id);
    assert_int_equal(mfa_login(&nobody, WRONG_PASSWORD, NULL).code, ERR_UNAUTHENTICATED);
    record = only("identity.Login", "login", "session", NULL);
    assert_string_equal(record->status, "failed");
    assert_string_equal(record->user_id, "");
}

static void a_password_is_never_told(void **state)
{
    Avanta__Identity__ChangePasswordRequest in = AVANTA__IDENTITY__CHANGE_PASSWORD_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user eva;

    (void)state;
    mfa_user_make(&eva, &rig, "eva");
    in.current_password = text(MFA_PASSWORD);
    in.new_password = text(NEW_PASSWORD);
    done(&eva, "identity.ChangePassword", &in.base);
    record = only("identity.ChangePassword", "password_change", "user", eva.id);
    assert_null(record->before);
    assert_string_equal(record->severity, "high");
}

/* --- access --- */

static void key_make(struct mfa_user *user, bool signing, char id[64])
{
    char *scopes[] = {text("books:read")};
    char *networks[] = {text("203.0.113.0/24")};
    Avanta__Identity__CreateApiKeyRequest in = AVANTA__IDENTITY__CREATE_API_KEY_REQUEST__INIT;
    struct service_call call = call_by(user, "identity.CreateApiKey");

    in.name = text("clave");
    in.n_scopes = 1;
    in.scopes = scopes;
    in.n_allowed_ips = 1;
    in.allowed_ips = networks;
    in.signing = signing;
    in.has_signing = true;
    call.in = &in.base;
    (void)trail_read(&trail);
    assert_int_equal(service_call(&rig, &call), OK);
    const Avanta__Identity__ApiKeyReply *out = call.out;
    secret_used(out->key);
    (void)snprintf(id, 64, "%s", out->api_key->id);
    service_call_end(&call);
    (void)only("identity.CreateApiKey", "create", "api_key", id);
}

static void api_keys_say_what_they_could(void **state)
{
    Avanta__Identity__RotateApiKeyRequest in = AVANTA__IDENTITY__ROTATE_API_KEY_REQUEST__INIT;
    Avanta__Identity__ApiKeyIdRequest revoke = AVANTA__IDENTITY__API_KEY_ID_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user fe;
    char id[64];
    char signing[64];

    (void)state;
    mfa_user_make(&fe, &rig, "fe");
    key_make(&fe, true, signing);
    key_make(&fe, false, id);
    in.id = id;
    struct service_call call = call_by(&fe, "identity.RotateApiKey");
    call.in = &in.base;
    assert_int_equal(service_call(&rig, &call), OK);
    const Avanta__Identity__ApiKeyReply *out = call.out;
    secret_used(out->key);
    assert_int_equal(trail_read(&trail), 2);
    record = trail_one(&trail, "create", "api_key", out->api_key->id);
    assert_string_equal(trail_value(record->details, "scopes"), "books:read");
    assert_string_equal(trail_value(record->details, "replaces"), id);
    service_call_end(&call);
    record = trail_one(&trail, "update", "api_key", id);
    assert_true(strcmp(trail_value(record->before, "expires_at"),
                       trail_value(record->details, "after.expires_at")) > 0);
    revoke.id = id;
    done(&fe, "identity.RevokeApiKey", &revoke.base);
    record = only("identity.RevokeApiKey", "revoke", "api_key", id);
    assert_string_equal(trail_value(record->before, "scopes"), "books:read");
    assert_string_equal(trail_value(record->before, "allowed_ips"), "203.0.113.0/24");
    assert_int_equal(strlen(trail_value(record->before, "expires_at")), 19);
}

static void grants_say_what_they_allowed(void **state)
{
    Avanta__Identity__CreateGrantRequest in = AVANTA__IDENTITY__CREATE_GRANT_REQUEST__INIT;
    Avanta__Identity__GrantIdRequest revoke = AVANTA__IDENTITY__GRANT_ID_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user gema;
    char id[64];

    (void)state;
    mfa_user_make(&gema, &rig, "gema");
    in.email = text("conta@example.com");
    in.access = text("read");
    done(&gema, "identity.CreateGrant", &in.base);
    assert_int_equal(trail_read(&trail), 1);
    (void)snprintf(id, sizeof id, "%s", trail.records[0]->entity_id);
    in.access = text("write");
    done(&gema, "identity.CreateGrant", &in.base); /* in the place of the first */
    assert_int_equal(trail_read(&trail), 2);
    record = trail_one(&trail, "revoke", "access_grant", id);
    assert_string_equal(trail_value(record->before, "access"), "read");
    record = trail.records[1];
    assert_string_equal(record->action_type, "create");
    (void)snprintf(id, sizeof id, "%s", record->entity_id);
    revoke.id = id;
    done(&gema, "identity.RevokeGrant", &revoke.base);
    record = only("identity.RevokeGrant", "revoke", "access_grant", id);
    assert_string_equal(trail_value(record->before, "access"), "write");
    assert_string_equal(trail_value(record->before, "email"), "conta@example.com");
}

/* --- the second factor --- */

static void the_second_factor_leaves_its_records(void **state)
{
    struct mfa_user hana;
    char code[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make(&hana, &rig, "hana");
    (void)trail_read(&trail);
    assert_int_equal(mfa_enroll(&hana, MFA_PASSWORD).code, OK);
    secret_used(hana.secret);
    (void)only("identity.EnrollMfa", "enroll", "mfa", hana.id);
    mfa_code(hana.secret, 0, code);
    assert_int_equal(mfa_verify(&hana, code).code, OK);
    (void)only("identity.VerifyMfa", "enable", "mfa", hana.id);
    for (size_t i = 0; i < MFA_CODES_MAX; i++) {
        secret_used(hana.codes[i]);
    }
    assert_int_equal(mfa_renew(&hana, MFA_PASSWORD, hana.codes[0], NULL).code, OK);
    assert_int_equal(trail_read(&trail), 2);
    (void)trail_one(&trail, "recovery_code_use", "mfa", hana.id);
    (void)trail_one(&trail, "recovery_codes_renew", "mfa", hana.id);
    for (size_t i = 0; i < MFA_CODES_MAX; i++) {
        secret_used(hana.codes[i]);
    }
    assert_int_equal(mfa_disable(&hana, MFA_PASSWORD, hana.codes[1]).code, OK);
    assert_int_equal(trail_read(&trail), 2);
    (void)trail_one(&trail, "disable", "mfa", hana.id);
}

/* --- administration --- */

static void an_administrator_leaves_what_was(void **state)
{
    Avanta__Identity__UpdateUserRequest in = AVANTA__IDENTITY__UPDATE_USER_REQUEST__INIT;
    Avanta__Identity__UserIdRequest who = AVANTA__IDENTITY__USER_ID_REQUEST__INIT;
    const Avanta__AuditRecord *record = NULL;
    struct mfa_user ines;

    (void)state;
    mfa_user_make_enrolled(&ines, &rig, "ines");
    in.id = ines.id;
    in.name = text("Otra");
    in.role = text("accountant");
    done(&admin, "identity.UpdateUser", &in.base);
    record = only("identity.UpdateUser", "update", "user", ines.id);
    assert_string_equal(record->user_id, ines.id);
    assert_string_equal(record->actor_id, admin.id);
    assert_string_equal(record->severity, "critical");
    assert_string_equal(record->before, "{\"name\":\"Persona\",\"role\":\"user\",\"is_active\":1}");
    assert_string_equal(trail_value(record->details, "user.role"), "accountant");
    assert_string_equal(trail_value(record->details, "user.name"), "Otra");
    who.id = ines.id;
    done(&admin, "identity.EndUserSessions", &who.base);
    (void)only("identity.EndUserSessions", "end", "session", NULL);
    (void)trail_read(&trail);
    assert_int_equal(mfa_reset(&admin, ines.id).code, OK);
    (void)only("identity.ResetMfa", "reset", "mfa", ines.id);
    done(&admin, "identity.DeactivateUser", &who.base);
    record = only("identity.DeactivateUser", "update", "user", ines.id);
    assert_string_equal(trail_value(record->before, "is_active"), "1");
    assert_string_equal(trail_value(record->details, "user.is_active"), "0");
}

static void signing_keys_leave_their_records(void **state)
{
    Avanta__Identity__RotateSigningKeyRequest in =
        AVANTA__IDENTITY__ROTATE_SIGNING_KEY_REQUEST__INIT;

    (void)state;
    done(&admin, "identity.RotateSigningKey", &in.base);
    assert_int_equal(trail_read(&trail), 1);
    assert_string_equal(trail.records[0]->action_type, "rotate");
    assert_string_equal(trail.records[0]->entity_type, "signing-key");
    done(&admin, "identity.RotateSigningKey", &in.base); /* the next one waits already */
    (void)only("identity.RotateSigningKey", "rotate", "identity", NULL);
}

/* --- no secret is in any of it --- */

static void count_none(const char *what, const char *sql)
{
    if (strcmp(scratch_pg_ask(rig.dsn, sql), "0") != 0) {
        fail_msg("a record tells %s", what);
    }
}

static void no_record_tells_a_secret(void **state)
{
    (void)state;
    secret_used(MFA_PASSWORD);
    secret_used(NEW_PASSWORD);
    secret_used(WRONG_PASSWORD);
    assert_true(secret_count > 25);
    assert_true(trail_tells(&trail, "ana@example.com")); /* it would be found */
    for (size_t i = 0; i < secret_count; i++) {
        if (trail_tells(&trail, secrets[i])) {
            fail_msg("a record tells %s", secrets[i]);
        }
    }
    assert_string_not_equal(scratch_pg_ask(rig.dsn, "SELECT count(*) FROM api_key"), "0");
    count_none("a password's hash",
               "SELECT count(*) FROM trail_kept k, users u"
               " WHERE position(convert_to(u.password_hash, 'UTF8') in k.body) > 0");
    count_none("the hash of a key",
               "SELECT count(*) FROM trail_kept k, api_key a WHERE position(a.key_hash in k.body)"
               " > 0 OR position(convert_to(encode(a.key_hash, 'hex'), 'UTF8') in k.body) > 0");
    count_none("a sealed secret",
               "SELECT count(*) FROM trail_kept k, api_key a WHERE position(a.sealed in k.body) > 0"
               " OR position(convert_to(encode(a.sealed, 'hex'), 'UTF8') in k.body) > 0");
    count_none("a refresh token's hash",
               "SELECT count(*) FROM trail_kept k, refresh_token t WHERE position(t.token_hash in"
               " k.body) > 0 OR position(convert_to(encode(t.token_hash, 'hex'), 'UTF8') in k.body)"
               " > 0");
    count_none("a signing key",
               "SELECT count(*) FROM trail_kept k, signing_key s"
               " WHERE position(s.sealed in k.body) > 0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_says_what_it_was),
        cmocka_unit_test(settings_say_what_changed),
        cmocka_unit_test(sessions_leave_their_records),
        cmocka_unit_test(failed_entries_leave_their_records),
        cmocka_unit_test(a_password_is_never_told),
        cmocka_unit_test(api_keys_say_what_they_could),
        cmocka_unit_test(grants_say_what_they_allowed),
        cmocka_unit_test(the_second_factor_leaves_its_records),
        cmocka_unit_test(an_administrator_leaves_what_was),
        cmocka_unit_test(signing_keys_leave_their_records),
        cmocka_unit_test(no_record_tells_a_secret),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
