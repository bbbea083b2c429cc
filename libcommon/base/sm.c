#include "libcommon/base/sm.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/clock.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#define STATES_MAX 64 /* bits of sm_row.next */

void sm_init(struct sm *sm, const char *kind, const struct sm_row *rows, int row_count, int state)
{
    assert(sm != NULL);
    assert(kind != NULL);
    assert(rows != NULL);
    assert(row_count > 0);
    assert(row_count <= STATES_MAX);
    assert(state >= 0);
    assert(state < row_count);
    for (int i = 0; i < row_count; i++) {
        assert(rows[i].name != NULL);
        assert(row_count == STATES_MAX || rows[i].next >> row_count == 0);
    }
    *sm = (struct sm){kind, rows, row_count, state, clock_mono_ms()};
}

/* The names of both states are worth more in the crash report than the number in an assertion. */
static NO_RETURN void move_refused(const struct sm *sm, int state)
{
    const char *to = state >= 0 && state < sm->row_count ? sm->rows[state].name : "?";

    (void)fprintf(
        stderr, "%s: state %s may not become %s (%d)\n", sm->kind, sm_name(sm), to, state);
    abort();
}

void sm_move(struct sm *sm, int state)
{
    assert(sm != NULL);
    assert(sm->state >= 0);
    assert(sm->state < sm->row_count);
    if (state < 0 || state >= sm->row_count || (sm->rows[sm->state].next & MAY(state)) == 0) {
        move_refused(sm, state);
    }
    sm->state = state;
    sm->since_ms = clock_mono_ms();
}

const char *sm_name(const struct sm *sm)
{
    assert(sm != NULL);
    assert(sm->state >= 0);
    assert(sm->state < sm->row_count);
    return sm->rows[sm->state].name;
}

uint64_t sm_deadline_ms(const struct sm *sm)
{
    uint32_t timeout_ms = 0;

    assert(sm != NULL);
    assert(sm->state >= 0);
    assert(sm->state < sm->row_count);
    timeout_ms = sm->rows[sm->state].timeout_ms;
    return timeout_ms == 0 ? UINT64_MAX : sm->since_ms + timeout_ms;
}
