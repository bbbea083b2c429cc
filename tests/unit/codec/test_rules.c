#include "tests/support/check.h"
#include "tests/support/sample.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/money.h"
#include "libcommon/codec/rules.h"
#include "libcommon/codec/transcode.h"

#include <stdio.h>
#include <string.h>

static const struct date today = {2025, 6, 15};
static struct arena_pool *pool;
static struct violations violations;

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

/* A body through both: what it cannot be read as, and what the rules say. */
static Sample__Order *check(struct arena *arena, struct str json)
{
    Sample__Order *order = (Sample__Order *)transcode_new(&sample__order__descriptor, arena);
    struct err err = {0};

    violations_init(&violations, arena);
    if (transcode_from_json(json, &sample_order_rules, arena, &order->base, &violations, &err) !=
        OK) {
        fail_msg("%.*s: %s", STR_FMT(json), err.text);
    }
    rules_check(&order->base, &sample_order_rules, today, &violations);
    return order;
}

struct expected {
    const char *field;
    const char *code;
};

static void assert_rows(const struct expected *rows, size_t count)
{
    for (size_t i = 0; i < violations.count && i < count; i++) {
        assert_string_equal(violations.rows[i].field, rows[i].field);
        assert_string_equal(violations.rows[i].code, rows[i].code);
    }
    assert_int_equal(violations.count, count);
}

#define LINES "\"lines\":[{\"concept\":\"c\",\"amount\":1}]"

static void passes_what_keeps_the_rules(void **state)
{
    (void)check(*state, STR("{\"title\":\"ok\",\"amount\":1," LINES "}"));
    assert_rows(NULL, 0);
}

static void names_every_missing_field(void **state)
{
    static const struct expected rows[] = {
        {"amount", "required"},
        {"title",  "required"},
    };

    (void)check(*state, STR("{}"));
    assert_rows(rows, ARRAY_LEN(rows));
    (void)check(*state, STR("{\"title\":\" \"}"));
    assert_rows(rows, ARRAY_LEN(rows));
    assert_string_equal(violations.rows[1].message, "is required");
}

/* What could not be read is not also missing. */
static void reports_each_mistake_once(void **state)
{
    static const struct expected rows[] = {
        {"amount",           "type"    },
        {"title",            "type"    },
        {"lines[0]",         "type"    },
        {"lines[1].amount",  "type"    },
        {"ids[0]",           "type"    },
        {"howMany",          "type"    },
        {"lines[1].concept", "required"},
        {"ids[1]",           "min"     },
    };

    (void)check(*state,
                STR("{\"amount\":\"x\",\"title\":5,\"lines\":[7,{\"amount\":[]}],\"ids\":[\"x\",0],"
                    "\"howMany\":-1.5}"));
    assert_rows(rows, ARRAY_LEN(rows));
}

static void walks_nested_messages(void **state)
{
    static const struct expected rows[] = {
        {"lines[0].concept", "required"},
        {"lines[0].amount",  "required"},
        {"lines[1].amount",  "min"     },
        {"lines[2].concept", "length"  },
        {"first.concept",    "required"},
        {"first.amount",     "min"     },
    };

    (void)check(*state,
                STR("{\"title\":\"ok\",\"amount\":1,\"lines\":[{},{\"concept\":\"a\",\"amount\":0},"
                    "{\"concept\":\"12345678901\",\"amount\":1}],\"first\":{\"amount\":-1}}"));
    assert_rows(rows, ARRAY_LEN(rows));
}

static void
breaks(struct arena *arena, size_t row, const char *member, const char *field, const char *code)
{
    char memory[512];
    struct buf b = buf_over(memory, sizeof(memory));

    buf_printf(&b, "{\"title\":\"ok\",\"amount\":1,%s}", member);
    (void)check(arena, buf_view(&b));
    if (code == NULL) {
        assert_row(row, violations.count == 0);
        return;
    }
    if (violations.count != 1 || strcmp(violations.rows[0].field, field) != 0 ||
        strcmp(violations.rows[0].code, code) != 0) {
        fail_msg("row %zu: %zu violations, %s %s",
                 row,
                 violations.count,
                 violations.count == 0 ? "" : violations.rows[0].field,
                 violations.count == 0 ? "" : violations.rows[0].code);
    }
}

