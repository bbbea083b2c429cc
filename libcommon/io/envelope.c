#include "libcommon/io/envelope.h"

#include "avanta/common.pb-c.h"

#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/io/replay_guard.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/params.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC_BYTES  3
#define KIND_REQUEST 'Q'
#define KIND_REPLY   'R'
#define MAC_BYTES    32
#define MAC_AT       (MAGIC_BYTES + 1)

_Static_assert(MAC_AT + MAC_BYTES == ENVELOPE_HEAD_BYTES, "magic, kind, mac");

static const uint8_t magic[MAGIC_BYTES] = {'A', 'V', '1'};

/* The key is hashed into the context once; every use starts again from there. */
struct sealer {
    EVP_MAC *mac;
    EVP_MAC_CTX *ctx;
};

struct sealer *sealer_open(const uint8_t key[ENVELOPE_KEY_BYTES])
{
    struct sealer *sealer = calloc(1, sizeof(*sealer));
    char digest[] = "SHA256";
    const OSSL_PARAM params[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    assert(key != NULL);
    if (sealer == NULL) {
        return NULL;
    }
    sealer->mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    if (sealer->mac != NULL) {
        sealer->ctx = EVP_MAC_CTX_new(sealer->mac);
    }
    if (sealer->ctx == NULL || EVP_MAC_init(sealer->ctx, key, ENVELOPE_KEY_BYTES, params) != 1) {
        sealer_close(&sealer);
    }
    return sealer;
}

/* OpenSSL wipes the key it holds when the context goes. */
void sealer_close(struct sealer **sealer)
{
    struct sealer *closing = NULL;

    assert(sealer != NULL);
    closing = *sealer;
    *sealer = NULL;
    if (closing == NULL) {
        return;
    }
    EVP_MAC_CTX_free(closing->ctx);
    EVP_MAC_free(closing->mac);
    free(closing);
}

/* Over magic, kind and message: everything but the mac itself. */
static enum code
mac_of(struct sealer *sealer, const uint8_t *frame, size_t len, uint8_t out[MAC_BYTES])
{
    size_t out_len = 0;

    assert(sealer != NULL);
    assert(len >= ENVELOPE_HEAD_BYTES);
    if (EVP_MAC_init(sealer->ctx, NULL, 0, NULL) != 1 ||
        EVP_MAC_update(sealer->ctx, frame, MAC_AT) != 1 ||
        EVP_MAC_update(sealer->ctx, frame + ENVELOPE_HEAD_BYTES, len - ENVELOPE_HEAD_BYTES) != 1 ||
        EVP_MAC_final(sealer->ctx, out, &out_len, MAC_BYTES) != 1) {
        return ERR_INTERNAL;
    }
    assert(out_len == MAC_BYTES);
    return OK;
}

/* --- sealing --------------------------------------------------------------------------- */

static enum code seal(struct sealer *sealer,
                      char kind,
                      const ProtobufCMessage *message,
                      struct arena *arena,
                      struct str *out,
                      struct err *err)
{
    const size_t len = ENVELOPE_HEAD_BYTES + protobuf_c_message_get_packed_size(message);
    uint8_t *frame = arena_alloc(arena, len);

    if (frame == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no room for an envelope of %zu bytes", len);
    }
    memcpy(frame, magic, MAGIC_BYTES);
    frame[MAGIC_BYTES] = (uint8_t)kind;
    if (protobuf_c_message_pack(message, frame + ENVELOPE_HEAD_BYTES) !=
        len - ENVELOPE_HEAD_BYTES) {
        return err_set(err, ERR_INTERNAL, "an envelope changed while it was packed");
    }
    if (mac_of(sealer, frame, len, frame + MAC_AT) != OK) {
        return err_set(err, ERR_INTERNAL, "HMAC-SHA-256 is refused");
    }
    *out = (struct str){(const char *)frame, len};
    return OK;
}

enum code envelope_seal_request(struct sealer *sealer,
                                const struct Avanta__Request *request,
                                struct arena *arena,
                                struct str *out,
                                struct err *err)
{
    assert(request != NULL);
    assert(request->nonce.len == ENVELOPE_NONCE_BYTES);
    assert(out != NULL);
    return seal(sealer, KIND_REQUEST, &request->base, arena, out, err);
}

enum code envelope_seal_reply(struct sealer *sealer,
                              const struct Avanta__Reply *reply,
                              struct arena *arena,
                              struct str *out,
                              struct err *err)
{
    assert(reply != NULL);
    assert(reply->nonce.len == ENVELOPE_NONCE_BYTES);
    assert(out != NULL);
    return seal(sealer, KIND_REPLY, &reply->base, arena, out, err);
}

/* --- opening --------------------------------------------------------------------------- */

static enum code verify(struct sealer *sealer, char kind, struct str frame, struct err *err)
{
    const uint8_t *bytes = (const uint8_t *)frame.ptr;
    uint8_t expected[MAC_BYTES];

