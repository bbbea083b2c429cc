/*
 * A service's life: INIT (everything is made; database, bus and streams come up) -> RUNNING ->
 * DRAINING (no new messages; requests under way end; the outbox is worked off) -> CLOSING (every
 * handle is closed). Draining goes through the same callbacks step by step, and its deadline ends
 * requests early rather than the process.
 */
#include "libcommon/service/service.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/service/process.h"

#include <assert.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#define LOG_FLUSH_MS     200
#define CONFIRM_MS       5000
#define CONFIRM_AGAIN_MS 500
/* After the drain's deadline, for what a thread or the database still holds. */
#define DRAIN_GRACE_MS 3000

static const struct sm_row process_states[PROCESS_STATE_COUNT] = {
    [PROCESS_INIT] = {"init",     0,            MAY(PROCESS_RUNNING) | MAY(PROCESS_DRAINING)},
    [PROCESS_RUNNING] = {"running",  0,            MAY(PROCESS_DRAINING)                       },
    [PROCESS_DRAINING] = {"draining", DRAIN_MS_MAX, MAY(PROCESS_CLOSING)                        },
    [PROCESS_CLOSING] = {"closing",  0,            0                                           },
};

/* --- draining and closing ------------------------------------------------------------- */

static void process_close(struct process *p)
{
    assert(p->sm.state == PROCESS_CLOSING);
    assert(p->closing == 0);
    dispatch_close(&p->dispatch);
    consumers_close(&p->consumers);
    listeners_close(&p->listeners);
    periodics_close(&p->periodics);
    relay_close(&p->relay);
    runner_close(&p->runner);
    real_effects_fini(&p->effects);
    admin_close(&p->admin);
    pg_pool_close(&p->pool);
    pg_pool_close(&p->relay_pool);
    log_bus_close(&p->log_bus);
    if (p->bus != NULL) {
        bus_close(&p->bus);
    }
    streams_close(&p->streams);
    loop_timer_close(&p->log_timer);
    loop_timer_close(&p->confirm_timer);
    loop_timer_close(&p->drain_timer);
    loop_stop(p->loop);
}

static void part_drained(void *arg)
{
    struct process *p = arg;

    assert(p->closing > 0);
    p->closing--;
    if (p->closing == 0) {
        sm_move(&p->sm, PROCESS_CLOSING);
        loop_timer_start(
            p->drain_timer, 0, 0); /* closed from the loop, not from a part's callback */
    }
}

static void relay_drained(void *arg)
{
    struct process *p = arg;

    assert(p->sm.state == PROCESS_DRAINING);
    assert(p->closing == 0);
    p->closing = 1;
    if (p->pool != NULL) {
        p->closing++;
        pg_pool_drain(p->pool, part_drained, p);
    }
    if (p->relay_pool != NULL) {
        p->closing++;
        pg_pool_drain(p->relay_pool, part_drained, p);
    }
    if (p->admin != NULL) {
        p->closing++;
        admin_drain(p->admin, part_drained, p);
    }
    part_drained(p);
}

static void runner_drained(void *arg)
{
    struct process *p = arg;

    assert(p->sm.state == PROCESS_DRAINING);
    if (p->relay != NULL) {
        relay_drain(p->relay, relay_drained, p);
    } else {
        relay_drained(p);
    }
}

/* Every message that had been sent to us is a request now. */
static void bus_drained(void *arg)
{
    struct process *p = arg;

    assert(p->sm.state == PROCESS_DRAINING);
    if (p->dispatch != NULL) {
        dispatch_stop(p->dispatch);
    }
    if (p->consumers != NULL) {
        consumers_stop(p->consumers);
    }
    if (p->listeners != NULL) {
        listeners_stop(p->listeners);
    }
    if (p->periodics != NULL && p->self->last_job != NULL) {
        periodics_finish(p->periodics, p->self->last_job);
    }
    if (p->runner != NULL) {
        runner_drain(p->runner, runner_drained, p);
    } else {
        runner_drained(p);
    }
}

