/*
 * Group commit: the writes that waited while connections were busy share one transaction. It goes
 * in rounds: in each, every member that has a statement to send adds it to one pipeline with one
 * sync at the end; the answers move all members on; when every member's verdict stands, events,
 * audit records and stored replies go with COMMIT in a last pipeline (group_end.c), and only then
 * replies are sent. A lone write starts at once; nobody waits for company.
 *
 * If a statement fails, or a member refuses after it changed rows, the transaction is rolled back
 * and the members are run again: the culprit alone, the others together once more, and alone if
 * that fails too or nobody is known to be at fault. A set statement answers for many members at
 * once (group_set.c). A member that refuses without having written just leaves. One that asks for a
 * second statement while another member is of the same user leaves too and is run alone, since
 * locks do not keep members of one transaction apart. Who travels together is told in
 * group_gather.c.
 */
#include "service_sql.gen.h"

#include "libcommon/base/limits.h"
#include "libcommon/service/idempotency.h"
#include "libcommon/service/outbox.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(number)    #number
#define IN_MS(number)   TEXT(number) "ms"
#define SHORT_LOCK_WAIT "SET LOCAL lock_timeout = '" IN_MS(GROUP_LOCK_WAIT_MS) "'"

static const struct sm_row group_states[GROUP_STATE_COUNT] = {
    [GROUP_FREE] = {"free",     0, MAY(GROUP_OPEN)                      },
    [GROUP_OPEN] = {"open",
                    0,             MAY(GROUP_ROUND) | MAY(GROUP_WORK) | MAY(GROUP_COMMIT) | MAY(GROUP_ROLLBACK) |
                        MAY(GROUP_FREE)           },
    [GROUP_ROUND] = {"round",    0, MAY(GROUP_OPEN) | MAY(GROUP_WORK)    },
    [GROUP_WORK] = {"work",     0, MAY(GROUP_OPEN)                      },
    [GROUP_COMMIT] = {"commit",   0, MAY(GROUP_ROLLBACK) | MAY(GROUP_FREE)},
    [GROUP_ROLLBACK] = {"rollback", 0, MAY(GROUP_FREE)                      },
};

enum code groups_open(struct runner *runner, struct err *err)
{
    assert(runner != NULL);
    runner->groups = calloc(runner->groups_max, sizeof *runner->groups);
    if (runner->groups == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the runner");
    }
    for (uint32_t i = 0; i < runner->groups_max; i++) {
        struct group *group = &runner->groups[i];
        group->runner = runner;
        list_init(&group->members);
        list_init(&group->lanes);
        sm_init(&group->sm, "group", group_states, GROUP_STATE_COUNT, GROUP_FREE);
        list_push_back(&runner->groups_free, &group->node);
    }
    return OK;
}

void groups_close(struct runner *runner)
{
    assert(runner != NULL);
    free(runner->groups);
    runner->groups = NULL;
}

/* --- answers ----------------------------------------------------------------------------- */

static bool works(const struct group *group)
{
    assert(group != NULL);
    LIST_EACH(&group->members, node)
    {
        const struct req *r = LIST_ENTRY(node, struct req, node);
        if (r->sm.state == REQ_WAIT_WORK ||
            (r->sm.state == REQ_EXPIRED && r->effect == EFFECT_WORK)) {
            return true;
        }
    }
    return false;
}

static void turn_later(struct group *group)
{
    assert(group != NULL);
    if (list_empty(&group->node)) {
        list_push_back(&group->runner->group_turns, &group->node);
    }
    runner_wake(group->runner);
}

void group_poke(struct group *group)
{
    assert(group != NULL);
    if (group->sm.state == GROUP_WORK && !works(group)) {
        turn_later(group);
    }
}

/* Nobody will read what an expired member gets; whether it changed rows still matters. */
static void answer_expired(struct req *r, struct pg_answer *answer)
{
    const struct runner *runner = r->runner;

    assert(answer != NULL);
    r->effect = EFFECT_NONE;
    if (answer->outcome == PG_OUTCOME_OK && r->idempotency != IDEMPOTENCY_ASKED &&
        runner->query_effects[r->statement.query] != QUERY_READS) {
        r->wrote = true;
    }
    runner->database->clear(&answer->result);
}

