#include "api.gen.h"
#include "gateway/route.h"
#include "tests/support/check.h"

static const struct api_method methods[] = {
    {.name = "List"},
    {.name = "Create"},
    {.name = "Get"},
    {.name = "Bulk"},
    {.name = "Deep"},
};

static const struct api_route routes[] = {
    {"GET",    "/api/things",                      0},
    {"POST",   "/api/things",                      1},
    {"GET",    "/api/things/{id}",                 2},
    {"POST",   "/api/things/bulk",                 3},
    {"DELETE", "/api/things/{id}/parts/{part_id}", 4},
    {"GET",    "/.well-known/jwks.json",           0},
};

static struct router *open_router(void)
{
    struct router *router = router_open(routes, sizeof routes / sizeof routes[0], methods);

    assert_non_null(router);
    return router;
}

static void finds_literals_and_parameters(void **state)
{
    struct router *router = open_router();
    struct route_match m;

    (void)state;
    assert_true(router_match(router, STR("GET"), STR("/api/things"), &m));
    assert_ptr_equal(m.method, &methods[0]);
    assert_int_equal(m.parameter_count, 0);
    assert_true(router_match(router, STR("DELETE"), STR("/api/things/7/parts/a%2Fb"), &m));
    assert_ptr_equal(m.method, &methods[4]);
    assert_int_equal(m.parameter_count, 2);
    assert_true(str_eq(m.parameters[0].name, STR("id")));
    assert_true(str_eq(m.parameters[0].value, STR("7")));
    assert_true(str_eq(m.parameters[1].name, STR("part_id")));
    assert_true(str_eq(m.parameters[1].value, STR("a%2Fb")));
    router_close(&router);
    assert_null(router);
}

static void literal_goes_before_parameter(void **state)
{
    struct router *router = open_router();
    struct route_match m;

    (void)state;
    assert_true(router_match(router, STR("POST"), STR("/api/things/bulk"), &m));
    assert_ptr_equal(m.method, &methods[3]);
    assert_true(router_match(router, STR("GET"), STR("/api/things/bulky"), &m));
    assert_ptr_equal(m.method, &methods[2]);
    router_close(&router);
}

static void version_prefix_is_optional(void **state)
{
    struct router *router = open_router();
    struct route_match m;

    (void)state;
    assert_true(router_match(router, STR("GET"), STR("/api/v1/things/9"), &m));
    assert_ptr_equal(m.method, &methods[2]);
    assert_false(router_match(router, STR("GET"), STR("/api/v2/things/9"), &m));
    router_close(&router);
}

static void wrong_verb_tells_the_right_ones(void **state)
{
    struct router *router = open_router();
    struct route_match m;

    (void)state;
    assert_true(router_match(router, STR("PATCH"), STR("/api/things"), &m));
    assert_null(m.method);
    assert_string_equal(m.allow, "GET, HEAD, POST, OPTIONS");
    assert_true(router_match(router, STR("HEAD"), STR("/api/things"), &m));
    assert_ptr_equal(m.method, &methods[0]);
    assert_true(router_match(router, STR("HEAD"), STR("/api/things/bulk"), &m));
    assert_null(m.method);
    router_close(&router);
}

static void unknown_paths_are_not_found(void **state)
{
    static const char *const unknown[] = {"/",
                                          "/api",
                                          "/api/",
                                          "/api/thing",
                                          "/api/things/",
                                          "//api",
                                          "/api/things//parts/1",
                                          "/api/v1",
                                          "/api/v1/",
                                          "/api/things/1/parts",
                                          "/api/things/1/parts/2/3",
                                          "/API/things"};
    struct router *router = open_router();
    struct route_match m;

    (void)state;
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        assert_false(router_match(router, STR("GET"), str_from(unknown[i]), &m));
    }
    router_close(&router);
}

/* Every declared route leads to its own method, with as many parameters as its template names. */
static void every_declared_route_matches_itself(void **state)
{
    struct router *router = router_open(api_routes, API_ROUTE_COUNT, api_methods);
    struct route_match m;

    (void)state;
    assert_non_null(router);
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        assert_true(
            router_match(router, str_from(api_routes[i].verb), str_from(api_routes[i].path), &m));
        assert_ptr_equal(m.method, &api_methods[api_routes[i].method]);
    }
    router_close(&router);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_literals_and_parameters),
        cmocka_unit_test(literal_goes_before_parameter),
        cmocka_unit_test(version_prefix_is_optional),
        cmocka_unit_test(wrong_verb_tells_the_right_ones),
        cmocka_unit_test(unknown_paths_are_not_found),
        cmocka_unit_test(every_declared_route_matches_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
