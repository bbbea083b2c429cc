#include "tests/support/check.h"
#include "tests/support/sample.h"
#include "tests/support/suites.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/json_read.h"
#include "libcommon/codec/json_scan.h"
#include "libcommon/codec/transcode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct arena_pool *pool;

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

/* What happened, as text: "{k:a n:1 s:x }". */
struct record {
    struct buf buf;
    struct str json;
    enum code answer; /* given at the event that has this number */
    int answer_at;
    int events;
};

static enum code on_event(void *ctx, const struct json_event *event)
{
    static const char *const signs[] = {"null ", "b:", "n:", "s:", "k:", "{", "}", "[", "]"};
    struct record *r = ctx;

    assert_true(event->from <= event->to);
    assert_true(event->to <= r->json.len);
    buf_text(&r->buf, signs[event->kind]);
    if (event->kind == JSON_BOOL) {
        buf_text(&r->buf, event->boolean ? "true " : "false ");
    }
    if (event->kind == JSON_NUMBER || event->kind == JSON_STRING || event->kind == JSON_KEY) {
        buf_str(&r->buf, event->text);
        buf_char(&r->buf, ' ');
    }
    r->events++;
    return r->events == r->answer_at ? r->answer : OK;
}

static enum code read_text(struct arena *arena, struct str json, struct record *r, struct err *err)
{
    static char memory[65536];

    r->buf = buf_over(memory, sizeof(memory));
    r->json = json;
    r->events = 0;
    memset(err, 0, sizeof(*err));
    return json_read(json, arena, on_event, r, err);
}

static void tells_events_in_order(void **state)
{
    static const struct {
        const char *json;
        const char *events;
    } rows[] = {
        {"{}",                                              "{}"                                 },
        {" [ ] ",                                           "[]"                                 },
        {"null",                                            "null "                              },
        {"-0.10e+3",                                        "n:-0.10e+3 "                        },
        {"123456789012345678901234567890",                  "n:123456789012345678901234567890 "  },
        {"\"x\"",                                           "s:x "                               },
        {"true",                                            "b:true "                            },
        {"{\"a\":1,\"b\":[true,false,null,{\"c\":\"d\"}]}",
         "{k:a n:1 k:b [b:true b:false null {k:c s:d }]}"                                        },
        {"[\"\\u0041\\n\\\"\\/\\u00f1\\ud83d\\ude00\"]",    "[s:A\n\"/\xC3\xB1\xF0\x9F\x98\x80 ]"},
        {"{\"\\u0061b\" : \"\"}",                           "{k:ab s: }"                         },
    };
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, read_text(*state, str_from(rows[i].json), &r, &err) == OK);
        assert_row(i, str_eq(buf_view(&r.buf), str_from(rows[i].events)));
    }
}

static enum code on_slice(void *ctx, const struct json_event *event)
{
    struct record *r = ctx;

    buf_str(&r->buf, str_sub(r->json, event->from, event->to));
    buf_char(&r->buf, '|');
    return OK;
}

static void knows_the_bytes_of_every_token(void **state)
{
    char memory[256];
    struct record r = {.buf = buf_over(memory, sizeof(memory))};

    r.json = STR(" { \"a\\u0041\" : -1.50 , \"b\":[ \"x,:\" ,true , null,{}] } ");
    assert_int_equal(json_read(r.json, *state, on_slice, &r, NULL), OK);
    assert_true(
        str_eq(buf_view(&r.buf), STR("{|\"a\\u0041\"|-1.50|\"b\"|[|\"x,:\"|true|null|{|}|]|}|")));
}

