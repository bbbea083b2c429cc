/* The second factor on two replicas of identity with real servers: setting it up, logging in with
 * it, recovery codes, taking it away, roles that must have it. Time passes by moving the last step
 * in the table. */
#include "tests/support/check.h"
#include "tests/support/mfa_client.h"
#include "tests/support/scratch_pg.h"

#include <stdio.h>
#include <string.h>

#define SECRETS_KEY "2020202020202020202020202020202020202020202020202020202020202020"
#define NOBODY      "0191d6a2-7b1c-7000-8000-00000000000a"
#define SOON_MS     15000
#define SESSIONS    "SELECT count(*) FROM session WHERE user_id = '%s' AND ended_at IS NULL"

static struct service_rig rig;
static int revocations;
static int told; /* events about second factors */
static int told_used;

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_REGISTRATIONS_MAX", "1000000");
    service_rig_setting("AVANTA_ARGON2_KIB", "8");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_setting("AVANTA_LOGIN_FAILURES_MAX", "1000");
    service_rig_setting("AVANTA_ADDRESS_FAILURES_MAX", "1000000");
    service_rig_setting("AVANTA_MFA_REQUIRED_ROLES", "admin, accountant");
    service_rig_open(&rig, "identity", 2);
    (void)bus_rig_subscribe(rig.bus, "ctl.revoke", NULL, bus_rig_count, &revocations);
    (void)bus_rig_subscribe(rig.bus, "evt.identity.mfa.*", NULL, bus_rig_count, &told);
    (void)bus_rig_subscribe(
        rig.bus, "evt.identity.recovery-code.used", NULL, bus_rig_count, &told_used);
    assert_true(bus_rig_until_up(&rig.loop, SOON_MS));
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_rig_close(&rig);
    return 0;
}

static void expect_told(const int *counter, int wanted)
{
    assert_true(bus_rig_until(&rig.loop, counter, wanted, SOON_MS));
    assert_int_equal(*counter, wanted);
}

/* --- setting it up --- */

