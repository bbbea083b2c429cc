#pragma once
/*
 * The one include of libpq inside libcommon/io. libpq's own tag of PGconn is `struct pg_conn`,
 * which here is a connection of the pool: the rename makes the two different types again. `struct
 * pg_result` is libpq's PGresult on purpose, so results are handed out without a wrapper.
 */

#define pg_conn libpq_conn /* NOLINT(readability-identifier-naming): a tag of libpq */
#include <libpq-fe.h>
#undef pg_conn
