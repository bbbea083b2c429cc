/* The edge as clients and attackers meet it: sessions, wrong input, other people's records. */
#include "tests/support/api.h"
#include "tests/support/stack.h"
#include "tests/support/suites.h"

#include "libcommon/base/arena.h"
#include "libcommon/base/limits.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct arena_pool *pool;
static struct api ana;
static struct api bob;

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    if (pool == NULL || stack_setup(state) != 0) {
        return 1;
    }
    api_open(&ana, stack_url());
    api_open(&bob, stack_url());
    api_register(&ana, "ana");
    api_register(&bob, "bob");
    return 0;
}

static int teardown(void **state)
{
    api_close(&ana);
    api_close(&bob);
    arena_pool_close(&pool);
    return stack_teardown(state);
}

static void expect_problem(struct api *api, long status, const char *code)
{
    if (api->status != status || strcmp(api_text(api, "code"), code) != 0) {
        fail_msg("%ld %s instead of %ld %s", api->status, api_text(api, "code"), status, code);
    }
    assert_int_equal(api_int(api, "status"), status);
    assert_true(strlen(api_text(api, "request_id")) == 36);
    assert_non_null(strstr(api->headers, "application/problem+json"));
}

static int64_t transactions_of(struct api *api)
{
    assert_int_equal(api_get(api, "/api/transactions?include_stats=true&include_deleted=true"),
                     200);
    return api_int(api, "statistics.total_transactions");
}

/* --- sessions --- */

static void wrong_credentials_tell_nothing(void **state)
{
    struct api api;
    char first[512];

    (void)state;
    api_open(&api, stack_url());
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "ana@example.com", "password", "wrong"));
    expect_problem(&api, 401, "INVALID_CREDENTIALS");
    (void)snprintf(first, sizeof first, "%s", api_text(&api, "message"));
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "no@example.com", "password", "wrong"));
    expect_problem(&api, 401, "INVALID_CREDENTIALS");
    assert_string_equal(api_text(&api, "message"), first);
    api_close(&api);
}

static void registration_is_checked(void **state)
{
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    api_send(&api,
             "POST",
             "/api/auth/register",
             json_pack("{s:s,s:s}", "email", "ANA@example.com", "password", "Una clave larga 7"));
    expect_problem(&api, 409, "USER_EXISTS");
    api_send(&api,
             "POST",
             "/api/auth/register",
             json_pack("{s:s,s:s}", "email", "c@example.com", "password", "12345678"));
    expect_problem(&api, 400, "WEAK_PASSWORD");
    api_send(&api,
             "POST",
             "/api/auth/register",
             json_pack("{s:s,s:s}", "email", "no mail", "password", "x"));
    expect_problem(&api, 400, "VALIDATION_ERROR");
    assert_int_equal(json_array_size(api_at(&api, "errors")), 2);
    api_send(&api,
             "POST",
             "/api/auth/register",
             json_pack("{s:s,s:s,s:s}",
                       "email",
                       "c@example.com",
                       "password",
                       "Una clave larga 7",
                       "role",
                       "admin"));
    expect_problem(&api, 400, "VALIDATION_ERROR");
    api_close(&api);
}

static void credentials_of_no_value_are_none(void **state)
{
    static const char *const bearers[] = {"null", "undefined"};
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    for (size_t i = 0; i < sizeof bearers / sizeof bearers[0]; i++) {
        (void)snprintf(api.token, sizeof api.token, "%s", bearers[i]);
        api_get(&api, "/api/auth/me");
        expect_problem(&api, 401, "AUTH_REQUIRED");
    }
    (void)snprintf(api.token, sizeof api.token, "%s", ana.token);
    api.token[strlen(api.token) - 5] ^= 1;
    api_get(&api, "/api/auth/me");
    expect_problem(&api, 401, "AUTH_REQUIRED");
    api_close(&api);
}

/* A stolen refresh token shows when it is used again; then the whole session is over at once. */
static void reuse_of_a_refresh_token_ends_the_session(void **state)
{
    struct api api;
    struct api thief;
    char cookie[256];
    char *at = NULL;

    (void)state;
    api_open(&api, stack_url());
    api_open(&thief, stack_url());
    api_register(&api, "carla");
    at = strstr(api.headers, "avanta_refresh=");
    assert_non_null(at);
    (void)snprintf(cookie, sizeof cookie, "Cookie: %.*s", (int)strcspn(at, ";"), at);
    api.header = "Sec-Fetch-Site: same-origin";
    assert_int_equal(api_call(&api, "POST", "/api/auth/refresh", "{}", 2), 200);
    (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);

    thief.header = cookie;
    assert_int_equal(api_call(&thief, "POST", "/api/auth/refresh", "{}", 2),
                     403); /* no word on its origin */
    {
        char both[400];

        (void)snprintf(both, sizeof both, "%s\nSec-Fetch-Site: same-origin", cookie);
        thief.header = both;
        api_call(&thief, "POST", "/api/auth/refresh", "{}", 2);
        expect_problem(&thief, 401, "INVALID_REFRESH_TOKEN");
    }
    for (int i = 0; i < 20 && api_get(&api, "/api/auth/me") == 200; i++) {
        (void)usleep(50000);
    }
    assert_int_equal(api.status, 401);
    assert_int_equal(api_call(&api, "POST", "/api/auth/refresh", "{}", 2), 401);
    api_close(&api);
    api_close(&thief);
}