static void it_takes_the_password_and_a_first_code(void **state)
{
    struct mfa_user ana;
    char first[MFA_SECRET_BYTES];
    char code[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make(&ana, &rig, "ana");
    assert_string_equal(mfa_status(&ana), "0 0 0 0");
    mfa_expect(mfa_verify(&ana, "123456"), AVANTA__REASON__MFA_NOT_ENABLED);
    mfa_expect(mfa_enroll(&ana, "wrong"), AVANTA__REASON__INVALID_PASSWORD);
    assert_int_equal(mfa_enroll(&ana, MFA_PASSWORD).code, OK);
    assert_int_equal(strlen(ana.secret), 32);
    assert_non_null(strstr(ana.uri, "otpauth://totp/Avanta:ana%40example.com?secret="));
    assert_non_null(strstr(ana.uri, ana.secret));
    assert_string_equal(mfa_status(&ana), "0 1 0 0");
    assert_int_equal(mfa_login(&ana, MFA_PASSWORD, NULL).code, OK); /* not of effect yet */

    (void)snprintf(first, sizeof first, "%s", ana.secret);
    assert_int_equal(mfa_enroll(&ana, MFA_PASSWORD).code, OK);
    assert_string_not_equal(ana.secret, first);
    mfa_code(first, 0, code); /* of the secret that was replaced */
    mfa_expect(mfa_verify(&ana, code), AVANTA__REASON__INVALID_MFA_CODE);
    mfa_code(ana.secret, 0, code);
    assert_int_equal(mfa_verify(&ana, code).code, OK);
    assert_string_equal(mfa_status(&ana), "1 0 0 10");
    mfa_expect(mfa_verify(&ana, code), AVANTA__REASON__MFA_ENABLED);
    mfa_expect(mfa_enroll(&ana, MFA_PASSWORD), AVANTA__REASON__MFA_ENABLED);
    assert_string_equal(mfa_ask(&ana, "SELECT max(pending) FROM attempt WHERE '%s' <> ''"),
                        "0"); /* all ended */
}

static const char *attempts_at(const struct mfa_user *user)
{
    return mfa_ask(user,
                   "SELECT coalesce(sum(pending + failures), 0) FROM attempt"
                   " WHERE kind = 'user' AND key = sha256('%s'::bytea)");
}

/* Who has none proved lately by Google who he is. */
static void without_a_password_a_recent_proof_stands_for_it(void **state)
{
    struct mfa_user gus;
    char code[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make(&gus, &rig, "gus");
    mfa_run(&gus, "UPDATE users SET google_sub = 'gus', password_hash = NULL WHERE id = '%s'");
    mfa_expect(mfa_enroll(&gus, MFA_PASSWORD), AVANTA__REASON__NO_PASSWORD);
    mfa_run(&gus,
            "UPDATE session SET authenticated_at = now() - interval '2 hours'"
            " WHERE user_id = '%s'");
    mfa_expect(mfa_enroll(&gus, NULL), AVANTA__REASON__REAUTHENTICATION_REQUIRED);
    assert_string_equal(mfa_status(&gus), "0 0 0 0");
    assert_string_equal(attempts_at(&gus), "0");
    mfa_run(&gus, "UPDATE session SET authenticated_at = now() WHERE user_id = '%s'");
    assert_int_equal(mfa_enroll(&gus, NULL).code, OK);
    mfa_code(gus.secret, 0, code);
    assert_int_equal(mfa_verify(&gus, code).code, OK);
    mfa_run(&gus,
            "UPDATE session SET authenticated_at = now() - interval '2 hours'"
            " WHERE user_id = '%s'");
    mfa_expect(mfa_disable(&gus, NULL, gus.codes[0]), AVANTA__REASON__REAUTHENTICATION_REQUIRED);
    mfa_expect(mfa_renew(&gus, NULL, gus.codes[0], NULL),
               AVANTA__REASON__REAUTHENTICATION_REQUIRED);
    mfa_run(&gus, "UPDATE session SET authenticated_at = now() WHERE user_id = '%s'");
    mfa_expect(mfa_disable(&gus, NULL, "AAAA"), AVANTA__REASON__INVALID_MFA_CODE);
    assert_int_equal(mfa_disable(&gus, NULL, gus.codes[0]).code, OK);
    assert_string_equal(attempts_at(&gus), "0");
}

/* A recent proof does not stand for a password that there is. */
static void a_password_cannot_be_left_out(void **state)
{
    struct mfa_user pia;

    (void)state;
    mfa_user_make(&pia, &rig, "pia");
    assert_int_equal(mfa_enroll(&pia, NULL).code, ERR_INVALID);
    assert_int_equal(mfa_enroll(&pia, "").code, ERR_INVALID);
    assert_string_equal(mfa_status(&pia), "0 0 0 0");
    assert_string_equal(attempts_at(&pia), "0");
}

static void neither_secret_nor_codes_are_stored(void **state)
{
    struct mfa_user eva;
    char sql[512];

    (void)state;
    mfa_user_make_enrolled(&eva, &rig, "eva");
    assert_string_equal(mfa_ask(&eva, "SELECT octet_length(sealed) FROM mfa WHERE user_id = '%s'"),
                        "49");
    for (int i = 0; i < MFA_CODES_MAX; i++) {
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(eva.codes[i], eva.codes[k]);
        }
        (void)snprintf(sql,
                       sizeof sql,
                       "SELECT count(*) FROM recovery_code WHERE user_id = '%%s'"
                       " AND code_hash = sha256(replace('%s', '-', '')::bytea)",
                       eva.codes[i]);
        assert_string_equal(mfa_ask(&eva, sql), "1");
    }
}

/* A seed is sealed for its user: in another one's row it does not open. */
static void a_seed_moved_to_another_user_does_not_open(void **state)
{
    struct mfa_user thief;
    struct mfa_user victim;
    char sql[256];
    char code[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make_enrolled(&thief, &rig, "thief");
    mfa_user_make_enrolled(&victim, &rig, "victim");
    (void)snprintf(sql,
                   sizeof sql,
                   "UPDATE mfa SET sealed = (SELECT sealed FROM mfa WHERE user_id = '%s')"
                   " WHERE user_id = '%%s'",
                   thief.id);
    mfa_run(&victim, sql);
    mfa_code(thief.secret, 0, code);
    assert_int_equal(mfa_login(&victim, MFA_PASSWORD, code).code, ERR_INTERNAL);
}

/* --- logging in --- */

/* What is counted for the e-mail, beside wrong codes. */
static void expect_failed_logins(const struct mfa_user *user, const char *wanted)
{
    char sql[256];

    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT failures FROM attempt WHERE kind = 'email'"
                   " AND key = sha256('%s'::bytea) AND pending = 0",
                   user->email);
    assert_string_equal(scratch_pg_ask(user->rig->dsn, sql), wanted);
}

static void a_login_takes_a_code_and_each_once(void **state)
{
    struct mfa_user bea;
    char code[MFA_CODE_BYTES];
    char next[MFA_CODE_BYTES];
    char late[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make_enrolled(&bea, &rig, "bea");
    mfa_code(bea.secret, 0, code);
    mfa_code(bea.secret, 1, next);
    mfa_code(bea.secret, 3, late);
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, NULL), AVANTA__REASON__MFA_REQUIRED);
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, ""), AVANTA__REASON__MFA_REQUIRED);
    expect_failed_logins(&bea, "0"); /* to be asked for a code is no failure */
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, late), AVANTA__REASON__INVALID_OTP);
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, "no code"), AVANTA__REASON__INVALID_OTP);
    expect_failed_logins(&bea, "2");
    /* Whoever lacks the password learns nothing of it, and uses no code up. */
    mfa_expect(mfa_login(&bea, "wrong", NULL), AVANTA__REASON__INVALID_CREDENTIALS);
    mfa_expect(mfa_login(&bea, "wrong", code), AVANTA__REASON__INVALID_CREDENTIALS);
    mfa_expect(mfa_login(&bea, "wrong", bea.codes[0]), AVANTA__REASON__INVALID_CREDENTIALS);
    assert_int_equal(mfa_login(&bea, MFA_PASSWORD, code).code, OK);
    assert_false(bea.must_enroll);
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, code), AVANTA__REASON__INVALID_OTP);
    assert_int_equal(mfa_login(&bea, MFA_PASSWORD, next).code, OK);
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, next), AVANTA__REASON__INVALID_OTP);
    mfa_expect(mfa_login(&bea, MFA_PASSWORD, code), AVANTA__REASON__INVALID_OTP); /* earlier */
    assert_string_equal(mfa_status(&bea), "1 0 0 10");
}

