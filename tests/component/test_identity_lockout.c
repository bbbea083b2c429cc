/* Guessing passwords is slowed down: two replicas of identity on real servers, attempts by e-mail
 * and by address, one after another and many at once. Time passes by moving it in the database. */
#include "avanta/identity.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/service_rig.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/digest.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNT_MAX       5
#define ADDRESS_MAX       20
#define REGISTRATIONS_MAX 20
#define ROUND_MS_MAX      5000
#define AT_ONCE           50
#define PASSWORD          "una frase bastante larga"
#define WAIT_MS_MAX       30000
#define SECRETS_KEY       "0000000000000000000000000000000000000000000000000000000000000008"

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

static const char *address_row(const char *kind, const char *address, const char *column)
{
    static char sql[512];
    unsigned char bytes[4];
    uint8_t hash[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1];

    assert_int_equal(inet_pton(AF_INET, address, bytes), 1);
    sha256((struct str){(const char *)bytes, sizeof bytes}, hash);
    hex_encode(hash, sizeof hash, hex);
    (void)snprintf(sql,
                   sizeof sql,
                   "SELECT %s FROM attempt WHERE kind = '%s' AND key = '\\x%s'",
                   column,
                   kind,
                   hex);
    return scratch_pg_ask(rig.dsn, sql);
}

/* One an hour; so who fails now and then from one address does not gather a lock over months. */
static void failures_of_an_address_wear_off(void **state)
{
    const char *const address = "192.0.2.30";
    char email[64];

    (void)state;
    for (unsigned i = 0; i < ADDRESS_MAX - 1; i++) {
        (void)snprintf(email, sizeof email, "olvido-%u@example.com", i);
        expect_wrong(login(email, "wrong", address));
    }
    time_passes("59 minutes");
    assert_string_equal(address_row("address", address, "failures"), "19");
    time_passes("6 hours");
    expect_wrong(login("olvido-a@example.com", "wrong", address));
    assert_string_equal(address_row("address", address, "failures"), "14");
    for (unsigned i = 0; i < 30; i++) { /* once a day, of which the last one counts */
        time_passes("23 hours");
        (void)snprintf(email, sizeof email, "olvido-b%u@example.com", i);
        expect_wrong(login(email, "wrong", address));
    }
    assert_string_equal(address_row("address", address, "failures"), "1");
}

/* Waiting for failures to wear off gains no more than one guess for each hour. */
static void a_locked_address_gets_a_guess_an_hour(void **state)
{
    const char *const address = "192.0.2.31";
    char email[64];

    (void)state;
    for (unsigned i = 0; i < ADDRESS_MAX; i++) {
        (void)snprintf(email, sizeof email, "turno-%u@example.com", i);
        expect_wrong(login(email, "wrong", address));
    }
    expect_locked(login("turno-a@example.com", "wrong", address), 30);
    time_passes("2 hours");
    expect_wrong(login("turno-b@example.com", "wrong", address));
    assert_string_equal(address_row("address", address, "failures"), "19");
    expect_wrong(login("turno-c@example.com", "wrong", address));
    expect_locked(login("turno-d@example.com", "wrong", address), 30);
}

static void accounts_made_from_one_address_are_bounded(void **state)
{
    const char *const address = "192.0.2.40";
    int alerts_before = alerts;
    int events_before = events;
    char email[64];

    (void)state;
    for (unsigned i = 0; i < REGISTRATIONS_MAX; i++) {
        if (i == 1) {
            time_passes("10 minutes");
        }
        (void)snprintf(email, sizeof email, "alta-%u@example.com", i);
        assert_int_equal(register_user(email, address).code, OK);
    }
    assert_string_equal(address_row("registered", address, "failures"), "20");
    expect_locked(register_user("alta-z@example.com", address), 50 * 60);
    assert_string_equal(
        scratch_pg_ask(rig.dsn, "SELECT count(*) FROM users WHERE email = 'alta-z@example.com'"),
        "0");
    assert_int_equal(register_user("alta-y@example.com", "192.0.2.41").code, OK);
    assert_int_equal(login("alta-0@example.com", PASSWORD, address).code, OK);
    assert_true(bus_rig_until(&rig.loop, &alerts, alerts_before + 1, WAIT_MS_MAX));
    assert_true(bus_rig_until(&rig.loop, &events, events_before + 1, WAIT_MS_MAX));
    time_passes("50 minutes");
    assert_int_equal(register_user("alta-z@example.com", address).code, OK);
    assert_string_equal(address_row("registered", address, "failures"), "1");
    assert_string_equal(address_row("registered", address, "pending"), "0");
}

