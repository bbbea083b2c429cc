/* Results: columns checked against a message once, rows filled by offset. */
#include "libcommon/base/limits.h"
#include "libcommon/codec/transcode.h"
#include "libcommon/io/pg_libpq.h"
#include "libcommon/io/pg_plan.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define PLACE "place"

/* --- at start: do the statement and the messages fit? --------------------------- */

static bool oid_in(uint32_t oid, const uint32_t *list, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (list[i] == oid) {
            return true;
        }
    }
    return false;
}

/* Types whose input function refuses the text we send for the kind. Everything else is let through:
 * domains and enumerations have numbers of their own. */
static bool parameter_fits(enum pg_kind kind, uint32_t oid)
{
    static const uint32_t never_digits[] = {PG_OID_BOOL,
                                            PG_OID_BYTEA,
                                            PG_OID_UUID,
                                            PG_OID_DATE,
                                            PG_OID_TIME,
                                            PG_OID_TIMESTAMP,
                                            PG_OID_TIMESTAMPTZ,
                                            PG_OID_INET};
    static const uint32_t numbers[] = {PG_OID_INT2,
                                       PG_OID_INT4,
                                       PG_OID_INT8,
                                       PG_OID_OID,
                                       PG_OID_FLOAT4,
                                       PG_OID_FLOAT8,
                                       PG_OID_NUMERIC,
                                       PG_OID_INTERVAL};

    switch (kind) {
    case PG_KIND_INT32:
    case PG_KIND_UINT32:
    case PG_KIND_INT64:
    case PG_KIND_UINT64:
    case PG_KIND_CONTEXT_NOW:
        return !oid_in(oid, never_digits, ARRAY_LEN(never_digits));
    case PG_KIND_BOOL:
        return oid == PG_OID_BOOL || (!oid_in(oid, never_digits, ARRAY_LEN(never_digits)) &&
                                      !oid_in(oid, numbers, ARRAY_LEN(numbers)));
    case PG_KIND_TEXT:
    case PG_KIND_CONTEXT_TEXT:
        return oid != PG_OID_BYTEA;
    case PG_KIND_BYTES:
    case PG_KIND_TEXT_ARRAY:
    case PG_KIND_INT64_ARRAY:
    case PG_KIND_BYTES_ARRAY: /* declared by us when the statement was prepared */
    case PG_KIND_NONE:
    case PG_KIND_COUNT:
        break;
    }
    return true;
}

static enum code
check_parameters(const struct pg_query_plan *plan, const PGresult *described, struct err *err)
{
    const struct pg_query *query = plan->query;

    if (PQnparams(described) != query->parameter_count) {
        return err_set(err,
                       ERR_INTERNAL,
                       "query %s: the text has %d parameters, its table row %u",
                       query->name,
                       PQnparams(described),
                       (unsigned)query->parameter_count);
    }
    for (uint16_t i = 0; i < query->parameter_count; i++) {
        const uint32_t oid = PQparamtype(described, i);
        if (!query->set && !parameter_fits(plan->params[i].kind, oid)) {
            return err_set_field(err,
                                 ERR_INTERNAL,
                                 plan->params[i].name,
                                 "query %s: :%s does not fit the parameter's type (oid %u)",
                                 query->name,
                                 plan->params[i].name,
                                 oid);
        }
    }
    return OK;
}

static bool column_fits(enum pg_kind kind, uint32_t oid)
{
    switch (kind) {
    case PG_KIND_TEXT:
        return true;
    case PG_KIND_INT32:
    case PG_KIND_UINT32:
    case PG_KIND_INT64:
    case PG_KIND_UINT64:
        return oid == PG_OID_INT2 || oid == PG_OID_INT4 || oid == PG_OID_INT8 || oid == PG_OID_OID;
    case PG_KIND_BOOL:
        return oid == PG_OID_BOOL;
    case PG_KIND_BYTES:
        return oid == PG_OID_BYTEA;
    case PG_KIND_NONE:
    case PG_KIND_TEXT_ARRAY:
    case PG_KIND_INT64_ARRAY:
    case PG_KIND_BYTES_ARRAY:
    case PG_KIND_CONTEXT_TEXT:
    case PG_KIND_CONTEXT_NOW:
    case PG_KIND_COUNT:
        break;
    }
    return false;
}