static void an_unknown_user_is_not_asked_for_a_code(void **state)
{
    struct mfa_user nobody = {.rig = &rig, .email = "nadie@example.com"};

    (void)state;
    mfa_expect(mfa_login(&nobody, MFA_PASSWORD, NULL), AVANTA__REASON__INVALID_CREDENTIALS);
    mfa_expect(mfa_login(&nobody, MFA_PASSWORD, "123456"), AVANTA__REASON__INVALID_CREDENTIALS);
}

static void blanks_in_a_code_do_not_matter(void **state)
{
    struct mfa_user cleo;
    char code[MFA_CODE_BYTES];
    char shown[16];

    (void)state;
    mfa_user_make_enrolled(&cleo, &rig, "cleo");
    mfa_code(cleo.secret, 0, code);
    (void)snprintf(shown, sizeof shown, " %.3s %s ", code, code + 3);
    assert_int_equal(mfa_login(&cleo, MFA_PASSWORD, shown).code, OK);
}

static void a_recovery_code_is_good_once(void **state)
{
    struct mfa_user dora;
    const int before = told_used;

    (void)state;
    mfa_user_make_enrolled(&dora, &rig, "dora");
    assert_int_equal(mfa_login(&dora, MFA_PASSWORD, dora.codes[3]).code, OK);
    mfa_expect(mfa_login(&dora, MFA_PASSWORD, dora.codes[3]), AVANTA__REASON__INVALID_OTP);
    assert_string_equal(mfa_status(&dora), "1 0 0 9");
    expect_told(&told_used, before + 1);
    assert_int_equal(mfa_login(&dora, MFA_PASSWORD, dora.codes[4]).code, OK);
}

