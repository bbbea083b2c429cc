/*
 * Every unsafe route leaves its audit record: a walk over the generated route table, with one good
 * request for each route. A route that is added is in it, and fails here until it has a request in
 * `valid`.
 */
#include "api.gen.h"
#include "tests/support/audited.h"
#include "tests/support/mfa_client.h"
#include "tests/support/people.h"
#include "tests/support/rsa_key.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define REPORTED_MS 15000
#define TEXT_BYTES  512
#define ID_BYTES    80
#define BODY_BYTES  16384
#define CLIENT      "client-1.apps.example.com"
#define ISSUER      "https://accounts.example.com"
#define SAME_ORIGIN "Sec-Fetch-Site: same-origin"

enum who {
    NOBODY, /* no credential */
    FRESH,  /* a user of this request's own, just logged in */
    ADMIN
};

/* What the path's parameters and the body are, when they are known only now. */
static char first[ID_BYTES];
static char second[ID_BYTES];
static char body[BODY_BYTES];

static struct api fresh;
static struct api admin;
static struct rsa_key *google;
static char directory[] = "/tmp/avanta-trail-XXXXXX";
static char google_path[64];
static unsigned people;

/* --- the stack --- */

static void google_file_put(void)
{
    char memory[4096];
    struct buf b = buf_over(memory, sizeof memory);
    FILE *file = fopen(google_path, "w");

    assert_non_null(file);
    buf_text(&b, "{\"keys\":[");
    rsa_key_jwk(google, "g1", ",\"use\":\"sig\",\"alg\":\"RS256\"", &b);
    buf_text(&b, "]}");
    assert_int_equal(fwrite(memory, 1, b.len, file), b.len);
    assert_int_equal(fclose(file), 0);
}

static int setup(void **state)
{
    char settings[TEXT_BYTES];

    if (getenv("AVANTA_BUILD") == NULL) {
        fail_msg("this test needs a stack of its own");
    }
    google = rsa_key_make(2048);
    assert_non_null(mkdtemp(directory));
    (void)snprintf(google_path, sizeof google_path, "%s/jwks.json", directory);
    google_file_put();
    (void)snprintf(settings,
                   sizeof settings,
                   "AVANTA_GOOGLE_CLIENT_ID=%s AVANTA_GOOGLE_JWKS_FILE=%s AVANTA_GOOGLE_ISSUER=%s",
                   CLIENT,
                   google_path,
                   ISSUER);
    stack_identity_settings(settings);
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
    rsa_key_free(&google);
    (void)unlink(google_path);
    (void)rmdir(directory);
    return stack_teardown(state);
}

/* --- what has to be there before a request --- */

static void ask(struct api *api, const char *verb, const char *path, const char *json)
{
    api_call(api, verb, path, json, json == NULL ? 0 : strlen(json));
    if (api->status < 200 || api->status > 299) {
        fail_msg("%s %s: %ld %s", verb, path, api->status, api_text(api, "code"));
    }
}

static void id_keep(struct api *api, const char *path, char out[ID_BYTES])
{
    const json_t *value = api_at(api, path);

    if (json_is_integer(value)) {
        (void)snprintf(out, ID_BYTES, "%lld", (long long)json_integer_value(value));
    } else {
        (void)snprintf(out, ID_BYTES, "%s", api_text(api, path));
    }
}

static void fresh_user(struct api *api)
{
    char name[32];

    api_close(api);
    api_open(api, stack_url());
    (void)snprintf(name, sizeof name, "persona-%u", people++);
    api_register(api, name);
    api->header = SAME_ORIGIN;
}

static void login_body(struct api *api)
{
    (void)api;
    (void)snprintf(body,
                   sizeof body,
                   "{\"email\":\"persona-%u@example.com\",\"password\":\"" PEOPLE_PASSWORD "\"}",
                   people - 1);
}

static void google_body(struct api *api)
{
    static const char header[] = "{\"alg\":\"RS256\",\"typ\":\"JWT\",\"kid\":\"g1\"}";
    const unsigned long long now_s = clock_wall_ms() / 1000;
    char claims[TEXT_BYTES];
    char token[4096];
    struct buf b = buf_over(token, sizeof token);

    (void)api;
    (void)snprintf(claims,
                   sizeof claims,
                   "{\"iss\":\"" ISSUER "\",\"aud\":\"" CLIENT "\",\"sub\":\"%u\",\"email\":"
                   "\"g%u@example.com\",\"email_verified\":true,\"name\":\"G\",\"iat\":%llu,"
                   "\"exp\":%llu}",
                   people,
                   people,
                   now_s,
                   now_s + 3600);
    rsa_key_token(google, header, claims, &b);
    assert_true(buf_terminate(&b));
    (void)snprintf(body, sizeof body, "{\"credential\":\"%s\"}", token);
}

