/* Asking identity about keys, signatures and grants; what it says is remembered by lookup.c. */
#include "api.gen.h"
#include "avanta/identity_access.pb-c.h"
#include "gateway/ask.h"
#include "gateway/credential.h"
#include "gateway/lookup.h"

#include "libcommon/base/limits.h"

#include <assert.h>
#include <string.h>

#define ASK_DEADLINE_MS 2000
#define ASK_BYTES_MAX   ((size_t)64 * 1024)

static void on_answer(void *ctx, enum code code, const ProtobufCMessage *reply)
{
    struct lookup_ask *ask = ctx;
    struct lookup *lookup = ask->worker->lookup;

    assert(ask->done != NULL);
    if (code == OK) {
        lookup_remember(lookup,
                        ask,
                        (const Avanta__Identity__AccessReply *)(const void *)reply,
                        loop_now_ms(ask->worker->loop));
    }
    ask->done(ask->ctx, code);
}

static bool send(struct lookup_ask *ask,
                 const struct api_method *method,
                 const ProtobufCMessage *in,
                 struct str client_ip)
{
    const struct ask question = {
        .method = method,
        .in = in,
        .client_ip = client_ip,
        .deadline_ms = ASK_DEADLINE_MS,
        .bytes_max = ASK_BYTES_MAX,
        .done = on_answer,
        .ctx = ask,
    };

    assert(ask->worker != NULL);
    if (ask->asks == LOOKUP_ASKS_MAX) {
        return false;
    }
    lookup_ask_begin(ask->worker->lookup, ask);
    return ask_identity(ask->worker, &question);
}

bool lookup_ask_key(struct lookup_ask *ask, struct str client_ip)
{
    Avanta__Identity__ResolveApiKeyRequest in = AVANTA__IDENTITY__RESOLVE_API_KEY_REQUEST__INIT;

    ask->accountant_id[0] = '\0';
    ask->owner_id[0] = '\0';
    in.has_key_hash = true;
    in.key_hash = (ProtobufCBinaryData){SHA256_BYTES, ask->digest};
    return send(ask, &api_methods[API_IDENTITY_RESOLVE_API_KEY], &in.base, client_ip);
}

bool lookup_ask_grant(struct lookup_ask *ask)
{
    Avanta__Identity__ResolveGrantRequest in = AVANTA__IDENTITY__RESOLVE_GRANT_REQUEST__INIT;

    assert(ask->owner_id[0] != '\0');
    assert(ask->accountant_id[0] != '\0');
    in.accountant_id = ask->accountant_id;
    in.owner_id = ask->owner_id;
    return send(ask, &api_methods[API_IDENTITY_RESOLVE_GRANT], &in.base, STR_EMPTY);
}

bool lookup_ask_signature(struct lookup_ask *ask,
                          const struct lookup_signed *what,
                          struct str client_ip)
{
    Avanta__Identity__ResolveSignatureRequest in =
        AVANTA__IDENTITY__RESOLVE_SIGNATURE_REQUEST__INIT;
    struct credential_signature signature = *what->signature;
    uint8_t body_hash[SHA256_BYTES];
    char key_id[64];
    char method[16];
    char target[HTTP_TARGET_BYTES_MAX + 1];
    bool fits = str_copy(signature.key_id, key_id, sizeof key_id) &&
                str_copy(what->method, method, sizeof method) &&
                str_copy(what->target, target, sizeof target);

    if (!fits) {
        return false;
    }
    memcpy(body_hash, what->body_hash, sizeof body_hash);
    ask->accountant_id[0] = '\0';
    ask->owner_id[0] = '\0';
    in.key_id = key_id;
    in.has_timestamp = true;
    in.timestamp = signature.timestamp_s;
    in.method = method;
    in.target = target;
    in.has_body_hash = true;
    in.body_hash = (ProtobufCBinaryData){sizeof body_hash, body_hash};
    in.has_signature = true;
    in.signature = (ProtobufCBinaryData){sizeof signature.signature, signature.signature};
    return send(ask, &api_methods[API_IDENTITY_RESOLVE_SIGNATURE], &in.base, client_ip);
}