static void on_answer(void *ctx, void *tag, struct pg_answer *answer)
{
    struct group *group = ctx;
    struct req *r = tag;

    if (tag == group) {
        group_set_answer(group, answer);
        return;
    }
    if (tag == &group->outbox) {
        group_outbox_answer(group, answer);
        r = NULL;
    }
    if (r == NULL) {
        group->runner->database->clear(&answer->result);
        if (answer->outcome == PG_OUTCOME_FAILED && !group->failed) {
            group->failed = true;
            group->answer = *answer;
        }
        return;
    }
    assert(r->group == group);
    if (answer->outcome == PG_OUTCOME_FAILED && group->culprit == NULL) {
        group->culprit = r;
    }
    if (r->sm.state == REQ_EXPIRED) {
        answer_expired(r, answer);
        return;
    }
    r->answer = *answer;
    answer->result = NULL;
    sm_move(&r->sm, REQ_READY);
}

static void on_settled(void *ctx, bool lost)
{
    struct group *group = ctx;

    if (group->sm.state == GROUP_COMMIT && !list_empty(&group->node)) {
        return; /* committed already: a connection lost after that changes nothing */
    }
    group->lost = group->lost || lost;
    if (group->sm.state == GROUP_ROLLBACK) {
        group_end(group);
    } else if (!works(group)) {
        turn_later(group);
    } else if (group->sm.state == GROUP_ROUND) {
        sm_move(&group->sm, GROUP_WORK);
    }
}

struct pg_holder group_holder(struct group *group)
{
    assert(group != NULL);
    return (struct pg_holder){on_answer, on_settled, group};
}

/* --- a member moves on ---------------------------------------------------------------------- */

static bool shares_user(const struct group *group, const struct req *r)
{
    assert(group != NULL);
    assert(r != NULL);
    LIST_EACH(&group->members, node)
    {
        const struct req *m = LIST_ENTRY(node, struct req, node);
        if (m != r && m->owner == r->owner) {
            return true;
        }
    }
    return false;
}

/* The verdict stands: it stays for the commit, leaves, or spoils the transaction. */
static void member_decided(struct group *group, struct req *r)
{
    assert(group != NULL);
    if (r->code == OK || r->keeps) {
        return;
    }
    if (r->wrote) {
        group->culprit = r;
    } else if (!outbox_wants(r) && !idempotency_holds(r)) {
        group_leave(r);
        runner_finish(r);
    }
}

/* Wants one more statement. */
static void member_goes_on(struct group *group, struct req *r)
{
    assert(group != NULL);
    if (r->statements == 0) {
        return;
    }
    r->endpoint->sequential = true;
    if (!shares_user(group, r)) {
        return;
    }
    if (r->wrote) {
        group->culprit = r;
        return;
    }
    group_leave(r);
    r->regroups++;
    runner_rerun(r, true);
}

/* The key is claimed, or the claim's answer is the verdict. */
static void member_claimed(struct group *group, struct req *r)
{
    bool ours = idempotency_judge(r, r->answer.result);

    assert(group != NULL);
    group->runner->database->clear(&r->answer.result);
    if (ours && r->effect == EFFECT_STATEMENT) {
        sm_move(&r->sm, REQ_QUEUED);
        return;
    }
    sm_move(&r->sm, REQ_DECIDED);
    member_decided(group, r);
}

static void member_resume(struct group *group, struct req *r)
{
    if (r->idempotency == IDEMPOTENCY_ASKED) {
        member_claimed(group, r);
        return;
    }
    if (r->effect == EFFECT_STATEMENT && !runner_accept_answer(r)) {
        sm_move(&r->sm, REQ_DECIDED);
    } else {
        runner_steps(r);
    }
    switch (r->sm.state) {
    case REQ_QUEUED:
        member_goes_on(group, r);
        break;
    case REQ_WAIT_WORK:
        r->endpoint->slow = true;
        break;
    default:
        member_decided(group, r);
        break;
    }
}

static bool in_trouble(const struct group *group)
{
    assert(group != NULL);
    return group->lost || group->failed || group->culprit != NULL;
}

static void members_resume(struct group *group)
{
    assert(group != NULL);
    LIST_EACH_SAFE(&group->members, node, following)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        if (r->sm.state == REQ_EXPIRED && r->wrote) {
            group->culprit = r;
        } else if (r->sm.state == REQ_EXPIRED) {
            group_leave(r);
            runner_free(r);
        } else if (r->sm.state == REQ_READY) {
            member_resume(group, r);
        }
        if (group->culprit != NULL) {
            return;
        }
    }
}

