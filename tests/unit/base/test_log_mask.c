/* What must not stand in a log does not, however it is written; what is harmless stays. */
#include "tests/support/check.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/log_mask.h"

#include <string.h>

#define JWT "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbmEifQ.c2lnbmF0dXJl"
#define KEY "avk_0123456789ab_AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE"
#define M   LOG_MASK

static void keys_are_known(void **state)
{
    static const char *const secret[] = {
        "password",   "new_password",  "password_hash", "token",     "refresh_token", "token_id",
        "secret",     "client_secret", "authorization", "cookie",    "set_cookie",    "api_key",
        "email",      "user_email",    "rfc",           "curp",      "name",          "first_name",
        "otp",        "totp",          "dsn",           "signature", "phone",         "client_ip",
        "user_agent", "query"};
    static const char *const open[] = {"request_id", "trace",   "user",     "client", "code",
                                       "status",     "method",  "route",    "cause",  "field",
                                       "hostname",   "rfcs",    "tokenize", "us",     "bytes_in",
                                       "bus",        "passing", "",         "_",      "9"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(secret); i++) {
        assert_row(i, log_mask_key(secret[i]));
    }
    for (size_t i = 0; i < ARRAY_LEN(open); i++) {
        assert_row(i, !log_mask_key(open[i]));
    }
}

static const struct {
    const char *text;
    const char *shown;
} rows[] = {
  /* harmless */
    {"",                                                                 ""                                    },
    {"connection refused: 127.0.0.1:5432",                               "connection refused: 127.0.0.1:5432"  },
    {"0199ab12-3456-7890-abcd-ef0123456789",                             "0199ab12-3456-7890-abcd-ef0123456789"},
    {"00-0123456789abcdef0123456789abcdef-0123456789abcdef-01",
     "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"                                                 },
    {"0123456789abcdef0123456789abcdef",                                 "0123456789abcdef0123456789abcdef"    },
    {"avk_0123456789ab",                                                 "avk_0123456789ab"                    },
    {"ledger.CreateTransaction",                                         "ledger.CreateTransaction"            },
    {"the password is wrong",                                            "the password is wrong"               },
    {"2026-11-24T14:12:58.668Z",                                         "2026-11-24T14:12:58.668Z"            },
    {"_INBOX.audit-log.0123456789abcdef0123456789abcdef.12",
     "_INBOX.audit-log.0123456789abcdef0123456789abcdef.12"                                                    },
    {"caf\xC3\xA9 con leche",                                            "caf\xC3\xA9 con leche"               },
 /* e-mail addresses, and what looks like one */
    {"ana@example.com",                                                  M                                     },
    {"no user ana.p+x@example.com here",                                 "no user " M " here"                  },
    {"<ana@example.com>,bob@example.org;",                               "<" M ">," M ";"                      },
    {"mail=ana%40example.com&x",                                         M                                     },
    {"jos\xC3\xA9@ejemplo.mx!",                                          M                                     },
    {"postgres://u:hunter2@db/x is down",                                M " is down"                          },
    {"\"ana@example.com\"",                                              "\"" M "\""                           },
 /* tokens and keys */
    {JWT,                                                                M                                     },
    {"Bearer " JWT " was refused",                                       "Bearer " M " was refused"            },
    {"bearer abc",                                                       "bearer " M                           },
    {"Authorization: Basic YTpi",                                        "Authorization: Basic " M             },
    {"(" KEY ")",                                                        "(" M ")"                             },
    {"x=" KEY,                                                           "x=" M                                },
    {"url?t=" JWT "&y=1 end",                                            "url?t=" M " end"                     },
    {"AbCdEfGhIjKlMnOpQrStUvWxYz0123456789-_AbCdE",                      M                                     },
    {"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", M                                     },
    {"$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$aGFzaA",                     M                                     },
 /* what follows a telling word */
    {"password=correct horse battery",                                   "password=" M                         },
    {"{\"password\": \"hunter2\", \"x\": 1}",                            "{\"password\": \"" M                 },
    {"PASSWORD : hunter2",                                               "PASSWORD : " M                       },
    {"Set-Cookie: session=abc; Path=/",                                  "Set-Cookie: " M                      },
    {"X-Api-Key: nothing",                                               "X-Api-Key: nothing"                  },
 /* people and accounts */
    {"PEPJ800101AB1",                                                    M                                     },
    {"rfc PEPJ800101AB1, curp PEPJ800101HDFRRN09.",                      "rfc " M ", curp " M "."              },
    {"card 4111111111111111 clabe 032180000118359719",                   "card " M " clabe " M                 },
    {"number 123456789012345",                                           "number 123456789012345"              },
};

static void texts_are_masked(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char memory[LOG_MASK_BYTES];
        bool cut = true;
        struct str shown = log_mask_text(str_from(rows[i].text), memory, &cut);

        if (!str_eq(shown, str_from(rows[i].shown))) {
            fail_msg("%s is shown as %.*s", rows[i].text, STR_FMT(shown));
        }
        assert_row(i, !cut);
    }
}

/* Wherever the limits fall, no part of the secret of this length or more is shown. */
static void long_texts_are_cut_without_a_leak(void **state)
{
    static const char secret[] = "someone.with.a.long.name@example.com";
    char text[LOG_MASK_SCAN_MAX + 200];

    (void)state;
    for (size_t at = 0; at + sizeof secret < sizeof text; at++) {
        char memory[LOG_MASK_BYTES];
        bool cut = false;
        size_t found = 0;
        struct str shown;

        memset(text, ' ', sizeof text);
        memcpy(text + at, secret, sizeof secret - 1);
        shown = log_mask_text((struct str){text, sizeof text}, memory, &cut);
        assert_row(at, cut);
        assert_row(at, shown.len <= LOG_MASK_SCAN_MAX);
        assert_row(at, !str_find(shown, STR("some"), &found));
    }
}

/* Much that shrinks does not bring the end of the text into sight unmasked. */
static void many_secrets(void **state)
{
    char text[3 * LOG_MASK_SCAN_MAX];
    struct buf b = buf_over(text, sizeof text);
    char memory[LOG_MASK_BYTES];
    bool cut = false;
    size_t found = 0;
    struct str shown;

    (void)state;
    while (!b.overflow) {
        buf_text(&b, JWT " ");
    }
    shown = log_mask_text(buf_view(&b), memory, &cut);
    assert_true(cut);
    assert_true(shown.len <= LOG_MASK_BYTES);
    assert_false(str_find(shown, STR("ey"), &found));
}

static void addresses_lose_their_end(void **state)
{
    static const struct {
        const char *address;
        const char *shown;
    } addresses[] = {
        {"203.0.113.77",              "203.0.113.0" },
        {"10.1.2.3",                  "10.1.2.0"    },
        {"2001:db8:1:2:3:4:5:6",      "2001:db8:1::"},
        {"2001:db8::1",               "2001:db8::"  },
        {"::1",                       "::"          },
        {"",                          "-"           },
        {"host",                      "-"           },
        {"203.0.113.77 203.0.113.77", "-"           },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        char shown[LOG_ADDRESS_BYTES];

        log_mask_address(str_from(addresses[i].address), shown);
        assert_string_equal(shown, addresses[i].shown);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_are_known),
        cmocka_unit_test(texts_are_masked),
        cmocka_unit_test(long_texts_are_cut_without_a_leak),
        cmocka_unit_test(many_secrets),
        cmocka_unit_test(addresses_lose_their_end),
    };

    return cmocka_run_group_tests_name("log_mask", tests, NULL, NULL);
}
