#include "services/ledger/statement.h"

#include "libcommon/codec/csv.h"

#include <assert.h>
#include <string.h>

#define HEADER_LINES_MAX      30
#define FOLDED_BYTES          64
#define DESCRIPTION_BYTES_MAX 2000
#define AMOUNT_UNREADABLE     "the amount is none such as 1,234.56: digits and at most two decimals"

/* What banks call a column, folded. Earlier names go before later ones when a file has both. */
/* clang-format off */
static const char *const column_names[STATEMENT_COLUMN_COUNT][16] = {
    [STATEMENT_DATE] = {        "fecha operacion", "fecha de operacion", "fecha", "date",
                                "transaction date", "fecha movimiento", "fecha de movimiento",
                                "posting date", "dia", "fecha valor"},
    [STATEMENT_DESCRIPTION] = { "descripcion", "concepto", "description", "detalle", "movimiento",
                                "details", "descripcion detallada", "concepto movimiento", "memo",
                                "narrative"},
    [STATEMENT_AMOUNT] = {      "importe", "monto", "amount", "cantidad", "valor", "importe mxn",
                                "monto mxn"},
    [STATEMENT_DEBIT] = {       "cargo", "cargos", "retiro", "retiros", "debito", "debit",
                                "withdrawal", "withdrawals", "salida", "debe"},
    [STATEMENT_CREDIT] = {      "abono", "abonos", "deposito", "depositos", "credito", "credit",
                                "deposit", "deposits", "entrada", "haber"},
    [STATEMENT_BALANCE] = {     "saldo", "balance", "saldo final", "running balance",
                                "saldo disponible"},
    [STATEMENT_REFERENCE] = {   "referencia", "folio", "reference number", "reference",
                                "numero de referencia", "no referencia", "autorizacion",
                                "clave de rastreo", "ref"},
};
/* clang-format on */

/* Header texts that one bank uses; all of a row must be there. */
static const struct {
    const char *bank;
    const char *headers[4];
} dialects[] = {
    {"Banorte",      {"fecha operacion", "concepto", "importe", "folio"}  },
    {"BBVA",         {"fecha", "descripcion", "cargo", "abono"}           },
    {"Banco Azteca", {"fecha", "concepto", "retiro", "deposito"}          },
    {"Santander",    {"date", "description", "amount", "reference number"}},
};

struct parse {
    struct arena *arena;
    struct statement *s;
    enum statement_date_order order;
    uint32_t dmy_only; /* dates that exist only as day/month */
    uint32_t mdy_only;
};

static void error_add(struct parse *p, uint32_t line, const char *text)
{
    assert(line > 0);
    assert(text != NULL);
    if (p->s->error_count < STATEMENT_ERRORS_MAX) {
        p->s->errors[p->s->error_count] = (struct statement_error){line, text};
    }
    p->s->error_count++;
}

/* --- the header --- */

static int32_t header_find(const struct csv_record *record, const char *name)
{
    char memory[FOLDED_BYTES];

    assert(name != NULL);
    for (uint32_t i = 0; i < record->count; i++) {
        if (str_eq(statement_fold(record->fields[i], memory, sizeof memory), str_from(name))) {
            return (int32_t)i;
        }
    }
    return -1;
}

static int32_t column_find(const struct csv_record *record, enum statement_column column)
{
    const char *const *names = column_names[column];
    int32_t found = -1;

    assert(column < STATEMENT_COLUMN_COUNT);
    for (size_t k = 0; found < 0 && k < ARRAY_LEN(column_names[column]) && names[k] != NULL; k++) {
        found = header_find(record, names[k]);
    }
    assert(found < (int32_t)record->count);
    return found;
}

static bool header_try(struct parse *p, const struct csv_record *record)
{
    struct statement *s = p->s;

    for (int c = 0; c < STATEMENT_COLUMN_COUNT; c++) {
        s->columns[c] = column_find(record, (enum statement_column)c);
    }
    if (s->columns[STATEMENT_DEBIT] >= 0 && s->columns[STATEMENT_CREDIT] >= 0) {
        s->columns[STATEMENT_AMOUNT] = -1; /* two columns say more than one */
    }
    return s->columns[STATEMENT_DATE] >= 0 && s->columns[STATEMENT_DESCRIPTION] >= 0 &&
           (s->columns[STATEMENT_AMOUNT] >= 0 ||
            (s->columns[STATEMENT_DEBIT] >= 0 && s->columns[STATEMENT_CREDIT] >= 0));
}

static bool header_has(const struct statement *s, const char *wanted)
{
    char memory[FOLDED_BYTES];

    assert(wanted != NULL);
    assert(s->header_count <= STATEMENT_COLUMNS_MAX);
    for (uint32_t i = 0; i < s->header_count; i++) {
        if (str_eq(statement_fold(s->headers[i], memory, sizeof memory), str_from(wanted))) {
            return true;
        }
    }
    return false;
}

