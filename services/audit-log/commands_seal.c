/*
 * audit-log --seal: the records of a month leave the database for a sealed file. The file is made,
 * put in its place and verified from the disk first; then one transaction notes it and drops the
 * partition. Whatever ends the command before that transaction leaves everything as it was but for
 * a file that the next run replaces; after it, the next run says that the month is sealed.
 */
#include "audit_log_sql.gen.h"
#include "services/audit-log/commands.h"
#include "services/audit-log/seals.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/config.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define KEEP_DAYS     365
#define KEEP_DAYS_MAX 36500
#define LOCK_TRIES    120 /* of half a second: nobody who writes waits longer for us */
#define SQL_BYTES     512

typedef unsigned long long number; /* for printf */

struct sealing {
    struct pg_blocking *db;
    struct arena *arena;
    const char *dir;
    char log_vkey[NOTE_KEY_TEXT_BYTES_MAX];
    uint64_t keep_days;
    char month[EXPORT_MONTH_BYTES]; /* its first day */
    char partition[32];
    char file_name[32];
    char path[EXPORT_PATH_BYTES_MAX];
    Avanta__AuditLog__SealWindow window;
    const Avanta__AuditLog__SealLeaves *leaves;
    const Avanta__AuditLog__SealRow *last; /* seal before this one, or NULL */
    struct verify_report report;           /* of the file */
    struct export_checkpoint checkpoint;
    struct err *err;
};

/* --- what is to be sealed --------------------------------------------------------------------- */

static bool month_read(struct sealing *s, const char *text)
{
    struct date date;

    _Static_assert(sizeof "audit_record_YYYY_MM" <= sizeof s->partition, "the name fits");
    _Static_assert(sizeof "audit-YYYY-MM.ndjson.gz" <= sizeof s->file_name, "the name fits");
    assert(text != NULL);
    (void)snprintf(s->month, sizeof s->month, "%.7s-01", text);
    if (strlen(text) != 7 || !date_parse(str_from(s->month), &date)) {
        (void)fprintf(stderr, "audit-log: a month is wanted as YYYY-MM\n");
        return false;
    }
    (void)snprintf(
        s->partition, sizeof s->partition, "audit_record_%.4s_%.2s", s->month, s->month + 5);
    (void)snprintf(s->file_name, sizeof s->file_name, "audit-%.7s.ndjson.gz", s->month);
    avanta__audit_log__seal_window__init(&s->window);
    s->window.month = s->month;
    return true;
}

/* One seal at a time, else two would be linked to the same one. */
static enum code alone(struct sealing *s)
{
    struct pg_rows rows = {.count = 0};
    enum code code = pg_blocking_query(s->db, Q_SEAL_LOCK, NULL, s->arena, &rows, s->err);

    if (code == OK &&
        (rows.count != 1 || !((Avanta__AuditLog__TreeOurs *)(void *)rows.all[0])->ours)) {
        code = err_set(s->err, ERR_CONFLICT, "another --seal is at work");
    }
    return code;
}

/* *out_done: this month was sealed before. */
static enum code chain_read(struct sealing *s, bool *out_done)
{
    struct seals seals = {.count = 0};
    enum code code = seals_read(s->db, s->arena, &seals, s->err);

    *out_done = false;
    assert(s->last == NULL);
    assert(s->month[0] != '\0');
    if (code != OK || seals.count == 0) {
        return code;
    }
    s->last = seals.rows[seals.count - 1];
    for (size_t i = 0; i < seals.count; i++) {
        if (memcmp(seals.rows[i]->month, s->month, sizeof "YYYY-MM" - 1) == 0) {
            *out_done = true;
            s->last = seals.rows[i];
        }
    }
    if (!*out_done && strncmp(s->last->month, s->month, sizeof "YYYY-MM" - 1) > 0) {
        return err_set(s->err,
                       ERR_CONFLICT,
                       "%s is sealed already: months are sealed in their order",
                       s->last->month);
    }
    return OK;
}

static enum code state_check(struct sealing *s)
{
    struct pg_rows rows = {.count = 0};
    const Avanta__AuditLog__SealState *state = NULL;
    enum code code =
        pg_blocking_query(s->db, Q_SEAL_STATE, &s->window.base, s->arena, &rows, s->err);

    if (code != OK) {
        return code;
    }
    assert(rows.count == 1);
    assert(s->keep_days <= KEEP_DAYS_MAX);
    state = (Avanta__AuditLog__SealState *)(void *)rows.all[0];
    if (state->days_over < 0 || (uint64_t)state->days_over < s->keep_days) {
        return err_set(s->err,
                       ERR_CONFLICT,
                       "%.7s is not over since %llu days (--keep-days)",
                       s->month,
                       (number)s->keep_days);
    }
    if (state->strays > 0) {
        return err_set(s->err,
                       ERR_CONFLICT,
                       "%lld records of %.7s lie in audit_record_default, which is not sealed",
                       (long long)state->strays,
                       s->month);
    }
    if (!state->has_partition) {
        return err_set(s->err, ERR_NOT_FOUND, "there is no partition %s", s->partition);
    }
    if (state->earlier != NULL) {
        return err_set(
            s->err, ERR_CONFLICT, "%s is there: months are sealed in their order", state->earlier);
    }
    return OK;
}

