/* Users with an account that bend what they may send: the audit trail stays whole, secrets are not
 * kept, what is promised as most is taken, and what is refused says why. */
#include "avanta/common.pb-c.h"
#include "tests/support/api.h"
#include "tests/support/stack.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/str.h"

#include <libpq-fe.h>

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IMPORT_ROWS 2000
#define SOON_TURNS  100
#define AT_ONCE     40
#define MANY_ROWS   300
#define WAIT_MS_MAX 60000

static struct api api;

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    api_register(&api, "abuse");
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    return stack_teardown(state);
}

/* The agent is cut at 512 bytes, which here is inside a character. */
static void an_agent_cut_short_is_still_audited(void **state)
{
    char agent[600] = "User-Agent: ";
    int64_t records = 0;

    (void)state;
    memset(agent + strlen(agent), 'x', 511);
    (void)snprintf(agent + strlen(agent), 8, "\xC3\xA9\xC3\xA9");
    api.header = agent;
    api_send(&api, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "Caja", "type", "cash"));
    api.header = NULL;
    assert_int_equal(api.status, 201);
    for (int i = 0; i < SOON_TURNS && records == 0; i++) {
        (void)usleep(50000);
        assert_int_equal(api_get(&api, "/api/audit-log?entity_type=account"), 200);
        records = api_int(&api, "total");
    }
    assert_int_equal(records, 1);
    assert_int_equal(strlen(api_text(&api, "logs.0.user_agent")), 511);
}

static void a_login_is_kept_under_no_key(void **state)
{
    static char first[4096];

    (void)state;
    (void)snprintf(api.key, sizeof api.key, "login-1");
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "abuse@example.com", "password", "Una clave larga 7"));
    assert_int_equal(api.status, 200);
    (void)snprintf(first, sizeof first, "%s", api_text(&api, "token"));
    api_send(&api,
             "POST",
             "/api/auth/login",
             json_pack("{s:s,s:s}", "email", "abuse@example.com", "password", "Una clave larga 7"));
    api.key[0] = '\0';
    assert_int_equal(api.status, 200);
    assert_string_not_equal(api_text(&api, "token"), first);
}

static json_t *import_rows(int count, const char *date)
{
    char text[300];
    json_t *rows = json_array();

    for (int i = 0; i < count; i++) {
        (void)snprintf(text, sizeof text, "%-240d %d", i, i);
        for (char *at = strchr(text, ' '); at != NULL; at = strchr(at, ' ')) {
            *at = '.';
        }
        json_array_append_new(rows,
                              json_pack("{s:s,s:s,s:i,s:s}",
                                        "date",
                                        date,
                                        "description",
                                        text,
                                        "amount",
                                        2,
                                        "type",
                                        "gasto"));
    }
    return json_pack("{s:o}", "transactions", rows);
}

static void the_largest_import_is_taken(void **state)
{
    (void)state;
    api_send(&api, "POST", "/api/import/confirm", import_rows(IMPORT_ROWS + 1, "2025-01-31"));
    assert_int_equal(api.status, 400);
    api_send(&api, "POST", "/api/import/confirm", import_rows(IMPORT_ROWS, "2025-01-31"));
    assert_int_equal(api.status, 200);
    assert_int_equal(api_int(&api, "summary.recordsImported"), IMPORT_ROWS);
    assert_int_equal(api_get(&api, "/api/transactions?include_stats=true"), 200);
    assert_int_equal(api_int(&api, "statistics.total_transactions"), IMPORT_ROWS);
}

/* --- many at once --- */

struct exchange {
    CURL *curl;
    char body[8192];
    size_t length;
};

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct exchange *x = ctx;

    assert_true(x->length + size * count < sizeof x->body);
    memcpy(x->body + x->length, data, size * count);
    x->length += size * count;
    return size * count;
}

