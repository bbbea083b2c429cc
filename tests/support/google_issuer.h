#pragma once
/*
 * Google's part in tests, played by keys of our own: identity's settings, the file of keys, and ID
 * tokens. Failures fail the test.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GOOGLE_ISSUER_KEYS 2

struct google_token {
    const char *header; /* NULL: a good one */
    const char *sub;
    const char *email;
    const char *aud; /* NULL: ours */
    bool unverified;
    int64_t age_s;
    size_t key; /* that signs it */
};

/* Before stack_setup(). The file holds key 0 as g1. `settings` are further ones of identity, each
 * with a blank before it. */
void google_issuer_open(const char *settings);
void google_issuer_close(void);
/* Another key takes the place of what is in the file. */
void google_issuer_put(size_t key, const char *kid);
/* Until the next call. */
const char *google_token_text(const struct google_token *token);
