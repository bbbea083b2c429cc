#include "tests/support/check.h"
#include "tests/support/sample_bind.h"
#include "tests/support/suites.h"

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

static void binds_every_kind_of_field(void **state)
{
    Sample__Order *o = bind(
        *state,
        STR("{\"title\":\"  Caf\\u00e9 \",\"amount\":1500.5,\"rate\":\"17.25\",\"active\":1,"
            "\"plain\":false,\"small\":-7,\"count\":4294967295,\"big\":-9223372036854775808,"
            "\"huge\":18446744073709551615,"
            "\"lines\":[{\"concept\":\"a\",\"amount\":\"0.01\",\"tags\":[]},{\"tags\":[\"x\","
            "\"y\"]}],"
            "\"tags\":[\"one\",\"two\"],\"ids\":[1,\"2\",3,4,5],\"metadata\":{\"a\" : [1, {}]},"
            "\"date\":\"2024-02-29\",\"rfc\":\"\\u00f1and010203ab1\",\"kind\":\"full\","
            "\"notes\":\"a\\n\\tb\",\"secret\":\"  x \",\"first\":{\"concept\":\"f\"},"
            "\"email\":\"A@B.mx\",\"color\":\"GREEN\",\"blob\":\"AQID\",\"code\":\"c\"}"));

    assert_clean(&violations);
    assert_string_equal(o->title, "Caf\xC3\xA9");
    assert_true(o->has_amount);
    assert_true(o->amount == 150050);
    assert_true(o->has_rate);
    assert_true(o->rate == 17250000);
    assert_true(o->has_active);
    assert_true(o->active);
    assert_true(o->has_plain);
    assert_false(o->plain);
    assert_int_equal(o->small, -7);
    assert_true(o->count == UINT32_MAX);
    assert_true(o->big == INT64_MIN);
    assert_true(o->huge == UINT64_MAX);
    assert_int_equal(o->n_lines, 2);
    assert_string_equal(o->lines[0]->concept, "a");
    assert_true(o->lines[0]->amount == 1);
    assert_int_equal(o->lines[0]->n_tags, 0);
    assert_null(o->lines[1]->concept);
    assert_false(o->lines[1]->has_amount);
    assert_string_equal(o->lines[1]->tags[1], "y");
    assert_int_equal(o->n_tags, 2);
    assert_string_equal(o->tags[1], "two");
    assert_int_equal(o->n_ids, 5);
    for (size_t i = 0; i < o->n_ids; i++) {
        assert_true(o->ids[i] == (int64_t)i + 1);
    }
    assert_string_equal(o->metadata, "{\"a\" : [1, {}]}");
    assert_string_equal(o->date, "2024-02-29");
    assert_string_equal(o->rfc,
                        "\xC3\x91"
                        "AND010203AB1");
    assert_string_equal(o->kind, "full");
    assert_string_equal(o->notes, "a\n\tb");
    assert_string_equal(o->secret, "  x ");
    assert_string_equal(o->first->concept, "f");
    assert_string_equal(o->email, "a@b.mx");
    assert_int_equal(o->color, SAMPLE__COLOR__GREEN);
    assert_int_equal(o->blob.len, 3);
    assert_memory_equal(o->blob.data, "\1\2\3", 3);
    assert_int_equal(o->n_cleared, 0);
    assert_true(o->limit == 50);
}

static void leaves_unset_what_is_not_given(void **state)
{
    static const char *const rows[] = {
        "", "{}", " {\n} ", "{\"nobody\":[{\"knows\":{}}],\"x\":null}"};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Sample__Order *o = bind(*state, str_from(rows[i]));

        assert_clean(&violations);
        assert_row(i, o->title == NULL);
        assert_row(i, !o->has_amount);
        assert_row(i, !o->has_active);
        assert_row(i, o->n_lines == 0);
        assert_row(i, o->first == NULL);
        assert_row(i, strcmp(o->kind, "basic") == 0);
        assert_row(i, o->n_cleared == 0);
    }
}

