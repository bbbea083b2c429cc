/* Up to 1000 changes in one database transaction. Each entry is judged on its own: what cannot be
 * done is told in `failed`, what changes nothing in `skipped`, and the rest is done. An id that
 * comes again is a failure: of two changes to one record nobody knows which was meant last. */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/ledger.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/table.h"
#include "libcommon/codec/json_write.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define BULK_ITEMS_MAX 1000

/* Between steps, in the arena. */
struct bulk {
    Avanta__Ledger__BulkItems items;      /* what goes to the database */
    Avanta__Ledger__BulkItems changed;    /* ids to read again */
    Avanta__Ledger__Transaction **before; /* by id, as locked */
    size_t before_count;
    bool *repeated; /* by position in the request */
};

static struct bulk *bulk_of(struct req *r)
{
    return req_state(r, sizeof(struct bulk));
}

/* --- the request as JSON: only what was given --- */

static void text_field(struct json_writer *w, const char *name, const char *text)
{
    assert(w != NULL);
    assert(name != NULL);
    if (text != NULL) {
        json_key(w, str_from(name));
        json_text(w, str_from(text));
    }
}

static void int_field(struct json_writer *w, const char *name, bool has, int64_t value)
{
    assert(w != NULL);
    assert(name != NULL);
    if (has) {
        json_key(w, str_from(name));
        json_int64(w, value);
    }
}

static void
write_item(struct json_writer *w, size_t n, const Avanta__Ledger__BulkTransactionUpdate *u)
{
    assert(u->id > 0);
    assert(n < BULK_ITEMS_MAX);
    json_object_begin(w);
    int_field(w, "n", true, (int64_t)n);
    int_field(w, "id", true, u->id);
    text_field(w, "transaction_type", u->transaction_type);
    text_field(w, "category", u->category);
    text_field(w, "account", u->account);
    text_field(w, "description", u->description);
    int_field(w, "amount", u->has_amount, u->amount);
    text_field(w, "type", u->type);
    text_field(w, "date", u->date);
    if (u->has_is_deductible) {
        json_key(w, STR("is_deductible"));
        json_bool(w, u->is_deductible);
    }
    text_field(w, "notes", u->notes);
    int_field(w, "category_id", u->has_category_id, u->category_id);
    int_field(w, "linked_invoice_id", u->has_linked_invoice_id, u->linked_invoice_id);
    text_field(w, "economic_activity", u->economic_activity);
    text_field(w, "receipt_url", u->receipt_url);
    json_key(w, STR("cleared"));
    json_array_begin(w);
    for (size_t i = 0; i < u->n_cleared; i++) {
        json_text(w, str_from(u->cleared[i]));
    }
    json_array_end(w);
    json_object_end(w);
}

struct position {
    int64_t id;
    size_t n;
};

static int compare_positions(const void *a, const void *b)
{
    const struct position *left = a;
    const struct position *right = b;

    if (left->id != right->id) {
        return left->id < right->id ? -1 : 1;
    }
    return (left->n > right->n) - (left->n < right->n);
}

/* Marks every entry whose id came before, and gathers the ids, each once and in order. */
static bool find_repeated(struct req *r, const Avanta__Ledger__BulkUpdateTransactionsRequest *in)
{
    struct bulk *bulk = bulk_of(r);
    struct position *positions = arena_calloc(req_arena(r), in->n_updates, sizeof *positions);

    assert(in->n_updates > 0);
    bulk->repeated = arena_calloc(req_arena(r), in->n_updates, sizeof *bulk->repeated);
    bulk->items.ids = arena_calloc(req_arena(r), in->n_updates, sizeof *bulk->items.ids);
    bulk->changed.ids = arena_calloc(req_arena(r), in->n_updates, sizeof *bulk->changed.ids);
    if (positions == NULL || bulk->repeated == NULL || bulk->items.ids == NULL ||
        bulk->changed.ids == NULL) {
        return false;
    }
    for (size_t i = 0; i < in->n_updates; i++) {
        positions[i] = (struct position){in->updates[i]->id, i};
    }
    qsort(positions, in->n_updates, sizeof *positions, compare_positions);
    for (size_t i = 0; i < in->n_updates; i++) {
        if (i > 0 && positions[i].id == positions[i - 1].id) {
            bulk->repeated[positions[i].n] = true;
        } else {
            bulk->items.ids[bulk->items.n_ids++] = positions[i].id;
        }
    }
    assert(bulk->items.n_ids > 0);
    assert(bulk->items.n_ids <= in->n_updates);
    return true;
}

