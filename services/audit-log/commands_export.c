/* audit-log --export: records of the database as a file that can be verified. */
#include "audit_log_sql.gen.h"
#include "avanta/audit_log_internal.pb-c.h"
#include "services/audit-log/commands.h"
#include "services/audit-log/exporting.h"

#include "libcommon/base/config.h"

#include <assert.h>
#include <stdio.h>

typedef unsigned long long number; /* for printf */

/* What stands between the range and the database: files that were sealed. */
static enum code sealed_refuse(struct pg_blocking *db,
                               const struct export_wanted *wanted,
                               struct arena *arena,
                               struct err *err)
{
    Avanta__AuditLog__TreeRange in = AVANTA__AUDIT_LOG__TREE_RANGE__INIT;
    struct pg_rows rows = {.count = 0};
    enum code code = OK;

    assert(wanted->first <= wanted->next);
    in.has_first = in.has_count = true;
    in.first = (int64_t)wanted->first;
    in.count = (int64_t)(wanted->next - wanted->first);
    code = pg_blocking_query(db, Q_EXPORT_SEALED, &in.base, arena, &rows, err);
    if (code != OK || rows.count == 0) {
        return code;
    }
    for (size_t i = 0; i < rows.count; i++) {
        const Avanta__AuditLog__SealRow *row = (Avanta__AuditLog__SealRow *)(void *)rows.all[i];

        (void)fprintf(stderr,
                      "audit-log: records of %s are sealed in %s: leaves %s\n",
                      row->month,
                      row->file_name,
                      row->leaves);
    }
    return err_set(err, ERR_CONFLICT, "the range has sealed records, which are in their files");
}

/* Records that the checkpoint does not cover are told of: they are not forgotten. */
static enum code newer_tell(struct pg_blocking *db,
                            const struct export_checkpoint *checkpoint,
                            struct arena *arena,
                            struct err *err)
{
    struct pg_rows rows = {.count = 0};
    enum code code = pg_blocking_query(db, Q_TREE_LAST, NULL, arena, &rows, err);

    assert(checkpoint->size > 0);
    if (code == OK && rows.count == 1) {
        const Avanta__AuditLog__TreeCheckpoint *last =
            (Avanta__AuditLog__TreeCheckpoint *)(void *)rows.all[0];

        if ((uint64_t)last->size > checkpoint->size) {
            (void)fprintf(stderr,
                          "audit-log: no witness has signed a checkpoint over the %llu newest"
                          " records; --to %lld takes them too\n",
                          (number)last->size - checkpoint->size,
                          (long long)last->size - 1);
        }
    }
    return code;
}

static enum code range_choose(struct pg_blocking *db,
                              const struct command_option *to,
                              struct export_checkpoint *checkpoint,
                              struct export_wanted *wanted,
                              struct err *err)
{
    const uint64_t covers = to->value == NULL ? 0 : wanted->next;
    enum code code = export_checkpoint_find(db, covers, checkpoint, err);

    assert(wanted->checkpoint == checkpoint);
    if (code != OK) {
        return code;
    }
    wanted->next = to->value == NULL ? checkpoint->size : wanted->next;
    if (wanted->next > checkpoint->size) {
        return err_set(err,
                       ERR_CONFLICT,
                       "the newest checkpoint covers the records up to %llu",
                       (number)checkpoint->size - 1);
    }
    if (wanted->first > wanted->next) {
        return err_set(err,
                       ERR_INVALID,
                       "there is no record from %llu to %llu",
                       (number)wanted->first,
                       (number)wanted->next - 1);
    }
    wanted->records = wanted->next - wanted->first;
    return OK;
}

static enum code file_make(struct pg_blocking *db,
                           const struct export_wanted *wanted,
                           const char *path,
                           struct err *err)
{
    struct export_file *file = NULL;
    uint64_t records = 0;
    enum code code = export_file_open(path, &file, err);

    assert(wanted->month == NULL);
    assert(wanted->previous_sha256 == NULL);
    if (code == OK) {
        code = export_make(db, wanted, file, &records, err);
    }
    if (code == OK) {
        code = export_file_finish(file, err);
    }
    if (code == OK) {
        (void)printf("%s: %llu records from leaf %llu on, checkpoint of %llu records made at %s,"
                     " signed by %llu witnesses\n",
                     path,
                     (number)records,
                     (number)wanted->first,
                     (number)wanted->checkpoint->size,
                     wanted->checkpoint->made_at,
                     (number)wanted->checkpoint->witnesses);
    }
    export_file_close(&file);
    return code;
}

int command_export(int argc, char **argv, const struct command_settings *settings)
{
    static struct export_checkpoint checkpoint; /* too large for the stack */
    struct command_option options[] = {
        {"--from", NULL},
        {"--to",   NULL}
    };
    struct export_wanted wanted = {.checkpoint = &checkpoint};
    struct arena_pool *pool = export_pool_open();
    struct arena *arena = pool == NULL ? NULL : export_arena_open(pool);
    struct pg_blocking *db = NULL;
    const char *path = NULL;
    struct err err = {.code = OK};
    enum code code = OK;

    assert(settings->dsn != NULL);
    if (!command_read(argc, argv, &path, &(struct command_options){options, ARRAY_LEN(options)}) ||
        !command_number(&options[0], 0, MERKLE_SIZE_MAX - 1, &wanted.first) ||
        !command_number(&options[1], 0, MERKLE_SIZE_MAX - 1, &wanted.next)) {
        arena_dispose(&arena);
        arena_pool_close(&pool);
        return EXIT_SETTINGS;
    }
    wanted.next += options[1].value == NULL ? 0 : 1;
    code = arena == NULL ? err_set(&err, ERR_TOO_LARGE, "no memory to export with")
                         : command_connect(settings, &db, &err);
    code = code == OK ? range_choose(db, &options[1], &checkpoint, &wanted, &err) : code;
    code = code == OK ? sealed_refuse(db, &wanted, arena, &err) : code;
    code = code == OK ? file_make(db, &wanted, path, &err) : code;
    if (code == OK && options[1].value == NULL) {
        code = newer_tell(db, &checkpoint, arena, &err);
    }
    arena_dispose(&arena);
    arena_pool_close(&pool);
    pg_blocking_close(&db);
    return code == OK ? 0 : command_fail(&err);
}
