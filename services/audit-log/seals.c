#include "services/audit-log/seals.h"

#include "audit_log_sql.gen.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

enum code
seals_read(struct pg_blocking *db, struct arena *arena, struct seals *out, struct err *err)
{
    struct pg_rows rows = {.count = 0};
    enum code code = pg_blocking_query(db, Q_SEAL_LIST, NULL, arena, &rows, err);

    assert(out != NULL);
    out->count = rows.count;
    out->rows = (Avanta__AuditLog__SealRow **)(void *)rows.all;
    return code;
}

enum code
seal_path(const char *dir, const char *name, char out[EXPORT_PATH_BYTES_MAX], struct err *err)
{
    struct buf path = buf_over(out, EXPORT_PATH_BYTES_MAX);

    assert(dir != NULL);
    assert(name != NULL);
    if (strchr(name, '/') != NULL || name[0] == '.' || name[0] == '\0') {
        return err_set(err, ERR_INVALID, "%s is no name of a sealed file", name);
    }
    buf_printf(&path, "%s/%s", dir, name);
    return buf_terminate(&path) ? OK
                                : err_set(err, ERR_INVALID, "the directory's name is too long");
}

static bool
digest_is(const ProtobufCBinaryData *known, bool there, const uint8_t digest[SHA256_BYTES])
{
    assert(known != NULL);
    assert(digest != NULL);
    return there ? known->len == SHA256_BYTES && memcmp(known->data, digest, SHA256_BYTES) == 0
                 : known->len == 0;
}

/* What the file says of itself against what the database says of it. */
static enum code row_compare(const Avanta__AuditLog__SealRow *row,
                             const struct verify_report *report,
                             struct err *err)
{
    uint8_t leaves[SHA256_BYTES];

    assert(row->leaves != NULL);
    assert(report->failed_line == 0);
    if (!digest_is(&row->file_sha256, true, report->file_sha256)) {
        return err_set(err, ERR_CONFLICT, "the file is another one than was sealed");
    }
    if (report->kind != VERIFY_SEAL || strcmp(report->month, row->month) != 0) {
        return err_set(err, ERR_CONFLICT, "the file is not a seal of %s", row->month);
    }
    if (!digest_is(&row->previous_sha256, report->has_previous, report->previous_sha256)) {
        return err_set(
            err, ERR_CONFLICT, "the file names another seal before it than the database");
    }
    sha256(str_from(row->leaves), leaves);
    if (memcmp(leaves, report->leaves_sha256, sizeof leaves) != 0) {
        return err_set(
            err, ERR_CONFLICT, "the file has other records than the database says are sealed");
    }
    return OK;
}

enum code seal_check(const char *dir,
                     const char *log_vkey,
                     const Avanta__AuditLog__SealRow *row,
                     struct verify_report *out,
                     struct err *err)
{
    char path[EXPORT_PATH_BYTES_MAX];
    enum code code = OK;

    assert(row->month != NULL);
    assert(row->file_name != NULL);
    memset(out, 0, sizeof *out);
    code = seal_path(dir, row->file_name, path, err);
    if (code == OK) {
        code = audit_verify_file(path, log_vkey, NULL, out, err);
    }
    return code == OK ? row_compare(row, out, err) : code;
}
