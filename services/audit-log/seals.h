#pragma once
/*
 * What sealing and checking seals share: the sealed files that the database knows of, a month after
 * the other, and one file held against its row. Blocking, for commands.
 */

#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/exporting.h"
#include "services/audit-log/verify.h"

struct seals {
    Avanta__AuditLog__SealRow **rows; /* live in the arena */
    size_t count;
};

enum code seals_read(struct pg_blocking *db,
                     struct arena *arena,
                     struct seals *out,
                     struct err *err) MUST_CHECK;
/* The file by that name in the directory: it verifies, and is the one that was sealed. What does
 * not hold is in the report, as far as it is of a line. */
enum code seal_check(const char *dir,
                     const char *log_vkey,
                     const Avanta__AuditLog__SealRow *row,
                     struct verify_report *out,
                     struct err *err) MUST_CHECK;
/* DIR/NAME. ERR_INVALID: too long, or the name is no name of a file. */
enum code seal_path(const char *dir,
                    const char *name,
                    char out[EXPORT_PATH_BYTES_MAX],
                    struct err *err) MUST_CHECK;
