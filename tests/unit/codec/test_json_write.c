#include "tests/support/check.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/json_write.h"
#include "libcommon/codec/transcode.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct arena_pool *pool;

static int setup(void **state)
{
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 256);
    *state = arena_open(pool, (size_t)2 * 1024 * 1024);
    return *state == NULL ? -1 : 0;
}

static int teardown(void **state)
{
    struct arena *arena = *state;

    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

static struct str finish(struct json_writer *w)
{
    struct str text = STR_EMPTY;
    struct err err = {0};

    assert_int_equal(json_finish(w, &text, &err), OK);
    assert_int_equal(json_check(text, &err), OK);
    return text;
}

static void assert_text(struct str text, const char *expected)
{
    char *copy = calloc(1, text.len + 1);

    assert_non_null(copy);
    memcpy(copy, text.ptr, text.len);
    assert_string_equal(copy, expected);
    free(copy);
}

static void writes_every_kind(void **state)
{
    struct json_writer w;

    json_open(&w, *state, 0, 1000);
    json_object_begin(&w);
    json_key(&w, STR("a"));
    json_array_begin(&w);
    json_int64(&w, INT64_MIN);
    json_uint64(&w, UINT64_MAX);
    json_decimal(&w, -310, 2);
    json_decimal_short(&w, 17250000, 6);
    json_bool(&w, true);
    json_bool(&w, false);
    json_none(&w);
    json_raw(&w, STR("{\"x\":[1]}"));
    json_array_end(&w);
    json_key(&w, STR("b\"\n"));
    json_object_begin(&w);
    json_object_end(&w);
    json_key(&w, STR("c"));
    json_array_begin(&w);
    json_array_end(&w);
    json_key(&w, STR(""));
    json_text(&w, STR(""));
    json_object_end(&w);
    assert_text(finish(&w),
                "{\"a\":[-9223372036854775808,18446744073709551615,-3.10,17.25,true,false,null,"
                "{\"x\":[1]}],\"b\\\"\\n\":{},\"c\":[],\"\":\"\"}");
}

static void writes_money_with_two_places(void **state)
{
    static const struct {
        int64_t value;
        const char *text;
    } rows[] = {
        {150050,    "1500.50"              },
        {0,         "0.00"                 },
        {-5,        "-0.05"                },
        {100,       "1.00"                 },
        {INT64_MIN, "-92233720368547758.08"},
        {INT64_MAX, "92233720368547758.07" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_writer w;

        json_open(&w, *state, 16, 100);
        json_decimal(&w, rows[i].value, 2);
        assert_text(finish(&w), rows[i].text);
    }
}

static void escapes_text(void **state)
{
    static const struct {
        struct str text;
        const char *json;
    } rows[] = {
        {{"O'Neil <b>&\x7F", 12},                  "\"O'Neil <b>&\x7F\""                 },
        {{"\"\\/", 3},                             "\"\\\"\\\\/\""                       },
        {{"\b\f\n\r\t", 5},                        "\"\\b\\f\\n\\r\\t\""                 },
        {{"\0\x01\x1F", 3},                        "\"\\u0000\\u0001\\u001f\""           },
        {{"12345678\"12345678", 17},               "\"12345678\\\"12345678\""            },
        {{"\xE2\x80\xA8|\xE2\x80\xA9", 7},         "\"\\u2028|\\u2029\""                 },
        {{"\xE2\x80\x9C|\xE2\x82\xAC", 7},         "\"\xE2\x80\x9C|\xE2\x82\xAC\""       },
        {{"Ni\xC3\xB1o \xF0\x9F\x98\x80 end", 14}, "\"Ni\xC3\xB1o \xF0\x9F\x98\x80 end\""},
        {{"\n\n\n\n\n\n\n\n\n\n", 10},             "\"\\n\\n\\n\\n\\n\\n\\n\\n\\n\\n\""  },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct json_writer w;

        json_open(&w, *state, 16, 100);
        json_text(&w, rows[i].text);
        assert_text(finish(&w), rows[i].json);
    }
}

/* What a writer in plain steps would make of one byte. */
static size_t escape_byte(char byte, char out[6])
{
    static const char hex[] = "0123456789abcdef";
    unsigned char c = (unsigned char)byte;

    if (c < 0x20) {
        out[0] = '\\';
        out[1] = 'u';
        out[2] = '0';
        out[3] = '0';
        out[4] = hex[c >> 4];
        out[5] = hex[c & 0xFu];
        return 6;
    }
    if (byte == '"' || byte == '\\') {
        out[0] = '\\';
        out[1] = byte;
        return 2;
    }
    out[0] = byte;
    return 1;
}

static size_t escape_slowly(const char *text, size_t len, char *out)
{
    size_t at = 0;

    out[at++] = '"';
    for (size_t i = 0; i < len; i++) {
        at += escape_byte(text[i], out + at);
    }
    out[at++] = '"';
    return at;
}

static void finds_every_special_byte_at_every_offset(void **state)
{
    static const char specials[] = {'"', '\\', '\x01', '\x1F', '\x1E'};
    char text[40];
    char expected[sizeof(text) * 6 + 3];

    for (size_t len = 1; len <= sizeof(text); len++) {
        for (size_t at = 0; at < len; at++) {
            struct json_writer w;
            size_t bytes = 0;

            memset(text, 0x20 + (int)(len % 2), sizeof(text));
            text[at] = specials[(at + len) % sizeof(specials)];
            bytes = escape_slowly(text, len, expected);
            json_open(&w, *state, 16, 1000);
            json_text(&w, (struct str){text, len});
            assert_int_equal(finish(&w).len, bytes);
            assert_memory_equal(w.buf.ptr, expected, bytes);
        }
    }
}

static void grows_to_its_maximum_and_no_further(void **state)
{
    for (size_t max = 0; max <= 12; max++) {
        struct json_writer w;
        struct str text = STR_EMPTY;
        struct err err = {0};

        json_open(&w, *state, 4, max);
        json_array_begin(&w);
        json_text(&w,
                  STR("\n23456")); /* ten bytes with its escape and quotes: the text has eleven */
        json_array_end(&w);
        assert_int_equal(json_finish(&w, &text, &err), max < 11 ? ERR_TOO_LARGE : OK);
        assert_int_equal(text.len, max < 11 ? 0 : 11);
    }
}

static void stays_overflown(void **state)
{
    struct json_writer w;
    struct str text = STR_EMPTY;
    char *long_text = arena_calloc(*state, 5000, 1);

    assert_non_null(long_text);
    memset(long_text, 'x', 5000);
    json_open(&w, *state, 16, 4000);
    json_object_begin(&w);
    json_key(&w, STR("a"));
    json_text(&w, (struct str){long_text, 5000});
    json_key(&w, STR("b"));
    json_int64(&w, 1);
    json_object_end(&w);
    assert_int_equal(json_finish(&w, &text, NULL), ERR_TOO_LARGE);
}

static void survives_a_full_arena(void **state)
{
    struct arena *small = arena_open(pool, 2000);
    struct json_writer w;
    struct str text = STR_EMPTY;

    (void)state;
    json_open(&w, small, 16, 1000000);
    json_array_begin(&w);
    for (int i = 0; i < 1000; i++) {
        json_text(&w, STR("some text"));
    }
    json_array_end(&w);
    assert_int_equal(json_finish(&w, &text, NULL), ERR_TOO_LARGE);
    arena_dispose(&small);
}

static void nests_as_deep_as_it_says(void **state)
{
    struct json_writer w;
    struct str text = STR_EMPTY;

    json_open(&w, *state, 16, 1000);
    for (int i = 0; i < 63; i++) {
        json_array_begin(&w);
        json_int64(&w, i);
    }
    for (int i = 0; i < 63; i++) {
        json_array_end(&w);
    }
    assert_int_equal(json_finish(&w, &text, NULL), OK);
    assert_true(str_starts(text, STR("[0,[1,[2,")));
    assert_true(str_ends(text, STR("[61,[62]]]]]]]]]")) || str_ends(text, STR("]]")));
}

/* --- random trees -------------------------------------------------------------------------------
 */

struct tree {
    struct json_writer w;
    uint64_t random;
    bool object[40];
    uint32_t depth;
};

/* splitmix64: the seed is printed, so that a failure can be run again. */
static uint64_t draw(struct tree *t, uint64_t below)
{
    uint64_t z = t->random += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % below;
}

static void open_container(struct tree *t, bool object)
{
    t->object[t->depth++] = object;
    if (object) {
        json_object_begin(&t->w);
    } else {
        json_array_begin(&t->w);
    }
}

static void close_container(struct tree *t)
{
    if (t->object[--t->depth]) {
        json_object_end(&t->w);
    } else {
        json_array_end(&t->w);
    }
}

static void grow_tree(struct tree *t)
{
    uint64_t choice = draw(t, 6);

    if (choice == 0 && t->depth > 1) {
        close_container(t);
        return;
    }
    if (t->object[t->depth - 1]) {
        json_key(&t->w, STR("k\x7F\""));
    }
    if (choice <= 2 && t->depth < 30) {
        open_container(t, choice == 1);
    } else if (choice == 3) {
        json_text(&t->w, (struct str){"\n\t\"\\text", (size_t)draw(t, 9)});
    } else {
        json_decimal(&t->w, (int64_t)draw(t, UINT64_MAX), (unsigned)draw(t, 7));
    }
}

static void random_trees_are_json(void **state)
{
    uint64_t seed = (uint64_t)time(NULL);

    print_message("seed %" PRIu64 "\n", seed);
    for (uint64_t round = 0; round < 200; round++) {
        struct arena_mark mark = arena_mark(*state);
        struct tree t = {.random = seed + round};

        json_open(&t.w, *state, (size_t)draw(&t, 100), 100000);
        open_container(&t, false);
        for (int i = 0; i < 300; i++) {
            grow_tree(&t);
        }
        while (t.depth > 0) {
            close_container(&t);
        }
        (void)finish(&t.w);
        arena_rewind(*state, mark);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(writes_every_kind, setup, teardown),
        cmocka_unit_test_setup_teardown(writes_money_with_two_places, setup, teardown),
        cmocka_unit_test_setup_teardown(escapes_text, setup, teardown),
        cmocka_unit_test_setup_teardown(finds_every_special_byte_at_every_offset, setup, teardown),
        cmocka_unit_test_setup_teardown(grows_to_its_maximum_and_no_further, setup, teardown),
        cmocka_unit_test_setup_teardown(stays_overflown, setup, teardown),
        cmocka_unit_test_setup_teardown(survives_a_full_arena, setup, teardown),
        cmocka_unit_test_setup_teardown(nests_as_deep_as_it_says, setup, teardown),
        cmocka_unit_test_setup_teardown(random_trees_are_json, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
