#include "libcommon/service/turns.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/table.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <stdlib.h>

/* The changes of one owner, while there are any or a transaction holds its locks. */
struct lane {
    struct list waiting; /* REQ_HELD, in order of arrival */
    struct list heavy;   /* in turns->heavy_lanes: its first is heavy and waits for a place */
    struct list held;    /* in group->lanes */
    struct group *group; /* whose transaction may hold locks of the owner; NULL: none */
    uint64_t owner;
    uint32_t out; /* they have gone and not ended */
    uint32_t waiting_count;
    uint32_t waiting_heavy;
};

struct turns {
    struct runner *runner;
    struct pool *lanes;
    struct table *by_owner;
    struct list heavy_lanes;
    uint32_t heavy_max;
    uint32_t heavy_out;
    uint32_t waiting_count;
    uint32_t waiting_heavy;
};

struct turns *turns_open(struct runner *runner, uint32_t heavy_max)
{
    struct turns *turns = calloc(1, sizeof *turns);
    /* One for each request, and those whose requests have left a group that has not ended. */
    uint32_t count = runner->options.requests_max + runner->groups_max * PG_BATCH_MAX;
    uint64_t seed = 0;

    assert(heavy_max > 0);
    if (turns == NULL) {
        return NULL;
    }
    random_bytes(&seed, sizeof seed);
    turns->runner = runner;
    turns->heavy_max = heavy_max;
    list_init(&turns->heavy_lanes);
    turns->lanes = pool_open(sizeof(struct lane), count);
    turns->by_owner = table_open(count, seed);
    if (turns->lanes == NULL || turns->by_owner == NULL) {
        turns_close(&turns);
    }
    return turns;
}

void turns_close(struct turns **turns)
{
    struct turns *closing = *turns;

    *turns = NULL;
    if (closing == NULL) {
        return;
    }
    assert(closing->lanes == NULL || pool_used(closing->lanes) == 0);
    assert(closing->waiting_count == 0);
    pool_close(&closing->lanes);
    table_close(&closing->by_owner);
    free(closing);
}

uint32_t turns_waiting(const struct turns *turns)
{
    assert(turns != NULL);
    return turns->waiting_count;
}

/* --- lanes --------------------------------------------------------------------------- */

static struct str key_of(const uint64_t *owner)
{
    assert(owner != NULL);
    return (struct str){(const char *)owner, sizeof *owner};
}

static struct lane *lane_of(struct turns *turns, uint64_t owner)
{
    struct lane *lane = table_get(turns->by_owner, key_of(&owner));

    if (lane == NULL) {
        lane = pool_take(turns->lanes, NULL);
        assert(lane != NULL); /* there are as many as can be needed */
        list_init(&lane->waiting);
        list_init(&lane->heavy);
        list_init(&lane->held);
        lane->owner = owner;
        bool put = table_put(turns->by_owner, key_of(&owner), lane);
        assert(put);
    }
    return lane;
}

static void lane_drop_idle(struct turns *turns, struct lane *lane)
{
    if (lane->out > 0 || lane->waiting_count > 0 || lane->group != NULL) {
        return;
    }
    assert(list_empty(&lane->waiting));
    assert(list_empty(&lane->heavy));
    void *removed = table_remove(turns->by_owner, key_of(&lane->owner));
    assert(removed == lane);
    pool_give(turns->lanes, lane);
}

/* --- who goes ------------------------------------------------------------------------ */

static bool is_change(const struct req *r)
{
    const struct op *op = r->endpoint->op;

    return r->owned && (op_is_heavy(op) || op->tx >= TX_WRITE);
}

/* Nothing else of its owner goes with it. */
static bool is_single(const struct req *r)
{
    assert(r != NULL);
    return op_is_heavy(r->endpoint->op) || r->endpoint->op->tx == TX_WRITE_ALONE ||
           r->endpoint->sequential || r->endpoint->slow;
}

static struct req *first_of(const struct lane *lane)
{
    assert(lane != NULL);
    return list_empty(&lane->waiting) ? NULL : LIST_ENTRY(lane->waiting.next, struct req, node);
}

static void count_waiting(struct turns *turns, struct lane *lane, const struct req *r, bool more)
{
    uint32_t heavy = op_is_heavy(r->endpoint->op) ? 1 : 0;

    if (more) {
        lane->waiting_count++;
        lane->waiting_heavy += heavy;
        turns->waiting_count++;
        turns->waiting_heavy += heavy;
        return;
    }
    assert(lane->waiting_count > 0);
    assert(lane->waiting_heavy >= heavy);
    lane->waiting_count--;
    lane->waiting_heavy -= heavy;
    turns->waiting_count--;
    turns->waiting_heavy -= heavy;
}

