#include "libcommon/base/backoff.h"

#include "libcommon/base/id.h"

#include <assert.h>

#define ATTEMPT_MAX 31 /* 2^31 times any first wait is past any cap */

uint32_t backoff_next_ms(struct backoff *b)
{
    uint64_t limit_ms = 0;
    uint32_t random = 0;

    assert(b != NULL);
    assert(b->first_ms > 0);
    assert(b->cap_ms >= b->first_ms);
    limit_ms = (uint64_t)b->first_ms << (b->attempt < ATTEMPT_MAX ? b->attempt : ATTEMPT_MAX);
    if (limit_ms > b->cap_ms) {
        limit_ms = b->cap_ms;
    }
    if (b->attempt < ATTEMPT_MAX) {
        b->attempt++;
    }
    random_bytes(&random, sizeof(random));
    /* Scaling instead of a remainder: evenly spread, and the whole range is reachable. */
    return (uint32_t)(((uint64_t)random * limit_ms) >> 32) + 1;
}

void backoff_reset(struct backoff *b)
{
    assert(b != NULL);
    b->attempt = 0;
}
