/* Logging in with Google, whose part a key of our own plays: who is let in, who is not, and what
 * becomes of users who are there already. */
#include "tests/support/google_issuer.h"
#include "tests/support/mfa_client.h"
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD    "Una clave larga 7"
#define READ_MS_MAX 20000

static struct api api;
static struct api admin;

static int setup(void **state)
{
    google_issuer_open("");
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    people_log_in_admin(&admin);
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    api_close(&admin);
    google_issuer_close();
    return stack_teardown(state);
}

/* `otp` may be NULL. */
static long log_in_with(const struct google_token *t, const char *otp)
{
    api.token[0] = '\0';
    api_send(&api,
             "POST",
             "/api/auth/google",
             json_pack("{s:s,s:s*}", "credential", google_token_text(t), "otp", otp));
    if (api.status == 200) {
        (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
    }
    return api.status;
}

static long log_in(const struct google_token *t)
{
    return log_in_with(t, NULL);
}

static void expect(long status, const char *code)
{
    if (api.status != status || strcmp(api_text(&api, "code"), code) != 0) {
        fail_msg("%ld %s instead of %ld %s", api.status, api_text(&api, "code"), status, code);
    }
}

static void link_google(const struct google_token *t, const char *password)
{
    api_send(&api,
             "POST",
             "/api/auth/google/link",
             json_pack("{s:s,s:s}", "credential", google_token_text(t), "password", password));
}

/* --- tests --- */

static void a_new_person_becomes_a_user(void **state)
{
    const struct google_token first = {.sub = "1001", .email = "Nueva@Example.com"};
    const struct google_token moved = {.sub = "1001", .email = "otra@example.com"};
    char id[64];

    (void)state;
    assert_int_equal(log_in(&first), 200);
    assert_string_equal(api_text(&api, "user.email"), "nueva@example.com");
    assert_string_equal(api_text(&api, "user.name"), "Ana Pérez");
    assert_string_equal(api_text(&api, "user.picture"), "https://pictures.example.com/ana");
    assert_true(api_text(&api, "user.created_at")[0] != '\0');
    assert_non_null(strstr(api.headers, "avanta_refresh="));
    (void)snprintf(id, sizeof id, "%s", api_text(&api, "user.id"));
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    assert_string_equal(api_text(&api, "id"), id);
    assert_int_equal(log_in(&moved), 200); /* known by the account, whatever its e-mail is now */
    assert_string_equal(api_text(&api, "user.id"), id);
    assert_string_equal(api_text(&api, "user.email"), "nueva@example.com");
}

static void such_a_user_has_no_password(void **state)
{
    const struct google_token t = {.sub = "1002", .email = "sinclave@example.com"};

    (void)state;
    assert_int_equal(log_in(&t), 200);
    api_send(&api,
             "POST",
             "/api/user-profile/change-password",
             json_pack("{s:s,s:s}", "currentPassword", "nothing", "newPassword", PASSWORD));
    expect(409, "NO_PASSWORD");
    link_google(&t, "nothing");
    expect(409, "NO_PASSWORD");
    api.token[0] = '\0';
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "sinclave@example.com", "password", "nothing"));
    expect(401, "INVALID_CREDENTIALS");
}

/* Whoever registered with an e-mail first gets nothing of its owner's by that, nor the reverse. */
static void an_account_with_a_password_is_not_merged(void **state)
{
    const struct google_token t = {.sub = "1003", .email = "berta@example.com"};
    struct api nobody;
    char id[64];

    (void)state;
    api_register(&api, "berta");
    (void)snprintf(id, sizeof id, "%s", api_text(&api, "user.id"));
    assert_int_equal(log_in(&t), 409);
    expect(409, "GOOGLE_LINK_REQUIRED");
    api_open(&nobody, stack_url());
    api_send(&nobody,
             "POST",
             "/api/auth/google/link",
             json_pack("{s:s,s:s}", "credential", google_token_text(&t), "password", PASSWORD));
    assert_int_equal(nobody.status, 401);
    api_close(&nobody);
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "berta@example.com", "password", PASSWORD));
    assert_int_equal(api.status, 200);
    (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
    link_google(&t, "another one");
    expect(422, "INVALID_PASSWORD");
    link_google(&t, PASSWORD);
    assert_int_equal(api.status, 200);
    link_google(&t, PASSWORD);
    assert_int_equal(api.status, 200);
    assert_int_equal(log_in(&t), 200);
    assert_string_equal(api_text(&api, "user.id"), id);
}

