#pragma once
/*
 * CSV records (RFC 4180, and what banks make of it): quoted fields with doubled quotes and line
 * breaks, CRLF or LF, any one-byte delimiter, a leading byte order mark skipped. Pure; fields are
 * views into the input or, where quotes had to be undone, into the arena. Bounded by
 * CSV_FIELDS_MAX.
 */

#include "libcommon/base/arena.h"

#define CSV_FIELDS_MAX 64

struct csv_reader {
    struct str rest;
    char delimiter;
    uint32_t line; /* of the next record, from 1 */
};

struct csv_record {
    struct str fields[CSV_FIELDS_MAX];
    uint32_t count;
    uint32_t line;
};

/* The delimiter is the most frequent of , ; tab | outside quotes in the first non-empty line. */
void csv_open(struct csv_reader *reader, struct str text);
/* False at the end of the text or on an error (then err is set): an unclosed quote, text after a
 * closing quote, too many fields, or no memory. */
bool csv_next(struct csv_reader *reader,
              struct arena *arena,
              struct csv_record *out,
              struct err *err) MUST_CHECK;
/* True when every field is empty or blank. */
bool csv_record_blank(const struct csv_record *record);
