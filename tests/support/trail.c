#include "tests/support/trail.h"

#include "tests/support/check.h"

#include "libcommon/base/str.h"

#include <libpq-fe.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VALUES      5
#define VALUE_BYTES 4096

static const char keep_sql[] =
    "CREATE TABLE trail_kept (n bigint GENERATED ALWAYS AS IDENTITY, subject text, body bytea,"
    " taken boolean NOT NULL DEFAULT false);"
    "CREATE FUNCTION trail_keep() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS"
    " 'BEGIN INSERT INTO trail_kept (subject, body) VALUES (NEW.subject, NEW.body);"
    " RETURN NULL; END';"
    "CREATE TRIGGER trail_keep AFTER INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION trail_keep()";

static PGresult *run(struct trail *trail, const char *sql, const char *text)
{
    const char *const values[] = {text};
    PGresult *result =
        PQexecParams(trail->conn, sql, text == NULL ? 0 : 1, NULL, values, NULL, NULL, 1);

    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(trail->conn));
    }
    return result;
}

void trail_open(struct trail *trail, const char *dsn)
{
    PGresult *result = NULL;

    *trail = (struct trail){.conn = PQconnectdb(dsn)};
    assert_int_equal(PQstatus(trail->conn), CONNECTION_OK);
    result = PQexec(trail->conn, keep_sql);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s", PQerrorMessage(trail->conn));
    }
    PQclear(result);
}

static void forget(struct trail *trail)
{
    for (size_t i = 0; i < trail->count; i++) {
        avanta__audit_record__free_unpacked(trail->records[i], NULL);
    }
    trail->count = 0;
}

void trail_close(struct trail *trail)
{
    forget(trail);
    PQfinish(trail->conn);
    trail->conn = NULL;
}

static void pack_read(struct trail *trail, const uint8_t *body, size_t len)
{
    Avanta__Records *pack = avanta__records__unpack(NULL, len, body);

    assert_non_null(pack);
    for (size_t i = 0; i < pack->n_record; i++) {
        Avanta__AuditRecord *record =
            avanta__audit_record__unpack(NULL, pack->record[i].len, pack->record[i].data);

        assert_non_null(record);
        assert_true(trail->count < TRAIL_RECORDS_MAX);
        trail->records[trail->count++] = record;
    }
    avanta__records__free_unpacked(pack, NULL);
}

size_t trail_read(struct trail *trail)
{
    PGresult *result = run(trail,
                           "WITH now AS (UPDATE trail_kept SET taken = true WHERE NOT taken"
                           " RETURNING n, subject, body) SELECT body FROM now"
                           " WHERE subject LIKE 'audit.%' ORDER BY n",
                           NULL);

    forget(trail);
    for (int i = 0; i < PQntuples(result); i++) {
        pack_read(
            trail, (const uint8_t *)PQgetvalue(result, i, 0), (size_t)PQgetlength(result, i, 0));
    }
    PQclear(result);
    return trail->count;
}

static bool is_same(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

const Avanta__AuditRecord *
trail_one(const struct trail *trail, const char *action, const char *entity, const char *entity_id)
{
    const Avanta__AuditRecord *found = NULL;

    for (size_t i = 0; i < trail->count; i++) {
        const Avanta__AuditRecord *record = trail->records[i];

        if (is_same(record->action_type, action) && is_same(record->entity_type, entity) &&
            is_same(record->entity_id, entity_id)) {
            assert_null(found);
            found = record;
        }
    }
    if (found == NULL) {
        for (size_t i = 0; i < trail->count; i++) {
            print_error("%s %s %s\n",
                        trail->records[i]->action_type,
                        trail->records[i]->entity_type,
                        trail->records[i]->entity_id == NULL ? "-" : trail->records[i]->entity_id);
        }
        fail_msg("no record: %s %s %s", action, entity, entity_id == NULL ? "-" : entity_id);
    }
    return found;
}

const char *trail_value(const char *json, const char *path)
{
    static char values[VALUES][VALUE_BYTES];
    static unsigned next;
    char *out = values[next++ % VALUES];
    json_t *root = json == NULL ? NULL : json_loads(json, JSON_DECODE_ANY, NULL);
    const json_t *at = root;
    struct str rest = str_from(path);
    struct str name = STR_EMPTY;

    assert_true(json == NULL || root != NULL);
    out[0] = '\0';
    while (rest.len > 0 && str_split(&rest, '.', &name)) {
        char key[64];

        assert_true(str_copy(name, key, sizeof key));
        at = json_object_get(at, key);
    }
    if (json_is_string(at)) {
        (void)snprintf(out, VALUE_BYTES, "%s", json_string_value(at));
    } else if (at != NULL) {
        char *text = json_dumps(at, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);

        (void)snprintf(out, VALUE_BYTES, "%s", text);
        free(text);
    }
    json_decref(root);
    return out;
}

bool trail_tells(struct trail *trail, const char *text)
{
    PGresult *result = run(trail,
                           "SELECT 1 FROM trail_kept"
                           " WHERE position(convert_to($1::text, 'UTF8') in body) > 0 LIMIT 1",
                           text);
    const bool told = PQntuples(result) > 0;

    assert_true(text[0] != '\0');
    PQclear(result);
    return told;
}
