/* The line of a request: what it holds, at which level, and which requests have one. */
#include "gateway/request_log.h"
#include "tests/support/check.h"

#include "libcommon/base/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define ID "0199ab12-3456-7890-abcd-ef0123456789"

static const struct request_log known = {
    .route = "/api/accounts/{id}",
    .code = OK,
    .request_id = ID,
    .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    .user = "user-1",
    .attempts = 1,
    .auth_us = 5,
    .bus_us = 90,
};
static const struct http_end end = {
    .status = 200,
    .request_id = "",
    .method = "GET",
    .sent = true,
    .bytes_in = 100,
    .bytes_out = 2000,
    .read_us = 7,
    .work_us = 120,
    .write_us = 3,
};

static char seen[8192];
static int saved_stderr = -1;
static int sink = -1;

static int setup(void **state)
{
    (void)state;
    sink = memfd_create("stderr", MFD_CLOEXEC);
    saved_stderr = dup(STDERR_FILENO);
    return sink < 0 || saved_stderr < 0 || dup2(sink, STDERR_FILENO) < 0;
}

static int teardown(void **state)
{
    (void)state;
    log_close();
    (void)dup2(saved_stderr, STDERR_FILENO);
    (void)close(saved_stderr);
    (void)close(sink);
    return 0;
}

static void open_sampled(uint64_t sample)
{
    log_open(&(const struct log_options){.service = "gateway",
                                         .instance = "i",
                                         .level = LOG_INFO,
                                         .ship = LOG_LEVEL_COUNT,
                                         .sample = sample,
                                         .slow_ms = 1000});
}

static const char *written(void)
{
    ssize_t len = 0;

    log_flush();
    len = pread(sink, seen, sizeof(seen) - 1, 0);
    assert_true(len >= 0);
    seen[len] = '\0';
    assert_int_equal(ftruncate(sink, 0), 0);
    assert_int_equal(lseek(sink, 0, SEEK_SET), 0);
    return seen;
}

static void a_line_tells_all(void **state)
{
    (void)state;
    open_sampled(1);
    request_log_write(&known, STR("203.0.113.77"), &end);
    assert_non_null(
        strstr(written(),
               " level=info service=gateway instance=i event=request request_id=" ID
               " trace=4bf92f3577b34da6a3ce929d0e0e4736 method=GET route=\"/api/accounts/{id}\""
               " status=200 code=OK user=user-1 client=203.0.113.0 bytes_in=100 bytes_out=2000"
               " read_us=7 auth_us=5 bus_us=90 us=120 write_us=3 attempts=1 end=sent\n"));
}

static void refused_by_the_server(void **state)
{
    struct http_end refused = end;

    (void)state;
    open_sampled(1000000);
    refused.status = 400;
    refused.refused = ERR_HTTP;
    refused.request_id = ID;
    request_log_write(NULL, STR("2001:db8:1:2::3"), &refused);
    assert_non_null(strstr(written(),
                           "request_id=" ID " trace=- method=GET route=- status=400 "
                           "code=BAD_REQUEST user=- client=2001:db8:1:: "));
}

static void only_successes_are_sampled(void **state)
{
    static const struct {
        uint16_t status;
        uint64_t us;
        bool sent;
        const char *level;
    } rows[] = {
        {200, 10,      true,  NULL         },
        {204, 999999,  true,  NULL         },
        {200, 1000000, true,  "level=info" },
        {404, 10,      true,  "level=info" },
        {500, 10,      true,  "level=error"},
        {200, 10,      false, "level=info" },
    };

    (void)state;
    open_sampled(1000000);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct http_end one = end;

        one.status = rows[i].status;
        one.work_us = rows[i].us;
        one.sent = rows[i].sent;
        request_log_write(&known, STR("10.0.0.1"), &one);
        (void)written();
        assert_row(i,
                   rows[i].level == NULL ? seen[0] == '\0' : strstr(seen, rows[i].level) != NULL);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_line_tells_all, setup, teardown),
        cmocka_unit_test_setup_teardown(refused_by_the_server, setup, teardown),
        cmocka_unit_test_setup_teardown(only_successes_are_sampled, setup, teardown),
    };

    return cmocka_run_group_tests_name("request_log", tests, NULL, NULL);
}
