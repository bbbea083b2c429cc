#pragma once
/*
 * logfmt lines on stderr: `ts=... level=info service=ledger event=pg_connected key=value ...`.
 * Values are quoted and escaped, so input cannot forge a line. Lines are gathered in a bounded
 * buffer and written when it fills, at log_flush(), and at once for warn and above; a line that
 * cannot be written is counted, never blocks for long. Thread-safe (one mutex). A line is at most
 * LOG_LINE_BYTES_MAX; longer ones are cut and end in cut=true. Events and keys are [a-z0-9_].
 * SIGPIPE must be ignored by the program. Never pass secrets.
 */

#include "libcommon/base/str.h"

#define LOG_LINE_BYTES_MAX 1024

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_LEVEL_COUNT
};

void log_open(const char *service, enum log_level level);
void log_flush(void);
/* Writes what is left and forgets service and level; logging again afterwards is allowed. */
/* tidy: allow unused: tests start anew */
void log_close(void);
bool log_enabled(enum log_level level);
bool log_level_parse(struct str s, enum log_level *out);

/* One field of a line: give the value with the constructor of its type. */
struct log_field {
    const char *key;
    enum {
        LOG_FIELD_STR,
        LOG_FIELD_INT,
        LOG_FIELD_UINT
    } type;
    struct str text;
    int64_t number;
    uint64_t unsigned_number;
};
#define LOG_S(key, value) ((struct log_field){(key), LOG_FIELD_STR, str_from(value), 0, 0})
#define LOG_V(key, view)  ((struct log_field){(key), LOG_FIELD_STR, (view), 0, 0})
#define LOG_I(key, value) ((struct log_field){(key), LOG_FIELD_INT, STR_EMPTY, (value), 0})
#define LOG_U(key, value) ((struct log_field){(key), LOG_FIELD_UINT, STR_EMPTY, 0, (value)})
/* log_event(LOG_INFO, "request", LOG_S("code", ...), LOG_U("ms", ...)); at least one field. */
#define log_event(level, event, ...)                    \
    log_fields((level),                                 \
               (event),                                 \
               (const struct log_field[]){__VA_ARGS__}, \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_fields(enum log_level level,
                const char *event,
                const struct log_field *fields,
                size_t count);
/* For a condition that repeats: true at most once per second per `last_ms` slot. */
bool log_rate_allows(uint64_t *last_ms);
