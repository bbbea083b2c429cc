#pragma once
/* What is wrong with a request, all at once: up to VIOLATIONS_MAX rows; more are counted, not kept.
 * Rows live in the request's arena. Texts are for people and name no internals. */

#include "libcommon/base/arena.h"
#include "libcommon/base/limits.h"

struct violation {
    const char *field; /* path as the client wrote it: "updates[3].amount" */
    const char *code;  /* required, type, money_precision, min, max, length, pattern, value, date,
                          future, unknown, null, utf8, control */
    const char *message;
};

struct violations {
    struct arena *arena;
    size_t count; /* kept rows */
    size_t more;  /* refused rows beyond the maximum */
    struct violation rows[VIOLATIONS_MAX];
};

void violations_init(struct violations *v, struct arena *arena);
/* `field` and the formatted text are copied; `code` must be a literal. */
void violations_add(struct violations *v, const char *field, const char *code, const char *fmt, ...)
    PRINTF(4, 5);
