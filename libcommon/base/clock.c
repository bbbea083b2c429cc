/* The calendar is computed, not asked of the C library: no time zone file, no lock, no year 2038.
 */
#include "libcommon/base/clock.h"

#include <assert.h>
#include <string.h>
#include <time.h>

#define DAYS_PER_ERA     146097 /* 400 years */
#define DAYS_TO_1970     719468 /* from 0000-03-01 */
#define MS_PER_DAY       INT64_C(86400000)
#define MS_PER_MINUTE    INT64_C(60000)
#define YEAR_MAX         9999
#define WALL_MS_END      UINT64_C(253402300800000) /* 10000-01-01 */
#define MEXICO_OFFSET_MS (INT64_C(6) * 60 * MS_PER_MINUTE)
#define FRACTION_DIGITS  9

/* Set by tests before they start threads; empty members mean the system's clock. */
static struct clock_source replaced;

static uint64_t read_us(clockid_t id)
{
    struct timespec now = {0, 0};
    int failed = clock_gettime(id, &now);

    assert(failed == 0);
    assert(now.tv_sec >= 0);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t clock_mono_us(void)
{
    return replaced.mono_us == NULL ? read_us(CLOCK_MONOTONIC) : replaced.mono_us();
}

uint64_t clock_mono_ms(void)
{
    return clock_mono_us() / 1000;
}

uint64_t clock_wall_ms(void)
{
    return replaced.wall_ms == NULL ? read_us(CLOCK_REALTIME) / 1000 : replaced.wall_ms();
}

void clock_replace(const struct clock_source *source)
{
    replaced = source == NULL ? (struct clock_source){NULL, NULL} : *source;
}

/* --- calendar ------------------------------------------------------------------ */

static bool is_leap(int32_t year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

bool date_exists(int32_t year, uint32_t month, uint32_t day)
{
    static const uint8_t month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    uint32_t days = 0;

    if (year < 1 || year > YEAR_MAX || month < 1 || month > 12) {
        return false;
    }
    days = month_days[month - 1];
    if (month == 2 && is_leap(year)) {
        days++;
    }
    return day >= 1 && day <= days;
}

/* Years are counted from 1 March, so that the leap day is the last one and month lengths follow one
 * line (Howard Hinnant, "chrono-compatible low-level date algorithms"). */
int64_t date_to_days(struct date d)
{
    int64_t year = d.month <= 2 ? d.year - 1 : d.year;
    int64_t month = d.month > 2 ? d.month - 3 : d.month + 9;
    int64_t era = year / 400;
    int64_t year_of_era = year % 400;
    int64_t day_of_year = (153 * month + 2) / 5 + d.day - 1;

    assert(date_exists(d.year, d.month, d.day));
    return era * DAYS_PER_ERA + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
           day_of_year - DAYS_TO_1970;
}

struct date date_from_days(int64_t days)
{
    int64_t shifted = days + DAYS_TO_1970;
    int64_t era = shifted / DAYS_PER_ERA;
    int64_t day_of_era = shifted % DAYS_PER_ERA;
    int64_t year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / (DAYS_PER_ERA - 1)) /
        365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t shifted_month = (5 * day_of_year + 2) / 153;
    int64_t month = shifted_month < 10 ? shifted_month + 3 : shifted_month - 9;
    int64_t year = era * 400 + year_of_era + (month <= 2 ? 1 : 0);
    int64_t day = day_of_year - (153 * shifted_month + 2) / 5 + 1;

    assert(year >= 1);
    assert(year <= YEAR_MAX);
    return (struct date){(int32_t)year, (uint8_t)month, (uint8_t)day};
}

struct date date_in_mexico_city(uint64_t wall_ms)
{
    int64_t local_ms = (int64_t)wall_ms - MEXICO_OFFSET_MS;
    int64_t days = local_ms / MS_PER_DAY;

    /* Division cuts towards zero; a time before the epoch belongs to the day before. */
    assert(wall_ms < WALL_MS_END);
    if (local_ms % MS_PER_DAY < 0) {
        days--;
    }
    return date_from_days(days);
}

/* --- text ---------------------------------------------------------------------- */

/* `count` digits at `at`; false when one of them is none. */
static bool digits_at(struct str s, size_t at, size_t count, uint32_t *out)
{
    uint32_t value = 0;

    assert(count <= FRACTION_DIGITS);
    assert(out != NULL);
    if (at > s.len || s.len - at < count) {
        return false;
    }
    for (size_t i = at; i < at + count; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9') {
            return false;
        }
        value = value * 10 + (uint32_t)(s.ptr[i] - '0');
    }
    *out = value;
    return true;
}

static bool char_at(struct str s, size_t at, char c)
{
    return at < s.len && s.ptr[at] == c;
}

bool date_parse(struct str s, struct date *out)
{
    uint32_t year = 0;
    uint32_t month = 0;
    uint32_t day = 0;

    assert(out != NULL);
    assert(s.ptr != NULL || s.len == 0);
    if (s.len != DATE_TEXT_BYTES - 1 || !char_at(s, 4, '-') || !char_at(s, 7, '-') ||
        !digits_at(s, 0, 4, &year) || !digits_at(s, 5, 2, &month) || !digits_at(s, 8, 2, &day) ||
        !date_exists((int32_t)year, month, day)) {
        return false;
    }
    *out = (struct date){(int32_t)year, (uint8_t)month, (uint8_t)day};
    return true;
}

