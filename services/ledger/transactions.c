/* One transaction at a time. Each change is a single statement that also posts: it gives the row as
 * it was and as it is, or says what did not fit (sql/transactions.sql). */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/ledger.h"

#include "libcommon/base/money.h"

#include <assert.h>
#include <string.h>

#define RATE_ONE          INT64_C(1000000) /* exchange rates are millionths */
#define CASH_CENTAVOS_MAX INT64_C(200000)  /* LISR art. 27 fr. III: 2,000 pesos */
#define NOTE_CFDI         "Gasto sin CFDI: verificar requisitos de deducibilidad"
#define NOTE_CASH                                                                      \
    "Pago en efectivo mayor a $2,000.00: no es deducible (LISR art. 27 fr. III); use " \
    "transferencia, cheque nominativo o tarjeta"

/* --- values that must fit together --- */

static bool is_mxn(const char *currency)
{
    assert(currency != NULL);
    return strcmp(currency, "MXN") == 0;
}

struct money_at_rate {
    int64_t amount;
    const char *currency;
    int64_t rate;
    bool has_rate;
};

/* What is wrong with an amount at a rate; STEP_NEXT when nothing is. */
static enum step check_amount(struct req *r, const struct money_at_rate *a)
{
    int64_t mxn = 0;
    enum step step = STEP_NEXT;

    assert(a->amount > 0);
    assert(a != NULL);
    assert(a->currency != NULL);
    if (is_mxn(a->currency)) {
        if (a->has_rate && a->rate != RATE_ONE) {
            step = req_violation(
                r, ERR_INVALID, "exchange_rate", "value", "The exchange rate of MXN is 1");
        }
    } else if (!a->has_rate) {
        return req_violation(r,
                             ERR_INVALID,
                             "exchange_rate",
                             "required",
                             "An amount in %s needs its exchange rate in pesos",
                             a->currency);
    }
    if (step == STEP_NEXT && a->has_rate &&
        (!money_mul_ratio(a->amount, a->rate, RATE_ONE, &mxn) || mxn > MONEY_MAX_CENTAVOS)) {
        step = req_violation(
            r, ERR_INVALID, "amount", "max", "The amount in pesos must not exceed 999,999,999.99");
    } else if (step == STEP_NEXT && a->has_rate && mxn < 1) {
        step = req_violation(
            r, ERR_INVALID, "amount", "min", "The amount in pesos must be at least 0.01");
    }
    return step;
}

/* One violation for a reference that does not exist; the reply's code is the first one's. */
static enum step refuse_reference(struct req *r, enum _Avanta__Reason reason, const char *field)
{
    assert(reason != AVANTA__REASON__NONE);
    assert(field != NULL);
    (void)req_refuse(r, reason);
    return req_violation(
        r, ERR_REFERENCE, field, "reference", "This is not one of your active records");
}

/* --- replies --- */

static Avanta__Ledger__Transaction *transaction_row(struct req *r, size_t row)
{
    return (Avanta__Ledger__Transaction *)(void *)req_row_new(r, row);
}

static bool names_cash(const char *account)
{
    const struct str word = STR("efectivo");
    struct str name = str_from(account);

    for (size_t at = 0; at + word.len <= name.len; at++) {
        if (str_eq_nocase(str_sub(name, at, at + word.len), word)) {
            return true;
        }
    }
    return false;
}

/* A hint for the bookkeeper, in Spanish; NULL: none. */
static const char *compliance_note(const Avanta__Ledger__Transaction *t)
{
    int64_t mxn = 0;

    assert(t->type != NULL);
    assert(t->amount > 0);
    assert(t->exchange_rate > 0);
    if (strcmp(t->type, "gasto") != 0) {
        return NULL;
    }
    if (t->cfdi_uuid == NULL) {
        return NOTE_CFDI;
    }
    if (names_cash(t->account) && money_mul_ratio(t->amount, t->exchange_rate, RATE_ONE, &mxn) &&
        mxn > CASH_CENTAVOS_MAX) {
        return NOTE_CASH;
    }
    return NULL;
}

static enum step
reply_transaction(struct req *r, Avanta__Ledger__Transaction *t, const char *message)
{
    Avanta__Ledger__TransactionReply *out = req_out(r);
    const char *note = compliance_note(t);

    assert(t->has_id);
    assert(message != NULL);
    out->has_success = true;
    out->success = true;
    out->data = t;
    out->message = ledger_text(r, message);
    out->compliance_note = note == NULL ? NULL : ledger_text(r, note);
    return out->message == NULL ? ledger_no_memory(r) : STEP_DONE;
}

static enum step not_found(struct req *r)
{
    assert(req_rows(r) == 0);
    return req_fail(r, ERR_NOT_FOUND, "The transaction was not found");
}

