/* How a group commit ends: committed, rolled back, or with its connection lost. */
#include "libcommon/base/backoff.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/service/idempotency.h"
#include "libcommon/service/outbox.h"
#include "libcommon/service/runner_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>
#include <string.h>

#define SERIALIZATION_RETRIES_MAX 3
#define REGROUPS_MAX              2 /* failed groups, then alone */
#define LOSSES_MAX                1 /* lost connections, then an error */
#define RETRY_FIRST_MS            5
#define RETRY_CAP_MS              100

void group_end(struct group *group)
{
    struct runner *runner = group->runner;

    assert(group->member_count == 0);
    assert(list_empty(&group->node));
    group_set_clear(group);
    arena_dispose(&group->arena);
    group->outbox = (struct outbox_rows){0};
    runner->database->release(runner->database->ctx, &group->conn);
    assert(runner->connections_held > 0);
    assert(runner->groups_open > 0);
    runner->connections_held--;
    runner->groups_open--;
    runner->groups_apart -= group->apart ? 1 : 0;
    turns_release(runner->turns, group);
    sm_move(&group->sm, GROUP_FREE);
    list_push_back(&runner->groups_free, &group->node);
    runner_wake(runner);
}

/* Takes a member out; false: it had expired and is gone. */
static bool take_out(struct req *r)
{
    bool alive = r->sm.state != REQ_EXPIRED;

    group_leave(r);
    if (!alive) {
        runner_free(r);
    }
    return alive;
}

/* --- commit -------------------------------------------------------------------------- */

static enum code commit_queue(struct group *group, struct err *err)
{
    struct runner *runner = group->runner;
    const struct database *db = runner->database;
    struct outbox_target target = {db, group->conn, group->arena};
    size_t records = 0;
    size_t replies = 0;
    enum code code = group_begin(group, err);

    if (code == OK) {
        code = outbox_write(
            &target, runner->options.service->name, &group->members, &group->outbox, &records, err);
        group->added = records > 0;
    }
    if (code == OK) {
        code = idempotency_write(db, group->conn, &group->members, group->arena, &replies, err);
    }
    if (code == OK) {
        code = db->command(db->ctx, group->conn, "COMMIT", NULL, err);
    }
    return code;
}

/* Members that all ended without a statement and leave nothing to write need no transaction. */
static bool nothing_to_commit(const struct group *group)
{
    assert(group != NULL);
    if (group->begun) {
        return false;
    }
    LIST_EACH(&group->members, node)
    {
        const struct req *r = LIST_ENTRY(node, struct req, node);
        if (outbox_wants(r) || idempotency_stores(r)) {
            return false;
        }
    }
    return true;
}

void group_commit(struct group *group)
{
    struct runner *runner = group->runner;
    struct err err = {0};
    enum code code = ERR_TOO_LARGE;

    assert(group->arena == NULL);
    if (nothing_to_commit(group)) {
        group_committed(group);
        return;
    }
    group->arena = arena_open(runner->options.arenas, REQ_ARENA_BYTES_MAX);
    if (group->arena != NULL) {
        code = commit_queue(group, &err);
    }
    if (code == ERR_TOO_LARGE || code == ERR_OVERLOADED) { /* for the arena or for one pipeline */
        group->failed = true;
        group->answer = (struct pg_answer){.outcome = PG_OUTCOME_FAILED, .err = err};
        group->answer.err.code = ERR_TOO_LARGE;
        group_rollback(group);
        return;
    }
    if (code != OK) {
        group->lost = true;
        group_lost(group);
        return;
    }
    if (group->member_count > 0) { /* none: all have left, and the transaction changed nothing */
        metric_add(runner->options.metrics,
                   METRIC_GROUPS,
                   service_metrics_group_series(group->member_count),
                   1);
    }
    LIST_EACH(&group->members, node)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);

        runner_asked_begin(r);
        sm_move(&r->sm, REQ_COMMITTING);
    }
    sm_move(&group->sm, GROUP_COMMIT);
    (void)runner->database->flush(runner->database->ctx, group->conn, &err);
}

void group_outbox_answer(struct group *group, const struct pg_answer *answer)
{
    const struct outbox_target target = {group->runner->database, group->conn, group->arena};

    assert(answer != NULL);
    if (answer->outcome == PG_OUTCOME_OK && group->arena != NULL) {
        outbox_take_numbers(&target, &group->outbox, answer->result);
    }
}

void group_committed(struct group *group)
{
    struct runner *runner = group->runner;

    if (group->lost) {
        group_lost(group);
        return;
    }
    if (group->failed) {
        group_rollback(group);
        return;
    }
    LIST_EACH_SAFE(&group->members, node, following)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        if (take_out(r)) {
            runner_finish(r);
        }
    }
    if (group->added) {
        runner->options.on_committed(runner->options.ctx, &group->outbox);
    }
    group_end(group);
}

