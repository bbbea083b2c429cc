/* Keys and the gateway: tokens of keys it does not know yet, and the JWS vectors of others through
 * its HTTP door. */
#include "tests/support/check.h"
#include "tests/support/gateway_rig.h"
#include "tests/support/suites.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/ecdsa.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

#define PATH        "/api/auth/me"
#define WAITERS_MAX 64 /* as many as wait in the gateway */
#define CROWD       80
#define SOON_MS     20000

static struct gateway_rig rig;
static struct ecdsa_key *keys[2];
static const char *const kids[2] = {"1111111111111111", "2222222222222222"};

/* --- keys and tokens of ours --- */

static void key_put(size_t at, size_t which)
{
    struct gateway_rig_key *to = &rig.keys[at];
    uint8_t x[32];
    uint8_t y[32];

    ecdsa_public(keys[which], x, y);
    (void)snprintf(to->kid, sizeof to->kid, "%s", kids[which]);
    (void)base64url_encode(x, sizeof x, to->x, sizeof to->x);
    (void)base64url_encode(y, sizeof y, to->y, sizeof to->y);
}

static void put_part(struct buf *b, const void *bytes, size_t len)
{
    char *room = buf_reserve(b, len * 2 + 4);

    assert_non_null(room);
    buf_commit(b, base64url_encode(bytes, len, room, len * 2 + 4));
}

/* A good token, signed by `which` under that kid; `number` makes it one of many. */
static struct str token_of(size_t which, const char *kid, unsigned number)
{
    static char memory[2048];
    const unsigned long long now_s = clock_wall_ms() / 1000;
    char header[128];
    char claims[512];
    struct buf b = buf_over(memory, sizeof memory);
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct err err = {0};

    (void)snprintf(
        header, sizeof header, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", kid);
    (void)snprintf(claims,
                   sizeof claims,
                   "{\"iss\":\"avanta\",\"aud\":\"avanta-api\",\"sub\":\"u%u\",\"role\":\"user\","
                   "\"sid\":\"s1\",\"email\":\"ana@example.com\",\"nbf\":%llu,\"exp\":%llu}",
                   number,
                   now_s,
                   now_s + 600);
    put_part(&b, header, strlen(header));
    buf_char(&b, '.');
    put_part(&b, claims, strlen(claims));
    assert_int_equal(ecdsa_sign(keys[which], buf_view(&b), signature, &err), OK);
    buf_char(&b, '.');
    put_part(&b, signature, sizeof signature);
    assert_false(b.overflow);
    return buf_view(&b);
}

static int setup(void **state)
{
    struct err err = {0};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        uint8_t scalar[ECDSA_SCALAR_BYTES];

        memset(scalar, (int)i + 5, sizeof scalar);
        assert_int_equal(ecdsa_open(scalar, &keys[i], &err), OK);
    }
    gateway_rig_open(&rig);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    gateway_rig_close(&rig);
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        ecdsa_close(&keys[i]);
    }
    return 0;
}

/* Until the gateway shows that many keys. */
static void jwks_until(size_t count)
{
    const uint64_t end = clock_mono_ms() + SOON_MS;
    size_t shown = 0;

    do {
        json_t *body = NULL;

        assert_true(clock_mono_ms() < end);
        assert_int_equal(gateway_rig_get(&rig, "/.well-known/jwks.json", STR_EMPTY), 200);
        body = json_loadb(rig.raw.body.ptr, rig.raw.body.len, 0, NULL);
        assert_non_null(body);
        shown = json_array_size(json_object_get(body, "keys"));
        json_decref(body);
    } while (shown != count);
}

/* Only the first key is known, and no fetch for an unknown one has been made for a second. */
static int before(void **state)
{
    (void)state;
    rig.silent = false;
    key_put(0, 0);
    rig.key_count = 1;
    gateway_rig_poke(&rig);
    jwks_until(1);
    bus_rig_run(&rig.loop, 1100);
    return 0;
}

static void every_published_key_is_shown_and_verifies(void **state)
{
    (void)state;
    key_put(1, 1);
    rig.key_count = 2;
    gateway_rig_poke(&rig);
    jwks_until(2);
    assert_non_null(strstr(rig.raw.body.ptr, kids[0]));
    assert_non_null(strstr(rig.raw.body.ptr, kids[1]));
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(0, kids[0], 1)), 404);
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(1, kids[1], 2)), 404);
}

