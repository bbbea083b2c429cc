/*
 * The matrix of authorisation: every route of the generated table with every kind of credential,
 * compared with the permission the route declares. A route that is added is in it; none may be
 * passed by who lacks the permission, and none may be closed to who has it.
 */
#include "api.gen.h"
#include "tests/support/people.h"
#include "tests/support/stack.h"
#include "tests/support/tokens.h"

#include "libcommon/base/id.h"
#include "libcommon/codec/access.h"

#include <stdio.h>
#include <string.h>

#define NOBODY        "00000000-0000-4000-8000-000000000000"
#define REVOKED_POLLS 1000 /* requests, until a session that was ended is known to be */
#define TEXT_BYTES    512

static struct api api;
static struct ecdsa_key *key;   /* the one that signs in this stack */
static struct ecdsa_key *other; /* one that nobody knows */
static char kid[TOKENS_KID_BYTES];
static char public_pem[TEXT_BYTES];
static char ana_id[64];   /* a user with books */
static char bob_id[64];   /* another one */
static char carla_id[64]; /* an accountant with a grant of ana's to read */
static char dora_id[64];  /* an accountant with one to write */
static char eva_id[64];   /* an accountant with none */
static char key_self[128];
static char key_all[128];
static size_t cases;
static size_t wrong;
static size_t wrong_in_all;

/* --- people --- */

static void register_user(const char *name, char out_id[64])
{
    api_close(&api);
    api_open(&api, stack_url());
    api_register(&api, name);
    (void)snprintf(out_id, 64, "%s", api_text(&api, "user.id"));
}

static void key_make(json_t *scopes, char out[128])
{
    assert_int_equal(
        api_send(
            &api, "POST", "/api/api-keys", json_pack("{s:s,s:o}", "name", "k", "scopes", scopes)),
        201);
    (void)snprintf(out, 128, "%s", api_text(&api, "key"));
}

static void grant_make(const char *email, const char *access)
{
    assert_int_equal(api_send(&api,
                              "POST",
                              "/api/access-grants",
                              json_pack("{s:s,s:s}", "email", email, "access", access)),
                     201);
}

/* The scopes that keys can have, from the table. */
static json_t *every_scope(void)
{
    json_t *scopes = json_array();

    for (int i = 0; i < API_PERMISSION_COUNT; i++) {
        if (permission_keyed((enum api_permission)i)) {
            (void)json_array_append_new(scopes,
                                        json_string(permission_name((enum api_permission)i)));
        }
    }
    return scopes;
}

static int setup(void **state)
{
    static uint8_t unknown[ECDSA_SCALAR_BYTES] = {[31] = 7};
    struct buf pem = buf_over(public_pem, sizeof public_pem);
    struct err err = {.code = OK};

    if (stack_setup(state) != 0) {
        return 1;
    }
    key = tokens_stack_key(kid);
    assert_int_equal(ecdsa_open(unknown, &other, &err), OK);
    assert_int_equal(ecdsa_public_pem(key, &pem, &err), OK);
    assert_true(buf_terminate(&pem));
    api_open(&api, stack_url());
    register_user("bob", bob_id);
    register_user("carla", carla_id);
    register_user("dora", dora_id);
    register_user("eva", eva_id);
    api_close(&api);
    people_log_in_admin(&api);
    people_give_role(&api, carla_id, "accountant");
    people_give_role(&api, dora_id, "accountant");
    people_give_role(&api, eva_id, "accountant");
    register_user("ana", ana_id);
    key_make(json_pack("[s]", "self:read"), key_self);
    key_make(every_scope(), key_all);
    grant_make("carla@example.com", "read");
    grant_make("dora@example.com", "write");
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    ecdsa_close(&key);
    ecdsa_close(&other);
    return stack_teardown(state);
}

/* --- one case --- */

struct probe {
    const char *name;
    const char *token;  /* NULL: none */
    const char *header; /* one more line, or NULL */
};

enum outcome {
    UNAUTHENTICATED,
    FORBIDDEN,
    PASSED /* whatever the operation says then */
};

static const char *const outcome_names[] = {"401", "403", "passed"};

/* Every parameter of the path stands for something that is not there. */
static void path_fill(const char *pattern, const char *id, char out[TEXT_BYTES])
{
    struct buf b = buf_over(out, TEXT_BYTES);

    for (const char *c = pattern; *c != '\0'; c++) {
        if (*c == '{') {
            buf_text(&b, id);
            c += strcspn(c, "}");
        } else {
            buf_char(&b, *c);
        }
    }
    assert_true(buf_terminate(&b));
}

/* Ids are UUIDs in identity and numbers elsewhere. */
static const char *absent_id(const struct api_method *method)
{
    return strcmp(method->service, "identity") == 0 ? NOBODY : "999999999";
}

