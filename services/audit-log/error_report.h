#pragma once
/*
 * What a browser sends and what a program logs, as a report: taken apart, cleaned, with its
 * fingerprint. Whoever reports an error can do nothing about a report that is refused, so almost
 * anything is taken: members of other types by their JSON, long texts cut. Pure but for the id;
 * memory is the arena's.
 */

#include "avanta/audit_log_errors.pb-c.h"
#include "avanta/common.pb-c.h"
#include "services/audit-log/error_intake.h"

#include "libcommon/base/arena.h"

/* What the connection and the credential say of a browser's report; NULL: not known. */
struct error_client {
    const char *client_ip;
    const char *agent;
    const char *user_id;
    const char *request_id;
    uint64_t now_ms;
};

enum error_read {
    ERROR_READ,
    ERROR_NO_MESSAGE, /* neither message nor error.message */
    ERROR_NO_MEMORY
};

enum error_read error_report_read(const Avanta__AuditLog__ReportErrorRequest *in,
                                  const struct error_client *client,
                                  struct arena *arena,
                                  struct error_report *out);
/* A time that cannot be is now. False: no memory. */
bool error_report_of_line(const Avanta__LogLine *line,
                          uint64_t now_ms,
                          struct arena *arena,
                          struct error_report *out) MUST_CHECK;
