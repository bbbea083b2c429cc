/* Guessing passwords is slowed down: two replicas of identity on real servers, attempts by e-mail
 * one after another and many at once. */
#include "tests/support/attempts.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_MAX 5
#define ADDRESS_MAX 20
#define AT_ONCE     50
#define WAIT_MS_MAX 30000

static int setup_all(void **state)
{
    (void)state;
    attempts_open();
    scratch_pg_run(attempts_rig()->dsn,
                   "INSERT INTO attempt (kind, key, failures, failed_at) VALUES ('email',"
                   " decode(repeat('00', 32), 'hex'), 3, now() - interval '25 hours')");
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    attempts_close();
    return 0;
}

/* Whether the account exists cannot be told from any answer. */
static void an_account_is_locked_alike_whether_it_exists(void **state)
{
    static const char *const emails[] = {"ana@example.com", "nadie@example.com"};
    struct attempts_verdict locked[2];
    int alerts_before = attempts_heard()->alerts;
    int events_before = attempts_heard()->events;

    (void)state;
    attempts_user(emails[0]);
    for (size_t i = 0; i < 2; i++) {
        char address[32];
        for (int k = 0; k < ACCOUNT_MAX; k++) {
            attempts_expect_wrong(attempts_login(emails[i], "wrong", attempts_address(address)));
        }
        locked[i] = attempts_login(emails[i], "wrong", attempts_address(address));
        attempts_expect_locked(locked[i], 30);
        attempts_expect_locked(
            attempts_login(emails[i], ATTEMPTS_PASSWORD, attempts_address(address)),
            30); /* the right one too */
        assert_string_equal(attempts_row(emails[i], "failures"), "5");
        assert_string_equal(attempts_row(emails[i], "pending"), "0");
    }
    assert_string_equal(locked[0].detail, locked[1].detail);
    assert_true(bus_rig_until(
        &attempts_rig()->loop, &attempts_heard()->alerts, alerts_before + 2, WAIT_MS_MAX));
    assert_true(bus_rig_until(
        &attempts_rig()->loop, &attempts_heard()->events, events_before + 2, WAIT_MS_MAX));
    assert_int_equal(attempts_heard()->alerts, alerts_before + 2);
}

static void a_success_after_the_lock_starts_anew(void **state)
{
    char address[32];

    (void)state;
    attempts_user("bea@example.com");
    for (int k = 0; k < ACCOUNT_MAX; k++) {
        attempts_expect_wrong(
            attempts_login("bea@example.com", "wrong", attempts_address(address)));
    }
    attempts_expect_locked(
        attempts_login("bea@example.com", ATTEMPTS_PASSWORD, attempts_address(address)), 30);
    attempts_time_passes("30 seconds");
    assert_int_equal(
        attempts_login("bea@example.com", ATTEMPTS_PASSWORD, attempts_address(address)).code, OK);
    assert_string_equal(attempts_row("bea@example.com", "failures"), "0");
    for (int k = 0; k < ACCOUNT_MAX - 1; k++) {
        attempts_expect_wrong(
            attempts_login("BEA@example.com", "wrong", attempts_address(address)));
    }
    assert_string_equal(attempts_row("bea@example.com", "failures"), "4"); /* the same account */
    assert_int_equal(
        attempts_login("bea@example.com", ATTEMPTS_PASSWORD, attempts_address(address)).code, OK);
}

static void each_further_failure_doubles_the_lock(void **state)
{
    static const uint32_t seconds[] = {30, 60, 120, 240, 480, 900, 900};
    char address[32];

    (void)state;
    for (int k = 0; k < ACCOUNT_MAX - 1; k++) {
        attempts_expect_wrong(
            attempts_login("doble@example.com", "wrong", attempts_address(address)));
    }
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        attempts_expect_wrong(
            attempts_login("doble@example.com", "wrong", attempts_address(address)));
        attempts_expect_locked(
            attempts_login("doble@example.com", "wrong", attempts_address(address)), seconds[i]);
        attempts_time_passes("15 minutes");
    }
}

