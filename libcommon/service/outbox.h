#pragma once
/*
 * Writing to the outbox: events and audit records of all members of a group commit become rows in
 * the same transaction. The relay (relay.h) publishes them afterwards. A row is a pack
 * (avanta.Records): consecutive records of a stream that have the same subject share one, since a
 * message costs the database and the stream more than what is in it.
 */

#include "libcommon/service/req_internal.h"

#define OUTBOX_ROWS_MAX         4096                 /* in one statement */
#define OUTBOX_PACK_RECORDS_MAX 64                   /* in one row */
#define OUTBOX_PACK_BYTES_MAX   ((size_t)128 * 1024) /* of records in one row, or one record */
#define OUTBOX_BYTES_MAX \
    ((size_t)4 * 1024 * 1024) /* of bodies in one statement, give or take one row */

/* Where the rows go: a transaction under way, and memory for them. */
struct outbox_target {
    const struct database *database;
    struct pg_conn *conn;
    struct arena *arena;
};

/* Which row it is. The time tells it from a row that has the same id in a restored database. */
struct outbox_number {
    int64_t id;
    int64_t written_ms;
};

/* What a transaction put into the outbox, for publishing it as soon as it is committed: in the
 * target's arena. */
struct outbox_rows {
    size_t count; /* 0: nothing, or more than one statement took */
    char **subjects;
    const ProtobufCBinaryData *bodies;
    struct outbox_number *numbers; /* by outbox_take_numbers() */
    bool numbered;                 /* the database has said them */
};

/* Queues the members' records in their order; several statements only beyond the bounds. `service`
 * names the audit subject. The database's answer comes with `rows` as its tag. */
enum code outbox_write(const struct outbox_target *target,
                       const char *service,
                       const struct list *members,
                       struct outbox_rows *rows,
                       size_t *out_records,
                       struct err *err) MUST_CHECK;
/* Takes the numbers from the answer to the statement. */
void outbox_take_numbers(const struct outbox_target *target,
                         struct outbox_rows *rows,
                         const struct pg_result *result);
/* The request has records to write, given its verdict. */
bool outbox_wants(const struct req *r);
