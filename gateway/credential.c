#include "gateway/credential.h"

#include "libcommon/base/id.h"

#include <assert.h>

#define API_KEY_BYTES 60 /* "avk_", 12 hex digits, "_", 32 bytes in base64url */

bool credential_cookie(const struct http_request *r, struct str name, struct str *out)
{
    struct str rest = http_header_get(r, "Cookie");
    struct str pair = STR_EMPTY;
    size_t at = 0;

    assert(name.len > 0);
    assert(out != NULL);
    while (rest.ptr != NULL && str_split(&rest, ';', &pair)) {
        pair = str_trim(pair);
        if (!str_find_char(pair, '=', &at) || !str_eq(str_sub(pair, 0, at), name)) {
            continue;
        }
        *out = str_sub(pair, at + 1, pair.len);
        if (out->len >= 2 && out->ptr[0] == '"' && out->ptr[out->len - 1] == '"') {
            *out = str_sub(*out, 1, out->len - 1);
        }
        return true;
    }
    return false;
}

static bool bearer_find(const struct http_request *r, struct str *out)
{
    struct str value = http_header_get(r, "Authorization");

    assert(out != NULL);
    if (value.ptr == NULL || value.len < 7 ||
        !str_eq_nocase(str_sub(value, 0, 7), STR("Bearer "))) {
        return false;
    }
    *out = str_trim(str_sub(value, 7, value.len));
    return out->len > 0 && !str_eq(*out, STR("null")) && !str_eq(*out, STR("undefined"));
}

/* What was never a key is not asked about. */
static bool key_is_well_formed(struct str key)
{
    if (key.len != API_KEY_BYTES || !str_starts(key, STR("avk_"))) {
        return false;
    }
    for (size_t i = 0; i < key.len; i++) {
        char c = key.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
              c == '_' || c == '-')) {
            return false;
        }
    }
    return true;
}

/* "sha256=<hex>" with the key's id and the time beside it. */
static bool signature_read(const struct http_request *r, struct credential_signature *out)
{
    struct str text = str_trim(http_header_get(r, "X-Avanta-Signature"));
    struct str time = str_trim(http_header_get(r, "X-Avanta-Timestamp"));
    struct str prefix = STR("sha256=");
    size_t len = 0;

    assert(out != NULL);
    out->key_id = str_trim(http_header_get(r, "X-Avanta-Key-Id"));
    return str_starts(text, prefix) && uuid_valid(out->key_id) &&
           str_to_int64(time, &out->timestamp_s) &&
           hex_decode(
               str_sub(text, prefix.len, text.len), out->signature, sizeof out->signature, &len) &&
           len == sizeof out->signature;
}

enum code credential_find(struct auth *auth,
                          const struct http_request *r,
                          uint64_t now_wall_ms,
                          struct credential *out,
                          struct err *err)
{
    struct auth_input input = {.now_wall_ms = now_wall_ms, .arena = r->arena};
    struct str token = STR_EMPTY;

    assert(auth != NULL);
    assert(out != NULL);
    assert(r != NULL);
    out->key_unknown = false;
    if (bearer_find(r, &token)) {
        out->kind = CREDENTIAL_BEARER;
    } else if (http_header_get(r, "X-API-Key").len > 0) {
        out->kind = CREDENTIAL_KEY;
        out->api_key = str_trim(http_header_get(r, "X-API-Key"));
        return key_is_well_formed(out->api_key)
                   ? OK
                   : err_set(err, ERR_UNAUTHENTICATED, "no API key of ours");
    } else if (http_header_get(r, "X-Avanta-Signature").len > 0) {
        out->kind = CREDENTIAL_SIGNATURE;
        return signature_read(r, &out->signature)
                   ? OK
                   : err_set(err, ERR_UNAUTHENTICATED, "no signature of ours");
    } else if (credential_cookie(r, STR(SESSION_COOKIE), &token) && token.len > 0) {
        out->kind = CREDENTIAL_COOKIE;
    } else {
        out->kind = CREDENTIAL_NONE;
        return OK;
    }
    input.token = token;
    input.out_key_unknown = &out->key_unknown;
    return auth_verify(auth, input, &out->principal, err);
}

enum code credential_same_origin(const struct http_request *r, struct err *err)
{
    struct str site = http_header_get(r, "Sec-Fetch-Site");
    struct str origin = http_header_get(r, "Origin");
    struct str host = http_header_get(r, "Host");
    struct str scheme_end = STR("://");
    size_t at = 0;

    assert(r != NULL);
    if (site.ptr != NULL && !str_eq(site, STR("same-origin"))) {
        return err_set(
            err, ERR_FORBIDDEN, "A request with the session cookie must come from the same origin");
    }
    if (origin.ptr != NULL) {
        bool same = host.ptr != NULL && str_find(origin, scheme_end, &at) &&
                    str_eq_nocase(str_sub(origin, at + scheme_end.len, origin.len), host);

        return same ? OK
                    : err_set(err,
                              ERR_FORBIDDEN,
                              "A request with the session cookie must come from the same origin");
    }
    if (site.ptr == NULL) {
        return err_set(
            err,
            ERR_FORBIDDEN,
            "A request with the session cookie needs an Origin or Sec-Fetch-Site header");
    }
    return OK;
}
