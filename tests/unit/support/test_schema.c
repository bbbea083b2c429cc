/* The JSON Schema checker of the end-to-end tests: each keyword lets pass and refuses. */
#include "tests/support/check.h"
#include "tests/support/schema.h"

#include "libcommon/base/attr.h"

#include <string.h>

static const char document_text[] =
    "{\"components\":{\"schemas\":{\"Name\":{\"type\":\"string\",\"minLength\":2},"
    "\"a/b~c\":{\"const\":1}}}}";

static json_t *json(const char *text)
{
    json_t *value = json_loads(text, JSON_DECODE_ANY, NULL);

    if (value == NULL) {
        fail_msg("no JSON: %s", text);
    }
    return value;
}

static const struct {
    const char *schema;
    const char *good;
    const char *bad;
    const char *why; /* of bad */
} rows[] = {
    {"{\"type\":\"string\"}",                                                       "\"x\"",                "1",                                        "$: the type"             },
    {"{\"type\":\"integer\"}",                                                      "1",                    "1.5",                                      "$: the type"             },
    {"{\"type\":\"number\"}",                                                       "1",                    "\"1\"",                                    "$: the type"             },
    {"{\"type\":\"number\"}",                                                       "1.5",                  "null",                                     "$: the type"             },
    {"{\"type\":\"boolean\"}",                                                      "true",                 "0",                                        "$: the type"             },
    {"{\"type\":\"object\"}",                                                       "{}",                   "[]",                                       "$: the type"             },
    {"{\"type\":\"array\"}",                                                        "[]",                   "{}",                                       "$: the type"             },
    {"{\"type\":[\"string\",\"null\"]}",                                            "null",                 "false",                                    "$: the type"             },
    {"{\"enum\":[\"a\",\"b\",null]}",                                               "null",                 "\"c\"",                                    "$: c is not in the enum" },
    {"{\"const\":0}",                                                               "0",                    "1",                                        "$: not the constant"     },
    {"{\"$ref\":\"#/components/schemas/Name\"}",                                    "\"ab\"",               "\"a\"",                                    "$: shorter"              },
    {"{\"$ref\":\"#/components/schemas/a~1b~0c\"}",                                 "1",                    "2",                                        "$: not the constant"     },
    {"{\"anyOf\":[{\"type\":\"string\"},{\"type\":\"null\"}]}",                     "null",                 "1",                                        "$: the type"             },
    {"{\"oneOf\":[{\"minimum\":1},{\"maximum\":5}]}",                               "9",                    "3",                                        "$: 2 of"                 },
    {"{\"oneOf\":[{\"minimum\":8},{\"maximum\":5}]}",                               "9",                    "7",                                        "$: 0 of"                 },
    {"{\"allOf\":[{\"minimum\":1},{\"maximum\":5}]}",                               "3",                    "6",                                        "$: more"                 },
    {"{\"minimum\":0.01}",                                                          "0.01",                 "0.00",                                     "$: less"                 },
    {"{\"minimum\":0}",                                                             "0",                    "-1",                                       "$: less"                 },
    {"{\"maximum\":999999999.99}",                                                  "999999999.99",         "1000000000.00",                            "$: more"                 },
    {"{\"multipleOf\":0.01}",                                                       "12.34",                "12.345",                                   "$: not a multiple"       },
    {"{\"multipleOf\":0.01}",                                                       "0.07",                 "0.0000001",                                "$: a number of more than"},
    {"{\"minLength\":2}",                                                           "\"\\u00f1\\u00f1\"",   "\"\\u00f1\"",                              "$: shorter"              },
    {"{\"maxLength\":2}",                                                           "\"\\u00f1\\u00f1\"",   "\"abc\"",                                  "$: longer"               },
    {"{\"pattern\":\"^[A-Z\\u00d1]{3}$\"}",                                         "\"A\\u00d1O\"",        "\"A\\u00d1\"",                             "$: does not match"       },
    {"{\"format\":\"date\"}",                                                       "\"2024-02-29\"",       "\"2025-02-29\"",                           "$: no date"              },
    {"{\"format\":\"date-time\"}",
     "\"2025-01-02T03:04:05.678Z\"",                                                                        "\"2025-01-02\"",
     "$: no date-time"                                                                                                                                                            },
    {"{\"format\":\"uuid\"}",
     "\"01a20c93-0000-7000-8000-000000000001\"",                                                            "\"01a20c93\"",
     "$: no uuid"                                                                                                                                                                 },
    {"{\"format\":\"uuid\"}",
     "\"01a20c93-0000-7000-8000-00000000000A\"",                                                            "\"01a20c93-0000-7000-8000-00000000000g\"",
     "$: no uuid"                                                                                                                                                                 },
    {"{\"format\":\"email\"}",                                                      "\"a@b\"",              "\"a@\"",                                   "$: no email"             },
    {"{\"contentEncoding\":\"base64url\"}",                                         "\"aZ09-_\"",           "\"a+\"",                                   "$: not base64url"        },
    {"{\"minItems\":1}",                                                            "[1]",                  "[]",                                       "$: fewer"                },
    {"{\"maxItems\":1}",                                                            "[1]",                  "[1,2]",                                    "$: more than maxItems"   },
    {"{\"items\":{\"type\":\"integer\"}}",                                          "[1,2]",                "[1,\"2\"]",                                "$.1: the type"           },
    {"{\"required\":[\"a\",\"b\"]}",                                                "{\"a\":null,\"b\":1}", "{\"a\":1}",                                "$: b is missing"         },
    {"{\"properties\":{\"a\":{\"type\":\"string\"}}}",                              "{\"b\":1}",            "{\"a\":1}",                                "$.a: the type"           },
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":false}",
     "{\"a\":1}",                                                                                           "{\"b\":1}",
     "$: b is not declared"                                                                                                                                                       },
    {"{\"properties\":{\"a\":{}},\"additionalProperties\":{\"type\":\"integer\"}}",
     "{\"a\":\"\",\"b\":1}",                                                                                "{\"b\":\"\"}",
     "$.b: the type"                                                                                                                                                              },
    {"{\"properties\":{\"a\":{\"items\":{\"required\":[\"x\"]}}}}",
     "{\"a\":[{\"x\":1}]}",                                                                                 "{\"a\":[{\"x\":1},{}]}",
     "$.a.1: x is missing"                                                                                                                                                        },
};

