#include "libcommon/codec/violations.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define MESSAGE_BYTES_MAX 512

void violations_init(struct violations *v, struct arena *arena)
{
    assert(v != NULL);
    assert(arena != NULL);
    v->arena = arena;
    v->count = 0;
    v->more = 0;
}

/* The text up to `len` bytes without the character that the cut would leave in half. */
static struct str cut(const char *text, size_t len)
{
    assert(text != NULL);
    while (len > 0 && ((unsigned char)text[len] & 0xC0u) == 0x80u) {
        len--;
    }
    return (struct str){text, len};
}

void violations_add(struct violations *v, const char *field, const char *code, const char *fmt, ...)
{
    char text[MESSAGE_BYTES_MAX];
    struct violation row = {NULL, code, NULL};
    va_list args;
    int len = 0;

    assert(v != NULL);
    assert(field != NULL);
    assert(code != NULL);
    assert(fmt != NULL);
    assert(v->count <= VIOLATIONS_MAX);
    if (v->count == VIOLATIONS_MAX) {
        v->more++;
        return;
    }
    va_start(args, fmt);
    len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    assert(len >= 0);
    row.field = arena_strdup(v->arena, str_from(field));
    row.message = arena_strdup(v->arena,
                               (size_t)len < sizeof(text) ? (struct str){text, (size_t)len}
                                                          : cut(text, sizeof(text) - 2));
    /* Without memory the row is lost, but not that there was one: the request stays refused. */
    if (row.field == NULL || row.message == NULL) {
        v->more++;
        return;
    }
    v->rows[v->count++] = row;
}