static void one_account_belongs_to_one_user(void **state)
{
    const struct google_token first = {.sub = "1004", .email = "carlos@example.com"};
    const struct google_token second = {.sub = "1005", .email = "carlos@example.com"};

    (void)state;
    assert_int_equal(log_in(&first), 200);
    assert_int_equal(log_in(&second), 409); /* the e-mail is another account's now */
    expect(409, "GOOGLE_LINKED_OTHERWISE");
    api_register(&api, "diana");
    link_google(&first, PASSWORD);
    expect(409, "GOOGLE_LINKED_OTHERWISE");
    link_google(&second, PASSWORD);
    assert_int_equal(api.status, 200);
    link_google(&first, PASSWORD);
    expect(409, "GOOGLE_LINKED_OTHERWISE");
}

static void audit_of(const char *action, const char *user_id)
{
    const uint64_t end = clock_mono_ms() + READ_MS_MAX;
    char path[128];

    (void)snprintf(path, sizeof path, "/api/audit-log?action_type=%s", action);
    while (api_get(&api, path) != 200 || json_array_size(api_at(&api, "logs")) == 0) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(20000);
    }
    assert_string_equal(api_text(&api, "logs.0.user_id"), user_id);
    assert_string_equal(api_text(&api, "logs.0.severity"), "high");
}

static bool is_linked(void)
{
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    return json_is_true(api_at(&api, "google_linked"));
}

static long unlink_google(void)
{
    return api_call(&api, "DELETE", "/api/auth/google/link", NULL, 0);
}

/* Whoever linked an account of theirs to another's is out by it, with their sessions. */
static void a_link_is_shown_and_taken_away(void **state)
{
    const struct google_token t = {.sub = "1010", .email = "irene@example.com"};
    const uint64_t end = clock_mono_ms() + READ_MS_MAX;
    struct api other;
    char id[64];

    (void)state;
    api_register(&api, "irene");
    (void)snprintf(id, sizeof id, "%s", api_text(&api, "user.id"));
    assert_false(is_linked());
    assert_int_equal(unlink_google(), 409);
    expect(409, "GOOGLE_NOT_LINKED");
    link_google(&t, PASSWORD);
    assert_int_equal(api.status, 200);
    assert_true(is_linked());
    api_open(&other, stack_url());
    api_send(&other,
             "POST",
             "/api/auth/google",
             json_pack("{s:s}", "credential", google_token_text(&t)));
    assert_int_equal(other.status, 200);
    (void)snprintf(other.token, sizeof other.token, "%s", api_text(&other, "token"));
    assert_int_equal(api_get(&other, "/api/auth/me"), 200);
    assert_int_equal(unlink_google(), 200);
    assert_false(is_linked()); /* and this session goes on */
    while (api_get(&other, "/api/auth/me") != 401) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(5000);
    }
    api_close(&other);
    audit_of("google_unlink", id);
    assert_int_equal(log_in(&t), 409);
    expect(409, "GOOGLE_LINK_REQUIRED");
}

/* Nobody locks himself out. */
static void the_only_way_in_stays(void **state)
{
    const struct google_token t = {.sub = "1011", .email = "julia@example.com"};

    (void)state;
    assert_int_equal(log_in(&t), 200);
    assert_true(is_linked());
    assert_int_equal(unlink_google(), 409);
    expect(409, "NO_PASSWORD");
    assert_true(is_linked());
    assert_int_equal(log_in(&t), 200);
}