static void new_recovery_codes_make_the_old_ones_void(void **state)
{
    struct mfa_user gil;
    char old[MFA_TEXT_BYTES];
    char code[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make_enrolled(&gil, &rig, "gil");
    (void)snprintf(old, sizeof old, "%s", gil.codes[0]);
    mfa_code(gil.secret, 0, code);
    mfa_expect(mfa_renew(&gil, "wrong", code, NULL), AVANTA__REASON__INVALID_PASSWORD);
    mfa_expect(mfa_renew(&gil, MFA_PASSWORD, "000000", NULL), AVANTA__REASON__INVALID_MFA_CODE);
    /* What holds secrets is kept under no key: asked again it is done again. */
    assert_int_equal(mfa_renew(&gil, MFA_PASSWORD, code, "again").code, OK);
    mfa_expect(mfa_renew(&gil, MFA_PASSWORD, code, "again"), AVANTA__REASON__INVALID_MFA_CODE);
    assert_string_equal(scratch_pg_ask(rig.dsn, "SELECT count(*) FROM idempotency"), "0");
    mfa_expect(mfa_login(&gil, MFA_PASSWORD, old), AVANTA__REASON__INVALID_OTP);
    assert_int_equal(mfa_login(&gil, MFA_PASSWORD, gil.codes[9]).code, OK);
    assert_string_equal(mfa_status(&gil), "1 0 0 9");
}

/* --- guessing --- */

/* Five wrong codes in a row, after which a right one is not looked at for so long. */
static void guess(struct mfa_user *user, uint32_t seconds)
{
    char code[MFA_CODE_BYTES];

    for (int i = 0; i < 5; i++) {
        mfa_expect(mfa_renew(user, MFA_PASSWORD, "000000", NULL), AVANTA__REASON__INVALID_MFA_CODE);
    }
    for (int i = 0; i < 2; i++) {
        struct mfa_verdict_seen seen;

        mfa_code(user->secret, 0, code);
        seen = i == 0 ? mfa_renew(user, MFA_PASSWORD, code, NULL)
                      : mfa_login(user, MFA_PASSWORD, user->codes[0]);
        mfa_expect(seen, AVANTA__REASON__TOO_MANY_ATTEMPTS);
        assert_int_equal(seen.code, ERR_RATE_LIMITED);
        assert_in_range(seen.retry_after_s, seconds - 10, seconds);
    }
    mfa_run(user, "UPDATE mfa SET locked_until = now() WHERE user_id = '%s'");
}

static void wrong_codes_lock_longer_and_longer(void **state)
{
    static const uint32_t seconds[] = {30, 60, 120, 240, 480, 900, 900};
    struct mfa_user hugo;
    char code[MFA_CODE_BYTES];
    const int before = told;

    (void)state;
    mfa_user_make_enrolled(&hugo, &rig, "hugo");
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        guess(&hugo, seconds[i]);
    }
    expect_told(&told, before + 2 + (int)ARRAY_LEN(seconds)); /* enrolled, enabled, and each lock */
    mfa_code(hugo.secret, 0, code);
    assert_int_equal(mfa_login(&hugo, MFA_PASSWORD, code).code, OK);
    assert_string_equal(mfa_ask(&hugo, "SELECT failures FROM mfa WHERE user_id = '%s'"), "0");
    guess(&hugo, 30);
}

/* Whatever was done to clocks, nobody is told to wait longer than the longest lock. */
static void a_lock_from_a_clock_ahead_is_bounded(void **state)
{
    struct mfa_user ivo;
    struct mfa_verdict_seen seen;

    (void)state;
    mfa_user_make_enrolled(&ivo, &rig, "ivo");
    mfa_run(&ivo,
            "UPDATE mfa SET locked_until = now() + interval '1 hour'"
            " WHERE user_id = '%s'");
    seen = mfa_login(&ivo, MFA_PASSWORD, ivo.codes[0]);
    mfa_expect(seen, AVANTA__REASON__TOO_MANY_ATTEMPTS);
    assert_int_equal(seen.retry_after_s, 900);
}

/* --- sessions, and taking it away --- */

static void enabling_and_disabling_end_the_other_sessions(void **state)
{
    struct mfa_user ines;
    char code[MFA_CODE_BYTES];
    int before = revocations;

    (void)state;
    mfa_user_make(&ines, &rig, "ines");
    assert_int_equal(mfa_login(&ines, MFA_PASSWORD, NULL).code, OK);
    assert_string_equal(mfa_ask(&ines, SESSIONS), "2");
    assert_int_equal(mfa_enroll(&ines, MFA_PASSWORD).code, OK);
    mfa_code(ines.secret, 0, code);
    assert_int_equal(mfa_verify(&ines, code).code, OK);
    assert_string_equal(mfa_ask(&ines, SESSIONS), "1");
    expect_told(&revocations, before + 1);
    assert_int_equal(mfa_refresh(&ines).code, OK); /* its own goes on */

    assert_int_equal(mfa_login(&ines, MFA_PASSWORD, ines.codes[0]).code, OK);
    mfa_expect(mfa_disable(&ines, "wrong", ines.codes[1]), AVANTA__REASON__INVALID_PASSWORD);
    mfa_expect(mfa_disable(&ines, MFA_PASSWORD, "000000"), AVANTA__REASON__INVALID_MFA_CODE);
    mfa_expect(mfa_disable(&ines, MFA_PASSWORD, ines.codes[0]), AVANTA__REASON__INVALID_MFA_CODE);
    assert_string_equal(mfa_ask(&ines, SESSIONS), "2");
    assert_int_equal(mfa_disable(&ines, MFA_PASSWORD, ines.codes[1]).code, OK);
    assert_string_equal(mfa_ask(&ines, SESSIONS), "1");
    expect_told(&revocations, before + 2);
    assert_string_equal(mfa_status(&ines), "0 0 0 0");
    assert_int_equal(mfa_login(&ines, MFA_PASSWORD, NULL).code, OK);
    mfa_expect(mfa_disable(&ines, MFA_PASSWORD, ines.codes[2]), AVANTA__REASON__MFA_NOT_ENABLED);
    mfa_expect(mfa_renew(&ines, MFA_PASSWORD, ines.codes[2], NULL),
               AVANTA__REASON__MFA_NOT_ENABLED);
    assert_string_equal(mfa_ask(&ines, "SELECT count(*) FROM recovery_code WHERE user_id = '%s'"),
                        "0");
}

