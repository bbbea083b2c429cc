/* Compiles the names in query tables to offsets, once, at start. */
#include "libcommon/io/pg_plan.h"

#include "libcommon/base/limits.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define FIELD_PREFIX   "in_"
#define CONTEXT_PREFIX "ctx_"

_Static_assert(sizeof(struct pg_slot) % sizeof(void *) == 0, "slots may follow one another");

/* --- names to offsets ---------------------------------------------------------- */

static const struct {
    const char *name;
    enum pg_kind kind;
    uint32_t offset;
} reserved[] = {
    {"user_id",    PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, user_id)   },
    {"actor_id",   PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, actor_id)  },
    {"session_id", PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, session_id)},
    {"role",       PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, role)      },
    {"request_id", PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, request_id)},
    {"client_ip",  PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, client_ip) },
    {"user_agent", PG_KIND_CONTEXT_TEXT, offsetof(struct pg_context, user_agent)},
    {"now_ms",     PG_KIND_CONTEXT_NOW,  offsetof(struct pg_context, now_ms)    },
};

static const enum pg_kind field_kinds[] = {
    [PROTOBUF_C_TYPE_INT32] = PG_KIND_INT32,
    [PROTOBUF_C_TYPE_SINT32] = PG_KIND_INT32,
    [PROTOBUF_C_TYPE_SFIXED32] = PG_KIND_INT32,
    [PROTOBUF_C_TYPE_INT64] = PG_KIND_INT64,
    [PROTOBUF_C_TYPE_SINT64] = PG_KIND_INT64,
    [PROTOBUF_C_TYPE_SFIXED64] = PG_KIND_INT64,
    [PROTOBUF_C_TYPE_UINT32] = PG_KIND_UINT32,
    [PROTOBUF_C_TYPE_FIXED32] = PG_KIND_UINT32,
    [PROTOBUF_C_TYPE_UINT64] = PG_KIND_UINT64,
    [PROTOBUF_C_TYPE_FIXED64] = PG_KIND_UINT64,
    [PROTOBUF_C_TYPE_BOOL] = PG_KIND_BOOL,
    [PROTOBUF_C_TYPE_STRING] = PG_KIND_TEXT,
    [PROTOBUF_C_TYPE_BYTES] = PG_KIND_BYTES,
    [PROTOBUF_C_TYPE_MESSAGE] = PG_KIND_NONE,
};

static const struct {
    uint32_t oid;
    int format; /* 1: binary */
} wire_types[PG_KIND_COUNT] = {
    [PG_KIND_BYTES] = {PG_OID_BYTEA,       1},
    [PG_KIND_TEXT_ARRAY] = {PG_OID_TEXT_ARRAY,  1},
    [PG_KIND_INT64_ARRAY] = {PG_OID_INT8_ARRAY,  1},
    [PG_KIND_BYTES_ARRAY] = {PG_OID_BYTEA_ARRAY, 1},
};

/* Of set statements: arrays with one element per request. */
static const uint32_t set_oids[PG_KIND_COUNT] = {
    [PG_KIND_TEXT] = PG_OID_TEXT_ARRAY,
    [PG_KIND_INT32] = PG_OID_INT8_ARRAY,
    [PG_KIND_UINT32] = PG_OID_INT8_ARRAY,
    [PG_KIND_INT64] = PG_OID_INT8_ARRAY,
    [PG_KIND_UINT64] = PG_OID_TEXT_ARRAY /* digits: not all fit an int8 */,
    [PG_KIND_BOOL] = PG_OID_BOOL_ARRAY,
    [PG_KIND_BYTES] = PG_OID_BYTEA_ARRAY,
    [PG_KIND_CONTEXT_TEXT] = PG_OID_TEXT_ARRAY,
    [PG_KIND_CONTEXT_NOW] = PG_OID_INT8_ARRAY,
};

enum pg_kind pg_kind_of_field(const ProtobufCFieldDescriptor *field)
{
    assert(field != NULL);
    if ((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) != 0 ||
        (size_t)field->type >= ARRAY_LEN(field_kinds)) {
        return PG_KIND_NONE;
    }
    return field_kinds[field->type];
}

