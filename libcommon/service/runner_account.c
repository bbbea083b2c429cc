/* What a request took, for the log, the metrics and $SRV.STATS. */
#include "libcommon/base/log.h"
#include "libcommon/service/runner_internal.h"
#include "libcommon/service/service_metrics.h"

#include <assert.h>

#define TRACE_FROM 3 /* in a traceparent */
#define TRACE_TO   35

void runner_asked_begin(struct req *r)
{
    uint64_t now = clock_mono_us();

    runner_asked_end(r); /* a group that was rolled back answers nobody */
    if (r->clock.queue_us == 0) {
        r->clock.queue_us = now - r->arrived_mono_us;
    }
    r->clock.asked_us = now;
}

void runner_asked_end(struct req *r)
{
    if (r->clock.asked_us != 0) {
        r->clock.database_us += clock_mono_us() - r->clock.asked_us;
        r->clock.asked_us = 0;
    }
}

static void log_request(const struct req *r, uint64_t us)
{
    const Avanta__Request *envelope = r->envelope;
    const char *request_id = envelope == NULL ? "" : envelope->request_id;
    struct str trace = str_from(envelope == NULL ? NULL : envelope->traceparent);
    const char *user = r->context.user_id;

    if (!log_wants_request(str_from(request_id), r->code != OK, us)) {
        return;
    }
    log_event(
        r->code == ERR_INTERNAL ? LOG_ERROR : LOG_INFO,
        "request",
        LOG_S("request_id", request_id[0] == '\0' ? "-" : request_id),
        LOG_V("trace", trace.len < TRACE_TO ? STR("-") : str_sub(trace, TRACE_FROM, TRACE_TO)),
        LOG_S("method", r->endpoint->name),
        LOG_S("code", code_wire(r->code)),
        LOG_S("user", user == NULL || user[0] == '\0' ? "-" : user),
        LOG_U("queue_us", r->clock.queue_us == 0 ? us : r->clock.queue_us),
        LOG_U("db_us", r->clock.database_us),
        LOG_U("us", us),
        LOG_U("reruns", r->regroups + r->losses + r->retries),
        LOG_S("cause", r->cause.text[0] == '\0' ? "-" : r->cause.text),
        LOG_S("field", r->cause.field[0] == '\0' ? "-" : r->cause.field));
}

void runner_account(struct req *r)
{
    struct endpoint *endpoint = r->endpoint;
    uint64_t us = 0;

    runner_asked_end(r);
    us = clock_mono_us() - r->arrived_mono_us;
    endpoint->answered[r->code]++;
    endpoint->busy_us += us;
    if (r->code != OK) {
        struct buf text = buf_over(endpoint->last_error, sizeof endpoint->last_error);
        buf_text(&text, code_wire(r->code));
        (void)buf_terminate(&text);
    }
    metric_observe_us(r->runner->options.metrics, METRIC_REQUEST_DURATION, endpoint->series, us);
    if (r->replay != NULL) {
        metric_add(r->runner->options.metrics, METRIC_REPLAYS, 0, 1);
    }
    log_request(r, us);
}