static void google_link_body(struct api *api)
{
    google_body(api);
    body[strlen(body) - 1] = '\0';
    (void)snprintf(
        body + strlen(body), sizeof body - strlen(body), ",\"password\":\"" PEOPLE_PASSWORD "\"}");
}

static void mfa_pending(struct api *api)
{
    char code[MFA_CODE_BYTES];

    ask(api, "POST", "/api/auth/mfa/enroll", "{\"password\":\"" PEOPLE_PASSWORD "\"}");
    mfa_code(api_text(api, "secret"), 0, code);
    (void)snprintf(body, sizeof body, "{\"code\":\"%s\"}", code);
}

static void mfa_enabled(struct api *api)
{
    mfa_pending(api);
    ask(api, "POST", "/api/auth/mfa/verify", body);
    (void)snprintf(body,
                   sizeof body,
                   "{\"password\":\"" PEOPLE_PASSWORD "\",\"code\":\"%s\"}",
                   api_text(api, "recovery_codes.0"));
}

static void other_session(struct api *api)
{
    struct api other;

    login_body(api);
    api_open(&other, stack_url());
    ask(&other, "POST", "/api/auth/login", body);
    api_close(&other);
    body[0] = '\0';
    ask(api, "GET", "/api/auth/sessions", NULL);
    id_keep(api,
            json_is_true(api_at(api, "sessions.0.current")) ? "sessions.1.id" : "sessions.0.id",
            first);
}

static void api_key(struct api *api)
{
    ask(api, "POST", "/api/api-keys", "{\"name\":\"k\",\"scopes\":[\"books:read\"]}");
    id_keep(api, "api_key.id", first);
}

static void grant(struct api *api)
{
    ask(api, "POST", "/api/access-grants", "{\"email\":\"c@example.com\",\"access\":\"read\"}");
    id_keep(api, "id", first);
}

static void victim(struct api *api)
{
    (void)api;
    fresh_user(&fresh);
    people_id(&fresh, first);
}

static void victim_with_mfa(struct api *api)
{
    victim(api);
    mfa_enabled(&fresh);
    body[0] = '\0';
}

static void google_linked(struct api *api)
{
    google_link_body(api);
    ask(api, "POST", "/api/auth/google/link", body);
    body[0] = '\0';
}

static void program(struct api *api)
{
    victim(api);
    people_give_role(&admin, first, "service");
}

static void program_with_key(struct api *api)
{
    char path[TEXT_BYTES];

    program(api);
    (void)snprintf(path, sizeof path, "/api/admin/users/%s/api-keys", first);
    ask(api, "POST", path, "{\"name\":\"n8n\",\"scopes\":[\"books:read\"]}");
    id_keep(api, "api_key.id", second);
}

/* Errors are stored a moment later. */
static void reported_error(struct api *api)
{
    const uint64_t end = clock_mono_ms() + REPORTED_MS;

    ask(&fresh, "POST", "/api/errors", "{\"message\":\"x is undefined\"}");
    do {
        if (clock_mono_ms() > end) {
            fail_msg("the error was not stored within %d ms", REPORTED_MS);
        }
        ask(api, "GET", "/api/errors?limit=1", NULL);
    } while (json_array_size(api_at(api, "errors")) == 0);
    id_keep(api, "errors.0.id", first);
}

static void account(struct api *api)
{
    ask(api, "POST", "/api/accounts", "{\"name\":\"Caja\",\"type\":\"cash\",\"balance\":5}");
    id_keep(api, "id", first);
}

static void stated_balance(struct api *api)
{
    char path[TEXT_BYTES];

    account(api);
    (void)snprintf(path, sizeof path, "/api/accounts/%s/initial-balances", first);
    ask(api, "POST", path, "{\"balance_date\":\"2024-01-01\",\"initial_balance\":10}");
    id_keep(api, "id", second);
}

static void category(struct api *api)
{
    ask(api, "POST", "/api/categories", "{\"name\":\"Renta\"}");
    id_keep(api, "id", first);
}

#define TRANSACTION                                                                          \
    "{\"date\":\"2024-03-10\",\"description\":\"Prueba\",\"amount\":1.5,\"type\":\"gasto\"," \
    "\"category\":\"personal\"}"

static void transaction(struct api *api)
{
    ask(api, "POST", "/api/transactions", TRANSACTION);
    id_keep(api, "data.id", first);
}

static void transaction_gone(struct api *api)
{
    char path[TEXT_BYTES];

    transaction(api);
    (void)snprintf(path, sizeof path, "/api/transactions/%s?confirm=true", first);
    ask(api, "DELETE", path, NULL);
}

static void bulk_body(struct api *api)
{
    transaction(api);
    (void)snprintf(body, sizeof body, "{\"updates\":[{\"id\":%s,\"notes\":\"x\"}]}", first);
}

