#include "libcommon/io/pg_migrate.h"

#include "libcommon/base/str.h"
#include "libcommon/io/digest.h"
#include "libcommon/io/pg_libpq.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* "avanta" in ASCII: the same lock for every migrator of one database. */
#define ADVISORY_LOCK   "107143993652321"
#define LOCK_WAIT       "60s"
#define CONNECT_SECONDS "10"
#define HASH_TEXT_BYTES (2 * SHA256_BYTES + 1)
#define NUMBER_BYTES    16

struct migrator {
    PGconn *pq;
    void (*on_step)(const char *set, const struct pg_migration *step);
    struct err *err;
};

/* Text for the operator at deployment, so what the database says may be shown. */
static enum code database_error(const struct migrator *m, const PGresult *result, const char *doing)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    assert(doing != NULL);
    if (message == NULL) {
        message = PQerrorMessage(m->pq);
    }
    return err_set(m->err,
                   PQstatus(m->pq) == CONNECTION_BAD ? ERR_UNAVAILABLE : ERR_INTERNAL,
                   "%s: %.*s",
                   doing,
                   (int)strcspn(message, "\n"),
                   message);
}

/* Runs one statement or several without parameters. */
static enum code run(const struct migrator *m, const char *sql, const char *doing)
{
    PGresult *result = PQexec(m->pq, sql);
    const ExecStatusType status = PQresultStatus(result);
    enum code code = OK;

    assert(sql != NULL);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK && status != PGRES_EMPTY_QUERY) {
        code = database_error(m, result, doing);
    }
    PQclear(result);
    return code;
}

static void hash_text(const char *text, char out[HASH_TEXT_BYTES])
{
    uint8_t digest[SHA256_BYTES];

    assert(text != NULL);
    sha256(str_from(text), digest);
    hex_encode(digest, sizeof(digest), out);
}

/* --- what is there --------------------------------------------------------------- */

/* One row of schema_migration against the step of the same number. */
static enum code check_applied(const struct migrator *m,
                               const struct pg_migration_set *set,
                               const PGresult *rows,
                               int row)
{
    char hash[HASH_TEXT_BYTES];
    const char *number = PQgetvalue(rows, row, 0);
    int64_t value = 0;

    assert(row >= 0);
    if (!str_to_int64(str_from(number), &value) || value < 1) {
        return err_set(m->err, ERR_INTERNAL, "schema_migration of %s has a bad row", set->name);
    }
    if ((uint64_t)value > set->count) {
        return err_set(
            m->err,
            ERR_CONFLICT,
            "the database has step %s of %s, this program knows only %zu: it is older than "
            "the database; deploy the newer program or restore a backup",
            number,
            set->name,
            set->count);
    }
    if (value != row + 1) {
        return err_set(
            m->err,
            ERR_CONFLICT,
            "step %d of %s is missing in schema_migration though step %s is there: restore "
            "the row or the database",
            row + 1,
            set->name,
            number);
    }
    hash_text(set->steps[row].text, hash);
    if (strcmp(hash, PQgetvalue(rows, row, 1)) != 0) {
        return err_set(
            m->err,
            ERR_CONFLICT,
            "the text of step %s of %s (%s) changed after it was applied: restore it and "
            "put the change into a new step",
            number,
            set->name,
            set->steps[row].name);
    }
    return OK;
}

/* Checks every applied step; they are 1..*out_applied. */
static enum code
read_applied(const struct migrator *m, const struct pg_migration_set *set, size_t *out_applied)
{
    const char *const values[] = {set->name};
    PGresult *rows = PQexecParams(m->pq,
                                  "SELECT number, sha256 FROM schema_migration"
                                  " WHERE set_name = $1 ORDER BY number",
                                  1,
                                  NULL,
                                  values,
                                  NULL,
                                  NULL,
                                  0);
    enum code code = OK;

    assert(out_applied != NULL);
    if (PQresultStatus(rows) != PGRES_TUPLES_OK) {
        code = database_error(m, rows, "reading schema_migration");
    }
    for (int i = 0; code == OK && i < PQntuples(rows); i++) {
        code = check_applied(m, set, rows, i);
    }
    *out_applied = (size_t)PQntuples(rows);
    PQclear(rows);
    return code;
}

/* --- steps ----------------------------------------------------------------------- */

static enum code record(const struct migrator *m, const char *set, const struct pg_migration *step)
{
    char hash[HASH_TEXT_BYTES];
    char number[NUMBER_BYTES];
    const char *const values[] = {set, number, step->name, hash};
    PGresult *result = NULL;
    enum code code = OK;

