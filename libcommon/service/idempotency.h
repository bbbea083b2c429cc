#pragma once
/*
 * Idempotency-Key: the reply to a keyed write is stored in the write's own transaction and given
 * again to whoever asks again. Inside its transaction a request first claims its key (an advisory
 * lock until the end of the transaction) and sees what is stored under it. Keys belong to a user;
 * callers without a credential share the user ''. Everything lives in the request's arena.
 */

#include "avanta/service.pb-c.h"

#include "libcommon/io/digest.h"
#include "libcommon/service/req_internal.h"

#define IDEMPOTENCY_KEY_BYTES_MAX        255
#define IDEMPOTENCY_TTL_MS               ((int64_t)24 * 3600 * 1000)
#define IDEMPOTENCY_PURGE_MS             60000 /* how often old rows are looked for */
#define IDEMPOTENCY_PURGE_ROWS           1000  /* in one statement */
#define IDEMPOTENCY_PURGE_STATEMENTS_MAX 500

struct idempotency {
    const char *owner;
    int64_t lock_key;
    uint8_t request_hash[SHA256_BYTES];
    Avanta__Service__IdempotencyClaim claim;
};

/* 1 to 255 printable ASCII bytes. */
bool idempotency_key_valid(struct str key);
/* Hashes the request; false: the arena is full, the request's error is set. */
bool idempotency_prepare(struct req *r) MUST_CHECK;
/* Judges the answer of the claim: the request goes on (true), or its verdict stands. */
bool idempotency_judge(struct req *r, const struct pg_result *found) MUST_CHECK;
/* Its transaction holds the key's lock: who is told the verdict earlier may ask again and find the
 * key taken. */
bool idempotency_holds(const struct req *r);
/* The verdict is stored with the commit: the key is ours and asking again would give the same. */
bool idempotency_stores(const struct req *r);
/* Queues one statement that stores the verdicts of all members that store one. */
enum code idempotency_write(const struct database *db,
                            struct pg_conn *conn,
                            const struct list *members,
                            struct arena *arena,
                            size_t *out_rows,
                            struct err *err) MUST_CHECK;
/* The skeleton's own periodic job: deletes what is older than IDEMPOTENCY_TTL_MS. */
extern const struct op op_idempotency_purge;