static const char *bank_of(const struct statement *s)
{
    assert(s->header_count > 0);
    for (size_t i = 0; i < ARRAY_LEN(dialects); i++) {
        bool all = true;

        for (size_t k = 0; k < ARRAY_LEN(dialects[i].headers); k++) {
            all = all && header_has(s, dialects[i].headers[k]);
        }
        if (all) {
            return dialects[i].bank;
        }
    }
    return "generic";
}

static enum code header_read(struct parse *p, struct csv_reader *reader, struct err *err)
{
    struct csv_record record;

    assert(err->code == OK);
    for (int i = 0; i < HEADER_LINES_MAX && csv_next(reader, p->arena, &record, err); i++) {
        if (!header_try(p, &record)) {
            continue;
        }
        assert(record.count <= STATEMENT_COLUMNS_MAX);
        for (uint32_t k = 0; k < record.count; k++) {
            p->s->headers[k] = str_trim(record.fields[k]);
        }
        p->s->header_count = record.count;
        p->s->bank = bank_of(p->s);
        return OK;
    }
    if (err->code != OK) {
        return err->code;
    }
    return err_set(
        err, ERR_INVALID, "no header row with date, description and amount columns was found");
}

/* --- rows --- */

static struct str
cell(const struct parse *p, const struct csv_record *record, enum statement_column column)
{
    int32_t at = p->s->columns[column];

    assert(column < STATEMENT_COLUMN_COUNT);
    assert(at < (int32_t)p->s->header_count);
    return at >= 0 && (uint32_t)at < record->count ? str_trim(record->fields[at]) : STR_EMPTY;
}

/* Empty cells count as zero: the other column of the pair carries the amount. */
static bool cell_amount(struct str text, int64_t *out)
{
    assert(out != NULL);
    *out = 0;
    return text.len == 0 || str_eq(text, STR("-")) || statement_amount(text, out);
}

static int64_t magnitude(int64_t v)
{
    assert(v > INT64_MIN);
    return v < 0 ? -v : v;
}

static const char *row_amount(const struct parse *p, const struct csv_record *record, int64_t *out)
{
    int64_t debit = 0;
    int64_t credit = 0;

    assert(out != NULL);
    if (p->s->columns[STATEMENT_AMOUNT] >= 0) {
        return !cell_amount(cell(p, record, STATEMENT_AMOUNT), out) ? AMOUNT_UNREADABLE : NULL;
    }
    if (!cell_amount(cell(p, record, STATEMENT_DEBIT), &debit) ||
        !cell_amount(cell(p, record, STATEMENT_CREDIT), &credit)) {
        return AMOUNT_UNREADABLE;
    }
    if (debit != 0 && credit != 0) {
        return "the row has both a charge and a credit";
    }
    *out = debit != 0 ? -magnitude(debit) : magnitude(credit);
    return NULL;
}

static const char *
row_read(struct parse *p, const struct csv_record *record, struct statement_row *row)
{
    assert(row != NULL);

    struct str balance = cell(p, record, STATEMENT_BALANCE);
    const char *wrong = row_amount(p, record, &row->amount);

    assert(record->line > 0);
    row->line = record->line;
    row->description = cell(p, record, STATEMENT_DESCRIPTION);
    row->reference = str_sub(cell(p, record, STATEMENT_REFERENCE), 0, 100);
    row->has_balance = balance.len > 0 && statement_amount(balance, &row->balance);
    if (!statement_date(cell(p, record, STATEMENT_DATE), p->order, &row->date)) {
        return "the date is none such as 2025-01-15, 15/01/2025 or 15-ene-25";
    }
    if (wrong != NULL) {
        return wrong;
    }
    if (row->description.len == 0 || row->description.len > DESCRIPTION_BYTES_MAX) {
        return "the description is empty or too long";
    }
    if (row->amount == 0 || magnitude(row->amount) > MONEY_MAX_CENTAVOS) {
        return "the amount is zero or too large";
    }
    return NULL;
}

/* Whether days or months come first shows where one of them exceeds twelve. */
static void date_order_learn(struct parse *p, struct csv_reader reader)
{
    struct csv_record record;
    struct err err = {.code = OK};
    struct arena_mark mark = arena_mark(p->arena);

    assert(p->dmy_only == 0);
    assert(p->mdy_only == 0);
    for (int i = 0; i < STATEMENT_ROWS_MAX && csv_next(&reader, p->arena, &record, &err); i++) {
        struct date d;
        bool dmy = statement_date(cell(p, &record, STATEMENT_DATE), STATEMENT_DMY, &d);
        bool mdy = statement_date(cell(p, &record, STATEMENT_DATE), STATEMENT_MDY, &d);

        p->dmy_only += dmy && !mdy;
        p->mdy_only += mdy && !dmy;
    }
    p->order = p->mdy_only > 0 && p->dmy_only == 0 ? STATEMENT_MDY : STATEMENT_DMY;
    arena_rewind(p->arena, mark);
}

static enum code rows_read(struct parse *p, struct csv_reader *reader, struct err *err)
{
    struct csv_record record;

