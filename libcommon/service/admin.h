#pragma once
/*
 * The admin port of a program: /livez, /readyz and /metrics over HTTP/1.1 on its loop, for
 * orchestrators and Prometheus. Bound to loopback unless configured otherwise; answers nothing
 * else. Owned by the loop thread.
 */

#include "libcommon/base/buf.h"
#include "libcommon/io/loop.h"

struct admin;

struct admin_options {
    const char *address;
    uint16_t port; /* 0: any free one */
    /* True when requests can be served; else names what is missing in `why`. */
    bool (*ready)(void *ctx, struct buf *why);
    void (*metrics)(void *ctx, struct buf *out); /* Prometheus text format 0.0.4 */
    void *ctx;
};

enum code admin_open(struct loop *loop,
                     const struct admin_options *options,
                     struct admin **out,
                     struct err *err) MUST_CHECK;
/* Closes at once; requests under way are cut. */
void admin_close(struct admin **admin);
