/* Row-level security as it is deployed: of every table with users' rows, also of those that are to
 * come, a reader sees the rows of the user it names, and none without a name; it changes nothing.
 * The service's own role sees all rows and has no rights beyond its work. */
#include "tests/support/check.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/shell.h"

#include "libcommon/base/attr.h"

#include <libpq-fe.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANA        "00000000-0000-4000-8000-00000000000a"
#define EVA        "00000000-0000-4000-8000-00000000000e"
#define NOBODY     "00000000-0000-4000-8000-0000000000ff"
#define TABLES_MAX 64

struct service {
    const char *name;
    const char *role;
};

static const struct service services[] = {
    {"ledger",    "ledger"   },
    {"identity",  "identity" },
    {"audit-log", "audit_log"},
};

static char base[512]; /* connection string without dbname */

static void run(const char *command)
{
    if (shell_run(command) != 0) {
        fail_msg("%s", command);
    }
}

/* The roles, the database and the tables, by the files and the program that deployment uses. */
static void deploy(const struct service *service)
{
    char command[2048];

    (void)snprintf(command,
                   sizeof command,
                   "ROLE_PASSWORD=x OWNER_PASSWORD=x psql -X -q -v ON_ERROR_STOP=1 "
                   "-d \"%s dbname=postgres\" -v role=%s -f deploy/postgres/service.sql",
                   base,
                   service->role);
    run(command);
    (void)snprintf(
        command,
        sizeof command,
        "env -i PATH=\"$PATH\" AVANTA_PG_MIGRATE_DSN=\"%s dbname=avanta_%s user=%s_owner\" "
        "\"$AVANTA_BUILD/bin/%s\" --migrate >/dev/null",
        base,
        service->role,
        service->role,
        service->name);
    run(command);
}

static int setup_all(void **state)
{
    const char *dsn = NULL;

    (void)state;
    if (!scratch_pg_is_own()) {
        fail_msg("this test makes roles: it needs a cluster of its own");
    }
    dsn = scratch_pg_database("unused");
    (void)snprintf(base, sizeof base, "%.*s", (int)(strstr(dsn, " dbname=") - dsn), dsn);
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        deploy(&services[i]);
    }
    return 0;
}

static PGconn *opened(const struct service *service)
{
    char dsn[1024];
    PGconn *pq = NULL;

    (void)snprintf(dsn, sizeof dsn, "%s dbname=avanta_%s", base, service->role);
    pq = PQconnectdb(dsn);
    assert_int_equal(PQstatus(pq), CONNECTION_OK);
    return pq;
}

static PGresult *ask(PGconn *pq, const char *sql)
{
    PGresult *rows = PQexec(pq, sql);
    const ExecStatusType status = PQresultStatus(rows);

    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(pq));
    }
    return rows;
}

static void do_sql(PGconn *pq, const char *sql)
{
    PQclear(ask(pq, sql));
}

static void expect_answer(PGconn *pq, const char *sql, const char *wanted)
{
    PGresult *rows = ask(pq, sql);

    if (strcmp(PQgetvalue(rows, 0, 0), wanted) != 0) {
        fail_msg("%s: %s, not %s", sql, PQgetvalue(rows, 0, 0), wanted);
    }
    PQclear(rows);
}

/* For want of rights, and not of something else. */
static void expect_refused(PGconn *pq, const char *sql)
{
    PGresult *rows = PQexec(pq, sql);
    const char *state = PQresultErrorField(rows, PG_DIAG_SQLSTATE);

    if (state == NULL || (strcmp(state, "42501") != 0 && strcmp(state, "25006") != 0)) {
        fail_msg("%s is not refused: %s", sql, state == NULL ? "it was done" : state);
    }
    PQclear(rows);
}

/* --- rows of two users in every table ------------------------------------------------------- */

struct table {
    char name[64];
    char owner[64]; /* the column that says whose a row is */
};

static size_t tables_read(PGconn *pq, struct table tables[TABLES_MAX])
{
    PGresult *rows =
        ask(pq,
            "SELECT c.table_name, c.column_name FROM information_schema.columns c "
            "WHERE c.table_schema = 'public' AND (c.column_name = 'user_id' OR "
            "(c.table_name = 'users' AND c.column_name = 'id')) AND NOT EXISTS (SELECT "
            "FROM pg_class p WHERE p.relname = c.table_name AND p.relispartition) "
            "ORDER BY 1");
    const int count = PQntuples(rows);

    assert_in_range(count, 1, TABLES_MAX);
    for (int i = 0; i < count; i++) {
        (void)snprintf(tables[i].name, sizeof tables[i].name, "%s", PQgetvalue(rows, i, 0));
        (void)snprintf(tables[i].owner, sizeof tables[i].owner, "%s", PQgetvalue(rows, i, 1));
    }
    PQclear(rows);
    return (size_t)count;
}

