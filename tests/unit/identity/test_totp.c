/* One-time codes: the vectors of RFC 6238 (appendix B) and RFC 4648, the window, the URI, recovery
 * codes; which roles must have a second factor. */
#include "services/identity/identity.h"
#include "services/identity/mfa.h"
#include "services/identity/totp.h"
#include "tests/support/check.h"

#include "libcommon/base/attr.h"
#include "libcommon/codec/access.h"

#include <string.h>

static const char rfc_seed[] = "12345678901234567890";

static const uint8_t *seed(void)
{
    return (const uint8_t *)rfc_seed;
}

static int setup(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    return totp_open(&err) == OK ? 0 : 1;
}

static int teardown(void **state)
{
    (void)state;
    totp_close();
    return 0;
}

/* --- TOTP --- */

/* The RFC gives eight digits; six are their end. */
static const struct {
    uint64_t now_s;
    const char *code;
} vectors[] = {
    {59,          "287082"},
    {1111111109,  "081804"},
    {1111111111,  "050471"},
    {1234567890,  "005924"},
    {2000000000,  "279037"},
    {20000000000, "353130"},
};

static void codes_are_those_of_rfc_6238(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(vectors); i++) {
        uint64_t step = 0;

        assert_row(i, totp_match(seed(), str_from(vectors[i].code), vectors[i].now_s, &step));
        assert_row(i, step == vectors[i].now_s / 30);
    }
}

/* 1111111109 is the last second but one of its step, 37037036. */
static void a_code_is_good_one_step_before_and_after(void **state)
{
    static const struct {
        int64_t steps;
        bool good;
    } rows[] = {
        {-2, false},
        {-1, true },
        {0,  true },
        {1,  true },
        {2,  false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const uint64_t now_s = (uint64_t)(1111111109 + 30 * rows[i].steps);
        uint64_t step = 0;

        assert_row(i, totp_match(seed(), STR("081804"), now_s, &step) == rows[i].good);
        assert_row(i, !rows[i].good || step == 37037036);
    }
}

static void what_is_no_code_matches_nothing(void **state)
{
    static const char *const texts[] = {"",
                                        "0818",
                                        "08180",
                                        "0818041",
                                        "07081804",
                                        "08180a",
                                        "+81804",
                                        " 81804",
                                        "08180\t",
                                        "081804 ",
                                        "081805",
                                        "o81804",
                                        "081 804"};
    uint64_t step = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_row(i, !totp_match(seed(), str_from(texts[i]), 1111111109, &step));
    }
}

/* --- base32 and URI --- */

static void base32_is_that_of_rfc_4648(void **state)
{
    char text[TOTP_SECRET_BYTES];

    (void)state;
    base32_encode((const uint8_t *)"fooba", 5, text);
    assert_string_equal(text, "MZXW6YTB");
    base32_encode(seed(), TOTP_SEED_BYTES, text);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    base32_encode((const uint8_t *)"\0\0\0\0\0\xff\xff\xff\xff\xff", 10, text);
    assert_string_equal(text, "AAAAAAAA77777777");
    base32_encode((const uint8_t *)"", 0, text);
    assert_string_equal(text, "");
}

