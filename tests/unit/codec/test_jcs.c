/* tidy: allow float here: doubles are what RFC 8785 writes */
#include "tests/support/check.h"
#include "tests/support/suites.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/jcs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static struct arena_pool *pool;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
    return pool == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_pool_close(&pool);
    return 0;
}

static void assert_canonical(const char *json, const char *expected)
{
    struct arena *arena = arena_open(pool, 4 * 1024 * 1024);
    struct err err = {.code = OK};
    struct str out = STR_EMPTY;
    enum code code = jcs_canonical(str_from(json), arena, &out, &err);

    if (code != OK || !str_eq(out, str_from(expected))) {
        fail_msg("%s gives %.*s%s, not %s", json, STR_FMT(out), err.text, expected);
    }
    arena_dispose(&arena);
}

static void assert_refused(struct str json, enum code expected)
{
    struct arena *arena = arena_open(pool, 4 * 1024 * 1024);
    struct err err = {.code = OK};
    struct str out = STR_EMPTY;

    assert_int_equal(jcs_canonical(json, arena, &out, &err), expected);
    assert_int_equal(err.code, expected);
    assert_int_equal(out.len, 0);
    arena_dispose(&arena);
}

/* --- vectors of others ---------------------------------------------------------------------- */

static void from_hex(struct str hex, struct arena *arena, struct str *out)
{
    char *digits = arena_alloc(arena, hex.len + 1);
    uint8_t *bytes = arena_alloc(arena, hex.len / 2 + 1);
    size_t count = 0;

    assert_non_null(digits);
    assert_non_null(bytes);
    for (size_t i = 0; i < hex.len; i++) {
        if (strchr(" \r\n", hex.ptr[i]) == NULL) {
            digits[count++] = hex.ptr[i];
        }
    }
    assert_true(hex_decode((struct str){digits, count}, bytes, hex.len / 2 + 1, &out->len));
    out->ptr = (const char *)bytes;
}

static void suite_one(void *ctx, const char *name)
{
    struct arena *arena = arena_open(pool, 4 * 1024 * 1024);
    struct str json = suite_file(arena, "jcs/input", name);
    struct str expected = suite_file(arena, "jcs/output", name);
    struct str bytes = STR_EMPTY;
    struct str out = STR_EMPTY;
    struct err err = {.code = OK};
    char hex_name[64];
    struct buf b = buf_over(hex_name, sizeof hex_name);

    (void)ctx;
    buf_append(&b, name, strlen(name) - strlen(".json"));
    buf_text(&b, ".txt");
    assert_true(buf_terminate(&b));
    from_hex(suite_file(arena, "jcs/outhex", hex_name), arena, &bytes);
    assert_int_equal(jcs_canonical(json, arena, &out, &err), OK);
    if (!str_eq(out, expected) || !str_eq(out, bytes)) {
        fail_msg("%s: %.*s", name, STR_FMT(out));
    }
    arena_dispose(&arena);
}

static void agrees_with_the_authors(void **state)
{
    (void)state;
    assert_int_equal(suite_each("jcs/input", suite_one, NULL), 6);
}

