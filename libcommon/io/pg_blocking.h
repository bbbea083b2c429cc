#pragma once
/*
 * A connection for commands that do one thing and end: blocking, before any loop. Statements are
 * those of a table, with parameters and columns bound by name as a pool does it (pg_bind.h), and
 * prepared when they are first asked for. What the database says is shown in errors: whoever reads
 * them operates it. One thread.
 */

#include "libcommon/io/pg_bind.h"

struct pg_blocking;

/* UTC, no statement timeout. ERR_UNAVAILABLE: no connection. */
enum code pg_blocking_open(const char *dsn,
                           const char *application_name,
                           const struct pg_query_table *table,
                           struct pg_blocking **out,
                           struct err *err) MUST_CHECK;
void pg_blocking_close(struct pg_blocking **db); /* accepts NULL; rolls back */

/* Text without parameters. ERR_TIMEOUT: a lock was not to be had within lock_timeout. */
enum code pg_blocking_run(struct pg_blocking *db, const char *sql, struct err *err) MUST_CHECK;
/* Messages of the statement's `out` type. */
struct pg_rows {
    ProtobufCMessage **all;
    size_t count;
};

/* One statement of the table; its rows are of the arena, which the result hangs on. `out` NULL: it
 * has none. ERR_TOO_LARGE: the arena is full. */
enum code pg_blocking_query(struct pg_blocking *db,
                            uint16_t query,
                            const ProtobufCMessage *in,
                            struct arena *arena,
                            struct pg_rows *out,
                            struct err *err) MUST_CHECK;
