/* Parameters of a set statement: for each of them one binary array over all requests. */
#include "libcommon/base/buf.h"
#include "libcommon/base/limits.h"
#include "libcommon/io/pg_array.h"

#include <assert.h>
#include <stdlib.h>

static const void *at_offset(const void *object, uint32_t offset)
{
    return (const char *)object + offset;
}

static void
set_field(struct pg_element *out, const struct pg_slot *slot, const ProtobufCMessage *in)
{
    const void *field = at_offset(in, slot->offset);

    if (pg_slot_unset(slot, in)) {
        pg_element_text(out, NULL);
        return;
    }
    switch (slot->kind) {
    case PG_KIND_TEXT:
        pg_element_text(out, *(const char *const *)field);
        return;
    case PG_KIND_INT32:
        pg_element_int8(out, (uint64_t)(int64_t) * (const int32_t *)field);
        return;
    case PG_KIND_UINT32:
        pg_element_int8(out, *(const uint32_t *)field);
        return;
    case PG_KIND_INT64:
        pg_element_int8(out, (uint64_t) * (const int64_t *)field);
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
    case PG_KIND_BYTES:
        pg_element_bytes(out, field);
        return;
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

/* One parameter of all requests. */
struct row {
    const struct pg_slot *slot;
    const struct pg_member_list *list;
};

static void set_element(const void *ctx, size_t i, struct pg_element *out)
{
    const struct row *row = ctx;
    const struct pg_slot *slot = row->slot;
    const struct pg_member *member = &row->list->members[i];

    assert(i < row->list->count);
    if (slot->kind == PG_KIND_CONTEXT_TEXT) {
        pg_element_text(out, *(const char *const *)at_offset(member->context, slot->offset));
    } else if (slot->kind == PG_KIND_CONTEXT_NOW) {
        pg_element_int8(out, member->context->now_ms);
    } else {
        assert(member->in != NULL);
        set_field(out, slot, member->in);
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
    assert(out != NULL);
    for (size_t i = 0; i < count && values != NULL && lengths != NULL; i++) {
        struct row row = {&plan->params[i], list};
        struct pg_array array = {plan->types[i], list->count, set_element, &row};
        if (!pg_array_encode(&array, arena, &values[i], &lengths[i])) {
            return err_set_field(err,
                                 ERR_TOO_LARGE,
                                 row.slot->name,
                                 "The values of %s are too large",
                                 row.slot->name);
        }
    }
    if (values == NULL || lengths == NULL) {
        return err_set(err, ERR_TOO_LARGE, "The requests need too much memory");
    }
    *out = (struct pg_params){(int)count, values, lengths, plan->formats, plan->types};
    return OK;
}