static void a_token_of_a_newer_key_is_taken_after_one_question(void **state)
{
    int fetches = 0;

    (void)state;
    key_put(1, 1);
    rig.key_count = 2; /* nobody tells the gateway */
    fetches = rig.fetches;
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(1, kids[1], 3)), 404);
    assert_int_equal(rig.fetches, fetches + 1);
}

static void a_token_of_no_key_is_refused_after_one_question(void **state)
{
    int fetches = rig.fetches;

    (void)state;
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(1, kids[1], 4)), 401);
    assert_string_equal(gateway_rig_why(&rig), "unknown key");
    assert_int_equal(rig.fetches, fetches + 1);
}

/* At most a fetch each second, and one every five for itself, whatever comes. */
static void a_flood_of_unknown_keys_asks_once_a_second(void **state)
{
    const uint64_t begun = clock_mono_ms();
    const int fetches = rig.fetches;
    uint64_t seconds = 0;
    unsigned sent = 0;

    (void)state;
    while (clock_mono_ms() - begun < 3000) {
        char kid[32];

        (void)snprintf(kid, sizeof kid, "%016x", sent++);
        assert_int_equal(gateway_rig_get(&rig, PATH, token_of(1, kid, sent)), 401);
        assert_int_equal(gateway_rig_get(&rig, PATH, token_of(0, kids[0], sent)), 404);
    }
    seconds = (clock_mono_ms() - begun) / 1000;
    assert_true(sent > 4);
    assert_true(rig.fetches - fetches <= (int)(seconds + 1 + seconds / 5 + 1));
}

/* Without an answer nobody waits for long, and only so many wait. */
static void few_wait_and_not_for_long(void **state)
{
    static struct raw crowd[CROWD];
    int at_once = 0;

    (void)state;
    rig.silent = true;
    for (size_t i = 0; i < CROWD; i++) {
        raw_open(&crowd[i], rig.port);
        gateway_rig_send(&crowd[i], PATH, token_of(1, kids[1], (unsigned)i));
    }
    const uint64_t begun = clock_mono_ms();
    for (size_t i = CROWD; i-- > 0;) {
        assert_int_equal(gateway_rig_answer(&rig, &crowd[i], SOON_MS), 401);
        at_once += clock_mono_ms() - begun < 200 ? 1 : 0;
        raw_close(&crowd[i]);
    }
    assert_true(clock_mono_ms() - begun < 5000);
    assert_true(at_once >= CROWD - WAITERS_MAX);
    rig.silent = false;
    /* The gateway has given up its question after three seconds, and goes on. */
    bus_rig_run(&rig.loop, 3500);
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(0, kids[0], 9)), 404);
}

/* Those who went away while they waited are not answered, and nothing is left of them. */
static void who_leaves_while_waiting_is_forgotten(void **state)
{
    struct raw raw;

    (void)state;
    rig.silent = true;
    for (int i = 0; i < 8; i++) {
        raw_open(&raw, rig.port);
        gateway_rig_send(&raw, PATH, token_of(1, kids[1], 100U + (unsigned)i));
        raw_abort(&raw);
    }
    rig.silent = false;
    bus_rig_run(&rig.loop, 3500);
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(0, kids[0], 10)), 404);
}

static void a_key_that_is_gone_verifies_no_more(void **state)
{
    struct str token = token_of(0, kids[0], 11);

    (void)state;
    assert_int_equal(gateway_rig_get(&rig, PATH, token), 404); /* remembered from now on */
    key_put(0, 1);
    gateway_rig_poke(&rig);
    for (int i = 0; gateway_rig_get(&rig, PATH, token_of(1, kids[1], 12)) != 404; i++) {
        assert_true(i < 100);
    }
    assert_int_equal(gateway_rig_get(&rig, PATH, token_of(0, kids[0], 11)), 401);
    assert_int_equal(gateway_rig_get(&rig, PATH, token), 401);
}

/* --- the vectors --- */

static const char *text_of(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));

    return text == NULL ? "" : text;
}

/* A key that identity would publish. */
static bool ours(const json_t *key)
{
    return strcmp(text_of(key, "kty"), "EC") == 0 && strcmp(text_of(key, "crv"), "P-256") == 0 &&
           strcmp(text_of(key, "alg"), "ES256") == 0 && strcmp(text_of(key, "use"), "sig") == 0;
}

