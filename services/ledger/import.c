/* Imports that are booked: confirm, history, undo. */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/import_items.h"

#include "libcommon/base/id.h"

#include <assert.h>
#include <string.h>

#define IMPORT_ID_PREFIX "imp_"

/* Between steps. */
struct import {
    Avanta__Ledger__ImportItems items;
    Avanta__Ledger__ImportKey key;
    Avanta__Ledger__Import *row;
    size_t booked;
};

static struct import *import_of(struct req *r)
{
    return req_state(r, sizeof(struct import));
}

static enum step not_found(struct req *r)
{
    return req_fail(r, ERR_NOT_FOUND, "The import was not found");
}

static enum step key_query(struct req *r, uint16_t query)
{
    const Avanta__Ledger__ImportIdRequest *in = req_in(r);
    struct import *import = import_of(r);

    if (import == NULL) {
        return ledger_no_memory(r);
    }
    avanta__ledger__import_key__init(&import->key);
    import->key.import_id = in->id;
    return req_query_from(r, query, &import->key.base);
}

/* The import's row is the result's only one; false: there is none, or no memory (then an error is
 * set). */
static bool row_take(struct req *r)
{
    assert(req_rows(r) <= 1);
    if (req_rows(r) == 0) {
        return false;
    }
    import_of(r)->row = (Avanta__Ledger__Import *)(void *)req_row_new(r, 0);
    return import_of(r)->row != NULL;
}

/* --- confirm --- */

/* An end that is not given is that of the rows. Dates of this form sort as text. */
static enum step confirm_period(struct req *r)
{
    const Avanta__Ledger__ConfirmImportRequest *in = req_in(r);
    const char *first = NULL;
    const char *last = NULL;

    assert(in->n_transactions > 0);
    first = in->transactions[0]->date;
    last = first;
    for (size_t i = 1; i < in->n_transactions; i++) {
        const char *date = in->transactions[i]->date;

        assert(date != NULL);
        first = strcmp(date, first) < 0 ? date : first;
        last = strcmp(date, last) > 0 ? date : last;
    }
    if (in->period_end == NULL && in->period_start != NULL && strcmp(in->period_start, last) > 0) {
        return req_violation(r,
                             ERR_INVALID,
                             "periodStart",
                             "max",
                             "The period must not start after its last transaction");
    }
    first = in->period_start == NULL ? first : in->period_start;
    if (in->period_end != NULL && strcmp(in->period_end, first) < 0) {
        return req_violation(
            r, ERR_INVALID, "periodEnd", "min", "The period must not end before %s", first);
    }
    return STEP_NEXT;
}

static enum step confirm_account(struct req *r)
{
    const Avanta__Ledger__ConfirmImportRequest *in = req_in(r);
    struct import *import = import_of(r);
    char uuid[UUID_TEXT_BYTES];

    assert(in->n_transactions > 0);
    if (import == NULL) {
        return ledger_no_memory(r);
    }
    uuid_v7(uuid);
    avanta__ledger__import_items__init(&import->items);
    import->items.account = in->account;
    import->items.items = import_items_json(r, in->transactions, in->n_transactions);
    import->items.import_id = arena_printf(req_arena(r), IMPORT_ID_PREFIX "%s", uuid);
    import->items.source = in->source;
    import->items.file_name = in->file_name;
    import->items.period_start = in->period_start;
    import->items.period_end = in->period_end;
    import->items.has_skip_duplicates = true;
    import->items.skip_duplicates = in->skip_duplicates;
    if (import->items.items == NULL || import->items.import_id == NULL) {
        return ledger_no_memory(r);
    }
    return req_query_from(r, Q_IMPORT_ACCOUNT, &import->items.base);
}

static enum step confirm_apply(struct req *r)
{
    Avanta__Ledger__AccountGood account = AVANTA__LEDGER__ACCOUNT_GOOD__INIT;

    assert(req_rows(r) == 1);
    if (!req_row(r, 0, &account.base)) {
        return STEP_FAIL;
    }
    if (!account.good) {
        (void)req_refuse(r, AVANTA__REASON__ACCOUNT_NOT_FOUND);
        return req_violation(
            r, ERR_REFERENCE, "account", "reference", "This is not one of your active records");
    }
    return req_query_from(r, Q_IMPORT_APPLY, &import_of(r)->items.base);
}

static enum step confirm_emit(struct req *r)
{
    struct import *import = import_of(r);

    assert(import->items.import_id != NULL);
    assert(import->items.items != NULL);
    import->booked = req_rows(r);
    for (size_t i = 0; i < import->booked; i++) {
        Avanta__Ledger__TransactionCreated event = AVANTA__LEDGER__TRANSACTION_CREATED__INIT;
        Avanta__Ledger__Transaction row = AVANTA__LEDGER__TRANSACTION__INIT;

        event.transaction = &row; /* packed at once: one for all */
        if (!req_row(r, i, &row.base)) {
            return STEP_FAIL;
        }
        req_emit(r, &event.base, ledger_id_text(row.id).text);
    }
    avanta__ledger__import_key__init(&import->key);
    import->key.import_id = import->items.import_id;
    return req_query_from(r, Q_IMPORT_GET, &import->key.base);
}

