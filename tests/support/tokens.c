#include "tests/support/tokens.h"

#include "tests/support/check.h"

#include "libcommon/base/clock.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
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
               "\"jti\":\"j\",\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld}",
               wish->audience == NULL ? "avanta-api" : wish->audience,
               wish->user_id,
               wish->user_id,
               wish->role,
               wish->session_id,
               (long long)issued_s,
               (long long)issued_s,
               (long long)(now_s + wish->expires_s));
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
