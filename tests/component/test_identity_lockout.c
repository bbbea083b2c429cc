/* Guessing passwords is slowed down: two replicas of identity on real servers, attempts by e-mail
 * and by address, one after another and many at once. Time passes by moving it in the database. */
#include "avanta/identity.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/service_rig.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/digest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_MAX 5
#define ADDRESS_MAX 20
#define AT_ONCE     50
#define PASSWORD    "una frase bastante larga"
#define WAIT_MS_MAX 30000
#define SECRETS_KEY "0000000000000000000000000000000000000000000000000000000000000008"

static struct service_rig rig;
static int alerts;
static int events;

static void count(void *counter, struct bus_message *message)
{
    int *at = counter;

    (*at)++;
    bus_message_destroy(message);
}

/* An address of its own for each: what is counted for one does not touch another. */
static const char *address_new(char out[32])
{
    static unsigned used;

    used++;
    (void)snprintf(out, 32, "10.1.%u.%u", used / 250, used % 250 + 1);
    return out;
}

struct verdict {
    enum code code;
    Avanta__Reason reason;
    uint32_t retry_after_s;
    char detail[128];
};

static struct verdict verdict_of(struct service_call *call)
{
    struct verdict verdict = {call->code, call->reason, call->retry_after_s, ""};

    assert_int_equal(call->bus, OK);
    if (call->code != OK) {
        (void)snprintf(verdict.detail, sizeof verdict.detail, "%s", call->detail);
    }
    service_call_end(call);
    return verdict;
}

/* The messages' texts are not written. */
static char *text(const char *given)
{
    return (char *)(uintptr_t)given;
}

static struct verdict login(const char *email, const char *password, const char *client_ip)
{
    Avanta__Identity__LoginRequest in = AVANTA__IDENTITY__LOGIN_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("identity.Login"), .in = &in.base, .client_ip = client_ip};

    in.email = text(email);
    in.password = text(password);
    (void)service_call(&rig, &call);
    return verdict_of(&call);
}

static struct verdict register_user(const char *email, const char *client_ip)
{
    Avanta__Identity__RegisterRequest in = AVANTA__IDENTITY__REGISTER_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("identity.RegisterUser"), .in = &in.base, .client_ip = client_ip};

    in.email = text(email);
    in.password = text(PASSWORD);
    in.name = text("Persona");
    (void)service_call(&rig, &call);
    return verdict_of(&call);
}

static void user_make(const char *email)
{
    char address[32];

    assert_int_equal(register_user(email, address_new(address)).code, OK);
}

static void expect_wrong(struct verdict verdict)
{
    assert_int_equal(verdict.code, ERR_UNAUTHENTICATED);
    assert_int_equal(verdict.reason, AVANTA__REASON__INVALID_CREDENTIALS);
}

static void expect_locked(struct verdict verdict, uint32_t seconds)
{
    assert_int_equal(verdict.code, ERR_RATE_LIMITED);
    assert_int_equal(verdict.reason, AVANTA__REASON__TOO_MANY_ATTEMPTS);
    assert_in_range(verdict.retry_after_s, seconds - 3, seconds);
}

/* The row of an e-mail, by its key. */
static const char *row_of(const char *email, const char *column)
{
    static char sql[512];
    uint8_t hash[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];

    sha256(str_from(email), hash);
    hex_encode(hash, sizeof hash, hex);
    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT %s FROM attempt WHERE kind = 'email' AND key = '\\x%s'",
                   column,
                   hex);
    return scratch_pg_ask(rig.dsn, sql);
}

static void time_passes(const char *interval)
{
    char sql[256];

    (void)snprintf(sql,
                   sizeof sql,
                   "UPDATE attempt SET failed_at = failed_at - interval '%s',"
                   " locked_until = locked_until - interval '%s',"
                   " pending_until = pending_until - interval '%s'",
                   interval,
                   interval,
                   interval);
    scratch_pg_run(rig.dsn, sql);
}

static int setup_all(void **state)
{
    struct bus_subscription *subscription = NULL;
    struct err err = {0};

    (void)state;
    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_ARGON2_KIB", "64");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_setting("AVANTA_WORK_WAITING", "200");
    service_rig_open(&rig, "identity", 2);
    assert_int_equal(
        bus_subscribe(rig.bus, "alert.warning.identity", NULL, count, &alerts, &subscription, &err),
        OK);
    assert_int_equal(
        bus_subscribe(rig.bus, "evt.identity.*.locked", NULL, count, &events, &subscription, &err),
        OK);
    scratch_pg_run(rig.dsn,
                   "INSERT INTO attempt (kind, key, failures, failed_at) VALUES ('email',"
                   " decode(repeat('00', 32), 'hex'), 3, now() - interval '25 hours')");
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    service_rig_close(&rig);
    return 0;
}

