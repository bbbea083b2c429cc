#pragma once
/*
 * Metrics declared as tables, kept in relaxed atomics, written as Prometheus text (version 0.0.4).
 * Any thread may add; exposition reads without stopping writers. No allocation after registration.
 * Histograms use the OpenTelemetry latency buckets (5 ms .. 10 s) and two below them (1 and 2.5
 * ms). A row without label has the one series 0. Names a row may not have are programmer errors.
 */

#include "libcommon/base/buf.h"

#include <stdio.h>

enum metric_kind {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_HISTOGRAM_US /* observed in microseconds, exposed in seconds */
};

struct metric_row {
    enum metric_kind kind;
    const char *name;                /* avanta_http_requests_total */
    const char *label;               /* NULL, or the one label name */
    const char *const *label_values; /* NULL-terminated; index is the series; NULL without label */
    const char *help;
};

struct metrics;
/* `rows` must outlive the metrics. NULL when memory is refused. */
struct metrics *metrics_open(const struct metric_row *rows, size_t row_count);
void metrics_close(struct metrics **metrics);
void metric_add(struct metrics *metrics, size_t row, size_t series, uint64_t amount);
void metric_set(struct metrics *metrics, size_t row, size_t series, int64_t value);
void metric_observe_us(struct metrics *metrics, size_t row, size_t series, uint64_t us);
/* A gauge's value comes as two's complement, a histogram's is the number of observations. */
/* tidy: allow unused: tests read what was counted */
uint64_t metric_value(const struct metrics *metrics, size_t row, size_t series);
void metrics_write(const struct metrics *metrics, struct buf *out);
/* The rows as a table for the reference: name, kind, unit, labels, help. */
void metrics_markdown(FILE *out, const struct metric_row *rows, size_t row_count);
