#pragma once
/*
 * Guessing is slowed down: attempts to log in are counted by e-mail, as it was typed and whether or
 * not somebody has it, and by the client's address (of IPv6 its /64); attempts to register by
 * address, and so are the accounts that are made; the password of who is logged in, where it is
 * asked for again, by user. What is counted by address wears off. Room for an
 * attempt is taken, and committed, before a password is looked at, so many at once gain nothing;
 * every attempt that was begun is ended in the transaction that answers it. How many failures lock,
 * and for how long, is in the settings. The counts are in the database: all replicas see the same
 * ones. Part of a request's steps, on the loop thread.
 *
 *   begin (before req_transaction) -> admitted (next step) -> ... -> end -> ended (next step)
 */

#include "libcommon/io/digest.h"
#include "libcommon/service/req.h"

struct identity;

/* In the state of the request. */
struct attempt {
    const char *kinds[2];
    uint8_t keys[2][SHA256_BYTES];
    int64_t failures_max[2];
    int64_t forget_s[2];
    int64_t decay_s[2];
    size_t count;
    const char *client_ip;
};

/* The attempt to log in with this e-mail, or to register. */
void attempt_of_login(struct attempt *attempt, struct req *r, const char *email);
void attempt_of_registration(struct attempt *attempt, struct req *r);
/* The caller's own password, asked for again. */
void attempt_of_user(struct attempt *attempt, struct req *r);

/* A statement: asks for room. */
enum step attempt_begin(struct req *r, const struct attempt *attempt);
/* Its answer. STEP_NEXT: the attempt may be made. Else it is refused, with the time to wait, before
 * anything depends on whether the account exists. */
enum step attempt_admitted(struct req *r);
/* A statement, in the transaction: it failed, or it succeeded and what was counted for its e-mail
 * is forgotten. */
enum step attempt_end(struct req *r, const struct attempt *attempt, bool failed);
/* Its answer: tells who listens of what is locked now; `user_id` NULL: no such account. Answer a
 * failure with req_refuse_keeping(), or it is not counted. */
bool attempt_ended(struct req *r, const struct attempt *attempt, const char *user_id) MUST_CHECK;

/* Forgets what says nothing any more; a periodic job. */
extern const struct op op_identity_attempts_purge;