static void refuses_what_is_not_json(void **state)
{
    static const struct str rows[] = {
        {"",                     0 },
        {" \n",                  2 },
        {"\xEF\xBB\xBF{}",       5 },
        {"{}{}",                 4 },
        {"{} x",                 4 },
        {"[1] ]",                5 },
        {"[1,]",                 4 },
        {"{\"a\":1,}",           8 },
        {"{a:1}",                5 },
        {"['a']",                5 },
        {"[1]\f",                4 },
        {"\f[1]",                4 },
        {"[1]\0",                4 },
        {"[\v1]",                4 },
        {"[1]\x7F",              4 },
        {"/* x */[1]",           10},
        {"[1] // x",             8 },
        {"[NaN]",                5 },
        {"[01]",                 4 },
        {"[+1]",                 4 },
        {"[1.]",                 4 },
        {"[.5]",                 4 },
        {"[1e]",                 4 },
        {"[0x1]",                5 },
        {"[\"\n\"]",             5 },
        {"[\"\0\"]",             5 },
        {"[\"a]",                4 },
        {"[\"a\\\"]",            6 },
        {"[\"\\x41\"]",          8 },
        {"[\"\\u00g0\"]",        10},
        {"[\"\\ud800\"]",        10},
        {"[\"\\udc00\"]",        10},
        {"[\"\\ud800\\u0041\"]", 16},
        {"[\"\\ud800\\ud800\"]", 16},
        {"[\"\xC0\x80\"]",       6 },
        {"[\"\xED\xA0\x80\"]",   7 },
        {"[\"\xFF\"]",           5 },
        {"\xC3\xB1",             2 },
        {"tru",                  3 },
        {"[",                    1 },
        {"\"\\",                 2 },
        {"\"\\u",                3 },
        {"{\"a\"}",              5 },
        {"[1}",                  3 },
    };
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, read_text(*state, rows[i], &r, &err) == ERR_JSON);
        assert_row(i, err.code == ERR_JSON);
        assert_row(i, err.text[0] != '\0');
        assert_row(i, json_check(rows[i], NULL) == ERR_JSON);
    }
}

static void errors_say_where_and_what(void **state)
{
    static const struct {
        const char *json;
        const char *place;
    } rows[] = {
        {"{\"a\":1,",         "ends after byte 7 "},
        {"{\"a\":1 \"b\":2}", "at byte "          },
        {"{'a':1}",           "at byte "          },
    };
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_row(i, read_text(*state, str_from(rows[i].json), &r, &err) == ERR_JSON);
        assert_row(i, strstr(err.text, rows[i].place) != NULL);
        assert_row(i, json_validate(str_from(rows[i].json), &err) == ERR_JSON);
    }
}

static struct str nested(struct arena *arena, size_t depth, const char *open, const char *close)
{
    size_t each = strlen(open) + strlen(close);
    char *memory = arena_alloc(arena, depth * each + 1);
    struct buf b = buf_over(memory, depth * each + 1);

    for (size_t i = 0; i < depth; i++) {
        buf_text(&b, open);
    }
    buf_char(&b, '1');
    for (size_t i = 0; i < depth; i++) {
        buf_text(&b, close);
    }
    assert_false(b.overflow);
    return buf_view(&b);
}

static void bounds_the_depth(void **state)
{
    static const char *const kinds[][2] = {
        {"[",        "]" },
        {"{\"a\":",  "}" },
        {"[{\"a\":", "}]"},
    };
    static const size_t per_kind[] = {1, 1, 2};
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t most = JSON_DEPTH_MAX / per_kind[i];

        assert_row(
            i, read_text(*state, nested(*state, most, kinds[i][0], kinds[i][1]), &r, &err) == OK);
        assert_row(
            i,
            read_text(*state, nested(*state, most + 1, kinds[i][0], kinds[i][1]), &r, &err) ==
                ERR_JSON);
        assert_non_null(strstr(err.text, "32"));
        assert_row(i,
                   json_check(nested(*state, 100000, kinds[i][0], kinds[i][1]), NULL) == ERR_JSON);
    }
    /* Brackets inside strings do not nest. */
    assert_int_equal(
        read_text(*state, STR("[\"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[\"]"), &r, &err), OK);
}

static void bounds_numbers(void **state)
{
    char text[1100];
    struct record r = {.answer_at = -1};
    struct err err;

    memset(text, '1', sizeof(text));
    assert_int_equal(read_text(*state, (struct str){text, 1024}, &r, &err), OK);
    assert_int_equal(r.events, 1);
    assert_int_equal(read_text(*state, (struct str){text, 1025}, &r, &err), ERR_JSON);
    text[0] = '[';
    text[1025] = ']';
    assert_int_equal(json_check((struct str){text, 1026}, NULL), OK);
    text[1025] = '1';
    text[1026] = ']';
    assert_int_equal(json_check((struct str){text, 1027}, NULL), ERR_JSON);
}