/* RFC 8785, appendix B: the bits of a double and its text. */
static void numbers_of_the_rfc(void **state)
{
    static const struct {
        uint64_t bits;
        const char *text;
    } rows[] = {
        {UINT64_C(0x0000000000000000), "0"                        },
        {UINT64_C(0x8000000000000000), "0"                        },
        {UINT64_C(0x0000000000000001), "5e-324"                   },
        {UINT64_C(0x8000000000000001), "-5e-324"                  },
        {UINT64_C(0x7fefffffffffffff), "1.7976931348623157e+308"  },
        {UINT64_C(0xffefffffffffffff), "-1.7976931348623157e+308" },
        {UINT64_C(0x4340000000000000), "9007199254740992"         },
        {UINT64_C(0xc340000000000000), "-9007199254740992"        },
        {UINT64_C(0x4430000000000000), "295147905179352830000"    },
        {UINT64_C(0x44b52d02c7e14af5), "9.999999999999997e+22"    },
        {UINT64_C(0x44b52d02c7e14af6), "1e+23"                    },
        {UINT64_C(0x44b52d02c7e14af7), "1.0000000000000001e+23"   },
        {UINT64_C(0x444b1ae4d6e2ef4e), "999999999999999700000"    },
        {UINT64_C(0x444b1ae4d6e2ef4f), "999999999999999900000"    },
        {UINT64_C(0x444b1ae4d6e2ef50), "1e+21"                    },
        {UINT64_C(0x3eb0c6f7a0b5ed8c), "9.999999999999997e-7"     },
        {UINT64_C(0x3eb0c6f7a0b5ed8d), "0.000001"                 },
        {UINT64_C(0x41b3de4355555553), "333333333.3333332"        },
        {UINT64_C(0x41b3de4355555554), "333333333.33333325"       },
        {UINT64_C(0x41b3de4355555555), "333333333.3333333"        },
        {UINT64_C(0x41b3de4355555556), "333333333.3333334"        },
        {UINT64_C(0x41b3de4355555557), "333333333.33333343"       },
        {UINT64_C(0xbecbf647612f3696), "-0.0000033333333333333333"},
        {UINT64_C(0x43143ff3c1cb0959), "1424953923781206.2"       },
        {UINT64_C(0x3d30000000000000), "5.684341886080802e-14"    }, /* 2^-44 */
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        double value = 0;
        char json[64];

        memcpy(&value, &rows[i].bits, sizeof value);
        (void)snprintf(json, sizeof json, "%.25e", value);
        assert_canonical(json, rows[i].text);
    }
}

/* Every double comes back from its text, and no text with a digit less brings it back. */
static void numbers_are_shortest(void **state)
{
    uint64_t random = (uint64_t)time(NULL);

    (void)state;
    print_message("seed %" PRIu64 "\n", random);
    for (size_t i = 0; i < 20000; i++) {
        struct arena *arena = arena_open(pool, 256 * 1024);
        struct err err = {.code = OK};
        struct str out = STR_EMPTY;
        double value = 0;
        double back = 0;
        char text[64];
        size_t digits = 0;

        assert_non_null(arena);
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        memcpy(&value, &random, sizeof value);
        (void)snprintf(text, sizeof text, "%.17e", value);
        if (strchr(text, 'n') == NULL) { /* neither nan nor inf */
            assert_int_equal(jcs_canonical(str_from(text), arena, &out, &err), OK);
            assert_true(str_copy(out, text, sizeof text));
            back = strtod(text, NULL); /* tidy: allow banned: another reader */
            assert_memory_equal(&back, &value, sizeof value);
            for (const char *at = text; *at != '\0' && *at != 'e'; at++) {
                digits += *at >= '0' && *at <= '9' ? 1 : 0;
            }
            assert_in_range(digits, 1, 23);
            if (digits > 1 && strchr(text, 'e') != NULL) {
                (void)snprintf(text, sizeof text, "%.*e", (int)digits - 2, value);
                back = strtod(text, NULL); /* tidy: allow banned: another reader */
                assert_memory_not_equal(&back, &value, sizeof value);
            }
        }
        arena_dispose(&arena);
    }
}

/* --- texts ---------------------------------------------------------------------------------- */

