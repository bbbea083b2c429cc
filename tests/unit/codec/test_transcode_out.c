#include "tests/support/check.h"
#include "tests/support/sample.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"

#include <stdio.h>
#include <string.h>

static struct arena_pool *pool;

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    *state = arena_open(pool, (size_t)4 * 1024 * 1024);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct arena *arena = *state;

    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

static struct str encode(struct arena *arena,
                         const ProtobufCMessage *message,
                         const struct message_rules *rules,
                         int body_field)
{
    struct str out = STR_EMPTY;
    struct err err = {0};

    assert_int_equal(transcode_to_json(message, rules, body_field, arena, 1000000, &out, &err), OK);
    if (json_check(out, &err) != OK) {
        fail_msg("%s: %.*s", err.text, STR_FMT(out));
    }
    return out;
}

static void assert_json(struct str json, const char *expected)
{
    if (!str_eq(json, str_from(expected))) {
        fail_msg("%.*s instead of %s", STR_FMT(json), expected);
    }
}

static void writes_every_kind_in_order_of_declaration(void **state)
{
    Sample__Line a = SAMPLE__LINE__INIT;
    Sample__Line b = SAMPLE__LINE__INIT;
    Sample__Line *lines[] = {&a, &b};
    char *tags[] = {(char[]){"x"}, (char[]){"\"y\"\n"}};
    int64_t ids[] = {1, INT64_MAX};
    char *cleared[] = {(char[]){"big"}};
    Sample__Order o = SAMPLE__ORDER__INIT;

    a.concept = (char[]){"c"};
    a.has_amount = 1;
    a.amount = -1;
    b.n_tags = 2;
    b.tags = tags;
    o.title = (char[]){"T"};
    o.has_amount = 1;
    o.amount = 150050;
    o.has_rate = 1;
    o.rate = 17250000;
    o.has_active = 1;
    o.active = 1;
    o.has_plain = 1;
    o.has_small = 1;
    o.small = -7;
    o.has_count = 1;
    o.count = UINT32_MAX;
    o.has_big = 1;
    o.big = INT64_MIN;
    o.has_huge = 1;
    o.huge = UINT64_MAX;
    o.n_lines = 2;
    o.lines = lines;
    o.n_tags = 2;
    o.tags = tags;
    o.n_ids = 2;
    o.ids = ids;
    o.metadata = (char[]){"{\"a\" : 1}"};
    o.kind = (char[]){"full"};
    o.first = &a;
    o.has_color = 1;
    o.color = SAMPLE__COLOR__GREEN;
    o.has_blob = 1;
    o.blob = (ProtobufCBinaryData){
        2, (uint8_t[]){1, 2}
    };
    o.hidden = (char[]){"never"};
    o.n_cleared = 1;
    o.cleared = cleared;
    assert_json(
        encode(*state, &o.base, &sample_order_rules, -1),
        "{\"title\":\"T\",\"amount\":1500.50,\"rate\":17.25,\"active\":1,\"plain\":false,"
        "\"small\":-7,\"count\":4294967295,\"big\":-9223372036854775808,"
        "\"huge\":18446744073709551615,\"lines\":[{\"concept\":\"c\",\"amount\":-0.01,"
        "\"tags\":[]},{\"concept\":null,\"amount\":null,\"tags\":[\"x\",\"\\\"y\\\"\\n\"]}],"
        "\"tags\":[\"x\",\"\\\"y\\\"\\n\"],\"ids\":[1,9223372036854775807],"
        "\"metadata\":{\"a\" : 1},\"kind\":\"full\",\"notes\":null,\"first\":{\"concept\":"
        "\"c\",\"amount\":-0.01,\"tags\":[]},\"color\":\"GREEN\",\"blob\":\"AQI\","
        "\"limit\":50}");
}

static void shows_unset_fields_as_the_rules_say(void **state)
{
    Sample__Order o = SAMPLE__ORDER__INIT;
    Sample__Line line = SAMPLE__LINE__INIT;
    Sample__Empty empty = SAMPLE__EMPTY__INIT;

    /* Lists are always there, and so is a field that declares a default. */
    assert_json(encode(*state, &o.base, &sample_order_rules, -1),
                "{\"lines\":[],\"tags\":[],\"ids\":[],\"kind\":\"basic\",\"notes\":null,"
                "\"first\":null,\"limit\":50}");
    assert_json(encode(*state, &line.base, &sample_line_rules, -1),
                "{\"concept\":null,\"amount\":null,\"tags\":[]}");
    assert_json(encode(*state, &empty.base, &sample_empty_rules, -1), "{}");
}

static void writes_one_field_as_the_whole_body(void **state)
{
    Sample__Line a = SAMPLE__LINE__INIT;
    Sample__Line *lines[] = {&a, &a, &a};
    Sample__Order o = SAMPLE__ORDER__INIT;
    const struct {
        const char *field;
        const char *json;
    } rows[] = {
        {"lines",
         "[{\"concept\":null,\"amount\":null,\"tags\":[]},{\"concept\":null,\"amount\":"
         "null,\"tags\":[]},{\"concept\":null,\"amount\":null,\"tags\":[]}]"},
        {"tags",     "[]"                                                   },
        {"ids",      "[]"                                                   },
        {"title",    "null"                                                 },
        {"first",    "{\"concept\":null,\"amount\":null,\"tags\":[]}"       },
        {"amount",   "3.00"                                                 },
        {"metadata", "[true]"                                               },
        {"kind",     "\"basic\""                                            },
    };

    o.n_lines = 3;
    o.lines = lines;
    o.first = &a;
    o.has_amount = 1;
    o.amount = 300;
    o.metadata = (char[]){"[true]"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field_by_name(
            &sample__order__descriptor, rows[i].field);

        assert_json(encode(*state,
                           &o.base,
                           &sample_order_rules,
                           (int)(field - sample__order__descriptor.fields)),
                    rows[i].json);
    }
}