static enum pg_kind parameter_kind(const ProtobufCFieldDescriptor *field)
{
    enum pg_kind kind = pg_kind_of_field(field);

    if (field->label != PROTOBUF_C_LABEL_REPEATED) {
        return kind;
    }
    if (kind == PG_KIND_TEXT) {
        return PG_KIND_TEXT_ARRAY;
    }
    if (kind == PG_KIND_INT64) {
        return PG_KIND_INT64_ARRAY;
    }
    return kind == PG_KIND_BYTES ? PG_KIND_BYTES_ARRAY : PG_KIND_NONE;
}

static const ProtobufCFieldDescriptor *
find_field(const ProtobufCMessageDescriptor *in, const char *name, bool *out_exact)
{
    const ProtobufCFieldDescriptor *field = NULL;
    const size_t prefix = sizeof(FIELD_PREFIX) - 1;

    assert(name != NULL);
    assert(out_exact != NULL);
    *out_exact = true;
    if (in == NULL) {
        return NULL;
    }
    field = protobuf_c_message_descriptor_get_field_by_name(in, name);
    if (field == NULL && strncmp(name, FIELD_PREFIX, prefix) == 0) {
        *out_exact = false;
        field = protobuf_c_message_descriptor_get_field_by_name(in, name + prefix);
    }
    return field;
}

static bool compile_reserved(struct pg_slot *slot)
{
    const size_t prefix = sizeof(CONTEXT_PREFIX) - 1;
    const bool plain = strncmp(slot->name, CONTEXT_PREFIX, prefix) != 0;
    const char *name = plain ? slot->name : slot->name + prefix;

    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (strcmp(reserved[i].name, name) == 0) {
            slot->kind = reserved[i].kind;
            slot->offset = reserved[i].offset;
            return true;
        }
    }
    return false;
}

/* Whoever wrote it thought of one of the two; guessing would be wrong half of the time. */
static enum code
ambiguous(const struct pg_query *query, const struct pg_slot *slot, struct err *err)
{
    assert(query->in != NULL);
    return err_set_field(err,
                         ERR_INTERNAL,
                         slot->name,
                         "query %s: :%s is reserved and a field of %s: write :" CONTEXT_PREFIX
                         "%s or :" FIELD_PREFIX "%s",
                         query->name,
                         slot->name,
                         query->in->name,
                         slot->name,
                         slot->name);
}

static enum code
compile_parameter(const struct pg_query *query, struct pg_slot *slot, struct err *err)
{
    const ProtobufCFieldDescriptor *field = NULL;
    bool exact = true;

    assert(slot->name != NULL);
    field = find_field(query->in, slot->name, &exact);
    if (compile_reserved(slot)) {
        return field == NULL || !exact ? OK : ambiguous(query, slot, err);
    }
    if (field == NULL) {
        return err_set_field(err,
                             ERR_INTERNAL,
                             slot->name,
                             "query %s: parameter :%s is neither a field of %s nor reserved",
                             query->name,
                             slot->name,
                             query->in == NULL ? "its message (it has none)" : query->in->name);
    }
    slot->kind = parameter_kind(field);
    if (slot->kind == PG_KIND_NONE || (query->set && set_oids[slot->kind] == PG_OID_INFERRED)) {
        return err_set_field(err,
                             ERR_INTERNAL,
                             slot->name,
                             "query %s: field %s of %s has a type that cannot be a parameter",
                             query->name,
                             field->name,
                             query->in->name);
    }
    slot->required = field->label == PROTOBUF_C_LABEL_REQUIRED;
    slot->offset = field->offset;
    slot->quantifier = field->quantifier_offset;
    slot->has = field->label == PROTOBUF_C_LABEL_OPTIONAL && slot->kind != PG_KIND_TEXT;
    slot->fallback = field->label == PROTOBUF_C_LABEL_OPTIONAL ? field->default_value : NULL;
    return OK;
}

