#pragma once
/*
 * A private PostgreSQL 15 cluster for tests, in a temporary directory, on a Unix socket and a free
 * loopback port, ended with the process (also when it crashes: the server gets a signal). With
 * AVANTA_TEST_PG_DSN set (a superuser's key=value connection string without dbname) that cluster is
 * used and none is started. Started by the first call that needs it. As root the server runs as
 * user postgres. Every wait is bounded; what fails prints a message and ends the process with
 * status 1. Single-threaded.
 */

#include <stdbool.h>

/* A fresh database; the name is made unique. The connection string lives until the end of the
 * process; scratch_pg_end() drops the database. */
const char *scratch_pg_database(const char *name);
/* False when AVANTA_TEST_PG_DSN names the cluster: the three calls below are then refused. */
bool scratch_pg_is_own(void);
/* A Unix socket form of the connection string; own cluster only. */
const char *scratch_pg_socket_dsn(const char *dsn);
/* Fast shutdown and start at the same address. */
void scratch_pg_restart(void);
/* kill -9 of the whole server; scratch_pg_start() brings it back through crash recovery. */
void scratch_pg_kill(void);
void scratch_pg_start(void);
/* Restarts the own cluster so that it speaks TLS with copies of these files; `certificate` NULL:
 * without TLS again. The connection strings given out do not change: they say sslmode=disable, and
 * what is written behind them counts more. */
void scratch_pg_tls(const char *certificate, const char *key);
/* Drops databases, stops the server, removes the directory. Also runs at exit. */
void scratch_pg_end(void);
/* Runs SQL on a database as superuser; blocking; ends the process when it fails. */
void scratch_pg_run(const char *dsn, const char *sql);
/* The first value of the answer as text in static memory, overwritten by the next call; "" for
 * NULL. */
const char *scratch_pg_ask(const char *dsn, const char *sql);
