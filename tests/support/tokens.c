#include "tests/support/tokens.h"

#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"
#include "libcommon/io/vault.h"

#include <inttypes.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <string.h>

static void put_base64url(struct buf *out, const void *bytes, size_t len)
{
    char *room = buf_reserve(out, len * 2 + 4);

    assert_non_null(room);
    buf_commit(out, base64url_encode(bytes, len, room, len * 2 + 4));
}

static void put_part(struct buf *out, struct buf *json)
{
    assert_false(json->overflow);
    put_base64url(out, json->ptr, json->len);
}

static void claims_write(struct buf *json, const struct token_wish *wish)
{
    int64_t now_s = (int64_t)(clock_wall_ms() / 1000);
    int64_t issued_s = wish->expires_s > 0 ? now_s - 1 : now_s + wish->expires_s - 60;

    buf_printf(json,
               "{\"iss\":\"avanta\",\"aud\":\"%s\",\"sub\":\"%s\",\"user_id\":\"%s\","
               "\"email\":\"x@example.com\",\"name\":\"x\",\"role\":\"%s\",\"sid\":\"%s\","
               "\"jti\":\"j\",\"iat\":%" PRId64 ",\"nbf\":%" PRId64 ",\"exp\":%" PRId64 "}",
               wish->audience == NULL ? "avanta-api" : wish->audience,
               wish->user_id,
               wish->user_id,
               wish->role,
               wish->session_id,
               issued_s,
               issued_s,
               now_s + wish->expires_s);
}

static void sign(struct buf *out, const struct token_wish *wish)
{
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct str message = buf_view(out);
    struct err err = {.code = OK};
    unsigned len = 0;

    if (wish->hmac.len > 0) {
        assert_non_null(HMAC(EVP_sha256(),
                             wish->hmac.ptr,
                             (int)wish->hmac.len,
                             (const unsigned char *)message.ptr,
                             message.len,
                             signature,
                             &len));
    } else if (wish->key != NULL) {
        assert_int_equal(ecdsa_sign(wish->key, message, signature, &err), OK);
        len = sizeof signature;
    }
    buf_char(out, '.');
    if (len > 0) {
        put_base64url(out, signature, len);
    }
}

const char *token_craft(const struct token_wish *wish)
{
    static char text[4096];
    char header_text[256];
    char claims_text[1024];
    struct buf out = buf_over(text, sizeof text);
    struct buf header = buf_over(header_text, sizeof header_text);
    struct buf claims = buf_over(claims_text, sizeof claims_text);

    buf_printf(&header,
               "{\"alg\":\"%s\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}",
               wish->alg == NULL ? "ES256" : wish->alg,
               wish->kid);
    claims_write(&claims, wish);
    put_part(&out, &header);
    buf_char(&out, '.');
    put_part(&out, &claims);
    sign(&out, wish);
    assert_true(buf_terminate(&out));
    return text;
}

struct ecdsa_key *tokens_stack_key(char out_kid[TOKENS_KID_BYTES])
{
    char dsn[256];
    char sealed_hex[256];
    char purpose[64];
    uint8_t secret[VAULT_KEY_BYTES];
    uint8_t sealed[ECDSA_SCALAR_BYTES + VAULT_EXTRA_BYTES];
    uint8_t scalar[ECDSA_SCALAR_BYTES];
    size_t len = 0;
    struct vault *vault = NULL;
    struct ecdsa_key *key = NULL;
    struct err err = {.code = OK};

    (void)snprintf(dsn,
                   sizeof dsn,
                   "host=127.0.0.1 dbname=avanta_identity user=avanta_super port=%s",
                   stack_value("PG_PORT"));
    (void)snprintf(dsn + strlen(dsn),
                   sizeof dsn - strlen(dsn),
                   " password=%s",
                   stack_value("PG_SUPER_PASSWORD"));
    (void)snprintf(out_kid,
                   TOKENS_KID_BYTES,
                   "%s",
                   scratch_pg_ask(dsn,
                                  "SELECT kid FROM signing_key WHERE retired_at IS NULL ORDER BY "
                                  "use_from LIMIT 1"));
    (void)snprintf(
        sealed_hex,
        sizeof sealed_hex,
        "%s",
        scratch_pg_ask(dsn,
                       "SELECT encode(sealed, 'hex') FROM signing_key WHERE retired_at IS "
                       "NULL ORDER BY use_from LIMIT 1"));
    assert_true(hex_decode(str_from(sealed_hex), sealed, sizeof sealed, &len));
    assert_int_equal(len, sizeof sealed);
    assert_true(hex_decode(str_from(stack_value("SECRETS_KEY")), secret, sizeof secret, &len));
    vault = vault_open(secret);
    (void)snprintf(purpose, sizeof purpose, "signing-key:%s", out_kid);
    assert_int_equal(vault_unseal(vault,
                                  str_from(purpose),
                                  (struct str){(const char *)sealed, sizeof sealed},
                                  scalar,
                                  &err),
                     OK);
    vault_close(&vault);
    assert_int_equal(ecdsa_open(scalar, &key, &err), OK);
    return key;
}
