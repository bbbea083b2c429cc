/* API keys that administrators make for programs: users of the role service, who cannot log in. */
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define NOBODY       "00000000-0000-4000-8000-000000000000"
#define HEARD_MS_MAX 5000
#define AUDIT_MS_MAX 20000

static struct api admin;
static struct api robot;
static struct api ana;
static char admin_id[PEOPLE_ID_BYTES];
static char robot_id[PEOPLE_ID_BYTES];
static char ana_id[PEOPLE_ID_BYTES];

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    people_log_in_admin(&admin);
    people_id(&admin, admin_id);
    api_open(&robot, stack_url());
    api_register(&robot, "robot");
    people_id(&robot, robot_id);
    people_give_role(&admin, robot_id, "service");
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    people_id(&ana, ana_id);
    return 0;
}

static int teardown(void **state)
{
    api_close(&admin);
    api_close(&robot);
    api_close(&ana);
    return stack_teardown(state);
}

static const char *keys_of(const char *user_id, const char *key_id)
{
    static char path[256];

    (void)snprintf(path,
                   sizeof path,
                   "/api/admin/users/%s/api-keys%s%s",
                   user_id,
                   key_id == NULL ? "" : "/",
                   key_id == NULL ? "" : key_id);
    return path;
}

static long make(struct api *api, const char *user_id, const char *scope)
{
    return api_send(api,
                    "POST",
                    keys_of(user_id, NULL),
                    json_pack("{s:s,s:[s]}", "name", "n8n", "scopes", scope));
}

static long with_key(const char *key)
{
    struct api program;
    long status = 0;

    people_with_header(&program, stack_url(), "X-API-Key", key);
    status = api_get(&program, "/api/accounts");
    api_close(&program);
    return status;
}

/* The robot's own trail, which it reads by another key, names who did it. */
static void expect_audited(const char *key, const char *action)
{
    const uint64_t end = clock_mono_ms() + AUDIT_MS_MAX;
    struct api program;
    char path[128];

    people_with_header(&program, stack_url(), "X-API-Key", key);
    (void)snprintf(path, sizeof path, "/api/audit-log?entity_type=api_key&action_type=%s", action);
    while (api_get(&program, path) != 200 || json_array_size(api_at(&program, "logs")) == 0) {
        assert_true(clock_mono_ms() < end);
        (void)usleep(20000);
    }
    assert_string_equal(api_text(&program, "logs.0.user_id"), robot_id);
    assert_string_equal(api_text(&program, "logs.0.actor_id"), admin_id);
    assert_string_equal(api_text(&program, "logs.0.severity"), "high");
    api_close(&program);
}

static void a_program_gets_a_key_and_loses_it(void **state)
{
    char key[128];
    char reader[128];
    char id[PEOPLE_ID_BYTES];
    uint64_t since_ms = 0;

    (void)state;
    assert_int_equal(make(&admin, robot_id, "audit:read"), 201);
    (void)snprintf(reader, sizeof reader, "%s", api_text(&admin, "key"));
    assert_int_equal(make(&admin, robot_id, "books:read"), 201);
    (void)snprintf(key, sizeof key, "%s", api_text(&admin, "key"));
    (void)snprintf(id, sizeof id, "%s", api_text(&admin, "api_key.id"));
    assert_int_equal(with_key(key), 200);
    expect_audited(reader, "create");
    assert_int_equal(api_get(&admin, keys_of(robot_id, NULL)), 200);
    assert_int_equal(json_array_size(api_at(&admin, "api_keys")), 2);
    assert_string_equal(api_text(&admin, "api_keys.0.id"), id);
    assert_null(json_object_get(api_at(&admin, "api_keys.0"), "key"));
    api_call(&admin, "DELETE", keys_of(ana_id, id), NULL, 0); /* it is not hers */
    people_expect(&admin, 404, "NOT_FOUND");
    assert_int_equal(with_key(key), 200);
    assert_int_equal(api_call(&admin, "DELETE", keys_of(robot_id, id), NULL, 0), 200);
    since_ms = clock_mono_ms();
    while (with_key(key) == 200) {
        assert_true(clock_mono_ms() - since_ms < HEARD_MS_MAX);
        (void)usleep(5000);
    }
    assert_int_equal(with_key(key), 401);
    expect_audited(reader, "revoke");
    assert_int_equal(api_get(&admin, keys_of(robot_id, NULL)), 200);
    assert_int_equal(json_array_size(api_at(&admin, "api_keys")), 1);
}

/* An administrator gets into nobody's books by making a key to them. */
static void people_make_their_own(void **state)
{
    (void)state;
    make(&admin, ana_id, "books:read");
    people_expect(&admin, 409, "NOT_A_SERVICE");
    make(&admin, admin_id, "books:read");
    people_expect(&admin, 409, "NOT_A_SERVICE");
    make(&admin, NOBODY, "books:read");
    people_expect(&admin, 404, "NOT_FOUND");
    api_get(&admin, keys_of(NOBODY, NULL));
    people_expect(&admin, 404, "NOT_FOUND");
    assert_int_equal(api_get(&admin, keys_of(ana_id, NULL)), 200);
    assert_int_equal(json_array_size(api_at(&admin, "api_keys")), 0);
    make(&ana, robot_id, "books:read");
    people_expect(&ana, 403, "FORBIDDEN");
}

/* Not what the administrator's role allows, but what the program's does. */
static void scopes_are_those_of_the_role(void **state)
{
    (void)state;
    make(&admin, robot_id, "users:admin");
    people_expect(&admin, 400, "VALIDATION_ERROR");
    assert_string_equal(api_text(&admin, "errors.0.field"), "scopes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_program_gets_a_key_and_loses_it),
        cmocka_unit_test(people_make_their_own),
        cmocka_unit_test(scopes_are_those_of_the_role),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
