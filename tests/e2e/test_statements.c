/* The main job on real input: log in, import five banks' statements, see every row and every
 * balance. */
#include "tests/support/api.h"
#include "tests/support/stack.h"
#include "tests/support/suites.h"

#include "libcommon/base/arena.h"
#include "libcommon/base/limits.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

static struct arena_pool *pool;
static struct api api;

static const struct {
    const char *file;
    const char *account;
    const char *bank;
    size_t rows;
} statements[] = {
    {"azteca-sample.csv",                 "Azteca",       "Banco Azteca", 10},
    {"bbva-sample.csv",                   "BBVA enero",   "BBVA",         10},
    {"sample_banorte_october_2025.csv",   "Banorte",      "Banorte",      15},
    {"sample_bbva_october_2025.csv",      "BBVA octubre", "BBVA",         15},
    {"sample_santander_october_2025.csv", "Santander",    "Santander",    15},
};

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 256);
    if (pool == NULL || stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    arena_pool_close(&pool);
    return stack_teardown(state);
}

static void log_in_as_administrator(void **state)
{
    char password[128];

    (void)state;
    (void)snprintf(password, sizeof password, "%s", stack_value("AVANTA_ADMIN_PASSWORD"));
    for (int i = 0; i < 100 && api.status != 200; i++) { /* identity creates it within seconds */
        if (i > 0) {
            (void)usleep(100000);
        }
        api_send(
            &api,
            "POST",
            "/api/auth/login",
            json_pack(
                "{s:s,s:s}", "email", stack_value("AVANTA_ADMIN_EMAIL"), "password", password));
    }
    assert_int_equal(api.status, 200);
    assert_string_equal(api_text(&api, "user.role"), "admin");
    (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
}

static json_t *preview(size_t i)
{
    struct arena *arena = arena_open(pool, 1024 * 1024);
    struct str csv = suite_file(arena, "bank-statements", statements[i].file);

    api_send(&api,
             "POST",
             "/api/import/csv",
             json_pack("{s:s%,s:s,s:s}",
                       "csvContent",
                       csv.ptr,
                       csv.len,
                       "fileName",
                       statements[i].file,
                       "account",
                       statements[i].account));
    arena_dispose(&arena);
    assert_int_equal(api.status, 200);
    return json_incref(api.body);
}

/* Each row of the statement, matched by date, description and reference, has the statement's own
 * figures in the books: amount, direction and the balance after it. */
static void rows_match(size_t i, int64_t account, json_t *previewed)
{
    char path[256];
    json_t *rows = json_object_get(previewed, "transactions");
    size_t at = 0;

    (void)snprintf(
        path,
        sizeof path,
        "/api/transactions?account_id=%lld&include_running_balance=true&sort_by=created_at"
        "&sort_order=asc",
        (long long)account);
    assert_int_equal(api_get(&api, path), 200);
    assert_int_equal(json_array_size(api_at(&api, "data")), statements[i].rows);
    for (at = 0; at < statements[i].rows; at++) {
        json_t *row = json_array_get(rows, at);
        json_t *booked = json_array_get(api_at(&api, "data"), at);

        assert_string_equal(json_string_value(json_object_get(booked, "date")),
                            json_string_value(json_object_get(row, "date")));
        assert_string_equal(json_string_value(json_object_get(booked, "description")),
                            json_string_value(json_object_get(row, "description")));
        assert_string_equal(json_string_value(json_object_get(booked, "type")),
                            json_string_value(json_object_get(row, "type")));
        assert_true(json_equal(json_object_get(booked, "amount"), json_object_get(row, "amount")));
        assert_true(json_equal(json_object_get(booked, "running_balance"),
                               json_object_get(row, "balance")));
    }
}

static void confirm(size_t i, json_t *previewed, int64_t imported, int64_t duplicated)
{
    api_send(&api,
             "POST",
             "/api/import/confirm",
             json_pack("{s:O,s:s,s:s}",
                       "transactions",
                       json_object_get(previewed, "transactions"),
                       "fileName",
                       statements[i].file,
                       "account",
                       statements[i].account));
    assert_int_equal(api.status, 200);
    assert_int_equal(api_int(&api, "summary.recordsImported"), imported);
    assert_int_equal(api_int(&api, "summary.recordsDuplicated"), duplicated);
}

static void import_one(size_t i)
{
    int64_t rows = (int64_t)statements[i].rows;
    int64_t opening = 0;
    int64_t closing = 0;
    int64_t account = 0;
    json_t *previewed = NULL;
    char opening_text[32];

    api_send(&api,
             "POST",
             "/api/accounts",
             json_pack("{s:s,s:s,s:s}",
                       "name",
                       statements[i].account,
                       "type",
                       "checking",
                       "opening_date",
                       "2025-01-01"));
    assert_int_equal(api.status, 201);
    account = api_int(&api, "id");
    previewed = preview(i);
    assert_string_equal(api_text(&api, "summary.bank"), statements[i].bank);
    assert_true(json_is_true(api_at(&api, "summary.balanceVerified")));
    assert_int_equal(api_int(&api, "summary.duplicates"), 0);
    opening = api_centavos(&api, "summary.openingBalance");
    closing = api_centavos(&api, "summary.closingBalance");

    /* The account starts where the statement starts. */
    (void)snprintf(opening_text,
                   sizeof opening_text,
                   "%lld.%02lld",
                   (long long)(opening / 100),
                   (long long)(opening % 100));
    {
        char path[64];

        (void)snprintf(
            path, sizeof path, "/api/accounts/%lld/initial-balances", (long long)account);
        api_send(
            &api,
            "POST",
            path,
            json_pack("{s:s,s:s}", "balance_date", "2025-01-02", "initial_balance", opening_text));
        assert_int_equal(api.status, 201);
    }
    confirm(i, previewed, rows, 0);
    rows_match(i, account, previewed);

    /* The same file again adds nothing. */
    confirm(i, previewed, 0, rows);
    json_decref(previewed);
    previewed = preview(i);
    assert_int_equal(api_int(&api, "summary.duplicates"), rows);
    json_decref(previewed);

    assert_int_equal(api_get(&api, "/api/accounts"), 200);
    for (size_t k = 0; k < json_array_size(api.body); k++) {
        json_t *row = json_array_get(api.body, k);

        if (json_integer_value(json_object_get(row, "id")) == account) {
            char path[32];

            (void)snprintf(path, sizeof path, "%zu.balance", k);
            assert_int_equal(api_centavos(&api, path), closing);
            return;
        }
    }
    fail_msg("the account is not listed");
}

static void imports_five_statements(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof statements / sizeof statements[0]; i++) {
        import_one(i);
    }
    assert_int_equal(api_get(&api, "/api/import/history"), 200);
    assert_int_equal(api_int(&api, "total"), 10); /* each file twice */
}

