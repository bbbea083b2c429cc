#pragma once
/* The settings of the log, the same in every program: the last rows of its own table. */

#include "libcommon/base/err.h"
#include "libcommon/base/log.h"

/* clang-format off */
#define LOG_CONFIG(X)                                                                                                       \
    X(TEXT, log_level,      "AVANTA_LOG_LEVEL",      "info", 4, 5, PLAIN,       "debug, info, warn or error")               \
    X(TEXT, log_format,     "AVANTA_LOG_FORMAT",     "logfmt", 4, 6, PLAIN,     "logfmt or json")                           \
    X(TEXT, log_ship,       "AVANTA_LOG_SHIP",       "warn", 3, 5, PLAIN,       "lines that also go to the bus, as log.<service>.<level>: off, warn (and error) or error") \
    X(UINT, log_sample,     "AVANTA_LOG_SAMPLE",     "16", 1, 1000000, PLAIN,   "one of so many successful requests is logged, the same ones in every program; 1: each") \
    X(UINT, log_slow_ms,    "AVANTA_LOG_SLOW_MS",    "1000", 1, 600000, PLAIN,  "a request that takes as long is logged in any case")
/* clang-format on */

/* What LOG_CONFIG's texts say. The err's field is the setting. */
enum code log_config_read(const char *level,
                          const char *format,
                          const char *ship,
                          struct log_options *out,
                          struct err *err) MUST_CHECK;
