#include "libcommon/tools/host.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define HOST_FILE_BYTES_MAX (64L * 1024 * 1024)
#define HOST_GROW_FIRST     16

/* Written once, before anything else runs; messages need it wherever they come from. */
static const char *program_name = "tool";

void host_name_set(const char *name)
{
    assert(name != NULL);
    program_name = name;
}

static void message_put(const char *fmt, va_list args) PRINTF(1, 0);
static void message_put(const char *fmt, va_list args)
{
    assert(fmt != NULL);
    (void)fprintf(stderr, "%s: ", program_name);
    (void)vfprintf(stderr, fmt, args);
    (void)fputc('\n', stderr);
}

void host_die(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    message_put(fmt, args);
    va_end(args);
    exit(1);
}

void host_complain(const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    message_put(fmt, args);
    va_end(args);
}

void *host_alloc(size_t count, size_t item_bytes)
{
    assert(item_bytes > 0);
    /* calloc(0) may give NULL, which would read as failure. */
    void *block = calloc(count == 0 ? 1 : count, item_bytes);
    if (block == NULL) {
        host_die("out of memory");
    }
    return block;
}

void *host_grow(void *array, size_t count, size_t item_bytes)
{
    assert(item_bytes > 0);
    assert(count == 0 || array != NULL);
    /* The capacity is not kept: it is the power of two at or above the count. */
    bool full = count == 0 || (count >= HOST_GROW_FIRST && (count & (count - 1)) == 0);
    if (!full) {
        return array;
    }
    size_t cap = count == 0 ? HOST_GROW_FIRST : count * 2;
    char *grown = host_alloc(cap, item_bytes);
    if (count > 0) {
        memcpy(grown, array, count * item_bytes);
        free(array);
    }
    return grown;
}

char *host_copy(const char *text, size_t len)
{
    assert(text != NULL);
    char *copy = host_alloc(len + 1, 1);
    memcpy(copy, text, len);
    return copy;
}

char *host_format(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0 || text == NULL) {
        host_die("out of memory");
    }
    return text;
}

struct host_bytes host_read(const char *path)
{
    assert(path != NULL);
    FILE *file = fopen(path, "rbe");
    if (file == NULL) {
        host_die("%s: %s", path, strerror(errno));
    }
    long len = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    if (len < 0 || len > HOST_FILE_BYTES_MAX || fseek(file, 0, SEEK_SET) != 0) {
        host_die("%s: not a file this tool can read", path);
    }
    struct host_bytes bytes = {host_alloc((size_t)len + 1, 1), (size_t)len};
    if (fread(bytes.data, 1, bytes.len, file) != bytes.len) {
        host_die("%s: short read", path);
    }
    (void)fclose(file);
    return bytes;
}

void host_out_open(struct host_out *out)
{
    assert(out != NULL);
    *out = (struct host_out){0};
    out->file = open_memstream(&out->text, &out->len);
    if (out->file == NULL) {
        host_die("out of memory");
    }
}

void host_out_close(struct host_out *out)
{
    assert(out->file != NULL);
    if (ferror(out->file) != 0 || fclose(out->file) != 0) {
        host_die("out of memory");
    }
    out->file = NULL;
    assert(out->text != NULL);
}

void host_out_commit(struct host_out *out, const char *path)
{
    assert(path != NULL);
    host_out_close(out);
    char *temporary = host_format("%s.tmp", path);
    FILE *file = fopen(temporary, "wbe");
    if (file == NULL) {
        host_die("%s: %s", temporary, strerror(errno));
    }
    bool ok = fwrite(out->text, 1, out->len, file) == out->len;
    ok = fclose(file) == 0 && ok;
    if (!ok || rename(temporary, path) != 0) {
        int cause = errno;
        (void)remove(temporary);
        host_die("%s: %s", path, strerror(cause));
    }
    free(temporary);
    free(out->text);
    out->text = NULL;
}

/* Not the locale's idea of letters: generated names are ASCII everywhere. */
static bool is_upper(char c)
{
    return c >= 'A' && c <= 'Z';
}

char *host_snake(const char *camel)
{
    assert(camel != NULL);
    size_t len = strlen(camel);
    char *snake = host_alloc(2 * len + 1, 1);
    size_t at = 0;
    bool was_upper = true; /* no underscore in front */
    for (size_t i = 0; i < len; i++) {
        char c = camel[i];
        bool upper = is_upper(c);
        if (upper && !was_upper) {
            snake[at++] = '_';
        }
        snake[at] = c;
        if (upper) {
            snake[at] = (char)(c - 'A' + 'a');
        }
        at++;
        was_upper = upper;
    }
    assert(at <= 2 * len);
    return snake;
}

char *host_snake_path(const char *dotted, const char *joint)
{
    assert(dotted != NULL);
    assert(joint != NULL);
    char *path = host_format("%s", "");
    const char *part = dotted;
    while (*part != '\0') {
        size_t len = strcspn(part, ".");
        char *camel = host_copy(part, len);
        char *snake = host_snake(camel);
        char *longer = host_format("%s%s%s", path, part == dotted ? "" : joint, snake);
        free(camel);
        free(snake);
        free(path);
        path = longer;
        part += len + (part[len] == '.' ? 1 : 0);
    }
    return path;
}

char *host_upper(const char *text)
{
    char *copy = host_copy(text, strlen(text));
    for (char *c = copy; *c != '\0'; c++) {
        if (*c >= 'a' && *c <= 'z') {
            *c = (char)(*c - 'a' + 'A');
        }
    }
    return copy;
}

char *host_lower(const char *text)
{
    char *copy = host_copy(text, strlen(text));
    for (char *c = copy; *c != '\0'; c++) {
        if (is_upper(*c)) {
            *c = (char)(*c - 'A' + 'a');
        }
    }
    return copy;
}

char *host_replace(const char *text, char from, char to)
{
    assert(from != '\0');
    char *copy = host_copy(text, strlen(text));
    for (char *c = copy; *c != '\0'; c++) {
        if (*c == from) {
            *c = to;
        }
    }
    return copy;
}

static void literal_char(FILE *file, char c)
{
    unsigned char byte = (unsigned char)c;
    if (c == '\n') {
        (void)fputs("\\n", file);
    } else if (c == '\t') {
        (void)fputs("\\t", file);
    } else if (c == '"' || c == '\\' || c == '?') {
        (void)fprintf(file, "\\%c", c); /* '?' because of trigraphs */
    } else if (byte < 0x20 || byte == 0x7f) {
        (void)fprintf(file, "\\%03o", (unsigned)byte);
    } else {
        (void)fputc(c, file);
    }
}

void host_put_literal(FILE *file, const char *text)
{
    assert(file != NULL);
    if (text == NULL) {
        (void)fputs("NULL", file);
        return;
    }
    (void)fputc('"', file);
    for (const char *c = text; *c != '\0'; c++) {
        literal_char(file, *c);
    }
    (void)fputc('"', file);
}

void host_put_lines(FILE *file, const char *indent, const char *text)
{
    assert(file != NULL);
    assert(text != NULL);
    assert(indent != NULL);
    if (*text == '\0') {
        (void)fprintf(file, "%s\"\"", indent);
    }
    bool open = false;
    for (const char *c = text; *c != '\0'; c++) {
        if (!open) {
            (void)fprintf(file, "%s%s\"", c == text ? "" : "\n", indent);
            open = true;
        }
        literal_char(file, *c);
        if (*c == '\n') {
            (void)fputc('"', file);
            open = false;
        }
    }
    if (open) {
        (void)fputc('"', file);
    }
}
