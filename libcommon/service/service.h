#pragma once
/*
 * The skeleton: what makes a program a service is this table. `service_main` reads configuration,
 * migrates
 * (--migrate), opens database and bus, serves rpc.<name>.> in queue group "q", answers
 * $SRV.PING/INFO/STATS (NATS services protocol, ADR-32), runs the outbox relay and consumers,
 * serves the admin port, and on SIGTERM or SIGINT drains completely: not ready, no new messages,
 * requests under way finished, outbox pass, closed, exit 0. Options: --help, --print-config,
 * --config-markdown, --metrics-markdown, --migrate, --version, --check-sql (prepares every
 * statement and exits).
 */

#include "avanta/common.pb-c.h"

#include "libcommon/base/config.h"
#include "libcommon/base/metric.h"
#include "libcommon/io/bus.h"
#include "libcommon/io/pg_query.h"
#include "libcommon/service/op.h"

/* A durable JetStream consumer whose records become requests of one operation each: the record's
 * bytes are unpacked as the operation's input. consumer.h says when a message is acknowledged and
 * when it comes again. Reserved parameter request_id holds the record's id, the same each time:
 * the operation must do nothing for an id it has seen. */
struct consumer_row {
    const char *stream;
    const char *durable;
    const char *filter_subject;
    const struct message_rules *in; /* its descriptor unpacks the record; rules are not checked */
    const ProtobufCMessageDescriptor *out; /* NULL: no reply message */
    const struct op *op;
};

/* A job that runs every `every_ms` as a request of its own (principal NULL), one at a time per
 * process. One that is `at_start` runs at once and then until it has succeeded; the process is not
 * ready before. */
struct periodic_row {
    const char *name;
    uint64_t every_ms;
    const struct op *op;
    bool at_start;
};

/* Core NATS messages of a subject, shared by the replicas: best effort, handled at once on the loop
 * thread. The handler must not wait; the arena is its own until it returns. */
struct listener_row {
    const char *subject;
    void (*handler)(void *state, struct arena *arena, struct str payload);
};

/* A constraint of the service's tables whose violation has a meaning of its own: the request is
 * refused with `reason`, and with a violation of `field` when one is given. Other constraints
 * answer ERR_CONFLICT (unique), ERR_REFERENCE (foreign key) or ERR_INVALID (check). */
struct constraint_row {
    const char *constraint;
    enum _Avanta__Reason reason;
    const char *field; /* NULL: none */
};

/* What a command cannot do without. */
enum service_needs {
    SERVICE_NEEDS_NOTHING, /* not even the environment is read */
    SERVICE_NEEDS_SETTINGS,
    SERVICE_NEEDS_PG_DSN,
    SERVICE_NEEDS_PG_MIGRATE_DSN
};

/* A command of one service, `X --verify FILE`: blocking, before any loop; its status is that of the
 * program. argv is what stands behind the name. Settings are loaded as if those that are required
 * had an empty default. */
struct command_settings {
    const char *dsn; /* of the database it needs, else NULL */
    const void *own; /* the target of the service's own settings, NULL when it needs none */
};

struct service_command {
    const char *name;
    enum service_needs needs;
    int (*run)(int argc, char **argv, const struct command_settings *settings);
};

struct service {
    const char *name; /* "audit-log": program, subject, database user */
    const char *version;
    const char *description;
    const struct op_row *ops;
    size_t op_count;
    const struct pg_query *queries; /* table 1; table 0 is the skeleton's own */
    uint16_t query_count;
    const struct pg_migration *migrations;
    size_t migration_count;
    const struct consumer_row *consumers;
    size_t consumer_count;
    const struct periodic_row *periodics;
    size_t periodic_count;
    const char *last_job; /* one of them: runs once more when no more messages come; or NULL */
    const struct listener_row *listeners;
    size_t listener_count;
    const struct constraint_row *constraints;
    size_t constraint_count;
    const struct api_event *events; /* NULL: the generated api_events */
    size_t event_count;
    const struct config_table *config; /* the service's own settings, or NULL */
    const struct metric_row *metrics;  /* the service's own, beside the skeleton's */
    size_t metric_count;
    /* Those that on_start made of them; asked whenever they are read. */
    const struct metrics *(*own_metrics)(const void *state);
    /* After configuration, before anything is served; *out_state reaches steps through
     * req_service(). */
    enum code (*on_start)(void **out_state, struct err *err);
    void (*on_stop)(void *state);
    const struct service_command *commands;
    size_t command_count;
    const char *command_help; /* lines for --help, or NULL */
};

int service_main(int argc, char **argv, const struct service *self);
