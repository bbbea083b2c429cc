/*
 * All values of all rows are one array of 64-bit cells. Adding is a relaxed atomic: no order
 * between two metrics is promised, so writers never wait and a scrape costs them nothing.
 */
#include "libcommon/base/metric.h"

#include "libcommon/base/money.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define SERIES_MAX       4096 /* of one row */
#define CACHE_LINE_BYTES 64

/* Upper bounds in microseconds: the OpenTelemetry latency buckets and two more at the low end,
 * where most of our answers are. */
static const uint64_t bucket_bounds_us[] = {
    1000,
    2500,
    5000,
    10000,
    25000,
    50000,
    75000,
    100000,
    250000,
    500000,
    750000,
    1000000,
    2500000,
    5000000,
    7500000,
    10000000,
};

#define BUCKETS ARRAY_LEN(bucket_bounds_us)

/* Values of a histogram series: one count per bucket, one for everything slower, the sum. The
 * number of observations is the sum of the counts, so that what is exposed always agrees with
 * itself. */
#define CELL_SLOWER     BUCKETS
#define CELL_SUM_US     (BUCKETS + 1)
#define HISTOGRAM_CELLS (BUCKETS + 2)

struct row_place {
    size_t first; /* cell of series 0 */
    size_t series_count;
};

struct metrics {
    const struct metric_row *rows;
    struct row_place *places;
    _Atomic uint64_t *cells;
    size_t row_count;
};

static size_t cells_per_series(const struct metric_row *row)
{
    return row->kind == METRIC_HISTOGRAM_US ? HISTOGRAM_CELLS : 1;
}

/* [a-zA-Z_][a-zA-Z0-9_]*: what the text format takes for both metric and label names (colons are
 * reserved for recording rules). */
static bool is_name(const char *name)
{
    size_t len = strlen(name);

    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';

        if (!letter && (i == 0 || c < '0' || c > '9')) {
            return false;
        }
    }
    return len > 0;
}

static size_t series_count(const struct metric_row *row)
{
    size_t count = 0;

    assert(row->name != NULL);
    assert(is_name(row->name));
    assert(row->help != NULL);
    if (row->label == NULL) {
        assert(row->label_values == NULL);
        return 1;
    }
    assert(is_name(row->label));
    assert(row->label_values != NULL);
    while (row->label_values[count] != NULL) {
        count++;
        assert(count <= SERIES_MAX);
    }
    assert(count > 0);
    return count;
}

/* Rows start on cache lines of their own, so that hot counters of different rows do not share one.
 */
static size_t place_rows(struct metrics *metrics)
{
    size_t per_line = CACHE_LINE_BYTES / sizeof(metrics->cells[0]);
    size_t total = 0;

    for (size_t i = 0; i < metrics->row_count; i++) {
        struct row_place *place = &metrics->places[i];

        place->first = total;
        place->series_count = series_count(&metrics->rows[i]);
        total += place->series_count * cells_per_series(&metrics->rows[i]);
        total = (total + per_line - 1) / per_line * per_line;
    }
    assert(total > 0);
    return total;
}

struct metrics *metrics_open(const struct metric_row *rows, size_t row_count)
{
    struct metrics *metrics = calloc(1, sizeof(*metrics));
    size_t cells = 0;

    assert(rows != NULL);
    assert(row_count > 0);
    if (metrics == NULL) {
        return NULL;
    }
    metrics->rows = rows;
    metrics->row_count = row_count;
    metrics->places = calloc(row_count, sizeof(*metrics->places));
    if (metrics->places == NULL) {
        metrics_close(&metrics);
        return NULL;
    }
    cells = place_rows(metrics);
    metrics->cells = aligned_alloc(CACHE_LINE_BYTES, cells * sizeof(metrics->cells[0]));
    if (metrics->cells == NULL) {
        metrics_close(&metrics);
        return NULL;
    }
    for (size_t i = 0; i < cells; i++) {
        atomic_init(&metrics->cells[i], 0);
    }
    return metrics;
}

