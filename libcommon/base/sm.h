#pragma once
/*
 * State tables: every long-lived object has one enum, one table of rows (name, timeout, allowed
 * successors) and one mover. A move that the table does not allow is a programmer error and aborts.
 */

#include <stdint.h>

#define MAY(state) (UINT64_C(1) << (state))

struct sm_row {
    const char *name;
    uint32_t timeout_ms; /* 0: the state may last */
    uint64_t next;       /* MAY() bits */
};

struct sm {
    const char *kind; /* for traces: "http_conn" */
    const struct sm_row *rows;
    int row_count;
    int state;
    uint64_t since_ms; /* monotonic time of the last move */
};

void sm_init(struct sm *sm, const char *kind, const struct sm_row *rows, int row_count, int state);
void sm_move(struct sm *sm, int state);
const char *sm_name(const struct sm *sm);
/* Monotonic time at which the present state times out; UINT64_MAX when it may last. */
uint64_t sm_deadline_ms(const struct sm *sm);
