/* What is refused, and what administrators read, leaves its audit record: the services record
 * log-ins, the gateway the rest. */
#include "tests/support/audited.h"
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include <stdio.h>
#include <string.h>

#define TRANSACTION                                                                          \
    "{\"date\":\"2024-03-10\",\"description\":\"Prueba\",\"amount\":1.5,\"type\":\"gasto\"," \
    "\"category\":\"personal\"}"

static struct api fresh;
static struct api admin;
static unsigned people;

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    audited_open();
    people_log_in_admin(&admin);
    api_open(&fresh, stack_url());
    return 0;
}

static int teardown(void **state)
{
    api_close(&fresh);
    api_close(&admin);
    return stack_teardown(state);
}

/* Somebody new, logged in. */
static void fresh_user(void)
{
    char name[32];

    api_close(&fresh);
    api_open(&fresh, stack_url());
    (void)snprintf(name, sizeof name, "persona-%u", people++);
    api_register(&fresh, name);
}

static void
refuse(struct api *api, const char *verb, const char *path, const char *json, long status)
{
    api_call(api, verb, path, json, json == NULL ? 0 : strlen(json));
    assert_int_equal(api->status, status);
}

static void a_wrong_password_is_recorded(void **state)
{
    (void)state;
    fresh_user();
    fresh.token[0] = '\0';
    refuse(&fresh,
           "POST",
           "/api/auth/login",
           "{\"email\":\"persona-0@example.com\",\"password\":\"Mala clave 1\"}",
           401);
    audited_keep(&fresh, audited_method("identity.Login"), true);
    refuse(&fresh,
           "POST",
           "/api/auth/login",
           "{\"email\":\"nadie@example.com\",\"password\":\"Mala clave 1\"}",
           401);
    audited_keep(&fresh, audited_method("identity.Login"), true);
    audited_check();
}

static void a_viewer_who_writes_is_recorded(void **state)
{
    char email[64];
    char id[64];

    (void)state;
    fresh_user();
    people_id(&fresh, id);
    (void)snprintf(email, sizeof email, "persona-%u@example.com", people - 1);
    people_give_role(&admin, id, "viewer");
    api_close(&fresh);
    people_log_in(&fresh, stack_url(), email, PEOPLE_PASSWORD);
    refuse(&fresh, "POST", "/api/transactions", TRANSACTION, 403);
    audited_keep(&fresh, audited_method("ledger.CreateTransaction"), true);
    audited_check();
}

static void a_key_without_the_scope_is_recorded(void **state)
{
    char key[160];

    (void)state;
    fresh_user();
    assert_int_equal(api_send(&fresh,
                              "POST",
                              "/api/api-keys",
                              json_pack("{s:s,s:[s]}", "name", "k", "scopes", "books:read")),
                     201);
    (void)snprintf(key, sizeof key, "X-API-Key: %s", api_text(&fresh, "key"));
    fresh.token[0] = '\0';
    api_forget_cookies(&fresh);
    fresh.header = key;
    refuse(&fresh, "POST", "/api/transactions", TRANSACTION, 403);
    audited_keep(&fresh, audited_method("ledger.CreateTransaction"), true);
    fresh.header = NULL;
    audited_check();
}

static void what_administrators_read_is_recorded(void **state)
{
    static const char *const reads[][2] = {
        {"/api/admin/users",        "identity.ListUsers"      },
        {"/api/admin/signing-keys", "identity.ListSigningKeys"},
        {"/api/admin/audit-log",    "audit-log.SearchAuditLog"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(reads); i++) {
        assert_int_equal(api_get(&admin, reads[i][0]), 200);
        audited_keep(&admin, audited_method(reads[i][1]), false);
    }
    audited_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_wrong_password_is_recorded),
        cmocka_unit_test(a_viewer_who_writes_is_recorded),
        cmocka_unit_test(a_key_without_the_scope_is_recorded),
        cmocka_unit_test(what_administrators_read_is_recorded),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
