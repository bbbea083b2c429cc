#pragma once
/*
 * Inside the envelope: nonces seen and not yet forgotten. A fixed table of buckets; a nonce lives
 * in one of two. Single-threaded. It never evicts what is still alive: full means refusal.
 */

#include "libcommon/io/envelope.h"

/* OK and remembered until `until_ms`; ERR_UNAUTHENTICATED when seen before; ERR_OVERLOADED when
 * there is no room. `now_ms` tells what may be forgotten. */
enum code replay_guard_check(struct replay_guard *guard,
                             const uint8_t nonce[ENVELOPE_NONCE_BYTES],
                             uint64_t now_ms,
                             uint64_t until_ms,
                             struct err *err) MUST_CHECK;