/* --- get --- */

static enum step get_select(struct req *r)
{
    return req_query(r, Q_TRANSACTION_GET);
}

static enum step get_reply(struct req *r)
{
    return req_reply_row(r);
}

const struct op op_ledger_get_transaction = {
    TX_READ, {get_select, get_reply}
};

/* --- create --- */

static enum step create_insert(struct req *r)
{
    const Avanta__Ledger__CreateTransactionRequest *in = req_in(r);
    const struct money_at_rate amount = {
        .amount = in->amount,
        .currency = in->currency,
        .rate = in->exchange_rate,
        .has_rate = in->has_exchange_rate || is_mxn(in->currency),
    };
    enum step step = check_amount(r, &amount);

    /* Invoices are not kept yet, so none exists. */
    if (in->has_linked_invoice_id) {
        return refuse_reference(r, AVANTA__REASON__INVOICE_NOT_FOUND, "linked_invoice_id");
    }
    return step == STEP_NEXT ? req_query(r, Q_TRANSACTION_CREATE) : step;
}

static enum step create_refuse(struct req *r, const Avanta__Ledger__Transaction *found)
{
    const Avanta__Ledger__CreateTransactionRequest *in = req_in(r);
    bool wants_account = in->has_account_id || in->account != NULL;

    assert(!found->has_id);
    assert(wants_account || in->has_category_id);
    req_changed_nothing(r);
    if (wants_account && !found->has_account_id) {
        (void)refuse_reference(
            r, AVANTA__REASON__ACCOUNT_NOT_FOUND, in->has_account_id ? "account_id" : "account");
    }
    if (in->has_category_id && !found->has_category_id) {
        (void)refuse_reference(r, AVANTA__REASON__CATEGORY_NOT_FOUND, "category_id");
    }
    return STEP_FAIL;
}

static enum step create_reply(struct req *r)
{
    Avanta__Ledger__TransactionCreated event = AVANTA__LEDGER__TRANSACTION_CREATED__INIT;
    Avanta__Ledger__Transaction *row = transaction_row(r, 0);

    assert(req_rows(r) == 1);
    if (row == NULL) {
        return STEP_FAIL;
    }
    if (!row->has_id) {
        return create_refuse(r, row);
    }
    event.transaction = row;
    req_emit(r, &event.base, ledger_id_text(row->id).text);
    return reply_transaction(r, row, "Transaction created successfully");
}

const struct op op_ledger_create_transaction = {
    TX_ADD, {create_insert, create_reply}
};

/* --- update --- */

static enum step update_change(struct req *r)
{
    const Avanta__Ledger__UpdateTransactionRequest *in = req_in(r);

    if (!ledger_has_changes(&in->base, 1)) {
        return req_refuse(r, AVANTA__REASON__NO_UPDATE_FIELDS);
    }
    return req_query(r, Q_TRANSACTION_UPDATE);
}

/* The references asked for that do not exist; STEP_NEXT when all do. */
static enum step check_references(struct req *r,
                                  const Avanta__Ledger__Transaction *old,
                                  const Avanta__Ledger__Transaction *found)
{
    const Avanta__Ledger__UpdateTransactionRequest *in = req_in(r);
    bool by_id = in->has_account_id && (!old->has_account_id || in->account_id != old->account_id);
    bool by_name =
        in->account != NULL && (old->account == NULL || strcmp(in->account, old->account) != 0);
    enum step step = STEP_NEXT;

    assert(old->has_id);
    assert(!found->has_id);
    if ((by_id || by_name) && !found->has_account_id) {
        step = refuse_reference(
            r, AVANTA__REASON__ACCOUNT_NOT_FOUND, by_id ? "account_id" : "account");
    }
    if (in->has_category_id && !found->has_category_id) {
        step = refuse_reference(r, AVANTA__REASON__CATEGORY_NOT_FOUND, "category_id");
    }
    if (in->has_linked_invoice_id &&
        (!old->has_linked_invoice_id || in->linked_invoice_id != old->linked_invoice_id)) {
        step = refuse_reference(r, AVANTA__REASON__INVOICE_NOT_FOUND, "linked_invoice_id");
    }
    return step;
}

/* The amount the row would have had. */
static struct money_at_rate updated_amount(const Avanta__Ledger__UpdateTransactionRequest *in,
                                           const Avanta__Ledger__Transaction *old)
{
    struct money_at_rate out = {
        .amount = in->has_amount ? in->amount : old->amount,
        .currency = in->currency == NULL ? old->currency : in->currency,
        .rate = old->exchange_rate,
        .has_rate = true,
    };

    if (in->has_exchange_rate) {
        out.rate = in->exchange_rate;
    } else if (is_mxn(out.currency)) {
        out.rate = RATE_ONE;
    } else {
        out.has_rate = strcmp(out.currency, old->currency) == 0;
    }
    assert(out.amount > 0);
    assert(out.currency != NULL);
    return out;
}