static void let_go(struct turns *turns, struct lane *lane, struct req *r, bool together)
{
    bool heavy = op_is_heavy(r->endpoint->op);

    assert(r->lane == lane);
    list_remove(&r->node);
    count_waiting(turns, lane, r, false);
    lane->out++;
    turns->heavy_out += heavy ? 1 : 0;
    r->its_turn = true;
    r->apart = together || heavy;
    runner_go(r);
}

/* The lane's turn, if it has one: its first, and what may go together with it. */
static void lane_turn(struct turns *turns, struct lane *lane)
{
    struct req *r = first_of(lane);
    bool heavy = r != NULL && op_is_heavy(r->endpoint->op);

    assert(turns != NULL);
    assert(lane != NULL);
    if (heavy && lane->out == 0 && turns->heavy_out == turns->heavy_max) {
        if (list_empty(&lane->heavy)) {
            list_push_back(&turns->heavy_lanes, &lane->heavy);
        }
        return;
    }
    list_remove(&lane->heavy);
    if (r == NULL || lane->out > 0) {
        return;
    }
    if (is_single(r) || lane->waiting_count <= OWNER_SOLO_MAX) {
        let_go(turns, lane, r, false);
        return;
    }
    for (uint32_t i = 0; i < OWNER_TURN_MAX && r != NULL && !is_single(r); i++) {
        let_go(turns, lane, r, true);
        r = first_of(lane);
    }
}

static bool may_wait(const struct turns *turns, const struct lane *lane, const struct req *r)
{
    assert(turns != NULL);
    assert(lane != NULL);
    if (r->endpoint->method == NULL) {
        return true; /* events and jobs have bounds of their own */
    }
    if (op_is_heavy(r->endpoint->op) &&
        (lane->waiting_heavy == OWNER_HEAVY_MAX || turns->waiting_heavy >= HEAVY_WAITING_MAX)) {
        return false;
    }
    return lane->waiting_count < OWNER_WAITING_MAX;
}

bool turns_enter(struct turns *turns, struct req *r)
{
    struct lane *lane = NULL;

    assert(r->sm.state == REQ_NEW);
    assert(r->lane == NULL);
    if (!is_change(r)) {
        runner_go(r);
        return true;
    }
    lane = lane_of(turns, r->owner);
    if (!may_wait(turns, lane, r)) {
        (void)req_fail(r, ERR_RATE_LIMITED, "Too many changes of this user are waiting");
        lane_drop_idle(turns, lane);
        return false;
    }
    r->lane = lane;
    sm_move(&r->sm, REQ_HELD);
    list_push_back(&lane->waiting, &r->node);
    count_waiting(turns, lane, r, true);
    lane_turn(turns, lane);
    return true;
}

void turns_leave(struct turns *turns, struct req *r)
{
    struct lane *lane = r->lane;
    bool heavy = r->its_turn && op_is_heavy(r->endpoint->op);

    assert(list_empty(&r->node));
    if (lane == NULL) {
        return;
    }
    r->lane = NULL;
    if (r->its_turn) {
        assert(lane->out > 0);
        lane->out--;
        turns->heavy_out -= heavy ? 1 : 0;
    } else {
        count_waiting(turns, lane, r, false);
    }
    struct lane *next = heavy && !list_empty(&turns->heavy_lanes)
                            ? LIST_ENTRY(turns->heavy_lanes.next, struct lane, heavy)
                            : NULL;
    if (next != NULL) { /* before the lane's own: they follow one another */
        lane_turn(turns, next);
    }
    lane_turn(turns, lane);
    lane_drop_idle(turns, lane);
}

/* --- transactions -------------------------------------------------------------------- */

bool turns_free(const struct req *r, const struct group *group)
{
    assert(r != NULL);
    return r->lane == NULL || r->lane->group == NULL || r->lane->group == group;
}

void turns_hold(struct group *group, struct req *r)
{
    struct lane *lane = r->lane;

    assert(group != NULL);
    if (lane == NULL || lane->group == group) {
        return;
    }
    assert(lane->group == NULL);
    assert(r->its_turn);
    lane->group = group;
    list_push_back(&group->lanes, &lane->held);
}

void turns_release(struct turns *turns, struct group *group)
{
    struct list *node = NULL;

    assert(group->member_count == 0);
    while ((node = list_pop_front(&group->lanes)) != NULL) {
        struct lane *lane = LIST_ENTRY(node, struct lane, held);
        assert(lane->group == group);
        lane->group = NULL;
        lane_drop_idle(turns, lane);
    }
}
