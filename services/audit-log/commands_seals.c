/* audit-log --seals: the sealed files, one by one, and how they hang together. */
#include "services/audit-log/commands.h"
#include "services/audit-log/seals.h"

#include "libcommon/base/config.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <string.h>

/* Each seal names the file of the one before: nobody takes one out or puts another in. */
static bool is_linked(const struct seals *seals, size_t i)
{
    const ProtobufCBinaryData *previous = &seals->rows[i]->previous_sha256;
    const ProtobufCBinaryData *before = i == 0 ? NULL : &seals->rows[i - 1]->file_sha256;

    assert(i < seals->count);
    if (before == NULL) {
        return previous->len == 0;
    }
    return previous->len == before->len && previous->len == SHA256_BYTES &&
           memcmp(previous->data, before->data, before->len) == 0;
}

static bool is_known(const struct seals *seals, const char *name)
{
    assert(name != NULL);
    for (size_t i = 0; i < seals->count; i++) {
        if (strcmp(seals->rows[i]->file_name, name) == 0) {
            return true;
        }
    }
    return false;
}

/* A seal that was ended before its month was: no harm, but not of the chain. */
static void strangers_tell(const char *dir, const struct seals *seals)
{
    DIR *directory = opendir(dir);
    const struct dirent *entry = NULL;

    assert(dir != NULL);
    /* NOLINTNEXTLINE(concurrency-mt-unsafe): one thread */
    while (directory != NULL && (entry = readdir(directory)) != NULL) {
        if (entry->d_name[0] != '.' && !is_known(seals, entry->d_name)) {
            (void)fprintf(
                stderr, "audit-log: %s is in the directory and not of the chain\n", entry->d_name);
        }
    }
    if (directory != NULL) {
        (void)closedir(directory);
    }
}

static bool seal_tell(const char *dir, const char *log_vkey, const struct seals *seals, size_t i)
{
    const Avanta__AuditLog__SealRow *row = seals->rows[i];
    struct verify_report report;
    struct err err = {.code = OK};

    assert(i < seals->count);
    assert(row->month != NULL);
    if (seal_check(dir, log_vkey, row, &report, &err) != OK) {
        (void)printf("%s %s does not hold\n", row->month, row->file_name);
        (void)command_refuse(row->file_name, &report, &err);
        return false;
    }
    if (!is_linked(seals, i)) {
        (void)printf("%s %s does not hold\n", row->month, row->file_name);
        (void)fprintf(stderr,
                      "audit-log: %s: the seal before it is not the one it was linked to\n",
                      row->file_name);
        return false;
    }
    (void)printf("%s %s holds: %llu records\n",
                 row->month,
                 row->file_name,
                 (unsigned long long)report.records);
    return true;
}

static int
seals_tell(struct pg_blocking *db, const char *dir, const char *log_vkey, struct err *err)
{
    struct arena_pool *pool = export_pool_open();
    struct arena *arena = pool == NULL ? NULL : export_arena_open(pool);
    struct seals seals = {.count = 0};
    size_t good = 0;
    enum code code = arena == NULL ? err_set(err, ERR_TOO_LARGE, "no memory to check with")
                                   : seals_read(db, arena, &seals, err);

    assert(dir != NULL);
    assert(log_vkey[0] != '\0');
    for (size_t i = 0; i < seals.count && code == OK; i++) {
        good += seal_tell(dir, log_vkey, &seals, i) ? 1 : 0;
    }
    if (code == OK) {
        strangers_tell(dir, &seals);
        (void)printf("%zu of %zu seals hold\n", good, seals.count);
    }
    arena_dispose(&arena);
    arena_pool_close(&pool);
    if (code != OK) {
        return command_fail(err);
    }
    return good == seals.count ? 0 : COMMAND_FAILED;
}

int command_seals(int argc, char **argv, const struct command_settings *settings)
{
    struct command_option options[] = {
        {"--log-key", NULL}
    };
    char log_vkey[NOTE_KEY_TEXT_BYTES_MAX];
    struct pg_blocking *db = NULL;
    const char *dir = NULL;
    struct err err = {.code = OK};
    int status = COMMAND_FAILED;

    assert(settings->dsn != NULL);
    assert(settings->own != NULL);
    if (!command_read(argc, argv, &dir, &(struct command_options){options, ARRAY_LEN(options)})) {
        return EXIT_SETTINGS;
    }
    if (command_log_key(options[0].value, settings, log_vkey, &err) != OK) {
        (void)command_fail(&err);
        return EXIT_SETTINGS;
    }
    status = command_connect(settings, &db, &err) == OK ? seals_tell(db, dir, log_vkey, &err)
                                                        : command_fail(&err);
    pg_blocking_close(&db);
    return status;
}
