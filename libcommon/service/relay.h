#pragma once
/*
 * The outbox relay: publishes what the outbox holds to JetStream and deletes what the stream has
 * stored. A transaction's rows are offered once it is committed and published at once. A pass over
 * the table finds what was not: after a start, while the bus is down, when too much is under way,
 * or because another replica ended; one pass at a time per database (an advisory lock per
 * transaction). While such rows are left, nothing overtakes them; what is offered while the last of
 * them are read follows them, so that a relay catches up however much is committed. A row that is
 * published twice carries the same Nats-Msg-Id, so the stream keeps one. On the loop thread, with a
 * database connection of its own.
 */

#include "libcommon/base/metric.h"
#include "libcommon/service/effects.h"
#include "libcommon/service/outbox.h"

#define RELAY_ROWS_MAX     512
#define RELAY_BYTES_MAX    ((int64_t)8 * 1024 * 1024)
#define RELAY_HELD_BYTES   ((size_t)1024 * 1024)
#define RELAY_PUBLISH_MS   5000
#define RELAY_OFFERED_MAX  1024 /* published and not yet deleted; more is left to a pass */
#define RELAY_HELD_MAX     256  /* offered while a pass catches up, likewise */
#define RELAY_DELETE_MS    100  /* after the first acknowledgement, so that many share a pass */
#define RELAY_RETRY_MS     20   /* after a failure, doubling */
#define RELAY_IDLE_MS      500
#define RELAY_YOUNG_MS     2000 /* rows of other replicas are theirs for so long */
#define RELAY_LAG_MS       5000 /* how often the backlog is counted */
#define RELAY_LAG_ROWS_MAX 100000

struct relay;

struct relay_options {
    struct loop *loop;
    const struct database *database;
    struct bus *bus;
    struct arena_pool *arenas;
    const char *service;
    struct metrics *metrics;
    void (*on_refused)(void *ctx); /* no stream took a row: are they there? */
    void *ctx;
};

enum code
relay_open(const struct relay_options *options, struct relay **out, struct err *err) MUST_CHECK;
/* These rows are committed: publishes them, or sees to it that the next pass does. */
void relay_offer(struct relay *relay, const struct outbox_rows *rows);
/* Works off what is there, as long as the bus takes it, then stops; `done` runs when nothing is
 * under way. */
void relay_drain(struct relay *relay, void (*done)(void *arg), void *arg);
void relay_close(struct relay **relay); /* after relay_drain, or before anything started */