void metrics_close(struct metrics **metrics)
{
    struct metrics *closing = NULL;

    assert(metrics != NULL);
    closing = *metrics;
    *metrics = NULL;
    if (closing == NULL) {
        return;
    }
    free(closing->cells);
    free(closing->places);
    free(closing);
}

static _Atomic uint64_t *cell_of(const struct metrics *metrics, size_t row, size_t series)
{
    assert(metrics != NULL);
    assert(row < metrics->row_count);
    assert(series < metrics->places[row].series_count);
    return &metrics->cells[metrics->places[row].first +
                           series * cells_per_series(&metrics->rows[row])];
}

static uint64_t load(const _Atomic uint64_t *cell)
{
    return atomic_load_explicit(cell, memory_order_relaxed);
}

void metric_add(struct metrics *metrics, size_t row, size_t series, uint64_t amount)
{
    _Atomic uint64_t *cell = cell_of(metrics, row, series);

    assert(metrics->rows[row].kind != METRIC_HISTOGRAM_US);
    (void)atomic_fetch_add_explicit(cell, amount, memory_order_relaxed);
}

void metric_set(struct metrics *metrics, size_t row, size_t series, int64_t value)
{
    _Atomic uint64_t *cell = cell_of(metrics, row, series);

    assert(metrics->rows[row].kind == METRIC_GAUGE);
    atomic_store_explicit(cell, (uint64_t)value, memory_order_relaxed);
}

void metric_observe_us(struct metrics *metrics, size_t row, size_t series, uint64_t us)
{
    _Atomic uint64_t *cells = cell_of(metrics, row, series);
    size_t bucket = 0;

    assert(metrics->rows[row].kind == METRIC_HISTOGRAM_US);
    /* A walk from the fast end: most observations stop at the first bounds. */
    while (bucket < BUCKETS && us > bucket_bounds_us[bucket]) {
        bucket++;
    }
    (void)atomic_fetch_add_explicit(&cells[bucket], 1, memory_order_relaxed);
    (void)atomic_fetch_add_explicit(&cells[CELL_SUM_US], us, memory_order_relaxed);
}

uint64_t metric_value(const struct metrics *metrics, size_t row, size_t series)
{
    const _Atomic uint64_t *cells = cell_of(metrics, row, series);
    uint64_t count = 0;

    if (metrics->rows[row].kind != METRIC_HISTOGRAM_US) {
        return load(cells);
    }
    for (size_t i = 0; i <= CELL_SLOWER; i++) {
        count += load(&cells[i]);
    }
    return count;
}

/* --- exposition ---------------------------------------------------------------- */

/* The text format escapes quotes in label values but not in help texts. */
static void put_escaped(struct buf *out, const char *text, bool quoted)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at == '\\') {
            buf_str(out, STR("\\\\"));
        } else if (*at == '\n') {
            buf_str(out, STR("\\n"));
        } else if (*at == '"' && quoted) {
            buf_str(out, STR("\\\""));
        } else {
            buf_char(out, *at);
        }
    }
}

/* name<suffix>{label="value",le="bound"} and the blank before the value. */
static void put_series(struct buf *out,
                       const struct metric_row *row,
                       size_t series,
                       const char *suffix,
                       struct str bound)
{
    assert(suffix != NULL);
    buf_text(out, row->name);
    buf_text(out, suffix);
    if (row->label != NULL || bound.len > 0) {
        buf_char(out, '{');
    }
    if (row->label != NULL) {
        buf_text(out, row->label);
        buf_str(out, STR("=\""));
        put_escaped(out, row->label_values[series], true);
        buf_char(out, '"');
    }
    if (bound.len > 0) {
        buf_str(out, row->label == NULL ? STR("le=\"") : STR(",le=\""));
        buf_str(out, bound);
        buf_char(out, '"');
    }
    if (row->label != NULL || bound.len > 0) {
        buf_char(out, '}');
    }
    buf_char(out, ' ');
}

static void put_count(struct buf *out, uint64_t count)
{
    buf_uint64(out, count);
    buf_char(out, '\n');
}

