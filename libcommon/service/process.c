/* Making a service's parts: what they are given and in which order. */
#include "libcommon/service/process.h"

#include "api.gen.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/base/log_ship.h"
#include "libcommon/service/idempotency.h"

#include <assert.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define HEAP_BLOCK_BYTES (4 * 1024 * 1024)  /* larger ones are mapped by themselves */
#define HEAP_KEPT_BYTES  (32 * 1024 * 1024) /* free at the top before any goes back */
#define ARENA_CHUNKS_MAX 32768              /* 512 MiB of address space, touched on use */
#define GUARD_NONCES     (1024 * 1024)      /* 48 MiB of address space, touched on use */

/* --- the admin port ------------------------------------------------------------------------ */

static bool database_is_ready(void *ctx)
{
    const struct process *p = ctx;

    return p->database_ready;
}

static bool bus_is_ready(void *ctx)
{
    const struct process *p = ctx;

    return p->bus != NULL && bus_connected(p->bus);
}

static bool streams_are_ready(void *ctx)
{
    const struct process *p = ctx;

    return p->streams != NULL && streams_ready(p->streams);
}

static bool is_serving(void *ctx)
{
    const struct process *p = ctx;

    return p->serving;
}

static bool jobs_are_done(void *ctx)
{
    const struct process *p = ctx;

    return p->periodics != NULL && periodics_started(p->periodics);
}

static bool is_not_draining(void *ctx)
{
    const struct process *p = ctx;

    return p->sm.state == PROCESS_INIT || p->sm.state == PROCESS_RUNNING;
}

static const struct admin_check checks[] = {
    {"database", database_is_ready},
    {"bus",      bus_is_ready     },
    {"streams",  streams_are_ready},
    {"serving",  is_serving       },
    {"jobs",     jobs_are_done    },
    {"draining", is_not_draining  },
};

static void write_metrics(void *ctx, struct buf *out)
{
    struct process *p = ctx;
    struct metrics *metrics = service_metrics_rows(p->metrics);
    struct runner_gauges runner;
    struct pg_pool_stats pg;
    struct bus_stats bus;

    assert(p->runner != NULL);
    assert(p->pool != NULL);
    assert(p->bus != NULL);
    runner_gauges(p->runner, &runner);
    pg_pool_stats(p->pool, &pg);
    bus_stats(p->bus, &bus);
    metric_set(metrics, METRIC_REQUESTS_LIVE, 0, runner.requests);
    metric_set(metrics, METRIC_TURNS_WAITING, 0, runner.turns_waiting);
    metric_set(metrics, METRIC_READS_WAITING, 0, runner.reads_waiting);
    metric_set(metrics, METRIC_WRITES_WAITING, 0, runner.writes_waiting);
    metric_set(metrics, METRIC_WORKS, 0, runner.works_placed);
    metric_set(metrics, METRIC_PG_READY, 0, pg.ready);
    metric_set(metrics, METRIC_PG_LOST, 0, (int64_t)pg.lost);
    metric_set(metrics, METRIC_BUS_CONNECTED, 0, bus_connected(p->bus) ? 1 : 0);
    metric_set(metrics, METRIC_BUS_OVERFLOWS, 0, (int64_t)bus.ring_overflows);
    metric_set(metrics, METRIC_LOG_LOST, 0, (int64_t)log_ship_lost());
    service_metrics_write(p->metrics, out);
    if (p->self->own_metrics != NULL) {
        metrics_write(p->self->own_metrics(p->state), out);
    }
}

/* --- making everything ------------------------------------------------------------------------ */

static const struct periodic_row own_periodic = {
    "idempotency_purge", IDEMPOTENCY_PURGE_MS, &op_idempotency_purge, false};

static enum code endpoints_make(struct process *p, struct err *err)
{
    const struct service *self = p->self;
    size_t count = self->op_count + self->consumer_count + self->periodic_count + 1;
    struct endpoint *at = NULL;

    assert(self->periodic_count + 1 <= PERIODICS_MAX);
    assert(p->endpoints == NULL);
    p->endpoints = calloc(count, sizeof *p->endpoints);
    if (p->endpoints == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the operations");
    }
    p->endpoint_count = count;
    at = p->endpoints;
    for (size_t i = 0; i < self->op_count; i++) {
        const struct api_method *method = self->ops[i].method;

        assert(!method->writes || op_writes(self->ops[i].op)); /* else it could leave no record */
        *at++ = (struct endpoint){.name = method->full_name,
                                  .op = self->ops[i].op,
                                  .method = method,
                                  .in = method->in,
                                  .out = method->out->descriptor};
    }
    for (size_t i = 0; i < self->consumer_count; i++) {
        const struct consumer_row *row = &self->consumers[i];
        *at++ =
            (struct endpoint){.name = row->durable, .op = row->op, .in = row->in, .out = row->out};
    }
    for (size_t i = 0; i <= self->periodic_count; i++) {
        p->periodics_rows[i] = i < self->periodic_count ? self->periodics[i] : own_periodic;
        *at++ = (struct endpoint){.name = p->periodics_rows[i].name, .op = p->periodics_rows[i].op};
    }
    assert(at == p->endpoints + count);
    p->metrics = service_metrics_open(p->endpoints, count, self->consumers, self->consumer_count);
    return p->metrics == NULL ? err_set(err, ERR_OVERLOADED, "no memory for the metrics") : OK;
}