static void failures_are_forgotten_after_a_day(void **state)
{
    char address[32];

    (void)state;
    for (int k = 0; k < ACCOUNT_MAX - 1; k++) {
        attempts_expect_wrong(
            attempts_login("lento@example.com", "wrong", attempts_address(address)));
    }
    attempts_time_passes("23 hours");
    attempts_expect_wrong(attempts_login("lento@example.com", "wrong", attempts_address(address)));
    attempts_expect_locked(attempts_login("lento@example.com", "wrong", attempts_address(address)),
                           30);
    attempts_time_passes("24 hours");
    attempts_expect_wrong(attempts_login("lento@example.com", "wrong", attempts_address(address)));
    assert_string_equal(attempts_row("lento@example.com", "failures"), "1");
    attempts_expect_wrong(attempts_login("lento@example.com", "wrong", attempts_address(address)));
}

/* --- many at once ----------------------------------------------------------------------------- */

struct tally {
    size_t wrong;
    size_t locked;
};

/* At one account from many addresses, or at many accounts from the one given. */
static struct tally guess_at_once(const char *name, const char *client_ip)
{
    static Avanta__Identity__LoginRequest in[AT_ONCE];
    static struct service_call calls[AT_ONCE];
    static char addresses[AT_ONCE][32];
    static char emails[AT_ONCE][64];
    struct tally tally = {0, 0};

    for (size_t i = 0; i < AT_ONCE; i++) {
        avanta__identity__login_request__init(&in[i]);
        (void)snprintf(
            emails[i], sizeof emails[i], "%s%zu@example.com", name, client_ip == NULL ? 0 : i);
        in[i].email = emails[i];
        in[i].password = attempts_text("guess");
        calls[i] = (struct service_call){
            .method = service_method("identity.Login"),
            .in = &in[i].base,
            .client_ip = client_ip == NULL ? attempts_address(addresses[i]) : client_ip};
        service_call_start(attempts_rig(), &calls[i]);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        service_call_wait(&calls[i]);
        struct attempts_verdict verdict = attempts_verdict_of(&calls[i]);
        tally.wrong += verdict.reason == AVANTA__REASON__INVALID_CREDENTIALS ? 1 : 0;
        tally.locked += verdict.reason == AVANTA__REASON__TOO_MANY_ATTEMPTS ? 1 : 0;
    }
    assert_int_equal(tally.wrong + tally.locked, AT_ONCE);
    return tally;
}

static void many_at_once_gain_nothing(void **state)
{
    char email[64];

    (void)state;
    for (int round = 0; round < 6; round++) {
        char name[32];
        (void)snprintf(name, sizeof name, "carrera-%d-", round);
        (void)snprintf(email, sizeof email, "%s0@example.com", name);
        struct tally tally = guess_at_once(name, NULL);
        assert_in_range(tally.wrong, 1, ACCOUNT_MAX);
        char failures[8];
        (void)snprintf(failures, sizeof failures, "%zu", tally.wrong);
        assert_string_equal(attempts_row(email, "failures"), failures);
        assert_string_equal(attempts_row(email, "pending"), "0");
    }
    assert_true(guess_at_once("uno", NULL).wrong <= ACCOUNT_MAX);
    scratch_pg_run(attempts_rig()->dsn,
                   "UPDATE attempt SET failures = 5, locked_until = now() - interval '1 s'");
    assert_int_equal(guess_at_once("uno", NULL).wrong, 1); /* one for each lock */
}

static void many_at_once_gain_nothing_from_one_address(void **state)
{
    char address[32];

    (void)state;
    struct tally tally = guess_at_once("rociado-", attempts_address(address));
    assert_in_range(tally.wrong, 1, ADDRESS_MAX);
}

