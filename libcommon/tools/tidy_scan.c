/* From a file's text to its code, lines and allowances. */
#include "libcommon/tools/tidy.h"

#include <assert.h>
#include <string.h>

#define ALLOW              "tidy: allow "
#define REASON_LETTERS_MIN 8

bool tidy_word_char(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

bool tidy_starts(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

bool tidy_is(struct str word, const char *text)
{
    return strlen(text) == word.len && memcmp(text, word.ptr, word.len) == 0;
}

bool tidy_word_next(const char *code, size_t *at, struct str *out)
{
    size_t i = *at;
    while (code[i] != '\0' && !tidy_word_char(code[i])) {
        i++;
    }
    size_t first = i;
    while (tidy_word_char(code[i])) {
        i++;
    }
    *out = (struct str){code + first, i - first};
    *at = i;
    return out->len > 0;
}

/* --- lines --------------------------------------------------------------------------------- */

static void lines_find(struct tidy_file *file)
{
    const char *text = file->text.ptr;
    file->starts = host_grow(NULL, 0, sizeof(*file->starts));
    size_t count = 1;
    for (size_t i = 0; i < file->text.len; i++) {
        if (text[i] == '\n') {
            file->starts = host_grow(file->starts, count, sizeof(*file->starts));
            file->starts[count++] = i + 1;
        }
    }
    if (file->starts[count - 1] < file->text.len) {
        host_die("%s: its last line has no end", file->path);
    }
    file->line_count = count - 1;
}

struct str tidy_line(const struct tidy_file *file, size_t line)
{
    assert(line >= 1);
    assert(line <= file->line_count);
    size_t start = file->starts[line - 1];
    return (struct str){file->text.ptr + start, file->starts[line] - start - 1};
}

size_t tidy_line_of(const struct tidy_file *file, size_t at)
{
    size_t low = 0;
    size_t high = file->line_count;
    assert(at <= file->text.len);
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (file->starts[middle] <= at) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low + 1;
}

/* --- comments ------------------------------------------------------------------------------ */

static bool line_is_blank_before(const struct tidy_file *file, size_t at)
{
    assert(at <= file->text.len);
    while (at > 0 && file->text.ptr[at - 1] != '\n') {
        at--;
        if (strchr(" \t", file->text.ptr[at]) == NULL) {
            return false;
        }
    }
    return true;
}

static size_t letters(const char *from, const char *to)
{
    size_t count = 0;
    for (const char *c = from; c < to; c++) {
        count += tidy_word_char(*c) ? 1 : 0;
    }
    return count;
}

static void allowance_read(struct tidy_file *file, const char *words, size_t at, size_t end)
{
    assert(words != NULL);
    struct tidy_allowance allowance = {.written = tidy_line_of(file, at)};
    size_t len = strcspn(words, " :\n*");
    const char *rest = words + len;
    assert(at < end);
    allowance.rule = host_copy(words, len);
    bool whole = tidy_starts(rest, " here:");
    if (!whole && *rest != ':') {
        host_die(
            "%s:%zu: an allowance is \"" ALLOW "RULE: reason\"", file->path, allowance.written);
    }
    rest += whole ? strlen(" here:") : 1;
    const char *text_end = file->text.ptr + end;
    if (letters(rest, text_end) < REASON_LETTERS_MIN) {
        host_die("%s:%zu: an allowance needs its reason", file->path, allowance.written);
    }
    if (!whole) {
        size_t last = tidy_line_of(file, end - 1);
        allowance.line = line_is_blank_before(file, at) ? last + 1 : last;
    }
    file->allowances =
        host_grow(file->allowances, file->allowance_count, sizeof(*file->allowances));
    file->allowances[file->allowance_count++] = allowance;
}

static void comment_read(struct tidy_file *file, size_t at, size_t end)
{
    assert(at < end);
    const char *text = file->text.ptr;
    const char *found = memmem(text + at, end - at, ALLOW, strlen(ALLOW));
    if (found != NULL && file->own) {
        allowance_read(file, found + strlen(ALLOW), at, end);
    }
}

/* --- code ---------------------------------------------------------------------------------- */

static size_t comment_end(const struct tidy_file *file, size_t at)
{
    assert(file->text.ptr[at] == '/');
    const char *text = file->text.ptr;
    const char *end = text[at + 1] == '*' ? strstr(text + at + 2, "*/") : strchr(text + at, '\n');
    if (end == NULL) {
        host_die("%s:%zu: a comment is not ended", file->path, tidy_line_of(file, at));
    }
    return (size_t)(end - text) + (text[at + 1] == '*' ? 2 : 0);
}

static size_t literal_end(const struct tidy_file *file, size_t at)
{
    const char *text = file->text.ptr;
    size_t i = at + 1;
    while (text[i] != text[at] && text[i] != '\0' && text[i] != '\n') {
        i += text[i] == '\\' && text[i + 1] != '\0' ? 2 : 1;
    }
    if (text[i] != text[at]) {
        host_die("%s:%zu: a literal is not ended", file->path, tidy_line_of(file, at));
    }
    return i + 1;
}

static void blank(char *code, size_t from, size_t to)
{
    assert(from <= to);
    for (size_t i = from; i < to; i++) {
        code[i] = code[i] == '\n' ? '\n' : ' ';
    }
}

/* The names in #include stay: only comments and literals elsewhere are blanked. */
static bool is_include(const struct tidy_file *file, size_t at)
{
    return tidy_starts(tidy_line(file, tidy_line_of(file, at)).ptr, "#include");
}

static void macros_make(struct tidy_file *file)
{
    const char *text = file->text.ptr;
    file->macros = host_copy(text, file->text.len);
    size_t i = 0;
    while (i < file->text.len) {
        bool comment = text[i] == '/' && (text[i + 1] == '*' || text[i + 1] == '/');
        bool literal =
            text[i] == '"' || (text[i] == '\'' && (i == 0 || !tidy_word_char(text[i - 1])));
        if (comment) {
            size_t end = comment_end(file, i);
            comment_read(file, i, end);
            blank(file->macros, i, end);
            i = end;
        } else if (literal && !is_include(file, i)) {
            size_t end = literal_end(file, i);
            blank(file->macros, i + 1, end - 1);
            i = end;
        } else {
            i++;
        }
    }
}

static void code_make(struct tidy_file *file)
{
    file->code = host_copy(file->macros, file->text.len);
    bool inside = false;
    for (size_t line = 1; line <= file->line_count; line++) {
        struct str text = tidy_line(file, line);
        inside = inside || (text.len > 0 && text.ptr[0] == '#');
        if (inside) {
            blank(file->code, file->starts[line - 1], file->starts[line]);
        }
        inside = inside && text.len > 0 && text.ptr[text.len - 1] == '\\';
    }
}

/* `= {` and `){`: clang-format lines up the rows inside as it finds them. */
static bool starts_initialiser(const char *code, size_t at)
{
    size_t before = at;
    while (before > 0 && strchr(" \n", code[before - 1]) != NULL) {
        before--;
    }
    return before > 0 && (code[before - 1] == '=' || (before == at && code[before - 1] == ')'));
}

static void tables_find(struct tidy_file *file)
{
    file->tables = host_alloc(file->line_count, sizeof(*file->tables));
    size_t depth = 0;
    size_t line = 0;
    for (size_t i = 0; i < file->text.len; i++) {
        char c = file->code[i];
        if (c == '{') {
            depth += depth > 0 || starts_initialiser(file->code, i) ? 1 : 0;
        } else if (c == '}') {
            depth -= depth > 0 ? 1 : 0;
        } else if (c == '\n') {
            line++;
        }
        file->tables[line < file->line_count ? line : 0] |= depth > 0 || c == '}';
    }
}

void tidy_scan(struct tidy_file *file)
{
    assert(file->text.ptr != NULL);
    assert(file->code == NULL);
    lines_find(file);
    macros_make(file);
    code_make(file);
    tables_find(file);
}