static void takes_only_an_object_as_body(void **state)
{
    static const char *const rows[] = {
        "[]", "[{\"title\":\"x\"},[1]]", "null", "1", "\"x\"", "true"};

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        (void)bind(*state, str_from(rows[i]));
        assert_one(&violations, i, "", "type");
        assert_string_equal(violations.rows[0].message, "the body must be a JSON object");
    }
}

static void names_wrong_elements_by_their_place(void **state)
{
    Sample__Order *o =
        bind(*state,
             STR("{\"lines\":[{\"concept\":\"a\"},5,{\"amount\":\"x\",\"tags\":[\"a\",[1],\"c\"]}],"
                 "\"ids\":[1,\"x\",null,[2],5],\"first\":{\"amount\":{}}}"));
    static const char *const fields[] = {"lines[1]",
                                         "lines[2].amount",
                                         "lines[2].tags[1]",
                                         "ids[1]",
                                         "ids[2]",
                                         "ids[3]",
                                         "first.amount"};

    assert_int_equal(violations.count, ARRAY_LEN(fields));
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        assert_string_equal(violations.rows[i].field, fields[i]);
        assert_string_equal(violations.rows[i].code, i == 4 ? "null" : "type");
    }
    assert_int_equal(o->n_lines, 3);
    assert_non_null(o->lines[1]);
    assert_string_equal(o->lines[2]->tags[1], "");
    assert_string_equal(o->lines[2]->tags[2], "c");
    assert_int_equal(o->n_ids, 5);
    assert_true(o->ids[4] == 5);
}

static void stops_at_the_longest_list(void **state)
{
    Sample__Order *o =
        bind(*state,
             STR("{\"lines\":[{},{},{},{\"amount\":\"x\"},[],null,7],\"tags\":[\"a\",\"b\",\"c\"],"
                 "\"small\":1}"));

    assert_int_equal(violations.count, 2);
    assert_string_equal(violations.rows[0].field, "lines");
    assert_string_equal(violations.rows[0].code, "length");
    assert_string_equal(violations.rows[0].message, "must have at most 3 items");
    assert_string_equal(violations.rows[1].field, "tags");
    assert_int_equal(o->n_lines, 3);
    assert_int_equal(o->n_tags, 2);
    assert_int_equal(o->small, 1);
}

static void records_nulls(void **state)
{
    Sample__Order *o = bind(
        *state, STR("{\"big\":null,\"metadata\":null,\"date\":\"\",\"code\":\"  \",\"small\":1}"));

    assert_clean(&violations);
    assert_int_equal(o->n_cleared, 4);
    assert_string_equal(o->cleared[0], "big");
    assert_string_equal(o->cleared[1], "metadata");
    assert_string_equal(o->cleared[2], "date");
    assert_string_equal(o->cleared[3], "code");
    assert_false(o->has_big);
    assert_null(o->date);
    o = bind(*state,
             STR("{\"big\":\"\",\"email\":null,\"lines\":null,\"first\":null,\"count\":null}"));
    assert_int_equal(o->n_cleared, 1);
    assert_int_equal(violations.count, 4);
    for (size_t i = 0; i < 4; i++) {
        assert_string_equal(violations.rows[i].code, "null");
    }
}

static void takes_null_as_absent_where_none_are_recorded(void **state)
{
    Sample__Strict *strict = (Sample__Strict *)transcode_new(&sample__strict__descriptor, *state);

    violations_init(&violations, *state);
    assert_int_equal(
        transcode_from_json(
            STR("{\"name\":\" \",\"amount\":null,\"inner\":{\"name\":null,\"inner\":null}}"),
            &sample_strict_rules,
            *state,
            &strict->base,
            &violations,
            NULL),
        OK);
    assert_clean(&violations);
    assert_null(strict->name);
    assert_false(strict->has_amount);
    assert_null(strict->inner->name);
}

static void reports_unknown_fields_of_strict_messages(void **state)
{
    Sample__Strict *strict = (Sample__Strict *)transcode_new(&sample__strict__descriptor, *state);

    violations_init(&violations, *state);
    assert_int_equal(
        transcode_from_json(STR("{\"role\":\"admin\",\"name\":\"x\",\"inner\":{\"nam\":[{}],"
                                "\"inner\":{\"a\\u0000b\":1}}}"),
                            &sample_strict_rules,
                            *state,
                            &strict->base,
                            &violations,
                            NULL),
        OK);
    assert_int_equal(violations.count, 3);
    assert_string_equal(violations.rows[0].field, "role");
    assert_string_equal(violations.rows[0].code, "unknown");
    assert_string_equal(violations.rows[1].field, "inner.nam");
    assert_string_equal(violations.rows[2].field, "inner.inner.a");
    assert_string_equal(strict->name, "x");
}

