#pragma once
/*
 * Writes records of the database as a file that audit_verify_file() verifies: a range, or a month
 * with the gaps between its records. What is written is held against the signed root on the way, so
 * that a damaged database gives no file. Blocking, for commands; memory does not grow with the
 * number of records. One thread.
 */

#include "services/audit-log/export_file.h"

#include "libcommon/codec/note.h"
#include "libcommon/io/digest.h"
#include "libcommon/io/merkle.h"
#include "libcommon/io/pg_blocking.h"

#define EXPORT_MONTH_BYTES 11 /* YYYY-MM-01 and NUL */

struct export_checkpoint {
    uint64_t size;
    uint64_t witnesses;
    struct merkle_hash root;
    char made_at[32];
    char note[NOTE_BYTES_MAX]; /* with what witnesses said */
};

struct export_wanted {
    const char *month;              /* its first day; NULL: all records */
    uint64_t first;                 /* leaf of the first record */
    uint64_t next;                  /* behind the last one */
    uint64_t records;               /* that there are, for telling how far it is */
    const uint8_t *previous_sha256; /* of a seal; NULL: it is the first */
    const struct export_checkpoint *checkpoint;
};

/* The newest one that a witness signed and that has `covers` records, else the newest.
 * ERR_NOT_FOUND: there is none. */
enum code export_checkpoint_find(struct pg_blocking *db,
                                 uint64_t covers,
                                 struct export_checkpoint *out,
                                 struct err *err) MUST_CHECK;
/* ERR_CONFLICT: records or nodes are missing, or are not those that were signed. */
enum code export_make(struct pg_blocking *db,
                      const struct export_wanted *wanted,
                      struct export_file *file,
                      uint64_t *out_records,
                      struct err *err) MUST_CHECK;
/* Memory for what the statements give; an arena each for what lives together. */
struct arena_pool *export_pool_open(void);
struct arena *export_arena_open(struct arena_pool *pool);
