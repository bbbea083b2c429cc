#pragma once
/*
 * What identity says of API keys and of grants, remembered for a short time: up to half a minute
 * for those that are good, a few seconds for those that are not. Entries are found by a SHA-256,
 * least recently used out first; those that are not good have a small room of their own, so that
 * guesses push out nothing but guesses. What ends before is heard over ctl.revoke (its id, which
 * the token cache knows) and ctl.access (a user whose role, keys or grants changed). An answer
 * about that user which was under way when such a message came is remembered for half a second
 * only; so is one that names nobody, and any when more came meanwhile than are remembered. One per
 * worker; loop thread only.
 */

#include "gateway/auth.h"

#include "libcommon/codec/access.h"
#include "libcommon/codec/network.h"
#include "libcommon/io/digest.h"

#define LOOKUP_MAX         4096
#define LOOKUP_BAD_MAX     1024
#define LOOKUP_CHANGES_MAX 64 /* of one question's time: they are rare */
#define LOOKUP_GOOD_MS     30000
#define LOOKUP_BAD_MS      3000
#define LOOKUP_DOUBTFUL_MS \
    500 /* what something changed meanwhile: who loses access is out in a second */
#define LOOKUP_NETWORKS_MAX 16
#define LOOKUP_ASKS_MAX     3 /* for one request: an answer may expire as it comes */

struct Avanta__Identity__AccessReply;
struct credential_signature;
struct worker;
struct lookup;

/* Valid until the next call. */
struct lookup_answer {
    bool good;
    char id[64];      /* of the key or grant */
    char user_id[64]; /* whose books */
    char email[256];  /* of a key's user; "" for grants */
    char role[16];
    uint32_t scopes;
    enum access_grant grant;
    uint32_t network_count; /* 0: from anywhere */
    struct network networks[LOOKUP_NETWORKS_MAX];
};

struct lookup *lookup_open(void); /* NULL when memory is refused */
void lookup_close(struct lookup **lookup);
/* NULL: not known, ask. */
const struct lookup_answer *
lookup_get(struct lookup *lookup, const uint8_t digest[SHA256_BYTES], uint64_t now_ms);
/* Nothing about this user is known any more. */
void lookup_forget(struct lookup *lookup, struct str user_id);
void lookup_forget_all(struct lookup *lookup);

/* The same, and it is forgotten: a signature is good once. */
bool lookup_take(struct lookup *lookup,
                 const uint8_t digest[SHA256_BYTES],
                 struct lookup_answer *out) MUST_CHECK;

/* A question under way, in the request that waits for it. */
struct lookup_ask {
    struct worker *worker;
    uint8_t digest[SHA256_BYTES];
    char accountant_id[64]; /* of a grant */
    char owner_id[64];
    uint64_t changes; /* of the lookup when it was asked */
    uint32_t asks;
    void (*done)(void *ctx, enum code code); /* OK: look again */
    void *ctx;
};

/* What lookup_ask_...() do at once: the question begins, its answer is remembered. */
void lookup_ask_begin(struct lookup *lookup, struct lookup_ask *ask);
void lookup_remember(struct lookup *lookup,
                     const struct lookup_ask *ask,
                     const struct Avanta__Identity__AccessReply *reply,
                     uint64_t now_ms);

void lookup_key_digest(struct str key, uint8_t out[SHA256_BYTES]);
void lookup_grant_digest(const char *accountant_id,
                         const char *owner_id,
                         uint8_t out[SHA256_BYTES]);
/* Ask identity about ask->digest; done is called, not from here. False: it cannot be asked now. */
bool lookup_ask_key(struct lookup_ask *ask, struct str client_ip) MUST_CHECK;
/* A signed request, whatever of it was signed. */
struct lookup_signed {
    const struct credential_signature *signature;
    struct str method;
    struct str target;
    uint8_t body_hash[SHA256_BYTES];
};
bool lookup_ask_signature(struct lookup_ask *ask,
                          const struct lookup_signed *what,
                          struct str client_ip) MUST_CHECK;
/* With the ids of both set in `ask`. */
bool lookup_ask_grant(struct lookup_ask *ask) MUST_CHECK;