static void checks_each_rule(void **state)
{
    static const struct {
        const char *member;
        const char *field;
        const char *code;
    } rows[] = {
        {"\"small\":10",                                             "small",    NULL     },
        {"\"small\":11",                                             "small",    "max"    },
        {"\"small\":-11",                                            "small",    "min"    },
        {"\"huge\":9223372036854775806",                             "huge",     NULL     },
        {"\"huge\":9223372036854775807",                             "huge",     "max"    },
        {"\"huge\":18446744073709551615",                            "huge",     "max"    },
        {"\"rate\":0",                                               "rate",     "min"    },
        {"\"rate\":1000000.000001",                                  "rate",     "max"    },
        {"\"ids\":[1,2,0]",                                          "ids[2]",   "min"    },
        {"\"tags\":[\"a\",\"b\"]",                                   "tags",     NULL     },
        {"\"tags\":[\"a\",\"b\",\"c\"]",                             "tags",     "length" },
        {"\"kind\":\"basic\"",                                       "kind",     NULL     },
        {"\"kind\":\"BASIC\"",                                       "kind",     "value"  },
        {"\"kind\":\"\"",                                            "kind",     "value"  },
        {"\"date\":\"2025-06-15\"",                                  "date",     NULL     },
        {"\"date\":\"2025-06-16\"",                                  "date",     "future" },
        {"\"date\":\"2024-02-29\"",                                  "date",     NULL     },
        {"\"date\":\"2025-02-29\"",                                  "date",     "date"   },
        {"\"date\":\"15/06/2025\"",                                  "date",     "date"   },
        {"\"date\":\"2025-06-15T00:00:00Z\"",                        "date",     "date"   },
        {"\"rfc\":\"xaxx010101000\"",                                "rfc",      NULL     },
        {"\"rfc\":\"\"",                                             "rfc",      "pattern"},
        {"\"email\":\"nobody\"",                                     "email",    "pattern"},
        {"\"metadata\":\"0123456789012345678901234567890123456\"",   "metadata", NULL     },
        {"\"metadata\":\"012345678901234567890123456789012345678\"", "metadata", "length" },
        {"\"blob\":\"AQIDBA\"",                                      "blob",     NULL     },
        {"\"blob\":\"AQIDBAU\"",                                     "blob",     "length" },
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        breaks(*state, i, rows[i].member, rows[i].field, rows[i].code);
    }
}

static void says_what_the_bounds_are(void **state)
{
    static const char *const texts[] = {
        "must be at least -5000.00",
        "must have at least 2 characters",
        "must be at most 1000000",
        "must be one of: basic, full",
    };

    (void)check(*state,
                STR("{\"title\":\"x\",\"amount\":-5000.01,\"rate\":2000000,\"kind\":\"x\"}"));
    assert_int_equal(violations.count, ARRAY_LEN(texts));
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_string_equal(violations.rows[i].message, texts[i]);
    }
}

static void counts_code_points(void **state)
{
    (void)check(
        *state,
        STR("{\"amount\":1,\"title\":\"\xC3\xB1\xC3\xB1\xC3\xB1\xC3\xB1\xC3\xB1\xC3\xB1\xC3\xB1"
            "\xC3\xB1\xC3\xB1\xC3\xB1"
            "\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80\xF0\x9F\x98\x80"
            "12345\"}"));
    assert_rows(NULL, 0);
    (void)check(*state, STR("{\"amount\":1,\"title\":\"\xC3\xB1\"}"));
    assert_rows(&(struct expected){"title", "length"}, 1);
}

