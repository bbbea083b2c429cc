/* What users do with their own account and administrators with others': profile, settings,
 * password, sessions, roles. What ends a session is heard by every gateway within a second. */
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HEARD_MS_MAX 1000

static struct api admin;
static struct api ana;
static const char *second_url;

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    second_url = stack_second_gateway();
    people_log_in_admin(&admin);
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    return 0;
}

static int teardown(void **state)
{
    api_close(&admin);
    api_close(&ana);
    return stack_teardown(state);
}

/* The same token at another gateway. */
static long at_second(const struct api *api)
{
    struct api other;
    long status = 0;

    api_open(&other, second_url);
    (void)snprintf(other.token, sizeof other.token, "%s", api->token);
    status = api_get(&other, "/api/auth/me");
    api_close(&other);
    return status;
}

/* Both gateways refuse the token, and soon. */
static void expect_out_everywhere(struct api *api, uint64_t since_ms)
{
    while (api_get(api, "/api/auth/me") == 200 || at_second(api) == 200) {
        if (clock_mono_ms() - since_ms > HEARD_MS_MAX) {
            fail_msg("the token is good after %d ms", HEARD_MS_MAX);
        }
        (void)usleep(5000);
    }
    people_expect(api, 401, "AUTH_REQUIRED");
    assert_int_equal(at_second(api), 401);
    print_message("  heard everywhere after %llu ms\n",
                  (unsigned long long)(clock_mono_ms() - since_ms));
}

/* --- profile and settings --- */

static void a_profile_is_shown_and_changed(void **state)
{
    (void)state;
    assert_int_equal(api_get(&ana, "/api/user-profile"), 200);
    assert_string_equal(api_text(&ana, "user.name"), "ana");
    assert_int_equal(json_object_size(api_at(&ana, "user.preferences")), 0);
    assert_true(json_is_null(api_at(&ana, "user.avatar_url")));
    assert_int_equal(
        api_send(
            &ana,
            "PUT",
            "/api/user-profile",
            json_pack(
                "{s:s,s:{s:s}}", "name", "Ana O'Neil Ñ", "preferences", "rfc", "XAXX010101000")),
        200);
    assert_int_equal(api_get(&ana, "/api/user-profile"), 200);
    assert_string_equal(api_text(&ana, "user.name"), "Ana O'Neil Ñ");
    assert_string_equal(api_text(&ana, "user.preferences.rfc"), "XAXX010101000");
    api_send(&ana, "PUT", "/api/user-profile", json_object());
    people_expect(&ana, 400, "VALIDATION_ERROR");
    api_send(&ana, "PUT", "/api/user-profile", json_pack("{s:[i]}", "preferences", 1));
    people_expect(&ana, 400, "VALIDATION_ERROR");
    /* Not by this door: role and e-mail are no fields of it. */
    assert_int_equal(
        api_send(
            &ana,
            "PUT",
            "/api/user-profile",
            json_pack("{s:s,s:s,s:s}", "name", "ana", "role", "admin", "email", "x@example.com")),
        200);
    assert_string_equal(api_text(&ana, "user.role"), "user");
    assert_string_equal(api_text(&ana, "user.email"), "ana@example.com");
}

static void settings_have_defaults_and_keep_what_is_set(void **state)
{
    (void)state;
    assert_int_equal(api_get(&ana, "/api/settings"), 200);
    assert_string_equal(api_text(&ana, "settings.theme"), "system");
    assert_true(json_is_true(api_at(&ana, "settings.notifications_enabled")));
    assert_string_equal(api_text(&ana, "categories.regional.name"), "Regional");
    assert_int_equal(
        api_send(&ana,
                 "PUT",
                 "/api/settings",
                 json_pack("{s:{s:s,s:b}}", "settings", "theme", "dark", "email_notifications", 0)),
        200);
    assert_int_equal(json_array_size(api_at(&ana, "updated")), 2);
    assert_int_equal(
        api_send(
            &ana, "PUT", "/api/settings", json_pack("{s:{s:s}}", "settings", "language", "en")),
        200);
    assert_int_equal(api_get(&ana, "/api/settings"), 200);
    assert_string_equal(api_text(&ana, "settings.theme"), "dark");
    assert_string_equal(api_text(&ana, "settings.language"), "en");
    assert_true(json_is_false(api_at(&ana, "settings.email_notifications")));
    api_send(&ana, "PUT", "/api/settings", json_pack("{s:{s:s}}", "settings", "theme", "pink"));
    people_expect(&ana, 400, "VALIDATION_ERROR");
    assert_string_equal(api_text(&ana, "errors.0.field"), "settings.theme");
    assert_int_equal(api_call(&ana, "POST", "/api/settings/reset", NULL, 0), 200);
    assert_string_equal(api_text(&ana, "settings.theme"), "system");
}

