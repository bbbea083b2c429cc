/* Every log-in that is looked at costs one password hash, whatever is wrong with it, and a locked
 * one costs none: time does not tell who has an account. */
#include "tests/support/google_issuer.h"
#include "tests/support/mfa_client.h"
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include <stdio.h>
#include <string.h>

#define HASHES "avanta_password_hashes_total"

static struct api api;
static struct api admin;

static void register_user(const char *name, char out_id[PEOPLE_ID_BYTES])
{
    api_close(&api);
    api_open(&api, stack_url());
    api_register(&api, name);
    people_id(&api, out_id);
}

static int setup(void **state)
{
    const struct google_token google = {.sub = "3001", .email = "google@example.com"};
    char code[MFA_CODE_BYTES];
    char path[128];
    char id[PEOPLE_ID_BYTES];

    google_issuer_open("");
    if (stack_setup(state) != 0) {
        return 1;
    }
    people_log_in_admin(&admin);
    api_open(&api, stack_url());
    assert_int_equal(api_send(&api,
                              "POST",
                              "/api/auth/google",
                              json_pack("{s:s}", "credential", google_token_text(&google))),
                     200);
    register_user("gone", id);
    (void)snprintf(path, sizeof path, "/api/admin/users/%s", id);
    assert_int_equal(api_call(&admin, "DELETE", path, NULL, 0), 200);
    register_user("robot", id);
    people_give_role(&admin, id, "service");
    register_user("right", id);
    register_user("locked", id);
    register_user("factor", id);
    assert_int_equal(
        api_send(
            &api, "POST", "/api/auth/mfa/enroll", json_pack("{s:s}", "password", PEOPLE_PASSWORD)),
        200);
    mfa_code(api_text(&api, "secret"), 0, code);
    assert_int_equal(
        api_send(&api, "POST", "/api/auth/mfa/verify", json_pack("{s:s}", "code", code)), 200);
    api_close(&api);
    api_open(&api, stack_url());
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    api_close(&admin);
    google_issuer_close();
    return stack_teardown(state);
}

/* The hashes that one log-in took. */
static int64_t cost(const char *name, const char *password, const char *code)
{
    const int64_t before = stack_metric("identity", HASHES);
    char email[64];

    (void)snprintf(email, sizeof email, "%s@example.com", name);
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", email, "password", password));
    if (code == NULL) {
        assert_int_equal(api.status, 200);
    } else {
        assert_string_equal(api_text(&api, "code"), code);
    }
    return stack_metric("identity", HASHES) - before;
}

static void each_log_in_costs_one_hash(void **state)
{
    static const struct {
        const char *name;
        const char *password;
        const char *code;
    } rows[] = {
        {"right",   PEOPLE_PASSWORD, NULL                 },
        {"right",   "another one",   "INVALID_CREDENTIALS"},
        {"unknown", "another one",   "INVALID_CREDENTIALS"},
        {"google",  "another one",   "INVALID_CREDENTIALS"},
        {"gone",    PEOPLE_PASSWORD, "INVALID_CREDENTIALS"},
        {"robot",   PEOPLE_PASSWORD, "INVALID_CREDENTIALS"},
        {"factor",  PEOPLE_PASSWORD, "MFA_REQUIRED"       },
        {"factor",  "another one",   "INVALID_CREDENTIALS"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, cost(rows[i].name, rows[i].password, rows[i].code) == 1);
    }
}

static void a_locked_one_costs_none(void **state)
{
    static const char *const names[] = {"locked", "nobody"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (int k = 0; k < 5; k++) { /* AVANTA_LOGIN_FAILURES_MAX */
            assert_row(i, cost(names[i], "another one", "INVALID_CREDENTIALS") == 1);
        }
        assert_row(i, cost(names[i], PEOPLE_PASSWORD, "TOO_MANY_ATTEMPTS") == 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_log_in_costs_one_hash),
        cmocka_unit_test(a_locked_one_costs_none),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
