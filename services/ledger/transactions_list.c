/* The list of transactions: a page, and on request totals of all that match and running balances.
 */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/ledger.h"

#include "libcommon/base/limits.h"

#include <assert.h>
#include <string.h>

/* Between steps. The page stands in the reply. */
struct listing {
    Avanta__Ledger__RunningBalancesRequest running;
};

static const Avanta__Ledger__ListTransactionsRequest *listed(const struct req *r)
{
    return req_in(r);
}

static bool of_account(const Avanta__Ledger__ListTransactionsRequest *in)
{
    assert(in != NULL);
    return in->has_account_id || in->account != NULL;
}

/* Variants stand in the order of the `each` lines: falling before rising. */
static uint16_t list_variant(const Avanta__Ledger__ListTransactionsRequest *in)
{
    assert(in->sort_by != NULL);
    assert(in->sort_order != NULL);
    static const struct {
        const char *sort_by;
        uint16_t query;
        uint16_t account_query;
    } sorts[] = {
        {"date",        Q_TRANSACTION_LIST_DATE_DESC,   Q_TRANSACTION_LIST_ACCOUNT_DATE_DESC       },
        {"amount",      Q_TRANSACTION_LIST_AMOUNT_DESC, Q_TRANSACTION_LIST_ACCOUNT_AMOUNT_DESC     },
        {"description",
         Q_TRANSACTION_LIST_DESCRIPTION_DESC,           Q_TRANSACTION_LIST_ACCOUNT_DESCRIPTION_DESC},
        {"created_at",
         Q_TRANSACTION_LIST_CREATED_AT_DESC,            Q_TRANSACTION_LIST_ACCOUNT_CREATED_AT_DESC },
    };
    uint16_t rising = strcmp(in->sort_order, "asc") == 0 ? 1 : 0;

    for (size_t i = 1; i < ARRAY_LEN(sorts); i++) {
        if (strcmp(in->sort_by, sorts[i].sort_by) == 0) {
            return (uint16_t)(rising + (of_account(in) ? sorts[i].account_query : sorts[i].query));
        }
    }
    return (uint16_t)(rising + (of_account(in) ? sorts[0].account_query : sorts[0].query));
}

static enum step list_select(struct req *r)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);

    assert(in->limit > 0);
    if (in->include_running_balance && !of_account(in)) {
        return req_violation(r,
                             ERR_INVALID,
                             "include_running_balance",
                             "required",
                             "A running balance needs account or account_id");
    }
    return req_query(r, list_variant(in));
}

/* --- the page --- */

static bool describe_page(struct req *r, size_t rows)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);
    Avanta__Ledger__ListTransactionsReply *out = req_out(r);
    Avanta__Ledger__Pagination *p = arena_alloc(req_arena(r), sizeof *p);

    assert(out->n_data <= in->limit);
    assert(out->n_data <= rows);
    if (p == NULL) {
        return false;
    }
    avanta__ledger__pagination__init(p);
    p->has_limit = true;
    p->limit = in->limit;
    p->has_offset = true;
    p->offset = in->has_page ? (in->page - 1) * in->limit : in->offset;
    p->has_count = true;
    p->count = (uint32_t)out->n_data;
    p->has_has_more = true;
    p->has_more = rows > out->n_data;
    out->pagination = p;
    return true;
}

static bool describe_filters(struct req *r)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);
    Avanta__Ledger__ListTransactionsReply *out = req_out(r);
    Avanta__Ledger__TransactionFilters *f = arena_alloc(req_arena(r), sizeof *f);

    if (f == NULL) {
        return false;
    }
    avanta__ledger__transaction_filters__init(f);
    f->category = in->category;
    f->type = in->type;
    f->account = in->account;
    if (in->search != NULL) {
        f->search = in->search;
    }
    f->date_from = in->date_from;
    f->date_to = in->date_to;
    f->has_amount_min = in->has_amount_min;
    f->amount_min = in->amount_min;
    f->has_amount_max = in->has_amount_max;
    f->amount_max = in->amount_max;
    f->has_is_deductible = in->has_is_deductible;
    f->is_deductible = in->is_deductible;
    out->filters = f;
    return true;
}

