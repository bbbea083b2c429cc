/* What is kept of texts that strangers send. */
#include "services/audit-log/error_text.h"
#include "tests/support/check.h"

#include "libcommon/base/attr.h"
#include "libcommon/codec/json_read.h"

#include <stdio.h>
#include <string.h>

#define TEXT_MAX 2000
#define JSON_MAX 8192

static struct arena_pool *pool;
static struct arena *arena;

static int setup(void **state)
{
    (void)state;
    pool = arena_pool_open(16384, 2048);
    arena = arena_open(pool, (size_t)16 * 1024 * 1024);
    return pool == NULL || arena == NULL;
}

static int teardown(void **state)
{
    (void)state;
    arena_dispose(&arena);
    arena_pool_close(&pool);
    return 0;
}

struct row {
    const char *given;
    const char *kept;
};

static void check(const struct row *rows,
                  size_t count,
                  struct str (*clean)(struct str text, size_t bytes_max, struct arena *arena))
{
    size_t wrong = 0;

    for (size_t i = 0; i < count; i++) {
        struct str out = clean(str_from(rows[i].given), JSON_MAX, arena);

        if (!str_eq(out, str_from(rows[i].kept))) {
            wrong++;
            print_error(
                "%s\n  gives   %.*s\n  not %s\n", rows[i].given, STR_FMT(out), rows[i].kept);
        }
    }
    assert_int_equal(wrong, 0);
}

static void secrets_are_masked_in_texts(void **state)
{
    static const struct row rows[] = {
        {"nothing to hide",                                "nothing to hide"             },
        {"ana@example.com has no account",                 "[masked] has no account"     },
        {"Bearer abc.def.ghi was refused",                 "Bearer [masked] was refused" },
        {"password=geheim at line 1\nand more",            "password=[masked]\nand more" },
        {"card 4111 1111 1111 1111 declined",              "card [masked] declined"      },
        {"card 4111-1111-1111-1111, amex 378282246310005", "card [masked], amex [masked]"},
        {"4111111111111111",                               "[masked]"                    },
        {"4111 1111 1111 1112",                            "4111 1111 1111 1112"         },
        {"rfc GODE561231GR8 unknown",                      "rfc [masked] unknown"        },
        {"at 1795000000008 ms",                            "at 1795000000008 ms"         },
        {"2026-01-31 4111 1111 1111 1111",                 "2026-01-31 [masked]"         },
        {"a\tb\r\nc\x01\x1B[31m",                          "a b \nc  [31m"               },
        {"left\xE2\x80\xAEright \xC2\x85 \xC3\xB1",        "left right   \xC3\xB1"       },
    };

    (void)state;
    check(rows, ARRAY_LEN(rows), error_text);
}

static void addresses_lose_their_query(void **state)
{
    static const struct row rows[] = {
        {"https://a.example/x?token=1#y", "https://a.example/x"},
        {"https://a.example/#/reset/1",   "https://a.example/" },
        {"/books",                        "/books"             },
        {"https://ana:pw@a.example/x",    "[masked]"           },
        {"",                              ""                   },
    };

    (void)state;
    check(rows, ARRAY_LEN(rows), error_url);
}

static void json_stays_json(void **state)
{
    static const struct row rows[] = {
        {"{\"a\":[1,2.50,true,null,\"x\"],\"b\":{}}",   "{\"a\":[1,2.50,true,null,\"x\"],\"b\":{}}"},
        {"{\"password\":{\"old\":[1]},\"n\":1}",        "{\"password\":\"[masked]\",\"n\":1}"      },
        {"{\"accessToken\":\"x\",\"userEmail\":\"y\"}",
         "{\"accessToken\":\"[masked]\",\"userEmail\":\"[masked]\"}"                               },
        {"{\"who\":\"ana@example.com\"}",               "{\"who\":\"[masked]\"}"                   },
        {"{\"card\":4111111111111111}",                 "{\"card\":\"[masked]\"}"                  },
        {"{\"no\":4111111111111111}",                   "{\"no\":\"[masked]\"}"                    },
        {"{\"ana@example.com\":1}",                     "{\"[masked]\":1}"                         },
        {"[{\"jwt\":1},{\"x\":[{\"otp\":\"1\"}]}]",
         "[{\"jwt\":\"[masked]\"},{\"x\":[{\"otp\":\"[masked]\"}]}]"                               },
        {"\"ana@example.com\"",                         "\"[masked]\""                             },
        {"17",                                          "17"                                       },
        {"{\"a\":\"\\u0000\\u001b\"}",                  "{\"a\":\"  \"}"                           },
        {"{\"a\":",                                     ""                                         },
        {"",                                            ""                                         },
    };

    (void)state;
    check(rows, ARRAY_LEN(rows), error_json);
}

