#pragma once
/*
 * A toy service: rows with a unique name per user and a positive amount. Run by test_service.c on
 * real servers and, operation by operation, by the runner's unit tests on fakes. What an operation
 * does beyond the plain is told by the name in its request.
 */

#include "tests/toy.pb-c.h"

#include "libcommon/service/service.h"

enum toy_query {
    TOY_INSERT, /* one row; gives it back */
    TOY_SELECT, /* rows with a prefix */
    TOY_FIND,   /* the row of a name, locked */
    TOY_UPDATE, /* sets the amount of a row */
    TOY_SEEN,   /* a consumer's note of a message */
    TOY_SLEEP,
    TOY_INSERT_SET, /* the rows of many requests; none for the name TOY_UNKNOWN */
    TOY_QUERY_COUNT
};

enum toy_op {
    TOY_ADD,    /* write, one statement, an event */
    TOY_MOVE,   /* write, two statements: find, update */
    TOY_LIST,   /* read */
    TOY_SECRET, /* read, admins only */
    TOY_HASH,   /* write with work on a thread between two statements */
    TOY_NAP,    /* read that takes `amount` milliseconds */
    TOY_PING,   /* write that ends without a statement */
    TOY_JOIN,   /* TOY_ADD by a set statement */
    TOY_TOUCH,  /* write that locks a row, one statement */
    TOY_BULK,   /* the same, heavy */
    TOY_EXPORT, /* TOY_LIST, heavy */
    TOY_MARK,   /* TOY_TOUCH, which leaves its record to the runner */
    TOY_SIGN,   /* find and work before the transaction, then insert */
    TOY_OP_COUNT
};

/* Names with a meaning for TOY_ADD. */
#define TOY_REFUSED      "refused"      /* refused before any statement */
#define TOY_REFUSED_LATE "refused-late" /* refused after the row was inserted */
#define TOY_AUDITED      "audited"      /* refused before any statement, with an audit record */
#define TOY_UNKNOWN      "unknown"      /* TOY_JOIN: refused, since it has no row */
#define TOY_BROADCAST    "broadcast"    /* publishes ctl.toy after the commit */

extern const struct op_row toy_ops[TOY_OP_COUNT];
extern const struct service toy_service;
