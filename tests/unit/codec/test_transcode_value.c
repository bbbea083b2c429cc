#include "tests/support/check.h"
#include "tests/support/sample_bind.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"

#include <string.h>

static struct arena_pool *pool;
static struct violations violations;

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 4096);
    *state = arena_open(pool, (size_t)REQUEST_ARENA_BYTES_MAX);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct arena *arena = *state;

    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

static Sample__Order *bind(struct arena *arena, struct str json)
{
    return sample_bind(arena, json, &violations);
}

static void reads_money_exactly(void **state)
{
    static const struct {
        const char *json;
        int64_t centavos;
        const char *code;
    } rows[] = {
        {"0",                                                                   0,           NULL             },
        {"-0",                                                                  0,           NULL             },
        {"1",                                                                   100,         NULL             },
        {"0.1",                                                                 10,          NULL             },
        {"-3.10",                                                               -310,        NULL             },
        {"1.100",                                                               110,         NULL             },
        {"1.5e3",                                                               150000,      NULL             },
        {"1E-2",                                                                1,           NULL             },
        {"999999999.99",                                                        99999999999, NULL             },
        {"92233720368547758.07",                                                INT64_MAX,   NULL             },
        {"\"1234.56\"",                                                         123456,      NULL             },
        {"\" 1234.56 \"",                                                       123456,      NULL             },
        {"0.001",                                                               0,           "money_precision"},
        {"\"1.005\"",                                                           0,           "money_precision"},
        {"1e-3",                                                                0,           "money_precision"},
        {"92233720368547758.08",                                                0,           "max"            },
        {"-92233720368547758.09",                                               0,           "min"            },
        {"1e400",                                                               0,           "max"            },
        {"\"12abc\"",                                                           0,           "type"           },
        {"\"\"",                                                                0,           "type"           },
        {"\"NaN\"",                                                             0,           "type"           },
        {"\"1,000.00\"",                                                        0,           "type"           },
        {"\"$5\"",                                                              0,           "type"           },
        {"\"+5\"",                                                              0,           "type"           },
        {"\"0x10\"",                                                            0,           "type"           },
        {"true",                                                                0,           "type"           },
        {"[1]",                                                                 0,           "type"           },
        {"{}",                                                                  0,           "type"           },
        {"null",                                                                0,           "null"           },
        {"0.00000000000000000000000000000000000000000000000000000000000000000", 0,           "type"           },
    };
    char json[160];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = buf_over(json, sizeof(json));
        Sample__Order *o = NULL;

        buf_printf(&b, "{\"amount\":%s,\"title\":\"after\"}", rows[i].json);
        o = bind(*state, buf_view(&b));
        assert_row(i, strcmp(o->title, "after") == 0);
        assert_row(i, o->has_amount == (rows[i].code == NULL));
        if (rows[i].code == NULL) {
            assert_clean(&violations);
            assert_row(i, o->amount == rows[i].centavos);
        } else {
            assert_one(&violations, i, "amount", rows[i].code);
        }
    }
    (void)bind(*state, STR("{\"amount\":1.005}"));
    assert_string_equal(violations.rows[0].message, "must have at most 2 decimals");
}

static void reads_decimals_at_their_scale(void **state)
{
    Sample__Order *o = bind(*state, STR("{\"rate\":17.123456}"));

    assert_clean(&violations);
    assert_true(o->rate == 17123456);
    (void)bind(*state, STR("{\"rate\":17.1234567}"));
    assert_one(&violations, 0, "rate", "money_precision");
    assert_string_equal(violations.rows[0].message, "must have at most 6 decimals");
}

/* Values for one field, and what comes of them: NULL is fine. */
struct verdict {
    const char *field;
    const char *json;
    const char *code;
};

static void judge(struct arena *arena, const struct verdict *rows, size_t count)
{
    char json[256];

    for (size_t i = 0; i < count; i++) {
        struct buf b = buf_over(json, sizeof(json));

        buf_printf(&b, "{\"%s\":%s,\"title\":\"after\"}", rows[i].field, rows[i].json);
        assert_row(i, strcmp(bind(arena, buf_view(&b))->title, "after") == 0);
        if (rows[i].code == NULL) {
            assert_row(i, violations.count == 0);
        } else {
            assert_one(&violations, i, rows[i].field, rows[i].code);
        }
    }
}

