#pragma once
/*
 * The admin port of a process: GET /livez (200 while the loop turns), /readyz (200, or 503 with a
 * JSON that names what is not ready), /metrics (Prometheus text) and /log-level; PUT
 * /log-level?level=debug&seconds=300 changes the level for that time. Loopback unless configured
 * otherwise. Used by services and by the gateway. On the loop thread.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"
#include "libcommon/io/loop.h"

struct admin;

/* One thing that must be ready: "database". */
struct admin_check {
    const char *name;
    bool (*ready)(void *ctx);
};

struct admin_options {
    const char *address;
    uint16_t port; /* 0: any free one */
    const struct admin_check *checks;
    size_t check_count;
    void (*write_metrics)(void *ctx, struct buf *out);
    void *ctx;
};

enum code admin_open(struct loop *loop,
                     const struct admin_options *options,
                     struct admin **out,
                     struct err *err) MUST_CHECK;
uint16_t admin_port(const struct admin *admin);
void admin_drain(struct admin *admin, void (*done)(void *arg), void *arg);
void admin_close(struct admin **admin); /* after admin_drain */
