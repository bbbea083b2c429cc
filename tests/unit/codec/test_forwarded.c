/* Whose address counts behind a proxy, and whose word is not believed. */
#include "tests/support/check.h"

#include "libcommon/base/buf.h"
#include "libcommon/codec/forwarded.h"
#include "libcommon/codec/http_parse.h"

#include <stdio.h>
#include <string.h>

#define LINES_MAX 4
#define PROXY     "10.0.0.1"

static struct proxies proxies;

static int setup(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    return proxies_parse(STR("10.0.0.0/8, 2001:db8:f::/48,192.0.2.1"), &proxies, &err) == OK ? 0
                                                                                             : 1;
}

static struct http_request request_of(const char *const lines[LINES_MAX], const char *name)
{
    struct http_request r = {.header_count = 1};

    r.headers[0] = (struct http_header){STR("Host"), STR("avanta.example")};
    for (size_t i = 0; i < LINES_MAX && lines[i] != NULL; i++) {
        r.headers[r.header_count++] =
            (struct http_header){str_from(name), str_trim(str_from(lines[i]))};
        r.headers[r.header_count++] = (struct http_header){STR("X-Other"), STR("203.0.113.99")};
    }
    return r;
}

static void the_client_is_the_nearest_that_is_no_proxy(void **state)
{
    static const struct {
        const char *peer;
        const char *lines[LINES_MAX];
        const char *client;
    } cases[] = {
  /* believed */
        {PROXY,             {"203.0.113.7"},                                 "203.0.113.7"  },
        {PROXY,             {"198.51.100.1, 203.0.113.7"},                   "203.0.113.7"  },
        {PROXY,             {"203.0.113.7, 10.9.9.9"},                       "203.0.113.7"  },
        {PROXY,             {"198.51.100.1,203.0.113.7,192.0.2.1,10.1.1.1"}, "203.0.113.7"  },
        {"2001:db8:f::1",   {"2001:DB8:0:0::7"},                             "2001:db8::7"  },
        {"2001:db8:f::1",   {"203.0.113.7, 2001:db8:f:1::9"},                "203.0.113.7"  },
        {PROXY,             {"::ffff:203.0.113.7"},                          "203.0.113.7"  },
        {PROXY,             {"203.0.113.7, ::ffff:10.0.0.3"},                "203.0.113.7"  },
        {"::ffff:10.0.0.1", {"203.0.113.7"},                                 "203.0.113.7"  },
 /* several lines are one list */
        {PROXY,             {"198.51.100.1", "203.0.113.7"},                 "203.0.113.7"  },
        {PROXY,             {"198.51.100.1, 203.0.113.7", "10.0.0.2"},       "203.0.113.7"  },
        {PROXY,             {"203.0.113.7", "", "10.0.0.2,"},                "203.0.113.7"  },
 /* none but proxies: the farthest of them */
        {PROXY,             {"10.0.0.3, 10.0.0.2"},                          "10.0.0.3"     },
        {PROXY,             {NULL},                                          PROXY          },
        {PROXY,             {""},                                            PROXY          },
        {PROXY,             {" , ,"},                                        PROXY          },
 /* empty elements are none */
        {PROXY,             {"203.0.113.7, , 10.0.0.2, "},                   "203.0.113.7"  },
 /* what is no address ends it */
        {PROXY,             {"203.0.113.7, unknown"},                        PROXY          },
        {PROXY,             {"203.0.113.7, unknown, 10.0.0.2"},              "10.0.0.2"     },
        {PROXY,             {"203.0.113.7", "_hidden", "10.0.0.2"},          "10.0.0.2"     },
        {PROXY,             {"unknown, 203.0.113.7"},                        "203.0.113.7"  },
        {PROXY,             {"203.0.113.7:1234"},                            PROXY          },
        {PROXY,             {"[2001:db8::7]"},                               PROXY          },
        {PROXY,             {"\"203.0.113.7\""},                             PROXY          },
        {PROXY,             {"fe80::1%eth0"},                                PROXY          },
        {PROXY,             {"203.0.113.0/24"},                              PROXY          },
        {PROXY,             {"203.0.113.7 203.0.113.8"},                     PROXY          },
        {PROXY,             {"203.0.113.007"},                               PROXY          },
 /* who is no proxy says nothing */
        {"203.0.113.50",    {"198.51.100.1"},                                "203.0.113.50" },
        {"203.0.113.50",    {"198.51.100.1, 10.0.0.1"},                      "203.0.113.50" },
        {"2001:db8:e::1",   {"198.51.100.1"},                                "2001:db8:e::1"},
        {"11.0.0.1",        {"198.51.100.1"},                                "11.0.0.1"     },
        {"",                {"198.51.100.1"},                                ""             },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request r =
            request_of(cases[i].lines, i % 2 ? "x-forwarded-for" : "X-Forwarded-For");
        struct forwarded out;

        forwarded_read(&proxies, &r, str_from(cases[i].peer), &out);
        if (strcmp(out.client, cases[i].client) != 0) {
            fail_msg("case %zu: %s and not %s", i, out.client, cases[i].client);
        }
        assert_false(out.secure);
    }
}

