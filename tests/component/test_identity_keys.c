/* The life of signing keys on two replicas of identity that share a database. Time passes by moving
 * the times in the table, which only the database's clock is held against. */
#include "avanta/identity.pb-c.h"
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/service_rig.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>

#define ADMIN       "0191d6a2-7b1c-7000-8000-00000000000a"
#define SESSION     "0191d6a2-7b1c-7000-8000-00000000000b"
#define KID_BYTES   64
#define SOON_MS     15000
#define ROUNDS      12 /* of calls that either replica may answer */
#define SECRETS_KEY "2020202020202020202020202020202020202020202020202020202020202020"

static struct service_rig rig;
static int key_changes;

static int setup(void **state)
{
    (void)state;
    service_rig_setting("AVANTA_SECRETS_KEY", SECRETS_KEY);
    service_rig_setting("AVANTA_REGISTRATIONS_MAX", "1000000");
    service_rig_setting("AVANTA_ARGON2_KIB", "8");
    service_rig_setting("AVANTA_ARGON2_PASSES", "1");
    service_rig_setting("AVANTA_TOKEN_SECONDS", "60");
    service_rig_setting("AVANTA_KEY_PUBLISH_AHEAD_S", "600");
    service_rig_setting("AVANTA_KEY_ROTATE_HOURS", "24");
    service_rig_open(&rig, "identity", 2);
    (void)bus_rig_subscribe(rig.bus, "ctl.keys", NULL, bus_rig_count, &key_changes);
    assert_true(bus_rig_until_up(&rig.loop, SOON_MS));
    scratch_pg_run(rig.dsn,
                   "INSERT INTO users (id, email, name, role)"
                   " VALUES ('" ADMIN "', 'jefa@example.com', 'Jefa', 'admin');"
                   "INSERT INTO session (id, user_id) VALUES ('" SESSION "', '" ADMIN "')");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    service_rig_close(&rig);
    return 0;
}

/* --- asking --- */

static void until(const char *sql, const char *wanted)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;

    while (strcmp(scratch_pg_ask(rig.dsn, sql), wanted) != 0) {
        if (clock_mono_ms() > end) {
            fail_msg("%s: %s and not %s", sql, scratch_pg_ask(rig.dsn, sql), wanted);
        }
        bus_rig_run(&rig.loop, 50);
    }
}

static int64_t ask_number(const char *sql)
{
    int64_t value = 0;

    assert_true(str_to_int64(str_from(scratch_pg_ask(rig.dsn, sql)), &value));
    return value;
}

/* What gateways are told: the kids, each followed by a space, in the order of their use. */
static const char *published(void)
{
    static char text[1024];
    Avanta__Identity__GetKeysRequest in = AVANTA__IDENTITY__GET_KEYS_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.GetKeys"), .in = &in.base};
    struct buf b = buf_over(text, sizeof text);

    assert_int_equal(service_call(&rig, &call), OK);
    const Avanta__Identity__GetKeysReply *out = call.out;
    for (size_t i = 0; i < out->n_keys; i++) {
        assert_int_equal(strlen(out->keys[i]->x), 43);
        assert_int_equal(strlen(out->keys[i]->y), 43);
        buf_text(&b, out->keys[i]->kid);
        buf_char(&b, ' ');
    }
    assert_true(buf_terminate(&b));
    service_call_end(&call);
    return text;
}

static void expect_published(const char *kid, const char *other)
{
    char wanted[2 * KID_BYTES];

    (void)snprintf(wanted,
                   sizeof wanted,
                   "%s%s%s%s",
                   kid,
                   kid[0] == '\0' ? "" : " ",
                   other,
                   other[0] == '\0' ? "" : " ");
    for (int i = 0; i < ROUNDS; i++) {
        assert_string_equal(published(), wanted);
    }
}

/* The kid of a token that one of the replicas has just signed; "" when it has no key. */
static const char *signed_by(void)
{
    static char header[256];
    static unsigned number;
    static char password[] = "correct horse 77";
    char email[64];
    Avanta__Identity__RegisterRequest in = AVANTA__IDENTITY__REGISTER_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.RegisterUser"), .in = &in.base};
    struct str rest = STR_EMPTY;
    struct str part = STR_EMPTY;
    size_t len = 0;
    enum code code = OK;

    (void)snprintf(email, sizeof email, "user-%u@example.com", number++);
    in.email = email;
    in.password = password;
    code = service_call(&rig, &call);
    if (code == ERR_UNAVAILABLE) {
        service_call_end(&call);
        return "";
    }
    assert_int_equal(code, OK);
    rest = str_from(((const Avanta__Identity__SessionReply *)call.out)->token);
    assert_true(str_split(&rest, '.', &part));
    assert_true(base64url_decode(part, (uint8_t *)header, sizeof header - 1, &len));
    header[len] = '\0';
    service_call_end(&call);
    char *kid = strstr(header, "\"kid\":\"");
    assert_non_null(kid);
    kid += strlen("\"kid\":\"");
    kid[strcspn(kid, "\"")] = '\0';
    return kid;
}

