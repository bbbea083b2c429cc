#pragma once
/*
 * What a service's transactions put into its outbox, kept in the test's database by a trigger
 * before the relay takes it away. One at a time; single-threaded; failures fail the test.
 */

#include "avanta/common.pb-c.h"

#include <stdbool.h>
#include <stddef.h>

#define TRAIL_RECORDS_MAX 512

struct trail {
    void *conn;                                      /* as superuser */
    Avanta__AuditRecord *records[TRAIL_RECORDS_MAX]; /* since the last trail_read() but one */
    size_t count;
};

/* From now on everything is kept. */
void trail_open(struct trail *trail, const char *dsn);
void trail_close(struct trail *trail);
/* The audit records written since the last call, in their order; how many. */
size_t trail_read(struct trail *trail);
/* The only one of these read that says so; fails when there is none or another. */
const Avanta__AuditRecord *
trail_one(const struct trail *trail, const char *action, const char *entity, const char *entity_id);
/* "after.name" of a JSON text: a string as it is, anything else as JSON, "" when it is not there.
 * The next four calls leave it as it is. */
const char *trail_value(const char *json, const char *path);
/* Some event or audit record since trail_open() holds this text. */
bool trail_tells(struct trail *trail, const char *text);
