/* Accounts. A balance is never stored: it is the sum of the account's postings, and to change it is
 * to post the difference. */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/ledger.h"

#include <assert.h>
#include <string.h>

/* --- list --- */

static enum step list_select(struct req *r)
{
    return req_query(r, Q_ACCOUNT_LIST);
}

static enum step list_reply(struct req *r)
{
    return req_reply_rows(r, "accounts");
}

const struct op op_ledger_list_accounts = {
    TX_READ, {list_select, list_reply}
};

/* --- create and update --- */

static enum step reply_account(struct req *r, const Avanta__Ledger__Account *a, const char *message)
{
    Avanta__Ledger__AccountReply *out = req_out(r);

    assert(a != NULL);
    assert(a->has_id);
    assert(a->has_balance);
    assert(message != NULL);
    out->has_success = true;
    out->success = true;
    out->message = ledger_text(r, message);
    out->has_id = a->has_id;
    out->id = a->id;
    out->user_id = a->user_id;
    out->name = a->name;
    out->type = a->type;
    out->has_balance = a->has_balance;
    out->balance = a->balance;
    out->opening_date = a->opening_date;
    out->has_is_active = a->has_is_active;
    out->is_active = a->is_active;
    out->created_at = a->created_at;
    out->updated_at = a->updated_at;
    out->account_type = a->account_type;
    out->metadata = a->metadata;
    out->has_is_deleted = a->has_is_deleted;
    out->is_deleted = a->is_deleted;
    out->description = a->description;
    out->sat_code = a->sat_code;
    return out->message == NULL ? ledger_no_memory(r) : STEP_DONE;
}

static Avanta__Ledger__Account *account_row(struct req *r, size_t row)
{
    assert(row < req_rows(r));
    return (Avanta__Ledger__Account *)(void *)req_row_new(r, row);
}

static enum step create_insert(struct req *r)
{
    return req_query(r, Q_ACCOUNT_CREATE);
}

static enum step create_reply(struct req *r)
{
    Avanta__Ledger__AccountCreated event = AVANTA__LEDGER__ACCOUNT_CREATED__INIT;

    event.account = account_row(r, 0);
    if (event.account == NULL) {
        return STEP_FAIL;
    }
    assert(event.account->is_active);
    req_emit(r, &event.base, ledger_id_text(event.account->id).text);
    return reply_account(r, event.account, "Account created successfully");
}

const struct op op_ledger_create_account = {
    TX_ADD, {create_insert, create_reply}
};

/* Another opening date moves the opening balance to that day: taken back there, stated here. */
struct update {
    bool moves_opening;
    Avanta__Ledger__AccountIdRequest account;
    Avanta__Ledger__BalanceShift shift;
};

static enum step update_lock(struct req *r)
{
    const Avanta__Ledger__UpdateAccountRequest *in = req_in(r);
    struct update *update = req_state(r, sizeof *update);

    if (!ledger_has_changes(&in->base, 1)) {
        return req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS);
    }
    avanta__ledger__account_id_request__init(&update->account);
    update->account.has_id = true;
    update->account.id = in->id;
    return req_query_from(r, Q_ACCOUNT_LOCK, &update->account.base);
}

static enum step update_opening(struct req *r)
{
    const Avanta__Ledger__UpdateAccountRequest *in = req_in(r);

    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "The account was not found");
    }
    return in->opening_date == NULL ? STEP_NEXT : req_query(r, Q_ACCOUNT_OPENING);
}

static enum step update_withdraw(struct req *r)
{
    const Avanta__Ledger__UpdateAccountRequest *in = req_in(r);
    struct update *update = req_state(r, sizeof *update);

    update->moves_opening = in->opening_date != NULL && req_rows(r) > 0;
    if (!update->moves_opening) {
        return STEP_NEXT;
    }
    avanta__ledger__balance_shift__init(&update->shift);
    if (!req_row(r, 0, &update->shift.base)) {
        return STEP_FAIL;
    }
    assert(update->shift.account_id == in->id);
    assert(update->shift.balance_id > 0);
    update->shift.has_withdraw = true;
    update->shift.withdraw = true;
    return req_query_from(r, Q_INITIAL_BALANCE_SETTLE, &update->shift.base);
}

static enum step update_redate(struct req *r)
{
    const struct update *update = req_state(r, sizeof *update);

    assert(update->account.id > 0);
    return update->moves_opening ? req_query(r, Q_ACCOUNT_OPENING_REDATE) : STEP_NEXT;
}

static enum step update_settle(struct req *r)
{
    struct update *update = req_state(r, sizeof *update);
    Avanta__Ledger__BalanceShift *shift = &update->shift;

    if (!update->moves_opening) {
        return STEP_NEXT;
    }
    assert(shift->withdraw);
    assert(shift->balance_id > 0);
    shift->withdraw = false;
    return req_query_from(r, Q_INITIAL_BALANCE_SETTLE, &shift->base);
}

static enum step update_change(struct req *r)
{
    return req_query(r, Q_ACCOUNT_UPDATE);
}

static enum step update_reply(struct req *r)
{
    const struct update *update = req_state(r, sizeof *update);
    Avanta__Ledger__AccountUpdated event = AVANTA__LEDGER__ACCOUNT_UPDATED__INIT;

    assert(req_rows(r) == 2);
    event.before = account_row(r, 0);
    event.account = account_row(r, 1);
    if (event.before == NULL || event.account == NULL) {
        return STEP_FAIL;
    }
    if (update->moves_opening) { /* which moved the balance before that statement looked at it */
        event.before->balance = update->shift.shown;
    }
    req_emit(r, &event.base, ledger_id_text(event.account->id).text);
    return reply_account(r, event.account, "Account updated successfully");
}

const struct op op_ledger_update_account = {
    TX_WRITE,
    {update_lock,
      update_opening, update_withdraw,
      update_redate, update_settle,
      update_change, update_reply}
};

/* --- delete: a second time finds nothing to do and says the same --- */

static enum step delete_change(struct req *r)
{
    return req_query(r, Q_ACCOUNT_DEACTIVATE);
}

static enum step delete_check(struct req *r)
{
    Avanta__Ledger__AccountDeleted event = AVANTA__LEDGER__ACCOUNT_DELETED__INIT;

    if (req_rows(r) == 0) {
        req_changed_nothing(r);
        return req_query(r, Q_ACCOUNT_STATE);
    }
    assert(req_rows(r) == 2);
    event.before = account_row(r, 0);
    event.account = account_row(r, 1);
    if (event.before == NULL || event.account == NULL) {
        return STEP_FAIL;
    }
    assert(!event.account->is_active);
    req_emit(r, &event.base, ledger_id_text(event.account->id).text);
    return STEP_NEXT;
}

static enum step delete_reply(struct req *r)
{
    const Avanta__Ledger__AccountIdRequest *in = req_in(r);

    if (req_rows(r) == 0) {
        return req_fail(r, ERR_NOT_FOUND, "The account was not found");
    }
    return ledger_done(r, "Account deleted successfully", in->id);
}

const struct op op_ledger_delete_account = {
    TX_WRITE, {delete_change, delete_check, delete_reply}
};