/* --- sessions --- */

static void one_session_ends_and_the_other_goes_on(void **state)
{
    struct api phone;
    char id[64] = "";
    uint64_t since_ms = 0;

    (void)state;
    people_log_in(&phone, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
    assert_int_equal(api_get(&phone, "/api/auth/sessions"), 200);
    assert_int_equal(json_array_size(api_at(&phone, "sessions")), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *row = json_array_get(api_at(&phone, "sessions"), i);

        assert_string_equal(json_string_value(json_object_get(row, "ip_address")), "127.0.0.1");
        if (json_is_true(json_object_get(row, "current"))) {
            (void)snprintf(id, sizeof id, "%s", json_string_value(json_object_get(row, "id")));
        }
    }
    assert_int_not_equal(id[0], '\0');
    assert_int_equal(at_second(&phone), 200); /* so that it is in the other gateway's cache */
    since_ms = clock_mono_ms();
    {
        char path[128];

        (void)snprintf(path, sizeof path, "/api/auth/sessions/%s", id);
        assert_int_equal(api_call(&ana, "DELETE", path, NULL, 0), 200);
        expect_out_everywhere(&phone, since_ms);
        api_call(&ana, "DELETE", path, NULL, 0);
        people_expect(&ana, 404, "NOT_FOUND");
        /* Another user's session is none at all. */
        api_close(&phone);
        people_log_in(&phone, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
        api_get(&admin, "/api/auth/sessions");
        (void)snprintf(
            path, sizeof path, "/api/auth/sessions/%s", api_text(&admin, "sessions.0.id"));
        api_call(&ana, "DELETE", path, NULL, 0);
        people_expect(&ana, 404, "NOT_FOUND");
    }
    assert_int_equal(api_call(&ana, "POST", "/api/auth/sessions/end-others", NULL, 0), 200);
    since_ms = clock_mono_ms();
    assert_int_equal(api_int(&ana, "ended"), 1);
    expect_out_everywhere(&phone, since_ms);
    assert_int_equal(api_get(&ana, "/api/auth/me"), 200);
    api_close(&phone);
}

static void a_new_password_ends_the_other_sessions(void **state)
{
    struct api phone;
    uint64_t since_ms = 0;

    (void)state;
    people_log_in(&phone, second_url, "ana@example.com", PEOPLE_PASSWORD);
    assert_int_equal(at_second(&phone), 200);
    api_send(&ana,
             "POST",
             "/api/user-profile/change-password",
             json_pack(
                 "{s:s,s:s}", "currentPassword", "wrong one", "newPassword", "Otra clave larga 8"));
    people_expect(&ana, 422, "INVALID_PASSWORD");
    api_send(&ana,
             "POST",
             "/api/user-profile/change-password",
             json_pack("{s:s,s:s}", "currentPassword", PEOPLE_PASSWORD, "newPassword", "12345678"));
    people_expect(&ana, 400, "WEAK_PASSWORD");
    assert_int_equal(at_second(&phone), 200);
    assert_int_equal(api_send(&ana,
                              "POST",
                              "/api/user-profile/change-password",
                              json_pack("{s:s,s:s}",
                                        "currentPassword",
                                        PEOPLE_PASSWORD,
                                        "newPassword",
                                        "Otra clave larga 8")),
                     200);
    since_ms = clock_mono_ms();
    expect_out_everywhere(&phone, since_ms);
    assert_int_equal(api_get(&ana, "/api/auth/me"), 200);
    api_close(&phone);
    people_log_in(&phone, stack_url(), "ana@example.com", "Otra clave larga 8");
    assert_int_equal(api_send(&phone,
                              "POST",
                              "/api/user-profile/change-password",
                              json_pack("{s:s,s:s}",
                                        "currentPassword",
                                        "Otra clave larga 8",
                                        "newPassword",
                                        PEOPLE_PASSWORD)),
                     200);
    (void)snprintf(ana.token, sizeof ana.token, "%s", phone.token);
    api_close(&phone);
}

/* --- administration --- */

static void user_path(struct api *of, const char *tail, char out[256])
{
    assert_int_equal(api_get(of, "/api/auth/me"), 200);
    (void)snprintf(out, 256, "/api/admin/users/%s%s", api_text(of, "id"), tail);
}

static void only_administrators_see_users(void **state)
{
    char path[256];

    (void)state;
    api_get(&ana, "/api/admin/users");
    people_expect(&ana, 403, "FORBIDDEN");
    user_path(&ana, "", path);
    api_send(&ana, "PUT", path, json_pack("{s:s}", "role", "admin"));
    people_expect(&ana, 403, "FORBIDDEN");
    assert_int_equal(api_get(&admin, "/api/admin/users?q=ana@ex"), 200);
    assert_int_equal(json_array_size(admin.body), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(admin.body, 0), "email")),
                        "ana@example.com");
    assert_int_equal(api_get(&admin, path), 200);
    assert_int_equal(api_int(&admin, "is_active"), 1);
    api_get(&admin, "/api/admin/users/00000000-0000-4000-8000-000000000000");
    people_expect(&admin, 404, "NOT_FOUND");
}

