#pragma once
/* What a failed statement means to us, for the pg_*.c files only. Pure but for the log line; texts
 * of the database never leave through struct err, because they may quote values. */

#include "libcommon/io/pg_libpq.h"
#include "libcommon/io/pg_pool.h"

/* True when the result says that the session ended, or when libpq itself failed. */
bool pg_error_ends_session(const PGresult *result);
/* Fills outcome, sqlstate, constraint and err of an answer from an error result. */
void pg_error_answer(const PGresult *result, struct pg_answer *out);
/* One line at warn with what the database said; at most once per second per code (`last_ms`). */
void pg_error_log(const PGresult *result,
                  const struct pg_answer *answer,
                  const char *statement,
                  uint64_t *last_ms);
