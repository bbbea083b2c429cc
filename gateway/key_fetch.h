#pragma once
/*
 * Keys come from identity: at start, every few seconds, when identity says that they changed, and
 * when a token names a key that is not known. Then its request waits for one fetch, a short time,
 * and is looked at once more. However many such tokens come, a worker fetches for them once a
 * second at most, and few of them wait. Loop thread of the worker.
 */

#include "libcommon/base/list.h"

#include <stdbool.h>
#include <stdint.h>

#define KEY_WAIT_MS_MAX  500
#define KEY_WAITERS_MAX  64
#define KEY_FETCH_MS_MIN 1000 /* between two fetches for unknown keys */

struct worker;

/* In the exchange that waits; zeroed before the first use. */
struct key_wait {
    struct list node;
    uint64_t until_ms;
    void (*done)(void *ctx); /* a fetch ended, or the time is over; NULL: it never waited */
    void *ctx;
};

void key_fetch_start(struct worker *worker);
/* What is fetched now may be older than the change: fetched again where a fetch is under way. */
void key_fetch_changed(struct worker *worker);
/* False: it has waited before, no fetch would end in time, or too many wait. Else `done` is called,
 * not from here. */
bool key_wait_begin(struct worker *worker,
                    struct key_wait *wait,
                    void (*done)(void *ctx),
                    void *ctx);
/* Run by the worker's tick. */
void key_wait_due(struct worker *worker);
