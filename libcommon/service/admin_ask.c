#include "libcommon/service/admin_ask.h"

#include "libcommon/base/str.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define ASK_SECONDS_MAX 2 /* for each of connecting, asking and the answer's first bytes */
#define PORT_BYTES      8

static enum code refuse(struct err *err, const char *what)
{
    assert(what != NULL);
    return err_set(err, ERR_UNAVAILABLE, "the admin port %s (%s)", what, strerrordesc_np(errno));
}

/* A socket connected to the port, or -1 with errno. */
static int port_connect(const struct addrinfo *to)
{
    const struct timeval timeout = {.tv_sec = ASK_SECONDS_MAX};
    int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        return -1;
    }
    /* The first of the two also bounds connect(). */
    if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout) != 0 ||
        connect(fd, to->ai_addr, to->ai_addrlen) != 0) {
        int cause = errno;

        (void)close(fd);
        errno = cause;
        return -1;
    }
    return fd;
}

static enum code ask(int fd, struct err *err)
{
    static const char question[] = "GET /readyz HTTP/1.1\r\nHost: localhost\r\n"
                                   "Connection: close\r\n\r\n";
    static const char good[] = "HTTP/1.1 200 ";
    char answer[sizeof good - 1];
    ssize_t got = 0;

    assert(fd >= 0);
    if (send(fd, question, sizeof question - 1, MSG_NOSIGNAL) != (ssize_t)sizeof question - 1) {
        return refuse(err, "cannot be asked");
    }
    got = recv(fd, answer, sizeof answer, MSG_WAITALL);
    if (got < 0) {
        return refuse(err, "does not answer");
    }
    if ((size_t)got < sizeof answer || memcmp(answer, good, sizeof answer) != 0) {
        return err_set(
            err, ERR_UNAVAILABLE, "not ready: %.*s", STR_FMT(((struct str){answer, (size_t)got})));
    }
    return OK;
}

enum code admin_ask_ready(const char *address, uint16_t port, struct err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                                   .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *to = NULL;
    char service[PORT_BYTES];
    enum code code = OK;
    int fd = -1;

    assert(address != NULL);
    assert(port != 0);
    (void)snprintf(service, sizeof service, "%u", (unsigned)port);
    if (getaddrinfo(address, service, &hints, &to) != 0) {
        return err_set(err, ERR_INVALID, "%.64s is no address", address);
    }
    fd = port_connect(to);
    freeaddrinfo(to);
    if (fd < 0) {
        return refuse(err, "cannot be reached");
    }
    code = ask(fd, err);
    (void)close(fd);
    return code;
}
