#pragma once
/*
 * One API call, from the parsed HTTP request to its answer: route, authenticate, bind, check, call
 * the service over the bus, encode. An exchange lives in the arena of its http_exchange and ends
 * with it.
 */

#include "gateway/worker.h"

/* For struct http_server_options.on_request; `ctx` is the worker. */
void exchange_begin(void *ctx, struct http_exchange *x);
/* For its on_end: the line in the log. */
void exchange_ended(void *ctx, void *attached, struct str peer, const struct http_end *end);
/* Sends the attempts that are due; run by the worker's retry timer. */
void exchange_retry_due(struct worker *worker);
