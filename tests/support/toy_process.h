#pragma once
/*
 * The toy service as a process of its own, beside scratch_pg and scratch_nats, and a client that
 * calls it as the gateway would. A test's main() gives toy_process_main() the first look: the
 * process is the test's own program, started again. Every wait is bounded; what fails ends the
 * test. Single-threaded.
 */

#include "tests/support/bus_rig.h"
#include "tests/support/toy.h"

#include "libcommon/io/envelope.h"

#include <sys/types.h>

#define TOY_KEY "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"

/* True: this process is the service, or one of its commands; exit with *out_status. */
bool toy_process_main(int argc, char **argv, int *out_status);

struct toy_process {
    pid_t pid;
    int admin_port;
    char log_path[64];
};

/* Starts the service on the database and waits until it is ready. */
void toy_process_start(struct toy_process *p, const char *dsn, const char *nats_url);
/* The same without waiting. */
void toy_process_spawn(struct toy_process *p, const char *dsn, const char *nats_url);
void toy_process_signal(const struct toy_process *p, int signum);
/* Waits for its end: the exit status, or 128 and the signal's number. */
int toy_process_end(struct toy_process *p);
bool toy_process_logged(const struct toy_process *p, const char *text);
unsigned toy_process_logged_times(const struct toy_process *p, const char *text);
/* Runs one command line option with the environment given (may be NULL) and takes its output. */
int toy_process_command(const char *option, const char *const *environment, char *out, size_t cap);
/* GET of the admin port: the status; 0 when nobody listens. */
long toy_process_get(const struct toy_process *p, const char *path, char *out, size_t cap);
/* The same with another verb and no body. */
long toy_process_admin(
    const struct toy_process *p, const char *verb, const char *path, char *out, size_t cap);

struct toy_caller {
    struct bus_rig rig;
    struct bus *bus;
    struct sealer *sealer;
    struct arena_pool *arenas;
};

struct toy_answer {
    int count;     /* 1: it has come */
    enum code bus; /* of the bus itself; the rest holds when it is OK */
    enum code code;
    Avanta__Reason reason;
    bool replayed;
    char detail[128];
    char field[64];
    int64_t id;
    size_t rows;
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
    struct toy_caller *caller;
    enum toy_op op;
};

struct toy_question {
    enum toy_op op;
    const char *user; /* NULL: nobody */
    const char *role;
    const char *name;
    int64_t amount; /* 0: none */
    const char *key;
    int64_t deadline_ms; /* from now; 0: 5000 */
    int64_t issued_ms;   /* from now */
    bool forged;         /* signed with another key */
    bool twice;          /* the same frame once more, at once */
};

void toy_caller_open(struct toy_caller *caller, const char *nats_url);
void toy_caller_close(struct toy_caller *caller);
/* `answer` must stay until it has come. */
void toy_ask(struct toy_caller *caller, const struct toy_question *q, struct toy_answer *answer);
void toy_wait(struct toy_caller *caller, struct toy_answer *answer);
enum code
toy_ask_wait(struct toy_caller *caller, const struct toy_question *q, struct toy_answer *answer);
