/* Exchanges against a small OpenAPI document: what the end-to-end tests rely on to be refused. */
#include "tests/support/check.h"
#include "tests/support/openapi.h"

#include "libcommon/base/attr.h"

#include <string.h>

#define PROBLEM "application/problem+json"
#define REFUSED "{\"status\":404,\"code\":\"NOT_FOUND\"}"
#define DOCUMENT                                                                                 \
    "{\"paths\":{"                                                                               \
    "\"/api/things\":{\"get\":{\"responses\":{\"200\":{\"content\":{\"application/json\":{"      \
    "\"schema\":{\"type\":\"array\",\"items\":{\"$ref\":\"#/components/schemas/Thing\"}}}}},"    \
    "\"default\":{\"$ref\":\"#/components/responses/Problem\"}}}},"                              \
    "\"/api/things/{id}\":{\"get\":{\"responses\":{\"200\":{\"content\":{\"application/json\":{" \
    "\"schema\":{\"$ref\":\"#/components/schemas/Thing\"}}}}}},"                                 \
    "\"delete\":{\"responses\":{\"204\":{}}}},"                                                  \
    "\"/api/things/new\":{\"get\":{\"responses\":{\"200\":{\"content\":{\"text/csv\":{"          \
    "\"schema\":{\"type\":\"string\"}}}}}}}},"                                                   \
    "\"components\":{\"schemas\":{"                                                              \
    "\"Thing\":{\"type\":\"object\",\"required\":[\"id\"]},"                                     \
    "\"Problem\":{\"type\":\"object\",\"required\":[\"status\",\"code\"]}},"                     \
    "\"responses\":{\"Problem\":{\"content\":{\"application/problem+json\":{"                    \
    "\"schema\":{\"$ref\":\"#/components/schemas/Problem\"}}}}}}}"

static json_t *document;

static int setup(void **state)
{
    (void)state;
    document = json_loads(DOCUMENT, 0, NULL);
    return document == NULL ? 1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    json_decref(document);
    return 0;
}

static const struct {
    const char *verb;
    const char *path;
    long status;
    const char *media_type;
    const char *body;
    bool unknown;
    const char *why; /* a part of it; NULL: as documented */
} rows[] = {
    {"GET",
     "/api/things?x=/1",           200,
     "application/json; charset=utf-8",                     "[{\"id\":1}]",
     false,                                                                                 NULL                 },
    {"GET",    "/api/v1/things",   200, "application/json", "[]",                    false, NULL                 },
    {"GET",    "/api/v1/things/7", 200, "application/json", "{\"id\":1}",            false, NULL                 },
    {"HEAD",   "/api/things",      200, "application/json", "",                      false, NULL                 },
    {"DELETE", "/api/things/7",    204, NULL,               "",                      false, NULL                 },
    {"GET",    "/api/things",      404, PROBLEM,            REFUSED,                 false, NULL                 },
    {"GET",    "/api/nothing",     404, PROBLEM,            REFUSED,                 true,  NULL                 },
    {"GET",    "/api/things",      200, "application/json", "[{\"id\":1},{}]",       false, "$.1: id is missing" },
    {"GET",    "/api/things",      200, "application/json", "[",                     false, "no JSON"            },
    {"GET",    "/api/things",      200, "application/json", "[{\"id\":1,\"id\":2}]", false, "no JSON"            },
    {"GET",    "/api/things",      201, "application/json", "[]",                    false, "status"             },
    {"GET",    "/api/things",      302, "application/json", "[]",                    false, "status"             },
    {"GET",    "/api/things",      200, "text/html",        "[]",                    false, "media type"         },
    {"GET",    "/api/things",      200, NULL,               "[]",                    false, "media type"         },
    {"GET",    "/api/things",      404, "application/json", REFUSED,                 false, "media type"         },
    {"GET",    "/api/things",      404, PROBLEM,            "{\"status\":404}",      false, "code is missing"    },
    {"GET",    "/api/things",      409, PROBLEM,            REFUSED,                 false, "another status"     },
    {"HEAD",   "/api/things",      200, "application/json", "[]",                    false, "after HEAD"         },
    {"DELETE", "/api/things/7",    204, NULL,               "x",                     false, "a body"             },
    {"GET",
     "/api/things/new",            200,
     "application/json",                                    "{\"id\":1}",
     false,                                                                                 "media type"         }, /* not {id} */
    {"GET",    "/api/things/7",    404, PROBLEM,            REFUSED,                 false, "status"             },
    {"GET",    "/api/things/",     200, "application/json", "{\"id\":1}",            false, "not in the document"},
    {"GET",    "/api/things/7/x",  200, "application/json", "{\"id\":1}",            false, "not in the document"},
    {"PATCH",  "/api/things",      405, PROBLEM,            REFUSED,                 false, "not in the document"},
    {"GET",    "/api/nothing",     200, "application/json", "{}",                    true,  "not refused"        },
    {"GET",    "/api/nothing",     404, PROBLEM,            "{}",                    true,  "missing"            },
    {"GET",    "/api/things",      200, "application/json", "[]",                    true,  "said to be"         },
};

static void exchanges_are_judged(void **state)
{
    struct schema_check check = {.document = document};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct openapi_exchange x = {
            .verb = rows[i].verb,
            .path = rows[i].path,
            .status = rows[i].status,
            .media_type = rows[i].media_type,
            .body = str_from(rows[i].body),
            .unknown = rows[i].unknown,
        };
        bool good = openapi_valid(&check, &x);

        assert_row(i, good == (rows[i].why == NULL));
        assert_row(i, good || (rows[i].why != NULL && strstr(check.why, rows[i].why) != NULL));
    }
}

static void the_whole_document_must_be_readable(void **state)
{
    static const char *const places[] = {
        "#/components/schemas/Thing",
        "#/paths/~1api~1things/get/responses/200/content/application~1json/schema/items",
    };
    struct schema_check check = {.document = document};

    (void)state;
    assert_true(openapi_readable(&check));
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        json_t *place = (json_t *)(uintptr_t)schema_resolve(document, places[i]);

        assert_int_equal(json_object_set_new(place, "if", json_object()), 0);
        assert_row(i, !openapi_readable(&check));
        assert_int_equal(json_object_del(place, "if"), 0);
        check.broken = false;
    }
    check.document = schema_resolve(document, "#/components");
    assert_false(openapi_readable(&check));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchanges_are_judged),
        cmocka_unit_test(the_whole_document_must_be_readable),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
