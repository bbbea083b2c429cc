/* Keys for programs: what they open, what they do not, and that they end at every gateway within a
 * second. */
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/str.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEARD_MS_MAX 1000

static struct api admin;
static struct api ana;   /* has books */
static struct api carla; /* has nothing to do with it */
static const char *second_url;
static char ana_id[64];

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    second_url = stack_second_gateway();
    people_log_in_admin(&admin);
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    people_id(&ana, ana_id);
    api_open(&carla, stack_url());
    api_register(&carla, "carla");
    assert_int_equal(
        api_send(
            &ana,
            "POST",
            "/api/accounts",
            json_pack("{s:s,s:s,s:s}", "name", "Caja de Ana", "type", "cash", "balance", "10.00")),
        201);
    return 0;
}

static int teardown(void **state)
{
    api_close(&admin);
    api_close(&ana);
    api_close(&carla);
    return stack_teardown(state);
}

/* --- API keys --- */

static void key_make(json_t *wishes, char out_key[128], char out_id[64])
{
    assert_int_equal(api_send(&ana, "POST", "/api/api-keys", wishes), 201);
    (void)snprintf(out_key, 128, "%s", api_text(&ana, "key"));
    (void)snprintf(out_id, 64, "%s", api_text(&ana, "api_key.id"));
}

static long with_key(const char *url, const char *key, const char *path)
{
    struct api program;
    long status = 0;

    people_with_header(&program, url, "X-API-Key", key);
    status = api_get(&program, path);
    api_close(&program);
    return status;
}

static void a_key_opens_what_its_scopes_say(void **state)
{
    struct api program;
    char key[128];
    char id[64];

    (void)state;
    key_make(json_pack("{s:s,s:[s]}", "name", "n8n", "scopes", "books:read"), key, id);
    assert_true(strlen(key) == 60);
    people_with_header(&program, stack_url(), "X-API-Key", key);
    assert_int_equal(api_get(&program, "/api/accounts"), 200);
    assert_string_equal(json_string_value(json_object_get(json_array_get(program.body, 0), "name")),
                        "Caja de Ana");
    api_send(
        &program, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "X", "type", "cash"));
    people_expect(&program, 403, "FORBIDDEN");
    api_get(&program, "/api/auth/me");
    people_expect(&program, 403, "FORBIDDEN");
    api_get(&program, "/api/api-keys");
    people_expect(&program, 403, "FORBIDDEN");
    api_send(&program,
             "POST",
             "/api/api-keys",
             json_pack("{s:s,s:[s]}", "name", "y", "scopes", "books:read"));
    people_expect(&program, 403, "FORBIDDEN");
    api_close(&program);
    assert_int_equal(api_get(&ana, "/api/api-keys"), 200);
    assert_string_equal(api_text(&ana, "api_keys.0.name"), "n8n");
    assert_string_equal(api_text(&ana, "api_keys.0.scopes.0"), "books:read");
    assert_string_equal(api_text(&ana, "api_keys.0.last_used_ip"), "127.0.0.1");
    assert_true(strncmp(key, api_text(&ana, "api_keys.0.prefix"), 16) == 0);
    assert_null(json_object_get(json_array_get(api_at(&ana, "api_keys"), 0), "key"));
}

static void keys_of_nobody_open_nothing(void **state)
{
    static const char *const wrong[] = {
        "avk_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "avk_",
        "x",
        "avk_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_int_equal(with_key(stack_url(), wrong[i], "/api/accounts"), 401);
    }
}

static void wishes_for_keys_are_checked(void **state)
{
    (void)state;
    api_send(&ana,
             "POST",
             "/api/api-keys",
             json_pack("{s:s,s:[s]}", "name", "x", "scopes", "users:admin"));
    people_expect(&ana, 400, "VALIDATION_ERROR");
    api_send(&ana,
             "POST",
             "/api/api-keys",
             json_pack("{s:s,s:[s]}", "name", "x", "scopes", "credentials"));
    people_expect(&ana, 400, "VALIDATION_ERROR");
    api_send(&ana, "POST", "/api/api-keys", json_pack("{s:s,s:[]}", "name", "x", "scopes"));
    people_expect(&ana, 400, "VALIDATION_ERROR");
    api_send(
        &ana,
        "POST",
        "/api/api-keys",
        json_pack(
            "{s:s,s:[s],s:[s]}", "name", "x", "scopes", "books:read", "allowed_ips", "10.0.0.1/8"));
    people_expect(&ana, 400, "VALIDATION_ERROR");
    api_send(
        &ana,
        "POST",
        "/api/api-keys",
        json_pack("{s:s,s:[s],s:i}", "name", "x", "scopes", "books:read", "expires_in_days", 366));
    people_expect(&ana, 400, "VALIDATION_ERROR");
}

