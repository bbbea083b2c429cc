#include "libcommon/codec/csv.h"

#include <assert.h>
#include <string.h>

static char delimiter_guess(struct str text)
{
    static const char candidates[] = {',', ';', '\t', '|'};
    uint32_t counts[sizeof candidates] = {0};
    bool quoted = false;
    size_t best = 0;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];

        if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && c == '\n' && counts[0] + counts[1] + counts[2] + counts[3] > 0) {
            break;
        }
        for (size_t k = 0; k < sizeof candidates && !quoted; k++) {
            counts[k] += c == candidates[k];
        }
    }
    for (size_t k = 1; k < sizeof candidates; k++) {
        best = counts[k] > counts[best] ? k : best;
    }
    assert(best < sizeof candidates);
    return candidates[best];
}

void csv_open(struct csv_reader *reader, struct str text)
{
    assert(reader != NULL);
    reader->delimiter = delimiter_guess(text);
    if (str_starts(text, STR("\xef\xbb\xbf"))) {
        text = str_sub(text, 3, text.len);
    }
    reader->rest = text;
    reader->line = 1;
}

static bool at_line_end(struct str rest)
{
    return rest.len == 0 || rest.ptr[0] == '\n' ||
           (rest.len > 1 && rest.ptr[0] == '\r' && rest.ptr[1] == '\n');
}

static void skip(struct str *rest, size_t count)
{
    assert(count <= rest->len);
    rest->ptr += count;
    rest->len -= count;
}

static struct str plain_field(struct csv_reader *reader)
{
    struct str field = {reader->rest.ptr, 0};

    assert(reader->delimiter != '\0');
    while (!at_line_end(reader->rest) && reader->rest.ptr[0] != reader->delimiter) {
        skip(&reader->rest, 1);
        field.len++;
    }
    return field;
}

/* The closing quote of a field whose opening quote was taken; doubled quotes inside are counted. */
static bool closing_quote(struct str rest, size_t *out_at, size_t *out_doubled)
{
    assert(out_at != NULL);
    assert(out_doubled != NULL);
    *out_doubled = 0;
    for (size_t i = 0; i < rest.len; i++) {
        if (rest.ptr[i] != '"') {
            continue;
        }
        if (i + 1 < rest.len && rest.ptr[i + 1] == '"') {
            (*out_doubled)++;
            i++;
        } else {
            *out_at = i;
            return true;
        }
    }
    return false;
}

static bool undouble(struct str quoted, size_t doubled, struct arena *arena, struct str *out)
{
    char *text = NULL;
    size_t len = 0;

    assert(doubled <= quoted.len / 2);
    assert(out != NULL);
    if (doubled == 0) {
        *out = quoted;
        return true;
    }
    text = arena_alloc(arena, quoted.len);
    if (text == NULL) {
        return false;
    }
    for (size_t i = 0; i < quoted.len; i++) {
        text[len++] = quoted.ptr[i];
        i += quoted.ptr[i] == '"';
    }
    assert(len + doubled == quoted.len);
    *out = (struct str){text, len};
    return true;
}

static bool
quoted_field(struct csv_reader *reader, struct arena *arena, struct str *out, struct err *err)
{
    size_t end = 0;
    size_t doubled = 0;
    struct str quoted;

    assert(reader->rest.len > 0);
    assert(reader->rest.ptr[0] == '"');
    skip(&reader->rest, 1);
    if (!closing_quote(reader->rest, &end, &doubled)) {
        (void)err_set(err, ERR_INVALID, "line %u: a quote is not closed", reader->line);
        return false;
    }
    quoted = str_sub(reader->rest, 0, end);
    skip(&reader->rest, end + 1);
    for (size_t i = 0; i < quoted.len; i++) {
        reader->line += quoted.ptr[i] == '\n';
    }
    if (!at_line_end(reader->rest) && reader->rest.ptr[0] != reader->delimiter) {
        (void)err_set(err, ERR_INVALID, "line %u: text follows a closing quote", reader->line);
        return false;
    }
    if (!undouble(quoted, doubled, arena, out)) {
        (void)err_set(err, ERR_TOO_LARGE, "line %u: the file needs too much memory", reader->line);
        return false;
    }
    return true;
}

static bool
next_field(struct csv_reader *reader, struct arena *arena, struct str *out, struct err *err)
{
    assert(arena != NULL);
    assert(out != NULL);
    if (reader->rest.len > 0 && reader->rest.ptr[0] == '"') {
        return quoted_field(reader, arena, out, err);
    }
    *out = plain_field(reader);
    return true;
}

bool csv_next(struct csv_reader *reader,
              struct arena *arena,
              struct csv_record *out,
              struct err *err)
{
    assert(reader != NULL);
    assert(out != NULL);
    assert(reader->delimiter != '\0');
    if (reader->rest.len == 0) {
        return false;
    }
    out->count = 0;
    out->line = reader->line;
    for (;;) {
        if (out->count == CSV_FIELDS_MAX) {
            (void)err_set(
                err, ERR_INVALID, "line %u: more than %d columns", reader->line, CSV_FIELDS_MAX);
            return false;
        }
        if (!next_field(reader, arena, &out->fields[out->count], err)) {
            return false;
        }
        out->count++;
        if (at_line_end(reader->rest)) {
            break;
        }
        skip(&reader->rest, 1);
    }
    if (reader->rest.len > 0) {
        skip(&reader->rest, reader->rest.ptr[0] == '\r' ? 2 : 1);
        reader->line++;
    }
    assert(out->count > 0);
    assert(out->count <= CSV_FIELDS_MAX);
    return true;
}

bool csv_record_blank(const struct csv_record *record)
{
    assert(record != NULL);
    assert(record->count <= CSV_FIELDS_MAX);
    for (uint32_t i = 0; i < record->count; i++) {
        if (str_trim(record->fields[i]).len > 0) {
            return false;
        }
    }
    return true;
}
