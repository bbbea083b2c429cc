/* The logs of a whole stack at their loudest: each request has its line in every program, and
 * nothing that people keep for themselves is in any of them. */
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define LOUD     "AVANTA_LOG_LEVEL=debug AVANTA_LOG_SLOW_MS=1"
#define WAIT_MS  10000
#define EMAIL    "fulana.hush@example.com"
#define PASSWORD "Muy secreta clave 77"
#define WRONG    "Equivocada clave 88"
#define NAME     "Fulana Hush de Tal"
#define QUERY    "hushhush"
#define SECRETS  16
#define ID_BYTES 64

static struct api ana;
static char secrets[SECRETS][512];
static size_t secret_count;

static void keep_secret(const char *text)
{
    assert_true(secret_count < SECRETS);
    assert_true(strlen(text) > 5);
    (void)snprintf(secrets[secret_count++], sizeof secrets[0], "%s", text);
}

/* The value of a cookie of the last answer. */
static void keep_cookie(struct api *api)
{
    const char *at = strstr(api->headers, "Set-Cookie: ");
    char value[512];

    assert_non_null(at);
    at = strchr(at, '=');
    assert_non_null(at);
    (void)snprintf(value, sizeof value, "%.*s", (int)strcspn(at + 1, ";\r\n"), at + 1);
    keep_secret(value);
}

static void request_id(const struct api *api, char out[ID_BYTES])
{
    const char *at = strstr(api->headers, "X-Request-Id: ");

    assert_non_null(at);
    at += strlen("X-Request-Id: ");
    (void)snprintf(out, ID_BYTES, "%.*s", (int)strcspn(at, "\r\n"), at);
}

static int setup(void **state)
{
    stack_gateway_settings(LOUD);
    stack_ledger_settings(LOUD);
    stack_identity_settings(LOUD " AVANTA_LOG_FORMAT=json");
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&ana, stack_url());
    return 0;
}

static int teardown(void **state)
{
    api_close(&ana);
    return stack_teardown(state);
}

static void log_in(const char *email, const char *password, long status)
{
    ana.token[0] = '\0';
    api_send(&ana,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", email, "password", password));
    assert_int_equal(ana.status, status);
}

static void with_header(const char *name, const char *value, long status)
{
    struct api program;

    people_with_header(&program, stack_url(), name, value);
    assert_int_equal(api_get(&program, "/api/accounts"), status);
    api_close(&program);
}

static void wait_logged(const char *program, const char *text)
{
    const uint64_t end = clock_mono_ms() + WAIT_MS;

    while (!stack_logged(program, text)) {
        if (clock_mono_ms() > end) {
            fail_msg("%s does not log %s", program, text);
        }
        (void)usleep(20000);
    }
}

/* Registration, log-ins, tokens, keys and their failures. */
static void secrets_are_used(void)
{
    keep_secret(EMAIL);
    keep_secret("fulana.hush");
    keep_secret(PASSWORD);
    keep_secret(WRONG);
    keep_secret(NAME);
    keep_secret(QUERY);
    api_send(&ana,
             "POST",
             "/api/auth/register",
             json_pack("{s:s,s:s,s:s}", "email", EMAIL, "password", PASSWORD, "name", NAME));
    assert_int_equal(ana.status, 200);
    log_in(EMAIL, WRONG, 401);
    log_in(EMAIL, PASSWORD, 200);
    keep_cookie(&ana);
    (void)snprintf(ana.token, sizeof ana.token, "%s", api_text(&ana, "token"));
    keep_secret(ana.token);
    assert_int_equal(api_send(&ana,
                              "POST",
                              "/api/api-keys",
                              json_pack("{s:s,s:[s]}", "name", NAME, "scopes", "books:read")),
                     201);
    keep_secret(api_text(&ana, "key"));
    keep_secret(stack_value("AVANTA_ADMIN_EMAIL"));
    keep_secret(stack_value("AVANTA_ADMIN_PASSWORD"));
}

static void nothing_private_is_logged(void **state)
{
    char key[512];
    char bad[512];
    char id[ID_BYTES];

    (void)state;
    secrets_are_used();
    (void)snprintf(key, sizeof key, "%s", secrets[secret_count - 3]);
    with_header("X-API-Key", key, 200);
    (void)snprintf(bad, sizeof bad, "%s", key);
    bad[20] = bad[20] == 'a' ? 'b' : 'a';
    keep_secret(bad);
    with_header("X-API-Key", bad, 401);
    (void)snprintf(bad, sizeof bad, "Bearer %s", QUERY);
    with_header("Authorization", bad, 401);
    ana.unknown = true;
    (void)api_get(&ana, "/api/nothing/" QUERY "/" EMAIL "?email=" EMAIL);
    assert_int_equal(ana.status, 404);
    (void)api_get(&ana, "/api/transactions?category=" QUERY "&limit=" QUERY);
    assert_int_equal(ana.status, 400);
    (void)api_get(&ana, "/api/transactions?search=" QUERY);
    assert_int_equal(ana.status, 200);
    request_id(&ana, id);
    wait_logged("gateway", id);
    wait_logged("ledger", id);
    for (size_t i = 0; i < secret_count; i++) {
        assert_row(i, !stack_logged_anywhere(secrets[i]));
    }
    assert_false(stack_logged_anywhere("client=127.0.0.1"));
}

/* One request in every program that had to do with it. */
static void a_request_can_be_followed(void **state)
{
    char id[ID_BYTES];
    char line[256];

    (void)state;
    assert_int_equal(api_get(&ana, "/api/accounts"), 200);
    request_id(&ana, id);
    (void)snprintf(line, sizeof line, "event=request request_id=%s trace=", id);
    wait_logged("gateway", line);
    wait_logged("ledger", line);
    log_in(EMAIL, PASSWORD, 200);
    request_id(&ana, id);
    (void)snprintf(line, sizeof line, "\"event\":\"request\",\"request_id\":\"%s\",\"trace\":", id);
    wait_logged("identity", line);
    assert_true(stack_logged("gateway",
                             "route=/api/auth/login status=200 code=OK user=- client=127.0.0.0 "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_private_is_logged),
        cmocka_unit_test(a_request_can_be_followed),
    };

    return cmocka_run_group_tests_name("logs", tests, setup, teardown);
}
