#include "libcommon/tools/sqlgen_scope.h"

#include "libcommon/tools/host.h"
#include "libcommon/tools/sql_scan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct token {
    const char *word; /* lower case; one byte of punctuation; "$3"; "''" for a string */
    size_t depth;     /* of parentheses; of a parenthesis itself: outside of it */
};

struct tokens {
    struct token *rows; /* ends with an empty word at depth 0 */
    size_t count;
};

/* One use of a table and the part of the statement where a condition on it can stand: one SELECT,
 * UPDATE, DELETE or INSERT. */
struct use {
    const struct tokens *tokens;
    const char *user; /* "$2"; NULL: the statement has no :user_id */
    const char *table;
    const char *alias;
    size_t at;
    size_t from;
    size_t to;
    size_t depth;
};

static bool is(const struct use *use, size_t at, const char *word)
{
    return strcmp(use->tokens->rows[at].word, word) == 0;
}

/* `words` is "one two three". */
static bool is_among(const char *word, const char *words)
{
    size_t len = strlen(word);
    const char *at = words;
    while (len > 0 && (at = strstr(at, word)) != NULL) {
        if ((at == words || at[-1] == ' ') && (at[len] == ' ' || at[len] == '\0')) {
            return true;
        }
        at += len;
    }
    return false;
}

/* --- tokens -------------------------------------------------------------------------------- */

