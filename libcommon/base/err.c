/* Errors are written on the stack of whoever started the operation; nothing here allocates or can
 * fail. */
#include "libcommon/base/err.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct code_row {
    int http;
    bool retryable;
    const char *category;
    const char *wire;
    const char *title;
};

#define X(code, http, retry, category, wire, title) [code] = {http, retry, category, wire, title},
static const struct code_row code_rows[CODE_COUNT] = {ERR_MAP(X)};
#undef X

_Static_assert(OK == 0, "a zeroed struct err is one that is not set");

static const struct code_row *code_row(enum code code)
{
    assert((unsigned)code < CODE_COUNT);
    assert(code_rows[code].wire != NULL);
    return &code_rows[code];
}

/* A text cut at its byte limit may end inside a UTF-8 sequence; such a text would spoil the JSON it
 * ends up in, so the broken tail goes as well. */
static void drop_broken_tail(char *text, size_t len)
{
    size_t at = len;
    size_t needs = 1;

    assert(text[len] == '\0');
    while (at > 0 && len - at < 3 && ((unsigned char)text[at - 1] & 0xC0u) == 0x80u) {
        at--;
    }
    if (at == 0) {
        return;
    }
    at--;
    if ((unsigned char)text[at] >= 0xF0u) {
        needs = 4;
    } else if ((unsigned char)text[at] >= 0xE0u) {
        needs = 3;
    } else if ((unsigned char)text[at] >= 0xC0u) {
        needs = 2;
    }
    if (len - at < needs) {
        text[at] = '\0';
    }
}

/* `text` and `out` must not overlap. */
static void copy_cut(char *out, size_t cap, const char *text)
{
    assert(text != NULL);

    size_t len = strnlen(text, cap);

    assert(cap > 0);
    if (len == cap) {
        len = cap - 1;
        memcpy(out, text, len);
        out[len] = '\0';
        drop_broken_tail(out, len);
        return;
    }
    memcpy(out, text, len + 1);
}

static PRINTF(3, 0) void format_cut(char *out, size_t cap, const char *fmt, va_list args)
{
    int len = vsnprintf(out, cap, fmt, args);

    assert(cap > 0);
    if (len < 0) {
        out[0] = '\0';
    } else if ((size_t)len >= cap) {
        drop_broken_tail(out, cap - 1);
    }
}

enum code err_set_at(struct err *err,
                     enum code code,
                     const char *field,
                     const char *file,
                     int line,
                     const char *fmt,
                     ...)
{
    va_list args;

    assert(code != OK);
    assert((unsigned)code < CODE_COUNT);
    assert(fmt != NULL);
    /* The first cause is the one worth knowing; what follows from it is noise. */
    if (err == NULL || err->code != OK) {
        return code;
    }
    err->code = code;
    err->file = file;
    err->line = line;
    copy_cut(err->field, sizeof(err->field), field == NULL ? "" : field);
    va_start(args, fmt);
    format_cut(err->text, sizeof(err->text), fmt, args);
    va_end(args);
    return code;
}

enum code err_prefix(struct err *err, const char *fmt, ...)
{
    char whole[2 * ERR_TEXT_BYTES + 2]; /* both at their longest; cut when copied back */
    va_list args;
    size_t len = 0;

    assert(err != NULL);
    assert((unsigned)err->code < CODE_COUNT);
    if (err->code == OK) {
        return OK;
    }
    va_start(args, fmt);
    format_cut(whole, ERR_TEXT_BYTES, fmt, args);
    va_end(args);
    len = strlen(whole);
    whole[len] = ':';
    whole[len + 1] = ' ';
    copy_cut(whole + len + 2, ERR_TEXT_BYTES, err->text);
    copy_cut(err->text, sizeof(err->text), whole);
    return err->code;
}

int code_http(enum code code)
{
    return code_row(code)->http;
}

bool code_retryable(enum code code)
{
    return code_row(code)->retryable;
}

const char *code_category(enum code code)
{
    return code_row(code)->category;
}

const char *code_wire(enum code code)
{
    return code_row(code)->wire;
}

const char *code_title(enum code code)
{
    return code_row(code)->title;
}

bool code_from_wire(const char *wire, enum code *out)
{
    assert(wire != NULL);
    assert(out != NULL);
    for (int i = 0; i < CODE_COUNT; i++) {
        if (strcmp(code_rows[i].wire, wire) == 0) {
            *out = (enum code)i;
            return true;
        }
    }
    return false;
}
