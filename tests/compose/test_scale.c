/* Three ledgers behind one gateway: all of them serve, and none of the requests under way fails
 * when one is killed. tests/compose/run.sh starts the stack and says where it is: AVANTA_URL,
 * AVANTA_NATS_URL, NATS_OPERATOR_PASSWORD, and AVANTA_VICTIM_PID, the process of one ledger. */
#include "tests/support/api.h"
#include "tests/support/stack.h"

#include "libcommon/base/attr.h"
#include "libcommon/base/clock.h"
#include "libcommon/base/str.h"

#include <nats/nats.h>

#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define INBOX          "_INBOX.operator.scale"
#define REPLICAS       3
#define REPLICAS_MAX   8
#define ANSWER_MS_MAX  300
#define REPLICA_MS_MAX 60000
#define CLIENTS        8
#define REQUESTS       300 /* of each client */
#define KILL_AFTER     50  /* of the first client's */
#define REQUEST_S_MAX  20L
#define SLOW_MS        1000

struct replica {
    char id[40];
    int64_t requests;
};

struct client {
    pthread_t thread;
    int number;
    pid_t victim; /* killed between two requests; 0: nobody */
    int done;     /* answered as wanted */
    int slow;     /* of them */
    long wrong;   /* the first answer not wanted; -1: none was wrong */
};

static struct api api;
static natsConnection *bus;
static int rounds; /* of load: keys and descriptions are never used twice */

static int setup(void **state)
{
    natsOptions *options = NULL;

    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    api_register(&api, "scale");
    assert_int_equal(natsOptions_Create(&options), NATS_OK);
    assert_int_equal(natsOptions_SetURL(options, stack_value("AVANTA_NATS_URL")), NATS_OK);
    assert_int_equal(
        natsOptions_SetUserInfo(options, "operator", stack_value("NATS_OPERATOR_PASSWORD")),
        NATS_OK);
    assert_int_equal(natsConnection_Connect(&bus, options), NATS_OK);
    natsOptions_Destroy(options);
    api_send(&api, "POST", "/api/accounts", json_pack("{s:s,s:s}", "name", "Caja", "type", "cash"));
    assert_int_equal(api.status, 201);
    return 0;
}

static int teardown(void **state)
{
    natsConnection_Destroy(bus);
    api_close(&api);
    return stack_teardown(state);
}

/* --- who serves: the services protocol, asked as the standard tools ask --- */

static void replica_read(struct replica *out, const char *text, size_t length)
{
    json_t *json = json_loadb(text, length, 0, NULL);
    json_t *endpoint = NULL;
    size_t i = 0;

    assert_non_null(json);
    (void)snprintf(out->id, sizeof out->id, "%s", json_string_value(json_object_get(json, "id")));
    out->requests = 0;
    json_array_foreach(json_object_get(json, "endpoints"), i, endpoint)
    {
        out->requests += json_integer_value(json_object_get(endpoint, "num_requests"));
    }
    json_decref(json);
}

/* All that answer until none has come for a while. */
static int replicas_ask(struct replica out[REPLICAS_MAX])
{
    natsSubscription *answers = NULL;
    natsMsg *message = NULL;
    int count = 0;

    assert_int_equal(natsConnection_SubscribeSync(&answers, bus, INBOX), NATS_OK);
    assert_int_equal(natsConnection_PublishRequestString(bus, "$SRV.STATS.ledger", INBOX, ""),
                     NATS_OK);
    while (natsSubscription_NextMsg(&message, answers, ANSWER_MS_MAX) == NATS_OK) {
        assert_true(count < REPLICAS_MAX);
        replica_read(
            &out[count++], natsMsg_GetData(message), (size_t)natsMsg_GetDataLength(message));
        natsMsg_Destroy(message);
    }
    natsSubscription_Destroy(answers);
    return count;
}

static const struct replica *replica_of(const struct replica rows[], const char *id)
{
    for (int i = 0; i < REPLICAS; i++) {
        if (strcmp(rows[i].id, id) == 0) {
            return &rows[i];
        }
    }
    return NULL;
}

static void replicas_wait(struct replica out[REPLICAS_MAX])
{
    uint64_t end = clock_mono_ms() + REPLICA_MS_MAX;
    int count = replicas_ask(out);

    while (count != REPLICAS && clock_mono_ms() < end) {
        count = replicas_ask(out);
    }
    assert_int_equal(count, REPLICAS);
}

/* Each of the replicas took some of what was asked in between. */
static void expect_all_served(const struct replica before[], int64_t asked)
{
    struct replica after[REPLICAS_MAX];
    int64_t served = 0;

    replicas_wait(after);
    for (int i = 0; i < REPLICAS; i++) {
        const struct replica *was = replica_of(before, after[i].id);

        assert_non_null(was);
        print_message("ledger %s served %lld requests\n",
                      after[i].id,
                      (long long)(after[i].requests - was->requests));
        assert_true(after[i].requests > was->requests);
        served += after[i].requests - was->requests;
    }
    assert_true(served >= asked);
}