static void reads_integers_and_flags(void **state)
{
    static const struct verdict rows[] = {
        {"small",  "10",                      NULL   },
        {"small",  "-0",                      NULL   },
        {"small",  "\"7\"",                   NULL   },
        {"small",  "2147483647",              NULL   },
        {"small",  "2147483648",              "max"  },
        {"small",  "-2147483649",             "min"  },
        {"small",  "1.5",                     "type" },
        {"small",  "1.0",                     "type" },
        {"small",  "1e2",                     "type" },
        {"small",  "\"07\"",                  "type" },
        {"small",  "\"seven\"",               "type" },
        {"small",  "\"\"",                    "type" },
        {"small",  "false",                   "type" },
        {"count",  "-1",                      "min"  },
        {"count",  "4294967296",              "max"  },
        {"big",    "9223372036854775807",     NULL   },
        {"big",    "9223372036854775808",     "max"  },
        {"big",    "99999999999999999999999", "max"  },
        {"huge",   "-1",                      "min"  },
        {"huge",   "18446744073709551616",    "max"  },
        {"active", "true",                    NULL   },
        {"active", "0",                       NULL   },
        {"active", "\"1\"",                   NULL   },
        {"active", "\"false\"",               NULL   },
        {"active", "2",                       "type" },
        {"active", "\"yes\"",                 "type" },
        {"active", "1.0",                     "type" },
        {"active", "[]",                      "type" },
        {"plain",  "true",                    NULL   },
        {"plain",  "\"true\"",                NULL   },
        {"plain",  "1",                       "type" },
        {"plain",  "\"1\"",                   "type" },
        {"color",  "\"RED\"",                 NULL   },
        {"color",  "\"BLUE\"",                "value"},
        {"color",  "\"RED\\u0000\"",          "value"},
        {"color",  "1",                       "type" },
        {"blob",   "\"AQ\"",                  NULL   },
        {"blob",   "\"A\"",                   "type" },
        {"blob",   "\"A=\"",                  "type" },
    };

    judge(*state, rows, ARRAY_LEN(rows));
}

static void reads_flags_as_what_they_say(void **state)
{
    static const struct {
        const char *json;
        bool value;
    } rows[] = {
        {"true",      true },
        {"1",         true },
        {"\"1\"",     true },
        {"\"true\"",  true },
        {"false",     false},
        {"0",         false},
        {"\"0\"",     false},
        {"\"false\"", false},
    };
    char json[64];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = buf_over(json, sizeof(json));
        Sample__Order *o = NULL;

        buf_printf(&b, "{\"active\":%s}", rows[i].json);
        o = bind(*state, buf_view(&b));
        assert_clean(&violations);
        assert_row(i, o->has_active);
        assert_row(i, (o->active != 0) == rows[i].value);
    }
}

static void refuses_wrong_types(void **state)
{
    static const struct verdict rows[] = {
        {"tags",  "\"x\"",       "type"},
        {"tags",  "{\"a\":[1]}", "type"},
        {"lines", "{}",          "type"},
        {"lines", "7",           "type"},
        {"first", "[]",          "type"},
        {"first", "\"x\"",       "type"},
        {"email", "5",           "type"},
        {"email", "{\"a\":{}}",  "type"},
        {"email", "true",        "type"},
    };

    judge(*state, rows, ARRAY_LEN(rows));
    (void)bind(*state, STR("{\"email\":5,\"lines\":{},\"first\":[],\"small\":\"x\",\"plain\":[]}"));
    assert_int_equal(violations.count, 5);
    assert_string_equal(violations.rows[0].message, "must be text, not a number");
    assert_string_equal(violations.rows[1].message, "must be a list, not an object");
    assert_string_equal(violations.rows[2].message, "must be an object, not a list");
    assert_string_equal(violations.rows[3].message, "must be a whole number");
    assert_string_equal(violations.rows[4].message, "must be true or false, not a list");
}

static void keeps_raw_json_as_sent(void **state)
{
    static const struct {
        const char *json;
        const char *code;
    } rows[] = {
        {"{}",                      NULL     },
        {"[1 , 2]",                 NULL     },
        {"\"te\\u00e9xt\"",         NULL     },
        {"-1.50e3",                 NULL     },
        {"true",                    NULL     },
        {"{\"a\":{\"b\":[[],{}]}}", NULL     },
        {"{\"a\":\"\\\\u0000\"}",   NULL     },
        {"{\"a\":\"\\u0000\"}",     "control"},
        {"\"\\\\\\u0000\"",         "control"},
    };
    char json[128];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct buf b = buf_over(json, sizeof(json));
        Sample__Order *o = NULL;

        buf_printf(&b, "{\"small\":1,\"metadata\" :  %s , \"count\":9}", rows[i].json);
        o = bind(*state, buf_view(&b));
        assert_row(i, o->count == 9);
        if (rows[i].code == NULL) {
            assert_clean(&violations);
            assert_row(i, strcmp(o->metadata, rows[i].json) == 0);
        } else {
            assert_one(&violations, i, "metadata", rows[i].code);
        }
    }
}

