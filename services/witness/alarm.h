#pragma once
/*
 * What the witness does when a checkpoint does not hold: keeps both notes and the proof as a file,
 * writes it to the log, and tells operators on alert.critical.audit-log, for each reason at most
 * once an hour; what the bus has not taken is offered again. Loop thread.
 */

#include "services/witness/keep.h"
#include "services/witness/seen.h"

#include "libcommon/io/bus.h"

enum why {
    WHY_SIGNATURE,    /* not a checkpoint that the log signed */
    WHY_FORK,         /* another tree of the same size */
    WHY_SHRUNK,       /* the log has fewer records than it had */
    WHY_INCONSISTENT, /* the proof does not hold: records that were there have changed or are gone
                       */
    WHY_UNPROVEN,     /* the log gives no proof */
    WHY_COUNT
};
extern const char *const why_names[WHY_COUNT + 1]; /* NULL at the end */

struct finding {
    enum why why;
    const struct seen *refused;
    const struct seen *last;          /* NULL: none was cosigned yet */
    const struct merkle_proof *proof; /* NULL: none was asked for or given */
    const char *detail;
};

struct alarm;

struct alarm_options {
    struct loop *loop;
    struct bus *bus;
    struct arena_pool *arenas;
    const struct keep *keep;
    const char *witness; /* its name */
};

struct alarm *alarm_open(const struct alarm_options *options); /* NULL: no memory */
void alarm_close(struct alarm **alarm);                        /* after bus_close() */
void alarm_raise(struct alarm *alarm, const struct finding *finding);
/* Some times a second. */
void alarm_tick(struct alarm *alarm);
