#pragma once
/*
 * A bank's CSV statement as rows with date, description, signed amount and the bank's own balance.
 * Pure; results live in the arena. Dialects differ in headers (Spanish, English, accents), date
 * forms, number forms, one signed column or two unsigned ones, sign convention and row order; the
 * balance column, where there is one, settles what the rest leaves open. Rows come out oldest
 * first. Bounded by STATEMENT_ROWS_MAX.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/money.h"

#define STATEMENT_ROWS_MAX    2000
#define STATEMENT_ERRORS_MAX  100
#define STATEMENT_COLUMNS_MAX 64

enum statement_column {
    STATEMENT_DATE,
    STATEMENT_DESCRIPTION,
    STATEMENT_AMOUNT,
    STATEMENT_DEBIT,
    STATEMENT_CREDIT,
    STATEMENT_BALANCE,
    STATEMENT_REFERENCE,
    STATEMENT_COLUMN_COUNT
};

struct statement_row {
    uint32_t line;
    struct date date;
    struct str description;
    struct str reference;
    int64_t amount; /* centavos; what the account gained (+) or lost (-); never 0 */
    bool has_balance;
    int64_t balance; /* after the row */
};

struct statement_error {
    uint32_t line;
    const char *text;
};

struct statement {
    const char *bank; /* "BBVA", "Banco Azteca", "Banorte", "Santander" or "generic" */
    struct str headers[STATEMENT_COLUMNS_MAX];
    uint32_t header_count;
    int32_t columns[STATEMENT_COLUMN_COUNT]; /* index into headers, or -1 */
    struct statement_row *rows;
    uint32_t row_count;
    struct statement_error errors[STATEMENT_ERRORS_MAX];
    uint32_t error_count;  /* all of them; the first STATEMENT_ERRORS_MAX are kept */
    bool has_balances;     /* every row has one */
    bool balance_verified; /* and every row moves it by exactly its amount */
    int64_t opening_balance;
    int64_t closing_balance;
};

/* ERR_INVALID: no header row with date, description and amount columns was found in the first
 * lines, or the text is not CSV. A file of headers alone gives no rows. */
enum code statement_parse(struct str csv,
                          struct arena *arena,
                          struct statement *out,
                          struct err *err) MUST_CHECK;

/* --- values, exposed for tests --- */
/* "$1,234.56", "1.234,56", "(850.50)", "850.50-", "MXN 12" -> centavos. False: not an amount. */
bool statement_amount(struct str text, int64_t *out_centavos);

enum statement_date_order {
    STATEMENT_DMY,
    STATEMENT_MDY
};
/* ISO, 15/01/2025, 15-ene-25, 15 de enero de 2025; `order` decides where numbers alone do not. */
bool statement_date(struct str text, enum statement_date_order order, struct date *out);
/* Lower case ASCII without accents and punctuation, blanks single: "Fecha Operación " -> "fecha
 * operacion". */
struct str statement_fold(struct str text, char *out, size_t cap);