static void
exchange_start(CURLM *multi, struct exchange *x, const char *json, struct curl_slist *headers)
{
    char url[256];

    (void)snprintf(url, sizeof url, "%s/api/import/confirm", stack_url());
    x->curl = curl_easy_init();
    assert_non_null(x->curl);
    (void)curl_easy_setopt(x->curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(x->curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(x->curl, CURLOPT_POSTFIELDS, json);
    (void)curl_easy_setopt(x->curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(x->curl, CURLOPT_WRITEDATA, x);
    assert_int_equal(curl_multi_add_handle(multi, x->curl), CURLM_OK);
}

/* The status; the answer is as documented, and one that tells to wait says how long. */
static long exchange_end(CURLM *multi, struct exchange *x)
{
    struct openapi_exchange said = {.verb = "POST", .path = "/api/import/confirm"};
    struct curl_header *retry = NULL;
    char *media_type = NULL;
    char why[SCHEMA_WHY_BYTES];

    (void)curl_easy_getinfo(x->curl, CURLINFO_RESPONSE_CODE, &said.status);
    (void)curl_easy_getinfo(x->curl, CURLINFO_CONTENT_TYPE, &media_type);
    said.media_type = media_type;
    said.body = (struct str){x->body, x->length};
    if (!api_documented(&said, why)) {
        fail_msg("%s; the answer %ld: %.*s", why, said.status, (int)x->length, x->body);
    }
    CURLHcode found = curl_easy_header(x->curl, "Retry-After", 0, CURLH_HEADER, -1, &retry);
    assert_int_equal(found == CURLHE_OK, said.status == 429);
    (void)curl_multi_remove_handle(multi, x->curl);
    curl_easy_cleanup(x->curl);
    return said.status;
}

static void who_imports_too_much_at_once_is_told_to_wait(void **state)
{
    static struct exchange exchanges[AT_ONCE];
    json_t *rows = import_rows(MANY_ROWS, "2025-01-30");
    char *json = json_dumps(rows, JSON_COMPACT);
    char line[4200];
    CURLM *multi = curl_multi_init();
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    int running = 1;
    int done = 0;
    int refused = 0;

    (void)state;
    (void)snprintf(line, sizeof line, "Authorization: Bearer %s", api.token);
    headers = curl_slist_append(headers, line);
    for (size_t i = 0; i < AT_ONCE; i++) {
        exchange_start(multi, &exchanges[i], json, headers);
    }
    while (running > 0) {
        assert_int_equal(curl_multi_perform(multi, &running), CURLM_OK);
        if (running > 0) {
            assert_int_equal(curl_multi_poll(multi, NULL, 0, WAIT_MS_MAX, NULL), CURLM_OK);
        }
    }
    for (size_t i = 0; i < AT_ONCE; i++) {
        long status = exchange_end(multi, &exchanges[i]);
        done += status == 200 ? 1 : 0;
        refused += status == 429 ? 1 : 0;
    }
    (void)curl_multi_cleanup(multi);
    curl_slist_free_all(headers);
    free(json);
    assert_int_equal(done + refused, AT_ONCE);
    assert_true(done > 1); /* some wait instead */
    assert_true(refused > 0);
    api_send(&api, "POST", "/api/import/confirm", rows);
    assert_int_equal(api.status, 200);
    assert_int_equal(api_int(&api, "summary.recordsDuplicated"), MANY_ROWS);
}

static void the_future_is_not_imported(void **state)
{
    (void)state;
    api_send(&api, "POST", "/api/import/confirm", import_rows(1, "9999-12-31"));
    assert_int_equal(api.status, 400);
    assert_string_equal(api_text(&api, "errors.0.field"), "transactions[0].date");
}

/* Each end may be left to the rows, which are all of 2025-01-31. */
static void a_period_does_not_end_before_it_starts(void **state)
{
    static const struct {
        const char *start;
        const char *end;
        const char *field; /* NULL: taken */
    } rows[] = {
        {"2025-02-01", "2025-01-31", "periodEnd"  },
        {"2025-02-01", "",           "periodStart"},
        {"",           "2025-01-30", "periodEnd"  },
        {"2025-01-31", "2025-01-31", NULL         },
        {"2025-01-31", "",           NULL         },
        {"",           "2025-01-31", NULL         },
        {"",           "",           NULL         },
    };
    int64_t taken = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        json_t *body = import_rows(2, "2025-01-31");

        assert_int_equal(json_object_set_new(body, "periodStart", json_pack("s", rows[i].start)),
                         0);
        assert_int_equal(json_object_set_new(body, "periodEnd", json_pack("s", rows[i].end)), 0);
        api_send(&api, "POST", "/api/import/confirm", body);
        assert_row(i, api.status == (rows[i].field == NULL ? 200 : 400));
        if (rows[i].field != NULL) {
            assert_string_equal(api_text(&api, "code"), "VALIDATION_ERROR");
            assert_string_equal(api_text(&api, "errors.0.field"), rows[i].field);
        }
        taken += rows[i].field == NULL;
    }
    assert_int_equal(api_get(&api, "/api/import/history"), 200);
    assert_int_equal(api_int(&api, "total"), taken + 1); /* and the largest, before */
}

/* U+202E turns what follows: "gnp.exe" reads as "exe.png". */
static void texts_do_not_turn_their_direction(void **state)
{
    static const char csv[] = "Fecha,Descripcion,Cargo,Abono,Saldo\n"
                              "2025-10-01,DEPOSITO,0,10.00,10.00\n"
                              "2025-10-02,PAGO \xE2\x80\xAE"
                              "0052,1.00,0,9.00\n";

    (void)state;
    api_send(&api,
             "POST",
             "/api/categories",
             json_pack("{s:s}",
                       "name",
                       "a\xE2\x80\xAE"
                       "b"));
    assert_int_equal(api.status, 400);
    assert_string_equal(api_text(&api, "errors.0.field"), "name");
    assert_string_equal(api_text(&api, "errors.0.code"), "control");
    api_send(&api, "POST", "/api/import/csv", json_pack("{s:s}", "csvContent", csv));
    assert_int_equal(api.status, 200);
    assert_int_equal(api_int(&api, "summary.validTransactions"), 1);
    assert_int_equal(api_int(&api, "errors.0.line"), 3);
}

static void a_refusal_says_why(void **state)
{
    (void)state;
    api_send(&api,
             "POST",
             "/api/transactions",
             json_pack("{s:s,s:s,s:i,s:s,s:s,s:s}",
                       "date",
                       "2025-01-31",
                       "description",
                       "x",
                       "amount",
                       1,
                       "type",
                       "gasto",
                       "category",
                       "personal",
                       "account",
                       "Nada"));
    assert_int_equal(api.status, 422);
    assert_string_equal(api_text(&api, "code"), "ACCOUNT_NOT_FOUND");
    assert_string_equal(api_text(&api, "detail"), "The account does not exist");
    api_send(&api, "POST", "/api/categories", json_object());
    assert_int_equal(api.status, 400);
    assert_string_equal(api_text(&api, "detail"), "name: is required");
    api_send(&api, "POST", "/api/import/csv", json_pack("{s:s}", "csvContent", "Fecha,\"Monto\n"));
    assert_int_equal(api.status, 400);
    assert_string_equal(api_text(&api, "code"), "PARSE_ERROR");
    assert_string_equal(api_text(&api, "detail"), "line 1: a quote is not closed");
}

/* --- behind the gateway's back --- */

static void run_sql(const char *database, const char *sql, const char *parameter)
{
    char dsn[512];
    PGconn *conn = NULL;
    PGresult *result = NULL;

    (void)snprintf(dsn,
                   sizeof dsn,
                   "host=127.0.0.1 port=%s dbname=%s user=avanta_super ",
                   stack_value("PG_PORT"),
                   database);
    (void)snprintf(dsn + strlen(dsn),
                   sizeof dsn - strlen(dsn),
                   "password=%s",
                   stack_value("PG_SUPER_PASSWORD"));
    conn = PQconnectdb(dsn);
    assert_int_equal(PQstatus(conn), CONNECTION_OK);
    result = PQexecParams(conn, sql, 1, NULL, &parameter, NULL, NULL, 0);
    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(conn));
    }
    PQclear(result);
    PQfinish(conn);
}

