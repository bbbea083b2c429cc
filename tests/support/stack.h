#pragma once
/*
 * A whole stack of its own for a test: deploy/up.sh with the programs of AVANTA_BUILD in a scratch
 * directory, on free ports. Everything is stopped and removed at the end, also when the test fails.
 * One test process, one thread; failures fail the test.
 */

#include "tests/support/check.h"

#include <sys/types.h>

int stack_setup(void **state);
int stack_teardown(void **state);
const char *stack_url(void);
/* A value of STATE/env or STATE/admin.env. */
const char *stack_value(const char *name);
/* The process of a program ("ledger", "nats"; "postgres" is the postmaster). */
pid_t stack_pid(const char *program);
/* Starts what is not running; fails the test when it does not come up. */
void stack_up(void);
