/* A locked account as its owner and a guesser meet it over HTTP. */
#include "tests/support/api.h"
#include "tests/support/stack.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PASSWORD        "Una clave larga 7"
#define FAILURES_MAX    5
#define TRAIL_TRIES_MAX 200

static struct api ana;

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    return 0;
}

static int teardown(void **state)
{
    api_close(&ana);
    return stack_teardown(state);
}

static void login(struct api *api, const char *email, const char *password)
{
    api_send(api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", email, "password", password));
}

/* The body without what differs in every answer. */
static char *body_of(struct api *api)
{
    (void)json_object_del(api->body, "request_id");
    (void)json_object_del(api->body, "timestamp");
    return json_dumps(api->body, JSON_SORT_KEYS);
}

static void expect_locked(struct api *api)
{
    const char *header = strstr(api->headers, "Retry-After: ");
    uint64_t seconds = 0;

    assert_int_equal(api->status, 429);
    assert_string_equal(api_text(api, "code"), "TOO_MANY_ATTEMPTS");
    assert_non_null(header);
    header += strlen("Retry-After: ");
    assert_true(str_to_uint64((struct str){header, strspn(header, "0123456789")}, &seconds));
    assert_in_range(seconds, 25, 30);
}

static void a_locked_account_answers_alike(void **state)
{
    static const char *const emails[] = {"ana@example.com", "nadie@example.com"};
    char *bodies[2];
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    for (size_t i = 0; i < 2; i++) {
        for (int k = 0; k < FAILURES_MAX; k++) {
            login(&api, emails[i], "wrong");
            assert_int_equal(api.status, 401);
            assert_string_equal(api_text(&api, "code"), "INVALID_CREDENTIALS");
        }
        login(&api, emails[i], "wrong");
        expect_locked(&api);
        bodies[i] = body_of(&api);
        login(&api, emails[i], PASSWORD);
        expect_locked(&api);
    }
    assert_string_equal(bodies[0], bodies[1]);
    free(bodies[0]);
    free(bodies[1]);
    api_close(&api);
}

/* Whoever is logged in stays so, and reads of the lock in the audit trail. */
static void its_owner_is_told(void **state)
{
    size_t count = 0;

    (void)state;
    for (int i = 0; i < TRAIL_TRIES_MAX && count == 0; i++) {
        assert_int_equal(api_get(&ana, "/api/audit-log?action_type=lock"), 200);
        count = json_array_size(api_at(&ana, "logs"));
        (void)usleep(50000);
    }
    assert_int_equal(count, 1);
    assert_string_equal(api_text(&ana, "logs.0.severity"), "high");
    assert_string_equal(api_text(&ana, "logs.0.entity_type"), "user");
}

static void a_weak_password_is_told_why(void **state)
{
    static const char *const passwords[][2] = {
        {"Dragon123",     "most used"   },
        {"carmen-1",      "your name"   },
        {"!Avanta!",      "this product"},
        {"abcdefghijklm", "sequence"    },
    };
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    for (size_t i = 0; i < sizeof passwords / sizeof passwords[0]; i++) {
        api_send(&api,
                 "POST",
                 "/api/auth/register",
                 json_pack("{s:s,s:s,s:s}",
                           "email",
                           "carmen@example.com",
                           "password",
                           passwords[i][0],
                           "name",
                           "Carmen Ruiz"));
        assert_int_equal(api.status, 400);
        assert_string_equal(api_text(&api, "code"), "WEAK_PASSWORD");
        assert_non_null(strstr(api_text(&api, "message"), passwords[i][1]));
    }
    api_close(&api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_locked_account_answers_alike),
        cmocka_unit_test(its_owner_is_told),
        cmocka_unit_test(a_weak_password_is_told_why),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