static void logging_out_ends_the_access_token(void **state)
{
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    api_register(&api, "diego");
    assert_int_equal(api_call(&api, "POST", "/api/auth/logout", NULL, 0), 200);
    for (int i = 0; i < 20 && api_get(&api, "/api/auth/me") == 200; i++) {
        (void)usleep(50000);
    }
    assert_int_equal(api.status, 401);
    api_close(&api);
}

static void a_cookie_needs_its_own_origin_to_write(void **state)
{
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    api_register(&api, "elena");
    api.token[0] = '\0'; /* only the session cookie is left */
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    api_send(&api, "POST", "/api/categories", json_pack("{s:s}", "name", "x"));
    expect_problem(&api, 403, "FORBIDDEN");
    api.header = "Origin: http://evil.example";
    api_send(&api, "POST", "/api/categories", json_pack("{s:s}", "name", "x"));
    expect_problem(&api, 403, "FORBIDDEN");
    api.header = "Sec-Fetch-Site: same-origin";
    api_send(&api, "POST", "/api/categories", json_pack("{s:s}", "name", "x"));
    assert_int_equal(api.status, 201);
    api_close(&api);
}

/* --- wrong input --- */

static void wrong_addresses_and_verbs(void **state)
{
    (void)state;
    ana.unknown = true;
    api_get(&ana, "/api/nothing");
    expect_problem(&ana, 404, "NOT_FOUND");
    ana.unknown = true;
    api_call(&ana, "PATCH", "/api/accounts", "{}", 2);
    expect_problem(&ana, 405, "METHOD_NOT_ALLOWED");
    assert_non_null(strstr(ana.headers, "Allow: GET, HEAD, POST, OPTIONS"));
    api_get(&ana, "/api/v1/accounts");
    assert_int_equal(ana.status, 200);
    api_get(&ana, "/api/transactions/abc");
    expect_problem(&ana, 400, "VALIDATION_ERROR");
    api_get(&ana, "/api/transactions?limit=1001&sort_by=id&date_from=2025-02-30");
    expect_problem(&ana, 400, "VALIDATION_ERROR");
    assert_int_equal(json_array_size(api_at(&ana, "errors")), 3);
    api_get(&ana, "/api/transactions?limit=5&limit=6");
    expect_problem(&ana, 400, "VALIDATION_ERROR");
    api_get(&ana, "/api/transactions?page=undefined&status=&linked=&category=null&amount_min=NaN");
    assert_int_equal(ana.status, 200);
}

static void wrong_values_are_told_all_at_once_and_stored_never(void **state)
{
    static const char *const bodies[] = {
        "{\"date\":\"2025-02-30\",\"description\":\"x\",\"amount\":1,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":\"x\",\"amount\":1.005,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":\"x\",\"amount\":\"12abc\",\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":\"x\",\"amount\":0,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":\"x\",\"amount\":1000000000,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":\"\",\"amount\":1,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":7,\"amount\":1,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2999-01-01\",\"description\":\"x\",\"amount\":1,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{\"date\":\"2025-02-03\",\"description\":\"a\\u0000b\",\"amount\":1,\"type\":\"gasto\",\"category\":\"personal\"}",
        "{}",
        "",
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        api_call(&ana, "POST", "/api/transactions", bodies[i], strlen(bodies[i]));
        expect_problem(&ana, 400, "VALIDATION_ERROR");
        assert_true(json_array_size(api_at(&ana, "errors")) > 0);
    }
    assert_int_equal(transactions_of(&ana), 0);
}

