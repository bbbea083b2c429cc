#pragma once
/* The error log: what is reported goes through error_intake.h and is written by a job. Loop thread
 * only. */

#include "libcommon/base/arena.h"
#include "libcommon/base/config.h"
#include "libcommon/service/op.h"

/* clang-format off */
#define ERRORS_CONFIG(X)                                                                                                     \
    X(UINT, errors_per_minute, "AVANTA_ERRORS_PER_MINUTE", "600", 1, 60000, PLAIN, "reports of errors taken from all browsers; what comes above it is counted as dropped") \
    X(UINT, errors_address_per_minute, "AVANTA_ERRORS_ADDRESS_PER_MINUTE", "60", 1, 60000, PLAIN, "reports of errors taken from one address") \
    X(UINT, errors_server_per_minute, "AVANTA_ERRORS_SERVER_PER_MINUTE", "6000", 1, 60000, PLAIN, "lines of level error taken from all programs") \
    X(UINT, errors_alerts_per_minute, "AVANTA_ERRORS_ALERTS_PER_MINUTE", "10", 1, 600, PLAIN, "alerts of new errors; of the others it alerts when they come again") \
    X(UINT, errors_days,       "AVANTA_ERRORS_DAYS",       "30", 1, 3650, PLAIN,     "how long an error is kept that comes no more") \
    X(UINT, errors_groups,     "AVANTA_ERRORS_GROUPS",     "2000", 10, 100000, PLAIN, "how many different errors are kept") \
    X(UINT, errors_samples,    "AVANTA_ERRORS_SAMPLES",    "20", 1, 100, PLAIN,      "how many reports of one error are kept with all they say")
/* clang-format on */

/* A line of level error of some program, an avanta.LogLine. */
void errors_on_line(void *state, struct arena *arena, struct str payload);
/* Writes what waits. */
extern const struct op op_audit_log_errors_store;
/* Takes away what is old, and what is too much. */
extern const struct op op_audit_log_errors_purge;