    assert(p->s->row_count == 0);
    p->s->rows = arena_calloc(p->arena, STATEMENT_ROWS_MAX, sizeof *p->s->rows);
    if (p->s->rows == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the file needs too much memory");
    }
    while (csv_next(reader, p->arena, &record, err)) {
        struct statement_row row = {.line = record.line};
        const char *wrong = NULL;

        if (csv_record_blank(&record)) {
            continue;
        }
        if (p->s->row_count == STATEMENT_ROWS_MAX) {
            return err_set(
                err, ERR_INVALID, "the file has more than %d rows: split it", STATEMENT_ROWS_MAX);
        }
        wrong = row_read(p, &record, &row);
        if (wrong != NULL) {
            error_add(p, record.line, wrong);
        } else {
            p->s->rows[p->s->row_count++] = row;
        }
    }
    assert(p->s->row_count <= STATEMENT_ROWS_MAX);
    return err->code;
}

/* --- what the balance column settles --- */

/* How many neighbours agree when rows run oldest first (or newest first) and amounts keep (or
 * change) sign. */
static uint32_t agreement(const struct statement *s, bool newest_first, bool inverted)
{
    uint32_t count = 0;

    assert(s->row_count <= STATEMENT_ROWS_MAX);
    for (uint32_t i = 1; i < s->row_count; i++) {
        const struct statement_row *before = &s->rows[newest_first ? i : i - 1];
        const struct statement_row *after = &s->rows[newest_first ? i - 1 : i];
        int64_t amount = inverted ? -after->amount : after->amount;

        count +=
            before->has_balance && after->has_balance && after->balance - before->balance == amount;
    }
    assert(count <= s->row_count);
    return count;
}

static void rows_reverse(struct statement *s)
{
    assert(s->row_count > 1);
    for (uint32_t i = 0; i < s->row_count / 2; i++) {
        struct statement_row row = s->rows[i];

        s->rows[i] = s->rows[s->row_count - 1 - i];
        s->rows[s->row_count - 1 - i] = row;
    }
}

/* Without balances: a file whose first date is later than its last runs newest first. */
static bool dates_fall(const struct statement *s)
{
    return s->row_count > 1 &&
           date_to_days(s->rows[0].date) > date_to_days(s->rows[s->row_count - 1].date);
}

static void conventions_settle(struct statement *s)
{
    bool signed_column = s->columns[STATEMENT_AMOUNT] >= 0;
    uint32_t best = agreement(s, false, false);
    bool newest_first = false;
    bool inverted = false;

    for (int h = 1; h < 4; h++) {
        bool newest = (h & 1) != 0;
        bool invert = (h & 2) != 0;
        uint32_t count = !invert || signed_column ? agreement(s, newest, invert) : 0;

        if (count > best) {
            best = count;
            newest_first = newest;
            inverted = invert;
        }
    }
    if (best == 0) {
        newest_first = dates_fall(s);
    }
    if (newest_first) {
        rows_reverse(s);
    }
    for (uint32_t i = 0; inverted && i < s->row_count; i++) {
        s->rows[i].amount = -s->rows[i].amount;
    }
}

/* A single unsigned amount column: each row's own direction is that of its balance. */
static void directions_settle(struct statement *s)
{
    assert(s->row_count <= STATEMENT_ROWS_MAX);
    for (uint32_t i = 1; s->columns[STATEMENT_AMOUNT] >= 0 && i < s->row_count; i++) {
        const struct statement_row *before = &s->rows[i - 1];
        struct statement_row *row = &s->rows[i];

        if (before->has_balance && row->has_balance &&
            row->balance - before->balance == -row->amount) {
            row->amount = -row->amount;
        }
    }
}

static void balances_verify(struct statement *s)
{
    s->has_balances = s->row_count > 0;
    for (uint32_t i = 0; i < s->row_count; i++) {
        s->has_balances = s->has_balances && s->rows[i].has_balance;
    }
    if (s->has_balances) {
        s->balance_verified = agreement(s, false, false) == s->row_count - 1;
        s->opening_balance = s->rows[0].balance - s->rows[0].amount;
        s->closing_balance = s->rows[s->row_count - 1].balance;
    }
}

enum code
statement_parse(struct str csv, struct arena *arena, struct statement *out, struct err *err)
{
    struct parse p = {.arena = arena, .s = out};
    struct csv_reader reader;
    enum code code = OK;

    assert(out != NULL);
    assert(err != NULL);
    assert(err->code == OK);
    assert(arena != NULL);
    memset(out, 0, sizeof *out);
    csv_open(&reader, csv);
    code = header_read(&p, &reader, err);
    if (code != OK) {
        return code;
    }
    date_order_learn(&p, reader);
    code = rows_read(&p, &reader, err);
    if (code != OK) {
        return code;
    }
    conventions_settle(out);
    directions_settle(out);
    balances_verify(out);
    assert(out->bank != NULL);
    assert(out->header_count > 0);
    assert(out->row_count <= STATEMENT_ROWS_MAX);
    return OK;
}
