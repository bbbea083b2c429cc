/* One code given many times at once, to two replicas of identity: it is good exactly once. */
#include "tests/support/check.h"
#include "tests/support/mfa_client.h"

#include <stdio.h>

#define SECRETS_KEY "2020202020202020202020202020202020202020202020202020202020202020"
#define AT_ONCE     24
#define ROUNDS      8

static struct service_rig rig;

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_REGISTRATIONS_MAX", "1000000");
    service_rig_setting("AVANTA_ARGON2_KIB", "8");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_setting("AVANTA_WORK_WAITING", "200");
    service_rig_setting("AVANTA_LOGIN_FAILURES_MAX", "1000");
    service_rig_setting("AVANTA_ADDRESS_FAILURES_MAX", "1000000");
    service_rig_open(&rig, "identity", 2);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_rig_close(&rig);
    return 0;
}

static void user_of_round(struct mfa_user *user, const char *name, int round, bool enrolled)
{
    char full[32];

    (void)snprintf(full, sizeof full, "%s-%d", name, round);
    if (enrolled) {
        mfa_user_make_enrolled(user, &rig, full);
    } else {
        mfa_user_make(user, &rig, full);
    }
}

static void one_code_logs_in_once(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct mfa_user user;
        char code[MFA_CODE_BYTES];

        user_of_round(&user, "code", round, true);
        mfa_code(user.secret, 0, code);
        assert_int_equal(mfa_login_at_once(&user, AT_ONCE, code), 1);
        assert_string_equal(mfa_ask(&user,
                                    "SELECT count(*) FROM session WHERE user_id = '%s'"
                                    " AND ended_at IS NULL"),
                            "2"); /* with that of registering */
    }
}

static void one_recovery_code_logs_in_once(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct mfa_user user;

        user_of_round(&user, "recovery", round, true);
        assert_int_equal(mfa_login_at_once(&user, AT_ONCE, user.codes[round]), 1);
        assert_string_equal(mfa_status(&user), "1 0 0 9");
    }
}

static void one_code_enables_once(void **state)
{
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct mfa_user user;
        char code[MFA_CODE_BYTES];

        user_of_round(&user, "verify", round, false);
        assert_int_equal(mfa_enroll(&user, MFA_PASSWORD).code, OK);
        mfa_code(user.secret, 0, code);
        assert_int_equal(mfa_verify_at_once(&user, AT_ONCE, code), 1);
        assert_string_equal(mfa_status(&user), "1 0 0 10");
    }
}

/* However many guesses come at once, no more than five are looked at. */
static void guesses_at_once_are_bounded(void **state)
{
    struct mfa_user user;

    (void)state;
    user_of_round(&user, "guess", 0, true);
    assert_int_equal(mfa_login_at_once(&user, AT_ONCE, "no code"), 0);
    assert_string_equal(mfa_ask(&user, "SELECT failures FROM mfa WHERE user_id = '%s'"), "5");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_code_logs_in_once),
        cmocka_unit_test(one_recovery_code_logs_in_once),
        cmocka_unit_test(one_code_enables_once),
        cmocka_unit_test(guesses_at_once_are_bounded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
