/* Signing keys from outside: who may see and change them, and that compromised ones are of no use
 * at any gateway while sessions go on. */
#include "tests/support/api.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEARD_MS_MAX 5000
#define AUDIT_MS_MAX 10000
#define ROTATE       "/api/admin/signing-keys/rotate"

static struct api admin;
static struct api ana;
static const char *second_url;

static void admin_log_in(void)
{
    char email[256];

    (void)snprintf(email, sizeof email, "%s", stack_value("AVANTA_ADMIN_EMAIL"));
    admin.token[0] = '\0';
    assert_int_equal(
        api_send(
            &admin,
            "POST",
            "/api/auth/login",
            json_pack(
                "{s:s,s:s}", "email", email, "password", stack_value("AVANTA_ADMIN_PASSWORD"))),
        200);
    (void)snprintf(admin.token, sizeof admin.token, "%s", api_text(&admin, "token"));
}

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    second_url = stack_second_gateway();
    api_open(&admin, stack_url());
    api_open(&ana, stack_url());
    admin_log_in();
    api_register(&ana, "ana");
    return 0;
}

static int teardown(void **state)
{
    api_close(&admin);
    api_close(&ana);
    return stack_teardown(state);
}

static long at_second(const char *path, const char *token, char *out_kid, size_t *out_count)
{
    struct api other;
    long status = 0;

    api_open(&other, second_url);
    (void)snprintf(other.token, sizeof other.token, "%s", token);
    status = api_get(&other, path);
    if (out_kid != NULL) {
        *out_count = json_array_size(api_at(&other, "keys"));
        (void)snprintf(out_kid, 64, "%s", api_text(&other, "keys.0.kid"));
    }
    api_close(&other);
    return status;
}

static void only_administrators_see_and_change_keys(void **state)
{
    (void)state;
    assert_int_equal(api_get(&ana, "/api/admin/signing-keys"), 403);
    assert_int_equal(api_call(&ana, "POST", ROTATE, "{}", 2), 403);
    assert_int_equal(api_get(&admin, "/api/admin/signing-keys"), 200);
    assert_int_equal(json_array_size(api_at(&admin, "keys")), 1);
    assert_string_equal(api_text(&admin, "keys.0.state"), "current");
    assert_int_equal(strlen(api_text(&admin, "keys.0.kid")), 16);
    assert_null(json_object_get(api_at(&admin, "keys.0"), "sealed"));
    assert_int_equal(api_call(&admin, "POST", ROTATE, "{\"kid\":\"x\"}", 11), 400);
}

static void a_key_is_published_ahead_of_its_time(void **state)
{
    (void)state;
    assert_int_equal(api_call(&admin, "POST", ROTATE, "{}", 2), 200);
    assert_true(json_is_true(api_at(&admin, "created")));
    assert_int_equal(api_call(&admin, "POST", ROTATE, "{}", 2), 200);
    assert_true(json_is_false(api_at(&admin, "created")));
    assert_int_equal(api_get(&admin, "/api/admin/signing-keys"), 200);
    assert_int_equal(json_array_size(api_at(&admin, "keys")), 2);
    assert_string_equal(api_text(&admin, "keys.0.state"), "next");
    assert_string_equal(api_text(&admin, "keys.1.state"), "current");
    assert_int_equal(api_get(&ana, "/api/auth/me"), 200); /* nobody notices */
}

static void compromised_keys_end_every_token_and_no_session(void **state)
{
    char old[sizeof ana.token];
    char kid[64];
    char shown[64] = "";
    size_t count = 0;

    (void)state;
    (void)snprintf(old, sizeof old, "%s", ana.token);
    assert_int_equal(api_get(&ana, "/api/auth/me"), 200);
    assert_int_equal(at_second("/api/auth/me", old, NULL, NULL), 200);
    assert_int_equal(api_call(&admin, "POST", ROTATE, "{\"compromised\":true}", 20), 200);
    (void)snprintf(kid, sizeof kid, "%s", api_text(&admin, "kid"));
    const uint64_t begun = clock_mono_ms();
    while (api_get(&ana, "/api/auth/me") != 401 ||
           at_second("/api/auth/me", old, NULL, NULL) != 401) {
        assert_true(clock_mono_ms() - begun < HEARD_MS_MAX);
        (void)usleep(5000);
    }
    print_message("refused everywhere after %llu ms\n",
                  (unsigned long long)(clock_mono_ms() - begun));
    assert_int_equal(at_second("/.well-known/jwks.json", "", shown, &count), 200);
    assert_string_equal(shown, kid);
    assert_int_equal(count, 1);
    ana.header = "Sec-Fetch-Site: same-origin";
    assert_int_equal(api_call(&ana, "POST", "/api/auth/refresh", "{}", 2), 200);
    ana.header = NULL;
    (void)snprintf(ana.token, sizeof ana.token, "%s", api_text(&ana, "token"));
    assert_int_equal(api_get(&ana, "/api/auth/me"), 200);
    assert_int_equal(at_second("/api/auth/me", ana.token, NULL, NULL), 200);
    assert_int_equal(api_get(&admin, "/api/auth/me"), 401);
    admin_log_in();
    assert_int_equal(api_get(&admin, "/api/admin/signing-keys"), 200);
    assert_string_equal(api_text(&admin, "keys.0.kid"), kid);
    assert_string_equal(api_text(&admin, "keys.0.state"), "current");
    assert_string_equal(api_text(&admin, "keys.1.state"), "retired");
    assert_true(json_is_true(api_at(&admin, "keys.1.compromised")));
}

/* The administrator's own trail tells of it. */
static void rotations_are_audited(void **state)
{
    const uint64_t end = clock_mono_ms() + AUDIT_MS_MAX;
    size_t count = 0;

    (void)state;
    while (count < 2) {
        assert_int_equal(api_get(&admin, "/api/audit-log?entity_type=signing-key"), 200);
        count = json_array_size(api_at(&admin, "logs"));
        assert_true(clock_mono_ms() < end);
        (void)usleep(20000);
    }
    assert_int_equal(count, 2);
    assert_string_equal(api_text(&admin, "logs.0.action_type"), "rotate");
    assert_string_equal(api_text(&admin, "logs.0.severity"), "critical");
    assert_string_equal(api_text(&admin, "logs.1.severity"), "high");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_administrators_see_and_change_keys),
        cmocka_unit_test(a_key_is_published_ahead_of_its_time),
        cmocka_unit_test(compromised_keys_end_every_token_and_no_session),
        cmocka_unit_test(rotations_are_audited),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
