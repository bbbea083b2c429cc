/* Balances an account had at the start of a day, stated by the user; the books are made to show
 * them (sql/initial_balances.sql). Every change holds the account's lock. */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/ledger.h"

#include <assert.h>
#include <string.h>

struct change {
    bool moved;    /* to another day */
    bool restated; /* as another amount */
    Avanta__Ledger__AccountIdRequest account;
    Avanta__Ledger__BalanceShift shift;
    Avanta__Ledger__InitialBalance row;
    Avanta__Ledger__InitialBalance old; /* without an id: there was none */
};

static struct change *change_of(struct req *r)
{
    return req_state(r, sizeof(struct change));
}

static enum step account_lock(struct req *r, int64_t account_id)
{
    Avanta__Ledger__AccountIdRequest *account = &change_of(r)->account;

    avanta__ledger__account_id_request__init(account);
    account->has_id = true;
    account->id = account_id;
    return req_query_from(r, Q_ACCOUNT_LOCK, &account->base);
}

/* The account must be the caller's and active. False: the refusal is set. */
static bool account_found(struct req *r)
{
    Avanta__Ledger__AccountState state = AVANTA__LEDGER__ACCOUNT_STATE__INIT;

    assert(req_rows(r) <= 1);
    if (req_rows(r) > 0 && !req_row(r, 0, &state.base)) {
        return false;
    }
    if (!state.is_active) {
        (void)req_fail(r, ERR_NOT_FOUND, "The account was not found");
    }
    return state.is_active;
}

static enum step settle(struct req *r, int64_t account_id, int64_t balance_id)
{
    Avanta__Ledger__BalanceShift *shift = &change_of(r)->shift;

    avanta__ledger__balance_shift__init(shift);
    shift->has_account_id = true;
    shift->account_id = account_id;
    shift->has_balance_id = true;
    shift->balance_id = balance_id;
    shift->has_withdraw = true;
    shift->withdraw = false;
    return req_query_from(r, Q_INITIAL_BALANCE_SETTLE, &shift->base);
}

/* Takes the entry back. */
static enum step withdraw(struct req *r, int64_t account_id, int64_t balance_id)
{
    enum step step = settle(r, account_id, balance_id);

    change_of(r)->shift.withdraw = true;
    return step;
}

/* Reads the row a statement gave; false: there is none or no memory (`row.id` tells). */
static bool row_taken(struct req *r)
{
    struct change *change = change_of(r);

    assert(req_rows(r) <= 1);
    avanta__ledger__initial_balance__init(&change->row);
    return req_rows(r) > 0 && req_row(r, 0, &change->row.base);
}

static void emit_change(struct req *r, bool deleted)
{
    Avanta__Ledger__InitialBalanceChanged event = AVANTA__LEDGER__INITIAL_BALANCE_CHANGED__INIT;
    struct change *change = change_of(r);

    assert(change->row.id > 0);
    event.initial_balance = &change->row;
    event.has_deleted = true;
    event.deleted = deleted;
    event.before = change->old.id > 0 ? &change->old : NULL;
    req_emit(r, &event.base, ledger_id_text(change->row.id).text);
}

static enum step not_found(struct req *r)
{
    assert(req_rows(r) == 0);
    return req_fail(r, ERR_NOT_FOUND, "The initial balance was not found");
}

/* --- list --- */

static enum step list_account(struct req *r)
{
    return req_query(r, Q_ACCOUNT_STATE);
}

static enum step list_select(struct req *r)
{
    return account_found(r) ? req_query(r, Q_INITIAL_BALANCE_LIST) : STEP_FAIL;
}

static enum step list_reply(struct req *r)
{
    return req_reply_rows(r, "initial_balances");
}

const struct op op_ledger_list_initial_balances = {
    TX_READ, {list_account, list_select, list_reply}
};

/* --- create --- */

static enum step create_lock(struct req *r)
{
    const Avanta__Ledger__CreateInitialBalanceRequest *in = req_in(r);

    return account_lock(r, in->id);
}