static enum step bulk_lock(struct req *r)
{
    const Avanta__Ledger__BulkUpdateTransactionsRequest *in = req_in(r);
    struct bulk *bulk = bulk_of(r);
    struct json_writer w;
    struct str json = STR_EMPTY;

    assert(in->n_updates > 0);
    assert(in->n_updates <= BULK_ITEMS_MAX);
    avanta__ledger__bulk_items__init(&bulk->items);
    avanta__ledger__bulk_items__init(&bulk->changed);
    if (!find_repeated(r, in)) {
        return ledger_no_memory(r);
    }
    json_open(&w, req_arena(r), in->n_updates * 128, REQUEST_ARENA_BYTES_MAX / 4);
    json_array_begin(&w);
    for (size_t i = 0; i < in->n_updates; i++) {
        if (!bulk->repeated[i]) {
            write_item(&w, i, in->updates[i]);
        }
    }
    json_array_end(&w);
    if (json_finish(&w, &json, NULL) != OK) {
        return ledger_no_memory(r);
    }
    bulk->items.items = arena_strdup(req_arena(r), json);
    if (bulk->items.items == NULL) {
        return ledger_no_memory(r);
    }
    return req_query_from(r, Q_TRANSACTION_BULK_LOCK, &bulk->items.base);
}

static enum step bulk_apply(struct req *r)
{
    struct bulk *bulk = bulk_of(r);
    ProtobufCMessage **rows = NULL;

    assert(bulk->items.items != NULL);
    if (!req_rows_all(r, &bulk->before_count, &rows)) {
        return STEP_FAIL;
    }
    assert(bulk->before_count <= bulk->items.n_ids);
    bulk->before = (Avanta__Ledger__Transaction **)(void *)rows;
    return req_query_from(r, Q_TRANSACTION_BULK_APPLY, &bulk->items.base);
}

/* --- verdicts --- */

static const struct {
    const char *verdict;
    const char *text;
} failures[] = {
    {"missing",  "The transaction was not found"                          },
    {"account",  "The account does not exist"                             },
    {"category", "The category does not exist"                            },
    {"invoice",  "The invoice does not exist"                             },
    {"amount",   "The amount in pesos must be from 0.01 to 999,999,999.99"},
};

static bool add_failure(struct req *r, int64_t id, const char *text)
{
    Avanta__Ledger__BulkUpdateTransactionsReply *out = req_out(r);
    Avanta__Ledger__BulkFailure *failure = arena_alloc(req_arena(r), sizeof *failure);

    assert(text != NULL);
    assert(out->failed != NULL);
    assert(out->n_failed < out->total);
    if (failure == NULL) {
        return false;
    }
    avanta__ledger__bulk_failure__init(failure);
    failure->has_id = true;
    failure->id = id;
    failure->error = ledger_text(r, text);
    out->failed[out->n_failed++] = failure;
    return failure->error != NULL;
}

static bool add_skip(struct req *r, int64_t id)
{
    Avanta__Ledger__BulkUpdateTransactionsReply *out = req_out(r);
    Avanta__Ledger__BulkSkip *skip = arena_alloc(req_arena(r), sizeof *skip);

    assert(out->skipped != NULL);
    assert(out->n_skipped < out->total);
    if (skip == NULL) {
        return false;
    }
    avanta__ledger__bulk_skip__init(skip);
    skip->has_id = true;
    skip->id = id;
    skip->reason = ledger_text(r, "Nothing changes");
    out->skipped[out->n_skipped++] = skip;
    return skip->reason != NULL;
}