static void ignores_fields_from_elsewhere(void **state)
{
    Sample__Order *o =
        bind(*state,
             STR("{\"id\":\"x\",\"limit\":7,\"hidden\":\"x\",\"cleared\":[\"big\"],\"per_page\":8,"
                 "\"path_id\":\"y\"}"));

    assert_clean(&violations);
    assert_null(o->path_id);
    assert_null(o->hidden);
    assert_int_equal(o->n_cleared, 0);
    assert_false(o->has_limit);
}

static void takes_aliases_and_the_first_of_several_names(void **state)
{
    Sample__Order *o = bind(*state, STR("{\"howMany\":3}"));

    assert_true(o->count == 3);
    o = bind(*state, STR("{\"n\":4,\"count\":5,\"howMany\":\"x\"}"));
    assert_clean(&violations);
    assert_true(o->count == 4);
    (void)bind(*state, STR("{\"howMany\":\"x\"}"));
    assert_one(&violations, 0, "howMany", "type");
}

static void reports_everything_up_to_a_bound(void **state)
{
    char memory[4096];
    struct buf b = buf_over(memory, sizeof(memory));

    buf_text(&b, "{\"ids\":[");
    for (int i = 0; i < 150; i++) {
        buf_text(&b, i == 0 ? "\"x\"" : ",\"x\"");
    }
    buf_text(&b, "]}");
    assert_int_equal(bind(*state, buf_view(&b))->n_ids, 150);
    assert_int_equal(violations.count, VIOLATIONS_MAX);
    assert_int_equal(violations.more, 50);
    assert_string_equal(violations.rows[99].field, "ids[99]");
}

static void fails_when_the_arena_is_full(void **state)
{
    Sample__Order *order = (Sample__Order *)transcode_new(&sample__order__descriptor, *state);
    char memory[8192];
    size_t refused = 0;

    for (size_t bytes = 200; bytes < 12000; bytes += 200) {
        struct arena *small = arena_open(pool, bytes);
        struct buf b = buf_over(memory, sizeof(memory));
        struct err err = {0};
        enum code code = OK;

        sample__order__init(order);
        buf_text(&b, "{\"title\":\"caf\xCC\x81\",\"ids\":[");
        for (int i = 0; i < 200; i++) {
            buf_printf(&b, "%s%d", i == 0 ? "" : ",", i);
        }
        buf_text(&b,
                 "],\"lines\":[{\"concept\":\"x\",\"nobody\":\"\\n\"},{},{}],\"metadata\":{},"
                 "\"big\":null}");
        violations_init(&violations, small);
        code = transcode_from_json(
            buf_view(&b), &sample_order_rules, small, &order->base, &violations, &err);
        assert_true(code == OK || code == ERR_TOO_LARGE);
        refused += code == OK ? 0 : 1;
        assert_int_equal(code == ERR_TOO_LARGE, arena_exhausted(small));
        arena_dispose(&small);
    }
    assert_in_range(refused, 3, 50);
}

/* A violation that finds no room must not pass for none. */
static void refuses_when_violations_have_no_room(void **state)
{
    Sample__Strict *strict = (Sample__Strict *)transcode_new(&sample__strict__descriptor, *state);
    size_t refused = 0;
    size_t told = 0;

    for (size_t bytes = 64; bytes < 2000; bytes += 32) {
        struct arena *small = arena_open(pool, bytes);
        enum code code = OK;

        sample__strict__init(strict);
        violations_init(&violations, small);
        code = transcode_from_json(STR("{\"name\":5,\"amount\":[],\"other\":{},\"x\":1}"),
                                   &sample_strict_rules,
                                   small,
                                   &strict->base,
                                   &violations,
                                   NULL);
        assert_int_equal(code, arena_exhausted(small) ? ERR_TOO_LARGE : OK);
        assert_true(code != OK || violations.count == 4);
        refused += code == OK ? 0 : 1;
        told += code == OK ? 1 : 0;
        arena_dispose(&small);
    }
    assert_in_range(refused, 1, 60);
    assert_in_range(told, 1, 60);
}