static enum code compile_query(struct pg_query_plan *plan, struct err *err)
{
    const struct pg_query *query = plan->query;
    size_t digits = 0;

    assert(query->name != NULL);
    assert(query->text != NULL);
    if (query->parameter_count > PG_PARAMETERS_MAX) {
        return err_set(err,
                       ERR_INTERNAL,
                       "query %s: %u parameters, at most %d are supported",
                       query->name,
                       (unsigned)query->parameter_count,
                       PG_PARAMETERS_MAX);
    }
    for (uint16_t i = 0; i < query->parameter_count; i++) {
        plan->params[i].name = query->parameters[i];
        enum code code = compile_parameter(query, &plan->params[i], err);
        if (code != OK) {
            return code;
        }
        enum pg_kind kind = plan->params[i].kind;
        plan->types[i] = query->set ? set_oids[kind] : wire_types[kind].oid;
        plan->formats[i] = query->set ? 1 : wire_types[kind].format;
        digits += PG_DIGITS_BYTES;
    }
    plan->scratch_bytes =
        digits + (size_t)query->parameter_count * (sizeof(const char *) + sizeof(int));
    return OK;
}

/* --- plans as one block -------------------------------------------------------- */

static size_t column_limit(const struct pg_query *query)
{
    return query->out == NULL ? 0 : query->out->n_fields + (query->set ? 1 : 0);
}

static size_t block_bytes(const struct pg_query_table *table)
{
    size_t bytes = sizeof(struct pg_plan) + (size_t)table->count * sizeof(struct pg_query_plan);

    for (uint16_t i = 0; i < table->count; i++) {
        const struct pg_query *query = &table->queries[i];
        const size_t params = query->parameter_count;
        bytes += (params + column_limit(query)) * sizeof(struct pg_slot);
        bytes += params * (sizeof(uint32_t) + sizeof(int));
    }
    return bytes;
}

/* Slots first, then the 32-bit arrays, so that everything is aligned. */
static void carve_block(struct pg_plan *plans, const struct pg_query_table *table)
{
    struct pg_slot *slots = (struct pg_slot *)(void *)&plans->queries[table->count];
    uint32_t *types = NULL;

    assert(plans->count == table->count);
    for (uint16_t i = 0; i < table->count; i++) {
        struct pg_query_plan *plan = &plans->queries[i];
        plan->query = &table->queries[i];
        plan->params = slots;
        slots += plan->query->parameter_count;
        plan->columns = slots;
        slots += column_limit(plan->query);
    }
    types = (uint32_t *)(void *)slots;
    for (uint16_t i = 0; i < table->count; i++) {
        struct pg_query_plan *plan = &plans->queries[i];
        plan->types = types;
        types += plan->query->parameter_count;
        plan->formats = (int *)(void *)types;
        types += plan->query->parameter_count;
    }
}

enum code pg_plans_open(const struct pg_query_table *table, struct pg_plan **out, struct err *err)
{
    struct pg_plan *plans = NULL;

    assert(table != NULL);
    assert(out != NULL);
    *out = NULL;
    plans = calloc(1, block_bytes(table));
    if (plans == NULL) {
        return err_set(err, ERR_OVERLOADED, "no memory for %u query plans", (unsigned)table->count);
    }
    plans->count = table->count;
    carve_block(plans, table);
    for (uint16_t i = 0; i < table->count; i++) {
        enum code code = compile_query(&plans->queries[i], err);
        if (code != OK) {
            free(plans);
            return code;
        }
    }
    *out = plans;
    return OK;
}

void pg_plans_close(struct pg_plan **plans)
{
    assert(plans != NULL);
    free(*plans);
    *plans = NULL;
}

const struct pg_query_plan *pg_plan_of(const struct pg_plan *plans, uint16_t query)
{
    assert(plans != NULL);
    assert(query < plans->count);
    return &plans->queries[query];
}

const uint32_t *pg_plan_types(const struct pg_plan *plans, uint16_t query)
{
    return pg_plan_of(plans, query)->types;
}