/* Whatever kind of key it is, its numbers are published as if they were a point. */
static void vector_key_put(const json_t *key)
{
    struct gateway_rig_key *to = &rig.keys[0];
    const char *first = text_of(key, "x");
    const char *second = text_of(key, "y");

    if (first[0] == '\0') {
        first = text_of(key, "n")[0] == '\0' ? text_of(key, "k") : text_of(key, "n");
        second = text_of(key, "e")[0] == '\0' ? first : text_of(key, "e");
    }
    (void)snprintf(to->kid, sizeof to->kid, "%s", text_of(key, "kid"));
    (void)snprintf(to->x, sizeof to->x, "%s", first);
    (void)snprintf(to->y, sizeof to->y, "%s", second);
    rig.key_count = 1;
}

struct tally {
    size_t vectors;
    size_t verified; /* the signature was found good */
};

static void vector_run(const json_t *test, bool our_key, struct tally *tally)
{
    const char *jws = text_of(test, "jws");
    bool valid = our_key && strcmp(text_of(test, "result"), "valid") == 0;
    long status = gateway_rig_get(&rig, PATH, str_from(jws));
    const char *why = gateway_rig_why(&rig);
    /* The vectors are no access tokens: what comes after the signature refuses them all. */
    bool verified = strcmp(why, "type") == 0;

    tally->vectors++;
    tally->verified += verified ? 1 : 0;
    if (status != 401 || verified != valid || strcmp(why, "claims") == 0) {
        fail_msg("vector %lld (%s): %ld, %s",
                 (long long)json_integer_value(json_object_get(test, "tcId")),
                 text_of(test, "comment"),
                 status,
                 why);
    }
}

static void group_run(const json_t *group, struct tally *tally)
{
    const json_t *key = json_object_get(group, "public");
    size_t shown = 0;
    size_t at = 0;
    json_t *test = NULL;

    key = key == NULL ? json_object_get(group, "private") : key;
    assert_non_null(key);
    /* A key that is not for signatures identity has no way to publish; any other one is told. */
    if (strcmp(text_of(key, "use"), "enc") == 0 || json_object_get(key, "key_ops") != NULL) {
        key_put(0, 0);
        rig.key_count = 1;
        shown = 1;
    } else {
        vector_key_put(key);
        shown = ours(key) ? 1 : 0;
    }
    gateway_rig_poke(&rig);
    jwks_until(shown);
    json_array_foreach(json_object_get(group, "tests"), at, test)
    {
        vector_run(test, ours(key), tally);
    }
}

static void vectors_of_others_are_judged_as_they_say(void **state)
{
    struct arena *arena = arena_open(rig.arenas, (size_t)8 * 1024 * 1024);
    struct str text = suite_file(arena, "wycheproof", "json_web_signature_test.json");
    json_t *root = json_loadb(text.ptr, text.len, 0, NULL);
    struct tally tally = {0};
    size_t at = 0;
    json_t *group = NULL;

    (void)state;
    assert_non_null(root);
    json_array_foreach(json_object_get(root, "testGroups"), at, group)
    {
        group_run(group, &tally);
    }
    print_message("%zu vectors, %zu with a good signature\n", tally.vectors, tally.verified);
    assert_true(tally.vectors > 0);
    assert_int_equal(tally.vectors, json_integer_value(json_object_get(root, "numberOfTests")));
    assert_true(tally.verified > 0);
    json_decref(root);
    arena_dispose(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(every_published_key_is_shown_and_verifies, before),
        cmocka_unit_test_setup(a_token_of_a_newer_key_is_taken_after_one_question, before),
        cmocka_unit_test_setup(a_token_of_no_key_is_refused_after_one_question, before),
        cmocka_unit_test_setup(a_flood_of_unknown_keys_asks_once_a_second, before),
        cmocka_unit_test_setup(few_wait_and_not_for_long, before),
        cmocka_unit_test_setup(who_leaves_while_waiting_is_forgotten, before),
        cmocka_unit_test_setup(a_key_that_is_gone_verifies_no_more, before),
        cmocka_unit_test_setup(vectors_of_others_are_judged_as_they_say, before),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
