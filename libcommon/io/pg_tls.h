#pragma once
/*
 * Whether a connection string lets libpq speak to nothing but the server we mean, over TLS. libpq
 * does the rest: it verifies the chain, the dates and the host name. Pure; any thread.
 */

#include "libcommon/base/err.h"

/* ERR_INVALID with `setting` as its field unless `dsn` says sslmode=verify-full, sslrootcert, and a
 * host that is no directory: libpq takes no TLS through a Unix socket. */
enum code pg_tls_check(const char *dsn, const char *setting, struct err *err) MUST_CHECK;
