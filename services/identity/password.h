#pragma once
/*
 * Passwords: argon2id (RFC 9106) in its encoded form. Hashing takes tens of milliseconds and its
 * memory by intention: run it on the thread pool. Thread-safe. The caller wipes the clear text.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/metric.h"
#include "libcommon/base/str.h"

#define PASSWORD_HASH_BYTES 160

struct password_cost {
    uint32_t memory_kib;
    uint32_t passes;
    uint32_t lanes;
};

enum code password_hash(struct str password,
                        const struct password_cost *cost,
                        char out[PASSWORD_HASH_BYTES],
                        struct err *err) MUST_CHECK;
/* From now on each hash computed, whatever for, is counted there. NULL: nowhere. Before the first
 * one, and after the last. */
void password_counted(struct metrics *metrics, size_t row);
/* True when the password made this hash; the cost is in the hash. */
bool password_verify(struct str password, const char *hash);
/* Does the work of a verification without an answer, so that an unknown user takes as long. */
void password_verify_nobody(struct str password, const struct password_cost *cost);
