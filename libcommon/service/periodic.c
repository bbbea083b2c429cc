#include "libcommon/service/periodic.h"

#include "libcommon/base/id.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct periodic {
    const struct periodic_row *row;
    struct periodics *owner;
    struct endpoint *endpoint;
    struct loop_timer *timer;
    struct request_source source;
    bool running;
    bool succeeded; /* once */
};

struct periodics {
    struct periodics_options options;
    size_t count;
    struct periodic all[PERIODICS_MAX];
};

/* Jobs of the start are done: what they make is there. */
static void tell_started(const struct periodics *periodics)
{
    assert(periodics_started(periodics));
    log_event(LOG_INFO, "started", LOG_U("jobs", periodics->count));
    log_flush();
}

static void finish(void *ctx, struct req *r)
{
    struct periodic *periodic = ctx;
    const bool first = !periodic->succeeded && r->code == OK;

    assert(periodic->running);
    periodic->running = false;
    periodic->succeeded = periodic->succeeded || r->code == OK;
    if (periodic->row->at_start && periodic->succeeded && periodic->timer != NULL) {
        loop_timer_stop(periodic->timer);
    }
    if (periodic->row->at_start && first && periodics_started(periodic->owner)) {
        tell_started(periodic->owner);
    }
    if (r->code != OK && code_http(r->code) < 500) { /* worse ones the runner logs */
        log_event(LOG_WARN,
                  "periodic_failed",
                  LOG_S("job", periodic->row->name),
                  LOG_S("code", code_wire(r->code)));
    }
}

static Avanta__Request *envelope_new(const struct periodic *periodic, struct arena *arena)
{
    Avanta__Request *envelope = arena_alloc(arena, sizeof *envelope);
    char *id = arena_alloc(arena, UUID_TEXT_BYTES);

    assert(periodic->row->name != NULL);
    if (envelope == NULL || id == NULL) {
        return NULL;
    }
    uuid_v7(id);
    avanta__request__init(envelope);
    envelope->method = proto_text(periodic->row->name);
    envelope->request_id = id;
    envelope->issued_ms = clock_wall_ms();
    envelope->deadline_ms = envelope->issued_ms + REQUEST_DEADLINE_MS_MAX;
    return envelope;
}

/* Without memory or a free request this run is left out: the next one comes. */
static void on_timer(void *arg)
{
    struct periodic *periodic = arg;
    const struct periodics_options *options = &periodic->owner->options;
    struct arena *arena = NULL;
    struct req *r = NULL;

    assert(periodic->endpoint != NULL);
    if (periodic->running) {
        return;
    }
    arena = arena_open(options->arenas, REQ_ARENA_BYTES_MAX);
    if (arena == NULL) {
        return;
    }
    Avanta__Request *envelope = envelope_new(periodic, arena);
    if (envelope != NULL) {
        r = runner_take(options->runner, periodic->endpoint, &periodic->source, &arena);
    }
    if (r == NULL) {
        arena_dispose(&arena);
        return;
    }
    periodic->running = true;
    r->envelope = envelope;
    r->context.request_id = envelope->request_id;
    runner_submit(r, clock_mono_ms() + REQUEST_DEADLINE_MS_MAX);
}

enum code
periodics_open(const struct periodics_options *options, struct periodics **out, struct err *err)
{
    struct periodics *periodics = calloc(1, sizeof *periodics);
    enum code code = OK;

    assert(options->count <= PERIODICS_MAX);
    assert(out != NULL);
    if (periodics == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the periodic jobs");
    }
    periodics->options = *options;
    for (size_t i = 0; i < options->count && code == OK; i++) {
        struct periodic *periodic = &periodics->all[i];
        const struct periodic_row *row = &options->rows[i];
        assert(row->every_ms > 0);
        *periodic = (struct periodic){
            .row = row,
            .owner = periodics,
            .endpoint = &options->endpoints[i],
            .timer = loop_timer_open(options->loop, on_timer, periodic),
            .source = {finish, periodic}
        };
        periodics->count++;
        if (periodic->timer == NULL) {
            code = err_set(err, ERR_OVERLOADED, "no memory for a timer");
        } else {
            loop_timer_start(periodic->timer, row->at_start ? 0 : row->every_ms, row->every_ms);
        }
    }
    if (code != OK) {
        periodics_close(&periodics);
    } else if (periodics_started(periodics)) {
        tell_started(periodics);
    }
    *out = periodics;
    return code;
}

bool periodics_started(const struct periodics *periodics)
{
    assert(periodics != NULL);
    for (size_t i = 0; i < periodics->count; i++) {
        if (periodics->all[i].row->at_start && !periodics->all[i].succeeded) {
            return false;
        }
    }
    return true;
}

void periodics_stop(struct periodics *periodics)
{
    assert(periodics != NULL);
    for (size_t i = 0; i < periodics->count; i++) {
        if (periodics->all[i].timer != NULL) {
            loop_timer_close(&periodics->all[i].timer);
        }
    }
}

void periodics_finish(struct periodics *periodics, const char *name)
{
    assert(periodics != NULL);
    assert(name != NULL);
    for (size_t i = 0; i < periodics->count; i++) {
        assert(periodics->all[i].timer == NULL);
        if (strcmp(periodics->all[i].row->name, name) == 0) {
            on_timer(&periodics->all[i]);
        }
    }
}

void periodics_close(struct periodics **periodics)
{
    struct periodics *closing = *periodics;

    *periodics = NULL;
    if (closing == NULL) {
        return;
    }
    periodics_stop(closing);
    free(closing);
}
