/*
 * Who travels together. Most writes share groups with whoever waits; what turns.h says travels
 * apart waits in a list of its own and goes in groups of its owner, never in all groups at once.
 */
#include "libcommon/base/limits.h"
#include "libcommon/service/idempotency.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>

#define SCAN_MAX ((size_t)4 * PG_BATCH_MAX) /* queued requests looked at for one group */

static bool is_alone(const struct req *r)
{
    assert(r != NULL);
    return r->alone || r->endpoint->slow;
}

static bool may_join(const struct group *group, const struct req *r)
{
    assert(group != NULL);
    assert(r != NULL);
    if (!turns_free(r, group)) {
        return false;
    }
    if (group->member_count == 0) {
        return true;
    }
    if (is_alone(r)) {
        return false;
    }
    LIST_EACH(&group->members, node)
    {
        const struct req *m = LIST_ENTRY(node, struct req, node);
        if (is_alone(m) || (m->apart && m->owner != r->owner)) {
            return false;
        }
        if (m->key != NULL && r->key != NULL && m->key->lock_key == r->key->lock_key) {
            return false; /* the lock would not keep them apart */
        }
        if (m->owner == r->owner && (m->endpoint->sequential || r->endpoint->sequential)) {
            return false;
        }
    }
    return true;
}

static void join(struct group *group, struct req *r)
{
    assert(group != NULL);
    list_remove(&r->node);
    list_push_back(&group->members, &r->node);
    group->runner->writes_waiting--;
    group->member_count++;
    r->group = group;
    turns_hold(group, r);
}

/* Takes members from the queue in order; who may not join keeps its place. */
static void gather(struct group *group, struct list *queue)
{
    size_t scanned = 0;

    assert(group != NULL);
    LIST_EACH_SAFE(queue, node, following)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        if (group->member_count == PG_BATCH_MAX || scanned++ == SCAN_MAX) {
            return;
        }
        if (may_join(group, r)) {
            join(group, r);
        }
    }
}

void group_leave(struct req *r)
{
    struct group *group = r->group;

    assert(group != NULL);
    assert(group->member_count > 0);
    list_remove(&r->node);
    group->member_count--;
    r->group = NULL;
}

/* --- starting ------------------------------------------------------------------------ */

/* One waits there whose owner no group holds. */
static bool any_free(struct list *queue)
{
    size_t scanned = 0;

    LIST_EACH(queue, node)
    {
        if (turns_free(LIST_ENTRY(node, struct req, node), NULL)) {
            return true;
        }
        if (++scanned == SCAN_MAX) {
            return false;
        }
    }
    return false;
}

static bool apart_possible(struct runner *runner)
{
    assert(runner != NULL);
    return runner->groups_apart < runner->groups_apart_max && any_free(&runner->writes_apart);
}

static bool shared_possible(struct runner *runner)
{
    assert(runner != NULL);
    return any_free(&runner->writes_again) || any_free(&runner->writes);
}

bool group_possible(struct runner *runner)
{
    return shared_possible(runner) || apart_possible(runner);
}

/* They take turns while both wait. */
static bool next_is_apart(struct runner *runner)
{
    bool apart = apart_possible(runner);

    assert(runner != NULL);
    if (apart && !runner->apart_turn && shared_possible(runner)) {
        apart = false;
    }
    runner->apart_turn = !apart;
    return apart;
}

static void gather_members(struct group *group)
{
    struct runner *runner = group->runner;

    if (group->apart) {
        runner->groups_apart++;
        gather(group, &runner->writes_apart);
    } else {
        gather(group, &runner->writes_again);
        gather(group, &runner->writes);
    }
    assert(group->member_count > 0);
    group->lone = group->member_count == 1;
    group->brief = !group->apart && !list_empty(&group->lanes);
}

bool group_start(struct runner *runner)
{
    const struct database *db = runner->database;
    struct group *group = LIST_ENTRY(runner->groups_free.next, struct group, node);
    struct pg_holder holder = group_holder(group);

    assert(!list_empty(&runner->groups_free));
    assert(runner->writes_waiting > 0);
    group->conn = db->take(db->ctx, &holder);
    if (group->conn == NULL) {
        return false;
    }
    list_remove(&group->node);
    runner->connections_held++;
    runner->groups_open++;
    group->begun = false;
    group->lost = false;
    group->failed = false;
    group->added = false;
    group->set_failed = false;
    group->culprit = NULL;
    group->apart = next_is_apart(runner);
    gather_members(group);
    sm_move(&group->sm, GROUP_OPEN);
    group_go_on(group);
    return true;
}
