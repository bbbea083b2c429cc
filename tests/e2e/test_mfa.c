/* The second factor as users, administrators and whoever must set one up first meet it over HTTP.
 * The stack's administrators must have one. */
#include "tests/support/api.h"
#include "tests/support/mfa_client.h"
#include "tests/support/stack.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOON_MS  15000
#define POLL_US  20000
#define PASSWORD "Una clave larga 7"

static struct api ana;
static struct api admin;
static char ana_id[64];
static char ana_secret[MFA_SECRET_BYTES];
static char ana_codes[MFA_CODES_MAX][MFA_TEXT_BYTES];
static char admin_email[256];
static char admin_password[256];
static char admin_secret[MFA_SECRET_BYTES];

static int setup(void **state)
{
    stack_identity_settings("AVANTA_MFA_REQUIRED_ROLES=admin");
    if (stack_setup(state) != 0) {
        return 1;
    }
    (void)snprintf(admin_email, sizeof admin_email, "%s", stack_value("AVANTA_ADMIN_EMAIL"));
    (void)snprintf(
        admin_password, sizeof admin_password, "%s", stack_value("AVANTA_ADMIN_PASSWORD"));
    api_open(&admin, stack_url());
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    (void)snprintf(ana_id, sizeof ana_id, "%s", api_text(&ana, "user.id"));
    return 0;
}

static int teardown(void **state)
{
    api_close(&ana);
    api_close(&admin);
    return stack_teardown(state);
}

static void expect(struct api *api, long status, const char *code)
{
    if (api->status != status || strcmp(api_text(api, "code"), code) != 0) {
        fail_msg("%ld %s instead of %ld %s", api->status, api_text(api, "code"), status, code);
    }
}

static void token_keep(struct api *api)
{
    assert_int_equal(api->status, 200);
    (void)snprintf(api->token, sizeof api->token, "%s", api_text(api, "token"));
}

/* `otp` may be NULL. */
static void login(struct api *api, const char *email, const char *password, const char *otp)
{
    api->token[0] = '\0';
    api_send(api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s,s:s*}", "email", email, "password", password, "otp", otp));
}

static void
prove(struct api *api, const char *path, const char *password, const char *code, long status)
{
    api_send(api, "POST", path, json_pack("{s:s,s:s*}", "password", password, "code", code));
    if (api->status != status) {
        fail_msg("%s: %ld %s", path, api->status, api_text(api, "code"));
    }
}

/* --- a user's second factor --- */

static void enrolling_shows_the_secret_once(void **state)
{
    (void)state;
    assert_int_equal(api_get(&ana, "/api/auth/mfa"), 200);
    assert_true(json_is_false(api_at(&ana, "enabled")));
    assert_true(json_is_false(api_at(&ana, "required")));
    assert_true(json_is_null(api_at(&ana, "enabled_at")));
    prove(&ana, "/api/auth/mfa/enroll", "wrong", NULL, 422);
    expect(&ana, 422, "INVALID_PASSWORD");
    prove(&ana, "/api/auth/mfa/enroll", PASSWORD, "123456", 400); /* strict: no such field */
    prove(&ana, "/api/auth/mfa/enroll", PASSWORD, NULL, 200);
    (void)snprintf(ana_secret, sizeof ana_secret, "%s", api_text(&ana, "secret"));
    assert_non_null(strstr(api_text(&ana, "otpauth_uri"), "otpauth://totp/Avanta:ana%40example"));
    assert_int_equal(api_get(&ana, "/api/auth/mfa"), 200);
    assert_true(json_is_true(api_at(&ana, "pending")));
    assert_null(json_object_get(ana.body, "secret"));
}

static void a_first_code_enables_it_and_ends_other_sessions(void **state)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;
    struct api other;
    char code[MFA_CODE_BYTES];

    (void)state;
    api_open(&other, stack_url());
    login(&other, "ana@example.com", PASSWORD, NULL);
    token_keep(&other);
    api_send(&ana, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", "000000"));
    expect(&ana, 422, "INVALID_MFA_CODE");
    mfa_code(ana_secret, 0, code);
    api_send(&ana, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", code));
    assert_int_equal(ana.status, 200);
    for (size_t i = 0; i < MFA_CODES_MAX; i++) {
        char path[32];

        (void)snprintf(path, sizeof path, "recovery_codes.%zu", i);
        (void)snprintf(ana_codes[i], MFA_TEXT_BYTES, "%s", api_text(&ana, path));
    }
    while (api_get(&other, "/api/auth/me") == 200) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(POLL_US);
    }
    expect(&other, 401, "AUTH_REQUIRED");
    api_close(&other);
    assert_int_equal(api_get(&ana, "/api/auth/mfa"), 200);
    assert_true(json_is_true(api_at(&ana, "enabled")));
    assert_int_equal(api_int(&ana, "recovery_codes_left"), 10);
}

