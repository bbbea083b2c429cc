/* Guessing from one address, and making accounts from one: two replicas of identity on real
 * servers, whose transactions meet in the same rows. */
#include "tests/support/attempts.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/digest.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#define ADDRESS_MAX       20
#define REGISTRATIONS_MAX 20
#define ROUND_MS_MAX      5000
#define WAIT_MS_MAX       30000

static int setup_all(void **state)
{
    (void)state;
    attempts_open();
    return 0;
}

static int teardown_all(void **state)
{
    (void)state;
    attempts_close();
    return 0;
}

/* --- addresses ---------------------------------------------------------------------------------
 */

static void spraying_locks_the_address(void **state)
{
    char email[64];
    char address[64];
    int alerts_before = attempts_heard()->alerts;

    (void)state;
    attempts_user("dora@example.com");
    for (unsigned i = 0; i < ADDRESS_MAX; i++) {
        if (i == ADDRESS_MAX - 1) { /* a success of one's own does not make up for it */
            assert_int_equal(
                attempts_login("dora@example.com", ATTEMPTS_PASSWORD, "2001:db8:1:2::ffff").code,
                OK);
        }
        (void)snprintf(email, sizeof email, "victima-%u@example.com", i);
        (void)snprintf(address, sizeof address, "2001:db8:1:2:%x::%x", i + 1, i);
        attempts_expect_wrong(attempts_login(email, "wrong", address));
    }
    attempts_expect_locked(attempts_login("victima-99@example.com", "wrong", "2001:db8:1:2::1"),
                           30);
    attempts_expect_locked(
        attempts_login("dora@example.com", ATTEMPTS_PASSWORD, "2001:db8:1:2:9::9"), 30);
    assert_int_equal(attempts_login("dora@example.com", ATTEMPTS_PASSWORD, "2001:db8:1:3::1").code,
                     OK);
    assert_true(bus_rig_until(
        &attempts_rig()->loop, &attempts_heard()->alerts, alerts_before + 1, WAIT_MS_MAX));
    /* What was refused for the address was not counted for the e-mail. */
    assert_null(strchr(attempts_row("victima-0@example.com", "failures"), '2'));
}

static void asking_which_emails_are_taken_locks_registration(void **state)
{
    const char *const address = "::ffff:192.0.2.7"; /* IPv4 in the form of IPv6 */
    int alerts_before = attempts_heard()->alerts;

    (void)state;
    attempts_user("eva@example.com");
    for (int i = 0; i < ADDRESS_MAX; i++) {
        struct attempts_verdict verdict = attempts_register("eva@example.com", address);
        assert_int_equal(verdict.reason, AVANTA__REASON__USER_EXISTS);
    }
    attempts_expect_locked(attempts_register("eva@example.com", address), 30);
    attempts_expect_locked(attempts_register("nueva@example.com", "192.0.2.7"), 30);
    assert_int_equal(attempts_register("nueva@example.com", "192.0.2.8").code, OK);
    assert_int_equal(attempts_login("eva@example.com", ATTEMPTS_PASSWORD, address).code,
                     OK); /* another matter */
    assert_true(bus_rig_until(
        &attempts_rig()->loop, &attempts_heard()->alerts, alerts_before + 1, WAIT_MS_MAX));
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
    return scratch_pg_ask(attempts_rig()->dsn, sql);
}

/* One an hour; so who fails now and then from one address does not gather a lock over months. */
static void failures_of_an_address_wear_off(void **state)
{
    const char *const address = "192.0.2.30";
    char email[64];

    (void)state;
    for (unsigned i = 0; i < ADDRESS_MAX - 1; i++) {
        (void)snprintf(email, sizeof email, "olvido-%u@example.com", i);
        attempts_expect_wrong(attempts_login(email, "wrong", address));
    }
    attempts_time_passes("59 minutes");
    assert_string_equal(address_row("address", address, "failures"), "19");
    attempts_time_passes("6 hours");
    attempts_expect_wrong(attempts_login("olvido-a@example.com", "wrong", address));
    assert_string_equal(address_row("address", address, "failures"), "14");
    for (unsigned i = 0; i < 30; i++) { /* once a day, of which the last one counts */
        attempts_time_passes("23 hours");
        (void)snprintf(email, sizeof email, "olvido-b%u@example.com", i);
        attempts_expect_wrong(attempts_login(email, "wrong", address));
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
        attempts_expect_wrong(attempts_login(email, "wrong", address));
    }
    attempts_expect_locked(attempts_login("turno-a@example.com", "wrong", address), 30);
    attempts_time_passes("2 hours");
    attempts_expect_wrong(attempts_login("turno-b@example.com", "wrong", address));
    assert_string_equal(address_row("address", address, "failures"), "19");
    attempts_expect_wrong(attempts_login("turno-c@example.com", "wrong", address));
    attempts_expect_locked(attempts_login("turno-d@example.com", "wrong", address), 30);
}

