#pragma once
/* Core NATS subjects that a service hears (service.h): each message is handled as it comes, by one
 * replica. On the loop thread. */

#include "libcommon/service/service.h"

#define LISTENERS_MAX            4
#define LISTENER_ARENA_BYTES_MAX ((size_t)256 * 1024)

struct listeners;

struct listeners_options {
    struct bus *bus;
    struct arena_pool *arenas;
    const char *queue;
    const struct listener_row *rows;
    size_t count;
    void *state; /* of the service */
};

enum code listeners_open(const struct listeners_options *options,
                         struct listeners **out,
                         struct err *err) MUST_CHECK;
void listeners_stop(struct listeners *listeners);
void listeners_close(struct listeners **listeners); /* accepts NULL */
