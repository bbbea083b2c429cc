#pragma once
/*
 * What a service counts, as rows of base/metric.h, and the exposition of all of it. Counters by
 * endpoint and code live in the endpoints themselves, since they have two labels and feed
 * $SRV.STATS as well.
 */

#include "libcommon/base/metric.h"

enum service_metric {
    METRIC_REQUEST_DURATION,
    METRIC_GROUPS,
    METRIC_GROUP_ROLLBACKS,
    METRIC_RERUNS,
    METRIC_LOST,
    METRIC_REPLAYS,
    METRIC_FRAMES_DROPPED,
    METRIC_REQUESTS_LIVE,
    METRIC_TURNS_WAITING,
    METRIC_READS_WAITING,
    METRIC_WRITES_WAITING,
    METRIC_WORKS,
    METRIC_OUTBOX_WAITING,
    METRIC_OUTBOX_AGE_MS,
    METRIC_OUTBOX_PUBLISHED,
    METRIC_CONSUMER_LAG_MS,
    METRIC_CONSUMED,
    METRIC_PG_READY,
    METRIC_PG_LOST,
    METRIC_BUS_CONNECTED,
    METRIC_BUS_OVERFLOWS,
    METRIC_LOG_LOST,
    SERVICE_METRIC_COUNT
};

enum frame_drop {
    FRAME_FORGED, /* signature, form or replay */
    FRAME_EXPIRED,
    FRAME_GUARD_FULL,
    FRAME_NO_MEMORY
};

enum consumed {
    CONSUMED_DONE,
    CONSUMED_AGAIN,
    CONSUMED_NEVER
};

struct endpoint;
struct consumer_row;
struct service_metrics;

/* Numbers the endpoints' series; endpoints and consumers must outlive the metrics. NULL when memory
 * is refused. */
struct service_metrics *service_metrics_open(struct endpoint *endpoints,
                                             size_t endpoint_count,
                                             const struct consumer_row *consumers,
                                             size_t consumer_count);
void service_metrics_close(struct service_metrics **metrics);
struct metrics *service_metrics_rows(struct service_metrics *metrics);
/* Every row as a table for the reference, `own` ones of the service last. */
void service_metrics_markdown(FILE *out, const struct metric_row *own, size_t own_count);
void service_metrics_write(const struct service_metrics *metrics, struct buf *out);
/* Series of METRIC_GROUPS for a group of this many members. */
size_t service_metrics_group_series(size_t members);
