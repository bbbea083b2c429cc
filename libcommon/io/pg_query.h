#pragma once
/* The tables that libcommon/tools/sqlgen writes from *.sql: constant, thread-safe. */

#include <protobuf-c/protobuf-c.h>

#include <stdbool.h>
#include <stdint.h>

/* One statement. Parameter names are fields of `in` or reserved names of the request context. A
 * set statement answers for many requests at once: every parameter is an array with one element per
 * request, and the first column, `place`, tells from 1 whose row it is, in rising order. */
struct pg_query {
    const char *name;
    const char *text; /* $n form */
    const char *const *parameters;
    uint16_t parameter_count;
    const ProtobufCMessageDescriptor *in;  /* NULL: none */
    const ProtobufCMessageDescriptor *out; /* NULL: no columns are read */
    bool set;
};

/* Several tables joined: a statement is named by its table and its index there. */
struct pg_query_table {
    const struct pg_query *queries;
    uint16_t count;
};

/* One forward-only migration step, numbered from 1 without gaps. */
struct pg_migration {
    uint32_t number;
    const char *name;
    const char *text;
};