/* --- rounds ------------------------------------------------------------------------------------
 */

/* See turns.h; the answer matters only when it is a failure. */
static enum code lock_owner(struct group *group, struct err *err)
{
    const struct database *db = group->runner->database;
    struct req *r = LIST_ENTRY(group->members.next, struct req, node);
    Avanta__Service__OwnerLock in = AVANTA__SERVICE__OWNER_LOCK__INIT;
    struct statement_call call = {
        {TABLE_SKELETON, Q_OWNER_LOCK},
        &r->context, &in.base, r->arena
    };

    assert(!list_empty(&group->members));
    memcpy(&in.lock_key, &r->owner, sizeof in.lock_key);
    return db->query(db->ctx, group->conn, &call, NULL, err);
}

enum code group_begin(struct group *group, struct err *err)
{
    const struct database *db = group->runner->database;
    enum code code = OK;

    if (group->begun) {
        return OK;
    }
    code = db->command(db->ctx, group->conn, "BEGIN", NULL, err);
    group->begun = code == OK;
    if (code == OK && group->apart) {
        code = lock_owner(group, err);
    } else if (code == OK && group->brief) {
        code = db->command(db->ctx, group->conn, SHORT_LOCK_WAIT, NULL, err);
    }
    return code;
}

static enum code member_send(struct group *group, struct req *r, struct err *err)
{
    const struct database *db = group->runner->database;
    struct statement_call call = {r->statement, &r->context, r->statement_in, r->arena};
    enum code code = group_begin(group, err);

    if (code != OK) {
        return code;
    }
    if (r->idempotency == IDEMPOTENCY_DUE) {
        call.statement = (struct statement){TABLE_SKELETON, Q_IDEMPOTENCY_CLAIM};
        call.in = &r->key->claim.base;
    }
    code = db->query(db->ctx, group->conn, &call, r, err);
    if (code != OK) {
        return code;
    }
    if (r->idempotency == IDEMPOTENCY_DUE) {
        r->idempotency = IDEMPOTENCY_ASKED;
    } else {
        r->statements++;
    }
    runner_asked_begin(r);
    sm_move(&r->sm, REQ_WAIT_QUERY);
    return OK;
}

/* The statement could not even be queued. False: the connection is broken. */
static bool member_unsent(struct group *group, struct req *r, const struct err *err)
{
    if (err->code != ERR_TOO_LARGE && err->code != ERR_OVERLOADED) {
        return false;
    }
    req_set_error(r, ERR_TOO_LARGE, err);
    sm_move(&r->sm, REQ_DECIDED);
    member_decided(group, r);
    return true;
}

/* True: statements are queued. What does not fit into one pipeline goes with the next. */
static bool round_send(struct group *group)
{
    bool sent = group_set_send(group);

    assert(group != NULL);
    LIST_EACH_SAFE(&group->members, node, following)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        struct err err = {0};
        if (r->sm.state != REQ_QUEUED) {
            continue;
        }
        enum code code = member_send(group, r, &err);
        if (code == OK) {
            sent = true;
        } else if (code == ERR_OVERLOADED && sent) {
            break;
        } else if (!member_unsent(group, r, &err)) {
            group->lost = true;
            return sent; /* what is under way is told first that it is lost */
        }
    }
    return sent;
}

void group_go_on(struct group *group)
{
    const struct database *db = group->runner->database;
    struct err err = {0};
    bool sent = !in_trouble(group) && round_send(group);

    assert(group->sm.state == GROUP_OPEN);
    if (sent) {
        sm_move(&group->sm, GROUP_ROUND);
        (void)db->flush(db->ctx, group->conn, &err); /* a loss is told by on_settled */
    } else if (works(group)) {
        sm_move(&group->sm, GROUP_WORK);
    } else if (group->lost) {
        group_lost(group);
    } else if (in_trouble(group)) {
        group_rollback(group);
    } else {
        group_commit(group);
    }
}

void group_turn(struct group *group)
{
    assert(group != NULL);
    if (group->sm.state == GROUP_COMMIT) {
        group_committed(group);
        return;
    }
    sm_move(&group->sm, GROUP_OPEN);
    if (!in_trouble(group)) {
        members_resume(group);
    }
    group_go_on(group);
}
