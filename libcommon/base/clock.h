#pragma once
/*
 * Time and calendar. Monotonic and wall time come from one injectable source; everything else is
 * pure. Dates are proleptic Gregorian, ISO 8601 text; times are UTC. Thread-safe unless a source is
 * replaced.
 */

#include "libcommon/base/str.h"

#define DATE_TEXT_BYTES      11 /* YYYY-MM-DD and NUL */
#define TIMESTAMP_TEXT_BYTES 25 /* YYYY-MM-DDTHH:MM:SS.mmmZ and NUL */

uint64_t clock_mono_ms(void);
uint64_t clock_mono_us(void);
uint64_t clock_wall_ms(void); /* Unix milliseconds */
/* For tests: NULL restores the real clock. */
struct clock_source {
    uint64_t (*mono_us)(void);
    uint64_t (*wall_ms)(void);
};
/* tidy: allow unused: tests set the time */
void clock_replace(const struct clock_source *source);

struct date {
    int32_t year; /* 1..9999 */
    uint8_t month;
    uint8_t day;
};
/* Exactly YYYY-MM-DD and a day that exists. */
bool date_parse(struct str s, struct date *out);
void date_format(struct date d, char out[DATE_TEXT_BYTES]);
bool date_exists(int32_t year, uint32_t month, uint32_t day);
int64_t date_to_days(struct date d); /* since 1970-01-01 */
struct date date_from_days(int64_t days);
/* The calendar date in Mexico City at a wall time. UTC-6 all year since 30 October 2022 (Ley de los
 * Husos Horarios, DOF 28-10-2022); earlier dates are not asked of this function. */
struct date date_in_mexico_city(uint64_t wall_ms);

void timestamp_format(uint64_t wall_ms, char out[TIMESTAMP_TEXT_BYTES]); /* RFC 3339, UTC */
/* RFC 3339 with 'Z' or offset, or "YYYY-MM-DD HH:MM:SS" (UTC); 1970 to 9999, no leap second. */
/* tidy: allow unused: the counterpart that proves timestamp_format */
bool timestamp_parse(struct str s, uint64_t *out_wall_ms);