static void a_key_is_good_from_its_addresses_only(void **state)
{
    char key[128];
    char id[64];

    (void)state;
    key_make(json_pack("{s:s,s:[s],s:[s,s]}",
                       "name",
                       "here",
                       "scopes",
                       "books:read",
                       "allowed_ips",
                       "127.0.0.0/8",
                       "::1"),
             key,
             id);
    assert_int_equal(with_key(stack_url(), key, "/api/accounts"), 200);
    key_make(json_pack("{s:s,s:[s],s:[s]}",
                       "name",
                       "elsewhere",
                       "scopes",
                       "books:read",
                       "allowed_ips",
                       "203.0.113.0/24"),
             key,
             id);
    assert_int_equal(with_key(stack_url(), key, "/api/accounts"), 403);
}

static void wait_for_end(const char *key, uint64_t since_ms)
{
    while (with_key(stack_url(), key, "/api/accounts") == 200 ||
           with_key(second_url, key, "/api/accounts") == 200) {
        if (clock_mono_ms() - since_ms > HEARD_MS_MAX) {
            fail_msg("the key is good after %d ms", HEARD_MS_MAX);
        }
        (void)usleep(5000);
    }
    assert_int_equal(with_key(stack_url(), key, "/api/accounts"), 401);
    assert_int_equal(with_key(second_url, key, "/api/accounts"), 401);
    print_message("  heard everywhere after %llu ms\n",
                  (unsigned long long)(clock_mono_ms() - since_ms));
}

static void a_rotated_key_lives_on_for_the_overlap_and_a_revoked_one_not(void **state)
{
    char old_key[128];
    char new_key[128];
    char id[64];
    char path[128];
    uint64_t since_ms = 0;

    (void)state;
    key_make(json_pack("{s:s,s:[s]}", "name", "rotated", "scopes", "books:read"), old_key, id);
    assert_int_equal(with_key(stack_url(), old_key, "/api/accounts"), 200);
    assert_int_equal(with_key(second_url, old_key, "/api/accounts"), 200);
    (void)snprintf(path, sizeof path, "/api/api-keys/%s/rotate", id);
    assert_int_equal(api_send(&ana, "POST", path, json_pack("{s:i}", "overlap_hours", 1)), 201);
    (void)snprintf(new_key, sizeof new_key, "%s", api_text(&ana, "key"));
    assert_string_equal(api_text(&ana, "api_key.replaces"), id);
    (void)snprintf(id, sizeof id, "%s", api_text(&ana, "api_key.id"));
    assert_int_equal(with_key(stack_url(), old_key, "/api/accounts"), 200);
    assert_int_equal(with_key(stack_url(), new_key, "/api/accounts"), 200);
    assert_int_equal(with_key(second_url, new_key, "/api/accounts"), 200);
    (void)snprintf(path, sizeof path, "/api/api-keys/%s", id);
    assert_int_equal(api_call(&ana, "DELETE", path, NULL, 0), 200);
    since_ms = clock_mono_ms();
    wait_for_end(new_key, since_ms);
    assert_int_equal(with_key(stack_url(), old_key, "/api/accounts"), 200);
    api_call(&ana, "DELETE", path, NULL, 0);
    people_expect(&ana, 404, "NOT_FOUND");
    api_call(&carla, "DELETE", path, NULL, 0);
    people_expect(&carla, 404, "NOT_FOUND");
}

static void a_key_is_not_kept_for_a_repeated_request(void **state)
{
    char first[128];
    char again[128];
    char id[64];

    (void)state;
    (void)snprintf(ana.key, sizeof ana.key, "the same key");
    key_make(json_pack("{s:s,s:[s]}", "name", "once", "scopes", "books:read"), first, id);
    key_make(json_pack("{s:s,s:[s]}", "name", "once", "scopes", "books:read"), again, id);
    ana.key[0] = '\0';
    assert_string_not_equal(first, again);
}

/* --- signed requests --- */

struct signing {
    const char *secret;
    const char *key_id;
    int64_t age_s;
    const char *method; /* as it was signed */
    const char *target;
    const char *body;
};