#define IMPORT                                                                              \
    "{\"transactions\":[{\"date\":\"2024-05-01\",\"description\":\"Del banco\",\"amount\":" \
    "3.5,\"type\":\"gasto\"}]}"

static void import(struct api *api)
{
    ask(api, "POST", "/api/import/confirm", IMPORT);
    id_keep(api, "importId", first);
}

/* --- one good request for each unsafe route --- */

struct valid {
    const char *verb;
    const char *path; /* as declared; "?..." behind it is sent too */
    enum who who;
    void (*prepare)(struct api *api); /* or NULL */
    const char *json;                 /* NULL: what `prepare` left, or none */
};

/* clang-format off */
static const struct valid valid[] = {
    {"POST",   "/api/auth/register", NOBODY, NULL, "{\"email\":\"nueva@example.com\",\"password\":\"" PEOPLE_PASSWORD "\",\"name\":\"N\"}"},
    {"POST",   "/api/auth/login", NOBODY, login_body, NULL},
    {"POST",   "/api/auth/google", NOBODY, google_body, NULL},
    {"POST",   "/api/auth/google/link", FRESH, google_link_body, NULL},
    {"DELETE", "/api/auth/google/link", FRESH, google_linked, NULL},
    {"POST",   "/api/auth/refresh", FRESH, NULL, "{}"},
    {"POST",   "/api/auth/logout", FRESH, NULL, "{}"},
    {"POST",   "/api/auth/reauthenticate", FRESH, NULL, "{\"password\":\"" PEOPLE_PASSWORD "\"}"},
    {"POST",   "/api/auth/mfa/enroll", FRESH, NULL, "{\"password\":\"" PEOPLE_PASSWORD "\"}"},
    {"POST",   "/api/auth/mfa/verify", FRESH, mfa_pending, NULL},
    {"POST",   "/api/auth/mfa/disable", FRESH, mfa_enabled, NULL},
    {"POST",   "/api/auth/mfa/recovery-codes", FRESH, mfa_enabled, NULL},
    {"DELETE", "/api/auth/sessions/{id}", FRESH, other_session, NULL},
    {"POST",   "/api/auth/sessions/end-others", FRESH, NULL, "{}"},
    {"PUT",    "/api/user-profile", FRESH, NULL, "{\"name\":\"Otra\"}"},
    {"POST",   "/api/user-profile/change-password", FRESH, NULL, "{\"currentPassword\":\"" PEOPLE_PASSWORD "\",\"newPassword\":\"Otra clave larga 8\"}"},
    {"PUT",    "/api/settings", FRESH, NULL, "{\"settings\":{\"theme\":\"dark\"}}"},
    {"POST",   "/api/settings/reset", FRESH, NULL, "{}"},
    {"POST",   "/api/api-keys", FRESH, NULL, "{\"name\":\"k\",\"scopes\":[\"books:read\"]}"},
    {"POST",   "/api/api-keys/{id}/rotate", FRESH, api_key, "{}"},
    {"DELETE", "/api/api-keys/{id}", FRESH, api_key, NULL},
    {"POST",   "/api/access-grants", FRESH, NULL, "{\"email\":\"c@example.com\",\"access\":\"read\"}"},
    {"DELETE", "/api/access-grants/{id}", FRESH, grant, NULL},
    {"PUT",    "/api/admin/users/{id}", ADMIN, victim, "{\"name\":\"Otra\"}"},
    {"DELETE", "/api/admin/users/{id}", ADMIN, victim, NULL},
    {"POST",   "/api/admin/users/{id}/api-keys", ADMIN, program, "{\"name\":\"n8n\",\"scopes\":[\"books:read\"]}"},
    {"DELETE", "/api/admin/users/{id}/api-keys/{key}", ADMIN, program_with_key, NULL},
    {"PATCH",  "/api/errors/{id}", ADMIN, reported_error, "{\"state\":\"ignored\"}"},
    {"DELETE", "/api/admin/users/{id}/sessions", ADMIN, victim, NULL},
    {"POST",   "/api/admin/signing-keys/rotate", ADMIN, NULL, "{}"},
    {"DELETE", "/api/admin/users/{id}/mfa", ADMIN, victim_with_mfa, NULL},
    {"POST",   "/api/accounts", FRESH, NULL, "{\"name\":\"Caja\",\"type\":\"cash\"}"},
    {"PUT",    "/api/accounts/{id}", FRESH, account, "{\"name\":\"Banco\"}"},
    {"DELETE", "/api/accounts/{id}", FRESH, account, NULL},
    {"POST",   "/api/accounts/{id}/initial-balances", FRESH, account, "{\"balance_date\":\"2024-01-01\",\"initial_balance\":10}"},
    {"PUT",    "/api/accounts/{id}/initial-balances/{balance_id}", FRESH, stated_balance, "{\"initial_balance\":20}"},
    {"DELETE", "/api/accounts/{id}/initial-balances/{balance_id}", FRESH, stated_balance, NULL},
    {"POST",   "/api/categories", FRESH, NULL, "{\"name\":\"Renta\"}"},
    {"PUT",    "/api/categories/{id}", FRESH, category, "{\"name\":\"Otra\"}"},
    {"DELETE", "/api/categories/{id}", FRESH, category, NULL},
    {"POST",   "/api/transactions", FRESH, NULL, TRANSACTION},
    {"PUT",    "/api/transactions/{id}", FRESH, transaction, "{\"notes\":\"x\"}"},
    {"PATCH",  "/api/transactions/{id}", FRESH, transaction, "{\"notes\":\"x\"}"},
    {"DELETE", "/api/transactions/{id}?confirm=true", FRESH, transaction, NULL},
    {"POST",   "/api/transactions/{id}/restore", FRESH, transaction_gone, "{}"},
    {"POST",   "/api/transactions/bulk-update", FRESH, bulk_body, NULL},
    {"POST",   "/api/webhooks/n8n/classify", FRESH, bulk_body, NULL},
    {"POST",   "/api/import/csv", FRESH, NULL, "{\"csvContent\":\"Fecha,Concepto,Cargo,Abono,Saldo\\n01/02/2024,Pago,10.00,,90.00\\n\"}"},
    {"POST",   "/api/import/confirm", FRESH, NULL, IMPORT},
    {"POST",   "/api/webhooks/n8n/import-csv", FRESH, NULL, IMPORT},
    {"DELETE", "/api/import/history/{id}", FRESH, import, NULL},
    {"POST",   "/api/audit-log", FRESH, NULL, "{\"action_type\":\"view\",\"entity_type\":\"page\"}"},
    {"POST",   "/api/audit-trail", FRESH, NULL, "{\"action_type\":\"read\",\"entity_type\":\"document\"}"},
};
/* clang-format on */