/* Keywords of numbers, texts, lists and objects say nothing about values of other types. */
static void keywords_keep_to_their_type(void **state)
{
    static const char *const schemas[] = {
        "{\"minimum\":5}",
        "{\"maxLength\":0}",
        "{\"format\":\"uuid\"}",
        "{\"minItems\":3}",
        "{\"required\":[\"a\"]}",
    };
    struct schema_check check = {0};
    json_t *value = json("true");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        json_t *schema = json(schemas[i]);

        assert_row(i, schema_valid(&check, schema, value));
        json_decref(schema);
    }
    json_decref(value);
}

static void each_keyword_passes_and_refuses(void **state)
{
    json_t *document = json(document_text);
    struct schema_check check = {.document = document};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *schema = json(rows[i].schema);
        json_t *good = json(rows[i].good);
        json_t *bad = json(rows[i].bad);

        assert_row(i, schema_readable(&check, schema));
        assert_row(i, schema_valid(&check, schema, good));
        assert_row(i, !schema_valid(&check, schema, bad));
        if (strncmp(check.why, rows[i].why, strlen(rows[i].why)) != 0) {
            fail_msg("row %zu says: %s", i, check.why);
        }
        json_decref(schema);
        json_decref(good);
        json_decref(bad);
    }
    json_decref(document);
}

/* What the checker does not know is never taken for good: neither in an alternative beside one that
 * holds nor, read alone, in a member that no value has. */
static void what_is_unknown_is_refused(void **state)
{
    enum {
        MET = 7
    };
    static const char *const schemas[] = {
        "{\"exclusiveMinimum\":0}",
        "{\"format\":\"ipv4\"}",
        "{\"pattern\":\"^\\\\d+$\"}",
        "{\"pattern\":\"^(?:a)$\"}",
        "{\"pattern\":\"[\"}",
        "{\"anyOf\":[{},{\"uniqueItems\":true}]}",
        "{\"anyOf\":[{\"format\":\"time\"},{}]}",
        "{\"items\":{\"prefixItems\":[]}}",
        "{\"properties\":{\"a\":{\"if\":{}}}}",
        "{\"additionalProperties\":{\"not\":{}}}",
        "{\"properties\":{\"a\":true}}",
    };
    struct schema_check check = {0};
    json_t *text = json("\"a\"");

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        json_t *schema = json(schemas[i]);

        check.broken = false;
        assert_row(i, !schema_readable(&check, schema));
        assert_row(i, check.broken);
        /* The first ones are met by any text. */
        assert_row(i, i >= MET || !schema_valid(&check, schema, text));
        json_decref(schema);
    }
    json_decref(text);
}

static void references_must_lead_somewhere(void **state)
{
    static const char *const schemas[] = {
        "{\"$ref\":\"#/components/schemas/None\"}",
        "{\"$ref\":\"other.json\"}",
        "{\"$ref\":1}",
        "{\"multipleOf\":0}",
        "{\"minimum\":0.00000001}",
        "{\"contentEncoding\":\"base64\"}",
    };
    json_t *document = json(document_text);
    struct schema_check check = {.document = document};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(schemas); i++) {
        json_t *schema = json(schemas[i]);
        json_t *value = json(i == 3 || i == 4 ? "1" : "\"a\"");

        assert_row(i, !schema_valid(&check, schema, value));
        assert_row(i, check.broken);
        json_decref(schema);
        json_decref(value);
    }
    assert_null(schema_resolve(document, "#/components/schemas/None/x"));
    json_decref(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_keyword_passes_and_refuses),
        cmocka_unit_test(keywords_keep_to_their_type),
        cmocka_unit_test(what_is_unknown_is_refused),
        cmocka_unit_test(references_must_lead_somewhere),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
