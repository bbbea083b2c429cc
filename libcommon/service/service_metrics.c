#include "libcommon/service/service_metrics.h"

#include "libcommon/service/req_internal.h"
#include "libcommon/service/service.h"

#include <assert.h>
#include <stdlib.h>

#define OWN_ROWS_MAX 16 /* of one service */

static const char *const group_sizes[] = {
    "1", "2-3", "4-7", "8-15", "16-31", "32-63", "64-127", "128", NULL};
static const char *const frame_drops[] = {"forged", "expired", "guard_full", "no_memory", NULL};
static const char *const consumed[] = {"done", "again", "never", NULL};

/* The rows whose label values are the process's endpoints are completed at open. */
static const struct metric_row rows[SERVICE_METRIC_COUNT] = {
    [METRIC_REQUEST_DURATION] = {METRIC_HISTOGRAM_US,
                                 "avanta_request_duration_seconds",                    "method",
                                 NULL,                                                                   "Time from arrival to answer"                                  },
    [METRIC_GROUPS] = {METRIC_COUNTER,
                                 "avanta_group_commits_total",                         "size",
                                 group_sizes,                                                            "Transactions sent to commit, by requests in them"             },
    [METRIC_GROUP_ROLLBACKS] =
        {METRIC_COUNTER,      "avanta_group_rollbacks_total",  NULL,       NULL, "Transactions rolled back"                                     },
    [METRIC_RERUNS] = {METRIC_COUNTER,
                                 "avanta_request_reruns_total",                        NULL,
                                 NULL,                                                                   "Requests whose steps were run again"                          },
    [METRIC_LOST] = {METRIC_COUNTER,
                                 "avanta_group_losses_total",                          NULL,
                                 NULL,                                                                   "Transactions whose connection broke"                          },
    [METRIC_REPLAYS] = {METRIC_COUNTER,
                                 "avanta_idempotency_replays_total",                   NULL,
                                 NULL,                                                                   "Stored replies given again"                                   },
    [METRIC_FRAMES_DROPPED] = {METRIC_COUNTER,
                                 "avanta_frames_dropped_total",                        "reason",
                                 frame_drops,                                                            "Messages dropped before they became requests"                 },
    [METRIC_REQUESTS_LIVE] =
        {METRIC_GAUGE,        "avanta_requests_live",          NULL,       NULL, "Requests under way"                                           },
    [METRIC_TURNS_WAITING] =
        {METRIC_GAUGE,        "avanta_turns_waiting",          NULL,       NULL, "Changes waiting for their user's turn"                        },
    [METRIC_READS_WAITING] =
        {METRIC_GAUGE,        "avanta_reads_waiting",          NULL,       NULL, "Reads waiting for a connection"                               },
    [METRIC_WRITES_WAITING] =
        {METRIC_GAUGE,        "avanta_writes_waiting",         NULL,       NULL, "Writes waiting for a transaction"                             },
    [METRIC_WORKS] = {METRIC_GAUGE,
                                 "avanta_works",                                       NULL,
                                 NULL,                                                                   "Requests whose work is on a thread or waits for one"          },
    [METRIC_OUTBOX_WAITING] =
        {METRIC_GAUGE,        "avanta_outbox_rows",            NULL,       NULL, "Rows waiting in the outbox"                                   },
    [METRIC_OUTBOX_AGE_MS] = {METRIC_GAUGE,
                                 "avanta_outbox_age_milliseconds",                     NULL,
                                 NULL,                                                                   "Age of the oldest row in the outbox"                          },
    [METRIC_OUTBOX_PUBLISHED] =
        {METRIC_COUNTER,      "avanta_outbox_published_total", NULL,       NULL, "Rows stored by the streams"                                   },
    [METRIC_CONSUMER_LAG_MS] = {METRIC_GAUGE,
                                 "avanta_consumer_lag_milliseconds",                   "consumer",
                                 NULL,                                                                   "Age of the last message taken"                                },
    [METRIC_CONSUMED] = {METRIC_COUNTER,
                                 "avanta_consumer_messages_total",                     "outcome",
                                 consumed,                                                               "Messages of durable consumers"                                },
    [METRIC_PG_READY] =
        {METRIC_GAUGE,        "avanta_pg_connections_ready",   NULL,       NULL, "Connections that serve"                                       },
    [METRIC_PG_LOST] =
        {METRIC_GAUGE,        "avanta_pg_connections_lost",    NULL,       NULL, "Connections lost so far"                                      },
    [METRIC_BUS_CONNECTED] =
        {METRIC_GAUGE,        "avanta_bus_connected",          NULL,       NULL, "1 while the bus is connected"                                 },
    [METRIC_BUS_OVERFLOWS] = {METRIC_GAUGE,
                                 "avanta_bus_ring_overflows",                          NULL,
                                 NULL,                                                                   "Messages dropped because the ring was full"                   },
    [METRIC_LOG_LOST] = {METRIC_GAUGE,
                                 "avanta_log_lines_not_shipped",                       NULL,
                                 NULL,                                                                   "Lines of the log that should have gone to the bus and did not"},
};