static enum code leaves_read(struct sealing *s, const Avanta__AuditLog__SealLeaves **out)
{
    struct pg_rows rows = {.count = 0};
    enum code code =
        pg_blocking_query(s->db, Q_SEAL_LEAVES, &s->window.base, s->arena, &rows, s->err);

    assert(code != OK || rows.count == 1);
    *out = code == OK ? (Avanta__AuditLog__SealLeaves *)(void *)rows.all[0] : NULL;
    return code;
}

static enum code records_find(struct sealing *s)
{
    enum code code = leaves_read(s, &s->leaves);

    assert(code != OK || s->leaves->first <= s->leaves->next);
    if (code == OK) {
        code = export_checkpoint_find(s->db, (uint64_t)s->leaves->next, &s->checkpoint, s->err);
    }
    if (code == OK && s->checkpoint.size < (uint64_t)s->leaves->next) {
        code = err_set(s->err,
                       ERR_CONFLICT,
                       "the newest checkpoint does not cover all records of %.7s yet",
                       s->month);
    }
    return code;
}

/* --- the file --------------------------------------------------------------------------------- */

/* Only a seal that was ended before its month was may be replaced. */
static enum code place_check(struct sealing *s)
{
    struct err err = {.code = OK};

    assert(s->path[0] != '\0');
    assert(s->log_vkey[0] != '\0');
    if (access(s->path, F_OK) != 0) {
        return OK;
    }
    if (audit_verify_file(s->path, s->log_vkey, NULL, &s->report, &err) != OK ||
        s->report.kind != VERIFY_SEAL || memcmp(s->report.month, s->month, 7) != 0) {
        return err_set(s->err,
                       ERR_CONFLICT,
                       "%.120s is there and no seal of %.7s by this log: move it away",
                       s->path,
                       s->month);
    }
    return OK;
}

static enum code file_make(struct sealing *s)
{
    const struct export_wanted wanted = {
        .month = s->month,
        .first = (uint64_t)s->leaves->first,
        .next = (uint64_t)s->leaves->next,
        .records = (uint64_t)s->leaves->records,
        .previous_sha256 = s->last == NULL ? NULL : s->last->file_sha256.data,
        .checkpoint = &s->checkpoint,
    };
    struct export_file *file = NULL;
    uint64_t records = 0;
    enum code code = place_check(s);

    assert(s->leaves != NULL);
    assert(wanted.next <= s->checkpoint.size);
    code = code == OK ? export_file_open(s->path, &file, s->err) : code;
    code = code == OK ? export_make(s->db, &wanted, file, &records, s->err) : code;
    code = code == OK ? export_file_finish(file, s->err) : code;
    export_file_close(&file);
    return code;
}

/* The row as the database will have it; what it points to is of `s`. */
static void row_fill(struct sealing *s, Avanta__AuditLog__SealRow *out)
{
    assert(s->report.kind == VERIFY_SEAL);
    assert(s->leaves != NULL);
    avanta__audit_log__seal_row__init(out);
    out->month = s->month;
    out->leaves = s->leaves->leaves;
    out->file_name = s->file_name;
    out->has_file_sha256 = true;
    out->file_sha256 = (ProtobufCBinaryData){SHA256_BYTES, s->report.file_sha256};
    if (s->last != NULL) {
        out->has_previous_sha256 = true;
        out->previous_sha256 = s->last->file_sha256;
    }
}

/* From the disk, by what anybody verifies it with; and it has the records of the partition. */
static enum code file_check(struct sealing *s)
{
    uint8_t leaves[SHA256_BYTES];
    enum code code = audit_verify_file(s->path, s->log_vkey, NULL, &s->report, s->err);

    if (code != OK) {
        return err_prefix(s->err, "the file that was written does not verify");
    }
    sha256(str_from(s->leaves->leaves), leaves);
    if (s->report.kind != VERIFY_SEAL || s->report.records != (uint64_t)s->leaves->records ||
        memcmp(leaves, s->report.leaves_sha256, sizeof leaves) != 0) {
        return err_set(s->err, ERR_CONFLICT, "the file that was written has not all records");
    }
    return OK;
}

/* --- the transaction -------------------------------------------------------------------------- */

static enum code run(struct sealing *s, const char *format, struct err *err)
{
    char sql[SQL_BYTES];
    struct buf text = buf_over(sql, sizeof sql);
    struct str rest = str_from(format);
    struct str part = STR_EMPTY;

    /* For each '?' the partition, whose name is made of digits. */
    for (size_t i = 0; str_split(&rest, '?', &part); i++) {
        buf_text(&text, i == 0 ? "" : s->partition);
        buf_str(&text, part);
    }
    assert(!text.overflow);
    return buf_terminate(&text) ? pg_blocking_run(s->db, sql, err) : ERR_INTERNAL;
}

