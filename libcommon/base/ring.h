#pragma once
/*
 * Bounded hand-over queue, many producers to one consumer, lock-free (C11 atomics). Carries
 * pointers. Any thread may push; only the owning loop thread pops. A full ring refuses: the caller
 * answers "overloaded" or leaves the message with the sender.
 */

#include "libcommon/base/attr.h"

#include <stdbool.h>
#include <stddef.h>

struct ring;

struct ring *ring_open(size_t capacity); /* power of two, 2 at least; armed. NULL: no memory */
void ring_close(struct ring **ring);     /* must be empty */
enum ring_push {
    RING_FULL,
    RING_PUSHED,
    RING_PUSHED_FIRST /* consumer may be asleep: wake it */
};
enum ring_push ring_push(struct ring *ring, void *item) MUST_CHECK;
/* Announces that the consumer is about to drain: the next push after this gives RING_PUSHED_FIRST.
 * The consumer, once woken, re-arms and then pops until NULL; so no item waits without a wake-up.
 */
void ring_rearm(struct ring *ring);
void *ring_pop(struct ring *ring);           /* NULL when empty */
size_t ring_length(const struct ring *ring); /* approximate under concurrency */
