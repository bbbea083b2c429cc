#include "libcommon/io/pg_blocking.h"

#include "libcommon/base/limits.h"
#include "libcommon/io/pg_libpq.h"
#include "libcommon/io/pg_plan.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_SECONDS    "10"
#define LOCK_NOT_AVAILABLE "55P03" /* SQLSTATE */
#define DEADLOCK_DETECTED  "40P01"

struct pg_blocking {
    PGconn *pq;
    const struct pg_query_table *table;
    struct pg_plan *plans;
    bool *prepared; /* of each statement */
};

static enum code database_error(const struct pg_blocking *db,
                                const PGresult *result,
                                const char *doing,
                                struct err *err)
{
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    enum code code = ERR_INTERNAL;

    assert(doing != NULL);
    if (message == NULL) {
        message = PQerrorMessage(db->pq);
    }
    if (PQstatus(db->pq) == CONNECTION_BAD) {
        code = ERR_UNAVAILABLE;
    } else if (state != NULL &&
               (strcmp(state, LOCK_NOT_AVAILABLE) == 0 || strcmp(state, DEADLOCK_DETECTED) == 0)) {
        code = ERR_TIMEOUT;
    }
    return err_set(err, code, "%s: %.*s", doing, (int)strcspn(message, "\n"), message);
}

enum code pg_blocking_run(struct pg_blocking *db, const char *sql, struct err *err)
{
    PGresult *result = PQexec(db->pq, sql);
    const ExecStatusType status = PQresultStatus(result);
    enum code code = OK;

    assert(sql != NULL);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        code = database_error(db, result, "the database", err);
    }
    PQclear(result);
    return code;
}

void pg_blocking_close(struct pg_blocking **db)
{
    assert(db != NULL);
    if (*db != NULL) {
        PQfinish((*db)->pq);
        pg_plans_close(&(*db)->plans);
        free((*db)->prepared);
        free(*db);
        *db = NULL;
    }
}

enum code pg_blocking_open(const char *dsn,
                           const char *application_name,
                           const struct pg_query_table *table,
                           struct pg_blocking **out,
                           struct err *err)
{
    const char *const keywords[] = {"connect_timeout", "dbname", "application_name", NULL};
    const char *const values[] = {CONNECT_SECONDS, dsn, application_name, NULL};
    struct pg_blocking *db = calloc(1, sizeof *db);
    enum code code = OK;

    assert(dsn != NULL);
    assert(table->count > 0);
    assert(out != NULL);
    if (db == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for a connection");
    }
    db->table = table;
    db->prepared = calloc(table->count, sizeof *db->prepared);
    if (db->prepared == NULL) {
        pg_blocking_close(&db);
        return err_set(err, ERR_OVERLOADED, "no memory for a connection");
    }
    code = pg_plans_open(table, &db->plans, err);
    if (code == OK) {
        db->pq = PQconnectdbParams(keywords, values, 1);
        if (PQstatus(db->pq) != CONNECTION_OK) {
            code = err_set(err,
                           ERR_UNAVAILABLE,
                           "connecting: %.*s",
                           (int)strcspn(PQerrorMessage(db->pq), "\n"),
                           PQerrorMessage(db->pq));
        }
    }
    if (code == OK) {
        code = pg_blocking_run(db,
                               "SET client_min_messages = warning; SET timezone = 'UTC';"
                               "SET statement_timeout = 0",
                               err);
    }
    if (code != OK) {
        pg_blocking_close(&db);
    }
    *out = db;
    return code;
}

static enum code prepare(struct pg_blocking *db, uint16_t index, struct err *err)
{
    const struct pg_query *query = &db->table->queries[index];
    PGresult *result = NULL;
    enum code code = OK;

    assert(index < db->table->count);
    assert(db->pq != NULL);
    if (db->prepared[index]) {
        return OK;
    }
    result = PQprepare(
        db->pq, query->name, query->text, query->parameter_count, pg_plan_types(db->plans, index));
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        code = database_error(db, result, query->name, err);
    }
    PQclear(result);
    if (code == OK) {
        result = PQdescribePrepared(db->pq, query->name);
        code = PQresultStatus(result) == PGRES_COMMAND_OK
                   ? pg_plan_check_columns(db->plans, index, result, err)
                   : database_error(db, result, query->name, err);
        PQclear(result);
    }
    db->prepared[index] = code == OK;
    return code;
}

static enum code rows_take(struct pg_blocking *db,
                           uint16_t index,
                           const struct pg_result *result,
                           struct arena *arena,
                           struct pg_rows *out,
                           struct err *err)
{
    const ProtobufCMessageDescriptor *type = db->table->queries[index].out;
    enum code code = OK;

    assert(type != NULL);
    assert(result != NULL);
    out->count = pg_result_rows(result);
    /* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are what it holds */
    out->all = arena_calloc(arena, out->count + 1, sizeof *out->all);
    if (out->all == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the rows do not fit into memory");
    }
    for (size_t i = 0; i < out->count && code == OK; i++) {
        out->all[i] = arena_alloc(arena, type->sizeof_message);
        if (out->all[i] == NULL) {
            code = ERR_TOO_LARGE;
            break;
        }
        type->message_init(out->all[i]);
        code = pg_bind_row(db->plans, index, result, i, arena, out->all[i], err);
    }
    return code == ERR_TOO_LARGE ? err_set(err, code, "the rows do not fit into memory") : code;
}

enum code pg_blocking_query(struct pg_blocking *db,
                            uint16_t query,
                            const ProtobufCMessage *in,
                            struct arena *arena,
                            struct pg_rows *out,
                            struct err *err)
{
    static const struct pg_context nobody = {.user_id = NULL};
    struct pg_params params = {.count = 0};
    PGresult *result = NULL;
    enum code code = prepare(db, query, err);

    assert(arena != NULL);
    if (code == OK) {
        code = pg_bind_params(db->plans, query, &nobody, in, arena, &params, err);
    }
    if (code != OK) {
        return code;
    }
    result = PQexecPrepared(db->pq,
                            db->table->queries[query].name,
                            params.count,
                            params.values,
                            params.lengths,
                            params.formats,
                            0);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        code = database_error(db, result, db->table->queries[query].name, err);
    }
    if (code == OK) {
        code = pg_result_attach(result, arena, err);
    }
    if (code != OK) {
        PQclear(result);
        return code;
    }
    return out == NULL ? OK : rows_take(db, query, result, arena, out, err);
}