static void expect_signed_by(const char *kid)
{
    for (int i = 0; i < ROUNDS; i++) {
        assert_string_equal(signed_by(), kid);
    }
}

/* Replicas look at the table every second. */
static void until_signed_by(const char *kid)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;
    int in_a_row = 0;

    while (in_a_row < ROUNDS) {
        const char *got = signed_by();

        in_a_row = strcmp(got, kid) == 0 ? in_a_row + 1 : 0;
        if (got[0] == '\0') { /* what fails is counted, and guesses are bounded */
            bus_rig_run(&rig.loop, 200);
        }
        assert_true(clock_mono_ms() < end);
    }
}

static void kid_of(const char *where, char out[KID_BYTES])
{
    char sql[256];

    (void)snprintf(sql, sizeof sql, "SELECT kid FROM signing_key WHERE %s", where);
    (void)snprintf(out, KID_BYTES, "%s", scratch_pg_ask(rig.dsn, sql));
    assert_int_equal(strlen(out), 16);
}

static enum code rotate(const char *role, bool compromised, char out_kid[KID_BYTES], bool *created)
{
    Avanta__Identity__RotateSigningKeyRequest in =
        AVANTA__IDENTITY__ROTATE_SIGNING_KEY_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.RotateSigningKey"),
                                .in = &in.base,
                                .user = ADMIN,
                                .session = SESSION,
                                .role = role};
    enum code code = OK;

    in.has_compromised = true;
    in.compromised = compromised;
    code = service_call(&rig, &call);
    if (code == OK) {
        const Avanta__Identity__RotateSigningKeyReply *out = call.out;

        (void)snprintf(out_kid, KID_BYTES, "%s", out->kid);
        *created = out->created;
    }
    service_call_end(&call);
    return code;
}

/* The states, newest first: "next current retired ". */
static const char *states(void)
{
    static char text[1024];
    Avanta__Identity__ListSigningKeysRequest in = AVANTA__IDENTITY__LIST_SIGNING_KEYS_REQUEST__INIT;
    struct service_call call = {.method = service_method("identity.ListSigningKeys"),
                                .in = &in.base,
                                .user = ADMIN,
                                .role = "admin"};
    struct buf b = buf_over(text, sizeof text);

    assert_int_equal(service_call(&rig, &call), OK);
    const Avanta__Identity__ListSigningKeysReply *out = call.out;
    for (size_t i = 0; i < out->n_keys; i++) {
        buf_text(&b, out->keys[i]->state);
        buf_char(&b, ' ');
    }
    assert_true(buf_terminate(&b));
    service_call_end(&call);
    return text;
}

/* --- the life of a key, in order --- */

static char first[KID_BYTES];
static char second[KID_BYTES];

static void two_replicas_make_one_first_key(void **state)
{
    (void)state;
    until("SELECT count(*) FROM signing_key", "1");
    kid_of("true", first);
    until_signed_by(first);
    expect_published(first, "");
    assert_string_equal(states(), "current ");
    assert_int_equal(ask_number("SELECT octet_length(sealed) FROM signing_key"), 61);
}

static void the_next_key_is_published_and_not_used(void **state)
{
    (void)state;
    key_changes = 0;
    scratch_pg_run(rig.dsn,
                   "UPDATE signing_key SET published_at = published_at - interval '86340 seconds',"
                   " use_from = use_from - interval '86340 seconds'");
    until("SELECT count(*) FROM signing_key", "2");
    kid_of("use_from > now()", second);
    assert_true(bus_rig_until(&rig.loop, &key_changes, 1, SOON_MS));
    expect_published(first, second);
    expect_signed_by(first);
    assert_string_equal(states(), "next current ");
    assert_int_equal(ask_number("SELECT extract(epoch FROM use_from - published_at)::int"
                                " FROM signing_key ORDER BY use_from DESC LIMIT 1"),
                     600);
    assert_int_equal(ask_number("SELECT extract(epoch FROM old.honoured_until - next.use_from)::int"
                                " FROM signing_key old, signing_key next"
                                " WHERE old.use_from < next.use_from"),
                     120); /* a token's life and the skew */
}

static void the_key_before_is_honoured(void **state)
{
    (void)state;
    scratch_pg_run(rig.dsn,
                   "UPDATE signing_key SET published_at = published_at - interval '600 seconds',"
                   " use_from = use_from - interval '600 seconds',"
                   " honoured_until = honoured_until - interval '600 seconds'");
    until_signed_by(second);
    expect_published(first, second);
    assert_string_equal(states(), "current replaced ");
}