/* A pack of two in the outbox of the ledger, the first of which no table takes as it is. */
static void a_record_that_cannot_be_stored_is_stored_cleaned(void **state)
{
    static char user[64];
    static uint8_t bytes[2][512];
    static uint8_t packed[1024];
    static char hex[2 * sizeof packed + 1];
    Avanta__AuditRecord record = AVANTA__AUDIT_RECORD__INIT;
    Avanta__Records records = AVANTA__RECORDS__INIT;
    ProtobufCBinaryData rows[2];

    (void)state;
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    (void)snprintf(user, sizeof user, "%s", api_text(&api, "id"));
    record.user_id = user;
    record.action_type = (char[]){"create"};
    record.entity_type = (char[]){"odd"};
    record.service = (char[]){"ledger"};
    record.occurred_ms = 1795000000000;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        record.details = i == 0 ? (char[]){"{\"name\":\"caf\xE9\"}"} : (char[]){"{}"};
        record.severity = i == 0 ? (char[]){"extreme"} : (char[]){"low"};
        record.status = i == 0 ? (char[]){"perhaps"} : (char[]){"success"};
        assert_true(avanta__audit_record__get_packed_size(&record) <= sizeof bytes[i]);
        rows[i].len = avanta__audit_record__pack(&record, bytes[i]);
        rows[i].data = bytes[i];
    }
    records.n_record = ARRAY_LEN(rows);
    records.record = rows;
    hex_encode(packed, avanta__records__pack(&records, packed), hex);
    run_sql("avanta_ledger",
            "INSERT INTO outbox (subject, body) VALUES ('audit.ledger', decode($1, 'hex'))",
            hex);
    for (int i = 0, total = 0; i < SOON_TURNS && total < 2; i++) {
        (void)usleep(50000);
        assert_int_equal(api_get(&api, "/api/audit-log?entity_type=odd&sort_by=severity"), 200);
        total = (int)api_int(&api, "total");
    }
    assert_int_equal(api_int(&api, "total"), 2);
    assert_string_equal(api_text(&api, "logs.0.action_details"), "{\"name\":\"caf\xEF\xBF\xBD\"}");
    assert_string_equal(api_text(&api, "logs.0.severity"), "high");
    assert_string_equal(api_text(&api, "logs.0.status"), "partial");
}

