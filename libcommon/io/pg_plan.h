#pragma once
/*
 * Inside of compiled plans, for the pg_*.c files only: pg_bind.c compiles and fills parameters,
 * pg_row.c checks columns and fills messages. A plan is one block, constant after the columns are
 * known.
 */

#include "libcommon/io/pg_bind.h"

#define PG_DIGITS_BYTES 24 /* any 64-bit integer and NUL */

/* Type numbers of PostgreSQL's catalogue (pg_type.dat); they never change. */
enum pg_oid {
    PG_OID_INFERRED = 0,
    PG_OID_BOOL = 16,
    PG_OID_BYTEA = 17,
    PG_OID_INT8 = 20,
    PG_OID_INT2 = 21,
    PG_OID_INT4 = 23,
    PG_OID_TEXT = 25,
    PG_OID_OID = 26,
    PG_OID_FLOAT4 = 700,
    PG_OID_FLOAT8 = 701,
    PG_OID_MACADDR8 = 774,
    PG_OID_INET = 869,
    PG_OID_BOOL_ARRAY = 1000,
    PG_OID_BYTEA_ARRAY = 1001,
    PG_OID_TEXT_ARRAY = 1009,
    PG_OID_INT8_ARRAY = 1016,
    PG_OID_VARCHAR = 1043,
    PG_OID_DATE = 1082,
    PG_OID_TIME = 1083,
    PG_OID_TIMESTAMP = 1114,
    PG_OID_TIMESTAMPTZ = 1184,
    PG_OID_INTERVAL = 1186,
    PG_OID_NUMERIC = 1700,
    PG_OID_UUID = 2950
};

enum pg_kind {
    PG_KIND_NONE, /* a field type that cannot be bound */
    PG_KIND_TEXT,
    PG_KIND_INT32,
    PG_KIND_UINT32,
    PG_KIND_INT64,
    PG_KIND_UINT64,
    PG_KIND_BOOL,
    PG_KIND_BYTES,
    PG_KIND_TEXT_ARRAY,
    PG_KIND_INT64_ARRAY,
    PG_KIND_BYTES_ARRAY,
    PG_KIND_CONTEXT_TEXT, /* offset into struct pg_context */
    PG_KIND_CONTEXT_NOW,
    PG_KIND_COUNT
};

/* One parameter or column: where its value is inside the message. */
struct pg_slot {
    enum pg_kind kind;
    bool has;      /* a has_x field is at `quantifier` */
    bool required; /* proto `required` */
    uint32_t offset;
    uint32_t quantifier;  /* of has_x or n_x */
    const void *fallback; /* what a string field points to while it is unset */
    const char *name;
};

struct pg_query_plan {
    const struct pg_query *query;
    struct pg_slot *params;
    uint32_t *types;
    int *formats;
    size_t scratch_bytes; /* for values, lengths and digits */
    struct pg_slot *columns;
    uint16_t column_count;
    bool described;
};

struct pg_plan {
    uint16_t count;
    struct pg_query_plan queries[];
};

/* Whether this value of a message is unset, and so NULL. */
bool pg_slot_unset(const struct pg_slot *slot, const ProtobufCMessage *in);
/* The kind of one value of the field, whatever its label. */
enum pg_kind pg_kind_of_field(const ProtobufCFieldDescriptor *field);
/* The types to declare when the statement is prepared; one per parameter. */
const uint32_t *pg_plan_types(const struct pg_plan *plans, uint16_t query);
const struct pg_query_plan *pg_plan_of(const struct pg_plan *plans, uint16_t query);