static void a_login_asks_for_a_code(void **state)
{
    struct api other;
    char code[MFA_CODE_BYTES];
    char blanks[80];

    (void)state;
    api_open(&other, stack_url());
    login(&other, "ana@example.com", PASSWORD, NULL);
    expect(&other, 401, "MFA_REQUIRED");
    login(&other, "ana@example.com", PASSWORD, "000000");
    expect(&other, 401, "INVALID_OTP");
    login(&other, "ana@example.com", "wrong", "000000");
    expect(&other, 401, "INVALID_CREDENTIALS");
    (void)snprintf(blanks, sizeof blanks, "%-65s", "000000");
    login(&other, "ana@example.com", PASSWORD, blanks);
    expect(&other, 400, "VALIDATION_ERROR");
    mfa_code(ana_secret, 1, code); /* that of now enabled it */
    login(&other, "ana@example.com", PASSWORD, code);
    token_keep(&other);
    assert_null(json_object_get(other.body, "mfa_enrollment_required"));
    assert_int_equal(api_get(&other, "/api/accounts"), 200);
    login(&other, "ana@example.com", PASSWORD, code);
    expect(&other, 401, "INVALID_OTP");
    login(&other, "ana@example.com", PASSWORD, ana_codes[0]);
    token_keep(&other);
    login(&other, "ana@example.com", PASSWORD, ana_codes[0]);
    expect(&other, 401, "INVALID_OTP");
    api_close(&other);
}

/* Waits until so many records of that kind are in the trail. */
static void trail(struct api *api, const char *action, const char *severity, const char *status)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;
    char path[256];

    (void)snprintf(path,
                   sizeof path,
                   "/api/audit-log?action_type=%s&severity=%s&status=%s",
                   action,
                   severity,
                   status);
    do {
        if (clock_mono_ms() > end) {
            fail_msg("no record of %s", path);
        }
        (void)usleep(POLL_US);
        assert_int_equal(api_get(api, path), 200);
    } while (api_int(api, "total") == 0);
}

static void it_is_in_the_trail(void **state)
{
    (void)state;
    trail(&ana, "enable", "low", "success");
    trail(&ana, "mfa_enroll", "low", "failed");
    trail(&ana, "mfa_code", "low", "failed");
    trail(&ana, "recovery_code_use", "high", "success");
}

static void wrong_codes_have_to_wait(void **state)
{
    const char *header = NULL;
    uint64_t seconds = 0;

    (void)state;
    prove(&ana, "/api/auth/mfa/recovery-codes", PASSWORD, ana_codes[1], 200);
    (void)snprintf(ana_codes[0], MFA_TEXT_BYTES, "%s", api_text(&ana, "recovery_codes.9"));
    for (int i = 0; i < 5; i++) { /* the fifth one in a row locks */
        prove(&ana, "/api/auth/mfa/recovery-codes", PASSWORD, ana_codes[2], 422);
    }
    prove(&ana, "/api/auth/mfa/recovery-codes", PASSWORD, ana_codes[0], 429);
    expect(&ana, 429, "TOO_MANY_ATTEMPTS");
    header = strstr(ana.headers, "Retry-After: ");
    assert_non_null(header);
    header += strlen("Retry-After: ");
    assert_true(str_to_uint64((struct str){header, strcspn(header, "\r\n")}, &seconds));
    assert_in_range(seconds, 15, 30);
}

/* --- an administrator, who must have it --- */

static const struct {
    const char *verb;
    const char *path;
    bool allowed;
} enrolling[] = {
    {"GET",    "/api/auth/me",                                              true },
    {"GET",    "/api/auth/mfa",                                             true },
    {"GET",    "/api/auth/sessions",                                        true },
    {"POST",   "/api/auth/mfa/verify",                                      true },
    {"POST",   "/api/auth/mfa/disable",                                     true },
    {"POST",   "/api/auth/mfa/recovery-codes",                              true },
    {"POST",   "/api/user-profile/change-password",                         true },
    {"GET",    "/api/accounts",                                             false},
    {"POST",   "/api/accounts",                                             false},
    {"GET",    "/api/transactions",                                         false},
    {"GET",    "/api/audit-log",                                            false},
    {"PUT",    "/api/user-profile",                                         false},
    {"GET",    "/api/api-keys",                                             false},
    {"POST",   "/api/api-keys",                                             false},
    {"GET",    "/api/admin/users",                                          false},
    {"GET",    "/api/admin/signing-keys",                                   false},
    {"DELETE", "/api/admin/users/0191d6a2-7b1c-7000-8000-00000000000a/mfa", false},
};