/* More sessions end at once than identity names: whose token is older must refresh it. */
static void sessions_that_are_not_named_do_not_slip_through(void **state)
{
    static char user[64];
    long status = 200;

    (void)state;
    assert_int_equal(SESSIONS_ENDED_MAX, 10000);
    assert_int_equal(api_get(&api, "/api/auth/me"), 200);
    (void)snprintf(user, sizeof user, "%s", api_text(&api, "id"));
    run_sql("avanta_identity",
            "INSERT INTO session (id, user_id, ended_at)"
            " SELECT gen_random_uuid(), $1::uuid, now() FROM generate_series(1, 10000)",
            user);
    for (int i = 0; i < 4 * SOON_TURNS && status == 200; i++) {
        (void)usleep(50000); /* the gateway asks every five seconds */
        status = api_get(&api, "/api/auth/me");
    }
    assert_int_equal(status, 401);
    for (int i = 0; i < SOON_TURNS && status == 401; i++) {
        (void)usleep(50000); /* tokens say the second of their making */
        api_send(
            &api,
            "POST",
            "/api/auth/login",
            json_pack("{s:s,s:s}", "email", "abuse@example.com", "password", "Una clave larga 7"));
        assert_int_equal(api.status, 200);
        (void)snprintf(api.token, sizeof api.token, "%s", api_text(&api, "token"));
        status = api_get(&api, "/api/auth/me");
    }
    assert_int_equal(status, 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_agent_cut_short_is_still_audited),
        cmocka_unit_test(a_login_is_kept_under_no_key),
        cmocka_unit_test(the_largest_import_is_taken),
        cmocka_unit_test(the_future_is_not_imported),
        cmocka_unit_test(a_period_does_not_end_before_it_starts),
        cmocka_unit_test(texts_do_not_turn_their_direction),
        cmocka_unit_test(a_refusal_says_why),
        cmocka_unit_test(a_record_that_cannot_be_stored_is_stored_cleaned),
        cmocka_unit_test(who_imports_too_much_at_once_is_told_to_wait),
        cmocka_unit_test(sessions_that_are_not_named_do_not_slip_through),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
