#pragma once
/*
 * Sealed frames: a packed avanta.Request or avanta.Reply behind an HMAC-SHA-256 (FIPS 198-1) under
 * the key of the service it is for. Layout: "AV1" kind(1) mac(32) message. The receiver drops what
 * is not signed, not for this kind, expired, issued in the future, or seen before. Keys are 32
 * bytes, hex in configuration, wiped on close. One sealer per loop; not thread-safe.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

#include <stdint.h>

struct Avanta__Request;
struct Avanta__Reply;

#define ENVELOPE_KEY_BYTES   32
#define ENVELOPE_NONCE_BYTES 16
#define ENVELOPE_SKEW_MS_MAX 5000
#define ENVELOPE_HEAD_BYTES  36

struct sealer;
struct sealer *sealer_open(const uint8_t key[ENVELOPE_KEY_BYTES]);
void sealer_close(struct sealer **sealer);

/* Packs and signs into memory of the arena; `*out` is the frame. */
enum code envelope_seal_request(struct sealer *sealer,
                                const struct Avanta__Request *request,
                                struct arena *arena,
                                struct str *out,
                                struct err *err) MUST_CHECK;
enum code envelope_seal_reply(struct sealer *sealer,
                              const struct Avanta__Reply *reply,
                              struct arena *arena,
                              struct str *out,
                              struct err *err) MUST_CHECK;

/* Remembers nonces until they would be expired anyway; bounded, fails closed (ERR_OVERLOADED) when
 * full. */
struct replay_guard;
struct replay_guard *replay_guard_open(uint32_t capacity);
void replay_guard_close(struct replay_guard **guard);

/* Verifies, unpacks into the arena, checks expiry and replay. ERR_UNAUTHENTICATED: signature, form
 * or replay; ERR_TIMEOUT: expired; ERR_OVERLOADED: guard full. */
enum code envelope_open_request(struct sealer *sealer,
                                struct replay_guard *guard,
                                struct str frame,
                                uint64_t now_wall_ms,
                                struct arena *arena,
                                struct Avanta__Request **out,
                                struct err *err) MUST_CHECK;
/* Verifies and unpacks; the reply must carry `nonce`. */
enum code envelope_open_reply(struct sealer *sealer,
                              struct str frame,
                              const uint8_t nonce[ENVELOPE_NONCE_BYTES],
                              struct arena *arena,
                              struct Avanta__Reply **out,
                              struct err *err) MUST_CHECK;
