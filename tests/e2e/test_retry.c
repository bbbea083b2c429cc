/* A write with a key that takes longer than the gateway waits for one attempt: what the client gets
 * is the answer of the write, not that its own first attempt is under way. */
#include "tests/support/api.h"
#include "tests/support/stack.h"

#include "libcommon/base/clock.h"

#include <libpq-fe.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define RETRIES     3 /* the first for want of an answer, the others while that attempt goes on */
#define WAIT_MS_MAX 15000

static struct api api;
static PGconn *holder;
static atomic_bool answered;

static int setup(void **state)
{
    char dsn[512];

    if (stack_setup(state) != 0) {
        return 1;
    }
    (void)snprintf(
        dsn, sizeof dsn, "host=127.0.0.1 port=%s dbname=avanta_ledger ", stack_value("PG_PORT"));
    (void)snprintf(dsn + strlen(dsn),
                   sizeof dsn - strlen(dsn),
                   "user=avanta_super password=%s",
                   stack_value("PG_SUPER_PASSWORD"));
    holder = PQconnectdb(dsn);
    assert_int_equal(PQstatus(holder), CONNECTION_OK);
    api_open(&api, stack_url());
    api_register(&api, "retry");
    api_send(&api, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "Caja", "type", "cash"));
    assert_int_equal(api.status, 201);
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    PQfinish(holder);
    return stack_teardown(state);
}

static void run_sql(const char *sql)
{
    PGresult *result = PQexec(holder, sql);

    if (PQresultStatus(result) != PGRES_COMMAND_OK) {
        fail_msg("%s: %s", sql, PQerrorMessage(holder));
    }
    PQclear(result);
}

static void *write_once(void *arg)
{
    struct api *writer = arg;
    static const char json[] =
        "{\"date\":\"2025-03-01\",\"description\":\"slow\",\"amount\":1.00,"
        "\"type\":\"ingreso\",\"category\":\"personal\",\"account\":\"Caja\"}";

    (void)api_call(writer, "POST", "/api/transactions", json, sizeof json - 1);
    atomic_store(&answered, true);
    return NULL;
}

static void a_slow_write_does_not_conflict_with_itself(void **state)
{
    static const struct timespec pause = {.tv_nsec = 20L * 1000 * 1000};
    static const char series[] = "avanta_gateway_retries_total";
    struct api writer;
    pthread_t thread;
    int64_t before = stack_metric("gateway", series);
    uint64_t end = clock_mono_ms() + WAIT_MS_MAX;

    (void)state;
    api_open(&writer, stack_url());
    memcpy(writer.token, api.token, sizeof writer.token);
    (void)snprintf(writer.key, sizeof writer.key, "slow-1");
    run_sql("BEGIN");
    run_sql("LOCK TABLE transaction IN EXCLUSIVE MODE");
    assert_int_equal(pthread_create(&thread, NULL, write_once, &writer), 0);
    /* The metric tells of the attempts; an answer that comes before them is the failure. */
    while (stack_metric("gateway", series) - before < RETRIES && !atomic_load(&answered) &&
           clock_mono_ms() < end) {
        (void)nanosleep(&pause, NULL);
    }
    run_sql("COMMIT");
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(writer.status, 201);
    assert_true(stack_metric("gateway", series) - before >= RETRIES);
    api_close(&writer);
    assert_int_equal(api_get(&api, "/api/transactions?include_stats=true"), 200);
    assert_int_equal(api_int(&api, "statistics.total_transactions"), 1);
}

/* The table stays locked for longer than the operation may take. */
static void a_lost_answer_invites_to_repeat_only_with_a_key(void **state)
{
    (void)state;
    run_sql("BEGIN");
    run_sql("LOCK TABLE transaction IN EXCLUSIVE MODE");
    for (int keyed = 0; keyed <= 1; keyed++) {
        (void)snprintf(api.key, sizeof api.key, "%s", keyed ? "lost-1" : "");
        (void)write_once(&api);
        assert_int_equal(api.status, 504);
        assert_string_equal(api_text(&api, "code"), "TIMEOUT");
        assert_int_equal(json_is_true(api_at(&api, "retryable")), keyed);
        assert_int_equal(strcasestr(api.headers, "\r\nretry-after:") != NULL, keyed);
        if (!keyed) {
            assert_string_equal(api_text(&api, "detail"),
                                "It is not known whether the change was saved");
        }
    }
    run_sql("COMMIT");
    api.key[0] = '\0';
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slow_write_does_not_conflict_with_itself),
        cmocka_unit_test(a_lost_answer_invites_to_repeat_only_with_a_key),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
