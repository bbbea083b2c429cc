/* kill -9 of each program in turn, the bus and the database too, while clients write: what was
 * acknowledged is there afterwards, exactly once, the books balance, and every write has left its
 * audit record, once. */
#include "tests/support/api.h"
#include "tests/support/audited.h"
#include "tests/support/scratch_pg.h"
#include "tests/support/stack.h"

#include "libcommon/base/buf.h"
#include "libcommon/base/str.h"

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WRITERS         4
#define WRITES_MAX      20000
#define RUNNING_US      700000
#define NAMES_SQL_BYTES 1048576
#define TRAIL_TRIES     450 /* of 0.1 s: a message comes again 30 s after its consumer died */

struct writer {
    pthread_t thread;
    bool keyed;
    int acknowledged[WRITES_MAX]; /* the numbers in the descriptions */
    int count;
    int refused;
    char body[8192]; /* of the last answer */
    size_t length;
    char undocumented[SCHEMA_WHY_BYTES]; /* the first answer that was not as documented */
};

/* What the writers write. */
struct writing {
    const char *verb;
    const char *path;
    const char *body; /* with one %d */
    long status;      /* of what was done */
};

static const struct writing booking = {
    "POST",
    "/api/transactions",
    "{\"date\":\"2025-03-01\",\"description\":\"n%d\",\"amount\":1.00,\"type\":\"ingreso\","
    "\"category\":\"personal\",\"account\":\"Caja\"}",
    201,
};
static const struct writing renaming = {"PUT", "/api/user-profile", "{\"name\":\"n%d\"}", 200};

static struct api api;
static const struct writing *writing;
static struct writer writers[WRITERS];
static atomic_bool stop;
static atomic_int next_number;

static int setup(void **state)
{
    if (stack_setup(state) != 0) {
        return 1;
    }
    audited_open();
    api_open(&api, stack_url());
    api_register(&api, "crash");
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    return stack_teardown(state);
}

/* The type is libcurl's. NOLINTNEXTLINE(readability-non-const-parameter) */
static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct writer *w = ctx;
    size_t room = sizeof w->body - w->length;
    size_t taken = size * count < room ? size * count : room;

    memcpy(w->body + w->length, data, taken);
    w->length += taken;
    return size * count;
}

static void check_documented(CURL *curl, struct writer *w, long status)
{
    char *media_type = NULL;
    char why[SCHEMA_WHY_BYTES];

    (void)curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &media_type);
    const struct openapi_exchange x = {
        .verb = writing->verb,
        .path = writing->path,
        .status = status,
        .media_type = media_type,
        .body = {w->body, w->length},
    };
    if (!api_documented(&x, why) && w->undocumented[0] == '\0') {
        memcpy(w->undocumented, why, sizeof why);
    }
}

static void body_fill(int n, char *out, size_t cap)
{
    const char *at = strstr(writing->body, "%d");

    (void)snprintf(out, cap, "%.*s%d%s", (int)(at - writing->body), writing->body, n, at + 2);
}

/* The status, 0 without an answer. A failed request is what this test makes, so nothing asserts
 * here. */
static long write_one(CURL *curl, struct writer *w, int n)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char line[4200];
    char body[256];
    long status = 0;

    (void)snprintf(line, sizeof line, "Authorization: Bearer %s", api.token);
    headers = curl_slist_append(headers, line);
    if (w->keyed) {
        (void)snprintf(line, sizeof line, "Idempotency-Key: crash-%d", n);
        headers = curl_slist_append(headers, line);
    }
    body_fill(n, body, sizeof body);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    w->length = 0;
    if (curl_easy_perform(curl) == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        check_documented(curl, w, status);
    }
    curl_slist_free_all(headers);
    return status;
}

static void *write_on(void *arg)
{
    struct writer *w = arg;
    CURL *curl = curl_easy_init();
    char url[128];

    (void)snprintf(url, sizeof url, "%s%s", stack_url(), writing->path);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    (void)curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, writing->verb);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, w);
    while (!atomic_load(&stop) && w->count < WRITES_MAX) {
        int n = atomic_fetch_add(&next_number, 1);

        if (write_one(curl, w, n) == writing->status) {
            w->acknowledged[w->count++] = n;
        } else {
            w->refused++;
            (void)usleep(10000);
        }
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void writers_start(void)
{
    atomic_store(&stop, false);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].keyed = i % 2 == 0;
        writers[i].count = 0;
        writers[i].refused = 0;
        writers[i].undocumented[0] = '\0';
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_on, &writers[i]), 0);
    }
}

static int writers_stop(void)
{
    int acknowledged = 0;
    int refused = 0;

    atomic_store(&stop, true);
    for (int i = 0; i < WRITERS; i++) {
        assert_int_equal(pthread_join(writers[i].thread, NULL), 0);
        acknowledged += writers[i].count;
        refused += writers[i].refused;
        assert_string_equal(writers[i].undocumented, "");
    }
    print_message("%d acknowledged, %d not\n", acknowledged, refused);
    return acknowledged;
}

/* How often each number is in the books. */
static unsigned char *booked(int numbers, int64_t *out_total)
{
    unsigned char *seen = calloc((size_t)numbers + 1, 1);
    int64_t offset = 0;
    bool more = true;

    assert_non_null(seen);
    *out_total = 0;
    while (more) {
        char path[128];

        (void)snprintf(path,
                       sizeof path,
                       "/api/transactions?limit=250&offset=%lld&sort_by=created_at",
                       (long long)offset);
        for (int i = 0; i < 20 && api_get(&api, path) >= 503; i++) { /* slow is not wrong here */
            (void)usleep(100000);
        }
        if (api.status != 200) {
            fail_msg("%ld %s", api.status, api_text(&api, "code"));
        }
        for (size_t i = 0; i < json_array_size(api_at(&api, "data")); i++) {
            json_t *row = json_array_get(api_at(&api, "data"), i);
            int64_t n = 0;

            struct str description =
                str_from(json_string_value(json_object_get(row, "description")));

            assert_true(str_to_int64(str_sub(description, 1, description.len), &n));
            assert_true(n >= 0 && n <= numbers);
            assert_true(seen[n] < 255);
            seen[n]++;
            (*out_total)++;
        }
        more = json_is_true(api_at(&api, "pagination.has_more"));
        offset += 250;
    }
    return seen;
}

