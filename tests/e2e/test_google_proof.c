/* Users without a password prove who they are by their Google account: what asks for a password
 * given lately takes that, and a second factor can be set up and taken away. */
#include "tests/support/google_issuer.h"
#include "tests/support/mfa_client.h"
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>

#define OLD_MS_MAX     20000
#define REAUTHENTICATE "/api/auth/reauthenticate"
#define ENROLL         "/api/auth/mfa/enroll"

static struct api api;
static struct api admin;

static int setup(void **state)
{
    google_issuer_open(" AVANTA_REAUTHENTICATION_SECONDS=4 AVANTA_MFA_REQUIRED_ROLES=accountant");
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

static void log_in(const struct google_token *t, const char *otp)
{
    api.token[0] = '\0';
    assert_int_equal(
        api_send(&api,
                 "POST",
                 "/api/auth/google",
                 json_pack("{s:s,s:s*}", "credential", google_token_text(t), "otp", otp)),
        200);
    (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
}

static long prove(const struct google_token *t)
{
    return api_send(
        &api, "POST", REAUTHENTICATE, json_pack("{s:s}", "credential", google_token_text(t)));
}

static long enroll(void)
{
    return api_send(&api, "POST", ENROLL, json_object());
}

/* What was proved is old; until then it succeeds, and does no harm. */
static void until_old(void)
{
    const uint64_t end = clock_mono_ms() + OLD_MS_MAX;

    while (enroll() == 200) {
        assert_true(clock_mono_ms() < end);
    }
    people_expect(&api, 403, "REAUTHENTICATION_REQUIRED");
}

static void one_proof_is_given(void **state)
{
    const struct google_token t = {.sub = "2001", .email = "karla@example.com"};

    (void)state;
    log_in(&t, NULL);
    api_send(&api, "POST", REAUTHENTICATE, json_object());
    people_expect(&api, 400, "VALIDATION_ERROR");
    assert_string_equal(api_text(&api, "errors.0.field"), "password");
    assert_string_equal(api_text(&api, "errors.1.field"), "credential");
    api_send(&api,
             "POST",
             REAUTHENTICATE,
             json_pack("{s:s,s:s}", "credential", google_token_text(&t), "password", "x"));
    people_expect(&api, 400, "VALIDATION_ERROR");
    api_send(&api, "POST", REAUTHENTICATE, json_pack("{s:s}", "password", "nothing"));
    people_expect(&api, 409, "NO_PASSWORD");
    assert_int_equal(prove(&t), 200);
}

/* Neither another account, nor a token that lay about, nor one of somebody else's making. */
static void only_a_fresh_credential_of_the_linked_account_proves(void **state)
{
    const struct google_token own = {.sub = "2002", .email = "lucia@example.com"};
    const struct google_token other = {.sub = "2003", .email = "lucia@example.com"};
    const struct google_token old = {.sub = "2002", .email = "lucia@example.com", .age_s = 400};
    const struct google_token forged = {.sub = "2002", .email = "lucia@example.com", .key = 1};

    (void)state;
    log_in(&own, NULL);
    until_old();
    prove(&other);
    people_expect(&api, 409, "GOOGLE_LINKED_OTHERWISE");
    prove(&old);
    people_expect(&api, 400, "INVALID_CREDENTIAL");
    prove(&forged);
    people_expect(&api, 400, "INVALID_CREDENTIAL");
    enroll();
    people_expect(&api, 403, "REAUTHENTICATION_REQUIRED");
    assert_int_equal(prove(&own), 200);
    assert_int_equal(enroll(), 200);
}

/* Whose account is not linked has nothing to prove by. */
static void an_account_must_be_linked_first(void **state)
{
    const struct google_token t = {.sub = "2004", .email = "marta@example.com"};

    (void)state;
    api_register(&api, "marta");
    prove(&t);
    people_expect(&api, 409, "GOOGLE_LINKED_OTHERWISE");
    api_send(&api, "POST", ENROLL, json_object()); /* there is a password */
    people_expect(&api, 400, "VALIDATION_ERROR");
    assert_string_equal(api_text(&api, "errors.0.field"), "password");
    assert_int_equal(
        api_send(&api, "POST", REAUTHENTICATE, json_pack("{s:s}", "password", PEOPLE_PASSWORD)),
        200);
}

static void verify(void)
{
    char code[MFA_CODE_BYTES];

    mfa_code(api_text(&api, "secret"), 0, code);
    assert_int_equal(
        api_send(&api, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", code)), 200);
}

static long with_code(const char *path, const char *code)
{
    return api_send(&api, "POST", path, json_pack("{s:s}", "code", code));
}

/* Who must have a second factor and has no password gets past `enrolling`, and back. */
static void a_user_without_a_password_has_a_second_factor(void **state)
{
    const struct google_token t = {.sub = "2005", .email = "nadia@example.com"};
    char recovery[2][MFA_TEXT_BYTES];
    char id[PEOPLE_ID_BYTES];

    (void)state;
    log_in(&t, NULL);
    people_id(&api, id);
    assert_int_equal(api_send(&admin,
                              "POST",
                              REAUTHENTICATE,
                              json_pack("{s:s}", "password", stack_value("AVANTA_ADMIN_PASSWORD"))),
                     200);
    people_give_role(&admin, id, "accountant");
    log_in(&t, NULL);
    assert_true(json_is_true(api_at(&api, "mfa_enrollment_required")));
    assert_int_equal(api_get(&api, "/api/accounts"), 403);
    api_send(&api, "POST", ENROLL, json_pack("{s:s}", "password", "nothing"));
    people_expect(&api, 409, "NO_PASSWORD");
    until_old();
    assert_int_equal(prove(&t), 200);
    assert_int_equal(enroll(), 200);
    verify();
    for (size_t i = 0; i < 2; i++) {
        (void)snprintf(recovery[i],
                       sizeof recovery[i],
                       "%s",
                       api_text(&api, i == 0 ? "recovery_codes.0" : "recovery_codes.1"));
    }
    log_in(&t, recovery[0]);
    assert_int_equal(api_get(&api, "/api/accounts"), 200);
    assert_int_equal(prove(&t), 200);
    assert_int_equal(with_code("/api/auth/mfa/recovery-codes", recovery[1]), 200);
    (void)snprintf(recovery[0], sizeof recovery[0], "%s", api_text(&api, "recovery_codes.0"));
    assert_int_equal(prove(&t), 200);
    assert_int_equal(with_code("/api/auth/mfa/disable", recovery[0]), 200);
    assert_int_equal(api_get(&api, "/api/auth/mfa"), 200);
    assert_true(json_is_false(api_at(&api, "enabled")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_proof_is_given),
        cmocka_unit_test(only_a_fresh_credential_of_the_linked_account_proves),
        cmocka_unit_test(an_account_must_be_linked_first),
        cmocka_unit_test(a_user_without_a_password_has_a_second_factor),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
