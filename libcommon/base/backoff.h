#pragma once
/* Capped exponential back-off with full jitter, for reconnects and retries. Owned by one loop. */

#include <stdint.h>

struct backoff {
    uint32_t first_ms;
    uint32_t cap_ms;
    uint32_t attempt;
};

/* The next wait: uniform in [1, min(cap, first * 2^attempt)]. */
uint32_t backoff_next_ms(struct backoff *b);
void backoff_reset(struct backoff *b);
