#pragma once
/*
 * The JetStream streams all services share, made by whoever comes first. They are asked for with
 * every connection of the bus, now and then in between, and when a publish was refused: an operator
 * may have removed one, or the bus may have come back without its files. Whoever opens it owns it;
 * on the loop thread; one question at a time.
 */

#include "libcommon/io/bus.h"

#define STREAM_EVENTS "EVENTS" /* evt.> */
#define STREAM_AUDIT  "AUDIT"  /* audit.> */
#define STREAM_ALERTS "ALERTS" /* alert.> */

#define STREAM_COUNT 3

#define STREAMS_ENSURE_MS 5000
#define STREAMS_AGAIN_MS  500   /* while one is missing, and the least between two checks */
#define STREAMS_CHECK_MS  30000 /* when nothing else is a reason */

struct streams;

struct streams_options {
    struct loop *loop;
    struct bus *bus;
    uint64_t mib;                /* bounds each of them; the server sets that much aside */
    void (*on_ready)(void *ctx); /* all of them are there; after each check that finds so */
    void *ctx;
};

enum code streams_open(const struct streams_options *options,
                       struct streams **out,
                       struct err *err) MUST_CHECK;
/* What is missing is made. */
void streams_check(struct streams *streams);
/* The bus has a new connection, or none: what was known of the streams holds no more. */
void streams_bus_state(struct streams *streams, bool connected);
/* The last check found all of them, on this connection. */
bool streams_ready(const struct streams *streams);
/* How one of them is made. */
const struct bus_stream_spec *streams_spec(const struct streams *streams, size_t at);
void streams_stop(struct streams *streams);   /* asks no more */
void streams_close(struct streams **streams); /* after the bus; accepts NULL */