static void credentials_that_are_not_good_are_refused(void **state)
{
#define EVA .sub = "1006", .email = "eva@example.com"
    /* clang-format off */
    static const struct google_token rows[] = {
        {EVA, .key = 1},
        {EVA, .aud = "another"},
        {EVA, .unverified = true},
        {EVA, .age_s = 3700},
        {EVA, .age_s = -300},
        {EVA, .header = "{\"alg\":\"none\",\"kid\":\"g1\"}"},
        {EVA, .header = "{\"alg\":\"RS256\",\"kid\":\"g9\"}"},
        {.sub = "", .email = "eva@example.com"},
        {.sub = "1006", .email = "eva"},
    };
    /* clang-format on */
#undef EVA

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, log_in(&rows[i]) == 400);
        expect(400, "INVALID_CREDENTIAL");
    }
    api_send(&api, "POST", "/api/auth/google", json_pack("{s:s}", "credential", "a.b.c"));
    expect(400, "INVALID_CREDENTIAL");
    api_send(&api, "POST", "/api/auth/google", json_pack("{s:s}", "credential", ""));
    expect(400, "VALIDATION_ERROR");
}

static void an_inactive_user_stays_out(void **state)
{
    const struct google_token t = {.sub = "1007", .email = "fernando@example.com"};
    char path[128];

    (void)state;
    assert_int_equal(log_in(&t), 200);
    (void)snprintf(path, sizeof path, "/api/admin/users/%s", api_text(&api, "user.id"));
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "service")), 200);
    assert_int_equal(log_in(&t), 401); /* programs come with API keys */
    expect(401, "USER_INACTIVE");
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "user")), 200);
    assert_int_equal(log_in(&t), 200);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    assert_int_equal(log_in(&t), 401);
    expect(401, "USER_INACTIVE");
}

/* Google vouches for the account, not for the second factor. */
static void a_second_factor_is_asked_for(void **state)
{
    const struct google_token t = {.sub = "1009", .email = "hugo@example.com"};
    char code[MFA_CODE_BYTES];
    char recovery[MFA_TEXT_BYTES];

    (void)state;
    api_register(&api, "hugo");
    link_google(&t, PASSWORD);
    assert_int_equal(api.status, 200);
    api_send(&api, "POST", "/api/auth/mfa/enroll", json_pack("{s:s}", "password", PASSWORD));
    assert_int_equal(api.status, 200);
    mfa_code(api_text(&api, "secret"), 0, code);
    api_send(&api, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", code));
    assert_int_equal(api.status, 200);
    (void)snprintf(recovery, sizeof recovery, "%s", api_text(&api, "recovery_codes.0"));
    assert_int_equal(log_in(&t), 401);
    expect(401, "MFA_REQUIRED");
    assert_int_equal(log_in_with(&t, "12345678"), 401);
    expect(401, "INVALID_OTP");
    assert_int_equal(log_in_with(&t, recovery), 200);
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    assert_int_equal(log_in_with(&t, recovery), 401); /* used */
    expect(401, "INVALID_OTP");
}

/* The issuer has new keys, and the operator's file too. */
static void the_file_may_change(void **state)
{
    const struct google_token old = {.sub = "1008", .email = "gabriela@example.com"};
    const struct google_token fresh = {.sub = "1008",
                                       .email = "gabriela@example.com",
                                       .key = 1,
                                       .header = "{\"alg\":\"RS256\",\"kid\":\"g2\"}"};
    const uint64_t end = clock_mono_ms() + READ_MS_MAX;

    (void)state;
    assert_int_equal(log_in(&old), 200);
    assert_int_equal(log_in(&fresh), 400);
    google_issuer_put(1, "g2");
    while (log_in(&fresh) != 200) {
        expect(400, "INVALID_CREDENTIAL");
        assert_true(clock_mono_ms() < end);
        (void)usleep(100000);
    }
    assert_int_equal(log_in(&old), 400);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_new_person_becomes_a_user),
        cmocka_unit_test(such_a_user_has_no_password),
        cmocka_unit_test(an_account_with_a_password_is_not_merged),
        cmocka_unit_test(one_account_belongs_to_one_user),
        cmocka_unit_test(a_link_is_shown_and_taken_away),
        cmocka_unit_test(the_only_way_in_stays),
        cmocka_unit_test(credentials_that_are_not_good_are_refused),
        cmocka_unit_test(an_inactive_user_stays_out),
        cmocka_unit_test(a_second_factor_is_asked_for),
        cmocka_unit_test(the_file_may_change),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
