/* What an import would book: the statement read, each row looked up in the books; nothing is
 * stored. */
#include "ledger_ops.gen.h"
#include "ledger_sql.gen.h"
#include "services/ledger/import_items.h"
#include "services/ledger/statement.h"

#include <assert.h>

#define DESCRIPTION_LENGTH_MAX 500

/* Between steps. */
struct preview {
    Avanta__Ledger__ImportItems items;
};

static char *copy(struct req *r, struct str text)
{
    return arena_strdup(req_arena(r), text);
}

static char *date_text(struct req *r, struct date date)
{
    char *text = arena_alloc(req_arena(r), DATE_TEXT_BYTES);

    assert(date_exists(date.year, date.month, date.day));
    if (text != NULL) {
        date_format(date, text);
    }
    return text;
}

/* --- rows --- */

static bool has_control(struct str text)
{
    return utf8_has_control(text, NULL) || utf8_has_bidi_control(text);
}

/* What the confirmation would refuse is told here already. */
static const char *row_fault(const struct statement_row *row)
{
    size_t length = 0;

    assert(row != NULL);
    assert(row->description.len > 0);
    if (!utf8_length(row->description, &length) || length > DESCRIPTION_LENGTH_MAX ||
        has_control(row->description)) {
        return "the description is too long or holds control characters";
    }
    if (has_control(row->reference) || !utf8_valid(row->reference)) {
        return "the reference holds control characters";
    }
    return NULL;
}

static Avanta__Ledger__ImportRow *row_make(struct req *r, const struct statement_row *from)
{
    Avanta__Ledger__ImportRow *row = arena_alloc(req_arena(r), sizeof *row);

    assert(from != NULL);
    assert(from->amount != 0);
    assert(from->line > 0);
    if (row == NULL) {
        return NULL;
    }
    avanta__ledger__import_row__init(row);
    row->date = date_text(r, from->date);
    row->description = copy(r, from->description);
    row->has_amount = true;
    row->amount = from->amount < 0 ? -from->amount : from->amount;
    row->type = ledger_text(r, from->amount < 0 ? "gasto" : "ingreso");
    row->reference = from->reference.len == 0 ? NULL : copy(r, from->reference);
    row->has_balance = from->has_balance;
    row->balance = from->balance;
    row->has_is_duplicate = true;
    row->has_line = true;
    row->line = from->line;
    return row->date == NULL || row->description == NULL || row->type == NULL ? NULL : row;
}

static bool error_add(struct req *r, uint32_t line, const char *text)
{
    Avanta__Ledger__PreviewImportReply *out = req_out(r);
    Avanta__Ledger__ImportRowError *error = arena_alloc(req_arena(r), sizeof *error);

    assert(text != NULL);
    assert(out->errors != NULL);
    assert(out->n_errors <= STATEMENT_ERRORS_MAX);
    if (error == NULL) {
        return false;
    }
    if (out->n_errors == STATEMENT_ERRORS_MAX) {
        return true;
    }
    avanta__ledger__import_row_error__init(error);
    error->has_line = true;
    error->line = line;
    error->error = ledger_text(r, text);
    out->errors[out->n_errors++] = error;
    return error->error != NULL;
}

/* The row, or what is wrong with it. */
static bool row_add(struct req *r, const struct statement_row *row)
{
    Avanta__Ledger__PreviewImportReply *out = req_out(r);
    const char *fault = row_fault(row);

    assert(row != NULL);
    assert(out->transactions != NULL);
    if (fault != NULL) {
        return error_add(r, row->line, fault);
    }
    out->transactions[out->n_transactions] = row_make(r, row);
    return out->transactions[out->n_transactions++] != NULL;
}

static bool rows_fill(struct req *r, const struct statement *s)
{
    Avanta__Ledger__PreviewImportReply *out = req_out(r);

    assert(s->row_count <= STATEMENT_ROWS_MAX);
    out->transactions = arena_calloc(req_arena(r), s->row_count + 1, sizeof(void *));
    out->errors = arena_calloc(req_arena(r), STATEMENT_ERRORS_MAX, sizeof(void *));
    if (out->transactions == NULL || out->errors == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < s->error_count && i < STATEMENT_ERRORS_MAX; i++) {
        if (!error_add(r, s->errors[i].line, s->errors[i].text)) {
            return false;
        }
    }
    for (uint32_t i = 0; i < s->row_count; i++) {
        if (!row_add(r, &s->rows[i])) {
            return false;
        }
    }
    assert(out->n_transactions <= s->row_count);
    return true;
}

/* --- what was recognised --- */

static char *header_of(const Avanta__Ledger__PreviewImportReply *out,
                       const struct statement *s,
                       enum statement_column c)
{
    assert(c < STATEMENT_COLUMN_COUNT);
    assert(s->columns[c] < (int32_t)out->n_headers);
    return s->columns[c] < 0 ? NULL : out->headers[s->columns[c]];
}

