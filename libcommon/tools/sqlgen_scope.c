#include "libcommon/tools/sqlgen_scope.h"

#include "libcommon/tools/host.h"
#include "libcommon/tools/sqlgen_carry.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* One use of a table and the part of the statement where a condition on it can stand: one SELECT,
 * UPDATE, DELETE or INSERT. */
struct use {
    const struct sqlgen_tokens *tokens;
    const char *user; /* "$2"; NULL: the statement has no :user_id */
    const struct sqlgen_carry *carry;
    const char *table;
    const char *alias;
    size_t at;
    size_t from;
    size_t to;
    size_t depth;
};

static bool is(const struct use *use, size_t at, const char *word)
{
    return sqlgen_is_word(use->tokens, at, word);
}

static bool is_here(const struct use *use, size_t at, const char *words)
{
    assert(at < use->tokens->count);
    const struct sqlgen_token *row = &use->tokens->rows[at];
    return row->depth == use->depth && sqlgen_is_among(row->word, words);
}

/* --- where a table is used ----------------------------------------------------------------- */

static bool is_use(const struct sqlgen_tokens *tokens, size_t at)
{
    const struct sqlgen_token *rows = tokens->rows;
    size_t before = at;
    assert(at + 1 < tokens->count);
    if (before > 1 && rows[before - 1].word[0] == '.' &&
        strcmp(rows[before - 2].word, "public") == 0) {
        before -= 2;
    }
    if (rows[at + 1].word[0] == '.') {
        return false;
    }
    while (before > 0 && rows[before - 1].word[0] == '(') { /* FROM (account CROSS JOIN x) */
        before--;
    }
    return sqlgen_is_source(tokens, before);
}

static const char *alias_of(const struct sqlgen_tokens *tokens, size_t at)
{
    assert(at + 1 < tokens->count);
    const char *word = tokens->rows[at + 1].word;
    if (strcmp(word, "as") == 0) {
        return tokens->rows[at + 2].word;
    }
    bool none =
        !sqlgen_is_name(word) || sqlgen_is_among(word, SQLGEN_CLAUSES " overriding default do");
    return none ? tokens->rows[at].word : word;
}

/* --- conditions ---------------------------------------------------------------------------- */

static bool use_has(const struct use *use, const char *words)
{
    assert(use->from <= use->to);
    assert(words != NULL);
    for (size_t i = use->from; i < use->to; i++) {
        if (is_here(use, i, words)) {
            return true;
        }
    }
    return false;
}