/* Exactly `count` digits; a value with more is a programmer error. */
static void put_digits(char *out, size_t count, uint64_t value)
{
    assert(count > 0);
    for (size_t i = count; i > 0; i--) {
        out[i - 1] = (char)('0' + (char)(value % 10));
        value /= 10;
    }
    assert(value == 0);
}

void date_format(struct date d, char out[DATE_TEXT_BYTES])
{
    assert(out != NULL);
    assert(date_exists(d.year, d.month, d.day));
    memcpy(out, "YYYY-MM-DD", DATE_TEXT_BYTES);
    put_digits(out, 4, (uint64_t)d.year);
    put_digits(out + 5, 2, d.month);
    put_digits(out + 8, 2, d.day);
}

void timestamp_format(uint64_t wall_ms, char out[TIMESTAMP_TEXT_BYTES])
{
    uint64_t of_day = wall_ms % (uint64_t)MS_PER_DAY;

    assert(out != NULL);
    assert(wall_ms < WALL_MS_END);
    memcpy(out, "YYYY-MM-DDTHH:MM:SS.mmmZ", TIMESTAMP_TEXT_BYTES);
    date_format(date_from_days((int64_t)(wall_ms / (uint64_t)MS_PER_DAY)), out);
    out[DATE_TEXT_BYTES - 1] = 'T';
    put_digits(out + 11, 2, of_day / 3600000);
    put_digits(out + 14, 2, of_day / 60000 % 60);
    put_digits(out + 17, 2, of_day / 1000 % 60);
    put_digits(out + 20, 3, of_day % 1000);
}

/* HH:MM:SS at `at`. A leap second (":60") is refused: Unix time has no number for it. */
static bool parse_time_of_day(struct str s, size_t at, int64_t *out_ms)
{
    uint32_t hour = 0;
    uint32_t minute = 0;
    uint32_t second = 0;

    assert(out_ms != NULL);
    if (!digits_at(s, at, 2, &hour) || !char_at(s, at + 2, ':') ||
        !digits_at(s, at + 3, 2, &minute) || !char_at(s, at + 5, ':') ||
        !digits_at(s, at + 6, 2, &second) || hour > 23 || minute > 59 || second > 59) {
        return false;
    }
    *out_ms = (((int64_t)hour * 60 + minute) * 60 + second) * 1000;
    return true;
}

/* ".ddd" of 1 to 9 digits, cut to milliseconds; *at moves behind it. No point, no fraction. */
static bool parse_fraction(struct str s, size_t *at, int64_t *out_ms)
{
    size_t count = 0;
    uint32_t value = 0;

    assert(*at <= s.len);
    assert(out_ms != NULL);
    *out_ms = 0;
    if (!char_at(s, *at, '.')) {
        return true;
    }
    (*at)++;
    while (*at + count < s.len && s.ptr[*at + count] >= '0' && s.ptr[*at + count] <= '9') {
        count++;
    }
    if (count < 1 || count > FRACTION_DIGITS || !digits_at(s, *at, count, &value)) {
        return false;
    }
    *at += count;
    while (count < 3) {
        value *= 10;
        count++;
    }
    while (count > 3) {
        value /= 10;
        count--;
    }
    *out_ms = value;
    return true;
}

/* 'Z' or +HH:MM or -HH:MM from `at` to the end of the text. */
static bool parse_zone(struct str s, size_t at, int64_t *out_ms)
{
    uint32_t hour = 0;
    uint32_t minute = 0;

    assert(at <= s.len);
    assert(out_ms != NULL);
    *out_ms = 0;
    if (at + 1 == s.len && (s.ptr[at] == 'Z' || s.ptr[at] == 'z')) {
        return true;
    }
    if (at + 6 != s.len || (s.ptr[at] != '+' && s.ptr[at] != '-') ||
        !digits_at(s, at + 1, 2, &hour) || s.ptr[at + 3] != ':' ||
        !digits_at(s, at + 4, 2, &minute) || hour > 23 || minute > 59) {
        return false;
    }
    *out_ms = ((int64_t)hour * 60 + minute) * MS_PER_MINUTE;
    if (s.ptr[at] == '-') {
        *out_ms = -*out_ms;
    }
    return true;
}

/* The date and the time of day stand at the same places in both forms; only RFC 3339 goes on after
 * them. The sum may leave the range by the offset, so it is checked last. */
bool timestamp_parse(struct str s, uint64_t *out_wall_ms)
{
    struct date date = {0, 0, 0};
    size_t at = sizeof("YYYY-MM-DDTHH:MM:SS") - 1;
    int64_t of_day_ms = 0;
    int64_t fraction_ms = 0;
    int64_t zone_ms = 0;
    int64_t wall_ms = 0;

    assert(out_wall_ms != NULL);
    if (!date_parse(str_sub(s, 0, DATE_TEXT_BYTES - 1), &date) ||
        !parse_time_of_day(s, DATE_TEXT_BYTES, &of_day_ms)) {
        return false;
    }
    if (s.ptr[DATE_TEXT_BYTES - 1] == ' ') {
        if (s.len != at) {
            return false;
        }
    } else if ((s.ptr[DATE_TEXT_BYTES - 1] != 'T' && s.ptr[DATE_TEXT_BYTES - 1] != 't') ||
               !parse_fraction(s, &at, &fraction_ms) || !parse_zone(s, at, &zone_ms)) {
        return false;
    }
    wall_ms = date_to_days(date) * MS_PER_DAY + of_day_ms + fraction_ms - zone_ms;
    if (wall_ms < 0 || (uint64_t)wall_ms >= WALL_MS_END) {
        return false;
    }
    *out_wall_ms = (uint64_t)wall_ms;
    return true;
}
