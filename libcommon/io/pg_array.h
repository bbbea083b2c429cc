#pragma once
/*
 * One-dimensional arrays as array_recv() of the server reads them, for the pg_bind*.c files only.
 * The elements are asked for twice, for their length and for their bytes; the array is a block of
 * the arena.
 */

#include "libcommon/io/pg_plan.h"

/* One value in wire form; `bytes` may point to `number`, which holds an integer or its digits. */
struct pg_element {
    struct str bytes; /* ptr NULL: SQL NULL */
    unsigned char number[PG_DIGITS_BYTES];
};

void pg_element_text(struct pg_element *out, const char *text); /* NULL: SQL NULL */
void pg_element_bytes(struct pg_element *out, const ProtobufCBinaryData *data);
void pg_element_int8(struct pg_element *out, uint64_t value); /* two's complement */

struct pg_array {
    uint32_t oid; /* of the array's type: PG_OID_TEXT_ARRAY and its like */
    size_t count;
    void (*element)(const void *ctx, size_t i, struct pg_element *out);
    const void *ctx;
};

/* False: the arena is full, or the array is longer than the protocol can say. */
bool pg_array_encode(const struct pg_array *array,
                     struct arena *arena,
                     const char **out_value,
                     int *out_length) MUST_CHECK;
