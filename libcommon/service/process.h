#pragma once
/* Internal to service.c (the life of a service) and process.c (the making of its parts): everything
 * one process has. One per program, on its loop thread. */

#include "libcommon/base/sm.h"
#include "libcommon/service/admin.h"
#include "libcommon/service/consumer.h"
#include "libcommon/service/dispatch.h"
#include "libcommon/service/listener.h"
#include "libcommon/service/log_bus.h"
#include "libcommon/service/periodic.h"
#include "libcommon/service/relay.h"
#include "libcommon/service/runner.h"
#include "libcommon/service/service_metrics.h"
#include "libcommon/service/service_options.h"
#include "libcommon/service/srv_protocol.h"
#include "libcommon/service/streams.h"

enum process_state {
    PROCESS_INIT,
    PROCESS_RUNNING,
    PROCESS_DRAINING,
    PROCESS_CLOSING,
    PROCESS_STATE_COUNT
};

struct process {
    const struct service *self;
    struct service_config config;
    struct sm sm;
    int status;
    void *state; /* of the service */
    struct loop *loop;
    struct loop_timer *log_timer;
    struct loop_timer *confirm_timer;
    struct loop_timer *drain_timer;
    struct arena_pool *arenas;
    struct endpoint *endpoints; /* operations, consumers, periodic jobs, the skeleton's own */
    size_t endpoint_count;
    struct periodic_row periodics_rows[PERIODICS_MAX];
    struct service_metrics *metrics;
    /* database */
    struct pg_query_table tables[TABLE_COUNT];
    struct pg_plan *plans[TABLE_COUNT];
    struct pg_pool *pool;
    struct pg_pool *relay_pool;
    struct real_database database;
    struct real_database relay_database;
    bool database_ready;
    /* bus */
    struct bus *bus;
    struct sealer *sealer;
    struct replay_guard *guard;
    struct streams *streams;
    struct log_bus *log_bus;
    bool serving; /* the bus knows our subscriptions */
    /* parts */
    struct real_effects effects;
    struct runner *runner;
    struct dispatch *dispatch;
    struct consumers *consumers;
    struct listeners *listeners;
    struct periodics *periodics;
    struct srv_protocol *srv;
    struct relay *relay;
    struct admin *admin;
    uint32_t closing; /* parts whose drain is not done */
};

/* --- process.c --- */
/* What needs no loop callbacks yet: keys, memory, loop, endpoints. */
enum code process_base_open(struct process *p, struct err *err) MUST_CHECK;
void process_base_close(struct process *p);
/* Runner, bus, database, admin port; on an error the others are drained and closed. */
enum code process_parts_open(struct process *p, struct err *err) MUST_CHECK;
/* Relay, consumers, periodic jobs, $SRV and requests: once database, bus and streams are there. */
enum code process_serve(struct process *p, struct err *err) MUST_CHECK;

/* --- service.c: what the parts report --- */
void process_on_streams_ready(void *ctx);
void process_on_refused(void *ctx);
void process_on_bus_state(void *ctx, bool connected);
void process_on_database_ready(void *ctx, bool any_ready);
void process_on_database_idle(void *ctx);
void process_on_fatal(void *ctx, const struct err *err);
void process_on_committed(void *ctx, const struct outbox_rows *rows);
