/* What ends a user's sessions also ends log-ins that are under way: one whose password was looked
 * at before opens no session after. The log-in is held at its last statement by a lock. */
#include "tests/support/check.h"
#include "tests/support/mfa_client.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"

#include <libpq-fe.h>

#include <stdio.h>
#include <string.h>

#define SECRETS_KEY  "3030303030303030303030303030303030303030303030303030303030303030"
#define NEW_PASSWORD "Otra clave larga 8"
#define WAIT_MS_MAX  8000

static struct service_rig rig;
static PGconn *holder;
static struct mfa_user admin;

static void hold_run(const char *sql)
{
    PGresult *result = PQexec(holder, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(holder));
    }
    PQclear(result);
}

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_REGISTRATIONS_MAX", "1000000");
    service_rig_setting("AVANTA_ARGON2_KIB", "8");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_open(&rig, "identity", 1);
    holder = PQconnectdb(rig.dsn);
    assert_int_equal(PQstatus(holder), CONNECTION_OK);
    mfa_user_make(&admin, &rig, "jefa");
    mfa_run(&admin, "UPDATE users SET role = 'admin' WHERE id = '%s'");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    PQfinish(holder);
    service_rig_close(&rig);
    return 0;
}

/* The messages' texts are not written. */
static char *text(const char *given)
{
    return (char *)(uintptr_t)given;
}

/* A transaction of the service waits for what the holder has. */
static void wait_until_held(void)
{
    uint64_t until = clock_mono_ms() + WAIT_MS_MAX;

    while (strcmp(scratch_pg_ask(rig.dsn, "SELECT count(*) FROM pg_locks WHERE NOT granted"),
                  "0") == 0) {
        assert_true(clock_mono_ms() < until);
        bus_rig_run(&rig.loop, 10);
    }
}

static struct service_call call_by(const struct mfa_user *user, const char *method)
{
    return (struct service_call){
        .method = service_method(method), .user = user->id, .session = user->session};
}

static void expect_done(struct service_call *call)
{
    assert_int_equal(call->code, OK);
    service_call_end(call);
}

/* --- what ends sessions --- */

static void change_password(const struct mfa_user *user)
{
    Avanta__Identity__ChangePasswordRequest in = AVANTA__IDENTITY__CHANGE_PASSWORD_REQUEST__INIT;
    struct service_call call = call_by(user, "identity.ChangePassword");

    in.current_password = text(MFA_PASSWORD);
    in.new_password = text(NEW_PASSWORD);
    call.in = &in.base;
    (void)service_call(&rig, &call);
    expect_done(&call);
}

static void end_others(const struct mfa_user *user)
{
    Avanta__Identity__EndOtherSessionsRequest in =
        AVANTA__IDENTITY__END_OTHER_SESSIONS_REQUEST__INIT;
    struct service_call call = call_by(user, "identity.EndOtherSessions");

    call.in = &in.base;
    (void)service_call(&rig, &call);
    expect_done(&call);
}

static void enable_mfa(const struct mfa_user *user)
{
    struct mfa_user same = *user;
    char code[MFA_CODE_BYTES];

    assert_int_equal(mfa_enroll(&same, MFA_PASSWORD).code, OK);
    mfa_code(same.secret, 0, code);
    assert_int_equal(mfa_verify(&same, code).code, OK);
}

static void by_admin(const struct mfa_user *user, const char *method)
{
    Avanta__Identity__UserIdRequest in = AVANTA__IDENTITY__USER_ID_REQUEST__INIT;
    struct service_call call = call_by(&admin, method);

    in.id = text(user->id);
    call.in = &in.base;
    call.role = "admin";
    (void)service_call(&rig, &call);
    expect_done(&call);
}

static void deactivate(const struct mfa_user *user)
{
    by_admin(user, "identity.DeactivateUser");
}

static void end_all(const struct mfa_user *user)
{
    by_admin(user, "identity.EndUserSessions");
}