/* Rows that say whose they are and no more: nothing else of a table counts here. */
static void fill(PGconn *pq)
{
    struct table tables[TABLES_MAX];
    const size_t count = tables_read(pq, tables);
    char sql[512];

    do_sql(
        pq,
        "DO $$ DECLARE c record; BEGIN FOR c IN SELECT conrelid::regclass AS t, conname FROM "
        "pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('f', 'p', "
        "'u', 'c') AND conrelid <> 0 AND coninhcount = 0 ORDER BY contype = 'f' "
        "DESC LOOP EXECUTE format('ALTER "
        "TABLE %s DROP CONSTRAINT %I CASCADE', c.t, c.conname); END LOOP; FOR c IN SELECT "
        "a.attrelid::regclass AS t, a.attname FROM pg_attribute a JOIN pg_class t ON t.oid = "
        "a.attrelid WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND "
        "NOT t.relispartition AND "
        "a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND a.attidentity = '' LOOP "
        "EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', c.t, c.attname); END LOOP; "
        "END $$");
    do_sql(pq, "SET session_replication_role = replica"); /* no triggers */
    for (size_t i = 0; i < count; i++) {
        (void)snprintf(sql,
                       sizeof sql,
                       "INSERT INTO \"%.63s\" (\"%.63s\") VALUES ('" ANA "'), ('" EVA "'), ('" EVA
                       "')",
                       tables[i].name,
                       tables[i].owner);
        do_sql(pq, sql);
    }
    do_sql(pq, "SET session_replication_role = origin");
}

static void become(PGconn *pq, const char *role, const char *end)
{
    char sql[128];

    (void)snprintf(sql, sizeof sql, "SET ROLE %s%s", role, end);
    do_sql(pq, sql);
}

static void name_user(PGconn *pq, const char *user)
{
    char sql[128];

    (void)snprintf(sql, sizeof sql, "SET avanta.user_id = '%s'", user);
    do_sql(pq, sql);
}

static void expect_users(PGconn *pq, const struct table *table, const char *wanted)
{
    char sql[512];

    (void)snprintf(
        sql,
        sizeof sql,
        "SELECT coalesce(string_agg(right(\"%.63s\"::text, 1), '' ORDER BY \"%.63s\"), '') "
        "FROM \"%.63s\"",
        table->owner,
        table->owner,
        table->name);
    expect_answer(pq, sql, wanted);
}

static void changes_are_refused(PGconn *pq, const struct table *table)
{
    const char *const name = table->name;
    const char *const owner = table->owner;
    char sql[4][256];

    (void)snprintf(
        sql[0], sizeof sql[0], "INSERT INTO \"%.63s\" (\"%.63s\") VALUES ('" ANA "')", name, owner);
    (void)snprintf(
        sql[1], sizeof sql[1], "UPDATE \"%.63s\" SET \"%.63s\" = '" NOBODY "'", name, owner);
    (void)snprintf(sql[2], sizeof sql[2], "DELETE FROM \"%.63s\"", name);
    (void)snprintf(sql[3], sizeof sql[3], "TRUNCATE \"%.63s\"", name);
    for (size_t i = 0; i < ARRAY_LEN(sql); i++) {
        expect_refused(pq, sql[i]);
    }
}

static void readers_see_one_user(void **state)
{
    struct table tables[TABLES_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        PGconn *pq = opened(&services[i]);
        const size_t count = tables_read(pq, tables);

        fill(pq);
        become(pq, services[i].role, "_reader");
        for (size_t t = 0; t < count; t++) {
            expect_users(pq, &tables[t], ""); /* the setting was never made */
        }
        for (size_t t = 0; t < count; t++) {
            name_user(pq, ANA);
            expect_users(pq, &tables[t], "a");
            name_user(pq, EVA);
            expect_users(pq, &tables[t], "ee");
            name_user(pq, NOBODY);
            expect_users(pq, &tables[t], "");
            name_user(pq, "");
            expect_users(pq, &tables[t], "");
            name_user(pq, ANA);
            changes_are_refused(pq, &tables[t]);
            expect_users(pq, &tables[t], "a");
        }
        do_sql(pq, "RESET avanta.user_id");
        for (size_t t = 0; t < count; t++) {
            expect_users(pq, &tables[t], "");
        }
        do_sql(pq, "RESET ROLE");
        become(pq, services[i].role, "");
        for (size_t t = 0; t < count; t++) {
            expect_users(pq, &tables[t], "aee");
        }
        PQfinish(pq);
    }
}

