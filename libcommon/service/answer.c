/* What the answer of a statement means for its request: a result, an error, or a refusal. */
#include "libcommon/service/runner_internal.h"

#include <assert.h>
#include <string.h>

static void note_effect(struct req *r)
{
    if (r->statement.table == TABLE_SERVICE) {
        assert(r->statement.query < r->runner->options.service->query_count);
        enum query_effect effect = r->runner->query_effects[r->statement.query];
        r->wrote =
            r->wrote || effect == QUERY_MAY_WRITE || (effect == QUERY_WRITES && r->affected > 0);
    }
}

bool runner_accept_answer(struct req *r)
{
    const struct database *db = r->runner->database;
    struct pg_answer *answer = &r->answer;
    struct err err = {0};

    runner_asked_end(r);
    if (answer->outcome != PG_OUTCOME_OK) {
        runner_database_error(r, answer);
        return false;
    }
    assert(r->effect == EFFECT_STATEMENT);
    if (r->shared != NULL) {
        assert(r->group != NULL);
        r->result = r->shared; /* with its rows; the group clears it when it ends */
        r->shared = NULL;
        r->affected = db->affected(r->result);
        note_effect(r);
        return true;
    }
    assert(answer->result != NULL);
    r->result = answer->result;
    r->row_first = 0;
    r->row_count = db->rows(r->result);
    r->affected = db->affected(r->result);
    answer->result = NULL;
    note_effect(r);
    if (db->attach(r->result, r->arena, &err) != OK) {
        db->clear(&r->result);
        req_set_error(r, err.code, &err);
        return false;
    }
    return true;
}

static const struct constraint_row *constraint_row(const struct req *r, const char *constraint)
{
    const struct service *service = r->runner->options.service;

    assert(constraint[0] != '\0');
    for (size_t i = 0; i < service->constraint_count; i++) {
        if (strcmp(service->constraints[i].constraint, constraint) == 0) {
            return &service->constraints[i];
        }
    }
    return NULL;
}

void runner_database_error(struct req *r, const struct pg_answer *answer)
{
    const struct constraint_row *row = NULL;
    enum code code = answer->err.code;

    assert(answer->outcome != PG_OUTCOME_OK);
    if (answer->outcome != PG_OUTCOME_FAILED) {
        req_set_error(r, ERR_UNAVAILABLE, &answer->err);
        return;
    }
    if (answer->constraint[0] != '\0') {
        row = constraint_row(r, answer->constraint);
    }
    if (row == NULL) {
        req_set_error(r, code == OK ? ERR_INTERNAL : code, &answer->err);
        return;
    }
    assert(row->reason != AVANTA__REASON__NONE);
    const struct api_reason *reason = &r->runner->options.reasons[row->reason];
    (void)req_refuse(r, row->reason);
    if (row->field != NULL) {
        const char *rule = code == ERR_CONFLICT    ? "unique"
                           : code == ERR_REFERENCE ? "reference"
                                                   : "value";
        (void)req_violation(r, ERR_CONFLICT, row->field, rule, "%s", reason->text);
    }
}
