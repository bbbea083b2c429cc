#include "libcommon/tools/sqlgen_tokens.h"

#include "libcommon/tools/host.h"
#include "libcommon/tools/sql_scan.h"

#include <assert.h>
#include <string.h>

static void token_add(struct sqlgen_tokens *out, const char *word, size_t *depth)
{
    assert(word != NULL);
    assert(depth != NULL);
    *depth -= word[0] == ')' && *depth > 0 ? 1 : 0;
    out->rows = host_grow(out->rows, out->count, sizeof(*out->rows));
    out->rows[out->count++] = (struct sqlgen_token){word, *depth};
    *depth += word[0] == '(' ? 1 : 0;
}

static bool is_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static void code_split(struct str code, struct sqlgen_tokens *out, size_t *depth)
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

struct sqlgen_tokens sqlgen_tokens_split(const char *text)
{
    struct sqlgen_tokens out = {0};
    struct sql_scan scan;
    struct sql_piece piece;
    size_t depth = 0;
    assert(text != NULL);
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

/* --- words --- */

bool sqlgen_is_among(const char *word, const char *words)
{
    assert(words != NULL);
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

bool sqlgen_is_word(const struct sqlgen_tokens *tokens, size_t at, const char *word)
{
    assert(at < tokens->count);
    return strcmp(tokens->rows[at].word, word) == 0;
}

bool sqlgen_is_name(const char *word)
{
    return is_word_char(word[0]);
}

/* --- places --- */

const char *sqlgen_clause_before(const struct sqlgen_tokens *tokens, size_t at)
{
    assert(at < tokens->count);
    size_t depth = tokens->rows[at].depth;
    for (size_t i = at; i > 0 && tokens->rows[i - 1].depth >= depth; i--) {
        const struct sqlgen_token *row = &tokens->rows[i - 1];
        if (row->depth == depth && sqlgen_is_among(row->word, SQLGEN_CLAUSES)) {
            return row->word;
        }
    }
    return "";
}

bool sqlgen_is_source(const struct sqlgen_tokens *tokens, size_t at)
{
    const struct sqlgen_token *rows = tokens->rows;
    assert(at < tokens->count);
    while (at > 0 && sqlgen_is_among(rows[at - 1].word, "only lateral")) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    const char *word = rows[at - 1].word;
    if (strcmp(word, ",") == 0) {
        return sqlgen_is_among(sqlgen_clause_before(tokens, at - 1), "from using join on");
    }
    if (strcmp(word, "update") == 0) {
        return at < 2 || !sqlgen_is_among(rows[at - 2].word, "for do key");
    }
    /* "extract(epoch FROM x)" names no table, but then x is none either. */
    return sqlgen_is_among(word, "from join into using table truncate");
}

void sqlgen_part(const struct sqlgen_tokens *tokens, size_t at, size_t *out_from, size_t *out_to)
{
    assert(at < tokens->count);
    assert(out_from != NULL);
    assert(out_to != NULL);
    const struct sqlgen_token *rows = tokens->rows;
    const char *cuts = "union except intersect";
    size_t depth = rows[at].depth;
    size_t from = at;
    size_t to = at;
    while (from > 0 && rows[from - 1].depth >= depth &&
           !(rows[from - 1].depth == depth && sqlgen_is_among(rows[from - 1].word, cuts))) {
        from--;
    }
    while (rows[to].word[0] != '\0' && rows[to].depth >= depth &&
           !(rows[to].depth == depth && sqlgen_is_among(rows[to].word, cuts))) {
        to++;
    }
    *out_from = from;
    *out_to = to;
    assert(from <= to);
}

bool sqlgen_outside(const struct sqlgen_tokens *tokens, size_t at, size_t *out_open)
{
    assert(at < tokens->count);
    assert(out_open != NULL);
    size_t depth = tokens->rows[at].depth;
    while (at > 0 && tokens->rows[at - 1].depth >= depth) {
        at--;
    }
    if (at == 0) {
        return false;
    }
    *out_open = at - 1;
    return true;
}

size_t sqlgen_close(const struct sqlgen_tokens *tokens, size_t open)
{
    size_t at = open + 1;
    assert(sqlgen_is_word(tokens, open, "("));
    while (tokens->rows[at].word[0] != '\0' && tokens->rows[at].depth > tokens->rows[open].depth) {
        at++;
    }
    return at;
}

size_t sqlgen_cast_end(const struct sqlgen_tokens *tokens, size_t at)
{
    if (!sqlgen_is_word(tokens, at, ":") || !sqlgen_is_word(tokens, at + 1, ":")) {
        return at;
    }
    at += 3;
    return sqlgen_is_word(tokens, at, "[") && sqlgen_is_word(tokens, at + 1, "]") ? at + 2 : at;
}

size_t sqlgen_item_end(const struct sqlgen_tokens *tokens, size_t at, size_t depth)
{
    assert(at < tokens->count);
    const struct sqlgen_token *rows = tokens->rows;
    while (rows[at].word[0] != '\0' && rows[at].depth >= depth &&
           !(rows[at].depth == depth &&
             (rows[at].word[0] == ',' || sqlgen_is_among(rows[at].word, SQLGEN_CLAUSES)))) {
        at++;
    }
    return at;
}
