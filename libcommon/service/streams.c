#include "libcommon/service/streams.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/limits.h"
#include "libcommon/base/log.h"
#include "libcommon/service/outbox.h"

#include <assert.h>
#include <stdlib.h>

#define MINUTE_MS UINT64_C(60000)
#define DAY_MS    (UINT64_C(24) * 60 * MINUTE_MS)
#define MIB       (UINT64_C(1024) * 1024)

/* A row of an outbox, with what goes around its records and the header. */
#define AUDIT_MESSAGE_BYTES_MAX (OUTBOX_PACK_BYTES_MAX + 8192)

static const char *const events[] = {"evt.>", NULL};
static const char *const audit[] = {"audit.>", NULL};
static const char *const alerts[] = {"alert.>", NULL};

/* Events stay so that projections can be rebuilt. An audit record stays until audit-log has it:
 * when that is away for so long that there is no room, records wait in the outboxes. */
static const struct bus_stream_spec specs[STREAM_COUNT] = {
    {STREAM_EVENTS, events, 10 * MINUTE_MS, 0,           0, 0                      },
    {STREAM_AUDIT,  audit,  10 * MINUTE_MS, 0,           0, AUDIT_MESSAGE_BYTES_MAX},
    {STREAM_ALERTS, alerts, 10 * MINUTE_MS, 30 * DAY_MS, 0, 0                      },
};

struct streams {
    struct streams_options options;
    struct bus_stream_spec specs[STREAM_COUNT];
    struct loop_timer *timer;
    bool checking;
    size_t at;      /* the one that is asked for */
    size_t missing; /* of those asked for in this check */
    bool wanted;    /* another check, after the one under way */
    bool ready;
    bool stopped;
    uint64_t began_ms;
    uint64_t logged_ms;
};

static void on_answer(void *ctx, enum code code, struct str reason);

static void check_end(struct streams *streams)
{
    const bool good = streams->missing == 0;
    const bool wanted = streams->wanted;

    assert(streams->checking);
    assert(streams->at == STREAM_COUNT);
    streams->checking = false;
    streams->wanted = false;
    if (!bus_connected(streams->options.bus)) {
        return; /* the next connection asks */
    }
    streams->ready = good;
    loop_timer_start(streams->timer, good && !wanted ? STREAMS_CHECK_MS : STREAMS_AGAIN_MS, 0);
    if (good) {
        streams->options.on_ready(streams->options.ctx);
    }
}

static void note_missing(struct streams *streams, enum code code, struct str reason)
{
    assert(code != OK);
    assert(streams->missing < STREAM_COUNT);
    streams->missing++;
    if (bus_connected(streams->options.bus) && log_rate_allows(&streams->logged_ms)) {
        log_event(LOG_WARN,
                  "stream_missing",
                  LOG_S("stream", streams->specs[streams->at].name),
                  LOG_S("code", code_wire(code)),
                  LOG_V("reason", reason));
    }
}

/* True: the answer will come. */
static bool ask(struct streams *streams)
{
    struct err err = {0};
    enum code code = bus_stream_ensure(streams->options.bus,
                                       &streams->specs[streams->at],
                                       clock_mono_ms() + STREAMS_ENSURE_MS,
                                       on_answer,
                                       streams,
                                       &err);

    if (code != OK) {
        note_missing(streams, code, str_from(err.text));
    }
    return code == OK;
}

/* Asks for the stream at hand; those that cannot be asked for are passed over. */
static void go_on(struct streams *streams)
{
    assert(streams->checking);
    while (streams->at < STREAM_COUNT) {
        if (ask(streams)) {
            return;
        }
        streams->at++;
    }
    check_end(streams);
}

static void on_answer(void *ctx, enum code code, struct str reason)
{
    struct streams *streams = ctx;

    assert(streams->checking);
    assert(streams->at < STREAM_COUNT);
    if (streams->stopped) {
        return;
    }
    if (code != OK) {
        note_missing(streams, code, reason);
    }
    streams->at++;
    go_on(streams);
}

static void check_begin(struct streams *streams)
{
    assert(!streams->checking);
    assert(!streams->stopped);
    loop_timer_stop(streams->timer);
    streams->checking = true;
    streams->at = 0;
    streams->missing = 0;
    streams->began_ms = clock_mono_ms();
    go_on(streams);
}

void streams_check(struct streams *streams)
{
    const uint64_t due_ms = streams->began_ms + STREAMS_AGAIN_MS;
    const uint64_t now_ms = clock_mono_ms();

    assert(streams->options.bus != NULL);
    if (streams->stopped || !bus_connected(streams->options.bus)) {
        return;
    }
    if (streams->checking) {
        streams->wanted = true;
    } else if (now_ms < due_ms) {
        loop_timer_start(streams->timer, due_ms - now_ms, 0);
    } else {
        check_begin(streams);
    }
}

static void on_timer(void *arg)
{
    streams_check(arg);
}

void streams_bus_state(struct streams *streams, bool connected)
{
    assert(streams != NULL);
    streams->ready = false;
    if (connected && !streams->stopped && !streams->checking) {
        check_begin(streams);
    }
}

bool streams_ready(const struct streams *streams)
{
    assert(streams != NULL);
    return streams->ready;
}

const struct bus_stream_spec *streams_spec(const struct streams *streams, size_t at)
{
    assert(at < STREAM_COUNT);
    return &streams->specs[at];
}

void streams_stop(struct streams *streams)
{
    assert(streams != NULL);
    streams->stopped = true;
    loop_timer_stop(streams->timer);
}

enum code streams_open(const struct streams_options *options, struct streams **out, struct err *err)
{
    struct streams *streams = calloc(1, sizeof *streams);

    assert(options->bus != NULL);
    assert(options->mib > 0);
    assert(options->on_ready != NULL);
    if (streams == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for the streams");
    }
    streams->options = *options;
    for (size_t i = 0; i < STREAM_COUNT; i++) {
        streams->specs[i] = specs[i];
        streams->specs[i].max_bytes = options->mib * MIB;
    }
    streams->timer = loop_timer_open(options->loop, on_timer, streams);
    if (streams->timer == NULL) {
        streams_close(&streams);
        return err_set(err, ERR_OVERLOADED, "no memory for the streams");
    }
    *out = streams;
    return OK;
}

void streams_close(struct streams **streams)
{
    struct streams *closing = *streams;

    *streams = NULL;
    if (closing == NULL) {
        return;
    }
    loop_timer_close(&closing->timer);
    free(closing);
}