static void an_administrator_takes_it_away(void **state)
{
    struct mfa_user root;
    struct mfa_user juan;

    (void)state;
    mfa_user_make(&root, &rig, "root");
    mfa_user_make_enrolled(&juan, &rig, "juan");
    assert_int_equal(mfa_reset(&root, NOBODY).code, ERR_NOT_FOUND);
    mfa_expect(mfa_reset(&root, root.id), AVANTA__REASON__OWN_ACCOUNT);
    mfa_run(&root,
            "UPDATE session SET authenticated_at = now() - interval '2 hours'"
            " WHERE user_id = '%s'");
    mfa_expect(mfa_reset(&root, juan.id), AVANTA__REASON__REAUTHENTICATION_REQUIRED);
    assert_int_equal(mfa_login(&root, MFA_PASSWORD, NULL).code, OK);
    assert_int_equal(mfa_reset(&root, juan.id).code, OK);
    assert_string_equal(mfa_ask(&juan, SESSIONS), "0");
    assert_int_equal(mfa_login(&juan, MFA_PASSWORD, NULL).code, OK);
    mfa_expect(mfa_reset(&root, juan.id), AVANTA__REASON__MFA_NOT_ENABLED);
}

/* --- roles that must have it --- */

static void expect_role(const struct mfa_user *user, const char *role)
{
    char claim[64];

    (void)snprintf(claim, sizeof claim, "\"role\":\"%s\"", role);
    if (strstr(user->payload, claim) == NULL) {
        fail_msg("no %s in %s", claim, user->payload);
    }
    assert_int_equal(user->must_enroll, strcmp(role, "enrolling") == 0);
}

static void a_role_that_must_have_it_enrolls_first(void **state)
{
    struct mfa_user luz;
    char code[MFA_CODE_BYTES];

    (void)state;
    mfa_user_make(&luz, &rig, "luz");
    expect_role(&luz, "user");
    mfa_run(&luz, "UPDATE users SET role = 'accountant' WHERE id = '%s'");
    assert_int_equal(mfa_refresh(&luz).code, OK);
    expect_role(&luz, "enrolling");
    assert_int_equal(mfa_login(&luz, MFA_PASSWORD, NULL).code, OK);
    expect_role(&luz, "enrolling");
    assert_string_equal(mfa_status(&luz), "0 0 1 0");
    assert_int_equal(mfa_enroll(&luz, MFA_PASSWORD).code, OK);
    assert_int_equal(mfa_refresh(&luz).code, OK);
    expect_role(&luz, "enrolling"); /* pending is not enough */
    mfa_code(luz.secret, 0, code);
    assert_int_equal(mfa_verify(&luz, code).code, OK);
    assert_int_equal(mfa_refresh(&luz).code, OK); /* without a new login */
    expect_role(&luz, "accountant");
    assert_int_equal(mfa_login(&luz, MFA_PASSWORD, luz.codes[0]).code, OK);
    expect_role(&luz, "accountant");
    assert_int_equal(mfa_disable(&luz, MFA_PASSWORD, luz.codes[1]).code, OK);
    assert_int_equal(mfa_refresh(&luz).code, OK);
    expect_role(&luz, "enrolling");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_takes_the_password_and_a_first_code),
        cmocka_unit_test(without_a_password_a_recent_proof_stands_for_it),
        cmocka_unit_test(a_password_cannot_be_left_out),
        cmocka_unit_test(neither_secret_nor_codes_are_stored),
        cmocka_unit_test(a_seed_moved_to_another_user_does_not_open),
        cmocka_unit_test(a_login_takes_a_code_and_each_once),
        cmocka_unit_test(an_unknown_user_is_not_asked_for_a_code),
        cmocka_unit_test(blanks_in_a_code_do_not_matter),
        cmocka_unit_test(a_recovery_code_is_good_once),
        cmocka_unit_test(new_recovery_codes_make_the_old_ones_void),
        cmocka_unit_test(wrong_codes_lock_longer_and_longer),
        cmocka_unit_test(a_lock_from_a_clock_ahead_is_bounded),
        cmocka_unit_test(enabling_and_disabling_end_the_other_sessions),
        cmocka_unit_test(an_administrator_takes_it_away),
        cmocka_unit_test(a_role_that_must_have_it_enrolls_first),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
