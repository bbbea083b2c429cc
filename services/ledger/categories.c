/* Categories. Names are unique among a user's active ones. */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/ledger.h"

#include <assert.h>

static Avanta__Ledger__Category *category_row(struct req *r, size_t row)
{
    assert(row < req_rows(r));
    return (Avanta__Ledger__Category *)(void *)req_row_new(r, row);
}

static enum step
reply_category(struct req *r, const Avanta__Ledger__Category *c, const char *message)
{
    Avanta__Ledger__CategoryReply *out = req_out(r);

    assert(c != NULL);
    assert(c->has_id);
    assert(message != NULL);
    out->has_success = true;
    out->success = true;
    out->message = ledger_text(r, message);
    out->has_id = c->has_id;
    out->id = c->id;
    out->user_id = c->user_id;
    out->name = c->name;
    out->description = c->description;
    out->color = c->color;
    out->has_is_active = c->has_is_active;
    out->is_active = c->is_active;
    out->has_is_deductible = c->has_is_deductible;
    out->is_deductible = c->is_deductible;
    out->created_at = c->created_at;
    out->updated_at = c->updated_at;
    out->category_type = c->category_type;
    return out->message == NULL ? ledger_no_memory(r) : STEP_DONE;
}

static enum step not_found(struct req *r)
{
    assert(req_rows(r) == 0);
    return req_fail(r, ERR_NOT_FOUND, "The category was not found");
}

/* --- list --- */

static enum step list_select(struct req *r)
{
    return req_query(r, Q_CATEGORY_LIST);
}

static enum step list_reply(struct req *r)
{
    return req_reply_rows(r, "categories");
}

const struct op op_ledger_list_categories = {
    TX_READ, {list_select, list_reply}
};

/* --- create --- */

static enum step create_insert(struct req *r)
{
    return req_query(r, Q_CATEGORY_CREATE);
}

static enum step create_reply(struct req *r)
{
    Avanta__Ledger__CategoryCreated event = AVANTA__LEDGER__CATEGORY_CREATED__INIT;

    if (req_rows(r) == 0) {
        return req_refuse(r, AVANTA__REASON__DUPLICATE_ERROR);
    }
    event.category = category_row(r, 0);
    if (event.category == NULL) {
        return STEP_FAIL;
    }
    assert(event.category->is_active);
    req_emit(r, &event.base, ledger_id_text(event.category->id).text);
    return reply_category(r, event.category, "Category created successfully");
}

const struct op op_ledger_create_category = {
    TX_WRITE, {create_insert, create_reply}
};

/* --- update --- */

static enum step update_change(struct req *r)
{
    const Avanta__Ledger__UpdateCategoryRequest *in = req_in(r);

    if (!ledger_has_changes(&in->base, 1)) {
        return req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS);
    }
    return req_query(r, Q_CATEGORY_UPDATE);
}

static enum step update_reply(struct req *r)
{
    Avanta__Ledger__CategoryUpdated event = AVANTA__LEDGER__CATEGORY_UPDATED__INIT;

    if (req_rows(r) == 0) {
        req_changed_nothing(r);
        return not_found(r);
    }
    assert(req_rows(r) == 2);
    event.before = category_row(r, 0);
    event.category = category_row(r, 1);
    if (event.before == NULL || event.category == NULL) {
        return STEP_FAIL;
    }
    assert(event.category->is_active);
    req_emit(r, &event.base, ledger_id_text(event.category->id).text);
    return reply_category(r, event.category, "Category updated successfully");
}

const struct op op_ledger_update_category = {
    TX_WRITE, {update_change, update_reply}
};

/* --- delete: a second time finds nothing to do and says the same --- */

static enum step delete_change(struct req *r)
{
    return req_query(r, Q_CATEGORY_DEACTIVATE);
}

static enum step delete_check(struct req *r)
{
    Avanta__Ledger__CategoryDeleted event = AVANTA__LEDGER__CATEGORY_DELETED__INIT;

    if (req_rows(r) == 0) {
        req_changed_nothing(r);
        return req_query(r, Q_CATEGORY_GET);
    }
    assert(req_rows(r) == 2);
    event.before = category_row(r, 0);
    event.category = category_row(r, 1);
    if (event.before == NULL || event.category == NULL) {
        return STEP_FAIL;
    }
    assert(!event.category->is_active);
    req_emit(r, &event.base, ledger_id_text(event.category->id).text);
    return STEP_NEXT;
}

static enum step delete_reply(struct req *r)
{
    const Avanta__Ledger__CategoryIdRequest *in = req_in(r);

    if (req_rows(r) == 0) {
        return not_found(r);
    }
    return ledger_done(r, "Category deleted successfully", in->id);
}

const struct op op_ledger_delete_category = {
    TX_WRITE, {delete_change, delete_check, delete_reply}
};