static void an_undone_import_can_come_again(void **state)
{
    char path[128];
    json_t *previewed = NULL;

    (void)state;
    assert_int_equal(api_get(&api, "/api/import/history?perPage=100"), 200);
    for (size_t k = 0; k < json_array_size(api_at(&api, "imports")); k++) {
        json_t *row = json_array_get(api_at(&api, "imports"), k);

        if (json_integer_value(json_object_get(row, "records_imported")) == 15 &&
            strcmp(json_string_value(json_object_get(row, "file_name")), statements[2].file) == 0) {
            (void)snprintf(path,
                           sizeof path,
                           "/api/import/history/%s",
                           json_string_value(json_object_get(row, "id")));
        }
    }
    assert_int_equal(api_get(&api, path), 200);
    assert_int_equal(json_array_size(api_at(&api, "transactions")), 15);
    assert_int_equal(api_call(&api, "DELETE", path, NULL, 0), 200);
    assert_int_equal(api_call(&api, "DELETE", path, NULL, 0), 404);
    previewed = preview(2);
    assert_int_equal(api_int(&api, "summary.duplicates"), 0);
    confirm(2, previewed, 15, 0);
    json_decref(previewed);
}

/* The event path: what was done is in the caller's audit trail. */
static void the_audit_trail_tells_it(void **state)
{
    int64_t imports = 0;

    (void)state;
    for (int i = 0; i < 100 && imports < 11; i++) {
        (void)usleep(50000);
        assert_int_equal(api_get(&api, "/api/audit-log?action_type=import&limit=100"), 200);
        imports = api_int(&api, "total");
    }
    assert_int_equal(imports, 11);
    assert_string_equal(api_text(&api, "logs.0.entity_type"), "import");
    assert_string_equal(api_text(&api, "logs.0.status"), "success");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_in_as_administrator),
        cmocka_unit_test(imports_five_statements),
        cmocka_unit_test(an_undone_import_can_come_again),
        cmocka_unit_test(the_audit_trail_tells_it),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