static void expect_enrolling(struct api *api)
{
    for (size_t i = 0; i < ARRAY_LEN(enrolling); i++) {
        if (strcmp(enrolling[i].verb, "GET") == 0 || strcmp(enrolling[i].verb, "DELETE") == 0) {
            (void)api_call(api, enrolling[i].verb, enrolling[i].path, NULL, 0);
        } else {
            (void)api_send(api, enrolling[i].verb, enrolling[i].path, json_object());
        }
        assert_row(i, api->status != 401 && (api->status != 403) == enrolling[i].allowed);
        assert_row(i,
                   enrolling[i].allowed ||
                       strcmp(api_text(api, "message"), "Set up the second factor first") == 0);
    }
}

static void an_administrator_without_it_may_only_set_it_up(void **state)
{
    char code[MFA_CODE_BYTES];
    char old[sizeof admin.token];

    (void)state;
    login(&admin, admin_email, admin_password, NULL);
    token_keep(&admin);
    assert_true(json_is_true(api_at(&admin, "mfa_enrollment_required")));
    assert_string_equal(api_text(&admin, "user.role"), "admin");
    expect_enrolling(&admin);
    assert_int_equal(api_get(&admin, "/api/auth/mfa"), 200);
    assert_true(json_is_true(api_at(&admin, "required")));
    prove(&admin, "/api/auth/mfa/enroll", admin_password, NULL, 200);
    (void)snprintf(admin_secret, sizeof admin_secret, "%s", api_text(&admin, "secret"));
    mfa_code(admin_secret, 0, code);
    api_send(&admin, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", code));
    assert_int_equal(admin.status, 200);
    assert_int_equal(api_get(&admin, "/api/admin/users"), 403); /* until the token is renewed */
    (void)snprintf(old, sizeof old, "%s", admin.token);
    admin.token[0] = '\0'; /* the refresh cookie */
    admin.header = "Sec-Fetch-Site: same-origin";
    api_send(&admin, "POST", "/api/auth/refresh", json_object());
    admin.header = NULL;
    token_keep(&admin);
    assert_null(json_object_get(admin.body, "mfa_enrollment_required"));
    assert_int_equal(api_get(&admin, "/api/admin/users"), 200);
    assert_int_equal(api_get(&admin, "/api/accounts"), 200);
    (void)snprintf(admin.token, sizeof admin.token, "%s", old);
    assert_int_equal(api_get(&admin, "/api/accounts"),
                     403); /* what was given out stays what it is */
    mfa_code(admin_secret, 1, code);
    login(&admin, admin_email, admin_password, code);
    token_keep(&admin);
}

static void an_administrator_resets_a_user_who_lost_it(void **state)
{
    char path[128];
    const uint64_t end = clock_mono_ms() + SOON_MS;

    (void)state;
    (void)snprintf(path, sizeof path, "/api/admin/users/%s/mfa", ana_id);
    assert_int_equal(api_call(&ana, "DELETE", path, NULL, 0), 403);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    while (api_get(&ana, "/api/auth/me") == 200) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(POLL_US);
    }
    expect(&ana, 401, "AUTH_REQUIRED");
    login(&ana, "ana@example.com", PASSWORD, NULL);
    token_keep(&ana);
    trail(&ana, "reset", "critical", "success");
    assert_string_not_equal(api_text(&ana, "logs.0.actor_id"), ana_id);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 409);
    expect(&admin, 409, "MFA_NOT_ENABLED");
}

static void disabling_takes_password_and_code(void **state)
{
    char code[MFA_CODE_BYTES];

    (void)state;
    prove(&ana, "/api/auth/mfa/disable", PASSWORD, "000000", 409); /* it was taken away */
    prove(&ana, "/api/auth/mfa/enroll", PASSWORD, NULL, 200);
    mfa_code(api_text(&ana, "secret"), 0, code);
    api_send(&ana, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", code));
    assert_int_equal(ana.status, 200);
    (void)snprintf(ana_codes[0], MFA_TEXT_BYTES, "%s", api_text(&ana, "recovery_codes.0"));
    prove(&ana, "/api/auth/mfa/disable", "wrong", ana_codes[0], 422);
    expect(&ana, 422, "INVALID_PASSWORD");
    prove(&ana, "/api/auth/mfa/disable", PASSWORD, code, 422);
    expect(&ana, 422, "INVALID_MFA_CODE");
    prove(&ana, "/api/auth/mfa/disable", PASSWORD, ana_codes[0], 200);
    assert_int_equal(api_get(&ana, "/api/auth/me"), 200);
    trail(&ana, "disable", "high", "success");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(enrolling_shows_the_secret_once),
        cmocka_unit_test(a_first_code_enables_it_and_ends_other_sessions),
        cmocka_unit_test(a_login_asks_for_a_code),
        cmocka_unit_test(it_is_in_the_trail),
        cmocka_unit_test(wrong_codes_have_to_wait),
        cmocka_unit_test(an_administrator_without_it_may_only_set_it_up),
        cmocka_unit_test(an_administrator_resets_a_user_who_lost_it),
        cmocka_unit_test(disabling_takes_password_and_code),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
