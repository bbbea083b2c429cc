#include "libcommon/tools/sqlgen_blocks.h"

#include "libcommon/base/limits.h"
#include "libcommon/tools/host.h"
#include "libcommon/tools/sql_scan.h"

#include <assert.h>
#include <string.h>

#define EACH_MAX     4
#define CHOICES_MAX  16
#define VARIANTS_MAX 256

struct choice {
    const char *name;
    const char *text;
};

struct each {
    const char *word; /* "ORDER" */
    struct choice choices[CHOICES_MAX];
    size_t count;
};

struct block {
    const char *path;
    size_t line;
    const char *name;
    const char *in; /* "none" included; NULL: not given yet */
    const char *out;
    bool set;
    const char *unscoped;
    struct each each[EACH_MAX];
    size_t each_count;
    struct host_out text; /* open while the block is read */
};

/* Reading one file; `open` is false before its first block. */
struct reader {
    const char *path;
    struct sqlgen_statements *out;
    struct block block;
    bool open;
    size_t blocks;
};

/* Not str.c's: the tools link nothing of the library, so that it can be generated before it is
 * built. */
static struct str trim(struct str text)
{
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[0]) != NULL) {
        text = (struct str){text.ptr + 1, text.len - 1};
    }
    while (text.len > 0 && strchr(" \t\r\n", text.ptr[text.len - 1]) != NULL) {
        text.len--;
    }
    return text;
}

static char *copy(struct str text)
{
    return host_copy(text.ptr, text.len);
}

static bool is_name(const char *text, const char *more)
{
    for (const char *c = text; *c != '\0'; c++) {
        bool lower = (*c >= 'a' && *c <= 'z') || *c == '_';
        bool digit = *c >= '0' && *c <= '9';
        if (!lower && !(digit && c != text) && strchr(more, *c) == NULL) {
            return false;
        }
    }
    return *text != '\0';
}

/* --- directives ---------------------------------------------------------------------------- */

/* One "name: text" of an `each` line. */
static void choice_read(struct reader *reader, struct each *each, struct str part, size_t line)
{
    const char *colon = memchr(part.ptr, ':', part.len);
    if (colon == NULL || each->count == CHOICES_MAX) {
        host_die(
            "%s:%zu: each needs 1 to %d choices \"name: text\"", reader->path, line, CHOICES_MAX);
    }
    size_t len = (size_t)(colon - part.ptr);
    struct choice *choice = &each->choices[each->count++];
    choice->name = copy(trim((struct str){part.ptr, len}));
    choice->text = copy(trim((struct str){colon + 1, part.len - len - 1}));
    if (!is_name(choice->name, "0123456789")) {
        host_die("%s:%zu: \"%s\" is no name for a choice", reader->path, line, choice->name);
    }
}

/* Bytes up to the next single '|'; `||` is passed over. */
static size_t choice_len(struct str text)
{
    size_t i = 0;
    while (i < text.len) {
        if (text.ptr[i] != '|') {
            i++;
        } else if (i + 1 < text.len && text.ptr[i + 1] == '|') {
            i += 2;
        } else {
            return i;
        }
    }
    return text.len;
}