/* --- load: clients that write with a key or read, one request after the other --- */

static size_t drop_body(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

/* The status, 0 without an answer. Not on the test's thread: nothing asserts here. */
static long request(CURL *curl, bool write, const char *name)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    char url[256];
    char line[4200];
    char body[256];
    long status = 0;

    (void)snprintf(url, sizeof url, "%s/api/transactions%s", api.url, write ? "" : "?limit=5");
    (void)snprintf(line, sizeof line, "Authorization: Bearer %s", api.token);
    headers = curl_slist_append(headers, line);
    (void)snprintf(line, sizeof line, "Idempotency-Key: %s", name);
    headers = curl_slist_append(headers, line);
    (void)snprintf(body,
                   sizeof body,
                   "{\"date\":\"2025-03-01\",\"description\":\"%s\",\"amount\":1.00,"
                   "\"type\":\"ingreso\",\"category\":\"personal\",\"account\":\"Caja\"}",
                   name);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    if (write) {
        (void)curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    }
    if (curl_easy_perform(curl) == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    }
    curl_slist_free_all(headers);
    return status;
}

static bool writes(const struct client *c)
{
    return c->number % 2 == 0;
}

static void *client_run(void *arg)
{
    struct client *c = arg;
    CURL *curl = curl_easy_init();
    char name[64];

    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, REQUEST_S_MAX);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_body);
    for (int n = 0; n < REQUESTS && c->wrong < 0; n++) {
        uint64_t begun = clock_mono_ms();
        long status = 0;

        if (n == KILL_AFTER && c->victim > 0 && kill(c->victim, SIGKILL) != 0) {
            break;
        }
        (void)snprintf(name, sizeof name, "scale-%d-%d-%d", rounds, c->number, n);
        status = request(curl, writes(c), name);
        c->slow += clock_mono_ms() - begun >= SLOW_MS;
        if (status == (writes(c) ? 201 : 200)) {
            c->done++;
        } else {
            c->wrong = status;
        }
    }
    curl_easy_cleanup(curl);
    return NULL;
}

/* Every request of the load is answered as wanted; the victim, if any, dies meanwhile. */
static void load(pid_t victim)
{
    struct client clients[CLIENTS];
    int slow = 0;

    rounds++;
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.number = i, .victim = i == 0 ? victim : 0, .wrong = -1};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, client_run, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
        slow += clients[i].slow;
    }
    print_message("%d requests, %d of them slower than %d ms\n", CLIENTS * REQUESTS, slow, SLOW_MS);
    for (int i = 0; i < CLIENTS; i++) {
        if (clients[i].wrong >= 0) {
            fail_msg(
                "client %d: status %ld after %d answers", i, clients[i].wrong, clients[i].done);
        }
        assert_int_equal(clients[i].done, REQUESTS);
    }
}

/* Every acknowledged write is in the books, and none of them twice. */
static void expect_books(void)
{
    int64_t written = (int64_t)rounds * (CLIENTS / 2) * REQUESTS;

    assert_int_equal(api_get(&api, "/api/transactions?include_stats=true"), 200);
    assert_int_equal(api_int(&api, "statistics.total_transactions"), written);
    assert_int_equal(api_get(&api, "/api/accounts"), 200);
    assert_int_equal(api_centavos(&api, "0.balance"), written * 100);
}

/* --- the tests --- */

static void every_replica_serves(void **state)
{
    struct replica before[REPLICAS_MAX];

    (void)state;
    replicas_wait(before);
    load(0);
    expect_all_served(before, (int64_t)CLIENTS * REQUESTS);
    expect_books();
}

static void no_request_fails_when_one_is_killed(void **state)
{
    struct replica before[REPLICAS_MAX];
    struct replica after[REPLICAS_MAX];
    int64_t pid = 0;
    int stayed = 0;

    (void)state;
    assert_true(str_to_int64(str_from(stack_value("AVANTA_VICTIM_PID")), &pid) && pid > 1);
    replicas_wait(before);
    load((pid_t)pid);
    expect_books();
    replicas_wait(after); /* the dead one is started again */
    for (int i = 0; i < REPLICAS; i++) {
        stayed += replica_of(before, after[i].id) != NULL;
    }
    assert_int_equal(stayed, REPLICAS - 1);
}

static void the_new_one_serves_too(void **state)
{
    struct replica before[REPLICAS_MAX];

    (void)state;
    replicas_wait(before);
    load(0);
    expect_all_served(before, (int64_t)CLIENTS * REQUESTS);
    expect_books();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_replica_serves),
        cmocka_unit_test(no_request_fails_when_one_is_killed),
        cmocka_unit_test(the_new_one_serves_too),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