    assert(set != NULL);
    assert(step->number > 0);
    hash_text(step->text, hash);
    (void)snprintf(number, sizeof(number), "%u", step->number);
    result = PQexecParams(m->pq,
                          "INSERT INTO schema_migration (set_name, number, name, sha256)"
                          " VALUES ($1, $2, $3, $4)",
                          4,
                          NULL,
                          values,
                          NULL,
                          NULL,
                          0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        code = database_error(m, result, "recording the step");
    }
    PQclear(result);
    return code;
}

static enum code
apply_in_transaction(const struct migrator *m, const char *set, const struct pg_migration *step)
{
    enum code code = run(m, "BEGIN", "BEGIN");

    if (code == OK) {
        code = run(m, step->text, "the step");
    }
    /* Each step and its row appear together or not at all. */
    if (code == OK && PQtransactionStatus(m->pq) != PQTRANS_INTRANS) {
        return err_set(m->err,
                       ERR_INTERNAL,
                       "the step ends its transaction: take COMMIT or ROLLBACK out of it");
    }
    if (code == OK) {
        code = record(m, set, step);
    }
    return code == OK ? run(m, "COMMIT", "COMMIT") : code;
}

static enum code
apply_step(const struct migrator *m, const char *set, const struct pg_migration *step)
{
    enum code code = apply_in_transaction(m, set, step);

    if (code != OK) {
        (void)err_prefix(m->err, "step %u of %s (%s)", step->number, set, step->name);
        if (PQtransactionStatus(m->pq) != PQTRANS_IDLE) {
            PQclear(PQexec(m->pq, "ROLLBACK"));
        }
        return code;
    }
    if (m->on_step != NULL) {
        m->on_step(set, step);
    }
    return OK;
}

static enum code apply_set(const struct migrator *m, const struct pg_migration_set *set)
{
    size_t applied = 0;
    enum code code = OK;

    for (size_t i = 0; i < set->count; i++) {
        if (set->steps[i].number != i + 1) {
            return err_set(m->err,
                           ERR_INTERNAL,
                           "the steps of %s have a gap: %zu is missing",
                           set->name,
                           i + 1);
        }
    }
    code = read_applied(m, set, &applied);
    for (size_t i = applied; code == OK && i < set->count; i++) {
        code = apply_step(m, set->name, &set->steps[i]);
    }
    return code;
}

static enum code prepare_database(const struct migrator *m)
{
    enum code code = run(m,
                         "SET client_min_messages = warning; SET timezone = 'UTC';"
                         "SET lock_timeout = '" LOCK_WAIT "'",
                         "settings");

    if (code == OK) {
        code = run(m,
                   "SELECT pg_advisory_lock(" ADVISORY_LOCK ")",
                   "waiting for another migrator of this database");
    }
    if (code == OK) {
        code = run(m,
                   "CREATE TABLE IF NOT EXISTS schema_migration ("
                   "set_name text NOT NULL, number integer NOT NULL, name text NOT NULL,"
                   "sha256 text NOT NULL, applied_at timestamptz NOT NULL DEFAULT now(),"
                   "PRIMARY KEY (set_name, number))",
                   "creating schema_migration");
    }
    return code;
}

enum code pg_migrate(const char *dsn,
                     const struct pg_migration_set *sets,
                     size_t set_count,
                     void (*on_step)(const char *set, const struct pg_migration *step),
                     struct err *err)
{
    const char *const keywords[] = {"connect_timeout", "dbname", "application_name", NULL};
    const char *const values[] = {CONNECT_SECONDS, dsn, "avanta-migrate", NULL};
    struct migrator m = {NULL, on_step, err};
    enum code code = OK;

    assert(dsn != NULL);
    assert(sets != NULL || set_count == 0);
    m.pq = PQconnectdbParams(keywords, values, 1);
    if (PQstatus(m.pq) != CONNECTION_OK) {
        code = err_set(err,
                       ERR_UNAVAILABLE,
                       "connecting: %.*s",
                       (int)strcspn(PQerrorMessage(m.pq), "\n"),
                       PQerrorMessage(m.pq));
    } else {
        code = prepare_database(&m);
    }
    for (size_t i = 0; code == OK && i < set_count; i++) {
        code = apply_set(&m, &sets[i]);
    }
    PQfinish(m.pq); /* ends the session and with it the advisory lock */
    return code;
}