/* Whether the account exists cannot be told from any answer. */
static void an_account_is_locked_alike_whether_it_exists(void **state)
{
    static const char *const emails[] = {"ana@example.com", "nadie@example.com"};
    struct verdict locked[2];
    int alerts_before = alerts;
    int events_before = events;

    (void)state;
    user_make(emails[0]);
    for (size_t i = 0; i < 2; i++) {
        char address[32];
        for (int k = 0; k < ACCOUNT_MAX; k++) {
            expect_wrong(login(emails[i], "wrong", address_new(address)));
        }
        locked[i] = login(emails[i], "wrong", address_new(address));
        expect_locked(locked[i], 30);
        expect_locked(login(emails[i], PASSWORD, address_new(address)), 30); /* the right one too */
        assert_string_equal(row_of(emails[i], "failures"), "5");
        assert_string_equal(row_of(emails[i], "pending"), "0");
    }
    assert_string_equal(locked[0].detail, locked[1].detail);
    assert_true(bus_rig_until(&rig.loop, &alerts, alerts_before + 2, WAIT_MS_MAX));
    assert_true(bus_rig_until(&rig.loop, &events, events_before + 2, WAIT_MS_MAX));
    assert_int_equal(alerts, alerts_before + 2);
}

static void a_success_after_the_lock_starts_anew(void **state)
{
    char address[32];

    (void)state;
    user_make("bea@example.com");
    for (int k = 0; k < ACCOUNT_MAX; k++) {
        expect_wrong(login("bea@example.com", "wrong", address_new(address)));
    }
    expect_locked(login("bea@example.com", PASSWORD, address_new(address)), 30);
    time_passes("30 seconds");
    assert_int_equal(login("bea@example.com", PASSWORD, address_new(address)).code, OK);
    assert_string_equal(row_of("bea@example.com", "failures"), "0");
    for (int k = 0; k < ACCOUNT_MAX - 1; k++) {
        expect_wrong(login("BEA@example.com", "wrong", address_new(address)));
    }
    assert_string_equal(row_of("bea@example.com", "failures"), "4"); /* the same account */
    assert_int_equal(login("bea@example.com", PASSWORD, address_new(address)).code, OK);
}

static void each_further_failure_doubles_the_lock(void **state)
{
    static const uint32_t seconds[] = {30, 60, 120, 240, 480, 900, 900};
    char address[32];

    (void)state;
    for (int k = 0; k < ACCOUNT_MAX - 1; k++) {
        expect_wrong(login("doble@example.com", "wrong", address_new(address)));
    }
    for (size_t i = 0; i < ARRAY_LEN(seconds); i++) {
        expect_wrong(login("doble@example.com", "wrong", address_new(address)));
        expect_locked(login("doble@example.com", "wrong", address_new(address)), seconds[i]);
        time_passes("15 minutes");
    }
}

static void failures_are_forgotten_after_a_day(void **state)
{
    char address[32];

    (void)state;
    for (int k = 0; k < ACCOUNT_MAX - 1; k++) {
        expect_wrong(login("lento@example.com", "wrong", address_new(address)));
    }
    time_passes("23 hours");
    expect_wrong(login("lento@example.com", "wrong", address_new(address)));
    expect_locked(login("lento@example.com", "wrong", address_new(address)), 30);
    time_passes("24 hours");
    expect_wrong(login("lento@example.com", "wrong", address_new(address)));
    assert_string_equal(row_of("lento@example.com", "failures"), "1");
    expect_wrong(login("lento@example.com", "wrong", address_new(address)));
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
        in[i].password = text("guess");
        calls[i] = (struct service_call){.method = service_method("identity.Login"),
                                         .in = &in[i].base,
                                         .client_ip = client_ip == NULL ? address_new(addresses[i])
                                                                        : client_ip};
        service_call_start(&rig, &calls[i]);
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        service_call_wait(&calls[i]);
        struct verdict verdict = verdict_of(&calls[i]);
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
        assert_string_equal(row_of(email, "failures"), failures);
        assert_string_equal(row_of(email, "pending"), "0");
    }
    assert_true(guess_at_once("uno", NULL).wrong <= ACCOUNT_MAX);
    scratch_pg_run(rig.dsn,
                   "UPDATE attempt SET failures = 5, locked_until = now() - interval '1 s'");
    assert_int_equal(guess_at_once("uno", NULL).wrong, 1); /* one for each lock */
}

static void many_at_once_gain_nothing_from_one_address(void **state)
{
    char address[32];

    (void)state;
    struct tally tally = guess_at_once("rociado-", address_new(address));
    assert_in_range(tally.wrong, 1, ADDRESS_MAX);
}

