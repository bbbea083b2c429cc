#include "services/identity/token.h"

#include "libcommon/io/digest.h"

#include <assert.h>

#define HEADER_BYTES 128
#define CLAIMS_BYTES 2560

void token_kid(const struct ecdsa_key *key, char out[TOKEN_KID_BYTES])
{
    uint8_t point[64];
    uint8_t digest[SHA256_BYTES];

    assert(key != NULL);
    assert(out != NULL);
    ecdsa_public(key, point, point + 32);
    sha256((struct str){(const char *)point, sizeof point}, digest);
    hex_encode(digest, (TOKEN_KID_BYTES - 1) / 2, out);
}

/* One code point off valid UTF-8. */
static uint32_t code_point(struct str *rest)
{
    const unsigned char *p = (const unsigned char *)rest->ptr;
    size_t length = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    uint32_t value = length == 1 ? p[0] : p[0] & (0xffU >> (length + 1));

    assert(length <= rest->len);
    assert(rest->len > 0);
    for (size_t i = 1; i < length; i++) {
        value = (value << 6) | (p[i] & 0x3fU);
    }
    rest->ptr += length;
    rest->len -= length;
    return value;
}

static bool plain(uint32_t c)
{
    return c >= ' ' && c < 0x7f && c != '"' && c != '\\' && c != '>' && c != '?' && c != '~';
}

static void put_string(struct buf *b, struct str text)
{
    assert(utf8_valid(text));
    buf_char(b, '"');
    while (text.len > 0 && !b->overflow) {
        uint32_t c = code_point(&text);

        if (plain(c)) {
            buf_char(b, (char)c);
        } else if (c < 0x10000) {
            buf_printf(b, "\\u%04x", c);
        } else {
            c -= 0x10000;
            buf_printf(b, "\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
        }
    }
    buf_char(b, '"');
}

static void put_claim(struct buf *b, const char *name, const char *value)
{
    assert(value != NULL);
    assert(name != NULL);
    buf_char(b, b->len == 0 ? '{' : ',');
    put_string(b, str_from(name));
    buf_char(b, ':');
    put_string(b, str_from(value));
}

static void put_time(struct buf *b, const char *name, uint64_t seconds)
{
    assert(b->len > 0);
    assert(name != NULL);
    buf_char(b, ',');
    put_string(b, str_from(name));
    buf_char(b, ':');
    buf_uint64(b, seconds);
}

static void claims_write(struct buf *b, const struct token_claims *c)
{
    assert(c != NULL);
    assert(b->len == 0);
    put_claim(b, "iss", c->issuer);
    put_claim(b, "aud", c->audience);
    put_claim(b, "sub", c->user_id);
    put_claim(b, "user_id", c->user_id);
    put_claim(b, "email", c->email);
    put_claim(b, "name", c->name);
    put_claim(b, "role", c->role);
    put_claim(b, "sid", c->session_id);
    put_claim(b, "jti", c->token_id);
    put_time(b, "iat", c->issued_s);
    put_time(b, "nbf", c->issued_s);
    put_time(b, "exp", c->expires_s);
    buf_char(b, '}');
}

static void put_base64url(struct buf *out, const void *bytes, size_t len)
{
    size_t text_len = (len * 4 + 2) / 3;
    char *room = buf_reserve(out, text_len + 1);

    assert(bytes != NULL);
    assert(len > 0);
    if (room != NULL) {
        size_t written = base64url_encode(bytes, len, room, text_len + 1);

        assert(written == text_len);
        buf_commit(out, written);
    }
}

enum code token_make(const struct ecdsa_key *key,
                     const struct token_claims *claims,
                     struct buf *out,
                     struct err *err)
{
    char header_memory[HEADER_BYTES];
    char claims_memory[CLAIMS_BYTES];
    char kid[TOKEN_KID_BYTES];
    uint8_t signature[ECDSA_SIGNATURE_BYTES];
    struct buf header = buf_over(header_memory, sizeof header_memory);
    struct buf body = buf_over(claims_memory, sizeof claims_memory);
    enum code code = OK;

    assert(out->len == 0);
    assert(claims->expires_s > claims->issued_s);
    assert(key != NULL);
    token_kid(key, kid);
    buf_printf(&header, "{\"alg\":\"ES256\",\"typ\":\"at+jwt\",\"kid\":\"%s\"}", kid);
    claims_write(&body, claims);
    put_base64url(out, header.ptr, header.len);
    buf_char(out, '.');
    put_base64url(out, body.ptr, body.len);
    if (header.overflow || body.overflow || out->overflow) {
        return err_set(err, ERR_TOO_LARGE, "the claims are too long for a token");
    }
    code = ecdsa_sign(key, buf_view(out), signature, err);
    if (code != OK) {
        return code;
    }
    buf_char(out, '.');
    put_base64url(out, signature, sizeof signature);
    return buf_terminate(out) ? OK
                              : err_set(err, ERR_TOO_LARGE, "the claims are too long for a token");
}