static void each_read(struct reader *reader, struct str value, size_t line)
{
    struct block *block = &reader->block;
    const char *equals = memchr(value.ptr, '=', value.len);
    if (equals == NULL || block->each_count == EACH_MAX) {
        host_die("%s:%zu: each must be \"WORD = name: text | ...\", at most %d times",
                 reader->path,
                 line,
                 EACH_MAX);
    }
    struct each *each = &block->each[block->each_count++];
    size_t len = (size_t)(equals - value.ptr);
    each->word = copy(trim((struct str){value.ptr, len}));
    if (strspn(each->word, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_") != strlen(each->word) ||
        each->word[0] == '\0') {
        host_die("%s:%zu: each needs a word in capitals before \"=\"", reader->path, line);
    }
    struct str rest = {equals + 1, value.len - len - 1};
    bool more = true;
    while (more) {
        size_t part = choice_len(rest);
        choice_read(reader, each, (struct str){rest.ptr, part}, line);
        more = part < rest.len;
        rest = more ? (struct str){rest.ptr + part + 1, rest.len - part - 1} : rest;
    }
}

static void message_read(struct reader *reader, const char **slot, struct str value, size_t line)
{
    if (*slot != NULL) {
        host_die("%s:%zu: given twice in block %s", reader->path, line, reader->block.name);
    }
    char *name = copy(value);
    bool sane =
        strcmp(name, "none") == 0 || (strchr(name, '.') != NULL && strpbrk(name, " \t-/") == NULL);
    if (!sane) {
        host_die("%s:%zu: \"%s\" is no full message name", reader->path, line, name);
    }
    *slot = name;
}

static void block_close(struct reader *reader);

static void block_open(struct reader *reader, struct str value, size_t line)
{
    block_close(reader);
    reader->block = (struct block){.path = reader->path, .line = line, .name = copy(value)};
    if (!is_name(reader->block.name, "")) {
        host_die(
            "%s:%zu: \"%s\" is no name for a statement", reader->path, line, reader->block.name);
    }
    host_out_open(&reader->block.text);
    reader->open = true;
    reader->blocks++;
}

/* "-- word: value"; false when the comment is not of that form. */
static bool directive_split(struct str comment, const char *word, struct str *out_value)
{
    if (comment.ptr[0] != '-') {
        return false;
    }
    struct str body = trim((struct str){comment.ptr + 2, comment.len - 2});
    size_t len = strlen(word);
    if (body.len <= len || memcmp(body.ptr, word, len) != 0 || body.ptr[len] != ':') {
        return false;
    }
    *out_value = trim((struct str){body.ptr + len + 1, body.len - len - 1});
    return true;
}

static void comment_read(struct reader *reader, const struct sql_piece *piece)
{
    struct block *block = &reader->block;
    struct str value = STR_EMPTY;
    if (directive_split(piece->text, "name", &value)) {
        block_open(reader, value, piece->line);
        return;
    }
    bool in = directive_split(piece->text, "in", &value);
    bool out = !in && directive_split(piece->text, "out", &value);
    bool each = !in && !out && directive_split(piece->text, "each", &value);
    bool set = !in && !out && !each && directive_split(piece->text, "set", &value);
    bool unscoped =
        !in && !out && !each && !set && directive_split(piece->text, "unscoped", &value);
    if ((in || out || each || set || unscoped) && !reader->open) {
        host_die("%s:%zu: a statement starts with \"-- name:\"", reader->path, piece->line);
    }
    if (in) {
        message_read(reader, &block->in, value, piece->line);
    } else if (out) {
        message_read(reader, &block->out, value, piece->line);
    } else if (each) {
        each_read(reader, value, piece->line);
    } else if (set) {
        if (strcmp(copy(value), "place") != 0) {
            host_die("%s:%zu: the only set is \"place\"", reader->path, piece->line);
        }
        block->set = true;
    } else if (unscoped) {
        block->unscoped = copy(value);
    }
}

/* --- statements ---------------------------------------------------------------------------- */

static const struct choice *
choice_find(const struct block *block, const size_t *picks, struct str word)
{
    for (size_t i = 0; i < block->each_count; i++) {
        const struct each *each = &block->each[i];
        if (strlen(each->word) == word.len && memcmp(each->word, word.ptr, word.len) == 0) {
            return &each->choices[picks[i]];
        }
    }
    return NULL;
}

/* Puts code with {WORD} replaced by the picked text. Braces mean nothing else outside quotes. */
static void code_expand(const struct block *block, const size_t *picks, struct str code, FILE *file)
{
    if (memchr(code.ptr, ';', code.len) != NULL) {
        host_die("%s:%zu: block %s holds more than one statement",
                 block->path,
                 block->line,
                 block->name);
    }
    size_t i = 0;
    while (i < code.len) {
        if (code.ptr[i] != '{') {
            (void)fputc(code.ptr[i], file);
            i++;
            continue;
        }
        const char *end = memchr(code.ptr + i, '}', code.len - i);
        size_t len = end == NULL ? 0 : (size_t)(end - code.ptr) - i - 1;
        const struct choice *choice =
            choice_find(block, picks, (struct str){code.ptr + i + 1, len});
        if (choice == NULL) {
            host_die("%s:%zu: block %s has no each for {%.*s}",
                     block->path,
                     block->line,
                     block->name,
                     (int)len,
                     code.ptr + i + 1);
        }
        (void)fputs(choice->text, file);
        i += len + 2;
    }
}

/* A pass over the text's pieces; dies on what cannot be scanned. */
static bool piece_next(const struct block *block, struct sql_scan *scan, struct sql_piece *out)
{
    if (!sql_scan_next(scan, out)) {
        return false;
    }
    if (out->kind == SQL_ERROR) {
        host_die("%s:%zu: block %s: %s", block->path, block->line, block->name, scan->error);
    }
    return true;
}

static struct str expand(const struct block *block, const size_t *picks)
{
    struct host_out out;
    host_out_open(&out);
    struct sql_scan scan;
    sql_scan_init(&scan, (struct str){block->text.text, block->text.len});
    struct sql_piece piece;
    while (piece_next(block, &scan, &piece)) {
        if (piece.kind == SQL_CODE) {
            code_expand(block, picks, piece.text, out.file);
        } else {
            (void)fwrite(piece.text.ptr, 1, piece.text.len, out.file);
        }
    }
    host_out_close(&out);
    return (struct str){out.text, out.len};
}

/* Number of the parameter from 1, a new one where the name is new. */
static size_t
parameter_number(const struct block *block, struct sqlgen_statement *row, struct str name)
{
    for (size_t i = 0; i < row->parameter_count; i++) {
        if (strlen(row->parameters[i]) == name.len &&
            memcmp(row->parameters[i], name.ptr, name.len) == 0) {
            return i + 1;
        }
    }
    if (row->parameter_count == PG_PARAMETERS_MAX) {
        host_die("%s:%zu: block %s has more than %d parameters",
                 block->path,
                 block->line,
                 block->name,
                 PG_PARAMETERS_MAX);
    }
    row->parameters[row->parameter_count++] = copy(name);
    return row->parameter_count;
}

static void
number_parameters(const struct block *block, struct str text, struct sqlgen_statement *row)
{
    struct host_out out;
    host_out_open(&out);
    row->parameters = host_alloc(PG_PARAMETERS_MAX, sizeof(*row->parameters));
    struct sql_scan scan;
    sql_scan_init(&scan, text);
    struct sql_piece piece;
    while (piece_next(block, &scan, &piece)) {
        if (piece.kind == SQL_PARAMETER) {
            struct str name = sql_parameter_name(&piece);
            (void)fprintf(out.file, "$%zu", parameter_number(block, row, name));
        } else {
            (void)fwrite(piece.text.ptr, 1, piece.text.len, out.file);
        }
    }
    host_out_close(&out);
    row->text = out.text;
}

/* Statement and family names become constants of one enum. */
static bool names_clash(const struct sqlgen_statement *a, const struct sqlgen_statement *b)
{
    const char *a_names[] = {a->name, a->family};
    const char *b_names[] = {b->name, b->family};
    for (size_t i = 0; i < 4; i++) {
        const char *left = a_names[i / 2];
        const char *right = b_names[i % 2];
        if (left != NULL && right != NULL && strcmp(left, right) == 0) {
            return true;
        }
    }
    return false;
}

static void statement_add(struct reader *reader, const size_t *picks, bool first)
{
    const struct block *block = &reader->block;
    struct sqlgen_statement row = {
        .name = block->name, .path = block->path, .line = block->line, .unscoped = block->unscoped};
    for (size_t i = 0; i < block->each_count; i++) {
        row.name = host_format("%s_%s", row.name, block->each[i].choices[picks[i]].name);
    }
    row.in = strcmp(block->in, "none") == 0 ? NULL : block->in;
    row.out = strcmp(block->out, "none") == 0 ? NULL : block->out;
    row.set = block->set;
    row.family = first && block->each_count > 0 ? block->name : NULL;
    if (strlen(row.name) > SQLGEN_NAME_BYTES_MAX) {
        host_die("%s:%zu: the name %s is too long", block->path, block->line, row.name);
    }
    struct sqlgen_statements *out = reader->out;
    for (size_t i = 0; i < out->count; i++) {
        if (names_clash(&out->rows[i], &row)) {
            host_die("%s:%zu: the name %s is taken", block->path, block->line, row.name);
        }
    }
    number_parameters(block, expand(block, picks), &row);
    out->rows = host_grow(out->rows, out->count, sizeof(*out->rows));
    out->rows[out->count++] = row;
}

/* Counts like an odometer: the last `each` turns fastest. False after the last combination. */
static bool picks_advance(const struct block *block, size_t *picks)
{
    for (size_t i = block->each_count; i > 0; i--) {
        if (++picks[i - 1] < block->each[i - 1].count) {
            return true;
        }
        picks[i - 1] = 0;
    }
    return false;
}

static void each_check(const struct block *block)
{
    size_t variants = 1;
    for (size_t i = 0; i < block->each_count; i++) {
        char *wanted = host_format("{%s}", block->each[i].word);
        if (strstr(block->text.text, wanted) == NULL) {
            host_die(
                "%s:%zu: block %s does not use %s", block->path, block->line, block->name, wanted);
        }
        variants *= block->each[i].count;
    }
    if (variants > VARIANTS_MAX) {
        host_die(
            "%s:%zu: block %s has %zu variants", block->path, block->line, block->name, variants);
    }
}

/* Takes blanks, and one semicolon, off the end. */
static void text_end_trim(struct host_out *text)
{
    struct str rest = trim((struct str){text->text, text->len});
    if (rest.len > 0 && rest.ptr[rest.len - 1] == ';') {
        rest = trim((struct str){rest.ptr, rest.len - 1});
    }
    text->text = copy(rest);
    text->len = rest.len;
}

/* The block is read: every combination of its choices becomes a statement. */
static void block_close(struct reader *reader)
{
    struct block *block = &reader->block;
    if (!reader->open) {
        return;
    }
    reader->open = false;
    host_out_close(&block->text);
    text_end_trim(&block->text);
    if (block->in == NULL || block->out == NULL) {
        host_die("%s:%zu: block %s lacks \"-- %s:\" (a message name or none)",
                 block->path,
                 block->line,
                 block->name,
                 block->in == NULL ? "in" : "out");
    }
    if (block->text.len == 0) {
        host_die("%s:%zu: block %s has no statement", block->path, block->line, block->name);
    }
    each_check(block);
    size_t picks[EACH_MAX] = {0};
    statement_add(reader, picks, true);
    while (picks_advance(block, picks)) {
        statement_add(reader, picks, false);
    }
}

/* --- files --------------------------------------------------------------------------------- */

static void piece_read(struct reader *reader, const struct sql_piece *piece, const char *error)
{
    if (piece->kind == SQL_ERROR) {
        host_die("%s:%zu: %s", reader->path, piece->line, error);
    }
    if (piece->kind == SQL_POSITIONAL) {
        host_die("%s:%zu: %.*s: parameters are written :name",
                 reader->path,
                 piece->line,
                 STR_FMT(piece->text));
    }
    if (piece->kind == SQL_COMMENT) {
        comment_read(reader, piece);
        if (reader->open && piece->text.ptr[0] == '/') {
            (void)fputc(' ', reader->block.text.file); /* a comment separates words */
        }
        return;
    }
    if (!reader->open) {
        if (trim(piece->text).len > 0) {
            host_die("%s:%zu: text before the first \"-- name:\"", reader->path, piece->line);
        }
        return;
    }
    (void)fwrite(piece->text.ptr, 1, piece->text.len, reader->block.text.file);
}

static void file_read(const char *path, struct sqlgen_statements *out)
{
    struct host_bytes bytes = host_read(path);
    struct reader reader = {.path = path, .out = out};
    if (memchr(bytes.data, '\0', bytes.len) != NULL) {
        host_die("%s: holds a NUL byte", path);
    }
    struct sql_scan scan;
    sql_scan_init(&scan, (struct str){bytes.data, bytes.len});
    struct sql_piece piece;
    while (sql_scan_next(&scan, &piece)) {
        piece_read(&reader, &piece, scan.error);
    }
    block_close(&reader);
    if (reader.blocks == 0) {
        host_die("%s:1: no \"-- name:\" block", path);
    }
}

void sqlgen_read(const struct sqlgen_files *files, struct sqlgen_statements *out)
{
    assert(files->count > 0);
    *out = (struct sqlgen_statements){0};
    for (size_t i = 0; i < files->count; i++) {
        file_read(files->paths[i], out);
    }
}