/* What a crash left pending is not waited for longer than a request may last. */
static void pending_attempts_do_not_stay(void **state)
{
    char address[32];

    (void)state;
    user_make("caida@example.com");
    assert_int_equal(login("caida@example.com", PASSWORD, address_new(address)).code, OK);
    scratch_pg_run(rig.dsn,
                   "UPDATE attempt SET pending = 5, pending_until = now() + interval '15 s'"
                   " WHERE kind = 'email'");
    expect_locked(login("caida@example.com", PASSWORD, address_new(address)), 3);
    time_passes("15 seconds");
    assert_int_equal(login("caida@example.com", PASSWORD, address_new(address)).code, OK);
    assert_string_equal(row_of("caida@example.com", "pending"), "0");
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static void spraying_locks_the_address(void **state)
{
    char email[64];
    char address[64];
    int alerts_before = alerts;

    (void)state;
    user_make("dora@example.com");
    for (unsigned i = 0; i < ADDRESS_MAX; i++) {
        if (i == ADDRESS_MAX - 1) { /* a success of one's own does not make up for it */
            assert_int_equal(login("dora@example.com", PASSWORD, "2001:db8:1:2::ffff").code, OK);
        }
        (void)snprintf(email, sizeof email, "victima-%u@example.com", i);
        (void)snprintf(address, sizeof address, "2001:db8:1:2:%x::%x", i + 1, i);
        expect_wrong(login(email, "wrong", address));
    }
    expect_locked(login("victima-99@example.com", "wrong", "2001:db8:1:2::1"), 30);
    expect_locked(login("dora@example.com", PASSWORD, "2001:db8:1:2:9::9"), 30);
    assert_int_equal(login("dora@example.com", PASSWORD, "2001:db8:1:3::1").code, OK);
    assert_true(bus_rig_until(&rig.loop, &alerts, alerts_before + 1, WAIT_MS_MAX));
    /* What was refused for the address was not counted for the e-mail. */
    assert_null(strchr(row_of("victima-0@example.com", "failures"), '2'));
}

static void asking_which_emails_are_taken_locks_registration(void **state)
{
    const char *const address = "::ffff:192.0.2.7"; /* IPv4 in the form of IPv6 */
    int alerts_before = alerts;

    (void)state;
    user_make("eva@example.com");
    for (int i = 0; i < ADDRESS_MAX; i++) {
        struct verdict verdict = register_user("eva@example.com", address);
        assert_int_equal(verdict.reason, AVANTA__REASON__USER_EXISTS);
    }
    expect_locked(register_user("eva@example.com", address), 30);
    expect_locked(register_user("nueva@example.com", "192.0.2.7"), 30);
    assert_int_equal(register_user("nueva@example.com", "192.0.2.8").code, OK);
    assert_int_equal(login("eva@example.com", PASSWORD, address).code, OK); /* another matter */
    assert_true(bus_rig_until(&rig.loop, &alerts, alerts_before + 1, WAIT_MS_MAX));
}

/* --- the password of who is logged in
 * ------------------------------------------------------------- */

static struct verdict confirm(const char *user, const char *password)
{
    Avanta__Identity__ReauthenticateRequest in = AVANTA__IDENTITY__REAUTHENTICATE_REQUEST__INIT;
    struct service_call call = {
        .method = service_method("identity.Reauthenticate"), .in = &in.base, .user = user};

    in.password = text(password);
    (void)service_call(&rig, &call);
    return verdict_of(&call);
}

/* An open session does not help to find the password; the log-in is another matter. */
static void guessing_from_a_session_is_locked_too(void **state)
{
    char user[64];
    char address[32];

    (void)state;
    user_make("flor@example.com");
    (void)snprintf(
        user,
        sizeof user,
        "%s",
        scratch_pg_ask(rig.dsn, "SELECT id FROM users WHERE email = 'flor@example.com'"));
    for (int k = 0; k < ACCOUNT_MAX; k++) {
        assert_int_equal(confirm(user, "wrong").reason, AVANTA__REASON__INVALID_PASSWORD);
    }
    expect_locked(confirm(user, PASSWORD), 30);
    assert_int_equal(login("flor@example.com", PASSWORD, address_new(address)).code, OK);
    time_passes("30 seconds");
    assert_int_equal(confirm(user, PASSWORD).code, OK);
    assert_string_equal(scratch_pg_ask(rig.dsn,
                                       "SELECT failures || ' ' || pending FROM attempt"
                                       " WHERE kind = 'user'"),
                        "0 0");
}

/* --- what is left --------------------------------------------------------------------------------
 */

static void every_lock_is_an_event_and_an_alert(void **state)
{
    (void)state;
    assert_int_equal(alerts, events);
    assert_true(alerts > 10);
}

static void old_counts_are_purged(void **state)
{
    const uint64_t end = clock_mono_ms() + WAIT_MS_MAX;
    const char *left = "1";

    (void)state;
    while (strcmp(left, "0") != 0 && clock_mono_ms() < end) {
        bus_rig_run(&rig.loop, 100);
        left = scratch_pg_ask(
            rig.dsn, "SELECT count(*) FROM attempt WHERE key = decode(repeat('00', 32), 'hex')");
    }
    assert_string_equal(left, "0");
    assert_string_not_equal(scratch_pg_ask(rig.dsn, "SELECT count(*) FROM attempt"), "0");
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
        cmocka_unit_test(spraying_locks_the_address),
        cmocka_unit_test(asking_which_emails_are_taken_locks_registration),
        cmocka_unit_test(guessing_from_a_session_is_locked_too),
        cmocka_unit_test(every_lock_is_an_event_and_an_alert),
        cmocka_unit_test(old_counts_are_purged),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