static void its_secret_is_erased_when_its_last_token_has_expired(void **state)
{
    (void)state;
    scratch_pg_run(rig.dsn,
                   "UPDATE signing_key SET honoured_until = clock_timestamp()"
                   " WHERE honoured_until IS NOT NULL");
    expect_published(second, "");
    until("SELECT count(*) FROM signing_key WHERE sealed IS NULL AND retired_at IS NOT NULL", "1");
    assert_string_equal(states(), "current retired ");
    expect_signed_by(second);
    assert_int_equal(ask_number("SELECT count(*) FROM signing_key"), 2); /* not one more */
}

static void an_administrator_may_rotate_ahead_of_time(void **state)
{
    char next[KID_BYTES];
    char again[KID_BYTES];
    bool created = false;

    (void)state;
    assert_int_equal(rotate("user", false, next, &created), ERR_FORBIDDEN);
    assert_int_equal(rotate("admin", false, next, &created), OK);
    assert_true(created);
    expect_published(second, next);
    expect_signed_by(second);
    assert_int_equal(rotate("admin", false, again, &created), OK);
    assert_false(created);
    assert_string_equal(again, next);
    assert_string_equal(states(), "next current retired ");
}

/* Whoever finds an administrator's browser open does not end everybody's tokens. */
static void rotating_asks_for_a_password_given_lately(void **state)
{
    char before[1024];
    char kid[KID_BYTES];
    bool created = false;

    (void)state;
    (void)snprintf(before, sizeof before, "%s", published());
    scratch_pg_run(rig.dsn, "UPDATE session SET authenticated_at = now() - interval '2 hours'");
    assert_int_equal(rotate("admin", false, kid, &created), ERR_FORBIDDEN);
    assert_int_equal(rotate("admin", true, kid, &created), ERR_FORBIDDEN);
    scratch_pg_run(rig.dsn, "UPDATE session SET authenticated_at = now()");
    assert_string_equal(published(), before);
    assert_int_equal(ask_number("SELECT count(*) FROM signing_key WHERE compromised"), 0);
}

static void compromised_keys_are_gone_at_once(void **state)
{
    char kid[KID_BYTES];
    bool created = false;

    (void)state;
    key_changes = 0;
    assert_int_equal(rotate("user", true, kid, &created), ERR_FORBIDDEN);
    assert_int_equal(rotate("admin", true, kid, &created), OK);
    assert_true(created);
    expect_published(kid, ""); /* whichever replica is asked, also the next key is gone */
    assert_true(bus_rig_until(&rig.loop, &key_changes, 1, SOON_MS));
    until_signed_by(kid);
    assert_int_equal(ask_number("SELECT count(*) FROM signing_key WHERE compromised"
                                " AND sealed IS NULL AND retired_at IS NOT NULL"),
                     2);
    assert_int_equal(ask_number("SELECT count(*) FROM signing_key WHERE sealed IS NOT NULL"), 1);
}

/* Whoever can write to the database and has not the vault's key cannot bring in a key. */
static void a_row_of_somebody_elses_making_is_not_published(void **state)
{
    char before[1024];

    (void)state;
    (void)snprintf(before, sizeof before, "%s", published());
    scratch_pg_run(rig.dsn,
                   "INSERT INTO signing_key (kid, sealed, published_at, use_from)"
                   " SELECT '00000000000000ff', sealed, now(), now() FROM signing_key"
                   " WHERE sealed IS NOT NULL");
    for (int i = 0; i < ROUNDS; i++) {
        Avanta__Identity__GetKeysRequest in = AVANTA__IDENTITY__GET_KEYS_REQUEST__INIT;
        struct service_call call = {.method = service_method("identity.GetKeys"), .in = &in.base};

        assert_int_equal(service_call(&rig, &call), ERR_INTERNAL);
        service_call_end(&call);
    }
    scratch_pg_run(rig.dsn, "DELETE FROM signing_key WHERE kid = '00000000000000ff'");
    assert_string_equal(published(), before);
}

/* What the documents tell an operator to do who lost the key of the vault. */
static void when_all_keys_are_retired_by_hand_a_new_one_is_made(void **state)
{
    char kid[KID_BYTES];

    (void)state;
    scratch_pg_run(rig.dsn,
                   "UPDATE signing_key SET sealed = NULL, retired_at = now(),"
                   " honoured_until = now() WHERE retired_at IS NULL");
    until("SELECT count(*) FROM signing_key WHERE sealed IS NOT NULL", "1");
    kid_of("sealed IS NOT NULL", kid);
    until_signed_by(kid);
    expect_published(kid, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_replicas_make_one_first_key),
        cmocka_unit_test(the_next_key_is_published_and_not_used),
        cmocka_unit_test(the_key_before_is_honoured),
        cmocka_unit_test(its_secret_is_erased_when_its_last_token_has_expired),
        cmocka_unit_test(an_administrator_may_rotate_ahead_of_time),
        cmocka_unit_test(rotating_asks_for_a_password_given_lately),
        cmocka_unit_test(compromised_keys_are_gone_at_once),
        cmocka_unit_test(a_row_of_somebody_elses_making_is_not_published),
        cmocka_unit_test(when_all_keys_are_retired_by_hand_a_new_one_is_made),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
