/* The HTTP edge: configuration, workers, admin port, orderly end. */
#include "api.gen.h"
#include "gateway/openapi.h"
#include "gateway/worker_run.h"
#include "gateway_local.gen.h"

#include "libcommon/base/id.h"
#include "libcommon/base/log_ship.h"
#include "libcommon/base/version.h"
#include "libcommon/service/admin.h"
#include "libcommon/service/admin_ask.h"
#include "libcommon/service/log_bus.h"

#include <assert.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WORKERS_MAX         64
#define THREAD_LOG_FLUSH_MS 200

static const char *const status_classes[] = {"1xx", "2xx", "3xx", "4xx", "5xx", NULL};

static const char *const audited[] = {"stored", "lost", NULL};

static const char *const ended[] = {[GATEWAY_ENDED_MALFORMED] = "malformed",
                                    [GATEWAY_ENDED_TIMEOUT] = "timeout",
                                    [GATEWAY_ENDED_REFUSED] = "refused",
                                    NULL};

const struct metric_row gateway_metric_rows[GATEWAY_METRIC_COUNT] = {
    [GATEWAY_METRIC_RESPONSES] = {METRIC_COUNTER,
                                  "avanta_http_responses_total",                       "class",
                                  status_classes,                                                       "answers by status class"                                              },
    [GATEWAY_METRIC_SECONDS] = {METRIC_HISTOGRAM_US,
                                  "avanta_http_request_duration_seconds",              NULL,
                                  NULL,                                                                 "time from the complete request to its answer"                         },
    [GATEWAY_METRIC_RETRIES] = {METRIC_COUNTER,
                                  "avanta_gateway_retries_total",                      NULL,
                                  NULL,                                                                 "attempts repeated because a service did not take or answer them"      },
    [GATEWAY_METRIC_UNAUTHENTICATED] = {METRIC_COUNTER,
                                  "avanta_http_unauthenticated_total",                 NULL,
                                  NULL,                                                                 "requests without a good credential"                                   },
    [GATEWAY_METRIC_CONNECTIONS] =
        {METRIC_GAUGE,        "avanta_http_connections_open", NULL,      NULL, "connections of clients"                                               },
    [GATEWAY_METRIC_ENDED] = {METRIC_COUNTER,
                                  "avanta_http_connections_ended_total",               "cause",
                                  ended,                                                                "connections that were ended for what the client did"                  },
    [GATEWAY_METRIC_FORGOTTEN] = {METRIC_COUNTER,
                                  "avanta_gateway_revocations_forgotten_total",        NULL,
                                  NULL,                                                                 "ended sessions forgotten too early, for want of room"                 },
    [GATEWAY_METRIC_VERIFICATIONS] = {METRIC_COUNTER,
                                  "avanta_gateway_token_verifications_total",          NULL,
                                  NULL,                                                                 "signatures of access tokens verified"                                 },
    [GATEWAY_METRIC_LOG_LOST] = {METRIC_GAUGE,
                                  "avanta_log_lines_not_shipped",                      NULL,
                                  NULL,                                                                 "lines of the log that should have gone to the bus and did not"        },
    [GATEWAY_METRIC_AUDITED] =
        {METRIC_COUNTER,
                                  "avanta_gateway_audit_records_total",                "outcome",
                                  audited,                                                              "audit records of the gateway's own: refusals, reads by administrators"},
};

#define CONFIG_TARGET struct gateway_config
static const struct config_row config_rows[] = {GATEWAY_CONFIG(CONFIG_ROW)};

/* The process: one gateway, its workers, and what the first worker's loop carries besides. */
struct process {
    struct gateway gateway;
    struct worker workers[WORKERS_MAX];
    pthread_t threads[WORKERS_MAX];
    struct loop_waker *wakers[WORKERS_MAX];
    uint32_t worker_count;
    struct admin *admin;
    struct loop_timer *log_timer;
    bool ending;
};

static void locals_fill(local_fn **locals)
{
    assert(locals != NULL);
    for (size_t i = 0; i < gateway_local_row_count; i++) {
        assert(gateway_local_rows[i].fn != NULL);
        locals[gateway_local_rows[i].method - api_methods] = gateway_local_rows[i].fn;
    }
}

static enum code gateway_init(struct gateway *gateway, struct err *err)
{
    static local_fn *locals[API_METHOD_COUNT];

    assert(gateway->router == NULL);
    assert(gateway->metrics == NULL);
    locals_fill(locals);
    gateway->locals = locals;
    gateway->openapi = (struct str){openapi_json, openapi_json_bytes};
    gateway->router = router_open(api_routes, API_ROUTE_COUNT, api_methods);
    gateway->metrics = metrics_open(gateway_metric_rows, GATEWAY_METRIC_COUNT);
    if (gateway->router == NULL || gateway->metrics == NULL) {
        return err_set(err, ERR_INTERNAL, "no memory");
    }
    return OK;
}

