#include "libcommon/tools/sql_scan.h"

#include <assert.h>
#include <string.h>

void sql_scan_init(struct sql_scan *scan, struct str text)
{
    assert(scan != NULL);
    assert(text.ptr != NULL || text.len == 0);
    *scan = (struct sql_scan){.rest = text, .line = 1};
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Bytes from 0x80 on are letters to PostgreSQL. */
static bool is_word_start(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_word(char c)
{
    return is_word_start(c) || is_digit(c);
}

/* The byte at `at`, or NUL behind the end; a NUL in the text itself is an ordinary byte of no
 * meaning. */
static char at(struct str text, size_t index)
{
    if (index < text.len) {
        return text.ptr[index];
    }
    return '\0';
}

/* Length of a quoted text from its opening quote; doubled quotes stay inside. 0: not ended. */
static size_t quoted_len(struct str text, size_t from, bool escapes)
{
    assert(from < text.len);
    char quote = text.ptr[from];
    size_t i = from + 1;
    while (i < text.len) {
        bool pair = text.ptr[i] == quote && at(text, i + 1) == quote;
        if (pair || (escapes && text.ptr[i] == '\\')) {
            i += 2;
        } else if (text.ptr[i] == quote) {
            return i + 1;
        } else {
            i++;
        }
    }
    return 0;
}

/* An escape string goes on after blanks that hold a line end and another quote (SQL's
 * continuation). */
static size_t escape_string_len(struct str text, size_t from)
{
    size_t end = quoted_len(text, from, true);
    while (end != 0) {
        size_t i = end;
        bool line_end = false;
        while (i < text.len && strchr(" \t\r\n\f\v", text.ptr[i]) != NULL && text.ptr[i] != '\0') {
            line_end = line_end || text.ptr[i] == '\n' || text.ptr[i] == '\r';
            i++;
        }
        if (!line_end || at(text, i) != '\'') {
            return end;
        }
        end = quoted_len(text, i, true);
    }
    return 0;
}

/* Length of the opening "$tag$" at the start of the text, 0 when it is none. */
static size_t dollar_tag_len(struct str text)
{
    assert(at(text, 0) == '$');
    size_t i = 1;
    if (is_word_start(at(text, i))) {
        while (is_word(at(text, i))) {
            i++;
        }
    }
    return at(text, i) == '$' ? i + 1 : 0;
}

/* Length up to and with the closing tag. 0: not ended. */
static size_t dollar_quoted_len(struct str text, size_t tag_len)
{
    assert(tag_len >= 2);
    for (size_t i = tag_len; i + tag_len <= text.len; i++) {
        if (memcmp(text.ptr + i, text.ptr, tag_len) == 0) {
            return i + tag_len;
        }
    }
    return 0;
}

static size_t line_comment_len(struct str text)
{
    size_t i = 2;
    assert(text.len >= 2);
    while (i < text.len && text.ptr[i] != '\n') {
        i++;
    }
    return i;
}

/* PostgreSQL's block comments nest. 0: not ended. */
static size_t block_comment_len(struct str text)
{
    assert(text.len >= 2);
    size_t depth = 0;
    size_t i = 0;
    while (i < text.len) {
        char c = text.ptr[i];
        char next = at(text, i + 1);
        if (c == '/' && next == '*') {
            depth++;
            i += 2;
        } else if (c == '*' && next == '/') {
            depth--;
            i += 2;
        } else {
            i++;
        }
        if (depth == 0) {
            return i;
        }
    }
    return 0;
}

static size_t word_len(struct str text, size_t from)
{
    size_t i = from;
    assert(from <= text.len);
    while (is_word(at(text, i))) {
        i++;
    }
    return i - from;
}

/* True when something else than plain code starts here. */
static bool is_special(struct str text, bool after_word)
{
    char c = at(text, 0);
    char next = at(text, 1);
    if (c == '\'' || c == '"' || (c == '-' && next == '-') || (c == '/' && next == '*')) {
        return true;
    }
    if (c == ':') {
        return is_word_start(next);
    }
    if (after_word) {
        return false;
    }
    if ((c == 'e' || c == 'E') && next == '\'') {
        return true;
    }
    return c == '$' && (is_digit(next) || dollar_tag_len(text) > 0);
}

/* Plain code up to the next special place. `::` and `:=` are skipped as pairs, words as a whole. */
static size_t code_len(const struct sql_scan *scan)
{
    struct str text = scan->rest;
    bool after_word = scan->after_word;
    size_t i = 0;
    while (i < text.len) {
        struct str here = {text.ptr + i, text.len - i};
        if (is_special(here, after_word)) {
            break;
        }
        char c = here.ptr[0];
        bool pair = c == ':' && (at(here, 1) == ':' || at(here, 1) == '=');
        size_t word = word_len(here, 0);
        i += pair ? 2 : (word > 0 ? word : 1);
        /* A dollar sign inside a name is a part of it. */
        after_word = word > 0 || (after_word && c == '$');
    }
    return i;
}

/* Length and kind of the special piece at the start of the rest; 0: an error is set. */
static size_t special_len(struct sql_scan *scan, enum sql_piece_kind *out_kind)
{
    assert(scan->rest.len > 0);
    assert(out_kind != NULL);
    struct str text = scan->rest;
    char c = text.ptr[0];
    if (c == '-') {
        *out_kind = SQL_COMMENT;
        return line_comment_len(text);
    }
    if (c == '/') {
        *out_kind = SQL_COMMENT;
        scan->error = "a comment is not ended";
        return block_comment_len(text);
    }
    if (c == ':') {
        *out_kind = SQL_PARAMETER;
        scan->error = "a parameter name is too long";
        size_t len = word_len(text, 1);
        return len <= SQL_PARAMETER_NAME_BYTES_MAX ? len + 1 : 0;
    }
    if (c == '$' && is_digit(at(text, 1))) {
        *out_kind = SQL_POSITIONAL;
        return word_len(text, 1) + 1;
    }
    *out_kind = SQL_QUOTED;
    if (c == '$') {
        scan->error = "a dollar-quoted text is not ended";
        return dollar_quoted_len(text, dollar_tag_len(text));
    }
    scan->error = c == '"' ? "a quoted identifier is not ended" : "a string is not ended";
    return c == '\'' || c == '"' ? quoted_len(text, 0, false) : escape_string_len(text, 1);
}

static size_t count_lines(struct str text)
{
    size_t count = 0;
    for (size_t i = 0; i < text.len; i++) {
        count += text.ptr[i] == '\n' ? 1 : 0;
    }
    return count;
}

bool sql_scan_next(struct sql_scan *scan, struct sql_piece *out)
{
    assert(scan != NULL);
    assert(out != NULL);
    if (scan->rest.len == 0) {
        return false;
    }
    scan->error = NULL;
    enum sql_piece_kind kind = SQL_CODE;
    size_t len = code_len(scan);
    if (len == 0) {
        len = special_len(scan, &kind);
    }
    if (len == 0) {
        kind = SQL_ERROR;
        len = scan->rest.len;
    } else {
        scan->error = NULL;
    }
    assert(len <= scan->rest.len);
    *out = (struct sql_piece){
        kind, {scan->rest.ptr, len},
         scan->line
    };
    char last = out->text.ptr[len - 1];
    scan->after_word = kind == SQL_CODE && (is_word(last) || (last == '$' && scan->after_word));
    scan->line += count_lines(out->text);
    scan->rest = (struct str){scan->rest.ptr + len, scan->rest.len - len};
    return true;
}

struct str sql_parameter_name(const struct sql_piece *piece)
{
    assert(piece->kind == SQL_PARAMETER);
    assert(piece->text.len > 1);
    return (struct str){piece->text.ptr + 1, piece->text.len - 1};
}
