#include "libcommon/io/envelope.h"

#include "avanta/common.pb-c.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#define MAC_BYTES    32
#define MAGIC_BYTES  3
#define KIND_REQUEST 'Q'
#define KIND_REPLY   'R'

_Static_assert(ENVELOPE_HEAD_BYTES == MAGIC_BYTES + 1 + MAC_BYTES, "magic, kind, mac");

static const char magic[MAGIC_BYTES] = {'A', 'V', '1'};

struct sealer {
    EVP_MAC_CTX *keyed; /* initialised with the key; re-initialised for each frame */
};

struct sealer *sealer_open(const uint8_t key[ENVELOPE_KEY_BYTES])
{
    static char digest[] = "SHA256";
    struct sealer *sealer = calloc(1, sizeof *sealer);
    EVP_MAC *mac = EVP_MAC_fetch(NULL, "HMAC", NULL);
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end(),
    };

    assert(key != NULL);
    if (sealer != NULL && mac != NULL) {
        sealer->keyed = EVP_MAC_CTX_new(mac);
    }
    EVP_MAC_free(mac);
    if (sealer == NULL || sealer->keyed == NULL ||
        EVP_MAC_init(sealer->keyed, key, ENVELOPE_KEY_BYTES, parameters) != 1) {
        sealer_close(&sealer);
    }
    return sealer;
}

void sealer_close(struct sealer **sealer)
{
    assert(sealer != NULL);
    if (*sealer != NULL) {
        EVP_MAC_CTX_free((*sealer)->keyed); /* OpenSSL wipes the key */
        free(*sealer);
        *sealer = NULL;
    }
}

/* Over magic and kind, then the message: a request never passes for a reply. */
static bool
mac_compute(struct sealer *sealer, char kind, struct str message, uint8_t out[MAC_BYTES])
{
    const unsigned char head[MAGIC_BYTES + 1] = {(unsigned char)magic[0],
                                                 (unsigned char)magic[1],
                                                 (unsigned char)magic[2],
                                                 (unsigned char)kind};
    size_t len = 0;

    return EVP_MAC_init(sealer->keyed, NULL, 0, NULL) == 1 &&
           EVP_MAC_update(sealer->keyed, head, sizeof head) == 1 &&
           EVP_MAC_update(sealer->keyed, (const unsigned char *)message.ptr, message.len) == 1 &&
           EVP_MAC_final(sealer->keyed, out, &len, MAC_BYTES) == 1 && len == MAC_BYTES;
}

static enum code seal(struct sealer *sealer,
                      char kind,
                      const ProtobufCMessage *message,
                      struct arena *arena,
                      struct str *out,
                      struct err *err)
{
    size_t size = protobuf_c_message_get_packed_size(message);
    char *frame = arena_alloc(arena, ENVELOPE_HEAD_BYTES + size);
    size_t packed = 0;

    assert(sealer != NULL);
    if (frame == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the message needs too much memory");
    }
    packed = protobuf_c_message_pack(message, (uint8_t *)frame + ENVELOPE_HEAD_BYTES);
    assert(packed == size);
    memcpy(frame, magic, MAGIC_BYTES);
    frame[MAGIC_BYTES] = kind;
    if (!mac_compute(sealer,
                     kind,
                     (struct str){frame + ENVELOPE_HEAD_BYTES, size},
                     (uint8_t *)frame + MAGIC_BYTES + 1)) {
        return err_set(err, ERR_INTERNAL, "the message could not be signed");
    }
    *out = (struct str){frame, ENVELOPE_HEAD_BYTES + size};
    return OK;
}

enum code envelope_seal_request(struct sealer *sealer,
                                const struct Avanta__Request *request,
                                struct arena *arena,
                                struct str *out,
                                struct err *err)
{
    assert(request->nonce.len == ENVELOPE_NONCE_BYTES);
    return seal(sealer, KIND_REQUEST, &request->base, arena, out, err);
}

enum code envelope_seal_reply(struct sealer *sealer,
                              const struct Avanta__Reply *reply,
                              struct arena *arena,
                              struct str *out,
                              struct err *err)
{
    assert(reply->nonce.len == ENVELOPE_NONCE_BYTES);
    return seal(sealer, KIND_REPLY, &reply->base, arena, out, err);
}

/* Nothing of the frame is looked at before its signature has been checked. */
static enum code
unseal(struct sealer *sealer, char kind, struct str frame, struct str *out_message, struct err *err)
{
    uint8_t mac[MAC_BYTES];

    assert(sealer != NULL);
    if (frame.len < ENVELOPE_HEAD_BYTES || memcmp(frame.ptr, magic, MAGIC_BYTES) != 0 ||
        frame.ptr[MAGIC_BYTES] != kind) {
        return err_set(err, ERR_UNAUTHENTICATED, "the frame has another form or kind");
    }
    *out_message = str_sub(frame, ENVELOPE_HEAD_BYTES, frame.len);
    if (!mac_compute(sealer, kind, *out_message, mac)) {
        return err_set(err, ERR_INTERNAL, "the signature could not be computed");
    }
    if (!bytes_eq_constant_time(mac, frame.ptr + MAGIC_BYTES + 1, MAC_BYTES)) {
        return err_set(err, ERR_UNAUTHENTICATED, "the signature is wrong");
    }
    return OK;
}