static enum code learn_column(const struct pg_query *query,
                              const PGresult *described,
                              int column,
                              struct pg_slot *out,
                              struct err *err)
{
    const char *name = PQfname(described, column);
    const ProtobufCFieldDescriptor *field =
        protobuf_c_message_descriptor_get_field_by_name(query->out, name);

    if (field == NULL) {
        return err_set_field(err,
                             ERR_INTERNAL,
                             name,
                             "query %s: column %s is not a field of %s",
                             query->name,
                             name,
                             query->out->name);
    }
    *out = (struct pg_slot){.kind = pg_kind_of_field(field),
                            .has = field->label == PROTOBUF_C_LABEL_OPTIONAL,
                            .required = field->label == PROTOBUF_C_LABEL_REQUIRED,
                            .offset = field->offset,
                            .quantifier = field->quantifier_offset,
                            .name = field->name};
    if (field->label == PROTOBUF_C_LABEL_REPEATED ||
        !column_fits(out->kind, PQftype(described, column))) {
        return err_set_field(err,
                             ERR_INTERNAL,
                             name,
                             "query %s: the type of column %s (oid %u) does not fit %s.%s%s",
                             query->name,
                             name,
                             PQftype(described, column),
                             query->out->name,
                             field->name,
                             PQftype(described, column) == PG_OID_NUMERIC ? ": cast it to bigint"
                                                                          : "");
    }
    out->has = out->has && out->kind != PG_KIND_TEXT;
    return OK;
}

static enum code check_twice(const struct pg_query *query,
                             const struct pg_slot *columns,
                             uint16_t last,
                             struct err *err)
{
    for (uint16_t i = 0; i < last; i++) {
        if (columns[i].offset == columns[last].offset) {
            return err_set_field(err,
                                 ERR_INTERNAL,
                                 columns[last].name,
                                 "query %s: column %s is there twice",
                                 query->name,
                                 columns[last].name);
        }
    }
    return OK;
}

/* The column of a set statement that tells whose row it is: no field of the message. */
static enum code learn_place(struct pg_query_plan *plan, const PGresult *described, struct err *err)
{
    if (PQnfields(described) == 0 || strcmp(PQfname(described, 0), PLACE) != 0 ||
        PQftype(described, 0) != PG_OID_INT8) {
        return err_set(err,
                       ERR_INTERNAL,
                       "query %s: the first column of a set statement is place, a bigint",
                       plan->query->name);
    }
    plan->columns[0] = (struct pg_slot){.kind = PG_KIND_INT64, .offset = UINT32_MAX, .name = PLACE};
    plan->column_count = 1;
    return OK;
}

static enum code
learn_columns(struct pg_query_plan *plan, const PGresult *described, struct err *err)
{
    const struct pg_query *query = plan->query;
    const int count = PQnfields(described);

    plan->column_count = 0;
    if (query->set) {
        enum code code = learn_place(plan, described, err);
        if (code != OK) {
            return code;
        }
    }
    for (int i = plan->column_count; i < count; i++) {
        struct pg_slot column = {.kind = PG_KIND_NONE};
        enum code code = learn_column(query, described, i, &column, err);
        if (code != OK) {
            return code;
        }
        if (plan->column_count == query->out->n_fields + (query->set ? 1 : 0)) {
            return err_set(err, ERR_INTERNAL, "query %s: a column is there twice", query->name);
        }
        plan->columns[plan->column_count] = column;
        code = check_twice(query, plan->columns, plan->column_count, err);
        if (code != OK) {
            return code;
        }
        plan->column_count++;
    }
    return OK;
}

