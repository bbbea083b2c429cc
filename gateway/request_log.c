#include "gateway/request_log.h"

#include "libcommon/base/log.h"
#include "libcommon/base/log_mask.h"

#include <assert.h>
#include <string.h>

#define TRACE_FROM 3 /* in a traceparent */
#define TRACE_TO   35

static struct str trace_of(const struct request_log *known)
{
    return str_sub(str_from(known->traceparent), TRACE_FROM, TRACE_TO);
}

static const char *shown(const char *text)
{
    return text == NULL || text[0] == '\0' ? "-" : text;
}

void request_log_write(const struct request_log *known, struct str peer, const struct http_end *end)
{
    static const struct request_log nothing = {.request_id = "", .traceparent = "", .user = ""};
    const struct request_log *r = known == NULL ? &nothing : known;
    const char *request_id = end->request_id[0] == '\0' ? r->request_id : end->request_id;
    bool failed = end->status >= 400 || !end->sent;
    struct str trace = trace_of(r);
    char client[LOG_ADDRESS_BYTES];

    assert(end->status >= 100);
    if (!log_wants_request(str_from(request_id), failed, end->work_us)) {
        return;
    }
    log_mask_address(peer, client);
    log_event(end->status >= 500 ? LOG_ERROR : LOG_INFO,
              "request",
              LOG_S("request_id", request_id),
              LOG_V("trace", trace.len == 0 ? STR("-") : trace),
              LOG_S("method", shown(end->method)),
              LOG_S("route", shown(r->route)),
              LOG_U("status", end->status),
              LOG_S("code", code_wire(end->refused == OK ? r->code : end->refused)),
              LOG_S("user", shown(r->user)),
              LOG_S("client", client),
              LOG_U("bytes_in", end->bytes_in),
              LOG_U("bytes_out", end->bytes_out),
              LOG_U("read_us", end->read_us),
              LOG_U("auth_us", r->auth_us),
              LOG_U("bus_us", r->bus_us),
              LOG_U("us", end->work_us),
              LOG_U("write_us", end->write_us),
              LOG_U("attempts", r->attempts),
              LOG_S("end", end->sent ? "sent" : "client_gone"));
}
