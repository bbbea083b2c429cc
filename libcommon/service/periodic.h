#pragma once
/* Jobs that run as requests of their own, one at a time per process and row; a run that is still
 * under way when the next is due lets that one pass. On the loop thread. */

#include "libcommon/service/runner.h"

#define PERIODICS_MAX 16

struct periodics;

struct periodics_options {
    struct loop *loop;
    struct runner *runner;
    struct arena_pool *arenas;
    const struct periodic_row *rows;
    struct endpoint *endpoints; /* one per row */
    size_t count;
};

enum code periodics_open(const struct periodics_options *options,
                         struct periodics **out,
                         struct err *err) MUST_CHECK;
/* Have all that are `at_start` succeeded once? */
bool periodics_started(const struct periodics *periodics);
void periodics_stop(struct periodics *periodics);
/* After that: starts the one of that name a last time, unless it is under way. */
void periodics_finish(struct periodics *periodics, const char *name);
void periodics_close(struct periodics **periodics); /* no run may be under way */