/* libpq takes and gives back large buffers with every group. Returning them to the system each time
 * costs more than the rows in them. */
static void heap_keep(void)
{
    (void)mallopt(M_MMAP_THRESHOLD, HEAP_BLOCK_BYTES);
    (void)mallopt(M_TRIM_THRESHOLD, HEAP_KEPT_BYTES);
}

enum code process_base_open(struct process *p, struct err *err)
{
    uint8_t key[ENVELOPE_KEY_BYTES];
    size_t len = 0;

    assert(p->loop == NULL);
    assert(p->sealer == NULL);
    heap_keep();
    if (!hex_decode(str_from(p->config.envelope_key), key, sizeof key, &len) || len != sizeof key) {
        return err_set(err, ERR_INVALID, "AVANTA_ENVELOPE_KEY is not 64 hex digits");
    }
    p->sealer = sealer_open(key);
    explicit_bzero(key, sizeof key);
    p->guard = replay_guard_open(GUARD_NONCES);
    p->arenas = arena_pool_open(ARENA_CHUNK_BYTES, ARENA_CHUNKS_MAX);
    p->loop = loop_open();
    if (p->sealer == NULL || p->guard == NULL || p->arenas == NULL || p->loop == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory to start");
    }
    return endpoints_make(p, err);
}

static enum code runner_make(struct process *p, struct err *err)
{
    bool own_events = p->self->events != NULL;
    struct runner_options options = {.effects = &p->effects.face,
                                     .service = p->self,
                                     .service_state = p->state,
                                     .arenas = p->arenas,
                                     .requests_max = REQUESTS_MAX,
                                     .connections = (uint32_t)p->config.pg_connections,
                                     .work_threads = (uint32_t)p->config.work_threads,
                                     .work_waiting = (uint32_t)p->config.work_waiting,
                                     .events = own_events ? p->self->events : api_events,
                                     .event_count = own_events ? p->self->event_count
                                                               : (size_t)API_EVENT_COUNT,
                                     .reasons = api_reasons,
                                     .metrics = service_metrics_rows(p->metrics),
                                     .on_committed = process_on_committed,
                                     .ctx = p};
    enum code code = OK;

    assert(p->runner == NULL);
    real_database_init(&p->database, p->plans, p->tables);
    real_database_init(&p->relay_database, p->plans, p->tables);
    code = real_effects_init(&p->effects, &p->database.face, p->loop, err);
    if (code == OK) {
        code = runner_open(&options, &p->runner, err);
    }
    p->effects.runner = p->runner;
    return code;
}

static enum code database_open(struct process *p, struct err *err)
{
    assert(p->pool == NULL);
    assert(p->relay_pool == NULL);

    struct pg_pool_options options = {.dsn = p->config.pg_dsn,
                                      .application_name = p->self->name,
                                      .connections = (uint32_t)p->config.pg_connections,
                                      .tables = p->tables,
                                      .plans = p->plans,
                                      .table_count = TABLE_COUNT,
                                      .statement_ms_max = PG_STATEMENT_MS_MAX,
                                      .on_ready = process_on_database_ready,
                                      .on_idle = process_on_database_idle,
                                      .on_fatal = process_on_fatal,
                                      .ctx = p};
    struct pg_pool_options relay = options;
    enum code code = pg_pool_open(p->loop, &options, &p->pool, err);

    relay.connections = 1;
    relay.table_count = 1; /* the skeleton's own statements */
    relay.on_ready = NULL;
    relay.on_idle = NULL;
    if (code == OK) {
        code = pg_pool_open(p->loop, &relay, &p->relay_pool, err);
    }
    if (code == ERR_INVALID) {
        (void)err_prefix(err, "AVANTA_PG_DSN");
    }
    p->database.pool = p->pool;
    p->relay_database.pool = p->relay_pool;
    return code;
}

static enum code bus_make(struct process *p, struct err *err)
{
    assert(p->bus == NULL);
    assert(p->streams == NULL);

