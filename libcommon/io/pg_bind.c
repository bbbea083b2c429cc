/* Parameters of one execution: by offset, as libpq wants them. */
#include "libcommon/io/pg_bind.h"

#include "libcommon/base/buf.h"
#include "libcommon/io/pg_array.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

struct writer {
    struct arena *arena;
    struct err *err;
    const char **value;
    int *length;
    char *digits; /* PG_DIGITS_BYTES for this parameter */
    uint32_t type;
};

static const void *at_offset(const void *object, uint32_t offset)
{
    return (const char *)object + offset;
}

static enum code too_large(struct err *err, const struct pg_slot *slot)
{
    return err_set_field(
        err, ERR_TOO_LARGE, slot->name, "The value of %s is too large", slot->name);
}

static void put_signed(struct writer *w, int64_t value)
{
    struct buf b = buf_over(w->digits, PG_DIGITS_BYTES);

    buf_int64(&b, value);
    *w->value = buf_terminate(&b) ? w->digits : NULL;
    assert(*w->value != NULL);
}

static void put_unsigned(struct writer *w, uint64_t value)
{
    struct buf b = buf_over(w->digits, PG_DIGITS_BYTES);

    buf_uint64(&b, value);
    *w->value = buf_terminate(&b) ? w->digits : NULL;
    assert(*w->value != NULL);
}

static enum code put_bytes(struct writer *w, const struct pg_slot *slot, const void *field)
{
    const ProtobufCBinaryData *data = field;

    assert(field != NULL);
    if (data->len > INT_MAX) {
        return too_large(w->err, slot);
    }
    *w->value = data->len == 0 ? "" : (const char *)data->data;
    *w->length = (int)data->len;
    return OK;
}

/* The elements of a repeated field. */
static void text_element(const void *ctx, size_t i, struct pg_element *out)
{
    pg_element_text(out, ((const char *const *)ctx)[i]);
}

static void bytes_element(const void *ctx, size_t i, struct pg_element *out)
{
    pg_element_bytes(out, (const ProtobufCBinaryData *)ctx + i);
}

static void int64_element(const void *ctx, size_t i, struct pg_element *out)
{
    pg_element_int8(out, (uint64_t)((const int64_t *)ctx)[i]);
}

static enum code put_array(struct writer *w, const struct pg_slot *slot, const ProtobufCMessage *in)
{
    struct pg_array array = {
        .oid = w->type,
        .count = *(const size_t *)at_offset(in, slot->quantifier),
        .element = bytes_element,
        .ctx = *(const void *const *)at_offset(in, slot->offset),
    };

    if (slot->kind != PG_KIND_BYTES_ARRAY) {
        array.element = slot->kind == PG_KIND_TEXT_ARRAY ? text_element : int64_element;
    }
    return pg_array_encode(&array, w->arena, w->value, w->length) ? OK : too_large(w->err, slot);
}

bool pg_slot_unset(const struct pg_slot *slot, const ProtobufCMessage *in)
{
    if (slot->has) {
        const protobuf_c_boolean *has = at_offset(in, slot->quantifier);
        return *has == 0;
    }
    if (slot->kind == PG_KIND_TEXT) {
        const char *const *text = at_offset(in, slot->offset);
        return *text == NULL || (const void *)*text == slot->fallback;
    }
    return false;
}

static enum code
bind_field(struct writer *w, const struct pg_slot *slot, const ProtobufCMessage *in)
{
    const void *field = at_offset(in, slot->offset);

    assert(in != NULL);
    if (pg_slot_unset(slot, in)) {
        return OK; /* the value stays NULL */
    }
    switch (slot->kind) {
    case PG_KIND_TEXT:
        *w->value = *(const char *const *)field;
        return OK;
    case PG_KIND_INT32:
        put_signed(w, *(const int32_t *)field);
        return OK;
    case PG_KIND_UINT32:
        put_unsigned(w, *(const uint32_t *)field);
        return OK;
    case PG_KIND_INT64:
        put_signed(w, *(const int64_t *)field);
        return OK;
    case PG_KIND_UINT64:
        put_unsigned(w, *(const uint64_t *)field);
        return OK;
    case PG_KIND_BOOL:
        *w->value = *(const protobuf_c_boolean *)field != 0 ? "t" : "f";
        return OK;
    case PG_KIND_BYTES:
        return put_bytes(w, slot, field);
    case PG_KIND_TEXT_ARRAY:
    case PG_KIND_INT64_ARRAY:
    case PG_KIND_BYTES_ARRAY:
        return put_array(w, slot, in);
    case PG_KIND_NONE:
    case PG_KIND_CONTEXT_TEXT:
    case PG_KIND_CONTEXT_NOW:
    case PG_KIND_COUNT:
        break;
    }
    /* Compiling gives no other kind. */
    abort();
}

static enum code bind_one(struct writer *w,
                          const struct pg_slot *slot,
                          const struct pg_context *context,
                          const ProtobufCMessage *in)
{
    assert(w->value != NULL);
    assert(w->length != NULL);
    *w->value = NULL;
    *w->length = 0;
    if (slot->kind == PG_KIND_CONTEXT_TEXT) {
        *w->value = *(const char *const *)at_offset(context, slot->offset);
        return OK;
    }
    if (slot->kind == PG_KIND_CONTEXT_NOW) {
        put_unsigned(w, context->now_ms);
        return OK;
    }
    assert(in != NULL);
    return bind_field(w, slot, in);
}

/* The contract of the header has seven parameters. NOLINTNEXTLINE(readability-function-size) */
enum code pg_bind_params(const struct pg_plan *plans,
                         uint16_t query,
                         const struct pg_context *context,
                         const ProtobufCMessage *in,
                         struct arena *arena,
                         struct pg_params *out,
                         struct err *err)
{
    const struct pg_query_plan *plan = pg_plan_of(plans, query);
    const size_t count = plan->query->parameter_count;
    struct writer w = {.arena = arena, .err = err};
    const char **values = NULL;
    int *lengths = NULL;

    assert(context != NULL);
    assert(out != NULL);
    assert(in == NULL || in->descriptor == plan->query->in);
    assert(!plan->query->set);
    *out = (struct pg_params){(int)count, NULL, NULL, plan->formats, plan->types};
    if (count == 0) {
        return OK;
    }
    values = arena_alloc(arena, plan->scratch_bytes);
    if (values == NULL) {
        return err_set(err, ERR_TOO_LARGE, "The request needs too much memory");
    }
    lengths = (int *)(void *)(values + count);
    w.digits = (char *)(lengths + count);
    for (size_t i = 0; i < count; i++) {
        w.value = &values[i];
        w.length = &lengths[i];
        w.type = plan->types[i];
        enum code code = bind_one(&w, &plan->params[i], context, in);
        if (code != OK) {
            return code;
        }
        w.digits += PG_DIGITS_BYTES;
    }
    out->values = values;
    out->lengths = lengths;
    return OK;
}
