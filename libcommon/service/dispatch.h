#pragma once
/*
 * Requests from the bus: rpc.<service>.> in queue group "q". A sealed frame is opened, its method
 * found, the permission and the rules are checked again, and it becomes a request of the runner;
 * its reply is sealed and sent. What is not signed, expired or seen before is dropped without an
 * answer, counted and logged at most once a second.
 */

#include "libcommon/io/bus.h"
#include "libcommon/io/envelope.h"
#include "libcommon/service/runner.h"

struct dispatch;

struct dispatch_options {
    struct bus *bus;
    struct runner *runner;
    struct sealer *sealer;
    struct replay_guard *guard;
    struct arena_pool *arenas;
    const char *service;
    struct endpoint *endpoints; /* of the operations; they outlive the dispatch */
    size_t endpoint_count;
    struct metrics *metrics;
};

enum code dispatch_open(const struct dispatch_options *options,
                        struct dispatch **out,
                        struct err *err) MUST_CHECK;
/* Takes no more messages; what the runner has is still answered. */
void dispatch_stop(struct dispatch *dispatch);
void dispatch_close(struct dispatch **dispatch);