static void readers_see_no_secret(void **state)
{
    static const char *const columns[] = {
        "password_hash FROM users",
        "token_hash FROM refresh_token",
        "key_hash FROM api_key",
        "sealed FROM mfa",
        "code_hash FROM recovery_code",
        "sealed FROM signing_key",
        "key FROM attempt",
        "reply FROM idempotency",
        "body FROM outbox",
        "google_sub FROM users",
        "* FROM users",
    };
    PGconn *pq = opened(&services[1]);
    char sql[128];

    (void)state;
    become(pq, services[1].role, "_reader");
    name_user(pq, ANA);
    for (size_t i = 0; i < ARRAY_LEN(columns); i++) {
        (void)snprintf(sql, sizeof sql, "SELECT %s", columns[i]);
        expect_refused(pq, sql);
    }
    PQfinish(pq);
}

/* --- the service's own role ----------------------------------------------------------------- */

static void services_have_no_rights_beyond_their_work(void **state)
{
    static const char *const forbidden[] = {
        "CREATE TABLE mine (id bigint)",
        "CREATE SCHEMA mine",
        "CREATE TEMPORARY TABLE mine (id bigint)",
        "CREATE ROLE mine",
        "TRUNCATE idempotency",
        "ALTER TABLE idempotency DISABLE ROW LEVEL SECURITY",
        "DROP POLICY reader ON idempotency",
        "CREATE POLICY mine ON idempotency USING (true)",
        "SELECT user_rows('idempotency')",
        "DELETE FROM schema_migration",
        "COPY idempotency TO '/tmp/idempotency'",
        "COPY idempotency TO PROGRAM 'cat'",
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        PGconn *pq = opened(&services[i]);

        become(pq, services[i].role, "");
        for (size_t f = 0; f < ARRAY_LEN(forbidden); f++) {
            expect_refused(pq, forbidden[f]);
        }
        PQfinish(pq);
    }
}

static void what_was_written_once_stays(void **state)
{
    static const char *const audit[] = {"UPDATE audit_record SET status = 'failed'",
                                        "DELETE FROM audit_record",
                                        "TRUNCATE audit_record"};
    static const char *const journal[] = {"UPDATE posting SET amount = 1",
                                          "DELETE FROM posting",
                                          "TRUNCATE journal_entry, posting",
                                          "UPDATE journal_entry SET kind = 'opening'",
                                          "DELETE FROM journal_entry",
                                          "DELETE FROM account",
                                          "DELETE FROM category"};
    PGconn *pq = opened(&services[2]);

    (void)state;
    become(pq, services[2].role, "");
    for (size_t i = 0; i < ARRAY_LEN(audit); i++) {
        expect_refused(pq, audit[i]);
    }
    PQfinish(pq);
    pq = opened(&services[0]);
    become(pq, services[0].role, "");
    for (size_t i = 0; i < ARRAY_LEN(journal); i++) {
        expect_refused(pq, journal[i]);
    }
    PQfinish(pq);
}

/* Nobody logs in as a reader, and no role of a service sees another's database. */
static void databases_are_apart(void **state)
{
    char dsn[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(services); i++) {
        for (size_t j = 0; j < ARRAY_LEN(services); j++) {
            (void)snprintf(dsn,
                           sizeof dsn,
                           "%s dbname=avanta_%s user=%s",
                           base,
                           services[j].role,
                           services[i].role);
            PGconn *pq = PQconnectdb(dsn);
            assert_row(i, (PQstatus(pq) == CONNECTION_OK) == (i == j));
            PQfinish(pq);
        }
        (void)snprintf(dsn,
                       sizeof dsn,
                       "%s dbname=avanta_%s user=%s_reader",
                       base,
                       services[i].role,
                       services[i].role);
        PGconn *pq = PQconnectdb(dsn);
        assert_row(i, PQstatus(pq) == CONNECTION_BAD);
        assert_row(i, strstr(PQerrorMessage(pq), "not permitted to log in") != NULL);
        PQfinish(pq);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(services_have_no_rights_beyond_their_work),
        cmocka_unit_test(what_was_written_once_stays),
        cmocka_unit_test(databases_are_apart),
        cmocka_unit_test(readers_see_no_secret),
        cmocka_unit_test(readers_see_one_user),
    };

    return cmocka_run_group_tests(tests, setup_all, NULL);
}
