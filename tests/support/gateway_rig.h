#pragma once
/*
 * The gateway's program as it is deployed, on scratch_nats, with one thread, and in the place of
 * the services a fake identity of this process: it publishes the keys it is given and knows no
 * user, so a request that was authenticated is answered 404. The program is
 * $AVANTA_BUILD/bin/gateway. Every wait is bounded; what fails ends the test. Single-threaded.
 */

#include "tests/support/bus_rig.h"
#include "tests/support/raw_http.h"

#include "libcommon/io/envelope.h"

#include <sys/types.h>

#define GATEWAY_RIG_KEYS_MAX 8

struct gateway_rig_key {
    char kid[128];
    char x[1024]; /* base64url */
    char y[1024];
};

struct gateway_rig {
    pid_t pid;
    char log_path[64];
    char port[16];
    struct bus_rig loop;
    struct bus *bus;
    struct sealer *sealer;
    struct replay_guard *guard;
    struct arena_pool *arenas;
    struct gateway_rig_key keys[GATEWAY_RIG_KEYS_MAX];
    size_t key_count;
    bool silent;         /* who asks for keys gets no answer */
    int fetches;         /* times that somebody asked for them */
    int calls;           /* of other operations */
    char request_id[64]; /* of the last answer */
    struct raw raw;      /* for gateway_rig_get() */
    char *log;           /* as it was last read */
};

void gateway_rig_open(struct gateway_rig *rig);
/* Ends the program by SIGTERM and asserts that it exits with 0. */
void gateway_rig_close(struct gateway_rig *rig);
/* Tells the gateway that the keys have changed and waits until it has asked for them. */
void gateway_rig_poke(struct gateway_rig *rig);
/* The status of GET with that bearer token (NULL: none). */
long gateway_rig_get(struct gateway_rig *rig, const char *path, struct str bearer);
/* The same in two halves, on any connection; the answer is waited for `ms_max`, -1 without one. */
void gateway_rig_send(struct raw *raw, const char *path, struct str bearer);
long gateway_rig_answer(struct gateway_rig *rig, struct raw *raw, int ms_max);
/* Why the request of the last answer was refused, as the log says it. */
const char *gateway_rig_why(struct gateway_rig *rig);