/* Nobody adds to the partition any more, and nobody did since the file was made. */
static enum code still_the_same(struct sealing *s)
{
    const Avanta__AuditLog__SealLeaves *now = NULL;
    enum code code = leaves_read(s, &now);

    assert(s->leaves != NULL);
    if (code == OK &&
        (strcmp(now->leaves, s->leaves->leaves) != 0 || now->records != s->leaves->records)) {
        code = err_set(s->err,
                       ERR_CONFLICT,
                       "records of %.7s came while it was sealed: run it again",
                       s->month);
    }
    return code;
}

static enum code partition_drop(struct sealing *s, struct err *err)
{
    Avanta__AuditLog__SealRow row;
    enum code code = run(s,
                         "BEGIN; SET LOCAL lock_timeout = '500ms';"
                         "LOCK TABLE ? IN SHARE MODE",
                         err);

    assert(err != s->err);
    if (code == OK) {
        code = still_the_same(s);
    }
    if (code == OK) {
        row_fill(s, &row);
        code = pg_blocking_query(s->db, Q_SEAL_ADD, &row.base, s->arena, NULL, err);
    }
    if (code == OK) {
        code = run(s,
                   "ALTER TABLE audit_record DETACH PARTITION ?;"
                   "DROP TABLE ?; COMMIT",
                   err);
    }
    return code;
}

static enum code commit(struct sealing *s)
{
    enum code code = ERR_TIMEOUT;
    struct err err = {.code = OK};

    assert(s->report.records == (uint64_t)s->leaves->records);
    for (int i = 0; i < LOCK_TRIES && code == ERR_TIMEOUT; i++) {
        struct err nobody = {.code = OK};

        err = (struct err){.code = OK};
        code = partition_drop(s, &err);
        if (code != OK && pg_blocking_run(s->db, "ROLLBACK", &nobody) != OK) {
            break;
        }
    }
    return code == OK ? OK : err_set(s->err, code, "%s", err.text);
}

/* --- the command ------------------------------------------------------------------------------ */

static enum code already(struct sealing *s)
{
    assert(s->last != NULL);

    enum code code = seal_check(s->dir, s->log_vkey, s->last, &s->report, s->err);

    if (code != OK) {
        return err_prefix(s->err, "%.7s is sealed, but %s", s->month, s->last->file_name);
    }
    (void)printf("%.7s is sealed in %s\n", s->month, s->last->file_name);
    return OK;
}

static enum code seal(struct sealing *s)
{
    bool done = false;
    assert(s->dir != NULL);
    assert(s->err->code == OK);

    enum code code = seal_path(s->dir, s->file_name, s->path, s->err);

    code = code == OK ? alone(s) : code;
    code = code == OK ? chain_read(s, &done) : code;
    if (code != OK || done) {
        return code == OK ? already(s) : code;
    }
    code = state_check(s);
    code = code == OK ? records_find(s) : code;
    code = code == OK ? file_make(s) : code;
    code = code == OK ? file_check(s) : code;
    code = code == OK ? commit(s) : code;
    if (code == OK) {
        (void)printf("%.7s is sealed in %s: %llu records, which left the database\n",
                     s->month,
                     s->file_name,
                     (number)s->report.records);
    }
    return code;
}

static int seal_run(struct sealing *s, const struct command_settings *settings)
{
    struct arena_pool *pool = export_pool_open();
    enum code code = OK;

    assert(s != NULL);
    s->arena = pool == NULL ? NULL : export_arena_open(pool);
    code = s->arena == NULL ? err_set(s->err, ERR_TOO_LARGE, "no memory to seal with")
                            : command_connect(settings, &s->db, s->err);
    code = code == OK ? seal(s) : code;
    arena_dispose(&s->arena);
    arena_pool_close(&pool);
    pg_blocking_close(&s->db);
    return code == OK ? 0 : command_fail(s->err);
}

int command_seal(int argc, char **argv, const struct command_settings *settings)
{
    static struct sealing sealing; /* too large for the stack */
    struct command_option options[] = {
        {"--dir",       NULL},
        {"--keep-days", NULL},
        {"--log-key",   NULL}
    };
    const char *month = NULL;
    struct err err = {.code = OK};
    int status = COMMAND_FAILED;

    if (!command_read(argc, argv, &month, &(struct command_options){options, ARRAY_LEN(options)}) ||
        !command_number(&options[1], KEEP_DAYS, KEEP_DAYS_MAX, &sealing.keep_days) ||
        !month_read(&sealing, month)) {
        return EXIT_SETTINGS;
    }
    sealing.dir = options[0].value;
    if (sealing.dir == NULL) {
        (void)fprintf(stderr, "audit-log: --dir DIR is required; --help tells more\n");
        return EXIT_SETTINGS;
    }
    if (command_log_key(options[2].value, settings, sealing.log_vkey, &err) != OK) {
        (void)command_fail(&err);
        return EXIT_SETTINGS;
    }
    sealing.err = &err;
    status = seal_run(&sealing, settings);
    sealing.err = NULL;
    return status;
}
