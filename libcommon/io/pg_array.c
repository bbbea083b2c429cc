#include "libcommon/io/pg_array.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define HEAD_BYTES   20 /* dimensions, nulls, element type, size, lower bound */
#define LENGTH_BYTES 4
#define LENGTH_NULL  UINT32_MAX

_Static_assert(sizeof(int) == sizeof(int32_t), "libpq's lengths are 32-bit");

void pg_element_text(struct pg_element *out, const char *text)
{
    out->bytes = text == NULL ? (struct str){NULL, 0} : str_from(text);
}

void pg_element_bytes(struct pg_element *out, const ProtobufCBinaryData *data)
{
    out->bytes = (struct str){data->len == 0 ? "" : (const char *)data->data, data->len};
}

void pg_element_int8(struct pg_element *out, uint64_t value)
{
    for (size_t i = 0; i < sizeof(value); i++) {
        out->number[i] = (unsigned char)(value >> (8 * (sizeof(value) - 1 - i)));
    }
    out->bytes = (struct str){(const char *)out->number, sizeof(value)};
}

static uint32_t element_oid(uint32_t array_oid)
{
    static const uint32_t pairs[][2] = {
        {PG_OID_TEXT_ARRAY,  PG_OID_TEXT },
        {PG_OID_INT8_ARRAY,  PG_OID_INT8 },
        {PG_OID_BOOL_ARRAY,  PG_OID_BOOL },
        {PG_OID_BYTEA_ARRAY, PG_OID_BYTEA},
    };

    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        if (pairs[i][0] == array_oid) {
            return pairs[i][1];
        }
    }
    /* Compiling gives no other type. */
    abort();
}

static size_t measure(const struct pg_array *array, bool *out_nulls)
{
    size_t bytes = HEAD_BYTES;
    struct pg_element element = {0};

    assert(out_nulls != NULL);
    *out_nulls = false;
    for (size_t i = 0; i < array->count; i++) {
        array->element(array->ctx, i, &element);
        bytes += LENGTH_BYTES + element.bytes.len;
        *out_nulls = *out_nulls || element.bytes.ptr == NULL;
    }
    return bytes;
}

static char *put_be32(char *at, uint32_t value)
{
    const uint32_t wire = htonl(value);

    assert(at != NULL);
    memcpy(at, &wire, sizeof(wire));
    return at + sizeof(wire);
}

/* An empty array has no dimension at all. */
static char *put_head(const struct pg_array *array, bool nulls, char *at)
{
    at = put_be32(at, array->count == 0 ? 0 : 1);
    at = put_be32(at, nulls ? 1 : 0);
    at = put_be32(at, element_oid(array->oid));
    if (array->count > 0) {
        at = put_be32(at, (uint32_t)array->count);
        at = put_be32(at, 1);
    }
    return at;
}

static char *put_element(const struct pg_element *element, char *at)
{
    if (element->bytes.ptr == NULL) {
        return put_be32(at, LENGTH_NULL);
    }
    at = put_be32(at, (uint32_t)element->bytes.len);
    memcpy(at, element->bytes.ptr, element->bytes.len);
    return at + element->bytes.len;
}

bool pg_array_encode(const struct pg_array *array,
                     struct arena *arena,
                     const char **out_value,
                     int *out_length)
{
    bool nulls = false;
    size_t bytes = measure(array, &nulls);
    char *block = bytes > INT_MAX ? NULL : arena_alloc(arena, bytes);
    char *at = block;
    struct pg_element element = {0};

    assert(array->oid != PG_OID_INFERRED);
    if (block == NULL) {
        return false;
    }
    at = put_head(array, nulls, at);
    for (size_t i = 0; i < array->count; i++) {
        array->element(array->ctx, i, &element);
        at = put_element(&element, at);
    }
    assert((size_t)(at - block) <= bytes);
    *out_value = block;
    *out_length = (int)(at - block);
    return true;
}