/* What a crash left pending is not waited for longer than a request may last. */
static void pending_attempts_do_not_stay(void **state)
{
    char address[32];

    (void)state;
    attempts_user("caida@example.com");
    assert_int_equal(
        attempts_login("caida@example.com", ATTEMPTS_PASSWORD, attempts_address(address)).code, OK);
    scratch_pg_run(attempts_rig()->dsn,
                   "UPDATE attempt SET pending = 5, pending_until = now() + interval '15 s'"
                   " WHERE kind = 'email'");
    attempts_expect_locked(
        attempts_login("caida@example.com", ATTEMPTS_PASSWORD, attempts_address(address)), 3);
    attempts_time_passes("15 seconds");
    assert_int_equal(
        attempts_login("caida@example.com", ATTEMPTS_PASSWORD, attempts_address(address)).code, OK);
    assert_string_equal(attempts_row("caida@example.com", "pending"), "0");
}

/* --- the password of who is logged in
 * ------------------------------------------------------------- */

static struct attempts_verdict confirm(const char *user, const char *password)
{
    Avanta__Identity__ReauthenticateRequest in = AVANTA__IDENTITY__REAUTHENTICATE_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("identity.Reauthenticate"), .in = &in.base, .user = user};

    in.password = attempts_text(password);
    (void)service_call(attempts_rig(), &call);
    return attempts_verdict_of(&call);
}

/* An open session does not help to find the password; the log-in is another matter. */
static void guessing_from_a_session_is_locked_too(void **state)
{
    char user[64];
    char address[32];

    (void)state;
    attempts_user("flor@example.com");
    (void)snprintf(user,
                   sizeof user,
                   "%s",
                   scratch_pg_ask(attempts_rig()->dsn,
                                  "SELECT id FROM users WHERE email = 'flor@example.com'"));
    for (int k = 0; k < ACCOUNT_MAX; k++) {
        assert_int_equal(confirm(user, "wrong").reason, AVANTA__REASON__INVALID_PASSWORD);
    }
    attempts_expect_locked(confirm(user, ATTEMPTS_PASSWORD), 30);
    assert_int_equal(
        attempts_login("flor@example.com", ATTEMPTS_PASSWORD, attempts_address(address)).code, OK);
    attempts_time_passes("30 seconds");
    assert_int_equal(confirm(user, ATTEMPTS_PASSWORD).code, OK);
    assert_string_equal(scratch_pg_ask(attempts_rig()->dsn,
                                       "SELECT failures || ' ' || pending FROM attempt"
                                       " WHERE kind = 'user'"),
                        "0 0");
}

/* --- what is left --------------------------------------------------------------------------------
 */

static void every_lock_is_an_event_and_an_alert(void **state)
{
    (void)state;
    assert_int_equal(attempts_heard()->alerts, attempts_heard()->events);
    assert_true(attempts_heard()->alerts > 10);
}

static void old_counts_are_purged(void **state)
{
    const uint64_t end = clock_mono_ms() + WAIT_MS_MAX;
    const char *left = "1";

    (void)state;
    while (strcmp(left, "0") != 0 && clock_mono_ms() < end) {
        bus_rig_run(&attempts_rig()->loop, 100);
        left = scratch_pg_ask(
            attempts_rig()->dsn,
            "SELECT count(*) FROM attempt WHERE key = decode(repeat('00', 32), 'hex')");
    }
    assert_string_equal(left, "0");
    assert_string_not_equal(scratch_pg_ask(attempts_rig()->dsn, "SELECT count(*) FROM attempt"),
                            "0");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_account_is_locked_alike_whether_it_exists),
        cmocka_unit_test(a_success_after_the_lock_starts_anew),
        cmocka_unit_test(each_further_failure_doubles_the_lock),
        cmocka_unit_test(failures_are_forgotten_after_a_day),
        cmocka_unit_test(many_at_once_gain_nothing),
        cmocka_unit_test(many_at_once_gain_nothing_from_one_address),
        cmocka_unit_test(pending_attempts_do_not_stay),
        cmocka_unit_test(guessing_from_a_session_is_locked_too),
        cmocka_unit_test(every_lock_is_an_event_and_an_alert),
        cmocka_unit_test(old_counts_are_purged),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