static void a_role_taken_or_given_counts_at_once(void **state)
{
    char path[256];
    uint64_t since_ms = 0;

    (void)state;
    user_path(&ana, "", path);
    assert_int_equal(at_second(&ana), 200);
    api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "root"));
    people_expect(&admin, 400, "VALIDATION_ERROR");
    api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "enrolling"));
    people_expect(&admin, 400, "VALIDATION_ERROR");
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "viewer")), 200);
    since_ms = clock_mono_ms();
    expect_out_everywhere(&ana, since_ms);
    api_close(&ana);
    people_log_in(&ana, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
    assert_int_equal(api_get(&ana, "/api/accounts"), 200);
    api_send(&ana, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "Caja", "type", "cash"));
    people_expect(&ana, 403, "FORBIDDEN");
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "user")), 200);
    api_close(&ana);
    people_log_in(&ana, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
}

static void a_program_does_not_log_in(void **state)
{
    struct api again;
    char path[256];

    (void)state;
    user_path(&ana, "", path);
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "service")), 200);
    api_open(&again, stack_url());
    api_send(&again,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "ana@example.com", "password", PEOPLE_PASSWORD));
    people_expect(&again, 401, "INVALID_CREDENTIALS");
    api_close(&again);
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "user")), 200);
    api_close(&ana);
    people_log_in(&ana, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
}

static void administrators_end_sessions_and_users(void **state)
{
    struct api again;
    char path[256];
    uint64_t since_ms = 0;

    (void)state;
    user_path(&ana, "/sessions", path);
    assert_int_equal(at_second(&ana), 200);
    assert_int_equal(api_get(&admin, path), 200);
    assert_true(json_array_size(api_at(&admin, "sessions")) >= 1);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    since_ms = clock_mono_ms();
    expect_out_everywhere(&ana, since_ms);
    api_close(&ana);
    people_log_in(&ana, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
    user_path(&ana, "", path);
    assert_int_equal(at_second(&ana), 200);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    since_ms = clock_mono_ms();
    expect_out_everywhere(&ana, since_ms);
    api_open(&again, stack_url());
    api_send(&again,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "ana@example.com", "password", PEOPLE_PASSWORD));
    people_expect(&again, 401, "INVALID_CREDENTIALS");
    api_close(&again);
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:i}", "is_active", 1)), 200);
    api_close(&ana);
    people_log_in(&ana, stack_url(), "ana@example.com", PEOPLE_PASSWORD);
}

static void administrators_leave_themselves_alone(void **state)
{
    char path[256];

    (void)state;
    user_path(&admin, "", path);
    api_send(&admin, "PUT", path, json_pack("{s:s}", "role", "user"));
    people_expect(&admin, 409, "OWN_ACCOUNT");
    api_call(&admin, "DELETE", path, NULL, 0);
    people_expect(&admin, 409, "OWN_ACCOUNT");
    assert_int_equal(api_send(&admin, "PUT", path, json_pack("{s:s}", "name", "La jefa")), 200);
    assert_string_equal(api_text(&admin, "name"), "La jefa");
}

static void the_password_is_asked_for_again(void **state)
{
    (void)state;
    api_send(&ana, "POST", "/api/auth/reauthenticate", json_pack("{s:s}", "password", "wrong one"));
    people_expect(&ana, 422, "INVALID_PASSWORD");
    assert_int_equal(api_send(&ana,
                              "POST",
                              "/api/auth/reauthenticate",
                              json_pack("{s:s}", "password", PEOPLE_PASSWORD)),
                     200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_is_shown_and_changed),
        cmocka_unit_test(settings_have_defaults_and_keep_what_is_set),
        cmocka_unit_test(one_session_ends_and_the_other_goes_on),
        cmocka_unit_test(a_new_password_ends_the_other_sessions),
        cmocka_unit_test(only_administrators_see_users),
        cmocka_unit_test(a_role_taken_or_given_counts_at_once),
        cmocka_unit_test(a_program_does_not_log_in),
        cmocka_unit_test(administrators_end_sessions_and_users),
        cmocka_unit_test(administrators_leave_themselves_alone),
        cmocka_unit_test(the_password_is_asked_for_again),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
