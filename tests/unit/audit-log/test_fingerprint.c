/* What is the same error and what is another one. */
#include "services/audit-log/fingerprint.h"
#include "tests/support/check.h"

#include "libcommon/base/attr.h"

#include <stdio.h>
#include <string.h>

static void of(const char *name, const char *message, const char *stack, uint8_t out[SHA256_BYTES])
{
    const struct fingerprint_of what = {.source = STR("frontend"),
                                        .service = STR("web"),
                                        .name = str_from(name),
                                        .message = str_from(message),
                                        .stack = str_from(stack)};

    fingerprint(&what, out);
}

static bool same(const char *name, const char *a, const char *b, const char *one, const char *two)
{
    uint8_t first[SHA256_BYTES];
    uint8_t second[SHA256_BYTES];

    of(name, a, one, first);
    of(name, b, two, second);
    return memcmp(first, second, sizeof first) == 0;
}

static const struct {
    const char *a;
    const char *b;
    bool same;
} messages[] = {
    {"Request failed with status code 500",       "Request failed with status code 502", true },
    {"Timeout of 1,000.50 ms",                    "Timeout of 2 ms",                     true },
    {"User 8f14e45f-ceea-467f-9575-2b9a1c3d4e5f",
     "User 01234567-89ab-7def-8123-456789abcdef",                                        true },
    {"hash deadbeef01 is wrong",                  "hash 0badc0ffee is wrong",            true },
    {"no item k2j4h5g7x1",                        "no item 93hf8a2k1p",                  true },
    {"at 2026-01-31T10:11:12.123Z",               "at 2025-12-01T00:00:00.000Z",         true },
    {"GET https://a.example/x?y=1 failed",        "GET https://b.example/z failed",      true },
    {"GET /api/transactions/17 failed",           "GET /api/transactions/4242 failed",   true },
    {"Cannot read 'map' of undefined",            "Cannot read 'id' of undefined",       true },
    {"unknown \"foo bar\"",                       "unknown \"baz\"",                     true },
    {"unknown `foo`",                             "unknown `a/b`",                       true },
    {"two  blanks\n\tand a tab",                  "two blanks and a tab",                true },
    {"mail [masked] bounced",                     "mail 17 bounced",                     true },
    {"utf8 is unknown",                           "utf16 is unknown",                    true },
    {"map is not a function",                     "filter is not a function",            false},
    {"don't do this",                             "don't do that",                       false},
    {"the users' books and the users' keys",      "the users' tags and the users' keys", false},
    {"GET /api/transactions/17 failed",           "GET /api/accounts/17 failed",         false},
    {"decade is over",                            "facade is over",                      false},
    {"\xC3\xB1o",                                 "\xC3\xA1o",                           false},
    {"",                                          "x",                                   false},
};

static void messages_are_compared_without_what_differs(void **state)
{
    size_t wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(messages); i++) {
        if (same("E", messages[i].a, messages[i].b, "", "") != messages[i].same) {
            wrong++;
            print_error("'%s' and '%s'\n", messages[i].a, messages[i].b);
        }
    }
    assert_int_equal(wrong, 0);
}

#define CHROME                                       \
    "TypeError: x is not a function\n    at render " \
    "(https://a.example/assets/index-BxY3f2a9.js:10:2345)\n"

static const struct {
    const char *a;
    const char *b;
    bool same;
} stacks[] = {
    {CHROME "    at https://a.example/assets/vendor.4f3d2a1b.chunk.js:1:99",
     CHROME "    at https://b.example/v2/vendor.0a9b8c7d.chunk.js?x=1:1:100",
     true                                                                                            },
    {"at f (https://a.example/app-aB3dE5gH.js:1:2)",
     "at f (https://a.example/app-Zz9_yY-8.js:3:4"
     ")",                                                                                       true },
    {"f@https://a.example/app.js:1:2\ng@https://a.example/app.js:3:4",
     "f@https://a.example/app.js:9:8\ng@https://a.example/app.js:7:"
     "6",                                                                                       true },
    {"at f (webpack:///./src/App.jsx?ab12:10:5)",
     "at f (webpack:///./src/App.jsx?cd34:20:1"
     ")",                                                                                       true },
    {"Error: one\nat f "
     "(a.js:1:2"
     ")",                                                               "Error: anothe"
     "r\nat f "
     "(a.js:1:2"
     ")",                                                                         true },
    {"at f (a.js:1:2)\nat g (a.js:1:2)\nat h (a.js:1:2)\nat i (a.js:1:2)\nat j (a.js:1:2)\nat k "
     "(a.js:1:2)",                                                      "at f (a.js:1:2)\nat g (a.js:1:2)\nat h (a.js:1:2)\nat i (a.js:1:2)\nat j (a.js:1:2)\nat l "
     "(a.js:1:2)",                                                       true },
    {"at f (a.js:1:2"
     ")",                                                               "f@a.js:1:2",
     true                                                                                            },
    {"at f (a.js:1:2"
     ")",                                                               "at g (a.js:1:2)",
     false                                                                                           },
    {"at f (a.js:1:2"
     ")",                                                               "at f (b.js:1:2)",
     false                                                                                           },
    {"at f (main-page.js:1:2"
     ")",                                                               "at f (mai"
     "n-view.js"
     ":1:2)",                                                                     false},
    {"at f (a.js:1:2"
     ")",                                                               "",
     false                                                                                           },
};

static void stacks_are_compared_by_their_top_frames(void **state)
{
    size_t wrong = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(stacks); i++) {
        if (same("E", "m", "m", stacks[i].a, stacks[i].b) != stacks[i].same) {
            wrong++;
            print_error("%s\n--\n%s\n", stacks[i].a, stacks[i].b);
        }
    }
    assert_int_equal(wrong, 0);
}

/* The parts cannot run into each other. */
static void every_part_counts(void **state)
{
    struct fingerprint_of what = {STR("a"), STR("b"), STR("c"), STR("d"), STR_EMPTY};
    struct str *const parts[] = {&what.source, &what.service, &what.name, &what.message};
    uint8_t before[SHA256_BYTES];
    uint8_t after[SHA256_BYTES];

    (void)state;
    fingerprint(&what, before);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
        const struct str kept = *parts[i];

        *parts[i] = STR("other");
        fingerprint(&what, after);
        assert_memory_not_equal(before, after, sizeof before);
        *parts[i] = kept;
    }
    what.source = STR("ab");
    what.service = STR("");
    fingerprint(&what, after);
    assert_memory_not_equal(before, after, sizeof before);
    what.source = STR("a");
    what.service = STR("b");
    fingerprint(&what, after);
    assert_memory_equal(before, after, sizeof before);
}

static void long_texts_are_compared_by_their_beginning(void **state)
{
    static char a[100000];
    static char b[100000];

    (void)state;
    memset(a, 'x', sizeof a - 1);
    memcpy(b, a, sizeof b);
    b[sizeof b - 2] = 'y';
    assert_true(same("E", a, b, "", ""));
    assert_true(same("E", "m", "m", a, b));
    memset(a, '\'', sizeof a - 1);
    memset(b, '(', sizeof b - 1);
    assert_false(same("E", a, b, "", ""));
    b[0] = 'y';
    assert_false(same("E", a, b, a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_are_compared_without_what_differs),
        cmocka_unit_test(stacks_are_compared_by_their_top_frames),
        cmocka_unit_test(every_part_counts),
        cmocka_unit_test(long_texts_are_compared_by_their_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