static const char *ledger_ask(const char *sql)
{
    char dsn[256];
    char port[16];

    (void)snprintf(port, sizeof port, "%s", stack_value("PG_PORT"));
    (void)snprintf(dsn,
                   sizeof dsn,
                   "host=127.0.0.1 dbname=avanta_ledger user=avanta_super port=%s password=%s",
                   port,
                   stack_value("PG_SUPER_PASSWORD"));
    return scratch_pg_ask(dsn, sql);
}

static int64_t check_books(void)
{
    int numbers = atomic_load(&next_number);
    int64_t total = 0;
    unsigned char *seen = booked(numbers, &total);

    for (int i = 0; i < WRITERS; i++) {
        for (int k = 0; k < writers[i].count; k++) {
            assert_row(writers[i].acknowledged[k], seen[writers[i].acknowledged[k]] == 1);
        }
    }
    for (int n = 0; n < numbers; n++) {
        assert_row(n,
                   seen[n] <= 1); /* also what was not acknowledged is there once or not at all */
    }
    free(seen);
    assert_int_equal(api_get(&api, "/api/accounts"), 200);
    assert_int_equal(api_centavos(&api, "0.balance"), total * 100);
    return total;
}

/* Every booking leaves its record, once, however often it was published or delivered: the ids of
 * the records are those of the rows, none twice. */
static void check_trail(void)
{
    char rows[128];
    const char *records = "";

    (void)snprintf(rows,
                   sizeof rows,
                   "%s",
                   ledger_ask("SELECT count(*) || ' ' || md5(string_agg(id::text, ',' ORDER BY id))"
                              " FROM transaction"));
    for (int i = 0; i < TRAIL_TRIES && strcmp(records, rows) != 0; i++) {
        (void)usleep(100000);
        records = audited_ask(
            "SELECT count(*) || ' ' || md5(string_agg(entity_id, ',' ORDER BY entity_id::bigint))"
            " FROM audit_record WHERE entity_type = 'transaction' AND action_type = 'create'");
    }
    assert_string_equal(records, rows);
}

static void kill_under_load(const char *victim)
{
    int acknowledged = 0;

    writers_start();
    (void)usleep(RUNNING_US);
    assert_int_equal(kill(stack_pid(victim), SIGKILL), 0);
    (void)usleep(RUNNING_US / 2);
    stack_up();
    (void)usleep(RUNNING_US);
    acknowledged = writers_stop();
    assert_true(acknowledged > 50);
    for (int i = 0; i < 100 && api_get(&api, "/api/accounts") != 200; i++) {
        (void)usleep(100000);
    }
}

static void survives(const char *victim)
{
    writing = &booking;
    kill_under_load(victim);
    (void)check_books();
    check_trail();
}

/* How many of the names that were acknowledged have no record yet. */
static const char *names_missing(void)
{
    static char sql[NAMES_SQL_BYTES];
    struct buf b = buf_over(sql, sizeof sql);

    buf_text(&b, "SELECT count(*) FROM unnest('{-1");
    for (int i = 0; i < WRITERS; i++) {
        for (int k = 0; k < writers[i].count; k++) {
            buf_printf(&b, ",%d", writers[i].acknowledged[k]);
        }
    }
    buf_text(&b,
             "}'::integer[]) AS n WHERE n >= 0 AND 'n' || n NOT IN (SELECT action_details::json #>>"
             " '{user,name}' FROM audit_record WHERE method = 'identity.UpdateProfile')");
    assert_true(buf_terminate(&b));
    return audited_ask(sql);
}

/* A name leaves nothing but its record: each acknowledged has one, and none two. */
static void renaming_survives(const char *victim)
{
    const char *missing = "";

    writing = &renaming;
    kill_under_load(victim);
    for (int i = 0; i < TRAIL_TRIES && strcmp(missing, "0") != 0; i++) {
        (void)usleep(100000);
        missing = names_missing();
    }
    assert_string_equal(missing, "0");
    assert_string_equal(
        audited_ask("SELECT count(*) FROM (SELECT FROM audit_record WHERE method ="
                    " 'identity.UpdateProfile' GROUP BY action_details::json #>> '{user,name}'"
                    " HAVING count(*) > 1) AS twice"),
        "0");
}

static void opens_an_account(void **state)
{
    (void)state;
    api_send(&api, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "Caja", "type", "cash"));
    assert_int_equal(api.status, 201);
}

static void ledger_dies(void **state)
{
    (void)state;
    survives("ledger");
}

static void bus_dies(void **state)
{
    (void)state;
    survives("nats");
}

static void database_dies(void **state)
{
    (void)state;
    survives("postgres");
}

static void gateway_dies(void **state)
{
    (void)state;
    survives("gateway");
}

static void audit_log_dies(void **state)
{
    (void)state;
    survives("audit-log");
}

static void identity_dies(void **state)
{
    (void)state;
    renaming_survives("identity");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opens_an_account),
        cmocka_unit_test(ledger_dies),
        cmocka_unit_test(bus_dies),
        cmocka_unit_test(database_dies),
        cmocka_unit_test(gateway_dies),
        cmocka_unit_test(audit_log_dies),
        cmocka_unit_test(identity_dies),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
