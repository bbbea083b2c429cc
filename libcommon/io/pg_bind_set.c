/* Parameters of a set statement: for each of them one binary array over all requests. */
#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/pg_bind.h"
#include "libcommon/io/pg_plan.h"

#include <arpa/inet.h>
#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define ARRAY_HEAD_BYTES 20 /* dimensions, nulls, element type, size, lower bound */
#define LENGTH_BYTES     4
#define LENGTH_NULL      UINT32_MAX

/* One value in wire form; `bytes` may point to `number`, which holds an integer or its digits. */
struct element {
    struct str bytes; /* ptr NULL: SQL NULL */
    unsigned char number[PG_DIGITS_BYTES];
};

static const void *at_offset(const void *object, uint32_t offset)
{
    return (const char *)object + offset;
}

static char *put_be32(char *at, uint32_t value)
{
    const uint32_t wire = htonl(value);

    memcpy(at, &wire, sizeof(wire));
    return at + sizeof(wire);
}

static void set_number(struct element *out, uint64_t value)
{
    for (size_t i = 0; i < sizeof(value); i++) {
        out->number[i] = (unsigned char)(value >> (8 * (sizeof(value) - 1 - i)));
    }
    out->bytes = (struct str){(const char *)out->number, sizeof(value)};
}

static void set_text(struct element *out, const char *text)
{
    out->bytes = text == NULL ? (struct str){NULL, 0} : str_from(text);
}

static void set_field(struct element *out, const struct pg_slot *slot, const ProtobufCMessage *in)
{
    const void *field = at_offset(in, slot->offset);

    if (pg_slot_unset(slot, in)) {
        set_text(out, NULL);
        return;
    }
    switch (slot->kind) {
    case PG_KIND_TEXT:
        set_text(out, *(const char *const *)field);
        return;
    case PG_KIND_INT32:
        set_number(out, (uint64_t)(int64_t) * (const int32_t *)field);
        return;
    case PG_KIND_UINT32:
        set_number(out, *(const uint32_t *)field);
        return;
    case PG_KIND_INT64:
        set_number(out, (uint64_t) * (const int64_t *)field);
        return;
    case PG_KIND_UINT64: {
        struct buf digits = buf_over(out->number, sizeof(out->number));
        buf_uint64(&digits, *(const uint64_t *)field);
        assert(!digits.overflow);
        out->bytes = (struct str){(const char *)out->number, digits.len};
        return;
    }
    case PG_KIND_BOOL:
        out->number[0] = *(const protobuf_c_boolean *)field != 0 ? 1 : 0;
        out->bytes = (struct str){(const char *)out->number, 1};
        return;
    case PG_KIND_BYTES: {
        const ProtobufCBinaryData *data = field;
        out->bytes = (struct str){data->len == 0 ? "" : (const char *)data->data, data->len};
        return;
    }
    case PG_KIND_NONE:
    case PG_KIND_TEXT_ARRAY:
    case PG_KIND_INT64_ARRAY:
    case PG_KIND_BYTES_ARRAY:
    case PG_KIND_CONTEXT_TEXT:
    case PG_KIND_CONTEXT_NOW:
    case PG_KIND_COUNT:
        break;
    }
    /* Compiling gives no other kind. */
    abort();
}

static void
set_element(struct element *out, const struct pg_slot *slot, const struct pg_member *member)
{
    if (slot->kind == PG_KIND_CONTEXT_TEXT) {
        set_text(out, *(const char *const *)at_offset(member->context, slot->offset));
    } else if (slot->kind == PG_KIND_CONTEXT_NOW) {
        set_number(out, member->context->now_ms);
    } else {
        assert(member->in != NULL);
        set_field(out, slot, member->in);
    }
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

struct array {
    const struct pg_slot *slot;
    uint32_t oid;
    const struct pg_member_list *list;
};

static size_t array_bytes(const struct array *array, bool *out_nulls)
{
    size_t bytes = ARRAY_HEAD_BYTES;
    struct element element = {0};

    assert(array->oid != PG_OID_INFERRED);
    *out_nulls = false;
    for (size_t i = 0; i < array->list->count; i++) {
        set_element(&element, array->slot, &array->list->members[i]);
        bytes += LENGTH_BYTES + element.bytes.len;
        *out_nulls = *out_nulls || element.bytes.ptr == NULL;
    }
    return bytes;
}

/* array_recv() of the server reads this. */
static void array_write(const struct array *array, bool nulls, char *at)
{
    struct element element = {0};

    assert(array->list->count <= PG_BATCH_MAX);
    at = put_be32(at, 1);
    at = put_be32(at, nulls ? 1 : 0);
    at = put_be32(at, element_oid(array->oid));
    at = put_be32(at, (uint32_t)array->list->count);
    at = put_be32(at, 1);
    for (size_t i = 0; i < array->list->count; i++) {
        set_element(&element, array->slot, &array->list->members[i]);
        if (element.bytes.ptr == NULL) {
            at = put_be32(at, LENGTH_NULL);
            continue;
        }
        at = put_be32(at, (uint32_t)element.bytes.len);
        memcpy(at, element.bytes.ptr, element.bytes.len);
        at += element.bytes.len;
    }
}

enum code pg_bind_set(const struct pg_plan *plans,
                      uint16_t query,
                      const struct pg_member_list *list,
                      struct arena *arena,
                      struct pg_params *out,
                      struct err *err)
{
    const struct pg_query_plan *plan = pg_plan_of(plans, query);
    const size_t count = plan->query->parameter_count;
    const char **values = arena_alloc(arena, count * sizeof(*values));
    int *lengths = arena_alloc(arena, count * sizeof(*lengths));

    assert(plan->query->set);
    assert(list->count > 0);
    assert(list->count <= PG_BATCH_MAX);
    for (size_t i = 0; i < count && values != NULL && lengths != NULL; i++) {
        struct array array = {&plan->params[i], plan->types[i], list};
        bool nulls = false;
        size_t bytes = array_bytes(&array, &nulls);
        char *block = bytes > INT_MAX ? NULL : arena_alloc(arena, bytes);
        if (block == NULL) {
            return err_set_field(err,
                                 ERR_TOO_LARGE,
                                 array.slot->name,
                                 "The values of %s are too large",
                                 array.slot->name);
        }
        array_write(&array, nulls, block);
        values[i] = block;
        lengths[i] = (int)bytes;
    }
    if (values == NULL || lengths == NULL) {
        return err_set(err, ERR_TOO_LARGE, "The requests need too much memory");
    }
    *out = (struct pg_params){(int)count, values, lengths, plan->formats, plan->types};
    return OK;
}