static void brings_texts_into_the_form(void **state)
{
    static const struct {
        const char *json;
        const char *canonical;
    } rows[] = {
        {" [ ] ",                                                 "[]"                                         },
        {"{ }",                                                   "{}"                                         },
        {"\"x\"",                                                 "\"x\""                                      },
        {" null",                                                 "null"                                       },
        {"-0",                                                    "0"                                          },
        {"-0.0e5",                                                "0"                                          },
        {"1.0",                                                   "1"                                          },
        {"100",                                                   "100"                                        },
        {"1e3",                                                   "1000"                                       },
        {"1E+2",                                                  "100"                                        },
        {"123456789012345",                                       "123456789012345"                            },
        {"9007199254740993",                                      "9007199254740992"                           },
        {"1e-400",                                                "0"                                          },
        {"[1e20,1e21,true,false]",                                "[100000000000000000000,1e+21,true,false]"   },
        {"{\"b\":1,\"a\":2}",                                     "{\"a\":2,\"b\":1}"                          },
        {"{\"a\":{\"z\":[{\"y\":1,\"x\":{}}],\"b\":0},\"A\":[]}",
         "{\"A\":[],\"a\":{\"b\":0,\"z\":[{\"x\":{},\"y\":1}]}}"                                               },
        {"{\"aa\":1,\"a\":2,\"\":3,\"b\":4}",                     "{\"\":3,\"a\":2,\"aa\":1,\"b\":4}"          },
        {"\"\\u00e9\\u000A\\/\\u001f\\u007f\\\"\\\\\"",           "\"\xC3\xA9\\n/\\u001f\x7f\\\"\\\\\""        },
        {"\"\\u0000\"",                                           "\"\\u0000\""                                },
 /* U+FB33 after the pair of U+1F600, though its UTF-8 is less */
        {"{\"\\ufb33\":1,\"\\ud83d\\ude00\":2}",                  "{\"\xF0\x9F\x98\x80\":2,\"\xEF\xAC\xB3\":1}"},
 /* U+D7FF before both */
        {"{\"\\ud83d\\ude00\":2,\"\\ud7ff\":1}",                  "{\"\xED\x9F\xBF\":1,\"\xF0\x9F\x98\x80\":2}"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_canonical(rows[i].json, rows[i].canonical);
        assert_canonical(rows[i].canonical, rows[i].canonical);
    }
}

static void refuses_what_has_no_form(void **state)
{
    static const char *const texts[] = {
        "",
        " ",
        "{",
        "[1,]",
        "1 2",
        "{\"a\":1,\"a\":2}",
        "{\"a\":1,\"\\u0061\":2}",
        "\"\\ud800\"",
        "\"\xC3\"",
        "\"\xED\xA0\x80\"",
        "1e400",
        "-1e309",
        "NaN",
        "01",
        "\xEF\xBB\xBF{}",
    };
    static char large[JCS_BYTES_MAX + 1];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_refused(str_from(texts[i]), ERR_JSON);
    }
    memset(large, ' ', sizeof large);
    large[0] = '1';
    assert_refused((struct str){large, sizeof large}, ERR_JSON);
}

static void depth_is_bounded(void **state)
{
    char text[2 * (JSON_DEPTH_MAX + 1)];
    struct arena *arena = arena_open(pool, 256 * 1024);
    struct str out = STR_EMPTY;

    (void)state;
    memset(text, '[', sizeof text / 2);
    memset(text + sizeof text / 2, ']', sizeof text / 2);
    assert_refused((struct str){text, sizeof text}, ERR_JSON);
    text[0] = ' ';
    text[sizeof text - 1] = ' ';
    assert_int_equal(jcs_canonical((struct str){text, sizeof text}, arena, &out, NULL), OK);
    assert_int_equal(out.len, 2 * JSON_DEPTH_MAX);
    arena_dispose(&arena);
}

static void a_full_arena_is_an_answer(void **state)
{
    static char text[64 * 1024];
    struct arena *arena = arena_open(pool, 96 * 1024);
    struct buf b = buf_over(text, sizeof text);
    struct err err = {.code = OK};
    struct str out = STR_EMPTY;

    (void)state;
    for (unsigned i = 9999; i > 5000; i--) {
        buf_printf(&b, "%c\"%u\":0", i == 9999 ? '{' : ',', i);
    }
    buf_char(&b, '}');
    assert_false(b.overflow);
    assert_int_equal(jcs_canonical(buf_view(&b), arena, &out, &err), ERR_TOO_LARGE);
    arena_dispose(&arena);
    arena = arena_open(pool, 1024 * 1024);
    assert_int_equal(jcs_canonical(buf_view(&b), arena, &out, NULL), OK);
    assert_int_equal(out.len, b.len);
    assert_true(str_starts(out, STR("{\"5001\":0,\"5002\":0,")));
    assert_true(str_ends(out, STR("\"9998\":0,\"9999\":0}")));
    arena_dispose(&arena);
}