    assert(sealer != NULL);
    if (frame.len < ENVELOPE_HEAD_BYTES || memcmp(bytes, magic, MAGIC_BYTES) != 0 ||
        bytes[MAGIC_BYTES] != (uint8_t)kind) {
        return err_set(err, ERR_UNAUTHENTICATED, "not an envelope of this kind");
    }
    if (mac_of(sealer, bytes, frame.len, expected) != OK) {
        return err_set(err, ERR_INTERNAL, "HMAC-SHA-256 is refused");
    }
    if (!bytes_eq_constant_time(expected, bytes + MAC_AT, MAC_BYTES)) {
        return err_set(err, ERR_UNAUTHENTICATED, "the envelope's signature does not match");
    }
    return OK;
}

/* Only after the signature: nothing unsigned reaches the parser. */
static enum code unpack(const ProtobufCMessageDescriptor *descriptor,
                        struct str frame,
                        struct arena *arena,
                        ProtobufCMessage **out,
                        struct err *err)
{
    ProtobufCAllocator allocator = {0};

    assert(frame.len >= ENVELOPE_HEAD_BYTES);
    assert(out != NULL);
    transcode_allocator(&allocator, arena);
    *out = protobuf_c_message_unpack(descriptor,
                                     &allocator,
                                     frame.len - ENVELOPE_HEAD_BYTES,
                                     (const uint8_t *)frame.ptr + ENVELOPE_HEAD_BYTES);
    if (*out != NULL) {
        return OK;
    }
    return arena_exhausted(arena)
               ? err_set(err, ERR_TOO_LARGE, "no room to unpack an envelope")
               : err_set(err, ERR_UNAUTHENTICATED, "the envelope's message is malformed");
}

/* A deadline further off than any request may last would have to be remembered for as long. */
static enum code check_times(const Avanta__Request *request, uint64_t now_wall_ms, struct err *err)
{
    if (request->issued_ms > now_wall_ms + ENVELOPE_SKEW_MS_MAX) {
        return err_set(err, ERR_UNAUTHENTICATED, "the envelope comes from the future");
    }
    if (request->deadline_ms > now_wall_ms + REQUEST_DEADLINE_MS_MAX + ENVELOPE_SKEW_MS_MAX) {
        return err_set(err, ERR_UNAUTHENTICATED, "the envelope's deadline is too far off");
    }
    if (request->deadline_ms <= now_wall_ms) {
        return err_set(err, ERR_TIMEOUT, "the request arrived after its deadline");
    }
    return OK;
}

/* The contract of the header has seven parameters. NOLINTNEXTLINE(readability-function-size) */
enum code envelope_open_request(struct sealer *sealer,
                                struct replay_guard *guard,
                                struct str frame,
                                uint64_t now_wall_ms,
                                struct arena *arena,
                                struct Avanta__Request **out,
                                struct err *err)
{
    ProtobufCMessage *message = NULL;
    Avanta__Request *request = NULL;
    enum code code = verify(sealer, KIND_REQUEST, frame, err);

    assert(guard != NULL);
    assert(out != NULL);
    if (code == OK) {
        code = unpack(&avanta__request__descriptor, frame, arena, &message, err);
    }
    if (code != OK) {
        return code;
    }
    request = (Avanta__Request *)message;
    if (request->nonce.len != ENVELOPE_NONCE_BYTES) {
        return err_set(err, ERR_UNAUTHENTICATED, "a nonce of %zu bytes", request->nonce.len);
    }
    code = check_times(request, now_wall_ms, err);
    if (code == OK) {
        /* Longer than the deadline: the clock may be set back a little. */
        code = replay_guard_check(guard,
                                  request->nonce.data,
                                  now_wall_ms,
                                  request->deadline_ms + ENVELOPE_SKEW_MS_MAX,
                                  err);
    }
    if (code == OK) {
        *out = request;
    }
    return code;
}

enum code envelope_open_reply(struct sealer *sealer,
                              struct str frame,
                              const uint8_t nonce[ENVELOPE_NONCE_BYTES],
                              struct arena *arena,
                              struct Avanta__Reply **out,
                              struct err *err)
{
    ProtobufCMessage *message = NULL;
    Avanta__Reply *reply = NULL;
    enum code code = verify(sealer, KIND_REPLY, frame, err);

    assert(nonce != NULL);
    assert(out != NULL);
    if (code == OK) {
        code = unpack(&avanta__reply__descriptor, frame, arena, &message, err);
    }
    if (code != OK) {
        return code;
    }
    reply = (Avanta__Reply *)message;
    if (reply->nonce.len != ENVELOPE_NONCE_BYTES ||
        !bytes_eq_constant_time(reply->nonce.data, nonce, ENVELOPE_NONCE_BYTES)) {
        return err_set(err, ERR_UNAUTHENTICATED, "the reply answers another request");
    }
    *out = reply;
    return OK;
}