static void cleans_text(void **state)
{
    static const struct {
        const char *field;
        const char *json;
        const char *text; /* NULL: refused */
        const char *code;
    } rows[] = {
        {"title",  "\"O'Neil <b> & \\\"Co\\\"\"", "O'Neil <b> & \"Co\"",          NULL     },
        {"title",  "\"\\n\\t x \\r\\n\"",         "x",                            NULL     },
        {"title",  "\"cafe\\u0301\"",             "caf\xC3\xA9",                  NULL     },
        {"title",  "\"\\u1100\\u1161\"",          "\xEA\xB0\x80",                 NULL     },
        {"title",  "\"\\ud83d\\ude00\\u200d\"",   "\xF0\x9F\x98\x80\xE2\x80\x8D", NULL     },
        {"title",  "\"\"",                        "",                             NULL     },
        {"title",  "\"a\\u0000b\"",               NULL,                           "control"},
        {"title",  "\"a\\nb\"",                   NULL,                           "control"},
        {"title",  "\"a\\u007fb\"",               NULL,                           "control"},
        {"title",  "\"a\\u0085b\"",               NULL,                           "control"},
        {"title",  "\"a\\u202eb\"",               NULL,                           "control"},
        {"notes",  "\"a\\u2066b\"",               NULL,                           "control"},
        {"title",
         "\"a\\u200fb\"",                         "a\xE2\x80\x8F"
         "b",                                            NULL     },
        {"secret",
         "\"a\\u202eb\"",                         "a\xE2\x80\xAE"
         "b",                                            NULL     },
        {"notes",  "\"a\\nb\\tc\\r\\nd\"",        "a\nb\tc\r\nd",                 NULL     },
        {"notes",  "\"a\\u0007\"",                NULL,                           "control"},
        {"secret", "\" cafe\\u0301 \"",           " cafe\xCC\x81 ",               NULL     },
        {"secret", "\"a\\u0000\"",                NULL,                           "control"},
        {"email",
         "\"\\u00c1B@C.MX\"",                     "\xC3\xA1"
         "b@c.mx",                                   NULL     },
        {"rfc",    "\"n\\u0303&a\"",              "\xC3\x91&A",                   NULL     },
    };
    char json[128];

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(
            &sample__order__descriptor, rows[i].field);
        struct buf b = buf_over(json, sizeof(json));
        Sample__Order *o = NULL;
        const char *text = NULL;

        buf_printf(&b, "{\"%s\":%s}", rows[i].field, rows[i].json);
        o = bind(*state, buf_view(&b));
        memcpy(&text, (const char *)o + field->offset, sizeof(text));
        if (rows[i].text != NULL) {
            assert_clean(&violations);
            assert_row(i, strcmp(text, rows[i].text) == 0);
        } else {
            assert_one(&violations, i, rows[i].field, rows[i].code);
            assert_row(i, text == NULL);
        }
    }
}

/* A run of combining marks is normalised in bounded time or refused. */
static void bounds_combining_marks(void **state)
{
    static const size_t counts[] = {1, 29, 30, 31, 300000};

    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct arena_mark mark = arena_mark(*state);
        size_t cap = 2 * counts[i] + 64;
        struct buf b = buf_over(arena_alloc(*state, cap), cap);

        buf_text(&b, "{\"title\":\"a");
        for (size_t k = 0; k < counts[i]; k++) {
            buf_text(&b, k % 2 == 0 ? "\xCC\x81" : "\xCC\xA7"); /* classes 230 and 202 */
        }
        buf_text(&b, "b\"}");
        (void)bind(*state, buf_view(&b));
        if (counts[i] <= 30) {
            assert_clean(&violations);
        } else {
            assert_one(&violations, i, "title", "utf8");
        }
        arena_rewind(*state, mark);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(reads_money_exactly, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_decimals_at_their_scale, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_integers_and_flags, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_flags_as_what_they_say, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_wrong_types, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_raw_json_as_sent, setup, teardown),
        cmocka_unit_test_setup_teardown(cleans_text, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_combining_marks, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