static void token_add(struct tokens *out, const char *word, size_t *depth)
{
    *depth -= word[0] == ')' && *depth > 0 ? 1 : 0;
    out->rows = host_grow(out->rows, out->count, sizeof(*out->rows));
    out->rows[out->count++] = (struct token){word, *depth};
    *depth += word[0] == '(' ? 1 : 0;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void code_split(struct str code, struct tokens *out, size_t *depth)
{
    size_t i = 0;
    while (i < code.len) {
        size_t len = 0;
        while (i + len < code.len && is_word_char(code.ptr[i + len])) {
            len++;
        }
        if (len > 0 || strchr(" \t\r\n", code.ptr[i]) == NULL) {
            token_add(out, host_lower(host_copy(code.ptr + i, len > 0 ? len : 1)), depth);
        }
        i += len > 0 ? len : 1;
    }
}

static struct tokens split(const char *text)
{
    struct tokens out = {0};
    struct sql_scan scan;
    struct sql_piece piece;
    size_t depth = 0;
    sql_scan_init(&scan, (struct str){text, strlen(text)});
    while (sql_scan_next(&scan, &piece)) {
        if (piece.kind == SQL_CODE) {
            code_split(piece.text, &out, &depth);
        } else if (piece.kind == SQL_POSITIONAL) {
            token_add(&out, host_copy(piece.text.ptr, piece.text.len), &depth);
        } else if (piece.text.ptr[0] == '"') {
            token_add(&out, host_copy(piece.text.ptr + 1, piece.text.len - 2), &depth);
        } else {
            token_add(&out, host_copy("''", 2), &depth);
        }
    }
    depth = 0;
    token_add(&out, host_copy("", 0), &depth);
    return out;
}

/* --- where a table is used ----------------------------------------------------------------- */

#define CLAUSES                                                                                   \
    "select from using where on set values group having order limit offset returning window for " \
    "union except intersect join left right full inner cross natural fetch"

/* The nearest clause word before `at`, in the same parentheses. */
static const char *clause_before(const struct tokens *tokens, size_t at)
{
    size_t depth = tokens->rows[at].depth;
    for (size_t i = at; i > 0 && tokens->rows[i - 1].depth >= depth; i--) {
        const struct token *row = &tokens->rows[i - 1];
        if (row->depth == depth && row->word[0] == '(' && i < at) {
            continue;
        }
        if (row->depth == depth && is_among(row->word, CLAUSES)) {
            return row->word;
        }
    }
    return "";
}

static bool is_use(const struct tokens *tokens, size_t at)
{
    const struct token *rows = tokens->rows;
    size_t before = at;
    if (before > 1 && rows[before - 1].word[0] == '.' &&
        is_among(rows[before - 2].word, "public")) {
        before -= 2;
    }
    if (before == 0 || rows[at + 1].word[0] == '.') {
        return false;
    }
    const char *word = rows[before - 1].word;
    if (is_among(word, "only")) {
        return true;
    }
    if (strcmp(word, ",") == 0) {
        return is_among(clause_before(tokens, before - 1), "from using join");
    }
    if (strcmp(word, "update") == 0) {
        return before < 2 || !is_among(rows[before - 2].word, "for do key");
    }
    /* "extract(epoch FROM x)" names no table, but then x is none either. */
    return is_among(word, "from join into using table truncate");
}

/* The parentheses around, cut at UNION and its like. */
static void use_bound(struct use *use)
{
    const struct token *rows = use->tokens->rows;
    size_t from = use->at;
    size_t to = use->at;
    while (from > 0 && rows[from - 1].depth >= use->depth &&
           !(rows[from - 1].depth == use->depth &&
             is_among(rows[from - 1].word, "union except intersect"))) {
        from--;
    }
    while (rows[to].word[0] != '\0' && rows[to].depth >= use->depth &&
           !(rows[to].depth == use->depth && is_among(rows[to].word, "union except intersect"))) {
        to++;
    }
    use->from = from;
    use->to = to;
}

static const char *alias_of(const struct tokens *tokens, size_t at)
{
    const char *word = tokens->rows[at + 1].word;
    if (strcmp(word, "as") == 0) {
        return tokens->rows[at + 2].word;
    }
    bool none = !is_word_char(word[0]) || is_among(word, CLAUSES " overriding default do");
    return none ? tokens->rows[at].word : word;
}

/* --- conditions ---------------------------------------------------------------------------- */

/* Behind an optional "::type". */
static size_t cast_end(const struct use *use, size_t at)
{
    return is(use, at, ":") && is(use, at + 1, ":") ? at + 3 : at;
}

static bool use_has(const struct use *use, const char *words)
{
    for (size_t i = use->from; i < use->to; i++) {
        const struct token *row = &use->tokens->rows[i];
        if (row->depth == use->depth && is_among(row->word, words)) {
            return true;
        }
    }
    return false;
}

/* Without the alias the column must be that of this table. */
static bool is_alone(const struct use *use)
{
    const char *before = use->tokens->rows[use->at - 1].word;
    const char *others = strcmp(before, "update") == 0 ? "join using from" : "join using";
    size_t end = use->at + (strcmp(use->alias, use->table) == 0 ? 1 : 2);
    return before[0] != ',' && !use_has(use, others) && !is(use, end, ",");
}

/* Behind the column user_id of the table at `at`; 0 when something else is there. */
static size_t column_end(const struct use *use, size_t at)
{
    if (is(use, at, use->alias) && is(use, at + 1, ".") && is(use, at + 2, "user_id")) {
        return at + 3;
    }
    return is(use, at, "user_id") && is_alone(use) ? at + 1 : 0;
}

/* Behind "column = :user_id", either way round; 0 when something else is there. */
static size_t equality_end(const struct use *use, size_t at)
{
    size_t left = column_end(use, at);
    if (left > 0) {
        left = cast_end(use, left);
        return is(use, left, "=") && is(use, left + 1, use->user) ? cast_end(use, left + 2) : 0;
    }
    if (!is(use, at, use->user)) {
        return 0;
    }
    left = cast_end(use, at + 1);
    return is(use, left, "=") ? column_end(use, left + 1) : 0;
}

/* The condition belongs to a chain of AND from its WHERE or ON to the next clause. */
static bool is_required(const struct use *use, size_t at, size_t end)
{
    const struct token *rows = use->tokens->rows;
    size_t start = at;
    while (start > use->from &&
           !(rows[start - 1].depth == use->depth && is_among(rows[start - 1].word, "where on"))) {
        start--;
        if (rows[start].depth == use->depth && is_among(rows[start].word, "or " CLAUSES)) {
            return false;
        }
    }
    if (start == use->from || !is_among(rows[at - 1].word, "where on and")) {
        return false;
    }
    for (size_t i = end; i < use->to; i++) {
        if (rows[i].depth == use->depth && is_among(rows[i].word, "or")) {
            return false;
        }
        if (rows[i].depth == use->depth && is_among(rows[i].word, CLAUSES)) {
            break;
        }
    }
    /* ON of an outer join does not choose among the rows of the other side. */
    bool own = start > use->at && strcmp(clause_before(use->tokens, start - 1), "join") == 0;
    for (size_t i = use->at + 1; own && i < start; i++) {
        own = !is(use, i, "join");
    }
    return is(use, start - 1, "where") || own || !use_has(use, "left right full");
}

static bool is_filtered(const struct use *use)
{
    for (size_t i = use->from; i < use->to; i++) {
        size_t end = use->tokens->rows[i].depth == use->depth ? equality_end(use, i) : 0;
        if (end > 0 && is_required(use, i, end)) {
            return true;
        }
    }
    return false;
}

/* --- INSERT -------------------------------------------------------------------------------- */

/* Where item number `number` of a list begins, items separated by commas at `depth`; 0: none. */
static size_t item_at(const struct use *use, size_t list, size_t depth, size_t number)
{
    const struct token *rows = use->tokens->rows;
    size_t i = list;
    while (number > 0 && rows[i].word[0] != '\0' && rows[i].depth >= depth &&
           !(rows[i].depth == depth && is_among(rows[i].word, CLAUSES))) {
        number -= rows[i].depth == depth && is(use, i, ",") ? 1 : 0;
        i++;
    }
    return number == 0 ? i : 0;
}

/* The item is :user_id and nothing else. */
static bool item_is_user(const struct use *use, size_t at)
{
    if (at == 0 || !is(use, at, use->user)) {
        return false;
    }
    const char *next = use->tokens->rows[cast_end(use, at + 1)].word;
    return next[0] == '\0' || is_among(next, ", ) " CLAUSES);
}

static bool values_fit(const struct use *use, size_t at, size_t number)
{
    const struct token *rows = use->tokens->rows;
    bool some = false;
    for (size_t i = at; rows[i].word[0] != '\0' && rows[i].depth >= use->depth; i++) {
        if (rows[i].depth == use->depth && is_among(rows[i].word, "on returning")) {
            break;
        }
        bool row = rows[i].depth == use->depth && rows[i].word[0] == '(';
        if (row && !item_is_user(use, item_at(use, i + 1, use->depth + 1, number))) {
            return false;
        }
        some = some || row;
    }
    return some;
}

static bool selects_fit(const struct use *use, size_t at, size_t number)
{
    const struct token *rows = use->tokens->rows;
    for (size_t i = at; rows[i].word[0] != '\0' && rows[i].depth >= use->depth; i++) {
        if (rows[i].depth == use->depth && is(use, i, "select") &&
            !item_is_user(use, item_at(use, i + 1, use->depth, number))) {
            return false;
        }
    }
    return true;
}

static bool insert_fits(const struct use *use)
{
    const struct token *rows = use->tokens->rows;
    size_t list = use->at + 1;
    while (rows[list].word[0] != '\0' && !is(use, list, "(") &&
           !is_among(rows[list].word, CLAUSES)) {
        list++;
    }
    if (!is(use, list, "(")) {
        return false;
    }
    size_t number = 0;
    size_t i = list + 1;
    while (rows[i].depth > use->depth && !is(use, i, "user_id")) {
        number += is(use, i, ",") ? 1 : 0;
        i++;
    }
    bool stored = rows[i].depth > use->depth;
    while (rows[i].word[0] != '\0' &&
           !(rows[i].depth == use->depth && is_among(rows[i].word, "values select"))) {
        i++;
    }
    return stored && (is(use, i, "values") ? values_fit(use, i + 1, number)
                                           : is(use, i, "select") && selects_fit(use, i, number));
}

/* ------------------------------------------------------------------------------------------- */

static const char *use_fault(const struct use *use)
{
    bool into = is(use, use->at - 1, "into");
    if (use->user == NULL) {
        return host_format("uses %s and has no :user_id", use->table);
    }
    if (into) {
        return insert_fits(use)
                   ? NULL
                   : host_format("stores rows of %s that are not :user_id's", use->table);
    }
    return is_filtered(use) ? NULL
                            : host_format("uses %s %s without %s.user_id = :user_id",
                                          use->table,
                                          strcmp(use->alias, use->table) == 0 ? "" : use->alias,
                                          use->alias);
}

static bool is_table(const char *word, char *const *tables, size_t table_count)
{
    for (size_t i = 0; i < table_count; i++) {
        if (strcmp(tables[i], word) == 0) {
            return true;
        }
    }
    return false;
}

const char *
sqlgen_scope_fault(const char *text, size_t user, char *const *tables, size_t table_count)
{
    assert(text != NULL);
    assert(table_count == 0 || tables != NULL);
    struct tokens tokens = split(text);
    for (size_t i = 0; i + 1 < tokens.count; i++) {
        if (!is_table(tokens.rows[i].word, tables, table_count) || !is_use(&tokens, i)) {
            continue;
        }
        struct use use = {.tokens = &tokens,
                          .user = user == 0 ? NULL : host_format("$%zu", user),
                          .table = tokens.rows[i].word,
                          .alias = alias_of(&tokens, i),
                          .at = i,
                          .depth = tokens.rows[i].depth};
        use_bound(&use);
        const char *fault = use_fault(&use);
        if (fault != NULL) {
            return fault;
        }
    }
    return NULL;
}