/* A table changed between two connections would shift columns under the shared plan. */
static enum code
recheck_columns(const struct pg_query_plan *plan, const PGresult *described, struct err *err)
{
    bool same = PQnfields(described) == plan->column_count;

    for (int i = 0; same && i < plan->column_count; i++) {
        same = strcmp(PQfname(described, i), plan->columns[i].name) == 0 &&
               column_fits(plan->columns[i].kind, PQftype(described, i));
    }
    if (!same) {
        return err_set(err,
                       ERR_INTERNAL,
                       "query %s: its columns changed since the start; restart the program",
                       plan->query->name);
    }
    return OK;
}

enum code pg_plan_check_columns(struct pg_plan *plans,
                                uint16_t query,
                                const struct pg_result *described,
                                struct err *err)
{
    struct pg_query_plan *plan = NULL;
    enum code code = OK;

    assert(plans != NULL);
    assert(query < plans->count);
    assert(described != NULL);
    plan = &plans->queries[query];
    code = check_parameters(plan, described, err);
    if (code != OK || plan->query->out == NULL) {
        plan->described = plan->described || code == OK;
        return code;
    }
    if (plan->described) {
        return recheck_columns(plan, described, err);
    }
    code = learn_columns(plan, described, err);
    plan->described = code == OK;
    return code;
}

/* --- results ------------------------------------------------------------------- */

size_t pg_result_rows(const struct pg_result *result)
{
    assert(result != NULL);
    return (size_t)PQntuples(result);
}

size_t pg_result_affected(const struct pg_result *result)
{
    uint64_t affected = 0;

    assert(result != NULL);
    /* PQcmdTuples() takes what is not const but changes nothing. NOLINTNEXTLINE(*-no-int-to-ptr) */
    const char *text = PQcmdTuples((PGresult *)(uintptr_t)result);
    if (!str_to_uint64(str_from(text), &affected)) {
        return 0; /* "" after a statement that changes no rows */
    }
    return (size_t)affected;
}

void pg_result_clear(struct pg_result **result)
{
    assert(result != NULL);
    PQclear(*result);
    *result = NULL;
}

uint64_t pg_result_place(const struct pg_result *result, size_t row)
{
    uint64_t place = 0;

    assert(row < pg_result_rows(result));
    (void)str_to_uint64(
        (struct str){PQgetvalue(result, (int)row, 0), (size_t)PQgetlength(result, (int)row, 0)},
        &place);
    return place;
}

static void clear_hook(void *object)
{
    PQclear(object);
}

enum code pg_result_attach(struct pg_result *result, struct arena *arena, struct err *err)
{
    assert(result != NULL);
    assert(arena != NULL);
    if (!arena_on_dispose(arena, clear_hook, result)) {
        return err_set(err, ERR_TOO_LARGE, "The request needs too much memory");
    }
    return OK;
}

/* --- rows ---------------------------------------------------------------------- */

struct cell {
    const struct pg_slot *slot;
    struct str text; /* in the result, NUL-terminated */
    void *field;
    struct arena *arena;
    struct err *err;
};

static void *field_at(ProtobufCMessage *message, uint32_t offset)
{
    return (char *)message + offset;
}

static enum code not_the_form(const struct cell *cell)
{
    return err_set_field(
        cell->err, ERR_INTERNAL, cell->slot->name, "The database gave a value that does not fit");
}

static enum code read_signed(const struct cell *cell)
{
    int64_t value = 0;

    if (!str_to_int64(cell->text, &value)) {
        return not_the_form(cell);
    }
    if (cell->slot->kind == PG_KIND_INT64) {
        *(int64_t *)cell->field = value;
        return OK;
    }
    if (value < INT32_MIN || value > INT32_MAX) {
        return not_the_form(cell);
    }
    *(int32_t *)cell->field = (int32_t)value;
    return OK;
}

static enum code read_unsigned(const struct cell *cell)
{
    uint64_t value = 0;

    if (!str_to_uint64(cell->text, &value)) {
        return not_the_form(cell);
    }
    if (cell->slot->kind == PG_KIND_UINT64) {
        *(uint64_t *)cell->field = value;
        return OK;
    }
    if (value > UINT32_MAX) {
        return not_the_form(cell);
    }
    *(uint32_t *)cell->field = (uint32_t)value;
    return OK;
}

