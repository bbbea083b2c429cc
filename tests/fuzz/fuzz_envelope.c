/*
 * Envelopes of arbitrary bytes. The first byte chooses: bit 0 a request or a reply, bit 1 the rest
 * is a whole frame, else a message that we sign, so that the bytes get past the signature. Checked
 * besides memory: what is accepted obeys the rules, is accepted only once, and survives being
 * sealed again.
 */
#include "avanta/common.pb-c.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/envelope.h"

#include <assert.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>

#define ARENA_MAX  ((size_t)4 * 1024 * 1024)
#define NOW        UINT64_C(1750000000000)
#define REPLY_BIT  1U
#define FRAME_BIT  2U
#define HEAD_PLAIN 4 /* magic and kind, which the mac covers */
#define MAC_BYTES  32

/* NOLINTNEXTLINE(readability-identifier-naming): libFuzzer's name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t key[ENVELOPE_KEY_BYTES] = {'f', 'u', 'z', 'z'};
static const uint8_t nonce[ENVELOPE_NONCE_BYTES] = "0123456789abcdef";
static struct arena_pool *pool;
static struct sealer *sealer;

/* In memory of exactly its length, so that a read past the end is found. */
static uint8_t *sign(char kind, const uint8_t *message, size_t len)
{
    uint8_t *frame = malloc(ENVELOPE_HEAD_BYTES + len);
    uint8_t *covered = malloc(HEAD_PLAIN + len);
    uint8_t mac[MAC_BYTES];
    unsigned mac_len = 0;

    assert(frame != NULL);
    assert(covered != NULL);
    memcpy(covered, "AV1", HEAD_PLAIN - 1);
    covered[HEAD_PLAIN - 1] = (uint8_t)kind;
    memcpy(covered + HEAD_PLAIN, message, len);
    (void)HMAC(EVP_sha256(), key, (int)sizeof(key), covered, HEAD_PLAIN + len, mac, &mac_len);
    assert(mac_len == MAC_BYTES);
    memcpy(frame, covered, HEAD_PLAIN);
    memcpy(frame + HEAD_PLAIN, mac, MAC_BYTES);
    memcpy(frame + ENVELOPE_HEAD_BYTES, message, len);
    free(covered);
    return frame;
}

static void check_request(const Avanta__Request *request)
{
    assert(request->nonce.len == ENVELOPE_NONCE_BYTES);
    assert(request->issued_ms <= NOW + ENVELOPE_SKEW_MS_MAX);
    assert(request->deadline_ms > NOW);
    assert(request->deadline_ms <= NOW + REQUEST_DEADLINE_MS_MAX + ENVELOPE_SKEW_MS_MAX);
    assert(strlen(request->method) <= ARENA_MAX);
    assert(strlen(request->request_id) <= ARENA_MAX);
}

static bool request_known(const Avanta__Request *request)
{
    return request->base.n_unknown_fields == 0 &&
           (request->principal == NULL || request->principal->base.n_unknown_fields == 0);
}

static bool reply_known(const Avanta__Reply *reply)
{
    for (size_t i = 0; i < reply->n_violations; i++) {
        if (reply->violations[i]->base.n_unknown_fields != 0) {
            return false;
        }
    }
    return reply->base.n_unknown_fields == 0;
}

static void try_request(struct str frame, struct arena *arena)
{
    struct replay_guard *guard = replay_guard_open(8);
    struct replay_guard *fresh = replay_guard_open(8);
    Avanta__Request *request = NULL;
    Avanta__Request *again = NULL;
    struct str sealed = STR_EMPTY;
    enum code code = OK;

    assert(guard != NULL);
    assert(fresh != NULL);
    if (envelope_open_request(sealer, guard, frame, NOW, arena, &request, NULL) == OK) {
        check_request(request);
        code = envelope_open_request(sealer, guard, frame, NOW, arena, &again, NULL);
        assert(code == ERR_UNAUTHENTICATED || code == ERR_TOO_LARGE);
        assert(again == NULL);
        code = envelope_seal_request(sealer, request, arena, &sealed, NULL);
        if (code == OK) {
            code = envelope_open_request(sealer, fresh, sealed, NOW, arena, &again, NULL);
        }
        assert(code == OK || code == ERR_TOO_LARGE || !request_known(request));
        assert(again == NULL || strcmp(again->method, request->method) == 0);
    }
    replay_guard_close(&guard);
    replay_guard_close(&fresh);
}

static void try_reply(struct str frame, struct arena *arena)
{
    Avanta__Reply *reply = NULL;
    Avanta__Reply *again = NULL;
    struct str sealed = STR_EMPTY;
    enum code code = OK;

    if (envelope_open_reply(sealer, frame, nonce, arena, &reply, NULL) != OK) {
        return;
    }
    assert(reply->nonce.len == ENVELOPE_NONCE_BYTES);
    assert(memcmp(reply->nonce.data, nonce, ENVELOPE_NONCE_BYTES) == 0);
    code = envelope_seal_reply(sealer, reply, arena, &sealed, NULL);
    if (code == OK) {
        code = envelope_open_reply(sealer, sealed, nonce, arena, &again, NULL);
    }
    assert(code == OK || code == ERR_TOO_LARGE || !reply_known(reply));
    assert(again == NULL || again->n_violations == reply->n_violations);
}

static void open_things(void)
{
    if (pool == NULL) {
        pool = arena_pool_open(ARENA_CHUNK_BYTES, 1024);
        sealer = sealer_open(key);
    }
    assert(pool != NULL);
    assert(sealer != NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = NULL;
    struct str frame;
    uint8_t *owned = NULL;
    char kind = 'Q';

    open_things();
    if (size == 0) {
        return 0;
    }
    kind = (data[0] & REPLY_BIT) != 0 ? 'R' : 'Q';
    if ((data[0] & FRAME_BIT) != 0) {
        frame = (struct str){(const char *)data + 1, size - 1};
    } else {
        owned = sign(kind, data + 1, size - 1);
        frame = (struct str){(const char *)owned, ENVELOPE_HEAD_BYTES + size - 1};
    }
    arena = arena_open(pool, ARENA_MAX);
    assert(arena != NULL);
    if (kind == 'R') {
        try_reply(frame, arena);
    } else {
        try_request(frame, arena);
    }
    arena_dispose(&arena);
    assert(arena_pool_bytes_used(pool) == 0);
    free(owned);
    return 0;
}