/* --- two replicas and the same rows --------------------------------------------------------------
 */

#define NEIGHBOURS 16 /* e-mails */
#define STREETS    4  /* addresses: each with each */
#define ROUNDS     20

/* Log-ins that succeed, in transactions that they share, each with the rows of an address and of an
 * e-mail that others at the other replica have too, in any order. */
static void log_in_crosswise(unsigned round)
{
    static Avanta__Identity__LoginRequest in[NEIGHBOURS * STREETS];
    static struct service_call calls[NEIGHBOURS * STREETS];
    static char addresses[NEIGHBOURS * STREETS][32];
    static char emails[NEIGHBOURS * STREETS][64];
    const size_t count = ARRAY_LEN(calls);

    for (size_t i = 0; i < count; i++) {
        const size_t at = round % 2 == 0 ? i : count - 1 - i;

        avanta__identity__login_request__init(&in[i]);
        (void)snprintf(emails[i], 64, "vecina-%zu@example.com", at / STREETS);
        (void)snprintf(addresses[i], 32, "192.0.2.%zu", 60 + (at + round) % STREETS);
        in[i].email = emails[i];
        in[i].password = text(PASSWORD);
        calls[i] = (struct service_call){.method = service_method("identity.Login"),
                                         .in = &in[i].base,
                                         .client_ip = addresses[i]};
        service_call_start(&rig, &calls[i]);
    }
    for (size_t i = 0; i < count; i++) {
        service_call_wait(&calls[i]);
        assert_int_equal(verdict_of(&calls[i]).code, OK);
    }
}

static void no_log_ins_wait_for_each_other_in_a_circle(void **state)
{
    char email[64];
    uint64_t longest_ms = 0;

    (void)state;
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        (void)snprintf(email, sizeof email, "vecina-%u@example.com", i);
        user_make(email);
    }
    for (unsigned round = 0; round < ROUNDS; round++) {
        const uint64_t begun_ms = clock_mono_ms();

        log_in_crosswise(round);
        longest_ms =
            clock_mono_ms() - begun_ms > longest_ms ? clock_mono_ms() - begun_ms : longest_ms;
    }
    print_message(
        "the longest of %d rounds took %llu ms\n", ROUNDS, (unsigned long long)longest_ms);
    assert_true(longest_ms < ROUND_MS_MAX);
    assert_string_equal(
        scratch_pg_ask(rig.dsn, "SELECT sum(pending) FROM attempt WHERE kind = 'email'"), "0");
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

/* Of all that the tests before did at once. */
static void there_was_no_deadlock(void **state)
{
    (void)state;
    assert_string_equal(
        scratch_pg_ask(rig.dsn,
                       "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"),
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
        cmocka_unit_test(spraying_locks_the_address),
        cmocka_unit_test(asking_which_emails_are_taken_locks_registration),
        cmocka_unit_test(failures_of_an_address_wear_off),
        cmocka_unit_test(a_locked_address_gets_a_guess_an_hour),
        cmocka_unit_test(accounts_made_from_one_address_are_bounded),
        cmocka_unit_test(no_log_ins_wait_for_each_other_in_a_circle),
        cmocka_unit_test(guessing_from_a_session_is_locked_too),
        cmocka_unit_test(every_lock_is_an_event_and_an_alert),
        cmocka_unit_test(old_counts_are_purged),
        cmocka_unit_test(there_was_no_deadlock),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
