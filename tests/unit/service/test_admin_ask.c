/* What --ready makes of the admin port's answers. */
#include "tests/support/check.h"

#include "libcommon/base/attr.h"
#include "libcommon/service/admin_ask.h"

#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct server {
    int fd;
    uint16_t port;
    const char *answer; /* NULL: the connection is kept without a word until the asker has gone */
    char question[256];
};

/* On an assigned port of the loopback; it only listens. */
static void server_open(struct server *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;

    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(server->fd >= 0);
    assert_int_equal(bind(server->fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->fd, 1), 0);
    assert_int_equal(getsockname(server->fd, (struct sockaddr *)&address, &length), 0);
    server->port = ntohs(address.sin_port);
}

static void *server_run(void *arg)
{
    struct server *server = arg;
    int fd = accept(server->fd, NULL, NULL);
    ssize_t got = recv(fd, server->question, sizeof server->question - 1, 0);

    if (got > 0 && server->answer != NULL) {
        (void)send(fd, server->answer, strlen(server->answer), MSG_NOSIGNAL);
    } else {
        char byte = 0;

        (void)recv(fd, &byte, 1, 0);
    }
    (void)close(fd);
    return NULL;
}

static enum code ask(const char *answer, struct err *err)
{
    struct server server = {.answer = answer};
    pthread_t thread;
    enum code code = OK;

    server_open(&server);
    assert_int_equal(pthread_create(&thread, NULL, server_run, &server), 0);
    code = admin_ask_ready("127.0.0.1", server.port, err);
    assert_int_equal(pthread_join(thread, NULL), 0);
    (void)close(server.fd);
    assert_memory_equal(server.question, "GET /readyz HTTP/1.1\r\n", 22);
    return code;
}

static void only_200_is_ready(void **state)
{
    static const struct {
        const char *answer;
        enum code code;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\n\r\n",                  OK             },
        {"HTTP/1.1 503 Service Unavailable\r\n\r\n", ERR_UNAVAILABLE},
        {"HTTP/1.1 2000 OK\r\n\r\n",                 ERR_UNAVAILABLE},
        {"HTTP/1.1 200",                             ERR_UNAVAILABLE},
        {"",                                         ERR_UNAVAILABLE},
        {"SSH-2.0-elsewhere\r\n",                    ERR_UNAVAILABLE},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct err err = {.code = OK};

        assert_row(i, ask(rows[i].answer, &err) == rows[i].code);
        assert_row(i, err.code == rows[i].code);
    }
}

static void silence_is_not_ready(void **state)
{
    struct err err = {.code = OK};

    (void)state;
    assert_int_equal(ask(NULL, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "does not answer"));
}

static void nobody_is_not_ready(void **state)
{
    struct server server = {.fd = -1};
    struct err err = {.code = OK};

    (void)state;
    server_open(&server);
    (void)close(server.fd);
    assert_int_equal(admin_ask_ready("127.0.0.1", server.port, &err), ERR_UNAVAILABLE);
    assert_non_null(strstr(err.text, "cannot be reached"));
    err = (struct err){.code = OK};
    assert_int_equal(admin_ask_ready("localhost", server.port, &err), ERR_INVALID);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_200_is_ready),
        cmocka_unit_test(silence_is_not_ready),
        cmocka_unit_test(nobody_is_not_ready),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
