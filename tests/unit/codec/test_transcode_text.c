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

static bool set(struct arena *arena,
                Sample__Order *order,
                enum api_source source,
                const char *name,
                struct str value)
{
    bool known = false;

    assert_int_equal(transcode_set_text(&sample_order_rules,
                                        source,
                                        str_from(name),
                                        value,
                                        arena,
                                        &order->base,
                                        &violations,
                                        &known),
                     OK);
    return known;
}

static void sets_parameters(void **state)
{
    Sample__Order *o = bind(*state, STR("{}"));

    assert_true(set(*state, o, API_SOURCE_PATH, "id", STR(" a\xC3\xB1o ")));
    assert_string_equal(o->path_id, "a\xC3\xB1o");
    assert_true(set(*state, o, API_SOURCE_QUERY, "per_page", STR("20")));
    assert_true(o->limit == 20);
    assert_true(set(*state, o, API_SOURCE_QUERY, "limit", STR("30")));
    assert_true(o->limit == 20); /* the first one counts */
    assert_false(set(*state, o, API_SOURCE_QUERY, "id", STR("x")));
    assert_false(set(*state, o, API_SOURCE_QUERY, "title", STR("x")));
    assert_false(set(*state, o, API_SOURCE_QUERY, "", STR("x")));
    assert_false(set(*state, o, API_SOURCE_QUERY, "limi", STR("x")));
    assert_null(o->title);
    assert_true(set(*state, o, API_SOURCE_BODY, "title", STR("form")));
    assert_string_equal(o->title, "form");
    assert_true(set(*state, o, API_SOURCE_BODY, "kind", STR("full"))); /* goes before its default */
    assert_string_equal(o->kind, "full");
    assert_true(set(*state, o, API_SOURCE_BODY, "amount", STR("1500.5")));
    assert_true(o->amount == 150050);
    assert_true(set(*state, o, API_SOURCE_BODY, "active", STR("1")));
    assert_true(o->active);
    assert_true(set(*state, o, API_SOURCE_BODY, "metadata", STR("{\"a\":1}")));
    assert_string_equal(o->metadata, "{\"a\":1}");
    for (int i = 0; i < 3; i++) {
        assert_true(set(*state, o, API_SOURCE_BODY, "tags", STR("t")));
        assert_true(set(*state, o, API_SOURCE_BODY, "ids", STR("12")));
    }
    assert_int_equal(o->n_tags, 3);
    assert_int_equal(o->n_ids, 3);
    assert_true(o->ids[2] == 12);
    assert_true(set(*state, o, API_SOURCE_BODY, "date", STR("")));
    assert_int_equal(o->n_cleared, 1);
    assert_clean(&violations);
}

static void takes_what_the_front_end_sends_for_nothing(void **state)
{
    static const char *const nothing[] = {"", "undefined", "null", "NaN"};
    Sample__Order *o = bind(*state, STR("{}"));

    for (size_t i = 0; i < ARRAY_LEN(nothing); i++) {
        assert_true(set(*state, o, API_SOURCE_QUERY, "limit", str_from(nothing[i])));
        assert_row(i, !o->has_limit);
    }
    assert_clean(&violations);
    assert_true(set(*state, o, API_SOURCE_PATH, "id", STR("null")));
    assert_string_equal(o->path_id, "null");
}

static void reports_wrong_parameters(void **state)
{
    Sample__Order *o = bind(*state, STR("{}"));

    assert_true(set(*state, o, API_SOURCE_QUERY, "per_page", STR("ten")));
    assert_true(set(*state, o, API_SOURCE_PATH, "id", STR("\xFF")));
    assert_true(set(*state, o, API_SOURCE_PATH, "id", STR("a\nb")));
    assert_true(set(*state, o, API_SOURCE_BODY, "metadata", STR("{")));
    assert_true(set(*state, o, API_SOURCE_BODY, "metadata", STR("\"\\u0000\"")));
    assert_int_equal(violations.count, 5);
    assert_string_equal(violations.rows[0].field, "per_page");
    assert_string_equal(violations.rows[0].code, "type");
    assert_string_equal(violations.rows[1].code, "utf8");
    assert_string_equal(violations.rows[2].code, "control");
    assert_string_equal(violations.rows[3].code, "type");
    assert_string_equal(violations.rows[4].code, "control");
    assert_false(o->has_limit);
    assert_null(o->path_id);
    assert_null(o->metadata);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sets_parameters, setup, teardown),
        cmocka_unit_test_setup_teardown(
            takes_what_the_front_end_sends_for_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_wrong_parameters, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