static void bounds_names(void **state)
{
    char text[300];
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t len = 255; len <= 258; len++) {
        struct buf b = buf_over(text, sizeof(text));

        buf_text(&b, "{\"");
        memset(buf_reserve(&b, len), 'k', len);
        buf_commit(&b, len);
        buf_text(&b, "\":1}");
        assert_int_equal(read_text(*state, buf_view(&b), &r, &err),
                         len <= JSON_KEY_BYTES_MAX ? OK : ERR_JSON);
        assert_int_equal(json_check(buf_view(&b), NULL), OK);
    }
}

static void refuses_names_given_twice(void **state)
{
    static const struct {
        const char *json;
        bool twice;
    } rows[] = {
        {"{\"a\":1,\"a\":2}",                         true },
        {"{\"a\":1,\"b\":2}",                         false},
        {"{\"a\":1,\"\\u0061\":2}",                   true },
        {"{\"\\u0061\":1,\"x\\n\":1,\"\\u0061\":2}",  true },
        {"{\"a\":{\"a\":{\"a\":1}}}",                 false},
        {"[{\"a\":1},{\"a\":1}]",                     false},
        {"{\"a\":[{\"a\":1},{\"a\":2}],\"b\":1}",     false},
        {"{\"a\":{\"b\":1},\"c\":{\"b\":1},\"a\":1}", true },
        {"{\"x\":{\"b\":1,\"b\":1}}",                 true },
        {"{\"\":1,\"\":2}",                           true },
        {"{\"a\":1,\"A\":2}",                         false},
    };
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum code code = read_text(*state, str_from(rows[i].json), &r, &err);

        assert_row(i, code == (rows[i].twice ? ERR_JSON : OK));
        assert_row(i, !rows[i].twice || strstr(err.text, "twice") != NULL);
        assert_row(i, json_check(str_from(rows[i].json), NULL) == OK);
    }
}

/* `count` names, of which the last repeats number `again` (none: count). */
static struct str many_names(struct arena *arena, size_t count, size_t again, bool escaped)
{
    size_t cap = count * 32 + 16;
    char *memory = arena_alloc(arena, cap);
    struct buf b = buf_over(memory, cap);

    assert_non_null(memory);
    buf_char(&b, '{');
    for (size_t i = 0; i < count; i++) {
        buf_printf(&b,
                   "%s\"%sname%zu\":%zu",
                   i == 0 ? "" : ",",
                   escaped ? "\\n" : "",
                   i + 1 == count ? again : i,
                   i);
    }
    buf_char(&b, '}');
    assert_false(b.overflow);
    return buf_view(&b);
}

static void finds_a_repeated_name_among_many(void **state)
{
    static const size_t counts[] = {2, 16, 17, 18, 95, 96, 97, 500, 20000};
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t i = 0; i < ARRAY_LEN(counts); i++) {
        struct arena_mark mark = arena_mark(*state);
        size_t count = counts[i];

        for (int escaped = 0; escaped <= 1; escaped++) {
            assert_row(
                i, read_text(*state, many_names(*state, count, count, escaped), &r, &err) == OK);
            assert_row(
                i, read_text(*state, many_names(*state, count, 0, escaped), &r, &err) == ERR_JSON);
            assert_row(i,
                       read_text(*state, many_names(*state, count, count - 2, escaped), &r, &err) ==
                           ERR_JSON);
        }
        arena_rewind(*state, mark);
    }
}

static void finds_a_repeated_name_wherever_it_stands(void **state)
{
    struct record r = {.answer_at = -1};
    struct err err;

    for (size_t count = 17; count <= 40; count++) {
        for (size_t again = 0; again + 1 < count; again++) {
            struct arena_mark mark = arena_mark(*state);

            assert_row(again,
                       read_text(*state, many_names(*state, count, again, false), &r, &err) ==
                           ERR_JSON);
            arena_rewind(*state, mark);
        }
    }
}