static void the_uri_escapes_what_an_app_would_misread(void **state)
{
    const struct str secret = STR("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
    char memory[512];
    struct buf uri = buf_over(memory, sizeof memory);

    (void)state;
    totp_uri(&uri, STR("Avanta"), STR("ana+x?&#%:/ñ@example.com"), secret);
    assert_true(buf_terminate(&uri));
    assert_string_equal(memory,
                        "otpauth://totp/Avanta:ana%2Bx%3F%26%23%25%3A%2F%C3%B1%40example.com"
                        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=Avanta"
                        "&algorithm=SHA1&digits=6&period=30");
    buf_reset(&uri);
    totp_uri(&uri, STR("A b"), STR("a-b._~c@x.mx"), secret);
    assert_true(buf_terminate(&uri));
    assert_string_equal(memory,
                        "otpauth://totp/A%20b:a-b._~c%40x.mx"
                        "?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=A%20b"
                        "&algorithm=SHA1&digits=6&period=30");
}

/* --- recovery codes --- */

static void a_recovery_code_has_its_form(void **state)
{
    char code[RECOVERY_CODE_BYTES];
    char other[RECOVERY_CODE_BYTES];

    (void)state;
    recovery_code_make(code);
    recovery_code_make(other);
    assert_int_equal(strlen(code), 29);
    for (size_t i = 0; i < 29; i++) {
        const char *allowed = i % 5 == 4 ? "-" : "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

        assert_row(i, strchr(allowed, code[i]) != NULL);
    }
    assert_string_not_equal(code, other);
}

/* SHA-256 of its 24 characters, by sha256sum(1). */
static void a_recovery_code_is_read_as_people_type_it(void **state)
{
    static const char *const same[] = {
        "ABCD-EFGH-IJKL-MNOP-QRST-2345",
        "abcd-efgh-ijkl-mnop-qrst-2345",
        "ABCDEFGHIJKLMNOPQRST2345",
        " abcd efgh ijkl mnop qrst 2345 ",
    };
    uint8_t wanted[SHA256_BYTES];
    size_t len = 0;

    (void)state;
    assert_true(hex_decode(STR("7d420664ee4eb09e9dfa51892f2967ea4ecba28751ec592c54134b551c51fdec"),
                           wanted,
                           sizeof wanted,
                           &len));
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        uint8_t hash[SHA256_BYTES] = {0};

        assert_row(i, recovery_code_hash(str_from(same[i]), hash));
        assert_row(i, memcmp(hash, wanted, sizeof hash) == 0);
    }
}

static void what_is_no_recovery_code_has_no_hash(void **state)
{
    static const char *const texts[] = {
        "",
        "123456",
        "ABCD-EFGH-IJKL-MNOP-QRST-234",
        "ABCD-EFGH-IJKL-MNOP-QRST-23456",
        "ABCD-EFGH-IJKL-MNOP-QRST-2341",
        "ABCD_EFGH_IJKL_MNOP_QRST_2345",
        "ABCD-EFGH-IJKL-MNOP-QRST-234\xC3\xB1",
    };
    uint8_t hash[SHA256_BYTES];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        assert_row(i, !recovery_code_hash(str_from(texts[i]), hash));
    }
    assert_false(recovery_code_hash((struct str){"ABCDEFGHIJKLMNOPQRST234\0", 24}, hash));
}

/* --- roles --- */

static void roles_that_must_have_it_are_read(void **state)
{
    static const struct {
        const char *text;
        bool good;
        uint32_t roles;
    } rows[] = {
        {"",                 true,  0                                     },
        {"admin",            true,  ROLE_BIT(ADMIN)                       },
        {"admin,accountant", true,  ROLE_BIT(ADMIN) | ROLE_BIT(ACCOUNTANT)},
        {" user , viewer ",  true,  ROLE_BIT(USER) | ROLE_BIT(VIEWER)     },
        {"Admin",            false, 0                                     },
        {"admin,,user",      false, 0                                     },
        {"admin,",           false, 0                                     },
        {"service",          false, 0                                     },
        {"enrolling",        false, 0                                     },
        {"admin accountant", false, 0                                     },
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {.code = OK};
        uint32_t roles = 0;

        assert_row(i,
                   (mfa_roles_parse(str_from(rows[i].text), &roles, &err) == OK) == rows[i].good);
        assert_row(i, roles == rows[i].roles);
        assert_row(i, rows[i].good || err.code == ERR_INVALID);
    }
}

static void who_lacks_it_must_enroll(void **state)
{
    const struct identity self = {.mfa_roles = ROLE_BIT(ADMIN)};

    (void)state;
    assert_true(mfa_must_enroll(&self, "admin", false));
    assert_false(mfa_must_enroll(&self, "admin", true));
    assert_false(mfa_must_enroll(&self, "user", false));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_rfc_6238),
        cmocka_unit_test(a_code_is_good_one_step_before_and_after),
        cmocka_unit_test(what_is_no_code_matches_nothing),
        cmocka_unit_test(base32_is_that_of_rfc_4648),
        cmocka_unit_test(the_uri_escapes_what_an_app_would_misread),
        cmocka_unit_test(a_recovery_code_has_its_form),
        cmocka_unit_test(a_recovery_code_is_read_as_people_type_it),
        cmocka_unit_test(what_is_no_recovery_code_has_no_hash),
        cmocka_unit_test(roles_that_must_have_it_are_read),
        cmocka_unit_test(who_lacks_it_must_enroll),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