static bool has_body(const char *verb)
{
    return strcmp(verb, "GET") != 0 && strcmp(verb, "DELETE") != 0;
}

static enum outcome ask(const struct api_route *route, const struct probe *probe)
{
    const struct api_method *method = &api_methods[route->method];
    char path[TEXT_BYTES];
    const char *code = NULL;

    path_fill(route->path, absent_id(method), path);
    (void)snprintf(api.token, sizeof api.token, "%s", probe->token == NULL ? "" : probe->token);
    api.header = probe->header;
    api_forget_cookies(&api);
    api_call(&api,
             route->verb,
             path,
             has_body(route->verb) ? "{}" : NULL,
             has_body(route->verb) ? 2 : 0);
    api.header = NULL;
    if (api.status >= 500 && api.status != 501) {
        fail_msg("%s %s as %s: %ld", route->verb, path, probe->name, api.status);
    }
    code = json_string_value(json_object_get(api.body, "code"));
    if (api.status == 401 && code != NULL && strcmp(code, "AUTH_REQUIRED") == 0) {
        return UNAUTHENTICATED;
    }
    return api.status == 403 && code != NULL && strcmp(code, "FORBIDDEN") == 0 ? FORBIDDEN : PASSED;
}

static void check(const struct api_route *route, const struct probe *probe, enum outcome wanted)
{
    enum outcome outcome = ask(route, probe);

    cases++;
    if (outcome != wanted) {
        wrong++;
        print_error("%s %s (%s) as %s: %s instead of %s\n",
                    route->verb,
                    route->path,
                    permission_name(api_methods[route->method].permission),
                    probe->name,
                    outcome_names[outcome],
                    outcome_names[wanted]);
    }
}

static void done(const char *what, size_t from)
{
    size_t found = wrong;

    print_message("  %s: %zu cases\n", what, cases - from);
    assert_true(cases > from);
    wrong_in_all += wrong;
    wrong = 0;
    assert_int_equal(found, 0);
}

static bool is_public(const struct api_route *route)
{
    return api_methods[route->method].permission == API_PUBLIC;
}

/* A good token but for what the wish says otherwise, of a session of its own. */
static struct token_wish good_token(const char *user_id, const char *role)
{
    static char session_id[UUID_TEXT_BYTES];

    uuid_v7(session_id);
    return (struct token_wish){
        .key = key,
        .kid = kid,
        .user_id = user_id,
        .role = role,
        .session_id = session_id,
        .expires_s = 600,
    };
}

/* --- credentials that are none --- */

typedef void (*spoil_fn)(struct token_wish *wish);

static void spoil_expired(struct token_wish *wish)
{
    wish->expires_s = -5;
}

static void spoil_key(struct token_wish *wish)
{
    wish->key = other;
}

static void spoil_kid(struct token_wish *wish)
{
    wish->key = other;
    wish->kid = "ffffffffffffffff";
}

static void spoil_none(struct token_wish *wish)
{
    wish->alg = "none";
    wish->key = NULL;
}

static void spoil_hmac(struct token_wish *wish)
{
    wish->alg = "HS256";
    wish->hmac = str_from(public_pem);
}

static void spoil_audience(struct token_wish *wish)
{
    wish->audience = "another-api";
}

static const struct {
    const char *name;
    spoil_fn spoil;
} spoilt[] = {
    {"expired",                   spoil_expired },
    {"wrong key",                 spoil_key     },
    {"unknown key",               spoil_kid     },
    {"alg none",                  spoil_none    },
    {"HS256 with the public key", spoil_hmac    },
    {"wrong audience",            spoil_audience},
};

static void bad_credentials_open_nothing(void **state)
{
    static const struct probe plain[] = {
        {"nobody",               NULL,    NULL                                                                     },
        {"bearer null",          "null",  NULL                                                                     },
        {"bearer of nonsense",   "a.b.c", NULL                                                                     },
        {"unknown API key",
         NULL,                            "X-API-Key: avk_000000000000_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},
        {"a cookie of nonsense", NULL,    "Cookie: avanta_session=a.b.c"                                           },
    };
    size_t from = cases;

    (void)state;
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        if (is_public(&api_routes[i])) {
            continue;
        }
        for (size_t k = 0; k < ARRAY_LEN(plain); k++) {
            check(&api_routes[i], &plain[k], UNAUTHENTICATED);
        }
        for (size_t k = 0; k < ARRAY_LEN(spoilt); k++) {
            struct token_wish wish = good_token(ana_id, "admin");

            spoilt[k].spoil(&wish);
            check(&api_routes[i],
                  &(struct probe){spoilt[k].name, token_craft(&wish), NULL},
                  UNAUTHENTICATED);
        }
    }
    done("credentials that are none", from);
}