static enum step list_page(struct req *r)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);
    Avanta__Ledger__ListTransactionsReply *out = req_out(r);
    ProtobufCMessage **rows = NULL;
    size_t count = 0;

    if (!req_rows_all(r, &count, &rows)) {
        return STEP_FAIL;
    }
    out->n_data = count < in->limit ? count : in->limit;
    out->data = (Avanta__Ledger__Transaction **)(void *)rows;
    assert(count <= (size_t)in->limit + 1);
    if (!describe_page(r, count) || !describe_filters(r)) {
        return ledger_no_memory(r);
    }
    return in->include_stats ? req_query(r, Q_TRANSACTION_TOTALS) : STEP_NEXT;
}

/* --- totals --- */

static bool take_totals(struct req *r)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);
    Avanta__Ledger__ListTransactionsReply *out = req_out(r);
    Avanta__Ledger__Pagination *p = out->pagination;

    assert(in->limit > 0);
    assert(p != NULL);
    assert(req_rows(r) == 1);
    out->statistics = (Avanta__Ledger__TransactionStatistics *)(void *)req_row_new(r, 0);
    if (out->statistics == NULL) {
        return false;
    }
    assert(out->statistics->total_transactions >= 0);
    p->has_total = true;
    p->total = out->statistics->total_transactions;
    p->has_total_pages = true;
    p->total_pages = (p->total + in->limit - 1) / in->limit;
    p->has_current_page = true;
    p->current_page = p->offset / in->limit + 1;
    return true;
}

static enum step running_select(struct req *r)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);
    const Avanta__Ledger__ListTransactionsReply *out = req_out(r);
    struct listing *listing = req_state(r, sizeof *listing);
    Avanta__Ledger__RunningBalancesRequest *running = &listing->running;

    assert(out->n_data > 0);
    assert(of_account(in));
    avanta__ledger__running_balances_request__init(running);
    running->has_account_id = in->has_account_id;
    running->account_id = in->account_id;
    running->account = in->account;
    running->ids = arena_calloc(req_arena(r), out->n_data, sizeof *running->ids);
    if (running->ids == NULL) {
        return ledger_no_memory(r);
    }
    running->n_ids = out->n_data;
    for (size_t i = 0; i < out->n_data; i++) {
        running->ids[i] = out->data[i]->id;
    }
    return req_query_from(r, Q_TRANSACTION_RUNNING_BALANCES, &running->base);
}

static enum step list_totals(struct req *r)
{
    const Avanta__Ledger__ListTransactionsRequest *in = listed(r);
    const Avanta__Ledger__ListTransactionsReply *out = req_out(r);

    assert(out->pagination != NULL);
    assert(out->filters != NULL);
    if (in->include_stats && !take_totals(r)) {
        return STEP_FAIL;
    }
    return in->include_running_balance && out->n_data > 0 ? running_select(r) : STEP_DONE;
}

/* --- running balances: rows come in any order --- */

static void set_running_balance(Avanta__Ledger__ListTransactionsReply *out,
                                const Avanta__Ledger__RunningBalance *row)
{
    assert(row != NULL);
    assert(row->id > 0);
    for (size_t i = 0; i < out->n_data; i++) {
        if (out->data[i]->id == row->id) {
            out->data[i]->has_running_balance = true;
            out->data[i]->running_balance = row->running_balance;
            return;
        }
    }
}

static enum step list_running(struct req *r)
{
    Avanta__Ledger__ListTransactionsReply *out = req_out(r);
    Avanta__Ledger__RunningBalance row;

    assert(req_rows(r) <= out->n_data);
    for (size_t i = 0; i < req_rows(r); i++) {
        avanta__ledger__running_balance__init(&row);
        if (!req_row(r, i, &row.base)) {
            return STEP_FAIL;
        }
        set_running_balance(out, &row);
    }
    return STEP_DONE;
}

const struct op op_ledger_list_transactions = {
    TX_READ, {list_select, list_page, list_totals, list_running}
};
