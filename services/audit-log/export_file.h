#pragma once
/*
 * An exported file on its way to the disk, line by line. It is written beside its place as
 * PATH.part and takes its place when it is whole and on the disk; whatever ends the program before,
 * leaves a PATH.part that the next one overwrites. Compressed by gzip when the name ends in ".gz".
 * Blocking; one owner; constant memory.
 */

#include "libcommon/base/err.h"
#include "libcommon/base/str.h"

#define EXPORT_PATH_BYTES_MAX 1024

struct export_file;

/* ERR_INVALID: the path is too long. ERR_CONFLICT: somebody else is writing there. ERR_UNAVAILABLE:
 * the file cannot be made. */
enum code export_file_open(const char *path, struct export_file **out, struct err *err) MUST_CHECK;
/* One line; its newline is added. ERR_UNAVAILABLE: it cannot be written. */
enum code export_file_line(struct export_file *file, struct str line, struct err *err) MUST_CHECK;
/* Puts the file in its place. */
enum code export_file_finish(struct export_file *file, struct err *err) MUST_CHECK;
/* Accepts NULL; what was not finished is removed. */
void export_file_close(struct export_file **file);
