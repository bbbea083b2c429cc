#include "tests/support/raw_http.h"

#include "tests/support/check.h"

#include "libcommon/base/clock.h"

#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void raw_open(struct raw *raw, const char *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int small = 4096; /* so that a reader that stops is soon noticed */
    int64_t number = 0;

    memset(raw, 0, sizeof *raw);
    assert_true(str_to_int64(str_from(port), &number));
    address.sin_port = htons((uint16_t)number);
    raw->fd = socket(AF_INET, SOCK_STREAM, 0);
    raw->bytes = malloc(RAW_ANSWER_BYTES);
    assert_true(raw->fd >= 0 && raw->bytes != NULL);
    assert_int_equal(setsockopt(raw->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    assert_int_equal(connect(raw->fd, (struct sockaddr *)&address, sizeof address), 0);
}

void raw_close(struct raw *raw)
{
    (void)close(raw->fd);
    free(raw->bytes);
    memset(raw, 0, sizeof *raw);
    raw->fd = -1;
}

void raw_abort(struct raw *raw)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};

    assert_int_equal(setsockopt(raw->fd, SOL_SOCKET, SO_LINGER, &now, sizeof now), 0);
    raw_close(raw);
}

bool raw_send(struct raw *raw, struct str bytes)
{
    size_t sent = 0;

    while (sent < bytes.len) {
        ssize_t n = send(raw->fd, bytes.ptr + sent, bytes.len - sent, MSG_NOSIGNAL);

        if (n <= 0) {
            return false;
        }
        sent += (size_t)n;
    }
    return true;
}

/* Bytes read, 0 at the end of the connection (also by a reset), -1 when the time is over. */
static int read_more(struct raw *raw, uint64_t until_ms)
{
    uint64_t now = clock_mono_ms();
    struct pollfd fd = {.fd = raw->fd, .events = POLLIN};
    ssize_t n = 0;

    assert_true(raw->held < RAW_ANSWER_BYTES - 1);
    if (now >= until_ms || poll(&fd, 1, (int)(until_ms - now)) != 1) {
        return -1;
    }
    n = recv(raw->fd, raw->bytes + raw->held, RAW_ANSWER_BYTES - 1 - raw->held, 0);
    if (n <= 0) {
        return 0;
    }
    raw->held += (size_t)n;
    raw->bytes[raw->held] = '\0';
    return (int)n;
}

/* The length of the whole answer at the front, 0 while it is not all there. */
static size_t answer_length(struct raw *raw)
{
    struct str held = {raw->bytes, raw->held};
    static const char name[] = "Content-Length: ";
    const char *field = NULL;
    int64_t length = 0;
    size_t head = 0;

    if (!str_find(held, STR("\r\n\r\n"), &head)) {
        return 0;
    }
    head += 4;
    field = strstr(raw->bytes, name);
    assert_non_null(field); /* our server always says it */
    field += strlen(name);
    assert_true(str_to_int64((struct str){field, strcspn(field, "\r")}, &length));
    raw->body = (struct str){raw->bytes + head, (size_t)length};
    return head + (size_t)length <= raw->held ? head + (size_t)length : 0;
}

long raw_answer(struct raw *raw, int ms_max)
{
    uint64_t until_ms = clock_mono_ms() + (uint64_t)ms_max;
    int64_t status = 0;

    memmove(raw->bytes, raw->bytes + raw->taken, raw->held - raw->taken);
    raw->held -= raw->taken;
    raw->bytes[raw->held] = '\0';
    raw->taken = 0;
    while (answer_length(raw) == 0) {
        int n = read_more(raw, until_ms);

        if (n <= 0) {
            return n;
        }
    }
    raw->taken = answer_length(raw);
    assert_true(str_starts((struct str){raw->bytes, raw->held}, STR("HTTP/1.1 ")));
    assert_true(str_to_int64((struct str){raw->bytes + 9, 3}, &status));
    raw->media = strstr(raw->bytes, "Content-Type: ");
    raw->media = raw->media == NULL ? "" : raw->media + strlen("Content-Type: ");
    return (long)status;
}

bool raw_ended(struct raw *raw, int ms_max)
{
    return raw->held == raw->taken && read_more(raw, clock_mono_ms() + (uint64_t)ms_max) == 0;
}