static void process_drain(struct process *p)
{
    assert(p->sm.state != PROCESS_CLOSING);
    if (p->sm.state == PROCESS_DRAINING) {
        return;
    }
    sm_move(&p->sm, PROCESS_DRAINING);
    log_event(LOG_INFO, "draining", LOG_I("status", p->status));
    loop_timer_start(p->drain_timer, DRAIN_MS_MAX, 0);
    srv_protocol_close(&p->srv);
    if (p->periodics != NULL) {
        periodics_stop(p->periodics);
    }
    if (p->streams != NULL) {
        streams_stop(p->streams);
    }
    if (p->bus != NULL) {
        bus_drain(p->bus, bus_drained, p); /* its calls go on: the relay needs them */
    } else {
        bus_drained(p);
    }
}

static void on_drain_timer(void *arg)
{
    struct process *p = arg;

    if (p->sm.state == PROCESS_CLOSING) {
        process_close(p);
        return;
    }
    if (p->status != EXIT_FAILURE && p->runner != NULL) {
        p->status = EXIT_FAILURE;
        log_event(LOG_WARN, "drain_late", LOG_S("action", "what is under way is ended"));
        runner_expire(p->runner);
        loop_timer_start(p->drain_timer, DRAIN_GRACE_MS, 0);
        return;
    }
    log_event(LOG_ERROR, "drain_stuck", LOG_S("action", "exit"));
    log_flush();
    _exit(EXIT_FAILURE);
}

static void on_signal(void *arg, int signum)
{
    struct process *p = arg;

    log_event(LOG_INFO, "signal", LOG_I("number", signum));
    if (p->sm.state == PROCESS_DRAINING || p->sm.state == PROCESS_CLOSING) {
        log_flush();
        _exit(EXIT_FAILURE);
    }
    process_drain(p);
}

void process_on_fatal(void *ctx, const struct err *err)
{
    struct process *p = ctx;

    assert(err != NULL);
    log_event(LOG_ERROR, "database_unfit", LOG_S("error", err->text));
    p->status = EXIT_FAILURE;
    if (p->sm.state != PROCESS_CLOSING) {
        process_drain(p);
    }
}

/* --- becoming ready -------------------------------------------------------------------- */

static void on_confirmed(void *ctx, enum code code, struct str payload)
{
    struct process *p = ctx;

    (void)payload;
    if (p->sm.state != PROCESS_RUNNING) {
        return;
    }
    if (code != OK) {
        loop_timer_start(p->confirm_timer, CONFIRM_AGAIN_MS, 0);
        return;
    }
    p->serving = true;
    log_event(LOG_INFO,
              "ready",
              LOG_S("version", p->self->version),
              LOG_U("admin_port", admin_port(p->admin)));
    log_flush();
}

/* Any question to the bus's server that is answered proves that it knows our subscriptions. */
static void confirm(struct process *p)
{
    struct err err = {0};

    assert(p->sm.state == PROCESS_RUNNING);
    assert(p->bus != NULL);
    if (bus_stream_ensure(p->bus,
                          streams_spec(p->streams, 0),
                          clock_mono_ms() + CONFIRM_MS,
                          on_confirmed,
                          p,
                          &err) != OK) {
        loop_timer_start(p->confirm_timer, CONFIRM_AGAIN_MS, 0);
    }
}

static void serve_when_ready(struct process *p)
{
    struct err err = {0};

    assert(p != NULL);
    if (p->sm.state != PROCESS_INIT || !p->database_ready || !bus_connected(p->bus) ||
        !streams_ready(p->streams)) {
        return;
    }
    sm_move(&p->sm, PROCESS_RUNNING);
    if (process_serve(p, &err) != OK) {
        log_event(LOG_ERROR, "start_failed", LOG_S("error", err.text));
        p->status = EXIT_FAILURE;
        process_drain(p);
        return;
    }
    confirm(p);
}

void process_on_streams_ready(void *ctx)
{
    serve_when_ready(ctx);
}

void process_on_refused(void *ctx)
{
    const struct process *p = ctx;

    assert(p->streams != NULL);
    streams_check(p->streams);
}