/* --- replay: open addressing on the nonce, which is random; a place whose time is over is free ---
 */

struct nonce_slot {
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
    uint64_t until_ms; /* 0: never used */
};

#define PROBES_MAX 64

struct replay_guard {
    uint32_t mask;
    uint64_t seed;
    struct nonce_slot *slots;
};

struct replay_guard *replay_guard_open(uint32_t capacity)
{
    struct replay_guard *guard = calloc(1, sizeof *guard);

    assert(capacity >= PROBES_MAX && (capacity & (capacity - 1)) == 0);
    if (guard == NULL) {
        return NULL;
    }
    random_bytes(&guard->seed, sizeof guard->seed);
    guard->mask = capacity - 1;
    guard->slots = calloc(capacity, sizeof *guard->slots);
    if (guard->slots == NULL) {
        replay_guard_close(&guard);
    }
    return guard;
}

void replay_guard_close(struct replay_guard **guard)
{
    assert(guard != NULL);
    if (*guard != NULL) {
        free((*guard)->slots);
        free(*guard);
        *guard = NULL;
    }
}

/* Every place within reach is looked at before a free one is taken: the nonce may stand behind it.
 */
static enum code guard_admit(struct replay_guard *guard,
                             const uint8_t *nonce,
                             uint64_t now_ms,
                             uint64_t until_ms,
                             struct err *err)
{
    uint64_t at = hash_bytes(nonce, ENVELOPE_NONCE_BYTES, guard->seed);
    struct nonce_slot *free_slot = NULL;

    for (uint32_t i = 0; i < PROBES_MAX; i++) {
        struct nonce_slot *slot = &guard->slots[(at + i) & guard->mask];

        if (slot->until_ms >= now_ms && slot->until_ms != 0) {
            if (memcmp(slot->nonce, nonce, ENVELOPE_NONCE_BYTES) == 0) {
                return err_set(err, ERR_UNAUTHENTICATED, "the message was seen before");
            }
        } else if (free_slot == NULL) {
            free_slot = slot;
        }
    }
    if (free_slot == NULL) {
        return err_set(err, ERR_OVERLOADED, "too many messages to remember");
    }
    memcpy(free_slot->nonce, nonce, ENVELOPE_NONCE_BYTES);
    free_slot->until_ms = until_ms;
    return OK;
}

static enum code times_check(const Avanta__Request *request, uint64_t now_ms, struct err *err)
{
    if (request->nonce.len != ENVELOPE_NONCE_BYTES) {
        return err_set(err, ERR_UNAUTHENTICATED, "the nonce has another length");
    }
    if (request->issued_ms > now_ms + ENVELOPE_SKEW_MS_MAX ||
        request->deadline_ms < request->issued_ms ||
        request->deadline_ms - request->issued_ms > 2 * REQUEST_DEADLINE_MS_MAX) {
        return err_set(err, ERR_UNAUTHENTICATED, "the message is dated wrongly");
    }
    if (request->deadline_ms + ENVELOPE_SKEW_MS_MAX <= now_ms) {
        return err_set(err, ERR_TIMEOUT, "the message has expired");
    }
    return OK;
}

enum code envelope_open_request(struct sealer *sealer,
                                struct replay_guard *guard,
                                struct str frame,
                                uint64_t now_wall_ms,
                                struct arena *arena,
                                struct Avanta__Request **out,
                                struct err *err)
{
    struct str message = STR_EMPTY;
    ProtobufCAllocator allocator;
    Avanta__Request *request = NULL;
    enum code code = unseal(sealer, KIND_REQUEST, frame, &message, err);

    assert(guard != NULL);
    if (code != OK) {
        return code;
    }
    transcode_allocator(&allocator, arena);
    request = avanta__request__unpack(&allocator, message.len, (const uint8_t *)message.ptr);
    if (request == NULL) {
        return arena_exhausted(arena)
                   ? err_set(err, ERR_TOO_LARGE, "the message needs too much memory")
                   : err_set(err, ERR_UNAUTHENTICATED, "the message cannot be read");
    }
    code = times_check(request, now_wall_ms, err);
    if (code == OK) {
        code = guard_admit(guard,
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
    struct str message = STR_EMPTY;
    ProtobufCAllocator allocator;
    Avanta__Reply *reply = NULL;
    enum code code = unseal(sealer, KIND_REPLY, frame, &message, err);

    if (code != OK) {
        return code;
    }
    transcode_allocator(&allocator, arena);
    reply = avanta__reply__unpack(&allocator, message.len, (const uint8_t *)message.ptr);
    if (reply == NULL) {
        return arena_exhausted(arena)
                   ? err_set(err, ERR_TOO_LARGE, "the reply needs too much memory")
                   : err_set(err, ERR_UNAUTHENTICATED, "the reply cannot be read");
    }
    if (reply->nonce.len != ENVELOPE_NONCE_BYTES ||
        memcmp(reply->nonce.data, nonce, ENVELOPE_NONCE_BYTES) != 0) {
        return err_set(err, ERR_UNAUTHENTICATED, "the reply is to another message");
    }
    *out = reply;
    return OK;
}