static struct service_call
update_call(Avanta__Identity__UpdateUserRequest *in, const char *id, const char *role)
{
    struct service_call call = call_by(&admin, "identity.UpdateUser");

    avanta__identity__update_user_request__init(in);
    in->id = text(id);
    in->role = text(role);
    call.in = &in->base;
    call.role = "admin";
    return call;
}

static void take_role(const struct mfa_user *user)
{
    Avanta__Identity__UpdateUserRequest in;
    struct service_call call = update_call(&in, user->id, "viewer");

    (void)service_call(&rig, &call);
    expect_done(&call);
}

static void change_nothing(const struct mfa_user *user)
{
    assert_non_null(user);
}

/* --- a log-in in between --- */

static void log_in_while(void (*end)(const struct mfa_user *user),
                         const char *name,
                         enum code wanted,
                         const char *sessions)
{
    Avanta__Identity__LoginRequest in = AVANTA__IDENTITY__LOGIN_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.Login"), .in = &in.base};
    struct mfa_user user;

    mfa_user_make(&user, &rig, name);
    in.email = user.email;
    in.password = text(MFA_PASSWORD);
    hold_run("BEGIN; LOCK TABLE refresh_token IN SHARE MODE");
    service_call_start(&rig, &call);
    wait_until_held();
    end(&user);
    hold_run("COMMIT");
    service_call_wait(&call);
    assert_int_equal(call.bus, OK);
    assert_int_equal(call.code, wanted);
    service_call_end(&call);
    assert_string_equal(
        mfa_ask(&user, "SELECT count(*) FROM session WHERE user_id = '%s' AND ended_at IS NULL"),
        sessions);
}

static void a_log_in_under_way_ends_with_the_sessions(void **state)
{
    (void)state;
    log_in_while(change_nothing, "nada", OK, "2");
    log_in_while(change_password, "clave", ERR_UNAUTHENTICATED, "1");
    log_in_while(enable_mfa, "factor", ERR_UNAUTHENTICATED, "1");
    log_in_while(end_others, "otras", ERR_UNAUTHENTICATED, "1");
    log_in_while(end_all, "todas", ERR_UNAUTHENTICATED, "0");
    log_in_while(take_role, "rol", ERR_UNAUTHENTICATED, "0");
    log_in_while(deactivate, "fuera", ERR_UNAUTHENTICATED, "0");
}

/* Of two changes with one current password one is made, whatever replicas they come to. */
static void a_password_is_changed_from_the_one_that_was_proved(void **state)
{
    Avanta__Identity__ChangePasswordRequest in = AVANTA__IDENTITY__CHANGE_PASSWORD_REQUEST__INIT;
    struct service_call call;
    struct mfa_user user;
    char sql[256];

    (void)state;
    mfa_user_make(&user, &rig, "dos");
    call = call_by(&user, "identity.ChangePassword");
    in.current_password = text(MFA_PASSWORD);
    in.new_password = text(NEW_PASSWORD);
    call.in = &in.base;
    (void)snprintf(sql,
                   sizeof sql,
                   "BEGIN; UPDATE users SET password_hash = 'another' WHERE id = '%s'",
                   user.id);
    hold_run(sql);
    service_call_start(&rig, &call);
    wait_until_held();
    hold_run("COMMIT");
    service_call_wait(&call);
    assert_int_equal(call.bus, OK);
    assert_int_equal(call.reason, AVANTA__REASON__INVALID_PASSWORD);
    service_call_end(&call);
    assert_string_equal(mfa_ask(&user, "SELECT password_hash FROM users WHERE id = '%s'"),
                        "another");
}

/* Whoever finds an administrator's browser open does not throw others out, nor makes a key to stay.
 */
