#pragma once
/*
 * Lines of fields on stderr, as logfmt (`ts=... level=info service=ledger instance=... event=ready
 * key=value ...`) or as JSON objects. Values are quoted and escaped, so input cannot forge a line;
 * secrets and personal data are masked (log_mask.h). Lines are gathered in a bounded buffer and
 * written when it fills, at log_flush(), and at once for warn and above; a line that cannot be
 * written is counted, never blocks for long. Lines of a level that is shipped are also kept, as
 * many as there is room, for log_ship_take(). Thread-safe (one mutex), no allocation. A line is at
 * most LOG_LINE_BYTES_MAX; longer ones are cut and end in cut=true. Events and keys are [a-z0-9_].
 * SIGPIPE must be ignored by the program.
 */

#include "libcommon/base/str.h"

#define LOG_LINE_BYTES_MAX    1024
#define LOG_FIELDS_MAX        32
#define LOG_SERVICE_BYTES     32
#define LOG_INSTANCE_BYTES    40
#define LOG_LEVEL_SECONDS_MAX 86400

enum log_level {
    LOG_DEBUG,
    LOG_INFO,
    LOG_WARN,
    LOG_ERROR,
    LOG_LEVEL_COUNT
};

enum log_format {
    LOG_LOGFMT,
    LOG_JSON
};

struct log_options {
    const char *service;
    const char *instance; /* NULL: "-" */
    enum log_level level;
    enum log_format format;
    enum log_level ship; /* from which level on; LOG_LEVEL_COUNT: none */
    uint64_t sample;     /* one of so many successful requests has a line; 0: each */
    uint64_t slow_ms;    /* a request that takes as long has one in any case; 0: none does */
};

void log_open(const struct log_options *options);
void log_flush(void);
/* Writes what is left and forgets the options; logging again afterwards is allowed. */
/* tidy: allow unused: tests start anew */
void log_close(void);
/* tidy: allow unused: tests ask what has a line */
bool log_enabled(enum log_level level);
bool log_level_parse(struct str s, enum log_level *out);

/* Another level for some seconds, 1 to LOG_LEVEL_SECONDS_MAX; then the one of the options is back.
 */
void log_level_set(enum log_level level, uint64_t seconds);
/* The level in force; `*out_seconds` until it goes back, 0: it stays. */
enum log_level log_level_now(uint64_t *out_seconds);

/* Whether a request that ended has a line at info: one that failed or was slow has, of the others
 * some. Every program chooses the same ones, by the request's id. */
bool log_wants_request(struct str request_id, bool failed, uint64_t us);

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
/* The same, never shipped: what the shipping itself may cause. */
#define log_event_here(level, event, ...)                    \
    log_fields_here((level),                                 \
                    (event),                                 \
                    (const struct log_field[]){__VA_ARGS__}, \
                    sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_fields(enum log_level level,
                const char *event,
                const struct log_field *fields,
                size_t count);
void log_fields_here(enum log_level level,
                     const char *event,
                     const struct log_field *fields,
                     size_t count);
/* For a condition that repeats: true at most once per second per `last_ms` slot. */
bool log_rate_allows(uint64_t *last_ms);
