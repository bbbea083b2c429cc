/* Every statement of the tables is prepared and described before a connection serves, in chunks of
 * one round trip each. A statement that the database does not understand is a fault of the program
 * or of the deployment; anything else is a fault of the moment. */
#include "libcommon/io/pg_conn.h"
#include "libcommon/io/pg_plan.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define NAME_BYTES 24

static bool send_statement(struct pg_conn *conn, uint16_t table, uint16_t index)
{
    assert(table < conn->options->table_count);
    assert(index < conn->options->tables[table].count);

    const struct pg_query *query = &conn->options->tables[table].queries[index];
    const uint32_t *types = pg_plan_types(conn->options->plans[table], index);
    char name[NAME_BYTES];
    const int len = snprintf(name, sizeof(name), "t%uq%u", (unsigned)table, (unsigned)index);

    assert(len > 0);
    assert((size_t)len < sizeof(name));
    _Static_assert(sizeof(Oid) == sizeof(*types), "an OID is a 32-bit number");
    if (PQsendPrepare(conn->pq, name, query->text, query->parameter_count, types) != 1) {
        return false;
    }
    pg_queue_add(conn, PG_ITEM_PREPARE, table, index, NULL);
    if (PQsendDescribePrepared(conn->pq, name) != 1) {
        return false;
    }
    pg_queue_add(conn, PG_ITEM_DESCRIBE, table, index, NULL);
    return true;
}

/* True while there is a statement to prepare; steps over empty tables. */
static bool next_statement(struct pg_conn *conn)
{
    const struct pg_pool_options *options = conn->options;

    while (conn->prepare_table < options->table_count &&
           conn->prepare_query == options->tables[conn->prepare_table].count) {
        conn->prepare_table++;
        conn->prepare_query = 0;
    }
    return conn->prepare_table < options->table_count;
}

static void send_chunk(struct pg_conn *conn)
{
    assert(conn->pq != NULL);
    for (int i = 0; i < PG_PREPARE_CHUNK && next_statement(conn); i++) {
        if (!send_statement(conn, (uint16_t)conn->prepare_table, conn->prepare_query)) {
            pg_conn_doom(conn, "a statement cannot be sent");
            return;
        }
        conn->prepare_query++;
    }
    pg_queue_send(conn);
}

void pg_prepare_start(struct pg_conn *conn)
{
    assert(pg_conn_state(conn) == PG_PREPARING);
    assert(conn->head == conn->tail);
    conn->prepare_table = 0;
    conn->prepare_query = 0;
    conn->prepare_final = false;
    conn->prepare_err = (struct err){.code = OK};
    if (PQenterPipelineMode(conn->pq) != 1) {
        pg_conn_doom(conn, "pipeline mode is refused");
        return;
    }
    send_chunk(conn);
}

/* Class 42 is syntax, missing names and missing rights: waiting does not help. */
static void keep_error(struct pg_conn *conn, const struct pg_query *query, const PGresult *result)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);

    assert(query != NULL);
    if (conn->prepare_err.code != OK) {
        return;
    }
    conn->prepare_final = sqlstate != NULL && strncmp(sqlstate, "42", 2) == 0;
    (void)err_set(&conn->prepare_err,
                  ERR_INTERNAL,
                  "query %s: %s",
                  query->name,
                  message == NULL ? "the connection failed" : message);
}

void pg_prepare_result(struct pg_conn *conn, const struct pg_item *item, const PGresult *result)
{
    assert(item->table < conn->options->table_count);

    const ExecStatusType status = PQresultStatus(result);
    const struct pg_query *query = &conn->options->tables[item->table].queries[item->query];

    assert(pg_conn_state(conn) == PG_PREPARING);
    if (status == PGRES_FATAL_ERROR) {
        keep_error(conn, query, result);
    }
    if (status != PGRES_COMMAND_OK || item->kind != PG_ITEM_DESCRIBE ||
        conn->prepare_err.code != OK) {
        return;
    }
    conn->prepare_final =
        pg_plan_check_columns(
            conn->options->plans[item->table], item->query, result, &conn->prepare_err) != OK;
}

void pg_prepare_synced(struct pg_conn *conn)
{
    struct err err = conn->prepare_err;

    assert(pg_conn_state(conn) == PG_PREPARING);
    if (err.code == OK) {
        if (next_statement(conn)) {
            send_chunk(conn);
        } else {
            pg_conn_become_idle(conn);
        }
        return;
    }
    const bool final = conn->prepare_final;
    pg_conn_lost(conn, err.text);
    if (final) {
        pg_pool_on_fatal(conn->pool, &err);
    }
}
