/* A gateway behind proxies: the client's address counts, in the records, for the keys and for the
 * lock, and only the named proxies are believed. 127.0.0.1 is one of them, 127.0.0.2 is not. */
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/str.h"

#include <curl/curl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#define ADDRESS_FAILURES_MAX 3
#define STRANGER             "127.0.0.2"

static struct api ana;

static int setup(void **state)
{
    stack_gateway_settings("AVANTA_TRUSTED_PROXIES=127.0.0.1,10.0.0.0/8,2001:db8:f::/48");
    stack_identity_settings("AVANTA_ADDRESS_FAILURES_MAX=3");
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

static long login(struct api *api, const char *headers, const char *email, const char *password)
{
    api->header = headers;
    return api_send(api,
                    "POST",
                    "/api/auth/login",
                    json_pack("{s:s,s:s}", "email", email, "password", password));
}

/* The address that a log-in from there left in the list of sessions. */
static void expect_recorded(const char *from, const char *headers, const char *wanted)
{
    struct api api;

    api_open(&api, stack_url());
    if (from != NULL) {
        (void)curl_easy_setopt(api.curl, CURLOPT_INTERFACE, from);
    }
    assert_int_equal(login(&api, headers, "ana@example.com", PEOPLE_PASSWORD), 200);
    (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
    api.header = NULL;
    assert_int_equal(api_get(&api, "/api/auth/sessions"), 200);
    for (size_t i = 0; i < json_array_size(api_at(&api, "sessions")); i++) {
        const json_t *session = json_array_get(api_at(&api, "sessions"), i);

        if (json_is_true(json_object_get(session, "current"))) {
            assert_string_equal(json_string_value(json_object_get(session, "ip_address")), wanted);
            api_close(&api);
            return;
        }
    }
    fail_msg("no current session");
}

static void records_have_the_clients_address(void **state)
{
    (void)state;
    expect_recorded(NULL, NULL, "127.0.0.1");
    expect_recorded(NULL, "X-Forwarded-For: 203.0.113.7", "203.0.113.7");
    expect_recorded(NULL, "X-Forwarded-For: 2001:DB8:0:0::7", "2001:db8::7");
    /* What the client wrote itself is left of what the first proxy added. */
    expect_recorded(NULL, "X-Forwarded-For: 198.51.100.1, 203.0.113.8", "203.0.113.8");
    expect_recorded(NULL,
                    "X-Forwarded-For: 198.51.100.1, 203.0.113.9\n"
                    "X-Forwarded-For: 10.1.1.1\nx-forwarded-for: 2001:db8:f::2",
                    "203.0.113.9");
    expect_recorded(NULL, "X-Forwarded-For: 203.0.113.7, nobody, 10.1.1.1", "10.1.1.1");
}

static void a_stranger_is_not_believed(void **state)
{
    (void)state;
    expect_recorded(STRANGER, "X-Forwarded-For: 203.0.113.7", STRANGER);
    expect_recorded(STRANGER, "X-Forwarded-For: 203.0.113.7, 127.0.0.1", STRANGER);
}

/* One client behind the proxy does not lock out another, nor does it get away. */
static void the_lock_is_the_clients_own(void **state)
{
    static const char *const spoofed[] = {
        "X-Forwarded-For: 198.51.100.1, 192.0.2.66",
        "X-Forwarded-For: 198.51.100.2, 192.0.2.66, 10.0.0.2",
        "X-Forwarded-For: 192.0.2.66",
    };
    char email[64];
    struct api api;

    (void)state;
    api_open(&api, stack_url());
    for (size_t i = 0; i < ADDRESS_FAILURES_MAX; i++) {
        (void)snprintf(email, sizeof email, "nadie-%zu@example.com", i);
        assert_int_equal(login(&api, spoofed[i], email, "wrong"), 401);
    }
    assert_int_equal(login(&api, spoofed[2], "ana@example.com", PEOPLE_PASSWORD), 429);
    assert_int_equal(login(&api, "X-Forwarded-For: 192.0.2.67", "ana@example.com", PEOPLE_PASSWORD),
                     200);
    assert_int_equal(login(&api, NULL, "ana@example.com", PEOPLE_PASSWORD), 200);
    api_close(&api);
}

static void a_key_is_good_from_the_clients_network(void **state)
{
    struct api program;
    char key[256];
    char lines[512];

    (void)state;
    assert_int_equal(api_send(&ana,
                              "POST",
                              "/api/api-keys",
                              json_pack("{s:s,s:[s],s:[s]}",
                                        "name",
                                        "office",
                                        "scopes",
                                        "books:read",
                                        "allowed_ips",
                                        "203.0.113.0/24")),
                     201);
    (void)snprintf(key, sizeof key, "X-API-Key: %s", api_text(&ana, "key"));
    api_open(&program, stack_url());
    program.header = key;
    assert_int_equal(api_get(&program, "/api/accounts"), 403);
    program.header = lines;
    (void)snprintf(lines, sizeof lines, "%s\nX-Forwarded-For: 203.0.113.7", key);
    assert_int_equal(api_get(&program, "/api/accounts"), 200);
    (void)snprintf(lines, sizeof lines, "%s\nX-Forwarded-For: 203.0.113.7, 192.0.2.1", key);
    assert_int_equal(api_get(&program, "/api/accounts"), 403);
    (void)curl_easy_setopt(program.curl, CURLOPT_INTERFACE, STRANGER);
    (void)curl_easy_setopt(program.curl, CURLOPT_FRESH_CONNECT, 1L);
    (void)snprintf(lines, sizeof lines, "%s\nX-Forwarded-For: 203.0.113.7", key);
    assert_int_equal(api_get(&program, "/api/accounts"), 403);
    api_close(&program);
}

static void cookies_are_secure_when_the_proxy_says_tls(void **state)
{
    static const struct {
        const char *from;
        const char *headers;
        bool secure;
    } cases[] = {
        {NULL,     "X-Forwarded-Proto: https",                          true },
        {NULL,     "X-Forwarded-Proto: http",                           false},
        {NULL,     "X-Forwarded-Proto: https\nX-Forwarded-Proto: http", false},
        {NULL,     NULL,                                                false},
        {STRANGER, "X-Forwarded-Proto: https",                          false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct api api;

        api_open(&api, stack_url());
        if (cases[i].from != NULL) {
            (void)curl_easy_setopt(api.curl, CURLOPT_INTERFACE, cases[i].from);
        }
        assert_int_equal(login(&api, cases[i].headers, "ana@example.com", PEOPLE_PASSWORD), 200);
        assert_non_null(strstr(api.headers, "Set-Cookie: avanta_session="));
        if ((strstr(api.headers, "; Secure") != NULL) != cases[i].secure) {
            fail_msg("case %zu: %s", i, api.headers);
        }
        api_close(&api);
    }
}

/* The exit status of a gateway that shows its settings. */
static int status_with(const char *proxies)
{
    static const char *const required[] = {"AVANTA_NATS_PASSWORD",
                                           "AVANTA_ENVELOPE_KEY_IDENTITY",
                                           "AVANTA_ENVELOPE_KEY_LEDGER",
                                           "AVANTA_ENVELOPE_KEY_AUDIT_LOG"};
    char texts[ARRAY_LEN(required) + 1][256];
    char *environment[ARRAY_LEN(required) + 2] = {NULL};
    char path[512];
    char *argv[] = {path, (char *)(uintptr_t) "--print-config", NULL};
    pid_t pid = 0;
    int status = 0;

    for (size_t i = 0; i < ARRAY_LEN(required); i++) {
        (void)snprintf(texts[i], sizeof texts[i], "%s=%064d", required[i], 1);
        environment[i] = texts[i];
    }
    (void)snprintf(texts[ARRAY_LEN(required)], 256, "AVANTA_TRUSTED_PROXIES=%s", proxies);
    environment[ARRAY_LEN(required)] = texts[ARRAY_LEN(required)];
    (void)snprintf(path, sizeof path, "%s/bin/gateway", getenv("AVANTA_BUILD"));
    assert_int_equal(posix_spawn(&pid, path, NULL, NULL, argv, environment), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void a_wrong_list_stops_the_start(void **state)
{
    (void)state;
    assert_int_equal(status_with("10.0.0.0/8, ::1"), 0);
    assert_int_equal(status_with("10.0.0.1/8"), 2);
    assert_int_equal(status_with("localhost"), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_have_the_clients_address),
        cmocka_unit_test(a_stranger_is_not_believed),
        cmocka_unit_test(the_lock_is_the_clients_own),
        cmocka_unit_test(a_key_is_good_from_the_clients_network),
        cmocka_unit_test(cookies_are_secure_when_the_proxy_says_tls),
        cmocka_unit_test(a_wrong_list_stops_the_start),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
