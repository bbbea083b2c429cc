#pragma once
/*
 * Durable consumers: each record of a message (avanta.Records) becomes a request of one operation.
 * The message is acknowledged once all of them are committed, and given back when one failed for a
 * passing reason: those that had succeeded come again, so operations must know a record by its id.
 * A record that can never succeed is logged and left out. The server holds the backlog: at most
 * CONSUMER_PENDING_MAX messages of a consumer are under way.
 */

#include "libcommon/service/runner.h"

#define CONSUMERS_MAX         8
#define CONSUMER_PENDING_MAX  16
#define CONSUMER_ACK_MS       30000
#define CONSUMER_DEADLINE_MS  20000 /* before the server gives the message to another */
#define CONSUMER_AGAIN_MS_MAX 60000
#define CONSUMER_INTERNAL_MAX 20 /* deliveries after which an internal error counts as final */

struct consumers;

struct consumers_options {
    struct bus *bus;
    struct runner *runner;
    struct arena_pool *arenas;
    const struct consumer_row *rows;
    struct endpoint *endpoints; /* one per row */
    size_t count;
    struct metrics *metrics;
};

enum code consumers_open(const struct consumers_options *options,
                         struct consumers **out,
                         struct err *err) MUST_CHECK;
/* Takes no more messages; what is under way is still acknowledged. */
void consumers_stop(struct consumers *consumers);
void consumers_close(struct consumers **consumers);
