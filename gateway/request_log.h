#pragma once
/*
 * The line of one request, written when its answer was. Its route is the template, so no id of a
 * record and no value of a query comes into the log; who asks is told by the user's id and the
 * network of the address. Pure but for the log.
 */

#include "libcommon/base/err.h"
#include "libcommon/io/http_server.h"

/* What the exchange knows when it answers. Views into it. */
struct request_log {
    const char *route; /* NULL: none */
    enum code code;
    const char *request_id;
    const char *traceparent; /* "" before it was made */
    const char *user;        /* "": nobody */
    uint32_t attempts;       /* to call the service */
    uint64_t auth_us;        /* until the caller was known and allowed */
    uint64_t bus_us;         /* from the first attempt to the answer */
};

/* `known` is NULL where the server refused the request before anybody saw it. */
void request_log_write(const struct request_log *known,
                       struct str peer,
                       const struct http_end *end);