static bool headers_fill(struct req *r, const struct statement *s)
{
    Avanta__Ledger__PreviewImportReply *out = req_out(r);
    Avanta__Ledger__ColumnMapping *mapping = arena_alloc(req_arena(r), sizeof *mapping);

    assert(s->header_count > 0);
    assert(s->header_count <= STATEMENT_COLUMNS_MAX);
    out->headers = arena_calloc(req_arena(r), s->header_count + 1, sizeof *out->headers);
    if (mapping == NULL || out->headers == NULL) {
        return false;
    }
    for (uint32_t i = 0; i < s->header_count; i++) {
        out->headers[i] = copy(r, s->headers[i]);
        if (out->headers[i] == NULL) {
            return false;
        }
    }
    out->n_headers = s->header_count;
    avanta__ledger__column_mapping__init(mapping);
    mapping->date = header_of(out, s, STATEMENT_DATE);
    mapping->description = header_of(out, s, STATEMENT_DESCRIPTION);
    mapping->amount = header_of(out, s, STATEMENT_AMOUNT);
    mapping->debit = header_of(out, s, STATEMENT_DEBIT);
    mapping->credit = header_of(out, s, STATEMENT_CREDIT);
    mapping->balance = header_of(out, s, STATEMENT_BALANCE);
    mapping->reference = header_of(out, s, STATEMENT_REFERENCE);
    out->column_mapping = mapping;
    return true;
}

static bool summary_fill(struct req *r, const struct statement *s)
{
    Avanta__Ledger__PreviewImportReply *out = req_out(r);
    Avanta__Ledger__ImportSummary *summary = arena_alloc(req_arena(r), sizeof *summary);
    uint32_t good = (uint32_t)out->n_transactions;
    uint32_t total = s->row_count + s->error_count;

    assert(good <= s->row_count);
    assert(s->bank != NULL);
    if (summary == NULL) {
        return false;
    }
    avanta__ledger__import_summary__init(summary);
    summary->has_total_rows = true;
    summary->total_rows = total;
    summary->has_valid_transactions = true;
    summary->valid_transactions = good;
    summary->has_errors = true;
    summary->errors = total - good;
    summary->has_duplicates = true;
    summary->has_balance_verified = true;
    summary->balance_verified = s->balance_verified;
    summary->has_opening_balance = s->has_balances;
    summary->opening_balance = s->opening_balance;
    summary->has_closing_balance = s->has_balances;
    summary->closing_balance = s->closing_balance;
    summary->bank = ledger_text(r, s->bank);
    if (good > 0) { /* oldest first */
        summary->period_start = out->transactions[0]->date;
        summary->period_end = out->transactions[good - 1]->date;
    }
    out->summary = summary;
    return summary->bank != NULL;
}

static bool reply_fill(struct req *r, const struct statement *s)
{
    const Avanta__Ledger__PreviewImportRequest *in = req_in(r);
    Avanta__Ledger__PreviewImportReply *out = req_out(r);

    out->has_success = true;
    out->success = true;
    out->file_name = in->file_name;
    out->source = in->source;
    return rows_fill(r, s) && headers_fill(r, s) && summary_fill(r, s);
}

/* --- steps --- */

static enum step preview_match(struct req *r)
{
    const Avanta__Ledger__PreviewImportRequest *in = req_in(r);
    Avanta__Ledger__PreviewImportReply *out = req_out(r);
    struct preview *preview = req_state(r, sizeof *preview);
    struct statement *s = arena_calloc(req_arena(r), 1, sizeof *s);
    struct err err = {.code = OK};
    enum code code = s == NULL ? ERR_TOO_LARGE
                               : statement_parse(str_from(in->csv_content), req_arena(r), s, &err);

    if (code == ERR_INVALID) {
        return req_refuse_saying(r, AVANTA__REASON__PARSE_ERROR, err.text);
    }
    if (code != OK || preview == NULL) {
        return ledger_no_memory(r);
    }
    if (s->row_count + s->error_count == 0) {
        return req_refuse(r, AVANTA__REASON__EMPTY_FILE);
    }
    if (!reply_fill(r, s)) {
        return ledger_no_memory(r);
    }
    assert(out->summary != NULL);
    if (out->n_transactions == 0) {
        return STEP_DONE;
    }
    avanta__ledger__import_items__init(&preview->items);
    preview->items.account = in->account;
    preview->items.items = import_items_json(r, out->transactions, out->n_transactions);
    return preview->items.items == NULL ? ledger_no_memory(r)
                                        : req_query_from(r, Q_IMPORT_MATCH, &preview->items.base);
}

static enum step preview_reply(struct req *r)
{
    Avanta__Ledger__PreviewImportReply *out = req_out(r);

    assert(req_rows(r) == out->n_transactions);
    assert(out->summary != NULL);
    for (size_t i = 0; i < out->n_transactions; i++) {
        Avanta__Ledger__ImportMatch match = AVANTA__LEDGER__IMPORT_MATCH__INIT;

        if (!req_row(r, i, &match.base)) {
            return STEP_FAIL;
        }
        if (!match.account_good) {
            return req_refuse(r, AVANTA__REASON__ACCOUNT_NOT_FOUND);
        }
        out->transactions[i]->is_duplicate = match.duplicate;
        out->summary->duplicates += match.duplicate ? 1 : 0;
    }
    assert(out->summary->duplicates <= out->n_transactions);
    return STEP_DONE;
}

const struct op op_ledger_preview_import = {
    TX_READ_HEAVY, {preview_match, preview_reply}
};