/* Signs as docs/security/webhooks.md says, by another library. */
static void sign(const struct signing *s, char out[512])
{
    char text[1024];
    unsigned char digest[32];
    unsigned len = 0;
    char hex[65];
    long long time_s = (long long)(clock_wall_ms() / 1000) - s->age_s;

    assert_non_null(SHA256((const unsigned char *)s->body, strlen(s->body), digest));
    hex_encode(digest, sizeof digest, hex);
    (void)snprintf(text, sizeof text, "%lld.%s.%s.%s", time_s, s->method, s->target, hex);
    assert_non_null(HMAC(EVP_sha256(),
                         s->secret,
                         (int)strlen(s->secret),
                         (const unsigned char *)text,
                         strlen(text),
                         digest,
                         &len));
    hex_encode(digest, sizeof digest, hex);
    (void)snprintf(out,
                   512,
                   "X-Avanta-Key-Id: %s\nX-Avanta-Timestamp: %lld\nX-Avanta-Signature: sha256=%s",
                   s->key_id,
                   time_s,
                   hex);
}

/* Sends that body to the webhook with these three lines. */
static long send_signed(const char *url, const char *lines, const char *target, const char *body)
{
    struct api hook;
    long status = 0;

    api_open(&hook, url);
    hook.header = lines;
    status = api_call(&hook, "POST", target, body, strlen(body));
    api_close(&hook);
    return status;
}

static const char hook[] = "/api/webhooks/n8n/classify";

static void a_signed_request_counts_once(void **state)
{
    char secret[128];
    char id[64];
    char lines[512];
    char body[128];
    struct signing good;

    (void)state;
    assert_int_equal(api_send(&ana,
                              "POST",
                              "/api/transactions",
                              json_pack("{s:s,s:s,s:s,s:s,s:s}",
                                        "date",
                                        "2026-11-20",
                                        "description",
                                        "Por clasificar",
                                        "amount",
                                        "12.00",
                                        "type",
                                        "gasto",
                                        "category",
                                        "personal")),
                     201);
    (void)snprintf(body,
                   sizeof body,
                   "{\"updates\":[{\"id\":%lld,\"category\":\"avanta\"}]}",
                   (long long)api_int(&ana, "data.id"));
    key_make(json_pack("{s:s,s:[s],s:b}", "name", "n8n", "scopes", "books:write", "signing", 1),
             secret,
             id);
    good = (struct signing){secret, id, 0, "POST", hook, body};
    sign(&good, lines);
    assert_int_equal(send_signed(stack_url(), lines, hook, body), 200);
    /* The same again, here and elsewhere: nobody's. */
    assert_int_equal(send_signed(stack_url(), lines, hook, body), 401);
    assert_int_equal(send_signed(second_url, lines, hook, body), 401);
    /* It signs and is not sent. */
    assert_int_equal(with_key(stack_url(), secret, "/api/accounts"), 401);
}

static void what_was_not_signed_is_refused(void **state)
{
    static const char body[] = "{\"updates\":[{\"id\":1,\"category\":\"avanta\"}]}";
    static const char other[] = "{\"updates\":[{\"id\":2,\"category\":\"avanta\"}]}";
    char secret[128];
    char id[64];
    char read_secret[128];
    char read_id[64];
    char lines[512];

    (void)state;
    key_make(json_pack("{s:s,s:[s],s:b}", "name", "a", "scopes", "books:write", "signing", 1),
             secret,
             id);
    key_make(json_pack("{s:s,s:[s],s:b}", "name", "b", "scopes", "books:read", "signing", 1),
             read_secret,
             read_id);
    {
        const struct {
            const char *what;
            struct signing signing;
            long status;
        } cases[] = {
            {"another body",        {secret, id, 0, "POST", hook, other},           401},
            {"another method",      {secret, id, 0, "PUT", hook, body},             401},
            {"another address",     {secret, id, 0, "POST", "/api/accounts", body}, 401},
            {"too old",             {secret, id, 301, "POST", hook, body},          401},
            {"from the future",     {secret, id, -310, "POST", hook, body},         401},
            {"another secret",      {read_secret, id, 0, "POST", hook, body},       401},
            {"another key",         {secret, read_id, 0, "POST", hook, body},       401},
            {"no key",              {secret, "x", 0, "POST", hook, body},           401},
            {"a key without scope", {read_secret, read_id, 0, "POST", hook, body},  403},
            {"as it should be",     {secret, id, 1, "POST", hook, body},            200},
        };

        for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
            long status = 0;

            sign(&cases[i].signing, lines);
            status = send_signed(stack_url(), lines, hook, body);
            if (status != cases[i].status) {
                fail_msg("%s: %ld", cases[i].what, status);
            }
        }
    }
}