static void writes_empty_raw_json_as_null(void **state)
{
    Sample__Order o = SAMPLE__ORDER__INIT;

    o.metadata = (char[]){""};
    assert_true(str_starts(str_sub(encode(*state, &o.base, &sample_order_rules, -1), 31, 200),
                           STR("\"metadata\":null")));
}

static void writes_an_unknown_enum_as_its_number(void **state)
{
    Sample__Order o = SAMPLE__ORDER__INIT;
    size_t at = 0;

    o.has_color = 1;
    memset(&o.color, 0, sizeof(o.color));
    memcpy(&o.color, &(int){77}, sizeof(o.color));
    assert_true(
        str_find(encode(*state, &o.base, &sample_order_rules, -1), STR("\"color\":77"), &at));
}

static void refuses_what_does_not_fit(void **state)
{
    Sample__Line a = SAMPLE__LINE__INIT;
    Sample__Line *lines[1000];
    Sample__Order o = SAMPLE__ORDER__INIT;
    struct arena *small = arena_open(pool, 8192);
    struct str whole;
    struct str out = STR_EMPTY;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(lines); i++) {
        lines[i] = &a;
    }
    o.n_lines = ARRAY_LEN(lines);
    o.lines = lines;
    whole = encode(*state, &o.base, &sample_order_rules, -1);
    assert_int_equal(
        transcode_to_json(&o.base, &sample_order_rules, -1, *state, whole.len, &out, NULL), OK);
    assert_int_equal(
        transcode_to_json(&o.base, &sample_order_rules, -1, *state, whole.len - 1, &out, &err),
        ERR_TOO_LARGE);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    assert_int_equal(
        transcode_to_json(&o.base, &sample_order_rules, -1, small, 1000000, &out, NULL),
        ERR_TOO_LARGE);
    arena_dispose(&small);
}

static void records_leave_out_what_is_unset(void **state)
{
    Sample__Order o = SAMPLE__ORDER__INIT;
    Sample__Line line = SAMPLE__LINE__INIT;
    Sample__Line *lines[] = {&line};
    struct str out = STR_EMPTY;
    struct str whole = STR_EMPTY;
    struct err err = {0};

    o.n_lines = ARRAY_LEN(lines);
    o.lines = lines;
    line.concept = transcode_constant("flete");
    assert_int_equal(transcode_to_record(&o.base, &sample_order_rules, *state, 1000, &whole, &err),
                     OK);
    assert_int_equal(json_check(whole, &err), OK);
    assert_false(str_find(whole, STR("null"), &(size_t){0}));
    assert_true(
        str_find(whole, STR("\"lines\":[{\"concept\":\"flete\",\"tags\":[]}]"), &(size_t){0}));
    assert_int_equal(
        transcode_to_record(&o.base, &sample_order_rules, *state, whole.len - 1, &out, &err),
        ERR_TOO_LARGE);
}

static void refuses_nesting_beyond_its_depth(void **state)
{
    Sample__Strict levels[64];
    struct str out = STR_EMPTY;
    struct err err = {0};

    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        sample__strict__init(&levels[i]);
        levels[i].inner = i == 0 ? NULL : &levels[i - 1];
    }
    (void)encode(*state, &levels[30].base, &sample_strict_rules, -1);
    assert_int_equal(
        transcode_to_json(&levels[31].base, &sample_strict_rules, -1, *state, 10000, &out, &err),
        ERR_TOO_LARGE);
    assert_int_equal(
        transcode_to_json(&levels[63].base, &sample_strict_rules, -1, *state, 10000, &out, NULL),
        ERR_TOO_LARGE);
}

static void reads_back_what_it_wrote(void **state)
{
    const struct str json = STR(
        "{\"title\":\"T \\u2028 \xC3\xB1\",\"amount\":-0.05,\"rate\":0.000001,\"active\":0,"
        "\"plain\":true,\"small\":0,\"lines\":[{\"concept\":\"\",\"amount\":1.00,\"tags\":[\"\"]}],"
        "\"tags\":[],\"ids\":[],\"metadata\":[1,{\"x\":null}],\"kind\":\"other\","
        "\"notes\":\"a\\tb\","
        "\"first\":null,\"color\":\"RED\",\"blob\":\"\",\"limit\":50}");
    Sample__Order *o = (Sample__Order *)transcode_new(&sample__order__descriptor, *state);
    struct violations v;

    violations_init(&v, *state);
    assert_int_equal(transcode_from_json(json, &sample_order_rules, *state, &o->base, &v, NULL),
                     OK);
    assert_int_equal(v.count, 1); /* first: null */
    assert_json(encode(*state, &o->base, &sample_order_rules, -1), json.ptr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_every_kind_in_order_of_declaration, setup, teardown),
        cmocka_unit_test_setup_teardown(shows_unset_fields_as_the_rules_say, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_one_field_as_the_whole_body, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_empty_raw_json_as_null, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_an_unknown_enum_as_its_number, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_does_not_fit, setup, teardown),
        cmocka_unit_test_setup_teardown(records_leave_out_what_is_unset, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_nesting_beyond_its_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(reads_back_what_it_wrote, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
