#pragma once
/*
 * For tests of the host tools: runs programs, with a scratch directory for what they write. One
 * test process, one thread. Paths and texts are static or the caller's; failures fail the test.
 */

#include "tests/support/check.h"

#define TOOL_PATH_BYTES 512
#define TOOL_TEXT_BYTES 65536
#define TOOL_ARGS_MAX   64

struct tool_path {
    char text[TOOL_PATH_BYTES];
};

/* Makes and removes the scratch directory: group setup and teardown. */
int tool_setup(void **state);
int tool_teardown(void **state);

struct tool_path tool_scratch(const char *name); /* in the scratch directory */
void tool_write(const struct tool_path *path, const char *text);
/* The whole file, NUL-ended, valid until the next call. */
const char *tool_read(const struct tool_path *path);

/* A command line under construction. */
struct tool_args {
    const char *argv[TOOL_ARGS_MAX];
    size_t count;
};
void tool_add(struct tool_args *args, const char *arg); /* not copied */

/* Runs a tool of build/host by name, its arguments after it, and waits; the exit status, 128 and
 * more for a signal. `text` holds what it said (stdout and stderr), cut at TOOL_TEXT_BYTES, valid
 * until the next call. */
int tool_host(const char *name, struct tool_args *args, const char **text);

/* Compiles C files of the scratch directory to a shared library there and loads it; includes are
 * found in the scratch directory and the source tree. */
void *tool_load(const char *library, const char *const *sources, size_t count);
/* Fails unless the text holds the part; shows both. */
void tool_holds(const char *text, const char *part);
/* A symbol of the library; must exist. */
void *tool_symbol(void *library, const char *name);

/* The descriptor set of a file of tests/proto, in the scratch directory; one at a time. */
struct tool_path tool_descriptor_set(const char *proto);
/* The protobuf-c files of a proto, into the scratch directory. */
void tool_protobuf_c(const char *proto);
/* Runs apigen, its output into the scratch directory; `argument` may be NULL. */
int tool_apigen(const char *kind,
                const struct tool_path *set,
                const char *out,
                const char *argument,
                const char **text);
