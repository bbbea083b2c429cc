#pragma once
/* Test data written by others, found through AVANTA_SUITES (make sets it). A missing folder fails
 * the test. */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

/* The file's bytes in the arena; the test fails when it cannot be read. */
struct str suite_file(struct arena *arena, const char *folder, const char *name);
/* Calls fn for every file of the folder, in no order; returns how many there were and fails on
 * none. */
size_t suite_each(const char *folder, void (*fn)(void *ctx, const char *name), void *ctx);
