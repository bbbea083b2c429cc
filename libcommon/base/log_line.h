#pragma once
/*
 * One line of the log, in logfmt or as a JSON object, of LOG_LINE_BYTES_MAX bytes at most with its
 * newline. Whatever the values hold it stays one line without control characters and well formed,
 * also where it is cut: then it ends in cut=true. Values are masked before they come here. Pure;
 * the caller owns the memory.
 */

#include "libcommon/base/buf.h"
#include "libcommon/base/log.h"

struct log_head {
    enum log_format format;
    enum log_level level;
    uint64_t wall_ms;
    const char *service;
    const char *instance;
    const char *event;
};

struct log_line {
    struct buf buf;
    enum log_format format;
    bool in_quotes;
    bool cut;
};

/* Starts with what every line has: ts, level, service, instance, event. */
void log_line_begin(struct log_line *line,
                    char memory[LOG_LINE_BYTES_MAX],
                    const struct log_head *head);
/* Nothing happens once the line is cut. */
void log_line_field(struct log_line *line, const struct log_field *field);
struct str log_line_end(struct log_line *line);

const char *log_level_name(enum log_level level);
/* A value that stands in logfmt without quotes. */
bool log_value_plain(struct str s);
