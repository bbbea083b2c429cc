#pragma once
/*
 * The witness's directory: the checkpoint it cosigned last, which it must not forget, and evidence.
 * One process at a time has it. Calls block; keep_last() may run on another thread, one at a time.
 */

#include "libcommon/base/buf.h"
#include "libcommon/base/err.h"

#define KEEP_EVIDENCE_MAX   32 /* files; the oldest say most, so they stay */
#define KEEP_NAME_BYTES_MAX 128

struct keep {
    int dir; /* -1: closed */
};

/* ERR_INVALID, with the setting as its field: no such directory, or another process has it. */
enum code keep_open(struct keep *keep, const char *path, struct err *err) MUST_CHECK;
void keep_close(struct keep *keep);
/* The bytes kept last behind those in `out`; nothing when there are none. */
enum code keep_load(const struct keep *keep, struct buf *out, struct err *err) MUST_CHECK;
/* Whole or not at all, and on the disk when it returns true. */
bool keep_last(const struct keep *keep, struct str text) MUST_CHECK;
/* True also when a file of that name is there already. False: it cannot be written, or there are
 * KEEP_EVIDENCE_MAX. */
bool keep_evidence(const struct keep *keep, const char *name, struct str text) MUST_CHECK;
