#pragma once
/*
 * A statement as words, for looking at its form: lower case, one byte of punctuation each, "$3",
 * "''" for a string, quoted names without their quotes. Host tool; memory is never given back.
 */

#include <stdbool.h>
#include <stddef.h>

struct sqlgen_token {
    const char *word;
    size_t depth; /* of parentheses; of a parenthesis itself: outside of it */
};

struct sqlgen_tokens {
    struct sqlgen_token *rows; /* ends with an empty word at depth 0 */
    size_t count;
};

/* The words that begin a part of a statement. */
#define SQLGEN_CLAUSES                                                                            \
    "select from using where on set values group having order limit offset returning window for " \
    "union except intersect join left right full inner cross natural fetch"

/* The text with parameters as `$n` and without comments. */
struct sqlgen_tokens sqlgen_tokens_split(const char *text);
/* `words` is "one two three"; the empty word is never among them. */
bool sqlgen_is_among(const char *word, const char *words);
bool sqlgen_is_word(const struct sqlgen_tokens *tokens, size_t at, const char *word);
bool sqlgen_is_name(const char *word); /* not punctuation, a string or a parameter */
/* The nearest clause word before `at`, in the same parentheses; "": none. */
const char *sqlgen_clause_before(const struct sqlgen_tokens *tokens, size_t at);
/* The place after the name of a table that another one follows, such as FROM or JOIN, is `at`. */
bool sqlgen_is_source(const struct sqlgen_tokens *tokens, size_t at);
/* What stands in the same parentheses as `at`, cut at UNION and its like. */
void sqlgen_part(const struct sqlgen_tokens *tokens, size_t at, size_t *out_from, size_t *out_to);
/* The parenthesis around `at`, false: there is none. */
bool sqlgen_outside(const struct sqlgen_tokens *tokens, size_t at, size_t *out_open);
/* The parenthesis that ends what the one at `open` begins. */
size_t sqlgen_close(const struct sqlgen_tokens *tokens, size_t open);
/* Behind an optional "::type" or "::type[]". */
size_t sqlgen_cast_end(const struct sqlgen_tokens *tokens, size_t at);
/* The end of the list item that begins at `at`: its comma, a clause word, or what is outside. */
size_t sqlgen_item_end(const struct sqlgen_tokens *tokens, size_t at, size_t depth);
