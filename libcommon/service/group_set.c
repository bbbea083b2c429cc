/*
 * Set statements in group commit: the members of a group that want the same one are answered by one
 * execution, which costs little more than for a single member. Its result belongs to the group and
 * every member reads its own rows. Who stands alone sends it with one element (effects.h).
 *
 * If it fails nobody knows at whose fault: the members are run again together, each sending the
 * statement by itself, and the culprit shows.
 */
#include "libcommon/base/limits.h"
#include "libcommon/service/runner_internal.h"

#include <assert.h>

static bool wants_set(const struct req *r)
{
    const struct database *db = r->runner->database;

    return r->sm.state == REQ_QUEUED && r->idempotency != IDEMPOTENCY_DUE && !r->singly &&
           db->describe(db->ctx, r->statement)->set;
}

static bool same_statement(const struct req *a, const struct req *b)
{
    assert(a != NULL);
    assert(b != NULL);
    return a->statement.table == b->statement.table && a->statement.query == b->statement.query;
}

/* Members with the first one's set statement, and what they say. */
static void collect(struct group *group, struct pg_member *members)
{
    LIST_EACH(&group->members, node)
    {
        struct req *r = LIST_ENTRY(node, struct req, node);
        if (!wants_set(r) || (group->set_count > 0 && !same_statement(group->set[0], r))) {
            continue;
        }
        assert(group->set_count < PG_BATCH_MAX);
        members[group->set_count] = (struct pg_member){&r->context, r->statement_in};
        group->set[group->set_count++] = r;
    }
}

static void members_wait(struct group *group)
{
    assert(group->set_count > 1);
    for (uint32_t i = 0; i < group->set_count; i++) {
        group->set[i]->statements++;
        runner_asked_begin(group->set[i]);
        sm_move(&group->set[i]->sm, REQ_WAIT_QUERY);
    }
}

bool group_set_send(struct group *group)
{
    const struct database *db = group->runner->database;
    struct pg_member members[PG_BATCH_MAX];
    struct err err = {0};

    assert(group->set_count == 0);
    if (group->result_count == GROUP_RESULTS_MAX) {
        return false;
    }
    collect(group, members);
    if (group->set_count > 1 && group_begin(group, &err) == OK) {
        struct set_call call = {
            group->set[0]->statement, {members, group->set_count},
             group->set[0]->arena
        };
        if (db->query_set(db->ctx, group->conn, &call, group, &err) == OK) {
            members_wait(group);
            return true;
        }
    }
    group->set_count = 0; /* each by itself: what is wrong shows there */
    return false;
}

/* False: a row belongs to nobody. */
static bool give_rows(struct group *group, struct pg_result *result)
{
    const struct database *db = group->runner->database;
    size_t rows = db->rows(result);
    size_t row = 0;

    assert(group->set_count <= group->member_count);
    for (uint32_t i = 0; i < group->set_count; i++) {
        struct req *r = group->set[i];
        r->shared = result;
        r->row_first = row;
        while (row < rows && db->place(result, row) == (uint64_t)i + 1) {
            row++;
        }
        r->row_count = row - r->row_first;
    }
    return row == rows;
}

static void tell_members(struct group *group, const struct pg_answer *answer)
{
    const struct runner *runner = group->runner;

    for (uint32_t i = 0; i < group->set_count; i++) {
        struct req *r = group->set[i];
        assert(r->group == group);
        if (r->sm.state == REQ_EXPIRED) { /* nobody reads its rows; that it wrote still matters */
            r->effect = EFFECT_NONE;
            r->wrote = r->wrote || (answer->outcome == PG_OUTCOME_OK &&
                                    runner->query_effects[r->statement.query] != QUERY_READS);
            continue;
        }
        r->answer = *answer;
        r->answer.result = NULL;
        sm_move(&r->sm, REQ_READY);
    }
    group->set_count = 0;
}

void group_set_answer(struct group *group, struct pg_answer *answer)
{
    struct pg_answer told = *answer;

    assert(group->set_count > 1);
    if (answer->outcome == PG_OUTCOME_OK && !give_rows(group, answer->result)) {
        told.outcome = PG_OUTCOME_FAILED;
        (void)err_set(&told.err, ERR_INTERNAL, "The rows of a set statement are not in order");
    }
    if (told.outcome == PG_OUTCOME_FAILED) {
        group->set_failed = true;
        group->failed = true;
        group->answer = told;
        group->answer.result = NULL;
        told.outcome = PG_OUTCOME_SKIPPED;
    }
    if (answer->result != NULL) {
        assert(group->result_count < GROUP_RESULTS_MAX);
        group->results[group->result_count++] = answer->result;
        answer->result = NULL;
    }
    tell_members(group, &told);
}

void group_set_clear(struct group *group)
{
    assert(group->set_count == 0);
    for (uint32_t i = 0; i < group->result_count; i++) {
        group->runner->database->clear(&group->results[i]);
    }
    group->result_count = 0;
}
