#pragma once
/*
 * A service's program as it is deployed, on scratch_pg and scratch_nats, and a client that calls it
 * as the gateway would. The program is $AVANTA_BUILD/bin/NAME; it runs as the database role named
 * like it, which owns nothing; the migrations run as NAME_owner. Every wait is bounded; what fails
 * ends the test. Single-threaded.
 */

#include "avanta/common.pb-c.h"
#include "tests/support/bus_rig.h"

#include "libcommon/codec/api.h"
#include "libcommon/io/envelope.h"

#include <sys/types.h>

#define SERVICE_RIG_REPLICAS_MAX 4
#define SERVICE_CALL_FIELDS_MAX  8

struct service_rig {
    const char *name;
    char role[32];   /* in the database: the name with underscores */
    const char *dsn; /* as superuser, for looking behind the service */
    const char *nats_url;
    pid_t pids[SERVICE_RIG_REPLICAS_MAX];
    unsigned replicas;
    struct bus_rig loop;
    struct bus *bus;
    struct sealer *sealer;
    struct arena_pool *arenas;
};

/* A setting of the program's own, kept as it is; before service_rig_open(). */
void service_rig_setting(const char *name, const char *value);
/* Of another program: without the settings given so far. */
void service_rig_settings_forget(void);
void service_rig_open(struct service_rig *rig, const char *name, unsigned replicas);
/* Ends the programs by SIGTERM and asserts that they drain and exit with 0. */
void service_rig_close(struct service_rig *rig);

struct service_call {
    /* --- the question --- */
    const struct api_method *method;
    const ProtobufCMessage *in;
    const char *user;  /* NULL: nobody */
    const char *role;  /* NULL: user */
    const char *email; /* of the caller, or NULL */
    const char *actor; /* acts for `user`, or NULL */
    const char *grant; /* what `user` granted it, or NULL */
    bool by_key;       /* an API key, with the scope of that name or none */
    const char *scope;
    const char *key; /* Idempotency-Key, or NULL */
    const char *client_ip;
    const char *session; /* of the user, or NULL */

    /* --- the answer; all of it lives until service_call_end() --- */
    int count;     /* 1: it has come */
    enum code bus; /* of the bus; the rest holds when it is OK */
    enum code code;
    Avanta__Reason reason;
    bool replayed;
    uint32_t retry_after_s;
    const char *detail;
    size_t field_count; /* violations */
    const char *fields[SERVICE_CALL_FIELDS_MAX];
    const char *rules[SERVICE_CALL_FIELDS_MAX];
    const void *out; /* the reply message when code is OK */

    struct service_rig *rig;
    struct arena *arena;
    ProtobufCAllocator allocator;
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
};

/* "ledger.CreateTransaction"; fails the test when there is none. */
const struct api_method *service_method(const char *full_name);
/* `call` holds the question, must stay where it is, and is ended after the answer has been read. */
void service_call_start(struct service_rig *rig, struct service_call *call);
void service_call_wait(struct service_call *call);
/* Both; gives the code. */
enum code service_call(struct service_rig *rig, struct service_call *call);
void service_call_end(struct service_call *call);