static void decodes_long_strings_with_escapes(void **state)
{
    static const size_t lengths[] = {1, 500, 1000, 1023, 1024, 2047, 2048, 2049, 5000, 700000};

    for (size_t i = 0; i < ARRAY_LEN(lengths); i++) {
        struct arena_mark mark = arena_mark(*state);
        size_t len = lengths[i];
        char *memory = arena_alloc(*state, len + 32);
        struct buf b = buf_over(memory, len + 32);
        struct err err = {0};
        struct str out;
        struct violations v;
        Sample__Order *order = (Sample__Order *)transcode_new(&sample__order__descriptor, *state);

        violations_init(&v, *state);
        buf_text(&b, "{\"secret\":\"\\u0041");
        memset(buf_reserve(&b, len - 1), 'x', len - 1);
        buf_commit(&b, len - 1);
        buf_text(&b, "\"}");
        assert_row(i, !b.overflow);
        assert_row(i,
                   transcode_from_json(
                       buf_view(&b), &sample_order_rules, *state, &order->base, &v, &err) == OK);
        out = str_from(order->secret);
        assert_row(i, out.len == len);
        assert_row(i, out.ptr[0] == 'A');
        arena_rewind(*state, mark);
    }
}

static void says_when_the_arena_is_full(void **state)
{
    struct arena *small = arena_open(pool, 4096);
    struct record r = {.answer_at = -1};
    struct err err;

    assert_int_equal(read_text(small, many_names(*state, 500, 500, false), &r, &err),
                     ERR_TOO_LARGE);
    assert_int_equal(err.code, ERR_TOO_LARGE);
    arena_dispose(&small);
}

static void stops_when_the_visitor_says_so(void **state)
{
    struct record r = {.answer_at = 3, .answer = ERR_CONFLICT};
    struct err err;

    assert_int_equal(read_text(*state, STR("[1,2,3,4"), &r, &err), ERR_CONFLICT);
    assert_int_equal(r.events, 3);
}

/* --- JSONTestSuite
 * -------------------------------------------------------------------------------- */

/* The one text that is no JSON and still a body is none at all; the two that a checker takes and a
 * body must not be repeat a name. */
static enum code expected_of_body(const char *name, struct str json)
{
    if (name[0] == 'n') {
        return json.len == 0 ? OK : ERR_JSON;
    }
    return strstr(name, "duplicated_key") != NULL ? ERR_JSON : OK;
}

static void judge_suite_file(const char *name, struct str json, enum code checked, enum code bound)
{
    if (name[0] == 'i') {
        assert_true(checked == OK || checked == ERR_JSON);
        assert_true(bound == OK || bound == ERR_JSON);
        return;
    }
    assert_true(name[0] == 'y' || name[0] == 'n');
    if (checked != (name[0] == 'y' ? OK : ERR_JSON)) {
        fail_msg("%s: json_check must %s it", name, name[0] == 'y' ? "accept" : "refuse");
    }
    if (bound != expected_of_body(name, json)) {
        fail_msg("%s as a body", name);
    }
}

static void check_suite_file(void *ctx, const char *name)
{
    struct arena *arena = ctx;
    struct arena_mark mark = arena_mark(arena);
    struct str json = suite_file(arena, "json", name);
    Sample__Order *order = (Sample__Order *)transcode_new(&sample__order__descriptor, arena);
    struct violations v;
    struct err err = {0};
    enum code checked = json_check(json, &err);
    enum code bound = OK;

    violations_init(&v, arena);
    bound = transcode_from_json(json, &sample_order_rules, arena, &order->base, &v, NULL);
    assert_int_equal(err.code, checked);
    judge_suite_file(name, json, checked, bound);
    if (bound == OK && json.len > 0 && json.ptr[0] == '[') {
        assert_int_equal(v.count, 1);
        assert_string_equal(v.rows[0].field, "");
        assert_string_equal(v.rows[0].code, "type");
    }
    arena_rewind(arena, mark);
}

static void agrees_with_json_test_suite(void **state)
{
    assert_int_equal(suite_each("json", check_suite_file, *state), 318);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(tells_events_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(knows_the_bytes_of_every_token, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_what_is_not_json, setup, teardown),
        cmocka_unit_test_setup_teardown(errors_say_where_and_what, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_the_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_names, setup, teardown),
        cmocka_unit_test_setup_teardown(refuses_names_given_twice, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_a_repeated_name_among_many, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_a_repeated_name_wherever_it_stands, setup, teardown),
        cmocka_unit_test_setup_teardown(decodes_long_strings_with_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(says_when_the_arena_is_full, setup, teardown),
        cmocka_unit_test_setup_teardown(stops_when_the_visitor_says_so, setup, teardown),
        cmocka_unit_test_setup_teardown(agrees_with_json_test_suite, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