static const struct valid *valid_of(const struct api_route *route)
{
    for (size_t i = 0; i < ARRAY_LEN(valid); i++) {
        if (strcmp(valid[i].verb, route->verb) == 0 &&
            strcspn(valid[i].path, "?") == strlen(route->path) &&
            strncmp(valid[i].path, route->path, strlen(route->path)) == 0) {
            return &valid[i];
        }
    }
    return NULL;
}

static bool is_unsafe(const struct api_route *route)
{
    assert_true(strcmp(route->verb, "GET") != 0 || !api_methods[route->method].writes);
    /* A report of an error changes nothing of anybody's: it is in the error log. */
    return strcmp(route->verb, "GET") != 0 && strcmp(route->path, "/api/errors") != 0;
}

/* --- requests --- */

static void path_fill(const char *pattern, char out[TEXT_BYTES])
{
    struct buf b = buf_over(out, TEXT_BYTES);
    unsigned parameter = 0;

    for (const char *c = pattern; *c != '\0'; c++) {
        if (*c == '{') {
            buf_text(&b, parameter++ == 0 ? first : second);
            c += strcspn(c, "}");
        } else {
            buf_char(&b, *c);
        }
    }
    assert_true(buf_terminate(&b));
}

static void request_make(const struct api_route *route, const struct valid *v)
{
    struct api *api = v->who == ADMIN ? &admin : &fresh;
    const char *json = v->json;
    char path[TEXT_BYTES];

    body[0] = '\0';
    first[0] = '\0';
    fresh_user(&fresh);
    if (v->prepare != NULL) {
        v->prepare(api);
    }
    if (v->who == NOBODY) {
        api->token[0] = '\0';
        api_forget_cookies(api);
    }
    json = json == NULL && body[0] != '\0' ? body : json;
    path_fill(v->path, path);
    ask(api, v->verb, path, json);
    audited_keep(api, &api_methods[route->method], false);
}

static void each_unsafe_route_has_a_good_request(void **state)
{
    size_t missing = 0;
    size_t made = 0;

    (void)state;
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        const struct valid *v = valid_of(&api_routes[i]);

        if (!is_unsafe(&api_routes[i])) {
            continue;
        }
        if (v == NULL) {
            missing++;
            print_error("no request for %s %s\n", api_routes[i].verb, api_routes[i].path);
            continue;
        }
        request_make(&api_routes[i], v);
        made++;
    }
    print_message("  %zu routes\n", made);
    assert_int_equal(missing, 0);
    assert_int_equal(made, ARRAY_LEN(valid)); /* and no request for what is no route */
}

static void each_request_has_its_records(void **state)
{
    (void)state;
    audited_check();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_unsafe_route_has_a_good_request),
        cmocka_unit_test(each_request_has_its_records),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
