#pragma once
/*
 * What the host tools (apigen, sqlgen) share: they run at build time, single-threaded, on our own
 * files. They allocate freely and never give back: the process ends with its one output. Every
 * failure ends the process with a message on stderr and status 1; no function returns NULL unless
 * it says so.
 */

#include "libcommon/base/attr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* The first word of every message; the program's name. Set once, first thing in main. */
void host_name_set(const char *name);
NO_RETURN void host_die(const char *fmt, ...) PRINTF(1, 2);
/* A message that does not end the process; the caller counts and ends. */
void host_complain(const char *fmt, ...) PRINTF(1, 2);

void *host_alloc(size_t count, size_t item_bytes) RETURNS_NONNULL; /* zeroed */
/* An array with room for item number `count`: grows by doubling, new items zeroed. */
void *host_grow(void *array, size_t count, size_t item_bytes) RETURNS_NONNULL;
char *host_format(const char *fmt, ...) PRINTF(1, 2) RETURNS_NONNULL;
char *host_copy(const char *text, size_t len) RETURNS_NONNULL; /* NUL-ended */

struct host_bytes {
    char *data; /* followed by one NUL that is not counted */
    size_t len;
};
struct host_bytes host_read(const char *path);

/* Text gathered in memory, so that a tool that fails leaves no output. */
struct host_out {
    FILE *file; /* write here */
    char *text;
    size_t len;
};
void host_out_open(struct host_out *out);
void host_out_close(struct host_out *out); /* afterwards `text` and `len` are complete */
/* Closes, then writes the text to `path` through a temporary file beside it. */
void host_out_commit(struct host_out *out, const char *path);

/* Names as protobuf-c writes them: "CFDIValidation" -> "cfdivalidation", "TagRow" -> "tag_row". */
char *host_snake(const char *camel) RETURNS_NONNULL;
/* The same for every part of a dotted name, the parts joined by `joint`. */
char *host_snake_path(const char *dotted, const char *joint) RETURNS_NONNULL;
char *host_upper(const char *text) RETURNS_NONNULL; /* ASCII */
char *host_lower(const char *text) RETURNS_NONNULL;
/* A copy with every `from` replaced by `to`. */
char *host_replace(const char *text, char from, char to) RETURNS_NONNULL;

/* One C string literal, quotes included; NULL is written as NULL. */
void host_put_literal(FILE *file, const char *text);
/* A long text as adjacent literals, one for each of its lines, each line starting with `indent`. */
void host_put_lines(FILE *file, const char *indent, const char *text);