static void takes_large_lists(void **state)
{
    size_t cap = 400000;
    struct buf b = buf_over(arena_alloc(*state, cap), cap);
    Sample__Order *o = NULL;

    buf_text(&b, "{\"ids\":[");
    for (int i = 1; i <= 50000; i++) {
        buf_printf(&b, "%s%d", i == 1 ? "" : ",", i);
    }
    buf_text(&b, "]}");
    o = bind(*state, buf_view(&b));
    assert_clean(&violations);
    assert_int_equal(o->n_ids, 50000);
    for (size_t i = 0; i < o->n_ids; i++) {
        assert_true(o->ids[i] == (int64_t)i + 1);
    }
}

static void unpacks_into_an_arena(void **state)
{
    Sample__Order *o = bind(*state, STR("{\"title\":\"x\",\"ids\":[1,2,3]}"));
    uint8_t packed[256];
    size_t len = sample__order__pack(o, packed);
    ProtobufCAllocator allocator;
    Sample__Order *copy = NULL;

    transcode_allocator(&allocator, *state);
    copy = sample__order__unpack(&allocator, len, packed);
    assert_non_null(copy);
    assert_string_equal(copy->title, "x");
    assert_true(copy->ids[2] == 3);
    sample__order__free_unpacked(copy, &allocator);
}

static void takes_or_refuses_every_naughty_string(void **state)
{
    struct str file = suite_file(*state, "naughty-strings", "blns.json");
    struct str line = STR_EMPTY;
    size_t count = 0;
    size_t cap = file.len + 32;
    char *json = arena_alloc(*state, cap);

    while (str_split(&file, '\n', &line)) {
        struct arena_mark mark = arena_mark(*state);
        struct buf b = buf_over(json, cap);
        Sample__Order *o = NULL;
        struct str out = STR_EMPTY;
        struct err err = {0};
        size_t once = 0;

        line = str_trim(line);
        line = str_ends(line, STR(",")) ? str_sub(line, 0, line.len - 1) : line;
        if (!str_starts(line, STR("\""))) {
            continue;
        }
        buf_text(&b, "{\"notes\":");
        buf_str(&b, line);
        buf_char(&b, '}');
        o = bind(*state, buf_view(&b));
        once = violations.count;
        assert_true(once == 1 || o->notes != NULL);
        /* What was taken is written and taken again unchanged. */
        if (once == 0) {
            Sample__Order *again = NULL;

            assert_int_equal(
                transcode_to_json(&o->base, &sample_order_rules, -1, *state, 1000000, &out, &err),
                OK);
            again = bind(*state, out);
            assert_string_equal(again->notes, o->notes);
        }
        count++;
        arena_rewind(*state, mark);
    }
    assert_in_range(count, 500, 600);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(binds_every_kind_of_field, setup, teardown),
        cmocka_unit_test_setup_teardown(leaves_unset_what_is_not_given, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_only_an_object_as_body, setup, teardown),
        cmocka_unit_test_setup_teardown(names_wrong_elements_by_their_place, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_at_the_longest_list, setup, teardown),
        cmocka_unit_test_setup_teardown(records_nulls, setup, teardown),
        cmocka_unit_test_setup_teardown(
            takes_null_as_absent_where_none_are_recorded, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_unknown_fields_of_strict_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(ignores_fields_from_elsewhere, setup, teardown),
        cmocka_unit_test_setup_teardown(
            takes_aliases_and_the_first_of_several_names, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_everything_up_to_a_bound, setup, teardown),
        cmocka_unit_test_setup_teardown(fails_when_the_arena_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_when_violations_have_no_room, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_large_lists, setup, teardown),
        cmocka_unit_test_setup_teardown(unpacks_into_an_arena, setup, teardown),
        cmocka_unit_test_setup_teardown(takes_or_refuses_every_naughty_string, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