static void on_wake(void *arg)
{
    worker_drain(arg);
}

static void on_admin_drained(void *arg)
{
    struct process *process = arg;

    assert(process->ending);
    assert(process->admin != NULL);
    admin_close(&process->admin);
}

static void waker_close(struct worker *worker)
{
    struct process *process = CONTAINER_OF(worker - worker->number, struct process, workers[0]);

    assert(worker->draining);
    assert(worker->number < process->worker_count);
    loop_waker_close(&process->wakers[worker->number]);
    if (worker->number == 0) {
        admin_drain(process->admin, on_admin_drained, process);
        loop_timer_close(&process->log_timer);
    }
}

static void *thread_run(void *arg)
{
    struct worker *worker = arg;

    assert(worker->loop != NULL);
    loop_run(worker->loop);
    return NULL;
}

static void on_signal(void *arg, int signum)
{
    struct process *process = arg;

    assert(process->worker_count > 0);
    if (process->ending) {
        log_flush();
        _exit(1); /* asked twice: at once */
    }
    process->ending = true;
    log_event(LOG_INFO, "draining", LOG_I("signal", signum));
    for (uint32_t i = 1; i < process->worker_count; i++) {
        loop_wake(process->wakers[i]);
    }
    worker_drain(&process->workers[0]);
}

static bool is_running(void *ctx)
{
    return !((const struct process *)ctx)->ending;
}

static bool bus_is_ready(void *ctx)
{
    const struct process *process = ctx;

    assert(process->worker_count <= WORKERS_MAX);
    for (uint32_t i = 0; i < process->worker_count; i++) {
        if (!atomic_load(&process->workers[i].view.bus_up)) {
            return false;
        }
    }
    return true;
}

static bool keys_are_ready(void *ctx)
{
    const struct process *process = ctx;

    assert(process->worker_count <= WORKERS_MAX);
    for (uint32_t i = 0; i < process->worker_count; i++) {
        if (!atomic_load(&process->workers[i].view.keys_known)) {
            return false;
        }
    }
    return true;
}

static void write_metrics(void *ctx, struct buf *out)
{
    struct metrics *rows = ((const struct process *)ctx)->gateway.metrics;

    assert(out != NULL);
    metric_set(rows, GATEWAY_METRIC_LOG_LOST, 0, (int64_t)log_ship_lost());
    metrics_write(rows, out);
}

static enum code admin_start(struct process *process, struct err *err)
{
    static const struct admin_check checks[] = {
        {"running", is_running    },
        {"bus",     bus_is_ready  },
        {"keys",    keys_are_ready},
    };
    const struct gateway_config *config = &process->gateway.config;
    const struct admin_options options = {
        .address = config->admin_address,
        .port = (uint16_t)config->admin_port,
        .checks = checks,
        .check_count = ARRAY_LEN(checks),
        .write_metrics = write_metrics,
        .ctx = process,
    };

    assert(process->admin == NULL);
    assert(process->workers[0].loop != NULL);
    return admin_open(process->workers[0].loop, &options, &process->admin, err);
}

static void log_tick(void *arg)
{
    const struct process *process = arg;

    log_flush();
    if (process->workers[0].log_bus != NULL) {
        log_bus_tick(process->workers[0].log_bus);
    }
}

static enum code process_open(struct process *process, struct err *err)
{
    const struct gateway_config *config = &process->gateway.config;
    struct loop *first = NULL;
    enum code code = gateway_init(&process->gateway, err);
    uint16_t port = (uint16_t)config->http_port;

    process->worker_count = (uint32_t)config->threads;
    assert(process->worker_count > 0);
    assert(process->worker_count <= WORKERS_MAX);
    for (uint32_t i = 0; code == OK && i < process->worker_count; i++) {
        struct worker *worker = &process->workers[i];

        code = worker_open(worker, &process->gateway, i, port, err);
        if (code == OK) {
            port = http_server_port(worker->http);
            worker->on_drained = waker_close;
            process->wakers[i] = loop_waker_open(worker->loop, on_wake, worker);
        }
    }
    if (code != OK) {
        return code;
    }
    first = process->workers[0].loop;
    process->log_timer = loop_timer_open(first, log_tick, process);
    loop_timer_start(process->log_timer, THREAD_LOG_FLUSH_MS, THREAD_LOG_FLUSH_MS);
    loop_on_signal(first, SIGTERM, on_signal, process);
    loop_on_signal(first, SIGINT, on_signal, process);
    return admin_start(process, err);
}