    const char *user = p->config.nats_user;
    struct bus_options options = {.url = p->config.nats_url,
                                  .user = user[0] == '\0' ? p->self->name : user,
                                  .password = p->config.nats_password,
                                  .ca_file = p->config.nats_ca_file,
                                  .cert_file = p->config.nats_cert_file,
                                  .key_file = p->config.nats_key_file,
                                  .name = p->self->name,
                                  .in_flight_max = BUS_IN_FLIGHT_MAX,
                                  .on_state = process_on_bus_state,
                                  .ctx = p};
    struct streams_options streams = {.loop = p->loop,
                                      .mib = p->config.stream_mib,
                                      .on_ready = process_on_streams_ready,
                                      .ctx = p};
    enum code code = bus_open(p->loop, &options, &p->bus, err);

    p->effects.bus = p->bus;
    streams.bus = p->bus;
    code = code == OK ? log_bus_open(p->bus, p->self->name, &p->log_bus, err) : code;
    return code == OK ? streams_open(&streams, &p->streams, err) : code;
}

static enum code admin_make(struct process *p, struct err *err)
{
    struct admin_options options = {.address = p->config.admin_address,
                                    .port = (uint16_t)p->config.admin_port,
                                    .checks = checks,
                                    .check_count = ARRAY_LEN(checks),
                                    .write_metrics = write_metrics,
                                    .ctx = p};

    assert(p->admin == NULL);
    return admin_open(p->loop, &options, &p->admin, err);
}

/* The parts on the loop, in order of dependence. */
enum code process_parts_open(struct process *p, struct err *err)
{
    enum code (*const parts[])(struct process *,
                               struct err *) = {runner_make, bus_make, database_open, admin_make};
    enum code code = OK;

    for (size_t i = 0; i < ARRAY_LEN(parts) && code == OK; i++) {
        code = parts[i](p, err);
    }
    return code;
}

void process_base_close(struct process *p)
{
    assert(p != NULL);
    loop_close(&p->loop);
    service_metrics_close(&p->metrics);
    free(p->endpoints);
    for (size_t i = 0; i < TABLE_COUNT; i++) {
        pg_plans_close(&p->plans[i]);
    }
    sealer_close(&p->sealer);
    replay_guard_close(&p->guard);
    arena_pool_close(&p->arenas);
    log_flush();
}

/* --- what runs once the outside is there ----------------------------------------------- */

enum code process_serve(struct process *p, struct err *err)
{
    const struct service *self = p->self;
    struct endpoint *consumer_endpoints = p->endpoints + self->op_count;
    struct endpoint *periodic_endpoints = consumer_endpoints + self->consumer_count;
    struct metrics *metrics = service_metrics_rows(p->metrics);
    struct dispatch_options dispatch = {.bus = p->bus,
                                        .runner = p->runner,
                                        .sealer = p->sealer,
                                        .guard = p->guard,
                                        .arenas = p->arenas,
                                        .service = self->name,
                                        .endpoints = p->endpoints,
                                        .endpoint_count = self->op_count,
                                        .metrics = metrics};
    struct consumers_options consumers = {.bus = p->bus,
                                          .runner = p->runner,
                                          .arenas = p->arenas,
                                          .rows = self->consumers,
                                          .endpoints = consumer_endpoints,
                                          .count = self->consumer_count,
                                          .metrics = metrics};
    struct listeners_options listeners = {.bus = p->bus,
                                          .arenas = p->arenas,
                                          .queue = self->name,
                                          .rows = self->listeners,
                                          .count = self->listener_count,
                                          .state = p->state};
    struct periodics_options periodics = {.loop = p->loop,
                                          .runner = p->runner,
                                          .arenas = p->arenas,
                                          .rows = p->periodics_rows,
                                          .endpoints = periodic_endpoints,
                                          .count = self->periodic_count + 1};
    struct srv_protocol_options srv = {.bus = p->bus,
                                       .arenas = p->arenas,
                                       .name = self->name,
                                       .version = self->version,
                                       .description = self->description,
                                       .endpoints = p->endpoints,
                                       .endpoint_count = self->op_count};
    struct relay_options relay = {.loop = p->loop,
                                  .database = &p->relay_database.face,
                                  .bus = p->bus,
                                  .arenas = p->arenas,
                                  .service = self->name,
                                  .metrics = metrics,
                                  .on_refused = process_on_refused,
                                  .ctx = p};
    enum code code = relay_open(&relay, &p->relay, err);

    assert(p->runner != NULL);
    assert(p->dispatch == NULL);
    code = code == OK ? consumers_open(&consumers, &p->consumers, err) : code;
    code = code == OK ? listeners_open(&listeners, &p->listeners, err) : code;
    code = code == OK ? periodics_open(&periodics, &p->periodics, err) : code;
    code = code == OK ? srv_protocol_open(&srv, &p->srv, err) : code;
    return code == OK ? dispatch_open(&dispatch, &p->dispatch, err) : code;
}
