#pragma once
/*
 * Lines that wait to be shipped: a fixed ring of records, filled by log_fields() under the log's
 * mutex and emptied by one thread. When it is full the newest are counted and left out. A record
 * holds what the line shows: masked, cut, its numbers as text.
 */

#include "libcommon/base/log.h"

#define LOG_SHIP_WAITING_MAX 64
#define LOG_SHIP_TEXT_BYTES  1536 /* keys and values of one line, each with its NUL */

struct log_record {
    uint64_t wall_ms;
    enum log_level level;
    uint32_t field_count;
    uint32_t len;
    char text[LOG_SHIP_TEXT_BYTES]; /* event, then key and value of each field; each NUL-ended */
};

struct log_ship {
    uint32_t first;
    uint32_t count;
    uint64_t lost;
    struct log_record records[LOG_SHIP_WAITING_MAX];
};

/* The next free record, begun; NULL, and one more lost, when there is none. */
struct log_record *
log_ship_begin(struct log_ship *ship, uint64_t wall_ms, enum log_level level, const char *event);
/* A field that does not fit is left out, and so are those that follow it. */
void log_record_add(struct log_record *record, const struct log_field *field);

/* --- for the program that ships; log.c --- */
/* The oldest record that waits; false: none does. */
bool log_ship_take(struct log_record *out);
/* One that was taken could not be sent. */
void log_ship_lose(void);
uint64_t log_ship_lost(void);
