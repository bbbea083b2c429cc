#pragma once
/*
 * One loop thread of the gateway with everything it needs: listener, bus connection, keys, token
 * cache. Workers share only constant tables, the metrics and their views. Created and driven by
 * main.c.
 */

#include "gateway/audit.h"
#include "gateway/auth.h"
#include "gateway/gateway_config.h"
#include "gateway/local.h"
#include "gateway/lookup.h"
#include "gateway/route.h"

#include "libcommon/base/list.h"
#include "libcommon/base/metric.h"
#include "libcommon/codec/api.h"
#include "libcommon/codec/forwarded.h"
#include "libcommon/io/bus.h"
#include "libcommon/io/envelope.h"
#include "libcommon/io/http_server.h"

#include <stdatomic.h>

enum gateway_service {
    GATEWAY_IDENTITY,
    GATEWAY_LEDGER,
    GATEWAY_AUDIT_LOG,
    GATEWAY_SERVICE_COUNT
};

enum gateway_metric {
    GATEWAY_METRIC_RESPONSES,
    GATEWAY_METRIC_SECONDS,
    GATEWAY_METRIC_RETRIES,
    GATEWAY_METRIC_UNAUTHENTICATED,
    GATEWAY_METRIC_CONNECTIONS,
    GATEWAY_METRIC_ENDED,
    GATEWAY_METRIC_FORGOTTEN,
    GATEWAY_METRIC_VERIFICATIONS,
    GATEWAY_METRIC_LOG_LOST,
    GATEWAY_METRIC_AUDITED,
    GATEWAY_METRIC_COUNT
};
/* Series of GATEWAY_METRIC_ENDED. */
enum gateway_ended {
    GATEWAY_ENDED_MALFORMED,
    GATEWAY_ENDED_TIMEOUT,
    GATEWAY_ENDED_REFUSED
};
extern const struct metric_row gateway_metric_rows[GATEWAY_METRIC_COUNT];

/* Shared by all workers and constant while they run, but for the metrics. */
struct gateway {
    struct gateway_config config;
    struct proxies proxies;
    struct router *router;
    struct metrics *metrics;
    local_fn *const *locals; /* by method index, NULL where a service answers */
    struct str openapi;
};

/* What the worker shows to other threads; its loop writes it every few milliseconds. */
struct worker_view {
    atomic_bool bus_up;
    atomic_bool keys_known;
};

struct worker {
    const struct gateway *gateway;
    uint32_t number;
    struct loop *loop;
    struct bus *bus;
    struct http_server *http;
    struct arena_pool *arenas;
    struct sealer *sealers[GATEWAY_SERVICE_COUNT];
    struct key_set keys;
    struct auth *auth;
    struct lookup *lookup;
    struct gateway_audit *audit;
    struct loop_timer *tick_timer; /* retries, and what other threads see */
    struct loop_timer *keys_timer;
    struct bus_subscription *revocations;
    struct bus_subscription *key_changes;
    struct bus_subscription *access_changes;
    struct log_bus *log_bus; /* of the first worker: it ships for all */
    struct worker_view view;
    struct http_server_stats counted; /* what is in the metrics of this worker's connections */
    uint64_t counted_verifications;   /* the same, of its tokens */
    struct list retries;              /* exchanges that wait for their next attempt */
    uint64_t service_seen_ms[GATEWAY_SERVICE_COUNT]; /* monotonic time of the last answer */
    uint64_t forgotten_logged_ms;
    /* Fetching keys: key_fetch.c. */
    uint64_t keys_fetched_ms; /* when the last fetch began, monotonic */
    bool keys_wanted;         /* a fetch is under way */
    bool keys_again;          /* and what it brings is outdated */
    struct list key_waiters;  /* those that came first first */
    uint32_t key_waiter_count;
    bool draining;
    void (*on_drained)(struct worker *worker); /* before the loop stops; may be NULL */
};

/* GATEWAY_SERVICE_COUNT for a name the gateway does not serve. */
enum gateway_service worker_service(const char *service);
/* The sealer of a service by its name; NULL for a name the gateway does not serve. */
struct sealer *worker_sealer(const struct worker *worker, const char *service);
/* No token of that session passes any more. */
void worker_revoke(struct worker *worker, struct str session_id);
/* True when requests can be served: bus up and keys known. */
bool worker_ready(const struct worker *worker);