static enum code read_bool(const struct cell *cell)
{
    if (cell->text.len != 1 || (cell->text.ptr[0] != 't' && cell->text.ptr[0] != 'f')) {
        return not_the_form(cell);
    }
    *(protobuf_c_boolean *)cell->field = cell->text.ptr[0] == 't';
    return OK;
}

/* bytea_output is hex on every connection: "\x" and two digits per byte. */
static enum code read_bytes(const struct cell *cell)
{
    ProtobufCBinaryData *data = cell->field;
    struct str hex = str_sub(cell->text, 2, cell->text.len);
    uint8_t *bytes = NULL;
    size_t len = 0;

    if (!str_starts(cell->text, STR("\\x"))) {
        return not_the_form(cell);
    }
    bytes = arena_alloc(cell->arena, hex.len / 2 + 1);
    if (bytes == NULL) {
        return err_set(cell->err, ERR_TOO_LARGE, "The answer needs too much memory");
    }
    if (!hex_decode(hex, bytes, hex.len / 2, &len)) {
        return not_the_form(cell);
    }
    *data = (ProtobufCBinaryData){len, bytes};
    return OK;
}

static enum code read_cell(const struct cell *cell)
{
    switch (cell->slot->kind) {
    case PG_KIND_TEXT:
        *(char **)cell->field = transcode_constant(cell->text.ptr);
        return OK;
    case PG_KIND_INT32:
    case PG_KIND_INT64:
        return read_signed(cell);
    case PG_KIND_UINT32:
    case PG_KIND_UINT64:
        return read_unsigned(cell);
    case PG_KIND_BOOL:
        return read_bool(cell);
    case PG_KIND_BYTES:
        return read_bytes(cell);
    case PG_KIND_NONE:
    case PG_KIND_TEXT_ARRAY:
    case PG_KIND_INT64_ARRAY:
    case PG_KIND_BYTES_ARRAY:
    case PG_KIND_CONTEXT_TEXT:
    case PG_KIND_CONTEXT_NOW:
    case PG_KIND_COUNT:
        break;
    }
    /* column_fits() lets no other kind through. */
    abort();
}

static enum code bind_cell(const struct cell *cell, ProtobufCMessage *out)
{
    enum code code = read_cell(cell);

    if (code == OK && cell->slot->has) {
        *(protobuf_c_boolean *)field_at(out, cell->slot->quantifier) = 1;
    }
    return code;
}

/* The contract of the header has seven parameters. NOLINTNEXTLINE(readability-function-size) */
enum code pg_bind_row(const struct pg_plan *plans,
                      uint16_t query,
                      const struct pg_result *result,
                      size_t row,
                      struct arena *arena,
                      ProtobufCMessage *out,
                      struct err *err)
{
    const struct pg_query_plan *plan = pg_plan_of(plans, query);
    const int at = (int)row;

    assert(result != NULL);
    assert(row < (size_t)PQntuples(result));
    assert(out != NULL);
    assert(plan->described);
    assert(out->descriptor == plan->query->out);
    if (PQnfields(result) != plan->column_count) {
        return err_set(err, ERR_INTERNAL, "query %s: its columns changed", plan->query->name);
    }
    for (int i = plan->query->set ? 1 : 0; i < plan->column_count; i++) {
        const struct pg_slot *slot = &plan->columns[i];
        if (PQgetisnull(result, at, i)) {
            if (slot->required) {
                return err_set_field(
                    err, ERR_INTERNAL, slot->name, "The database gave no value for %s", slot->name);
            }
            continue;
        }
        struct cell cell = {
            slot,
            {PQgetvalue(result, at, i), (size_t)PQgetlength(result, at, i)},
            field_at(out, slot->offset),
            arena,
            err
        };
        enum code code = bind_cell(&cell, out);
        if (code != OK) {
            return code;
        }
    }
    return OK;
}
