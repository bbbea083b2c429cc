#pragma once
/*
 * A private nats-server for tests, with JetStream in a temporary directory, on a free loopback
 * port; ended with the process, also when it crashes. One per process. Every wait is bounded; what
 * fails prints a message and ends the process with status 1. Single-threaded.
 */

/* What goes between the brackets of the lists of subjects: "\"rpc.>\", \"ctl.>\"". NULL: all. */
struct scratch_nats_user {
    const char *user;
    const char *password;
    const char *publish;
    const char *subscribe;
};

struct scratch_nats_options {
    const struct scratch_nats_user *users; /* all in one account; none: anybody may connect */
    int user_count;
    const char *extra; /* more lines of configuration, or NULL */
    /* A whole configuration instead, or NULL: a file that takes NATS_HOST, NATS_PORT and NATS_STORE
     * from the environment; the rest of that is the test's. For scratch_nats_start() only. */
    const char *configuration;
};

/* The URL, alive until the end of the process; options may be NULL. */
const char *scratch_nats_start(const struct scratch_nats_options *options);
/* An orderly stop, waited for. */
void scratch_nats_stop(void);
/* kill -9, waited for. */
void scratch_nats_kill(void);
/* Between a stop and a restart: the streams are gone. */
void scratch_nats_wipe(void);
/* After a stop or kill: the same port, the same streams. New users when options are given. */
void scratch_nats_restart(const struct scratch_nats_options *options);
/* The server stands still, connections stay; and goes on. */
void scratch_nats_pause(void);
void scratch_nats_continue(void);
/* Stops the server and removes the directory. Also runs at exit. */
void scratch_nats_end(void);