static void accounts_made_from_one_address_are_bounded(void **state)
{
    const char *const address = "192.0.2.40";
    int alerts_before = attempts_heard()->alerts;
    int events_before = attempts_heard()->events;
    char email[64];

    (void)state;
    for (unsigned i = 0; i < REGISTRATIONS_MAX; i++) {
        if (i == 1) {
            attempts_time_passes("10 minutes");
        }
        (void)snprintf(email, sizeof email, "alta-%u@example.com", i);
        assert_int_equal(attempts_register(email, address).code, OK);
    }
    assert_string_equal(address_row("registered", address, "failures"), "20");
    attempts_expect_locked(attempts_register("alta-z@example.com", address), 50 * 60);
    assert_string_equal(
        scratch_pg_ask(attempts_rig()->dsn,
                       "SELECT count(*) FROM users WHERE email = 'alta-z@example.com'"),
        "0");
    assert_int_equal(attempts_register("alta-y@example.com", "192.0.2.41").code, OK);
    assert_int_equal(attempts_login("alta-0@example.com", ATTEMPTS_PASSWORD, address).code, OK);
    assert_true(bus_rig_until(
        &attempts_rig()->loop, &attempts_heard()->alerts, alerts_before + 1, WAIT_MS_MAX));
    assert_true(bus_rig_until(
        &attempts_rig()->loop, &attempts_heard()->events, events_before + 1, WAIT_MS_MAX));
    attempts_time_passes("50 minutes");
    assert_int_equal(attempts_register("alta-z@example.com", address).code, OK);
    assert_string_equal(address_row("registered", address, "failures"), "1");
    assert_string_equal(address_row("registered", address, "pending"), "0");
}

/* --- two replicas and the same rows --------------------------------------------------------------
 */

#define NEIGHBOURS    16 /* e-mails */
#define STREETS       4  /* addresses: each with each */
#define DEADLOCKS_MAX 2
#define ROUNDS        20

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
        in[i].password = attempts_text(ATTEMPTS_PASSWORD);
        calls[i] = (struct service_call){.method = service_method("identity.Login"),
                                         .in = &in[i].base,
                                         .client_ip = addresses[i]};
        service_call_start(attempts_rig(), &calls[i]);
    }
    for (size_t i = 0; i < count; i++) {
        service_call_wait(&calls[i]);
        assert_int_equal(attempts_verdict_of(&calls[i]).code, OK);
    }
}

static void no_log_ins_wait_for_each_other_in_a_circle(void **state)
{
    char email[64];
    uint64_t longest_ms = 0;

    (void)state;
    for (unsigned i = 0; i < NEIGHBOURS; i++) {
        (void)snprintf(email, sizeof email, "vecina-%u@example.com", i);
        attempts_user(email);
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
    assert_string_equal(scratch_pg_ask(attempts_rig()->dsn,
                                       "SELECT sum(pending) FROM attempt WHERE kind = 'email'"),
                        "0");
}

/* Of all that the tests before did at once. A shared transaction gives up waiting for a lock before
 * PostgreSQL looks for a circle; a server that did not run meanwhile finds both times over at once,
 * and may call it a deadlock: the request is run again either way. */
static void there_was_hardly_a_deadlock(void **state)
{
    int64_t deadlocks = 0;

    (void)state;
    assert_true(str_to_int64(
        str_from(scratch_pg_ask(
            attempts_rig()->dsn,
            "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")),
        &deadlocks));
    assert_in_range(deadlocks, 0, DEADLOCKS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spraying_locks_the_address),
        cmocka_unit_test(asking_which_emails_are_taken_locks_registration),
        cmocka_unit_test(failures_of_an_address_wear_off),
        cmocka_unit_test(a_locked_address_gets_a_guess_an_hour),
        cmocka_unit_test(accounts_made_from_one_address_are_bounded),
        cmocka_unit_test(no_log_ins_wait_for_each_other_in_a_circle),
        cmocka_unit_test(there_was_hardly_a_deadlock),
    };

    return cmocka_run_group_tests(tests, setup_all, teardown_all);
}