static void references_must_be_ones_own(void **state)
{
    int64_t account = 0;
    int64_t transaction = 0;
    char path[64];

    (void)state;
    api_send(
        &bob, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "De Bob", "type", "cash"));
    assert_int_equal(bob.status, 201);
    account = api_int(&bob, "id");
    api_send(&ana,
             "POST",
             "/api/transactions",
             json_pack("{s:s,s:s,s:i,s:s,s:s,s:I}",
                       "date",
                       "2025-02-03",
                       "description",
                       "x",
                       "amount",
                       1,
                       "type",
                       "gasto",
                       "category",
                       "personal",
                       "account_id",
                       (json_int_t)account));
    assert_int_equal(ana.status, 422);
    assert_string_equal(api_text(&ana, "errors.0.field"), "account_id");
    assert_int_equal(transactions_of(&ana), 0);

    api_send(&bob,
             "POST",
             "/api/transactions",
             json_pack("{s:s,s:s,s:f,s:s,s:s}",
                       "date",
                       "2025-02-03",
                       "description",
                       "O'Neil <b>",
                       "amount",
                       10.5,
                       "type",
                       "gasto",
                       "category",
                       "personal"));
    assert_int_equal(bob.status, 201);
    assert_string_equal(api_text(&bob, "data.description"), "O'Neil <b>");
    assert_int_equal(api_centavos(&bob, "data.amount"), 1050);
    transaction = api_int(&bob, "data.id");
    (void)snprintf(path, sizeof path, "/api/transactions/%lld", (long long)transaction);
    assert_int_equal(api_get(&bob, path), 200);
    api_get(&ana, path);
    expect_problem(&ana, 404, "NOT_FOUND");
    api_call(&ana, "PUT", path, "{\"amount\":1}", 12);
    expect_problem(&ana, 404, "NOT_FOUND");
    (void)snprintf(
        path, sizeof path, "/api/transactions/%lld?confirm=true", (long long)transaction);
    api_call(&ana, "DELETE", path, NULL, 0);
    expect_problem(&ana, 404, "NOT_FOUND");
    (void)snprintf(path, sizeof path, "/api/accounts/%lld", (long long)account);
    api_call(&ana, "DELETE", path, NULL, 0);
    expect_problem(&ana, 404, "NOT_FOUND");
    (void)snprintf(path, sizeof path, "/api/transactions/%lld", (long long)transaction);
    assert_int_equal(api_get(&bob, path), 200);
    assert_int_equal(api_int(&bob, "is_deleted"), 0);
}

static void a_key_is_used_once(void **state)
{
    static const char body[] =
        "{\"date\":\"2025-02-03\",\"description\":\"k\",\"amount\":1,\"type\":\"gasto\","
        "\"category\":\"personal\"}";
    static const char other[] =
        "{\"date\":\"2025-02-03\",\"description\":\"k\",\"amount\":2,\"type\":\"gasto\","
        "\"category\":\"personal\"}";
    int64_t before = transactions_of(&bob);
    int64_t id = 0;

    (void)state;
    (void)snprintf(bob.key, sizeof bob.key, "key-1");
    assert_int_equal(api_call(&bob, "POST", "/api/transactions", body, strlen(body)), 201);
    id = api_int(&bob, "data.id");
    assert_int_equal(api_call(&bob, "POST", "/api/transactions", body, strlen(body)), 201);
    assert_int_equal(api_int(&bob, "data.id"), id);
    api_call(&bob, "POST", "/api/transactions", other, strlen(other));
    expect_problem(&bob, 422, "IDEMPOTENCY_MISMATCH");
    bob.key[0] = '\0';
    assert_int_equal(transactions_of(&bob), before + 1);
}

static void try_json(void *ctx, const char *name)
{
    struct arena *arena = arena_open(pool, 2 * 1024 * 1024);
    struct str json = suite_file(arena, "json", name);
    size_t *wrong = ctx;
    long status = api_call(&ana, "POST", "/api/transactions", json.ptr, json.len);
    bool empty = json.len == 0;
    bool repeated =
        strncmp(name, "y_object_duplicated_key", 23) == 0; /* JSON, and refused as ambiguous */
    bool is_syntax = status == 400 && strcmp(api_text(&ana, "code"), "INVALID_JSON") == 0;
    bool good = status == 400;

    if (name[0] == 'n' && !empty) {
        good = is_syntax;
    } else if (name[0] == 'y' && !repeated) {
        good = status == 400 && !is_syntax; /* JSON, but no transaction */
    }
    if (!good) {
        print_error("%s: %ld %s\n", name, status, is_syntax ? "INVALID_JSON" : "");
        (*wrong)++;
    }
    arena_dispose(&arena);
}

static void json_is_json(void **state)
{
    size_t wrong = 0;

    (void)state;
    assert_true(suite_each("json", try_json, &wrong) > 300);
    assert_int_equal(wrong, 0);
    assert_int_equal(transactions_of(&ana), 0);
}

static void the_document_describes_every_route(void **state)
{
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    assert_int_equal(api_get(&api, "/api/openapi.json"), 200);
    assert_string_equal(api_text(&api, "openapi"), "3.1.0");
    assert_non_null(json_object_get(api_at(&api, "paths"), "/api/transactions/{id}"));
    assert_int_equal(api_get(&api, "/.well-known/jwks.json"), 200);
    assert_string_equal(api_text(&api, "keys.0.crv"), "P-256");
    assert_int_equal(api_get(&api, "/api/health"), 200);
    api_close(&api);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wrong_credentials_tell_nothing),
        cmocka_unit_test(registration_is_checked),
        cmocka_unit_test(credentials_of_no_value_are_none),
        cmocka_unit_test(reuse_of_a_refresh_token_ends_the_session),
        cmocka_unit_test(logging_out_ends_the_access_token),
        cmocka_unit_test(a_cookie_needs_its_own_origin_to_write),
        cmocka_unit_test(wrong_addresses_and_verbs),
        cmocka_unit_test(wrong_values_are_told_all_at_once_and_stored_never),
        cmocka_unit_test(references_must_be_ones_own),
        cmocka_unit_test(a_key_is_used_once),
        cmocka_unit_test(json_is_json),
        cmocka_unit_test(the_document_describes_every_route),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