/* --- rollback ------------------------------------------------------------------------------ */

/* Worth another attempt. A stored reply may be met by one that is stored after a rollback, when the
 * key's lock is gone: run again, the request sees it. */
static bool is_collision(const struct pg_answer *answer)
{
    assert(answer != NULL);
    return answer->err.code == ERR_SERIALIZATION ||
           strcmp(answer->constraint, "idempotency_pkey") == 0;
}

static void retry_later(struct req *r)
{
    struct backoff backoff = {RETRY_FIRST_MS, RETRY_CAP_MS, r->retries};

    sm_move(&r->sm, REQ_BACKOFF);
    r->not_before_ms = clock_mono_ms() + backoff_next_ms(&backoff);
    list_push_back(&r->runner->backoff, &r->node);
}

static void decide(struct req *r)
{
    if (r->sm.state != REQ_DECIDED) {
        sm_move(&r->sm, REQ_DECIDED);
    }
}

/* Alone in its transaction and failed: the error, the refusal after writing, or another attempt. */
static void lone_failed(struct group *group, struct req *r)
{
    const struct pg_answer *answer =
        r->answer.outcome == PG_OUTCOME_FAILED ? &r->answer : &group->answer;

    decide(r);
    if (r->afterwards) {
        if (!is_collision(answer)) {
            log_event(LOG_ERROR,
                      "records_lost",
                      LOG_S("method", r->endpoint->name),
                      LOG_S("request_id", r->envelope->request_id),
                      LOG_S("cause", answer->err.text));
        }
        runner_finish(r);
        return;
    }
    if (r->code == OK && is_collision(answer) && r->lane != NULL && !r->apart) {
        runner_rerun(r, true); /* where it may wait longer */
        return;
    }
    if (r->code == OK && is_collision(answer) && r->retries < SERIALIZATION_RETRIES_MAX) {
        r->retries++;
        retry_later(r);
        return;
    }
    if (r->code == OK) {
        runner_database_error(r, answer);
    }
    runner_route(r);
}

static void group_failed(struct group *group, struct req *r, bool culprit)
{
    bool nobody = group->culprit == NULL && !group->set_failed;

    if (group->set_failed && !r->singly && !r->afterwards) {
        r->singly = true;
        runner_rerun(r, false);
        return;
    }
    r->regroups++;
    if (r->afterwards) {
        decide(r);
        r->alone = true;
        runner_route(r);
        return;
    }
    runner_rerun(r, culprit || nobody || r->regroups >= REGROUPS_MAX);
}

void group_rollback(struct group *group)
{
    struct runner *runner = group->runner;
    const struct database *db = runner->database;
    struct err err = {0};

    metric_add(runner->options.metrics, METRIC_GROUP_ROLLBACKS, 0, 1);
    LIST_EACH_SAFE(&group->members, node, following)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        bool culprit = r == group->culprit;
        if (!take_out(r)) {
            continue;
        }
        if (group->lone) {
            lone_failed(group, r);
        } else {
            group_failed(group, r, culprit);
        }
    }
    if (!group->begun || db->command(db->ctx, group->conn, "ROLLBACK", NULL, &err) != OK) {
        group_end(group);
        return;
    }
    sm_move(&group->sm, GROUP_ROLLBACK);
    (void)db->flush(db->ctx, group->conn, &err);
}

/* --- a lost connection ---------------------------------------------------------------------------
 */

/* `committing`: nobody knows whether the transaction was committed. Who has a key finds out by
 * asking again; the others must be told. */
static void member_lost(struct req *r, bool committing)
{
    bool again = r->losses < LOSSES_MAX && (!committing || r->idempotency == IDEMPOTENCY_CLAIMED);

    r->losses++;
    if (r->afterwards || r->replay != NULL || (r->sm.state != REQ_READY && r->code != OK)) {
        decide(r);
        runner_finish(r); /* a refusal does not hang on the commit */
        return;
    }
    if (again) {
        runner_rerun(r, committing);
        return;
    }
    decide(r);
    if (committing) {
        (void)req_fail(r, ERR_TIMEOUT, OUTCOME_UNKNOWN_TEXT);
    } else {
        req_set_error(r, ERR_UNAVAILABLE, NULL);
    }
    runner_finish(r);
}

void group_lost(struct group *group)
{
    bool committing = group->sm.state == GROUP_COMMIT;

    assert(group->lost);
    metric_add(group->runner->options.metrics, METRIC_LOST, 0, 1);
    LIST_EACH_SAFE(&group->members, node, following)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        if (take_out(r)) {
            member_lost(r, committing);
        }
    }
    group_end(group);
}
