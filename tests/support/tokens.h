#pragma once
/*
 * Access tokens of any content for tests, good and bad: signed with a key of the test's choice.
 * Texts are static until the next call; failures fail the test.
 */

#include "libcommon/io/ecdsa.h"

struct token_wish {
    const struct ecdsa_key *key; /* NULL: the signature is empty */
    const char *alg;             /* NULL: ES256 */
    const char *kid;
    const char *audience; /* NULL: avanta-api */
    const char *user_id;
    const char *role;
    const char *session_id;
    int64_t expires_s; /* from now */
    struct str hmac;   /* with it the signature is HMAC-SHA-256 under these bytes */
};

const char *token_craft(const struct token_wish *wish);

#define TOKENS_KID_BYTES 32

/* The key that signs in the stack of stack_setup(), unsealed as identity does; the caller closes
 * it. */
struct ecdsa_key *tokens_stack_key(char out_kid[TOKENS_KID_BYTES]);
