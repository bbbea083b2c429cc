#include "services/identity/password.h"
#include "services/identity/token.h"
#include "tests/support/check.h"

#include <string.h>

static struct ecdsa_key *key_open(void)
{
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    struct ecdsa_key *key = NULL;
    struct err err = {.code = OK};

    memset(scalar, 7, sizeof scalar);
    assert_int_equal(ecdsa_open(scalar, &key, &err), OK);
    return key;
}

static struct token_claims claims_for(const char *name)
{
    return (struct token_claims){
        .issuer = "avanta",
        .audience = "avanta-api",
        .user_id = "0191d6a2-7b1c-7000-8000-000000000001",
        .email = "ana@example.com",
        .name = name,
        .role = "user",
        .session_id = "0191d6a2-7b1c-7000-8000-000000000002",
        .token_id = "0191d6a2-7b1c-7000-8000-000000000003",
        .issued_s = 1795000000,
        .expires_s = 1795000900,
    };
}

/* Takes the token apart and checks its signature; the parts are NUL-ended text. */
static void token_open(const struct ecdsa_key *key,
                       struct str token,
                       char header[512],
                       char claims[TOKEN_BYTES_MAX])
{
    struct ecdsa_verifier *verifier = NULL;
    struct str rest = token;
    struct str part = STR_EMPTY;
    struct err err = {.code = OK};
    uint8_t x[32];
    uint8_t y[32];
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    size_t len = 0;

    assert_true(str_split(&rest, '.', &part));
    assert_true(base64url_decode(part, (uint8_t *)header, 511, &len));
    header[len] = '\0';
    assert_true(str_split(&rest, '.', &part));
    assert_true(base64url_decode(part, (uint8_t *)claims, TOKEN_BYTES_MAX - 1, &len));
    claims[len] = '\0';
    ecdsa_public(key, x, y);
    assert_int_equal(ecdsa_verifier_open(x, y, &verifier, &err), OK);
    assert_true(base64url_decode(rest, signature, sizeof signature, &len));
    assert_int_equal(len, sizeof signature);
    assert_true(ecdsa_verify(verifier, str_sub(token, 0, token.len - rest.len - 1), signature));
    ecdsa_verifier_close(&verifier);
}

static void carries_its_claims(void **state)
{
    struct ecdsa_key *key = key_open();
    struct token_claims claims = claims_for("Ana");
    char text[TOKEN_BYTES_MAX];
    char header[512];
    char payload[TOKEN_BYTES_MAX];
    char kid[TOKEN_KID_BYTES];
    char wanted[512];
    struct buf token = buf_over(text, sizeof text);
    struct buf expected = buf_over(wanted, sizeof wanted);
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(token_make(key, &claims, &token, &err), OK);
    token_open(key, buf_view(&token), header, payload);
    token_kid(key, kid);
    buf_printf(&expected, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", kid);
    assert_true(buf_terminate(&expected));
    assert_string_equal(header, wanted);
    assert_string_equal(payload,
                        "{\"iss\":\"avanta\",\"aud\":\"avanta-api\","
                        "\"sub\":\"0191d6a2-7b1c-7000-8000-000000000001\","
                        "\"user_id\":\"0191d6a2-7b1c-7000-8000-000000000001\","
                        "\"email\":\"ana@example.com\",\"name\":\"Ana\",\"role\":\"user\","
                        "\"sid\":\"0191d6a2-7b1c-7000-8000-000000000002\","
                        "\"jti\":\"0191d6a2-7b1c-7000-8000-000000000003\","
                        "\"iat\":1795000000,\"nbf\":1795000000,\"exp\":1795000900}");
    ecdsa_close(&key);
}

/* Whatever the name, the payload needs neither '-' nor '_': the browser decodes it with plain atob.
 */
static void claims_decode_with_plain_base64(void **state)
{
    static const struct {
        const char *name;
        const char *written;
    } cases[] = {
        {"Jos\xc3\xa9 N\xc3\xba\xc3\xb1"
         "ez",        "\"name\":\"Jos\\u00e9 N\\u00fa\\u00f1ez\""     },
        {"a>b?c~d",            "\"name\":\"a\\u003eb\\u003fc\\u007ed\""        },
        {"\"quoted\" \\ back", "\"name\":\"\\u0022quoted\\u0022 \\u005c back\""},
        {"\xf0\x9f\x92\xb0",   "\"name\":\"\\ud83d\\udcb0\""                   },
        {"\xe6\xbc\xa2",       "\"name\":\"\\u6f22\""                          },
        {"O'Neil <b",          "\"name\":\"O'Neil <b\""                        },
    };
    struct ecdsa_key *key = key_open();
    struct err err = {.code = OK};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct token_claims claims = claims_for(cases[i].name);
        char text[TOKEN_BYTES_MAX];
        char header[512];
        char payload[TOKEN_BYTES_MAX];
        struct buf token = buf_over(text, sizeof text);
        struct str rest = STR_EMPTY;
        struct str part = STR_EMPTY;
        size_t at = 0;

        assert_int_equal(token_make(key, &claims, &token, &err), OK);
        rest = buf_view(&token);
        assert_true(str_split(&rest, '.', &part));
        assert_true(str_split(&rest, '.', &part));
        assert_row(i, !str_find_char(part, '-', &at) && !str_find_char(part, '_', &at));
        token_open(key, buf_view(&token), header, payload);
        assert_row(i, str_find(str_from(payload), str_from(cases[i].written), &at));
    }
    ecdsa_close(&key);
}

static void long_claims_are_refused(void **state)
{
    static char name[4000];
    struct ecdsa_key *key = key_open();
    struct token_claims claims = claims_for(name);
    char text[TOKEN_BYTES_MAX];
    struct buf token = buf_over(text, sizeof text);
    struct err err = {.code = OK};

    (void)state;
    memset(name, 'x', sizeof name - 1);
    assert_int_equal(token_make(key, &claims, &token, &err), ERR_TOO_LARGE);
    ecdsa_close(&key);
}

static void passwords_verify(void **state)
{
    const struct password_cost cost = {.memory_kib = 64, .passes = 1, .lanes = 1};
    char first[PASSWORD_HASH_BYTES];
    char second[PASSWORD_HASH_BYTES];
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(password_hash(STR("correct horse"), &cost, first, &err), OK);
    assert_int_equal(password_hash(STR("correct horse"), &cost, second, &err), OK);
    assert_string_not_equal(first, second); /* salted */
    assert_true(str_starts(str_from(first), STR("$argon2id$")));
    assert_true(password_verify(STR("correct horse"), first));
    assert_true(password_verify(STR("correct horse"), second));
    assert_false(password_verify(STR("correct horsf"), first));
    assert_false(password_verify(STR(""), first));
    assert_false(password_verify(STR("correct horse"), "not a hash"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(carries_its_claims),
        cmocka_unit_test(claims_decode_with_plain_base64),
        cmocka_unit_test(long_claims_are_refused),
        cmocka_unit_test(passwords_verify),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
