/* What a file declares at file scope. */
#include "libcommon/tools/tidy.h"

#include <assert.h>
#include <string.h>

/* A declaration's text up to its body, its initialiser or its semicolon. */
struct head {
    const struct tidy_file *file;
    size_t from;
    size_t to;
    size_t depth;     /* of parentheses */
    bool body;        /* `{` ended it */
    bool initialised; /* `=` ended it */
    bool pointer;     /* to a function: an object */
    size_t name_at;   /* of the first name before parentheses, 0: none */
    size_t name_len;
};

/* MUST_CHECK, PRINTF(1, 2), __attribute__((...)): never the declared name. */
static bool is_attribute(struct str word)
{
    if (tidy_is(word, "__attribute__") || tidy_is(word, "_Static_assert")) {
        return true;
    }
    for (size_t i = 0; i < word.len; i++) {
        if (word.ptr[i] >= 'a' && word.ptr[i] <= 'z') {
            return false;
        }
    }
    return true;
}

static bool head_has(const struct head *head, const char *wanted)
{
    const char *code = head->file->code;
    size_t at = head->from;
    struct str word;
    assert(head->from <= head->to);
    assert(wanted != NULL);
    while (tidy_word_next(code, &at, &word) && at <= head->to) {
        if (tidy_is(word, wanted)) {
            return true;
        }
    }
    return false;
}

/* An object is constant when its own value is: `const` stands after the last `*`, or there is
 * none. */
static bool head_is_const(const struct head *head)
{
    struct head value = *head;
    for (size_t i = head->from; i < head->to; i++) {
        if (head->file->code[i] == '*') {
            value.from = i + 1;
        }
    }
    return head_has(&value, "const");
}

static struct str head_first_word(const struct head *head)
{
    size_t at = head->from;
    struct str word;
    return tidy_word_next(head->file->code, &at, &word) ? word : STR_EMPTY;
}

/* The last identifier before the end or the first `[`. */
static struct str head_object_name(const struct head *head)
{
    assert(head->from <= head->to);
    const char *code = head->file->code;
    const char *bracket = memchr(code + head->from, '[', head->to - head->from);
    size_t end = bracket == NULL ? head->to : (size_t)(bracket - code);
    size_t at = head->from;
    struct str word;
    struct str last = STR_EMPTY;
    while (tidy_word_next(code, &at, &word) && at <= end) {
        last = word;
    }
    return last;
}

static enum tidy_kind head_kind(const struct head *head)
{
    struct str first = head_first_word(head);
    if (tidy_is(first, "typedef") || tidy_is(first, "__extension__") || is_attribute(first)) {
        return TIDY_OTHER;
    }
    if (head->pointer) {
        return TIDY_OBJECT;
    }
    if (head->name_len > 0 && !head->initialised) {
        return head->body ? TIDY_FUNCTION : TIDY_PROTOTYPE;
    }
    if (head->body) {
        return TIDY_OTHER; /* struct x { ... } */
    }
    bool forward = head_has(head, "struct") || head_has(head, "enum") || head_has(head, "union");
    size_t words = 0;
    size_t at = head->from;
    struct str word;
    while (tidy_word_next(head->file->code, &at, &word) && at <= head->to) {
        words++;
    }
    return words < 2 || (forward && words == 2 && !head->initialised) ? TIDY_OTHER : TIDY_OBJECT;
}

static void declaration_add(struct tidy_file *file, const struct head *head, size_t end)
{
    assert(head->from <= head->to);
    const char *code = file->code;
    enum tidy_kind kind = head_kind(head);
    size_t first = head->from;
    assert(end < file->text.len);
    while (first < head->to && strchr(" \n\t", code[first]) != NULL) {
        first++;
    }
    struct str name = kind == TIDY_OBJECT && !head->pointer
                          ? head_object_name(head)
                          : (struct str){code + head->name_at, head->name_len};
    struct tidy_declaration row = {.kind = kind,
                                   .name = host_copy(name.len == 0 ? "" : name.ptr, name.len),
                                   .first = tidy_line_of(file, first),
                                   .last = tidy_line_of(file, end),
                                   .is_static = head_has(head, "static"),
                                   .is_extern = head_has(head, "extern"),
                                   .is_const = head_is_const(head)};
    file->declarations =
        host_grow(file->declarations, file->declaration_count, sizeof(*file->declarations));
    file->declarations[file->declaration_count++] = row;
}

/* The name before an opening parenthesis at `at`, when it is the first one that can be declared. */
static void head_note_name(struct head *head, size_t at)
{
    const char *code = head->file->code;
    size_t end = at;
    assert(code[at] == '(');
    assert(at >= head->from);
    while (end > head->from && code[end - 1] == ' ') {
        end--;
    }
    size_t start = end;
    while (start > head->from && tidy_word_char(code[start - 1])) {
        start--;
    }
    struct str word = {code + start, end - start};
    if (head->depth == 0 && code[at + 1] == '*') {
        at += 2;
        head->pointer = tidy_word_next(code, &at, &word);
        start = (size_t)(word.ptr - code);
    }
    if (head->depth == 0 && head->name_len == 0 && word.len > 0 && !is_attribute(word)) {
        head->name_at = start;
        head->name_len = word.len;
    }
}

/* From an opening brace to behind its closing one. */
static size_t body_end(const struct tidy_file *file, size_t at)
{
    size_t depth = 0;
    assert(file->code[at] == '{');
    for (size_t i = at; i < file->text.len; i++) {
        depth += file->code[i] == '{' ? 1 : 0;
        depth -= file->code[i] == '}' ? 1 : 0;
        if (depth == 0) {
            return i + 1;
        }
    }
    host_die("%s:%zu: a brace is not closed", file->path, tidy_line_of(file, at));
}

/* Moves over one declaration's head; false at the end of the file. */
static bool head_read(struct head *head)
{
    const char *code = head->file->code;
    for (size_t i = head->from; i < head->file->text.len; i++) {
        if (code[i] == '(') {
            head_note_name(head, i);
            head->depth++;
        } else if (code[i] == ')') {
            head->depth -= head->depth > 0 ? 1 : 0;
        } else if (head->depth == 0 && strchr("{=;", code[i]) != NULL) {
            head->to = i;
            head->body = code[i] == '{';
            head->initialised = code[i] == '=';
            return true;
        }
    }
    return false;
}

/* Behind the whole declaration: a function's body, else a type or an initialiser with what follows
 * up to the semicolon. */
static size_t declaration_end(const struct head *head)
{
    const char *code = head->file->code;
    size_t end = head->body ? body_end(head->file, head->to) : head->to;
    assert(head->from <= head->to);
    if (head->body && head_kind(head) == TIDY_FUNCTION) {
        return end;
    }
    while (code[end] != ';' && code[end] != '\0') {
        end = code[end] == '{' ? body_end(head->file, end) : end + 1;
    }
    return code[end] == ';' ? end + 1 : end;
}

void tidy_declare(struct tidy_file *file)
{
    struct head head = {.file = file};
    assert(file->code != NULL);
    assert(file->declaration_count == 0);
    while (head_read(&head)) {
        size_t end = declaration_end(&head);
        declaration_add(file, &head, end - 1);
        head = (struct head){.file = file, .from = end};
    }
}