struct service_metrics {
    struct metric_row rows[SERVICE_METRIC_COUNT];
    struct metrics *metrics;
    struct endpoint *endpoints;
    size_t endpoint_count;
    const char **methods;   /* label values, NULL-terminated */
    const char **consumers; /* the same; at least one */
};

static bool
labels_make(struct service_metrics *m, const struct consumer_row *consumers, size_t consumer_count)
{
    assert(m->endpoint_count > 0);
    assert(consumers != NULL || consumer_count == 0);
    m->methods = calloc(m->endpoint_count + 1, sizeof(*m->methods));
    m->consumers = calloc(consumer_count + 2, sizeof(*m->consumers));
    if (m->methods == NULL || m->consumers == NULL) {
        return false;
    }
    for (size_t i = 0; i < m->endpoint_count; i++) {
        m->endpoints[i].series = i;
        m->methods[i] = m->endpoints[i].name;
    }
    m->consumers[0] = "none";
    for (size_t i = 0; i < consumer_count; i++) {
        m->consumers[i] = consumers[i].durable;
    }
    return true;
}

struct service_metrics *service_metrics_open(struct endpoint *endpoints,
                                             size_t endpoint_count,
                                             const struct consumer_row *consumers,
                                             size_t consumer_count)
{
    struct service_metrics *m = calloc(1, sizeof *m);

    assert(endpoint_count > 0);
    assert(endpoints != NULL);
    if (m == NULL) {
        return NULL;
    }
    m->endpoints = endpoints;
    m->endpoint_count = endpoint_count;
    if (labels_make(m, consumers, consumer_count)) {
        for (size_t i = 0; i < SERVICE_METRIC_COUNT; i++) {
            m->rows[i] = rows[i];
        }
        m->rows[METRIC_REQUEST_DURATION].label_values = m->methods;
        m->rows[METRIC_CONSUMER_LAG_MS].label_values = m->consumers;
        m->metrics = metrics_open(m->rows, SERVICE_METRIC_COUNT);
    }
    if (m->metrics == NULL) {
        service_metrics_close(&m);
    }
    return m;
}

void service_metrics_close(struct service_metrics **metrics)
{
    struct service_metrics *closing = *metrics;

    *metrics = NULL;
    if (closing == NULL) {
        return;
    }
    metrics_close(&closing->metrics);
    free(closing->methods);
    free(closing->consumers);
    free(closing);
}

struct metrics *service_metrics_rows(struct service_metrics *metrics)
{
    assert(metrics != NULL);
    return metrics->metrics;
}

static void endpoint_write(const struct endpoint *endpoint, struct buf *out)
{
    assert(endpoint->name != NULL);
    for (int code = OK; code < CODE_COUNT; code++) {
        if (endpoint->answered[code] == 0 && code != OK) {
            continue;
        }
        buf_printf(out,
                   "avanta_requests_total{method=\"%s\",code=\"%s\"} ",
                   endpoint->name,
                   code_wire((enum code)code));
        buf_uint64(out, endpoint->answered[code]);
        buf_char(out, '\n');
    }
}

/* Two labels are more than base/metric.h knows: written here from the endpoints' own counters. */
static const struct metric_row requests_row = {METRIC_COUNTER,
                                               "avanta_requests_total",
                                               "method`, `code",
                                               NULL,
                                               "Requests answered, by method and code"};

static void requests_write(const struct service_metrics *m, struct buf *out)
{
    assert(out != NULL);
    buf_printf(out,
               "# HELP %s %s\n# TYPE %s counter\n",
               requests_row.name,
               requests_row.help,
               requests_row.name);
    for (size_t i = 0; i < m->endpoint_count; i++) {
        endpoint_write(&m->endpoints[i], out);
    }
}

void service_metrics_write(const struct service_metrics *metrics, struct buf *out)
{
    assert(metrics != NULL);
    requests_write(metrics, out);
    metrics_write(metrics->metrics, out);
}

void service_metrics_markdown(FILE *out, const struct metric_row *own, size_t own_count)
{
    struct metric_row all[SERVICE_METRIC_COUNT + 1 + OWN_ROWS_MAX] = {requests_row};

    assert(out != NULL);
    assert(own_count <= OWN_ROWS_MAX);
    for (size_t i = 0; i < own_count; i++) {
        all[SERVICE_METRIC_COUNT + 1 + i] = own[i];
    }
    for (size_t i = 0; i < SERVICE_METRIC_COUNT; i++) {
        all[i + 1] = rows[i];
    }
    metrics_markdown(out, all, SERVICE_METRIC_COUNT + 1 + own_count);
}

size_t service_metrics_group_series(size_t members)
{
    size_t series = 0;

    assert(members > 0);
    while (members > 1 && series + 2 < ARRAY_LEN(group_sizes)) {
        members /= 2;
        series++;
    }
    assert(series < ARRAY_LEN(group_sizes) - 1);
    return series;
}