/* Without the alias the column must be that of this table. */
static bool is_alone(const struct use *use)
{
    assert(use->at > 0);
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

/* Behind :user_id, or the user_id of a row of the callers; 0 when something else is at `at`. */
static size_t caller_end(const struct use *use, size_t at)
{
    size_t end = is(use, at, use->user) ? at + 1 : sqlgen_carry_end(use->carry, at);
    return end == 0 ? 0 : sqlgen_cast_end(use->tokens, end);
}

/* Behind "column = :user_id", either way round; 0 when something else is there. */
static size_t equality_end(const struct use *use, size_t at)
{
    size_t left = column_end(use, at);
    bool turned = left == 0;
    left = turned ? caller_end(use, at) : sqlgen_cast_end(use->tokens, left);
    if (left == 0 || !is(use, left, "=")) {
        return 0;
    }
    size_t right = turned ? column_end(use, left + 1) : caller_end(use, left + 1);
    return turned && right > 0 ? sqlgen_cast_end(use->tokens, right) : right;
}

/* Nothing follows that makes another expression of it: no operator, no IS, no THEN. */
static bool ends_there(const struct use *use, size_t end)
{
    assert(end < use->tokens->count);
    const struct sqlgen_token *row = &use->tokens->rows[end];
    return end >= use->to || row->depth < use->depth ||
           sqlgen_is_among(row->word, "and ; , " SQLGEN_CLAUSES);
}

/* The AND at `at` is that of BETWEEN. */
static bool is_between(const struct use *use, size_t at)
{
    for (size_t i = at; i > use->from && !is_here(use, i - 1, "and where on"); i--) {
        if (is_here(use, i - 1, "between")) {
            return true;
        }
    }
    return false;
}

/* Where the chain of AND begins to which the condition at `at` belongs; 0: it belongs to none. */
static size_t chain_start(const struct use *use, size_t at)
{
    assert(at > 0);
    size_t start = at;
    size_t cases = 0; /* that end before `at` */
    if (!sqlgen_is_among(use->tokens->rows[at - 1].word, "where on and") ||
        (is(use, at - 1, "and") && is_between(use, at - 1))) {
        return 0;
    }
    while (start > use->from && !is_here(use, start - 1, "where on")) {
        start--;
        cases += is_here(use, start, "end") ? 1 : 0;
        if (is_here(use, start, "or " SQLGEN_CLAUSES) ||
            (is_here(use, start, "case") && cases == 0)) {
            return 0;
        }
        cases -= is_here(use, start, "case") ? 1 : 0;
    }
    return start == use->from ? 0 : start;
}

/* The condition belongs to a chain of AND from its WHERE or ON to the next clause. */
static bool is_required(const struct use *use, size_t at, size_t end)
{
    assert(at < end);
    size_t start = at > use->from && ends_there(use, end) ? chain_start(use, at) : 0;
    if (start == 0) {
        return false;
    }
    for (size_t i = end; i < use->to && !is_here(use, i, SQLGEN_CLAUSES); i++) {
        if (is_here(use, i, "or")) {
            return false;
        }
    }
    /* ON of an outer join does not choose among the rows of the other side. */
    bool own = start > use->at && strcmp(sqlgen_clause_before(use->tokens, start - 1), "join") == 0;
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
    const struct sqlgen_token *rows = use->tokens->rows;
    size_t i = list;
    assert(list < use->tokens->count);
    while (number > 0 && rows[i].word[0] != '\0' && rows[i].depth >= depth &&
           !(rows[i].depth == depth && sqlgen_is_among(rows[i].word, SQLGEN_CLAUSES))) {
        number -= rows[i].depth == depth && is(use, i, ",") ? 1 : 0;
        i++;
    }
    return number == 0 ? i : 0;
}

/* The item is a caller's user_id and nothing else. */
static bool item_is_user(const struct use *use, size_t at)
{
    size_t end = at == 0 ? 0 : caller_end(use, at);
    if (end == 0) {
        return false;
    }
    const char *next = use->tokens->rows[end].word;
    return next[0] == '\0' || sqlgen_is_among(next, ", ) " SQLGEN_CLAUSES);
}

static bool values_fit(const struct use *use, size_t at, size_t number)
{
    const struct sqlgen_token *rows = use->tokens->rows;
    bool some = false;
    for (size_t i = at; rows[i].word[0] != '\0' && rows[i].depth >= use->depth; i++) {
        if (is_here(use, i, "on returning")) {
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
    const struct sqlgen_token *rows = use->tokens->rows;
    for (size_t i = at; rows[i].word[0] != '\0' && rows[i].depth >= use->depth; i++) {
        if (is_here(use, i, "select") &&
            !item_is_user(use, item_at(use, i + 1, use->depth, number))) {
            return false;
        }
    }
    return true;
}

static bool insert_fits(const struct use *use)
{
    const struct sqlgen_token *rows = use->tokens->rows;
    size_t list = use->at + 1;
    while (rows[list].word[0] != '\0' && !is(use, list, "(") &&
           !sqlgen_is_among(rows[list].word, SQLGEN_CLAUSES)) {
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
    while (rows[i].word[0] != '\0' && !is_here(use, i, "values select")) {
        i++;
    }
    return stored && (is(use, i, "values") ? values_fit(use, i + 1, number)
                                           : is(use, i, "select") && selects_fit(use, i, number));
}

/* A list of columns at `open` names user_id by itself. */
static bool names_user(const struct use *use, size_t open)
{
    assert(is(use, open, "("));
    size_t end = sqlgen_close(use->tokens, open);
    for (size_t at = open + 1; at < end;) {
        size_t item_end = sqlgen_item_end(use->tokens, at, use->depth + 1);
        if (item_end == at + 1 && is(use, at, "user_id")) {
            return true;
        }
        at = item_end + 1;
    }
    return false;
}

/* ON CONFLICT DO UPDATE changes a row that was there before; it is the caller's only if user_id is
 * part of what conflicts. */
static bool conflict_fits(const struct use *use)
{
    size_t at = use->at;
    while (at < use->to && !(is_here(use, at, "on") && is(use, at + 1, "conflict"))) {
        at++;
    }
    if (at == use->to) {
        return true;
    }
    bool named = is(use, at + 2, "(") && names_user(use, at + 2);
    while (at < use->to && !is_here(use, at, "do")) {
        at++;
    }
    return named || is(use, at + 1, "nothing");
}

/* --- SET ----------------------------------------------------------------------------------- */

/* A row that changes its owner was the caller's and is someone else's then. */
static bool gives_away(const struct use *use)
{
    size_t at = use->at;
    while (at < use->to && !is_here(use, at, "set")) {
        at++;
    }
    while (at < use->to && (is_here(use, at, "set ,"))) {
        bool list = is(use, at + 1, "(");
        if ((list && names_user(use, at + 1)) || is(use, at + 1, "user_id")) {
            return true;
        }
        at = sqlgen_item_end(use->tokens, at + 1, use->depth);
    }
    return false;
}

/* ------------------------------------------------------------------------------------------- */

static const char *use_fault(const struct use *use)
{
    assert(use->at > 0);
    bool into = is(use, use->at - 1, "into");
    if (use->user == NULL) {
        return host_format("uses %s and has no :user_id", use->table);
    }
    if (gives_away(use)) {
        return host_format("sets the user_id of %s", use->table);
    }
    if (into && !insert_fits(use)) {
        return host_format("stores rows of %s that are not :user_id's", use->table);
    }
    if (into && !conflict_fits(use)) {
        return host_format("may change a row of %s that is not :user_id's", use->table);
    }
    return into || is_filtered(use)
               ? NULL
               : host_format("uses %s %s without %s.user_id = :user_id",
                             use->table,
                             strcmp(use->alias, use->table) == 0 ? "" : use->alias,
                             use->alias);
}

static bool is_table(const char *word, char *const *tables, size_t table_count)
{
    assert(word != NULL);
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
    struct sqlgen_tokens tokens = sqlgen_tokens_split(text);
    const char *name = user == 0 ? NULL : host_format("$%zu", user);
    const struct sqlgen_carry *carry = user == 0 ? NULL : sqlgen_carry_find(&tokens, name);
    for (size_t i = 0; i + 1 < tokens.count; i++) {
        if (!is_table(tokens.rows[i].word, tables, table_count) || !is_use(&tokens, i)) {
            continue;
        }
        struct use use = {.tokens = &tokens,
                          .user = name,
                          .carry = carry,
                          .table = tokens.rows[i].word,
                          .alias = alias_of(&tokens, i),
                          .at = i,
                          .depth = tokens.rows[i].depth};
        sqlgen_part(&tokens, i, &use.from, &use.to);
        const char *fault = use_fault(&use);
        if (fault != NULL) {
            return fault;
        }
    }
    return NULL;
}
