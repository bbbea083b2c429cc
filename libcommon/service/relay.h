#pragma once
/*
 * The outbox relay: publishes what the outbox holds to JetStream and deletes what the stream has
 * stored. One per process, one at work per database (an advisory lock per transaction). Poked after
 * each commit with rows, it otherwise looks again after 20 to 500 ms. When the bus fails, rows
 * stay. A row that is published twice carries the same Nats-Msg-Id, so the stream keeps one. On the
 * loop thread, with a database connection of its own.
 */

#include "libcommon/base/metric.h"
#include "libcommon/service/effects.h"

#define RELAY_ROWS_MAX      512
#define RELAY_BYTES_MAX     ((int64_t)8 * 1024 * 1024)
#define RELAY_PUBLISH_MS    5000
#define RELAY_LINGER_MS     3 /* after a poke, so that commits close together share a pass */
#define RELAY_IDLE_FIRST_MS 20
#define RELAY_IDLE_CAP_MS   500
#define RELAY_LAG_MS        5000 /* how often the backlog is counted */
#define RELAY_LAG_ROWS_MAX  100000

struct relay;

struct relay_options {
    struct loop *loop;
    const struct database *database;
    struct bus *bus;
    struct arena_pool *arenas;
    const char *service;
    struct metrics *metrics;
};

enum code
relay_open(const struct relay_options *options, struct relay **out, struct err *err) MUST_CHECK;
/* There may be rows: look soon. */
void relay_poke(struct relay *relay);
/* Works off what is there, as long as the bus takes it, then stops; `done` runs when nothing is
 * under way. */
void relay_drain(struct relay *relay, void (*done)(void *arg), void *arg);
void relay_close(struct relay **relay); /* after relay_drain, or before anything started */
