#pragma once
/*
 * A whole stack of its own for a test: deploy/up.sh with the programs of AVANTA_BUILD in a scratch
 * directory, on free ports. Everything is stopped and removed at the end, also when the test fails.
 * Without AVANTA_BUILD the running stack at AVANTA_URL is used instead and left as it is; what
 * stack_value() gives is then in the environment, and nothing can be killed.
 * One test process, one thread; failures fail the test.
 */

#include "tests/support/check.h"

#include <sys/types.h>

/* Settings of the gateway beside those of deploy/up.sh, "NAME=value NAME=value"; before
 * stack_setup(). */
void stack_gateway_settings(const char *settings);
/* The same of identity, which registers users without limit here. */
void stack_identity_settings(const char *settings);
void stack_ledger_settings(const char *settings); /* and of ledger */
void stack_audit_log_settings(const char *settings);
int stack_setup(void **state);
/* Also fails when a program ended badly or a sanitizer reported something in its log. */
int stack_teardown(void **state);
const char *stack_url(void);
/* Starts another gateway beside the stack's and gives its URL once it is ready; ended, and its exit
 * status checked, by stack_teardown(). One per test program. */
const char *stack_second_gateway(void);
/* A value of STATE/env or STATE/admin.env. */
const char *stack_value(const char *name);
/* The process of a program ("ledger", "nats"; "postgres" is the postmaster). */
pid_t stack_pid(const char *program);
/* Starts what is not running; fails the test when it does not come up. */
void stack_up(void);
/* GET of a program's admin port: the status, 0 when nobody listens. The body is cut at `cap`. */
long stack_admin_get(const char *program, const char *path, char *out, size_t cap);
/* A series of the program's /metrics by its name and labels, as it is written there. */
int64_t stack_metric(const char *program, const char *series);
bool stack_logged(const char *program, const char *text);
/* Whether any log of the stack holds the text, those of PostgreSQL and nats-server included. */
bool stack_logged_anywhere(const char *text);