static void process_run(struct process *process)
{
    assert(process->worker_count > 0);
    assert(process->admin != NULL);
    for (uint32_t i = 1; i < process->worker_count; i++) {
        if (pthread_create(&process->threads[i], NULL, thread_run, &process->workers[i]) != 0) {
            (void)fprintf(stderr, "gateway: a thread could not be started\n");
            exit(1);
        }
    }
    log_event(LOG_INFO,
              "ready",
              LOG_U("port", http_server_port(process->workers[0].http)),
              LOG_U("threads", process->worker_count));
    log_flush();
    loop_run(process->workers[0].loop);
    for (uint32_t i = 1; i < process->worker_count; i++) {
        (void)pthread_join(process->threads[i], NULL);
    }
    for (uint32_t i = 0; i < process->worker_count; i++) {
        worker_close(&process->workers[i]);
    }
    router_close(&process->gateway.router);
    metrics_close(&process->gateway.metrics);
    log_event(LOG_INFO, "stopped", LOG_U("threads", process->worker_count));
    log_flush();
}

static int usage(const struct config_table *table)
{
    (void)puts("gateway: the HTTP edge of Avanta.\n\n"
               "  --help             this text\n"
               "  --ready            ask the admin port of the running gateway\n"
               "  --print-config     the settings in force, secrets masked\n"
               "  --config-markdown  the settings as a table for the reference\n"
               "  --metrics-markdown the metrics as a table for the reference\n"
               "  --version\n");
    config_help(stdout, table, 1);
    return 0;
}

/* Whether the process that runs with these settings is ready. */
static int ask_ready(const struct config_table *table, const struct gateway_config *config)
{
    struct err err = {.code = OK};
    enum code code = ERR_INVALID;

    assert(table != NULL);
    assert(config != NULL);
    if (config->admin_port == 0) {
        (void)err_set(&err, code, "AVANTA_ADMIN_PORT is required for --ready");
    } else {
        code = admin_ask_ready(config->admin_address, (uint16_t)config->admin_port, &err);
    }
    config_wipe(table, 1);
    if (code != OK) {
        (void)fprintf(stderr, "gateway: %s\n", err.text);
        return config_exit_status(&err);
    }
    return 0;
}

static enum code load(const struct config_table *table,
                      struct gateway *gateway,
                      struct log_options *out_log,
                      struct err *err)
{
    const struct gateway_config *config = &gateway->config;
    static const char *const known[] = {"AVANTA_STATE", NULL};
    enum code code = config_load(table, 1, known, err);

    out_log->sample = config->log_sample;
    out_log->slow_ms = config->log_slow_ms;
    if (code == OK) {
        code =
            log_config_read(config->log_level, config->log_format, config->log_ship, out_log, err);
    }
    if (code == OK &&
        proxies_parse(str_from(config->trusted_proxies), &gateway->proxies, err) != OK) {
        code = err_prefix(err, "AVANTA_TRUSTED_PROXIES");
    }
    return code;
}

int main(int argc, char **argv)
{
    static struct process process;
    const struct config_table table = {
        config_rows, ARRAY_LEN(config_rows), &process.gateway.config};
    const char *option = argc > 1 ? argv[1] : "";
    struct err err = {.code = OK};
    struct log_options log = {.service = "gateway", .instance = instance_id()};

    if (strcmp(option, "--help") == 0) {
        return usage(&table);
    }
    if (strcmp(option, "--version") == 0) {
        return puts("gateway " AVANTA_VERSION) < 0;
    }
    if (strcmp(option, "--config-markdown") == 0) {
        config_markdown(stdout, &table, 1);
        return 0;
    }
    if (strcmp(option, "--metrics-markdown") == 0) {
        metrics_markdown(stdout, gateway_metric_rows, GATEWAY_METRIC_COUNT);
        return 0;
    }
    if (option[0] != '\0' && strcmp(option, "--print-config") != 0 &&
        strcmp(option, "--ready") != 0) {
        (void)fprintf(stderr, "gateway: unknown option %s; --help lists them\n", option);
        return EXIT_SETTINGS;
    }
    if (load(&table, &process.gateway, &log, &err) != OK) {
        (void)fprintf(stderr, "gateway: %s\n", err.text);
        return EXIT_SETTINGS;
    }
    if (strcmp(option, "--print-config") == 0) {
        config_print(stdout, &table, 1);
        return 0;
    }
    if (strcmp(option, "--ready") == 0) {
        return ask_ready(&table, &process.gateway.config);
    }
    (void)signal(SIGPIPE, SIG_IGN);
    log_open(&log);
    if (process_open(&process, &err) != OK) {
        (void)fprintf(stderr, "gateway: %s\n", err.text);
        return config_exit_status(&err);
    }
    process_run(&process);
    config_wipe(&table, 1);
    return 0;
}
