#include "services/audit-log/export_lines.h"

#include "services/audit-log/export_line.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct export_lines {
    struct export_input *input;
    struct err input_err; /* comes after the lines that were read before it */
    size_t from;          /* of memory: what was read and not yet taken */
    size_t to;
    bool at_end;
    char memory[EXPORT_LINE_BYTES_MAX + 1]; /* with its newline */
};

enum code export_lines_open(const char *path, struct export_lines **out, struct err *err)
{
    struct export_lines *lines = calloc(1, sizeof *lines);
    enum code code = OK;

    assert(out != NULL);
    if (lines == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory to read with");
    }
    code = export_input_open(path, &lines->input, err);
    if (code != OK) {
        export_lines_close(&lines);
    }
    *out = lines;
    return code;
}

void export_lines_close(struct export_lines **lines)
{
    assert(lines != NULL);
    if (*lines != NULL) {
        export_input_close(&(*lines)->input);
        free(*lines);
        *lines = NULL;
    }
}

static enum code fill(struct export_lines *lines, struct err *err)
{
    const size_t had = lines->to - lines->from;
    size_t len = 0;
    enum code code = OK;

    assert(lines->from <= lines->to);
    assert(!lines->at_end);
    if (lines->input_err.code != OK) {
        return err_set(err, lines->input_err.code, "%s", lines->input_err.text);
    }
    memmove(lines->memory, lines->memory + lines->from, had);
    lines->from = 0;
    code = export_input_read(
        lines->input, lines->memory + had, sizeof lines->memory - had, &len, &lines->input_err);
    lines->to = had + len;
    lines->at_end = code == OK && lines->to < sizeof lines->memory;
    assert(lines->to <= sizeof lines->memory);
    return OK;
}

enum code
export_lines_next(struct export_lines *lines, struct str *out, bool *out_found, struct err *err)
{
    const char *newline = memchr(lines->memory + lines->from, '\n', lines->to - lines->from);

    assert(lines->from <= lines->to);
    *out_found = false;
    while (newline == NULL && !lines->at_end && lines->to - lines->from < sizeof lines->memory) {
        enum code code = fill(lines, err);

        if (code != OK) {
            return code;
        }
        newline = memchr(lines->memory, '\n', lines->to);
    }
    if (lines->to == lines->from) {
        return OK;
    }
    if (newline == NULL && !lines->at_end) {
        return err_set(
            err, ERR_TOO_LARGE, "the line is longer than %lu bytes", EXPORT_LINE_BYTES_MAX);
    }
    if (newline == NULL) {
        return err_set(err, ERR_INVALID, "the line has no end: the file was cut");
    }
    *out_found = true;
    out->ptr = lines->memory + lines->from;
    out->len = (size_t)(newline - out->ptr);
    lines->from += out->len + 1;
    return OK;
}

void export_lines_sha256(struct export_lines *lines, uint8_t out[SHA256_BYTES])
{
    assert(lines != NULL);
    export_input_sha256(lines->input, out);
}
