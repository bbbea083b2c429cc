#pragma once
/* What a statement may do to rows, read from its text once at start. Pure. */

#include "libcommon/base/str.h"

enum query_effect {
    QUERY_READS,    /* changes no rows */
    QUERY_WRITES,   /* INSERT, UPDATE, DELETE or MERGE itself: the row count tells */
    QUERY_MAY_WRITE /* a WITH that names one of them: the row count tells nothing */
};

enum query_effect query_effect_of(struct str sql);
/* It may change or lock rows that are there. */
bool query_locks_rows(struct str sql);