/* Buckets are counted apart and exposed cumulated; the count is their total. */
static void put_histogram(struct buf *out,
                          const struct metric_row *row,
                          size_t series,
                          const _Atomic uint64_t *cells)
{
    uint64_t count = 0;
    uint64_t sum_us = load(&cells[CELL_SUM_US]);

    assert(row->kind == METRIC_HISTOGRAM_US);
    for (size_t i = 0; i < BUCKETS; i++) {
        char memory[32];
        struct buf bound = buf_over(memory, sizeof(memory));

        count += load(&cells[i]);
        decimal_format_short(&bound, (int64_t)bucket_bounds_us[i], 6);
        put_series(out, row, series, "_bucket", buf_view(&bound));
        put_count(out, count);
    }
    count += load(&cells[CELL_SLOWER]);
    put_series(out, row, series, "_bucket", STR("+Inf"));
    put_count(out, count);
    put_series(out, row, series, "_sum", STR_EMPTY);
    decimal_format_short(out, sum_us > INT64_MAX ? INT64_MAX : (int64_t)sum_us, 6);
    buf_char(out, '\n');
    put_series(out, row, series, "_count", STR_EMPTY);
    put_count(out, count);
}

static void put_row(const struct metrics *metrics, size_t index, struct buf *out)
{
    static const char *const kinds[] = {"counter", "gauge", "histogram"};
    const struct metric_row *row = &metrics->rows[index];

    assert((unsigned)row->kind < ARRAY_LEN(kinds));
    buf_str(out, STR("# HELP "));
    buf_text(out, row->name);
    buf_char(out, ' ');
    put_escaped(out, row->help, false);
    buf_str(out, STR("\n# TYPE "));
    buf_text(out, row->name);
    buf_char(out, ' ');
    buf_text(out, kinds[row->kind]);
    buf_char(out, '\n');
    for (size_t series = 0; series < metrics->places[index].series_count; series++) {
        const _Atomic uint64_t *cells = cell_of(metrics, index, series);

        if (row->kind == METRIC_HISTOGRAM_US) {
            put_histogram(out, row, series, cells);
            continue;
        }
        put_series(out, row, series, "", STR_EMPTY);
        if (row->kind == METRIC_GAUGE) {
            buf_int64(out, (int64_t)load(cells));
        } else {
            buf_uint64(out, load(cells));
        }
        buf_char(out, '\n');
    }
}

void metrics_write(const struct metrics *metrics, struct buf *out)
{
    assert(metrics != NULL);
    assert(out != NULL);
    for (size_t i = 0; i < metrics->row_count && !out->overflow; i++) {
        put_row(metrics, i, out);
    }
}

/* --- the reference --------------------------------------------------------------------------- */

/* By the end of the name, as the text format wants it. */
static const char *unit_of(const struct metric_row *row)
{
    static const char *const units[] = {"milliseconds", "seconds", "bytes"};
    size_t len = strlen(row->name);

    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        size_t tail = strlen(units[i]);

        if (len > tail && strcmp(row->name + len - tail, units[i]) == 0) {
            return units[i];
        }
    }
    return "number";
}

static void label_print(FILE *out, const struct metric_row *row)
{
    if (row->label == NULL) {
        return;
    }
    (void)fprintf(out, "`%s`", row->label);
    for (size_t i = 0; row->label_values != NULL && row->label_values[i] != NULL; i++) {
        (void)fprintf(out, "%s%s", i == 0 ? ": " : ", ", row->label_values[i]);
    }
}

void metrics_markdown(FILE *out, const struct metric_row *rows, size_t row_count)
{
    static const char *const kinds[] = {[METRIC_COUNTER] = "counter",
                                        [METRIC_GAUGE] = "gauge",
                                        [METRIC_HISTOGRAM_US] = "histogram"};

    assert(out != NULL);
    assert(rows != NULL);
    (void)fputs("| Name | Kind | Unit | Labels | Meaning |\n|---|---|---|---|---|\n", out);
    for (size_t i = 0; i < row_count; i++) {
        const struct metric_row *row = &rows[i];

        assert((unsigned)row->kind < ARRAY_LEN(kinds));
        (void)fprintf(out, "| %s | %s | %s | ", row->name, kinds[row->kind], unit_of(row));
        label_print(out, row);
        (void)fprintf(out, " | %s |\n", row->help);
    }
}
