/* A gateway of several loop threads: connections land on any of them, and each behaves as if it
 * were the only one. Under ThreadSanitizer this is where threads of the gateway meet. */
#include "tests/support/api.h"
#include "tests/support/stack.h"

#include "libcommon/base/str.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENTS     4
#define CONNECTIONS 40 /* of each client: a thread that got none of all of them is no accident */

struct client {
    pthread_t thread;
    int good;
};

static struct api api;

static int setup(void **state)
{
    stack_gateway_settings("AVANTA_GATEWAY_THREADS=3 AVANTA_HTTP_BODY_MS=1500");
    if (stack_setup(state) != 0) {
        return 1;
    }
    api_open(&api, stack_url());
    api_register(&api, "threads");
    return 0;
}

static int teardown(void **state)
{
    api_close(&api);
    return stack_teardown(state);
}

/* A body longer than that would be no answer of /api/auth/me. */
struct text {
    char bytes[8192];
    size_t length;
};

static size_t take_body(char *data, size_t size, size_t count, void *ctx)
{
    struct text *text = ctx;
    size_t room = sizeof text->bytes - text->length;
    size_t taken = size * count < room ? size * count : room;

    memcpy(text->bytes + text->length, data, taken);
    text->length += taken;
    return size * count;
}

static size_t drop_body(char *data, size_t size, size_t count, void *ctx)
{
    (void)data;
    (void)ctx;
    return size * count;
}

/* The status of one request on a connection of its own, 0 when the answer is not as documented; a
 * client thread asserts nothing. */
static long ask_anew(CURL *curl)
{
    struct text body = {.length = 0};
    struct openapi_exchange x = {.verb = "GET", .path = "/api/auth/me"};
    char *media_type = NULL;
    char why[SCHEMA_WHY_BYTES];
    struct curl_slist *headers = NULL;
    char line[4200];
    char url[128];

    (void)snprintf(line, sizeof line, "Authorization: Bearer %s", api.token);
    (void)snprintf(url, sizeof url, "%s/api/auth/me", stack_url());
    headers = curl_slist_append(NULL, line);
    (void)curl_easy_setopt(curl, CURLOPT_URL, url);
    (void)curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_FRESH_CONNECT, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_FORBID_REUSE, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEDATA, &body);
    if (curl_easy_perform(curl) == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &x.status);
        (void)curl_easy_getinfo(curl, CURLINFO_CONTENT_TYPE, &media_type);
    }
    curl_slist_free_all(headers);
    x.media_type = media_type;
    x.body = (struct str){body.bytes, body.length};
    return api_documented(&x, why) ? x.status : 0;
}

static void *ask_on(void *arg)
{
    struct client *client = arg;
    CURL *curl = curl_easy_init();

    for (int i = 0; i < CONNECTIONS; i++) {
        client->good += ask_anew(curl) == 200 ? 1 : 0;
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void every_thread_serves(void **state)
{
    static const char answers[] = "avanta_http_responses_total{class=\"2xx\"}";
    struct client clients[CLIENTS] = {{0}};
    int64_t before = stack_metric("gateway", answers);
    char text[1024];

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_create(&clients[i].thread, NULL, ask_on, &clients[i]), 0);
    }
    for (int i = 0; i < 20; i++) { /* readiness looks at all threads while they work */
        assert_int_equal(stack_admin_get("gateway", "/readyz", text, sizeof text), 200);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(clients[i].thread, NULL), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(clients[i].good, CONNECTIONS);
    }
    assert_int_equal(stack_metric("gateway", answers) - before, CLIENTS * CONNECTIONS);
}

/* Looks at the readiness without a pause, so that a look falls into each change. */
struct watcher {
    pthread_t thread;
    char url[128];
    atomic_bool stop;
    atomic_long last;
};

static void *watch_on(void *arg)
{
    struct watcher *w = arg;
    CURL *curl = curl_easy_init();
    long status = 0;

    (void)curl_easy_setopt(curl, CURLOPT_URL, w->url);
    (void)curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    (void)curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_body);
    while (!atomic_load(&w->stop) && curl_easy_perform(curl) == CURLE_OK) {
        (void)curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
        atomic_store(&w->last, status);
    }
    curl_easy_cleanup(curl);
    return NULL;
}

static void watch(struct watcher *w)
{
    (void)snprintf(
        w->url, sizeof w->url, "http://127.0.0.1:%s/readyz", stack_value("ADMIN_GATEWAY"));
    assert_int_equal(pthread_create(&w->thread, NULL, watch_on, w), 0);
}

static bool watcher_sees(struct watcher *w, long wanted)
{
    for (int i = 0; i < 1000 && atomic_load(&w->last) != wanted; i++) {
        (void)usleep(10000);
    }
    return atomic_load(&w->last) == wanted;
}

static void readiness_follows_every_thread(void **state)
{
    struct watcher w = {.last = 0};

    (void)state;
    (void)snprintf(w.url, sizeof w.url, "http://127.0.0.1:%s/readyz", stack_value("ADMIN_GATEWAY"));
    assert_int_equal(pthread_create(&w.thread, NULL, watch_on, &w), 0);
    assert_true(watcher_sees(&w, 200));
    assert_int_equal(kill(stack_pid("nats"), SIGKILL), 0);
    assert_true(watcher_sees(&w, 503));
    stack_up();
    assert_true(watcher_sees(&w, 200));
    atomic_store(&w.stop, true);
    assert_int_equal(pthread_join(w.thread, NULL), 0);
}

/* A request whose body is not all there, so that one thread is not done at once. */
static int connect_and_wait(void)
{
    static const char head[] = "POST /api/auth/login HTTP/1.1\r\nHost: a\r\n"
                               "Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int64_t port = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(str_to_int64(str_from(stack_value("HTTP_PORT")), &port));
    address.sin_port = htons((uint16_t)port);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(send(fd, head, strlen(head), 0), strlen(head));
    return fd;
}

/* The threads end one after the other, and someone is always asking. */
static void readiness_is_told_until_the_end(void **state)
{
    struct watcher watchers[CLIENTS] = {{.last = 0}};
    pid_t pid = stack_pid("gateway");
    int open = connect_and_wait();

    (void)state;
    for (int i = 0; i < CLIENTS; i++) {
        watch(&watchers[i]);
        assert_true(watcher_sees(&watchers[i], 200));
    }
    assert_int_equal(kill(pid, SIGTERM), 0);
    for (int i = 0; i < CLIENTS; i++) {
        assert_int_equal(pthread_join(watchers[i].thread, NULL), 0); /* nobody listens any more */
    }
    for (int i = 0; i < 1500 && kill(pid, 0) == 0; i++) {
        (void)usleep(10000);
    }
    (void)close(open);
    assert_true(stack_logged("gateway", "event=stopped"));
    stack_up();
}

static void every_thread_hears_of_the_end_of_a_session(void **state)
{
    CURL *curl = curl_easy_init();
    int refused = 0;

    (void)state;
    assert_non_null(curl);
    assert_int_equal(api_call(&api, "POST", "/api/auth/logout", NULL, 0), 200);
    for (int tries = 0; tries < 100 && refused < CONNECTIONS; tries++) {
        /* In a row: one that still says yes begins the count anew. */
        refused = ask_anew(curl) == 401 ? refused + 1 : 0;
    }
    curl_easy_cleanup(curl);
    assert_int_equal(refused, CONNECTIONS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_thread_serves),
        cmocka_unit_test(readiness_follows_every_thread),
        cmocka_unit_test(readiness_is_told_until_the_end),
        cmocka_unit_test(every_thread_hears_of_the_end_of_a_session),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