static void without_proxies_nobody_is_believed(void **state)
{
    static const struct proxies none = {.count = 0};
    static const char *const lines[LINES_MAX] = {"203.0.113.7"};
    struct http_request r = request_of(lines, "X-Forwarded-For");
    struct forwarded out;

    (void)state;
    r.headers[r.header_count++] = (struct http_header){STR("X-Forwarded-Proto"), STR("https")};
    forwarded_read(&none, &r, STR("127.0.0.1"), &out);
    assert_string_equal(out.client, "127.0.0.1");
    assert_false(out.secure);
}

/* A chain longer than is looked at ends at the last proxy that was. */
static void elements_are_bounded(void **state)
{
    char text[2048];
    struct buf b = buf_over(text, sizeof text);
    const char *lines[LINES_MAX] = {text};
    struct http_request r;
    struct forwarded out;

    (void)state;
    buf_text(&b, "203.0.113.7");
    for (unsigned i = 0; i < HTTP_FORWARDED_MAX - 1; i++) {
        buf_printf(&b, ", 10.1.0.%u", i + 1);
    }
    assert_true(buf_terminate(&b));
    r = request_of(lines, "X-Forwarded-For");
    forwarded_read(&proxies, &r, STR(PROXY), &out);
    assert_string_equal(out.client, "203.0.113.7");
    b = buf_over(text, sizeof text);
    buf_text(&b, "203.0.113.7");
    for (unsigned i = 0; i < HTTP_FORWARDED_MAX; i++) {
        buf_printf(&b, ", 10.1.0.%u", i + 1);
    }
    assert_true(buf_terminate(&b));
    r = request_of(lines, "X-Forwarded-For");
    forwarded_read(&proxies, &r, STR(PROXY), &out);
    assert_string_equal(out.client, "10.1.0.1");
}

static void the_proxys_word_on_tls_is_one(void **state)
{
    static const struct {
        const char *peer;
        const char *lines[LINES_MAX];
        bool secure;
    } cases[] = {
        {PROXY,         {"https"},          true },
        {PROXY,         {"HTTPS"},          true },
        {PROXY,         {"http"},           false},
        {PROXY,         {"https, http"},    false},
        {PROXY,         {"https", "http"},  false},
        {PROXY,         {"https", "https"}, false},
        {PROXY,         {""},               false},
        {PROXY,         {NULL},             false},
        {"203.0.113.7", {"https"},          false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http_request r = request_of(cases[i].lines, "X-Forwarded-Proto");
        struct forwarded out;

        forwarded_read(&proxies, &r, str_from(cases[i].peer), &out);
        if (out.secure != cases[i].secure) {
            fail_msg("case %zu", i);
        }
        assert_string_equal(out.client, cases[i].peer);
    }
}

static void lists_of_proxies_are_read_or_refused(void **state)
{
    static const char *const bad[] = {
        ",",
        "10.0.0.1,",
        ",10.0.0.1",
        "10.0.0.1 10.0.0.2",
        "10.0.0.1/8",
        "localhost",
        "*",
        "10.0.0",
    };
    char text[1024];
    struct buf b = buf_over(text, sizeof text);
    struct proxies out;
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(proxies_parse(STR_EMPTY, &out, &err), OK);
    assert_int_equal(out.count, 0);
    assert_int_equal(proxies_parse(STR("  "), &out, &err), OK);
    assert_int_equal(out.count, 0);
    assert_int_equal(proxies_parse(STR(" ::1 , 10.0.0.0/8"), &out, &err), OK);
    assert_int_equal(out.count, 2);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        err = (struct err){.code = OK};
        if (proxies_parse(str_from(bad[i]), &out, &err) != ERR_INVALID) {
            fail_msg("%s was taken", bad[i]);
        }
    }
    for (unsigned i = 0; i < HTTP_PROXIES_MAX; i++) {
        buf_printf(&b, "%s10.0.0.%u", i == 0 ? "" : ",", i);
    }
    assert_int_equal(proxies_parse(buf_view(&b), &out, &err), OK);
    assert_int_equal(out.count, HTTP_PROXIES_MAX);
    buf_text(&b, ",10.0.1.1");
    err = (struct err){.code = OK};
    assert_int_equal(proxies_parse(buf_view(&b), &out, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_client_is_the_nearest_that_is_no_proxy),
        cmocka_unit_test(without_proxies_nobody_is_believed),
        cmocka_unit_test(elements_are_bounded),
        cmocka_unit_test(the_proxys_word_on_tls_is_one),
        cmocka_unit_test(lists_of_proxies_are_read_or_refused),
    };

    return cmocka_run_group_tests(tests, setup, NULL);
}