static void a_revoked_session_opens_nothing(void **state)
{
    struct token_wish wish = good_token(ana_id, "user");
    char token[4096];
    size_t from = cases;

    (void)state;
    (void)snprintf(token, sizeof token, "%s", token_craft(&wish));
    (void)snprintf(api.token, sizeof api.token, "%s", token);
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    assert_int_equal(api_call(&api, "POST", "/api/auth/logout", "{}", 2), 200);
    for (int i = 0; i < REVOKED_POLLS && api_get(&api, "/api/auth/me") == 200; i++) {
    }
    assert_int_equal(api.status, 401);
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        if (!is_public(&api_routes[i])) {
            check(&api_routes[i], &(struct probe){"revoked session", token, NULL}, UNAUTHENTICATED);
        }
    }
    done("a revoked session", from);
}

/* --- credentials that are good --- */

static void public_routes_are_open(void **state)
{
    static const struct probe probe = {"nobody", NULL, "Sec-Fetch-Site: same-origin"};
    size_t from = cases;

    (void)state;
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        if (is_public(&api_routes[i])) {
            check(&api_routes[i], &probe, PASSED);
        }
    }
    done("public routes", from);
}

static void roles_open_what_they_have(void **state)
{
    size_t from = cases;

    (void)state;
    for (int role = 0; role <= ROLE_COUNT; role++) { /* one more: a role that does not exist */
        const char *name = role < ROLE_COUNT ? role_name((enum role)role) : "root";

        for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
            enum api_permission permission = api_methods[api_routes[i].method].permission;
            bool has =
                role < ROLE_COUNT && (permission_roles(permission) & (1U << (unsigned)role)) != 0;
            struct token_wish wish = good_token(ana_id, name);

            if (!is_public(&api_routes[i])) {
                check(&api_routes[i],
                      &(struct probe){name, token_craft(&wish), NULL},
                      has ? PASSED : FORBIDDEN);
            }
        }
    }
    done("roles", from);
}

static void keys_open_what_their_scopes_say(void **state)
{
    char self[160];
    char all[160];
    size_t from = cases;

    (void)state;
    (void)snprintf(self, sizeof self, "X-API-Key: %s", key_self);
    (void)snprintf(all, sizeof all, "X-API-Key: %s", key_all);
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        enum api_permission permission = api_methods[api_routes[i].method].permission;

        if (!is_public(&api_routes[i])) {
            check(&api_routes[i],
                  &(struct probe){"an API key without the scope", NULL, self},
                  permission == API_SELF_READ ? PASSED : FORBIDDEN);
            check(&api_routes[i],
                  &(struct probe){"an API key with every scope", NULL, all},
                  permission_keyed(permission) ? PASSED : FORBIDDEN);
        }
    }
    done("API keys", from);
}

static void grants_open_what_they_grant(void **state)
{
    const struct {
        const char *name;
        const char *id;
        const char *role;
        enum access_grant grant;
    } accountants[] = {
        {"an accountant without a grant",          eva_id,   "accountant", GRANT_NONE },
        {"an accountant with a grant to read",     carla_id, "accountant", GRANT_READ },
        {"an accountant with a grant to write",    dora_id,  "accountant", GRANT_WRITE},
        {"a user in the name of another",          bob_id,   "user",       GRANT_NONE },
        {"an administrator in the name of a user", bob_id,   "admin",      GRANT_NONE },
    };
    char header[160];
    size_t from = cases;

    (void)state;
    (void)snprintf(header, sizeof header, "X-Avanta-Account-Owner: %s", ana_id);
    for (size_t k = 0; k < ARRAY_LEN(accountants); k++) {
        for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
            enum access_grant needed =
                permission_grant(api_methods[api_routes[i].method].permission);
            struct token_wish wish = good_token(accountants[k].id, accountants[k].role);
            bool may = needed != GRANT_NEVER && accountants[k].grant >= needed;

            if (!is_public(&api_routes[i])) {
                check(&api_routes[i],
                      &(struct probe){accountants[k].name, token_craft(&wish), header},
                      may ? PASSED : FORBIDDEN);
            }
        }
    }
    done("on behalf of another user", from);
}

static void the_count_is_told(void **state)
{
    (void)state;
    print_message("  %zu cases over %d routes, %zu of them otherwise than declared\n",
                  cases,
                  API_ROUTE_COUNT,
                  wrong_in_all);
    assert_true(cases > (size_t)API_ROUTE_COUNT * 15);
    assert_int_equal(wrong_in_all, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(public_routes_are_open),
        cmocka_unit_test(bad_credentials_open_nothing),
        cmocka_unit_test(a_revoked_session_opens_nothing),
        cmocka_unit_test(roles_open_what_they_have),
        cmocka_unit_test(keys_open_what_their_scopes_say),
        cmocka_unit_test(grants_open_what_they_grant),
        cmocka_unit_test(the_count_is_told),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
