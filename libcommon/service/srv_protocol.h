#pragma once
/*
 * The NATS services protocol (ADR-32): answers $SRV.PING, $SRV.INFO and $SRV.STATS, each for all,
 * for this service's name, and for this instance, so that the standard tools list our services. On
 * the loop thread.
 */

#include "libcommon/io/bus.h"
#include "libcommon/service/req_internal.h"

struct srv_protocol;

struct srv_protocol_options {
    struct bus *bus;
    struct arena_pool *arenas;
    const char *name;
    const char *version; /* semantic */
    const char *description;
    const struct endpoint *endpoints; /* of the operations */
    size_t endpoint_count;
};

enum code srv_protocol_open(const struct srv_protocol_options *options,
                            struct srv_protocol **out,
                            struct err *err) MUST_CHECK;
void srv_protocol_close(struct srv_protocol **srv);