static bool judge(struct req *r, const Avanta__Ledger__BulkVerdict *v)
{
    struct bulk *bulk = bulk_of(r);
    Avanta__Ledger__BulkUpdateTransactionsReply *out = req_out(r);

    assert(v->verdict != NULL);
    for (size_t i = 0; i < ARRAY_LEN(failures); i++) {
        if (strcmp(v->verdict, failures[i].verdict) == 0) {
            return add_failure(r, v->id, failures[i].text);
        }
    }
    if (strcmp(v->verdict, "same") == 0) {
        return add_skip(r, v->id);
    }
    assert(bulk->changed.n_ids < bulk->items.n_ids);
    out->successful++;
    bulk->changed.ids[bulk->changed.n_ids++] = v->id;
    return true;
}

/* The verdict of the entry at `i`: `row` of the result, unless the entry is a repeated one, which
 * was not sent. Verdicts come in the order of the request. */
static bool judge_entry(struct req *r, size_t i, size_t *row)
{
    const Avanta__Ledger__BulkUpdateTransactionsRequest *in = req_in(r);
    Avanta__Ledger__BulkVerdict verdict = AVANTA__LEDGER__BULK_VERDICT__INIT;

    assert(i < in->n_updates);
    assert(row != NULL);
    if (bulk_of(r)->repeated[i]) {
        return add_failure(r, in->updates[i]->id, "The id comes more than once");
    }
    if (!req_row(r, (*row)++, &verdict.base)) {
        return false;
    }
    assert(verdict.id == in->updates[i]->id);
    return judge(r, &verdict);
}

static bool judge_all(struct req *r)
{
    const Avanta__Ledger__BulkUpdateTransactionsRequest *in = req_in(r);
    size_t row = 0;

    for (size_t i = 0; i < in->n_updates; i++) {
        if (!judge_entry(r, i, &row)) {
            return false;
        }
    }
    assert(row == req_rows(r));
    return true;
}

static enum step bulk_judge(struct req *r)
{
    const Avanta__Ledger__BulkUpdateTransactionsRequest *in = req_in(r);
    Avanta__Ledger__BulkUpdateTransactionsReply *out = req_out(r);
    struct bulk *bulk = bulk_of(r);

    out->has_successful = true;
    out->has_total = true;
    out->total = (uint32_t)in->n_updates;
    out->failed = arena_calloc(req_arena(r), in->n_updates, sizeof(void *));
    out->skipped = arena_calloc(req_arena(r), in->n_updates, sizeof(void *));
    out->message = arena_printf(req_arena(r), "Bulk update of %zu transactions", in->n_updates);
    if (out->failed == NULL || out->skipped == NULL || out->message == NULL) {
        return ledger_no_memory(r);
    }
    if (!judge_all(r)) {
        return ledger_no_memory(r);
    }
    assert(bulk->changed.n_ids == out->successful);
    assert(out->successful + out->n_failed + out->n_skipped == out->total);
    if (bulk->changed.n_ids == 0) {
        return STEP_DONE;
    }
    return req_query_from(r, Q_TRANSACTION_BULK_READ, &bulk->changed.base);
}

/* --- events: rows before and after both come by id, those after are some of those before --- */

static enum step bulk_emit(struct req *r)
{
    struct bulk *bulk = bulk_of(r);
    size_t at = 0;

    assert(req_rows(r) <= bulk->changed.n_ids);
    for (size_t i = 0; i < req_rows(r); i++) {
        Avanta__Ledger__TransactionUpdated event = AVANTA__LEDGER__TRANSACTION_UPDATED__INIT;
        event.after = (Avanta__Ledger__Transaction *)(void *)req_row_new(r, i);
        if (event.after == NULL) {
            return STEP_FAIL;
        }
        while (at < bulk->before_count && bulk->before[at]->id < event.after->id) {
            at++;
        }
        assert(at < bulk->before_count);
        assert(bulk->before[at]->id == event.after->id);
        event.before = bulk->before[at];
        req_emit(r, &event.base, ledger_id_text(event.after->id).text);
    }
    return STEP_DONE;
}

const struct op op_ledger_bulk_update_transactions = {
    TX_WRITE_HEAVY, {bulk_lock, bulk_apply, bulk_judge, bulk_emit}
};