static void on_confirm_timer(void *arg)
{
    struct process *p = arg;

    if (p->sm.state == PROCESS_RUNNING && !p->serving) {
        confirm(p);
    }
}

void process_on_bus_state(void *ctx, bool connected)
{
    struct process *p = ctx;

    if (p->streams != NULL) {
        streams_bus_state(p->streams, connected);
    }
}

void process_on_database_ready(void *ctx, bool any_ready)
{
    struct process *p = ctx;

    assert(p->runner != NULL);
    p->database_ready = any_ready;
    runner_database_state(p->runner, any_ready);
    serve_when_ready(p);
}

void process_on_database_idle(void *ctx)
{
    struct process *p = ctx;

    assert(p->runner != NULL);
    runner_wake(p->runner);
}

void process_on_committed(void *ctx, const struct outbox_rows *rows)
{
    struct process *p = ctx;

    assert(rows != NULL);
    if (p->relay != NULL) {
        relay_offer(p->relay, rows);
    }
}

/* --- the whole ------------------------------------------------------------------------- */

static void on_log_timer(void *arg)
{
    const struct process *p = arg;

    log_flush();
    if (p->log_bus != NULL) {
        log_bus_tick(p->log_bus);
    }
}

static enum code timers_open(struct process *p, struct err *err)
{
    assert(p->loop != NULL);
    assert(p->log_timer == NULL);
    p->log_timer = loop_timer_open(p->loop, on_log_timer, p);
    p->confirm_timer = loop_timer_open(p->loop, on_confirm_timer, p);
    p->drain_timer = loop_timer_open(p->loop, on_drain_timer, p);
    if (p->log_timer == NULL || p->confirm_timer == NULL || p->drain_timer == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for timers");
    }
    loop_timer_start(p->log_timer, LOG_FLUSH_MS, LOG_FLUSH_MS);
    loop_on_signal(p->loop, SIGTERM, on_signal, p);
    loop_on_signal(p->loop, SIGINT, on_signal, p);
    return OK;
}

static int fail(const struct process *p, const struct err *err)
{
    assert(err->code != OK);
    log_event(LOG_ERROR, "start_failed", LOG_S("error", err->text), LOG_S("field", err->field));
    (void)p;
    return config_exit_status(err);
}

/* From here on every end leads through draining. */
static void run(struct process *p)
{
    struct err err = {0};

    assert(p != NULL);
    if (process_parts_open(p, &err) != OK) {
        p->status = fail(p, &err);
        process_drain(p);
    }
    loop_run(p->loop);
    log_event(LOG_INFO, "stopped", LOG_I("status", p->status));
}

static int process_main(struct process *p)
{
    const struct service *self = p->self;
    struct config_table config[2];
    size_t config_count = service_config_tables(self, &p->config, config);
    struct err err = {0};
    enum code code = process_base_open(p, &err);
    bool started = false;

    sm_init(&p->sm, "process", process_states, PROCESS_STATE_COUNT, PROCESS_INIT);
    code = code == OK ? service_plans_open(self, p->tables, p->plans, &err) : code;
    if (code == OK && self->on_start != NULL) {
        code = self->on_start(&p->state, &err);
        started = code == OK;
    }
    code = code == OK ? timers_open(p, &err) : code;
    if (code == OK) {
        run(p);
    } else {
        p->status = fail(p, &err);
    }
    if (started && self->on_stop != NULL) {
        self->on_stop(p->state);
    }
    config_wipe(config, config_count);
    process_base_close(p);
    return p->status;
}

int service_main(int argc, char **argv, const struct service *self)
{
    static struct process process; /* too large for the stack */
    const struct log_options log = {.service = self->name,
                                    .instance = instance_id(),
                                    .level = LOG_INFO,
                                    .ship = LOG_LEVEL_COUNT};
    int status = EXIT_SUCCESS;

    assert(self->name != NULL);
    assert(self->version != NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    process.self = self;
    log_open(&log);
    if (service_options(argc, argv, self, &process.config, &status)) {
        return status;
    }
    return process_main(&process);
}
