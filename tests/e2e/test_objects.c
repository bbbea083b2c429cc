/* Objects of one user and the requests of another: every route with an id of theirs. They are not
 * there, and stay as they are. */
#include "api.gen.h"
#include "tests/support/people.h"
#include "tests/support/stack.h"

#include "libcommon/base/buf.h"

#include <stdio.h>
#include <string.h>

#define TEXT_BYTES 512

static struct api ana;
static struct api bob;
static size_t cases;

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&ana, stack_url());
    api_register(&ana, "ana");
    api_open(&bob, stack_url());
    api_register(&bob, "bob");
    return 0;
}

static int teardown(void **state)
{
    api_close(&ana);
    api_close(&bob);
    return stack_teardown(state);
}

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

static bool has_body(const char *verb)
{
    return strcmp(verb, "GET") != 0 && strcmp(verb, "DELETE") != 0;
}

/* --- objects of another user --- */

struct object {
    const char *prefix; /* of routes whose {id} is one */
    const char *make;   /* path that made it */
    const char *body;
    const char *id_path; /* into the answer */
    char id[64];
};

static struct object objects[] = {
    {"/api/accounts/",      "/api/accounts",   "{\"name\":\"Caja\",\"type\":\"cash\"}",                                                                                 "id", ""},
    {"/api/categories/",    "/api/categories", "{\"name\":\"Comida\"}",                                                                                                 "id", ""},
    {"/api/transactions/",
     "/api/transactions",                      "{\"date\":\"2026-11-20\",\"description\":\"Renta\",\"amount\":\"10.50\",\"type\":\"gasto\",\"category\":\"personal\"}",
     "data.id",                                                                                                                                                               ""},
    {"/api/access-grants/",
     "/api/access-grants",                     "{\"email\":\"fay@example.com\",\"access\":\"read\"}",
     "id",                                                                                                                                                                    ""},
    {"/api/api-keys/",
     "/api/api-keys",                          "{\"name\":\"k\",\"scopes\":[\"books:read\"]}",
     "api_key.id",                                                                                                                                                            ""},
};

/* Ana makes one of each. */
static void objects_make(void)
{
    for (size_t i = 0; i < ARRAY_LEN(objects); i++) {
        struct object *object = &objects[i];
        json_t *id = NULL;

        api_call(&ana, "POST", object->make, object->body, strlen(object->body));
        if (ana.status != 201) {
            fail_msg("POST %s: %ld", object->make, ana.status);
        }
        id = api_at(&ana, object->id_path);
        if (json_is_integer(id)) {
            (void)snprintf(
                object->id, sizeof object->id, "%lld", (long long)json_integer_value(id));
        } else {
            (void)snprintf(object->id, sizeof object->id, "%s", json_string_value(id));
        }
    }
}

/* Bob asks for it; a list under somebody's id is empty for others. */
static void ask(const struct api_route *route, const struct object *object, const char *body)
{
    char path[TEXT_BYTES];

    path_fill(route->path, object->id, path);
    api_call(&bob,
             route->verb,
             path,
             has_body(route->verb) ? body : NULL,
             has_body(route->verb) ? strlen(body) : 0);
    cases++;
    if (bob.status < 300 && (strcmp(route->verb, "GET") != 0 || !json_is_array(bob.body) ||
                             json_array_size(bob.body) > 0)) {
        fail_msg("%s %s as another user: %ld", route->verb, path, bob.status);
    }
    if (bob.status >= 500) {
        fail_msg("%s %s: %ld", route->verb, path, bob.status);
    }
}

static void other_peoples_objects_are_not_there(void **state)
{
    static const char *const bodies[] = {
        "{}", "{\"name\":\"Taken\",\"description\":\"Taken\",\"type\":\"cash\"}"};

    (void)state;
    objects_make();
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        for (size_t k = 0; k < ARRAY_LEN(objects); k++) {
            const char *prefix = objects[k].prefix;

            if (strncmp(api_routes[i].path, prefix, strlen(prefix)) == 0 &&
                strchr(api_routes[i].path, '{') != NULL) {
                ask(&api_routes[i], &objects[k], bodies[0]);
                ask(&api_routes[i], &objects[k], bodies[1]);
            }
        }
    }
    print_message("  %zu cases\n", cases);
    assert_true(cases >= 20);
}

static void they_are_as_they_were(void **state)
{
    char path[TEXT_BYTES];

    (void)state;
    assert_int_equal(api_get(&ana, "/api/accounts"), 200);
    assert_int_equal(json_array_size(ana.body), 1);
    assert_string_equal(json_string_value(json_object_get(json_array_get(ana.body, 0), "name")),
                        "Caja");
    assert_int_equal(api_get(&ana, "/api/categories"), 200);
    assert_string_equal(json_string_value(json_object_get(json_array_get(ana.body, 0), "name")),
                        "Comida");
    path_fill("/api/transactions/{id}", objects[2].id, path);
    assert_int_equal(api_get(&ana, path), 200);
    assert_string_equal(api_text(&ana, "description"), "Renta");
    assert_true(json_is_null(api_at(&ana, "deleted_at")));
    assert_int_equal(api_get(&ana, "/api/api-keys"), 200);
    assert_int_equal(json_array_size(api_at(&ana, "api_keys")), 1);
    assert_int_equal(api_get(&ana, "/api/access-grants"), 200);
    assert_int_equal(json_array_size(api_at(&ana, "granted")), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(other_peoples_objects_are_not_there),
        cmocka_unit_test(they_are_as_they_were),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