/* --- what guessing costs --- */

#define GUESSES 40

/* Transactions of identity that write, of which its own jobs make a few. */
static int64_t identity_writes(void)
{
    return stack_metric("identity", "avanta_group_commits_total{size=\"1\"}");
}

static void guesses_cost_no_transaction(void **state)
{
    char secret[128];
    char id[64];
    char lines[512];
    char text[128];
    const char *const body = "{}";
    int64_t before = 0;

    (void)state;
    key_make(json_pack("{s:s,s:[s],s:b}", "name", "guessed", "scopes", "books:write", "signing", 1),
             secret,
             id);
    before = identity_writes();
    for (int i = 0; i < GUESSES; i++) {
        struct api guess;

        (void)snprintf(text, sizeof text, "X-API-Key: avk_%012x_%043d", (unsigned)i, i);
        api_open(&guess, stack_url());
        guess.header = text;
        assert_int_equal(api_get(&guess, "/api/accounts"), 401);
        api_close(&guess);
        (void)snprintf(text, sizeof text, "no secret %d", i);
        sign(&(struct signing){text, id, 0, "POST", hook, body}, lines);
        assert_int_equal(send_signed(stack_url(), lines, hook, body), 401);
    }
    assert_true(identity_writes() - before < GUESSES / 2);
}

static void a_signing_key_is_rotated_and_revoked(void **state)
{
    static const char body[] = "{\"updates\":[{\"id\":1,\"category\":\"avanta\"}]}";
    char secret[128];
    char id[64];
    char path[128];
    char lines[512];

    (void)state;
    key_make(json_pack("{s:s,s:[s],s:b}", "name", "a", "scopes", "books:write", "signing", 1),
             secret,
             id);
    (void)snprintf(path, sizeof path, "/api/api-keys/%s/rotate", id);
    assert_int_equal(api_send(&ana, "POST", path, json_object()), 201);
    assert_true(json_is_true(api_at(&ana, "api_key.signing")));
    (void)snprintf(secret, sizeof secret, "%s", api_text(&ana, "key"));
    (void)snprintf(id, sizeof id, "%s", api_text(&ana, "api_key.id"));
    sign(&(struct signing){secret, id, 0, "POST", hook, body}, lines);
    assert_int_equal(send_signed(stack_url(), lines, hook, body), 200);
    (void)snprintf(path, sizeof path, "/api/api-keys/%s", id);
    assert_int_equal(api_call(&ana, "DELETE", path, NULL, 0), 200);
    sign(&(struct signing){secret, id, 2, "POST", hook, body}, lines);
    assert_int_equal(send_signed(stack_url(), lines, hook, body), 401);
}

static void a_deactivated_users_keys_end(void **state)
{
    char key[128];
    char id[64];
    char path[128];
    uint64_t since_ms = 0;

    (void)state;
    key_make(json_pack("{s:s,s:[s]}", "name", "last", "scopes", "books:read"), key, id);
    assert_int_equal(with_key(stack_url(), key, "/api/accounts"), 200);
    assert_int_equal(with_key(second_url, key, "/api/accounts"), 200);
    (void)snprintf(path, sizeof path, "/api/admin/users/%s", ana_id);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    since_ms = clock_mono_ms();
    wait_for_end(key, since_ms);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_opens_what_its_scopes_say),
        cmocka_unit_test(keys_of_nobody_open_nothing),
        cmocka_unit_test(wishes_for_keys_are_checked),
        cmocka_unit_test(a_key_is_good_from_its_addresses_only),
        cmocka_unit_test(a_rotated_key_lives_on_for_the_overlap_and_a_revoked_one_not),
        cmocka_unit_test(a_key_is_not_kept_for_a_repeated_request),
        cmocka_unit_test(a_signed_request_counts_once),
        cmocka_unit_test(what_was_not_signed_is_refused),
        cmocka_unit_test(guesses_cost_no_transaction),
        cmocka_unit_test(a_signing_key_is_rotated_and_revoked),
        cmocka_unit_test(a_deactivated_users_keys_end),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