/* Every broken rule of one field. */
static void reports_several_rules_of_one_field(void **state)
{
    static const struct expected rows[] = {
        {"date",     "utf8"   },
        {"notes",    "control"},
        {"title",    "control"},
        {"rfc",      "control"},
        {"rfc",      "pattern"},
        {"metadata", "type"   },
    };
    static const size_t order[] = {2, 5, 0, 3, 4, 1};
    Sample__Order o = SAMPLE__ORDER__INIT;

    violations_init(&violations, *state);
    o.title = (char[]){"o\xE2\x80\xAAk"};
    o.has_amount = 1;
    o.date = (char[]){"\xFF"};
    o.notes = (char[]){"\a"};
    o.rfc = (char[]){"A\n"};
    o.metadata = (char[]){"{\"x\""};
    rules_check(&o.base, &sample_order_rules, today, &violations);
    assert_int_equal(violations.count, ARRAY_LEN(rows));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        assert_string_equal(violations.rows[i].field, rows[order[i]].field);
        assert_string_equal(violations.rows[i].code, rows[order[i]].code);
    }
}

static void bounds_amounts_without_bounds_of_their_own(void **state)
{
    static const struct {
        int64_t amount;
        const char *code;
    } rows[] = {
        {MONEY_MAX_CENTAVOS,      NULL },
        {MONEY_MAX_CENTAVOS + 1,  "max"},
        {-MONEY_MAX_CENTAVOS,     NULL },
        {-MONEY_MAX_CENTAVOS - 1, "min"},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        Sample__Strict s = SAMPLE__STRICT__INIT;

        violations_init(&violations, *state);
        s.name = (char[]){"x"};
        s.has_amount = 1;
        s.amount = rows[i].amount;
        rules_check(&s.base, &sample_strict_rules, today, &violations);
        assert_rows(&(struct expected){"amount", rows[i].code}, rows[i].code == NULL ? 0 : 1);
    }
}

static void bounds_the_depth(void **state)
{
    static char name[] = "x";
    Sample__Strict levels[64];

    violations_init(&violations, *state);
    for (size_t i = 0; i < ARRAY_LEN(levels); i++) {
        sample__strict__init(&levels[i]);
        levels[i].name = name;
        levels[i].inner = i == 0 ? NULL : &levels[i - 1];
    }
    rules_check(&levels[31].base, &sample_strict_rules, today, &violations);
    assert_int_equal(violations.count, 0);
    rules_check(&levels[63].base, &sample_strict_rules, today, &violations);
    assert_int_equal(violations.count, 1);
    assert_string_equal(violations.rows[0].code, "type");
}

