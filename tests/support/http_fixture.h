#pragma once
/*
 * An HTTP server and its clients in one thread: everything that waits turns the server's loop, so
 * nothing here races. The clock can be pushed forward. One fixture at a time.
 */

#include "tests/support/check.h"

#include "libcommon/io/http_server.h"

#define FIXTURE_HELD_MAX  64
#define FIXTURE_BIG_BYTES ((size_t)1024 * 1024)
#define FIXTURE_TURNS_MAX 5000

struct fixture {
    struct loop *loop;
    struct arena_pool *arenas;
    struct http_server *server;
    struct http_exchange *held[FIXTURE_HELD_MAX]; /* requests to /hold, in order of arrival */
    size_t held_count;
    uint32_t drained;
    char peer[64]; /* of the last request */
    const char *waited_for;
    int waits;
};

/* Answers: /echo the body; /hold when fixture_reply() says so; /big?N N bytes; /close closes;
 * /inject an answer that may not be sent; everything else "METHOD PATH QUERY". */
void fixture_open(struct fixture *f, const struct http_server_options *options);
/* Drains and closes everything; checks that nothing is left. */
void fixture_close(struct fixture *f);
void fixture_reply(struct fixture *f, size_t held, const char *body);
void fixture_drain(struct fixture *f);
/* Turns the loop once without waiting, then waits a millisecond. */
void fixture_turn(struct fixture *f);
void fixture_turn_ms(struct fixture *f, uint64_t ms);
void fixture_clock_forward(uint64_t ms);
struct http_server_stats fixture_stats(const struct fixture *f);
/* Turns the loop until the condition holds; fails after some seconds. */
#define fixture_until(f, condition)    \
    do {                               \
        fixture_wait((f), #condition); \
    } while (!(condition))
void fixture_wait(struct fixture *f, const char *condition);
/* assert_row() that may be used inside loops and cases. */
#define assert_case(row, condition) fixture_case((row), (condition), #condition)
void fixture_case(size_t row, bool holds, const char *condition);

enum client_end {
    CLIENT_OPEN,
    CLIENT_EOF,
    CLIENT_RESET
};

struct client {
    struct fixture *f;
    int fd;
    enum client_end end;
    char *bytes; /* received */
    size_t len;
    size_t cap;
    size_t at; /* taken by client_answer() */
};

struct answer {
    int status;
    struct str head;
    struct str body;
};

void client_open(struct client *c, struct fixture *f);
void client_close(struct client *c);
void client_abort(struct client *c); /* with a reset */
/* Sends all of it, turning the loop while the socket is full. */
void client_send(struct client *c, struct str text);
void client_send_text(struct client *c, const char *text);
void client_shutdown(struct client *c);
/* Reads what is there. */
void client_read(struct client *c);
/* The next complete answer; fails when none comes. The views live until the next read. */
struct answer client_answer(struct client *c);
struct answer client_ask(struct client *c, const char *text);
/* Waits for the end of the connection. */
enum client_end client_end(struct client *c);
bool answer_has(const struct answer *a, const char *text); /* in the head */