static enum step create_insert(struct req *r)
{
    return account_found(r) ? req_query(r, Q_INITIAL_BALANCE_INSERT) : STEP_FAIL;
}

static enum step create_settle(struct req *r)
{
    const Avanta__Ledger__CreateInitialBalanceRequest *in = req_in(r);

    if (req_rows(r) == 0) {
        return req_refuse(r, AVANTA__REASON__DUPLICATE_ERROR);
    }
    assert(req_rows(r) == 1);
    return row_taken(r) ? settle(r, in->id, change_of(r)->row.id) : STEP_FAIL;
}

static enum step create_reply(struct req *r)
{
    emit_change(r, false);
    return ledger_done(r, "Initial balance created successfully", change_of(r)->row.id);
}

const struct op op_ledger_create_initial_balance = {
    TX_WRITE, {create_lock, create_insert, create_settle, create_reply}
};

/* --- update --- */

static enum step update_lock(struct req *r)
{
    const Avanta__Ledger__UpdateInitialBalanceRequest *in = req_in(r);

    if (!ledger_has_changes(&in->base, 2)) {
        return req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS);
    }
    return account_lock(r, in->id);
}

static enum step update_read(struct req *r)
{
    return account_found(r) ? req_query(r, Q_INITIAL_BALANCE_GET) : STEP_FAIL;
}

static enum step update_withdraw(struct req *r)
{
    const Avanta__Ledger__UpdateInitialBalanceRequest *in = req_in(r);
    struct change *change = change_of(r);

    if (req_rows(r) == 0) {
        return not_found(r);
    }
    if (!row_taken(r)) {
        return STEP_FAIL;
    }
    assert(change->row.id == in->balance_id);
    assert(change->row.account_id == in->id);
    change->old = change->row;
    change->moved =
        in->balance_date != NULL && strcmp(in->balance_date, change->row.balance_date) != 0;
    change->restated =
        in->has_initial_balance && in->initial_balance != change->row.initial_balance;
    return change->moved ? withdraw(r, in->id, in->balance_id) : STEP_NEXT;
}

static enum step update_change(struct req *r)
{
    return req_query(r, Q_INITIAL_BALANCE_UPDATE);
}

static enum step update_settle(struct req *r)
{
    const Avanta__Ledger__UpdateInitialBalanceRequest *in = req_in(r);
    const struct change *change = change_of(r);

    if (!row_taken(r)) {
        return STEP_FAIL;
    }
    assert(change->row.id == in->balance_id);
    assert(change->row.account_id == in->id);
    /* Another note leaves the books as they are. */
    return change->moved || change->restated ? settle(r, in->id, in->balance_id) : STEP_NEXT;
}

static enum step update_reply(struct req *r)
{
    emit_change(r, false);
    return ledger_done(r, "Initial balance updated successfully", change_of(r)->row.id);
}

const struct op op_ledger_update_initial_balance = {
    TX_WRITE,
    {update_lock, update_read, update_withdraw, update_change, update_settle, update_reply}
};

/* --- delete --- */

static enum step delete_lock(struct req *r)
{
    const Avanta__Ledger__InitialBalanceIdRequest *in = req_in(r);

    return account_lock(r, in->id);
}

static enum step delete_withdraw(struct req *r)
{
    const Avanta__Ledger__InitialBalanceIdRequest *in = req_in(r);

    return account_found(r) ? withdraw(r, in->id, in->balance_id) : STEP_FAIL;
}

static enum step delete_remove(struct req *r)
{
    return req_query(r, Q_INITIAL_BALANCE_REMOVE);
}

static enum step delete_reply(struct req *r)
{
    if (req_rows(r) == 0) {
        return not_found(r);
    }
    if (!row_taken(r)) {
        return STEP_FAIL;
    }
    assert(change_of(r)->shift.withdraw);
    change_of(r)->old = change_of(r)->row;
    emit_change(r, true);
    return ledger_done(r, "Initial balance deleted successfully", change_of(r)->row.id);
}

const struct op op_ledger_delete_initial_balance = {
    TX_WRITE, {delete_lock, delete_withdraw, delete_remove, delete_reply}
};
