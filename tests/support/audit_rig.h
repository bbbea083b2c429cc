#pragma once
/*
 * audit-log on a database with records of three months of 2024 and of today, and its commands as an
 * operator runs them: with the environment that is asked for and no more. Where months meet,
 * records of both stand among each other. One for a test; every wait is bounded; what fails ends
 * the test. Single-threaded.
 */

#include "tests/support/service_rig.h"

#define AUDIT_RIG_KEY \
    "avanta/audit-log+0f0312c4+AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea" /* --log-key */
#define AUDIT_RIG_USER  "0191d6a2-7b1c-7000-8000-00000000000a"
#define AUDIT_RIG_BATCH 50 /* records at once */
#define AUDIT_RIG_MS    30000

#define AUDIT_COMMAND_TEXT_BYTES 16384
#define AUDIT_COMMAND_ARGS_MAX   12

struct audit_rig {
    struct service_rig service;
    int alerts;    /* that were raised */
    int published; /* records, all of them under a checkpoint */
};

extern struct audit_rig *const audit_rig;

void audit_rig_open(void);
void audit_rig_close(void);
/* A batch of records; `occurred_ms` 0: of today. */
void audit_rig_publish(uint64_t occurred_ms);
/* Asks again and again. */
void audit_rig_until(const char *sql, const char *wanted);
uint64_t audit_rig_random(void); /* its seed is told */

enum audit_environment {
    AUDIT_ENVIRONMENT_EMPTY,
    AUDIT_ENVIRONMENT_FULL,
    AUDIT_ENVIRONMENT_OTHER_KEY /* full, but for the signing key, which is another */
};

/* Ends with NULL as execl(3) does. Starts it; its words go to the file of audit_command_text(). */
pid_t audit_command_start(enum audit_environment given, const char *const *args);
/* Waits for the end; the exit status, 128 and more for a signal. */
int audit_command_wait(pid_t pid);
int audit_command(enum audit_environment given, const char *const *args);
/* What the last one said, in static memory. */
const char *audit_command_text(void);
/* Fails the test unless it said this. */
void audit_command_says(const char *part);
/* --verify with the log's key and no environment at all. */
int audit_command_verify(const char *path);
int audit_command_export(const char *path, const char *from, const char *to);
