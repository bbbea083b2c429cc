#pragma once
/* Compiler attributes and tiny helpers used everywhere. No state, no dependencies. */

#include <stddef.h>

#define MUST_CHECK       __attribute__((warn_unused_result))
#define NO_RETURN        __attribute__((noreturn))
#define PRINTF(fmt, arg) __attribute__((format(printf, fmt, arg)))
#define UNUSED           __attribute__((unused))
#define RETURNS_NONNULL  __attribute__((returns_nonnull))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

/* The object of `type` whose field `member` is at `ptr`. */
#define CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