static const struct {
    const char *text;
    enum api_pattern pattern;
    bool matches;
} patterns[] = {
    {"XAXX010101000",                                                          API_PATTERN_RFC,         true },
    {"XEXX010101000",                                                          API_PATTERN_RFC,         true },
    {"GODE561231GR8",                                                          API_PATTERN_RFC,         true },
    {"ABC680524P76",                                                           API_PATTERN_RFC,         true },
    {"\xC3\x91"
     "A&\xC3\x91"
     "000229AAA",                                                         API_PATTERN_RFC,
     true                                                                                                    },
    {"&&&010101AB1",                                                           API_PATTERN_RFC,         true },
    {"GODE560229GR8",                                                          API_PATTERN_RFC,         true },
    {"GODE570229GR8",                                                          API_PATTERN_RFC,         false},
    {"GODE561331GR8",                                                          API_PATTERN_RFC,         false},
    {"GODE560431GR8",                                                          API_PATTERN_RFC,         false},
    {"GODE560400GR8",                                                          API_PATTERN_RFC,         false},
    {"gode561231gr8",                                                          API_PATTERN_RFC,         false},
    {"GODE561231GR",                                                           API_PATTERN_RFC,         false},
    {"GODEX561231GR8",                                                         API_PATTERN_RFC,         false},
    {"GO561231GR8",                                                            API_PATTERN_RFC,         false},
    {"GODE561231GR88",                                                         API_PATTERN_RFC,         false},
    {"GOD1561231GR8",                                                          API_PATTERN_RFC,         false},
    {"GODE561231G-8",                                                          API_PATTERN_RFC,         false},
    {"GODE56123AGR8",                                                          API_PATTERN_RFC,         false},
    {"GOD\xC3\x92"
     "561231GR8",                                                         API_PATTERN_RFC,
     false                                                                                                   },
    {"\x91GODE561231GR8",                                                      API_PATTERN_RFC,         false},
    {"561231GR8",                                                              API_PATTERN_RFC,         false},
    {"",                                                                       API_PATTERN_RFC,         false},
    {"a@b.mx",                                                                 API_PATTERN_EMAIL,       true },
    {"first.last+tag@sub.example.com",                                         API_PATTERN_EMAIL,       true },
    {"o'neil@example.com",                                                     API_PATTERN_EMAIL,       true },
    {"jos\xC3\xA9@ejemplo.mx",                                                 API_PATTERN_EMAIL,       true },
    {"x@xn--ls8h.la",                                                          API_PATTERN_EMAIL,       true },
    {"a@b",                                                                    API_PATTERN_EMAIL,       false},
    {"a@localhost",                                                            API_PATTERN_EMAIL,       false},
    {"a@b.c",                                                                  API_PATTERN_EMAIL,       false},
    {"@b.mx",                                                                  API_PATTERN_EMAIL,       false},
    {"a@",                                                                     API_PATTERN_EMAIL,       false},
    {"a@@b.mx",                                                                API_PATTERN_EMAIL,       false},
    {"a@b@c.mx",                                                               API_PATTERN_EMAIL,       false},
    {"a b@c.mx",                                                               API_PATTERN_EMAIL,       false},
    {"a@c .mx",                                                                API_PATTERN_EMAIL,       false},
    {"a@.mx",                                                                  API_PATTERN_EMAIL,       false},
    {"a@b..mx",                                                                API_PATTERN_EMAIL,       false},
    {"a@b.mx.",                                                                API_PATTERN_EMAIL,       false},
    {"a@-b.mx",                                                                API_PATTERN_EMAIL,       false},
    {"a@b-.mx",                                                                API_PATTERN_EMAIL,       false},
    {"a@10.0.0.10",                                                            API_PATTERN_EMAIL,       false},
    {".a@b.mx",                                                                API_PATTERN_EMAIL,       false},
    {"a.@b.mx",                                                                API_PATTERN_EMAIL,       false},
    {"a..b@c.mx",                                                              API_PATTERN_EMAIL,       false},
    {"\"a\"@b.mx",                                                             API_PATTERN_EMAIL,       false},
    {"a<b@c.mx",                                                               API_PATTERN_EMAIL,       false},
    {"a\nb@c.mx",                                                              API_PATTERN_EMAIL,       false},
    {"1234567890123456789012345678901234567890123456789012345678901234@b.mx",
     API_PATTERN_EMAIL,                                                                                 true },
    {"12345678901234567890123456789012345678901234567890123456789012345@b.mx",
     API_PATTERN_EMAIL,                                                                                 false},
    {"",                                                                       API_PATTERN_EMAIL,       false},
    {"0192f0c1-2b3c-7def-8abc-0123456789AB",                                   API_PATTERN_UUID,        true },
    {"0192f0c12b3c7def8abc0123456789ab",                                       API_PATTERN_UUID,        false},
    {"0192f0c1-2b3c-7def-8abc-0123456789ag",                                   API_PATTERN_UUID,        false},
    {"MXN",                                                                    API_PATTERN_CURRENCY,    true },
    {"mxn",                                                                    API_PATTERN_CURRENCY,    false},
    {"MXNN",                                                                   API_PATTERN_CURRENCY,    false},
    {"MX1",                                                                    API_PATTERN_CURRENCY,    false},
    {"#3B82f6",                                                                API_PATTERN_COLOR,       true },
    {"3B82F6",                                                                 API_PATTERN_COLOR,       false},
    {"#3B82F",                                                                 API_PATTERN_COLOR,       false},
    {"#3B82FG",                                                                API_PATTERN_COLOR,       false},
    {"#3B82F66",                                                               API_PATTERN_COLOR,       false},
    {"https://example.com/a?b=c#d",                                            API_PATTERN_URL_OR_PATH, true },
    {"http://localhost:8080",                                                  API_PATTERN_URL_OR_PATH, true },
    {"/receipts/1.pdf",                                                        API_PATTERN_URL_OR_PATH, true },
    {"/",                                                                      API_PATTERN_URL_OR_PATH, true },
    {"//evil.example",                                                         API_PATTERN_URL_OR_PATH, false},
    {"/\\evil.example",                                                        API_PATTERN_URL_OR_PATH, false},
    {"javascript:alert(1)",                                                    API_PATTERN_URL_OR_PATH, false},
    {"data:text/html,x",                                                       API_PATTERN_URL_OR_PATH, false},
    {"https://",                                                               API_PATTERN_URL_OR_PATH, false},
    {"https:///x",                                                             API_PATTERN_URL_OR_PATH, false},
    {"https://a b",                                                            API_PATTERN_URL_OR_PATH, false},
    {"ftp://x",                                                                API_PATTERN_URL_OR_PATH, false},
    {"receipts/1.pdf",                                                         API_PATTERN_URL_OR_PATH, false},
    {"",                                                                       API_PATTERN_URL_OR_PATH, false},
    {"anything",                                                               API_PATTERN_NONE,        true },
};