/* Nothing was written: says why, from the row and the references that exist. */
static enum step update_refuse(struct req *r,
                               const Avanta__Ledger__Transaction *old,
                               const Avanta__Ledger__Transaction *found)
{
    const struct money_at_rate amount = updated_amount(req_in(r), old);
    enum step step = check_amount(r, &amount);
    enum step references = check_references(r, old, found);

    assert(old != NULL);
    assert(found != NULL);
    if (step == STEP_NEXT && references == STEP_NEXT) {
        return req_fail(r, ERR_INTERNAL, "The transaction could not be changed");
    }
    return STEP_FAIL;
}

static enum step update_reply(struct req *r)
{
    Avanta__Ledger__TransactionUpdated event = AVANTA__LEDGER__TRANSACTION_UPDATED__INIT;

    if (req_rows(r) == 0) {
        return not_found(r);
    }
    assert(req_rows(r) == 2);
    event.before = transaction_row(r, 0);
    event.after = transaction_row(r, 1);
    if (event.before == NULL || event.after == NULL) {
        return STEP_FAIL;
    }
    if (!event.after->has_id) {
        return update_refuse(r, event.before, event.after);
    }
    assert(event.before->id == event.after->id);
    req_emit(r, &event.base, ledger_id_text(event.after->id).text);
    return reply_transaction(r, event.after, "Transaction updated successfully");
}

const struct op op_ledger_update_transaction = {
    TX_WRITE, {update_change, update_reply}
};

/* --- delete --- */

static enum step delete_change(struct req *r)
{
    const Avanta__Ledger__DeleteTransactionRequest *in = req_in(r);

    if (!in->confirm) {
        return req_refuse(r, AVANTA__REASON__CONFIRMATION_REQUIRED);
    }
    return req_query(r, in->permanent ? Q_TRANSACTION_REMOVE : Q_TRANSACTION_DELETE);
}

static enum step delete_reply(struct req *r)
{
    const Avanta__Ledger__DeleteTransactionRequest *in = req_in(r);
    Avanta__Ledger__DeleteTransactionReply *out = req_out(r);
    Avanta__Ledger__TransactionDeleted event = AVANTA__LEDGER__TRANSACTION_DELETED__INIT;
    size_t rows = req_rows(r);

    assert(rows <= 2);
    if (rows == 0) {
        return not_found(r);
    }
    event.before = transaction_row(r, 0);
    event.transaction = transaction_row(r, rows - 1);
    if (event.before == NULL || event.transaction == NULL) {
        return STEP_FAIL;
    }
    assert(event.transaction->has_id);
    event.has_permanent = true;
    event.permanent = in->permanent;
    /* A soft delete again changes nothing, so it is no event. */
    if (in->permanent || rows == 2) {
        req_emit(r, &event.base, ledger_id_text(event.transaction->id).text);
    }
    out->has_success = true;
    out->success = true;
    if (in->permanent) {
        out->deleted = event.transaction;
        out->message = ledger_text(r, "Transaction permanently deleted");
    } else {
        out->data = event.transaction;
        out->message = ledger_text(r, "Transaction soft deleted successfully");
    }
    return out->message == NULL ? ledger_no_memory(r) : STEP_DONE;
}

const struct op op_ledger_delete_transaction = {
    TX_WRITE, {delete_change, delete_reply}
};

/* --- restore --- */

static enum step restore_change(struct req *r)
{
    return req_query(r, Q_TRANSACTION_RESTORE);
}

static enum step restore_reply(struct req *r)
{
    Avanta__Ledger__TransactionRestored event = AVANTA__LEDGER__TRANSACTION_RESTORED__INIT;
    size_t rows = req_rows(r);

    assert(rows <= 2);
    if (rows == 0) {
        return not_found(r);
    }
    event.transaction = transaction_row(r, rows - 1);
    if (event.transaction == NULL) {
        return STEP_FAIL;
    }
    if (rows == 1) {
        return req_refuse(r,
                          event.transaction->is_deleted ? AVANTA__REASON__DUPLICATE_ERROR
                                                        : AVANTA__REASON__NOT_DELETED);
    }
    assert(!event.transaction->is_deleted);
    event.before = transaction_row(r, 0);
    if (event.before == NULL) {
        return STEP_FAIL;
    }
    req_emit(r, &event.base, ledger_id_text(event.transaction->id).text);
    return reply_transaction(r, event.transaction, "Transaction restored successfully");
}

const struct op op_ledger_restore_transaction = {
    TX_WRITE, {restore_change, restore_reply}
};
