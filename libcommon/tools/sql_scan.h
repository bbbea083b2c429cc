#pragma once
/*
 * Splits PostgreSQL text into pieces, just finely enough to find `:name` parameters where they are
 * parameters: not in '...' or E'...' strings, "identifiers", $tag$ quotes or comments, and not the
 * colons of `::cast` and `:=`. An array slice with a parameter needs blanks: `a[1 : :n]`. Pure;
 * views into the caller's text; the pieces joined are the text again. Assumes
 * standard_conforming_strings = on.
 */

#include "libcommon/base/str.h"

#define SQL_PARAMETER_NAME_BYTES_MAX 63

enum sql_piece_kind {
    SQL_CODE,       /* key words, names, numbers, operators, blanks */
    SQL_QUOTED,     /* a whole string, quoted identifier or dollar-quoted text */
    SQL_COMMENT,    /* a whole comment; `--` comments without their line end */
    SQL_PARAMETER,  /* ":name" */
    SQL_POSITIONAL, /* "$1" */
    SQL_ERROR       /* something is not ended or too long: the rest of the text */
};

struct sql_piece {
    enum sql_piece_kind kind;
    struct str text;
    size_t line; /* of its first byte, from 1 */
};

struct sql_scan {
    struct str rest;
    size_t line;
    bool after_word; /* the byte before the rest belongs to a word: "$" and quotes after it are not
                        fresh */
    const char *error; /* with SQL_ERROR: what is wrong, a literal */
};

void sql_scan_init(struct sql_scan *scan, struct str text);
/* The next piece, never empty; false at the end of the text. Nothing follows SQL_ERROR. */
bool sql_scan_next(struct sql_scan *scan, struct sql_piece *out) MUST_CHECK;
/* The name of a SQL_PARAMETER piece. */
struct str sql_parameter_name(const struct sql_piece *piece);