static void matches_patterns(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(patterns); i++) {
        assert_row(i,
                   pattern_matches(patterns[i].pattern, str_from(patterns[i].text)) ==
                       patterns[i].matches);
    }
    assert_false(pattern_matches(API_PATTERN_RFC, (struct str){"XAXX010101000\0", 14}));
    assert_false(pattern_matches(API_PATTERN_CURRENCY, (struct str){"MX\0", 3}));
}

static void keeps_violations_within_bounds(void **state)
{
    struct arena *small = arena_open(pool, 400);
    char text[700];

    memset(text, 'x', sizeof(text) - 1);
    memcpy(text + 509, "\xC3\xB1", 2); /* a character where the text is cut */
    text[sizeof(text) - 1] = '\0';
    violations_init(&violations, *state);
    violations_add(&violations, "a", "type", "%s", text);
    assert_int_equal(strlen(violations.rows[0].message), 509);
    for (int i = 0; i < VIOLATIONS_MAX + 5; i++) {
        violations_add(&violations, "b", "type", "%d", i);
    }
    assert_int_equal(violations.count, VIOLATIONS_MAX);
    assert_int_equal(violations.more, 6);
    violations_init(&violations, small);
    for (int i = 0; i < 20; i++) {
        violations_add(&violations, "field", "type", "a text of some length, number %d", i);
    }
    assert_int_equal(violations.count + violations.more, 20);
    assert_in_range(violations.more, 1, 19);
    arena_dispose(&small);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(passes_what_keeps_the_rules, setup, teardown),
        cmocka_unit_test_setup_teardown(names_every_missing_field, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_each_mistake_once, setup, teardown),
        cmocka_unit_test_setup_teardown(walks_nested_messages, setup, teardown),
        cmocka_unit_test_setup_teardown(checks_each_rule, setup, teardown),
        cmocka_unit_test_setup_teardown(says_what_the_bounds_are, setup, teardown),
        cmocka_unit_test_setup_teardown(counts_code_points, setup, teardown),
        cmocka_unit_test_setup_teardown(reports_several_rules_of_one_field, setup, teardown),
        cmocka_unit_test_setup_teardown(
            bounds_amounts_without_bounds_of_their_own, setup, teardown),
        cmocka_unit_test_setup_teardown(bounds_the_depth, setup, teardown),
        cmocka_unit_test_setup_teardown(matches_patterns, setup, teardown),
        cmocka_unit_test_setup_teardown(keeps_violations_within_bounds, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
