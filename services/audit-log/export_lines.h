#pragma once
/*
 * The lines of an exported file, plain or compressed, in constant memory. Blocking; one owner; what
 * is read is untrusted.
 */

#include "services/audit-log/export_input.h"

#include "libcommon/base/str.h"

struct export_lines;

/* "-": standard input. ERR_NOT_FOUND: it cannot be opened. */
enum code
export_lines_open(const char *path, struct export_lines **out, struct err *err) MUST_CHECK;
void export_lines_close(struct export_lines **lines); /* accepts NULL */
/* The next line without its newline, until the next call; *out_found is false at the end of the
 * file. ERR_TOO_LARGE: longer than EXPORT_LINE_BYTES_MAX. ERR_INVALID: the last line has no
 * newline. Errors of the input come after the lines before them. */
enum code export_lines_next(struct export_lines *lines,
                            struct str *out,
                            bool *out_found,
                            struct err *err) MUST_CHECK;
/* Of the file as it is stored; at the end, once. */
void export_lines_sha256(struct export_lines *lines, uint8_t out[SHA256_BYTES]);
