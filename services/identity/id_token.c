#include "services/identity/id_token.h"

#include "api.gen.h"

#include "libcommon/codec/jws.h"

#include <assert.h>
#include <string.h>

#define HEADER_BYTES_MAX 1024
#define SKEW_S           60
#define LIFE_S_MAX       INT64_C(7200) /* they live one hour */

static enum code refuse(struct err *err, const char *why)
{
    assert(why != NULL);
    (void)err_set(err, ERR_INVALID, "%s", why);
    return ERR_INVALID;
}

static bool is(const char *value, const char *wanted)
{
    assert(wanted != NULL);
    return value != NULL && strcmp(value, wanted) == 0;
}

/* Signed with RS256 by one of the keys. */
static enum code signature_check(const struct google_keys *keys,
                                 const struct jws *parts,
                                 struct arena *arena,
                                 struct err *err)
{
    const Avanta__Google__Header *header = NULL;
    const struct rsa_verifier *verifier = NULL;
    ProtobufCMessage *message = NULL;
    uint8_t signature[RSA_SIGNATURE_BYTES];
    size_t len = 0;

    assert(keys != NULL);
    if (parts->header.len > HEADER_BYTES_MAX ||
        !jws_part_read(parts->header, &rules_avanta_google_header, arena, &message)) {
        return refuse(err, "header");
    }
    header = (const Avanta__Google__Header *)(const void *)message;
    if (header->crit != NULL || header->n_nulls > 0) {
        return refuse(err, "header");
    }
    if (!is(header->alg, "RS256")) {
        return refuse(err, "algorithm");
    }
    if (header->typ != NULL && !is(header->typ, "JWT")) {
        return refuse(err, "type");
    }
    verifier = google_keys_find(keys, header->kid);
    if (verifier == NULL) {
        return refuse(err, "unknown key");
    }
    return base64url_decode(parts->signature, signature, sizeof signature, &len) &&
                   rsa_verify(
                       verifier, parts->signed_part, (struct str){(const char *)signature, len})
               ? OK
               : refuse(err, "signature");
}

/* Google leaves the scheme out of some tokens. */
static bool issuer_good(const char *iss, const char *issuer)
{
    static const char scheme[] = "https://";

    return is(iss, issuer) ||
           (strncmp(issuer, scheme, strlen(scheme)) == 0 && is(iss, issuer + strlen(scheme)));
}

static enum code times_check(const Avanta__Google__IdToken *claims, int64_t now_s, struct err *err)
{
    assert(claims->exp > 0);
    assert(claims->iat > 0);
    if (claims->exp <= now_s) {
        return refuse(err, "expired");
    }
    if (claims->iat > now_s + SKEW_S || claims->nbf > now_s + SKEW_S) {
        return refuse(err, "not valid yet");
    }
    return claims->exp - claims->iat > LIFE_S_MAX || claims->exp > now_s + LIFE_S_MAX
               ? refuse(err, "lives too long")
               : OK;
}

static enum code claims_check(const struct id_token_options *options,
                              const Avanta__Google__IdToken *claims,
                              int64_t now_s,
                              struct err *err)
{
    enum code code = OK;

    if (!issuer_good(claims->iss, options->issuer)) {
        return refuse(err, "issuer");
    }
    if (!is(claims->aud, options->client_id) ||
        (claims->azp != NULL && !is(claims->azp, options->client_id))) {
        return refuse(err, "audience");
    }
    code = times_check(claims, now_s, err);
    if (code != OK) {
        return code;
    }
    return claims->email_verified ? OK : refuse(err, "the e-mail is not verified");
}

enum code id_token_verify(const struct id_token_options *options,
                          struct str token,
                          uint64_t now_wall_ms,
                          struct arena *arena,
                          const Avanta__Google__IdToken **out,
                          struct err *err)
{
    struct jws parts;
    ProtobufCMessage *message = NULL;
    enum code code = OK;

    assert(options->client_id[0] != '\0');
    assert(options->issuer[0] != '\0');
    assert(out != NULL);
    if (token.len > ID_TOKEN_BYTES_MAX || !jws_split(token, &parts)) {
        return refuse(err, "not a compact JWS");
    }
    code = signature_check(options->keys, &parts, arena, err);
    if (code != OK) {
        return code;
    }
    if (!jws_part_read(parts.claims, &rules_avanta_google_id_token, arena, &message)) {
        return refuse(err, "claims");
    }
    *out = (const Avanta__Google__IdToken *)(const void *)message;
    return claims_check(options, *out, (int64_t)(now_wall_ms / 1000), err);
}