static void what_is_done_to_others_asks_for_a_password_given_lately(void **state)
{
    Avanta__Identity__UserIdRequest in = AVANTA__IDENTITY__USER_ID_REQUEST__INIT;
    Avanta__Identity__CreateUserApiKeyRequest key =
        AVANTA__IDENTITY__CREATE_USER_API_KEY_REQUEST__INIT;
    Avanta__Identity__UserApiKeyRequest revoked = AVANTA__IDENTITY__USER_API_KEY_REQUEST__INIT;
    char *scope = text("books:read");
    struct service_call calls[3];
    struct mfa_user user;

    (void)state;
    mfa_user_make(&user, &rig, "queda");
    in.id = key.id = revoked.id = revoked.key = user.id;
    key.name = text("llave");
    key.n_scopes = 1;
    key.scopes = &scope;
    calls[0] = call_by(&admin, "identity.EndUserSessions");
    calls[0].in = &in.base;
    calls[1] = call_by(&admin, "identity.CreateUserApiKey");
    calls[1].in = &key.base;
    calls[2] = call_by(&admin, "identity.RevokeUserApiKey");
    calls[2].in = &revoked.base;
    mfa_run(&user, "UPDATE users SET role = 'service' WHERE id = '%s'");
    mfa_run(&admin,
            "UPDATE session SET authenticated_at = now() - interval '2 hours'"
            " WHERE user_id = '%s'");
    for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
        calls[i].role = "admin";
        (void)service_call(&rig, &calls[i]);
        assert_row(i, calls[i].reason == AVANTA__REASON__REAUTHENTICATION_REQUIRED);
        service_call_end(&calls[i]);
    }
    mfa_run(&admin, "UPDATE session SET authenticated_at = now() WHERE user_id = '%s'");
    assert_string_equal(
        mfa_ask(&user, "SELECT count(*) FROM session WHERE user_id = '%s' AND ended_at IS NULL"),
        "1");
    assert_string_equal(mfa_ask(&user, "SELECT entries_ended FROM users WHERE id = '%s'"), "0");
    assert_string_equal(mfa_ask(&user, "SELECT count(*) FROM api_key WHERE user_id = '%s'"), "0");
}

/* An id is the same in capitals. */
static void administrators_cannot_be_their_own_by_another_spelling(void **state)
{
    Avanta__Identity__UpdateUserRequest in;
    struct service_call call;
    char id[64];

    (void)state;
    (void)snprintf(id, sizeof id, "%s", mfa_ask(&admin, "SELECT upper('%s')"));
    assert_string_not_equal(id, admin.id);
    call = update_call(&in, id, "user");
    (void)service_call(&rig, &call);
    assert_int_equal(call.reason, AVANTA__REASON__OWN_ACCOUNT);
    service_call_end(&call);
    assert_string_equal(mfa_ask(&admin, "SELECT role FROM users WHERE id = '%s'"), "admin");
}

/* What is kept for an Idempotency-Key has a fast hash of the request: none that holds a password.
 */
static void a_password_is_in_no_kept_request(void **state)
{
    Avanta__Identity__ReauthenticateRequest again = AVANTA__IDENTITY__REAUTHENTICATE_REQUEST__INIT;
    Avanta__Identity__ChangePasswordRequest in = AVANTA__IDENTITY__CHANGE_PASSWORD_REQUEST__INIT;
    struct service_call calls[2];
    struct mfa_user user;

    (void)state;
    mfa_user_make(&user, &rig, "llave");
    again.password = text(MFA_PASSWORD);
    in.current_password = text(MFA_PASSWORD);
    in.new_password = text(NEW_PASSWORD);
    calls[0] = call_by(&user, "identity.Reauthenticate");
    calls[0].in = &again.base;
    calls[0].key = "a";
    calls[1] = call_by(&user, "identity.ChangePassword");
    calls[1].in = &in.base;
    calls[1].key = "b";
    for (size_t i = 0; i < 2; i++) {
        (void)service_call(&rig, &calls[i]);
        expect_done(&calls[i]);
    }
    assert_string_equal(mfa_ask(&user, "SELECT count(*) FROM idempotency WHERE user_id = '%s'"),
                        "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_log_in_under_way_ends_with_the_sessions),
        cmocka_unit_test(a_password_is_changed_from_the_one_that_was_proved),
        cmocka_unit_test(what_is_done_to_others_asks_for_a_password_given_lately),
        cmocka_unit_test(administrators_cannot_be_their_own_by_another_spelling),
        cmocka_unit_test(a_password_is_in_no_kept_request),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
