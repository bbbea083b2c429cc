#pragma once
/* Life of a worker, for main.c: open, run its loop, drain, close. Each on the worker's own thread.
 */

#include "gateway/worker.h"

/* Listens on `port`. After an error the process ends: nothing is undone. */
enum code worker_open(struct worker *worker,
                      const struct gateway *gateway,
                      uint32_t number,
                      uint16_t port,
                      struct err *err) MUST_CHECK;
/* Answers what is under way, then leaves the loop with nothing open. */
void worker_drain(struct worker *worker);
void worker_close(struct worker *worker);