/* --- objects -------------------------------------------------------------------------------- */

static struct jcs_member text_of(struct str name, struct str text)
{
    return (struct jcs_member){.name = name, .kind = JCS_STRING, .text = text};
}

static struct jcs_member integer_of(struct str name, int64_t integer)
{
    return (struct jcs_member){.name = name, .kind = JCS_INTEGER, .integer = integer};
}

static void writes_objects(void **state)
{
    const struct jcs_member members[] = {
        text_of(STR("b"), STR("line\nquote\" back\\ \x01 \xC3\xA9")),
        integer_of(STR("n"), -JCS_INTEGER_MAX),
        {.name = STR("a"), .kind = JCS_NULL},
        integer_of(STR("m"), JCS_INTEGER_MAX),
        text_of(STR("\xEF\xAC\xB3"), STR_EMPTY),
        text_of(STR("\xF0\x9F\x98\x80"), STR("x")),
        integer_of(STR("A\""), 0),
    };
    static const char expected[] =
        "{\"A\\\"\":0,\"a\":null,\"b\":\"line\\nquote\\\" back\\\\ \\u0001 \xC3\xA9\","
        "\"m\":9007199254740991,\"n\":-9007199254740991,"
        "\"\xF0\x9F\x98\x80\":\"x\",\"\xEF\xAC\xB3\":\"\"}";
    char memory[256];
    struct buf out = buf_over(memory, sizeof memory);
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(jcs_object(members, ARRAY_LEN(members), &out, &err), OK);
    assert_true(buf_terminate(&out));
    assert_string_equal(memory, expected);
    assert_canonical(memory, expected);
    for (size_t cap = 0; cap < sizeof expected - 1; cap++) {
        out = buf_over(memory, cap);
        assert_row(cap, jcs_object(members, ARRAY_LEN(members), &out, NULL) == ERR_TOO_LARGE);
    }
    out = buf_over(memory, 2);
    assert_int_equal(jcs_object(NULL, 0, &out, &err), OK);
    assert_true(str_eq(buf_view(&out), STR("{}")));
}

static void refuses_objects_without_a_form(void **state)
{
    const struct jcs_member bad[][2] = {
        {integer_of(STR("a"), 1), integer_of(STR("a"), 2)                  },
        {integer_of(STR("a"), 1), integer_of(STR("b"), JCS_INTEGER_MAX + 1)},
        {integer_of(STR("a"), 1), integer_of(STR("b"), INT64_MIN)          },
        {integer_of(STR("a"), 1), text_of(STR("b"),    STR("\xC3"))        },
        {integer_of(STR("a"), 1), text_of(STR("\xFF"), STR("b"))           },
    };
    static struct jcs_member many[JCS_MEMBERS_MAX + 1];
    static char names[JCS_MEMBERS_MAX + 1][4];
    char memory[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct buf out = buf_over(memory, sizeof memory);
        struct err err = {.code = OK};

        assert_row(i, jcs_object(bad[i], 2, &out, &err) == ERR_INVALID);
        assert_row(i, err.code == ERR_INVALID);
        assert_row(i, jcs_object(bad[i], 1, &out, NULL) == OK);
    }
    for (size_t i = 0; i < ARRAY_LEN(many); i++) {
        struct buf out = buf_over(memory, sizeof memory);

        (void)snprintf(names[i], sizeof names[i], "%zu", 999 - i);
        many[i] = integer_of(str_from(names[i]), (int64_t)i);
        assert_row(i,
                   jcs_object(many, i + 1, &out, NULL) == (i < JCS_MEMBERS_MAX ? OK : ERR_INVALID));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_authors),
        cmocka_unit_test(numbers_of_the_rfc),
        cmocka_unit_test(numbers_are_shortest),
        cmocka_unit_test(brings_texts_into_the_form),
        cmocka_unit_test(refuses_what_has_no_form),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(a_full_arena_is_an_answer),
        cmocka_unit_test(writes_objects),
        cmocka_unit_test(refuses_objects_without_a_form),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