static enum step confirm_reply(struct req *r)
{
    const Avanta__Ledger__ConfirmImportRequest *in = req_in(r);
    Avanta__Ledger__ConfirmImportReply *out = req_out(r);
    Avanta__Ledger__ConfirmSummary *summary = arena_alloc(req_arena(r), sizeof *summary);
    Avanta__Ledger__ImportConfirmed event = AVANTA__LEDGER__IMPORT_CONFIRMED__INIT;

    assert(import_of(r)->booked <= in->n_transactions);
    assert(req_rows(r) == 1);
    if (summary == NULL || !row_take(r)) {
        return ledger_no_memory(r);
    }
    event.import = import_of(r)->row;
    req_emit(r, &event.base, event.import->id);
    avanta__ledger__confirm_summary__init(summary);
    summary->has_records_imported = true;
    summary->records_imported = (uint32_t)import_of(r)->booked;
    summary->has_records_duplicated = true;
    summary->records_duplicated = (uint32_t)(in->n_transactions - import_of(r)->booked);
    summary->has_records_failed = true;
    summary->has_total = true;
    summary->total = (uint32_t)in->n_transactions;
    out->has_success = true;
    out->success = true;
    out->import_id = event.import->id;
    out->summary = summary;
    return STEP_DONE;
}

const struct op op_ledger_confirm_import = {
    TX_WRITE_HEAVY, {confirm_period, confirm_account, confirm_apply, confirm_emit, confirm_reply}
};

/* --- history --- */

static enum step list_select(struct req *r)
{
    return req_query(r, Q_IMPORT_LIST);
}

static enum step list_total(struct req *r)
{
    Avanta__Ledger__ListImportsReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    if (!req_rows_all(r, &out->n_imports, &rows)) {
        return STEP_FAIL;
    }
    out->imports = (Avanta__Ledger__Import **)(void *)rows;
    return req_query(r, Q_IMPORT_TOTAL);
}

static enum step list_reply(struct req *r)
{
    const Avanta__Ledger__ListImportsRequest *in = req_in(r);
    Avanta__Ledger__ListImportsReply *out = req_out(r);
    Avanta__Ledger__ImportPagination *p = arena_alloc(req_arena(r), sizeof *p);
    Avanta__Ledger__ImportTotal total = AVANTA__LEDGER__IMPORT_TOTAL__INIT;

    assert(req_rows(r) == 1);
    if (p == NULL) {
        return ledger_no_memory(r);
    }
    if (!req_row(r, 0, &total.base)) {
        return STEP_FAIL;
    }
    assert(in->per_page > 0);
    assert(total.total >= 0);
    avanta__ledger__import_pagination__init(p);
    p->has_page = true;
    p->page = in->has_offset ? in->offset / in->per_page + 1 : in->page;
    p->has_per_page = true;
    p->per_page = in->per_page;
    p->has_total = true;
    p->total = total.total;
    p->has_total_pages = true;
    p->total_pages = (total.total + in->per_page - 1) / in->per_page;
    out->pagination = p;
    out->has_total = true;
    out->total = total.total;
    return STEP_DONE;
}

const struct op op_ledger_list_imports = {
    TX_READ, {list_select, list_total, list_reply}
};

static enum step get_select(struct req *r)
{
    return key_query(r, Q_IMPORT_GET);
}

static enum step get_rows(struct req *r)
{
    return row_take(r) ? key_query(r, Q_IMPORT_ROWS) : not_found(r);
}

static enum step get_reply(struct req *r)
{
    Avanta__Ledger__GetImportReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;

    assert(import_of(r)->row != NULL);
    if (!req_rows_all(r, &out->n_transactions, &rows)) {
        return STEP_FAIL;
    }
    out->transactions = (Avanta__Ledger__Transaction **)(void *)rows;
    out->import = import_of(r)->row;
    return STEP_DONE;
}

const struct op op_ledger_get_import = {
    TX_READ_HEAVY, {get_select, get_rows, get_reply}
};

/* --- undo --- */

static enum step undo_rows(struct req *r)
{
    return row_take(r) ? key_query(r, Q_IMPORT_UNDO) : not_found(r);
}

static enum step undo_reply(struct req *r)
{
    const Avanta__Ledger__ImportIdRequest *in = req_in(r);
    Avanta__Ledger__ImportDeleted undone = AVANTA__LEDGER__IMPORT_DELETED__INIT;
    Avanta__Ledger__DoneReply *out = req_out(r);

    assert(import_of(r)->row != NULL);
    for (size_t i = 0; i < req_rows(r); i++) {
        Avanta__Ledger__TransactionDeleted event = AVANTA__LEDGER__TRANSACTION_DELETED__INIT;

        event.transaction = (Avanta__Ledger__Transaction *)(void *)req_row_new(r, i);
        if (event.transaction == NULL) {
            return STEP_FAIL;
        }
        assert(event.transaction->is_deleted);
        event.has_permanent = true;
        req_emit(r, &event.base, ledger_id_text(event.transaction->id).text);
    }
    undone.import = import_of(r)->row;
    undone.before = undone.import;
    req_emit(r, &undone.base, in->id);
    out->success = true;
    out->message = ledger_text(r, "Import undone");
    return out->message == NULL ? ledger_no_memory(r) : STEP_DONE;
}

const struct op op_ledger_delete_import = {
    TX_WRITE_HEAVY, {get_select, undo_rows, undo_reply}
};
