#pragma once
/*
 * Makes of a record one that the table takes: the change it tells of is done, so it may not be lost
 * over a byte. Bytes that are no UTF-8 become U+FFFD, what is too long is cut and marked, a value
 * that the table does not know gets the nearest one, and a record without a known owner belongs to
 * AUDIT_OWNER_UNKNOWN. Pure; new texts live in the arena.
 */

#include "avanta/audit_log_internal.pb-c.h"

#include "libcommon/base/arena.h"

#define AUDIT_WORD_BYTES_MAX    512 /* types, ids, addresses */
#define AUDIT_AGENT_BYTES_MAX   1024
#define AUDIT_DETAILS_BYTES_MAX ((size_t)128 * 1024)
#define AUDIT_TIME_MS_MAX       UINT64_C(253402300799999) /* the end of 9999 */
#define AUDIT_OWNER_UNKNOWN     "00000000-0000-0000-0000-000000000000"

/* Changes the row, never the texts it points to. False: the arena is full. */
bool audit_clean(Avanta__AuditLog__AuditRow *row, struct arena *arena) MUST_CHECK;