/* Of any length there is something, within its bound, of whole characters. */
static void long_texts_are_cut(void **state)
{
    static char text[70000];
    size_t len = 0;

    (void)state;
    while (len + 8 < sizeof text) {
        len += (size_t)snprintf(
            text + len, sizeof text - len, "%s", len % 7 == 0 ? "a b " : "\xE2\x82\xAC");
    }
    for (size_t n = TEXT_MAX - 300; n < TEXT_MAX + 600; n++) {
        struct arena_mark mark = arena_mark(arena);
        struct str given = utf8_cut((struct str){text, len}, n);
        struct str out = error_text(given, TEXT_MAX, arena);

        assert_true(utf8_valid(out));
        assert_true(out.len <= TEXT_MAX);
        assert_true(out.len >= TEXT_MAX / 2);
        assert_true(str_ends(out, STR(ERROR_CUT)) == (given.len > TEXT_MAX));
        arena_rewind(arena, mark);
    }
    assert_true(error_text((struct str){text, len}, TEXT_MAX, arena).len <= TEXT_MAX);
}

/* A secret that the end goes through is not shown in part. */
static void no_half_secret_is_left(void **state)
{
    static char text[TEXT_MAX + 600];
    const struct str secret = STR(" geheim@example.com ");

    (void)state;
    for (size_t at = TEXT_MAX - 60; at < TEXT_MAX; at++) {
        struct arena_mark mark = arena_mark(arena);
        struct str out;
        size_t found = 0;

        memset(text, 'x', sizeof text);
        for (size_t i = 7; i < sizeof text; i += 8) {
            text[i] = ' ';
        }
        memcpy(text + at - 1, secret.ptr, secret.len);
        out = error_text((struct str){text, sizeof text}, TEXT_MAX, arena);
        assert_false(str_find(out, STR("geh"), &found));
        arena_rewind(arena, mark);
    }
}

static void long_json_loses_members(void **state)
{
    static char json[400000];
    size_t len = 1;
    size_t found = 0;
    struct str out;

    (void)state;
    json[0] = '{';
    for (int i = 0; len + 200 < sizeof json; i++) {
        len += (size_t)snprintf(json + len,
                                sizeof json - len,
                                "%s\"k%d\":{\"quote\":\"\\\"\\\"\\\"\\u2028\",\"n\":[%d]}",
                                i == 0 ? "" : ",",
                                i,
                                i);
    }
    json[len++] = '}';
    out = error_json((struct str){json, len}, JSON_MAX, arena);
    assert_true(out.len <= JSON_MAX);
    assert_true(out.len > JSON_MAX / 2);
    assert_int_equal(json_validate(out, NULL), OK);
    assert_true(str_find(out, STR("\"k1\""), &found));
    assert_true(str_ends(out, STR("\"[cut]\":true}")));
    memset(json, 'x', sizeof json);
    json[0] = json[sizeof json - 1] = '"';
    out = error_json((struct str){json, sizeof json}, JSON_MAX, arena);
    assert_int_equal(json_validate(out, NULL), OK);
    assert_true(out.len <= JSON_MAX);
    assert_true(out.len > 500);
}

static void any_json_has_a_text(void **state)
{
    static const struct row rows[] = {
        {"\"a\\nb\"",   "a\nb"     },
        {"17",          "17"       },
        {" {\"a\":1} ", "{\"a\":1}"},
        {"null",        ""         },
        {"",            ""         },
        {"\"",          ""         },
    };
    size_t wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct str out = error_json_text(str_from(rows[i].given), arena);

        wrong += str_eq(out, str_from(rows[i].kept)) ? 0U : 1U;
    }
    assert_int_equal(wrong, 0);
}

static void a_full_arena_is_told(void **state)
{
    struct arena *small = arena_open(pool, 64);

    (void)state;
    assert_non_null(small);
    assert_null(error_text(STR("a text that is much longer than the arena has room for, really"),
                           TEXT_MAX,
                           small)
                    .ptr);
    assert_null(error_json(STR("{\"a\":1}"), JSON_MAX, small).ptr);
    arena_dispose(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(secrets_are_masked_in_texts, setup, teardown),
        cmocka_unit_test_setup_teardown(addresses_lose_their_query, setup, teardown),
        cmocka_unit_test_setup_teardown(json_stays_json, setup, teardown),
        cmocka_unit_test_setup_teardown(long_texts_are_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(no_half_secret_is_left, setup, teardown),
        cmocka_unit_test_setup_teardown(long_json_loses_members, setup, teardown),
        cmocka_unit_test_setup_teardown(any_json_has_a_text, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_arena_is_told, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
