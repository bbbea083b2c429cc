#include "libcommon/codec/binder.h"

#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

enum code binder_no_memory(struct err *err)
{
    return err_set(err, ERR_TOO_LARGE, "the request does not fit its memory");
}

void binder_push(struct binder *b, const struct message_rules *rules, ProtobufCMessage *message)
{
    struct bind_frame *f = NULL;

    assert(b->depth < JSON_DEPTH_MAX);
    assert(rules->descriptor->n_fields <= FIELDS_MAX);
    assert(message != NULL);
    assert(message->descriptor == rules->descriptor);
    f = &b->frames[b->depth++];
    f->rules = rules;
    f->message = message;
    f->field = NO_FIELD;
    f->name = "";
    f->list = false;
    f->items = 0;
    memset(f->seen, 0, sizeof(f->seen));
}

struct bind_frame *binder_top(struct binder *b)
{
    assert(b->depth > 0);
    assert(b->depth <= JSON_DEPTH_MAX);
    return &b->frames[b->depth - 1];
}

const ProtobufCFieldDescriptor *binder_field(const struct bind_frame *f)
{
    assert(f->field < f->rules->descriptor->n_fields);
    return &f->rules->descriptor->fields[f->field];
}

const struct field_rule *binder_rule(const struct bind_frame *f)
{
    assert(f->field < f->rules->descriptor->n_fields);
    return &f->rules->fields[f->field];
}

/* --- what is wrong, and where --------------------------------------------------------------- */

void binder_path(const struct binder *b, uint32_t depth, struct field_path *path)
{
    assert(depth <= b->depth);
    assert(path != NULL);
    field_path_init(path);
    for (uint32_t i = 0; i < depth; i++) {
        const struct bind_frame *f = &b->frames[i];

        if (f->list) {
            field_path_index(path, f->items);
        } else if (f->field != NO_FIELD) {
            field_path_name(path, f->name);
        }
    }
}

void binder_report(struct binder *b, const struct complaint *complaint)
{
    struct field_path path;

    assert(complaint != NULL);
    assert(b->violations != NULL);
    binder_path(b, b->depth, &path);
    violations_add(b->violations, path.text, complaint->code, "%s", complaint->text);
}

/* --- storing -------------------------------------------------------------------------------- */

enum code binder_store(struct binder *b, const union field_value *value)
{
    struct bind_frame *f = binder_top(b);
    const ProtobufCFieldDescriptor *field = binder_field(f);

    assert(value != NULL);
    if (!field_is_list(field)) {
        field_set(f->message, field, value);
        return OK;
    }
    return field_append(f->message, field, value, b->arena) ? OK : binder_no_memory(b->err);
}

/* An element that is wrong leaves an empty one in its place: later paths must count as the client
 * does. Its row in the violations keeps the rules from looking at it. */
enum code binder_store_placeholder(struct binder *b)
{
    const ProtobufCFieldDescriptor *field = binder_field(binder_top(b));
    union field_value value;

    assert(b != NULL);
    memset(&value, 0, sizeof(value));
    if (!field_is_list(field)) {
        return OK;
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        value.string = arena_strdup(b->arena, STR_EMPTY);
    } else if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        value.message = transcode_new(field->descriptor, b->arena);
    }
    return arena_exhausted(b->arena) ? binder_no_memory(b->err) : binder_store(b, &value);
}

static uint32_t find_nulls_field(const struct message_rules *rules)
{
    assert(rules != NULL);
    for (uint32_t i = 0; i < rules->descriptor->n_fields; i++) {
        if ((rules->fields[i].flags & RULE_NULLS) != 0) {
            return i;
        }
    }
    return NO_FIELD;
}

/* An explicit null is told to a message that collects them; elsewhere it is as good as absent. */
enum code binder_store_null(struct binder *b)
{
    static const struct complaint refused = {"null", "must not be null"};
    struct bind_frame *f = binder_top(b);
    const struct field_rule *rule = binder_rule(f);
    uint32_t nulls = find_nulls_field(f->rules);
    union field_value name;

    assert(b != NULL);
    if (f->list) {
        binder_report(b, &refused);
        return binder_store_placeholder(b);
    }
    if (nulls == NO_FIELD) {
        return OK;
    }
    if ((rule->flags & RULE_NULLABLE) == 0) {
        binder_report(b, &refused);
        return OK;
    }
    name.string = arena_strdup(b->arena, str_from(rule->name));
    if (name.string == NULL ||
        !field_append(f->message, &f->rules->descriptor->fields[nulls], &name, b->arena)) {
        return binder_no_memory(b->err);
    }
    return OK;
}

static enum code store_outcome(struct binder *b,
                               enum value_outcome outcome,
                               const union field_value *value,
                               const struct complaint *complaint)
{
    assert(b != NULL);
    switch (outcome) {
    case VALUE_GIVEN:
        return binder_store(b, value);
    case VALUE_NULL:
        return binder_store_null(b);
    case VALUE_WRONG:
        binder_report(b, complaint);
        return binder_top(b)->list ? binder_store_placeholder(b) : OK;
    case VALUE_NO_MEMORY:
        break;
    }
    return binder_no_memory(b->err);
}

enum code binder_store_raw(struct binder *b, struct str json)
{
    assert(b != NULL);
    union field_value value;
    struct complaint complaint;
    enum value_outcome outcome = value_read_raw(json, b->arena, &value, &complaint);

    return store_outcome(b, outcome, &value, &complaint);
}

enum code binder_store_scalar(struct binder *b, const struct json_event *token)
{
    const struct bind_frame *f = binder_top(b);
    union field_value value;
    struct complaint complaint;
    enum value_outcome outcome =
        value_read(binder_field(f), binder_rule(f), token, b->arena, &value, &complaint);

    return store_outcome(b, outcome, &value, &complaint);
}

/* --- names ---------------------------------------------------------------------------------- */

static bool name_is(const char *name, struct str given)
{
    size_t i = 0;

    assert(name != NULL);
    while (i < given.len && name[i] != '\0' && name[i] == given.ptr[i]) {
        i++;
    }
    return i == given.len && name[i] == '\0';
}

/* The name or alias that `given` equals, or NULL. */
static const char *name_among(const struct field_rule *rule, struct str given)
{
    assert(rule->name != NULL);
    if (name_is(rule->name, given)) {
        return rule->name;
    }
    for (size_t i = 0; rule->aliases != NULL && rule->aliases[i] != NULL; i++) {
        if (name_is(rule->aliases[i], given)) {
            return rule->aliases[i];
        }
    }
    return NULL;
}

static bool takes(const struct field_rule *rule, enum api_source source)
{
    assert(rule != NULL);
    if (rule->source != (uint8_t)source || (rule->flags & RULE_NULLS) != 0) {
        return false;
    }
    return source != API_SOURCE_BODY || (rule->flags & RULE_HIDDEN) == 0;
}

/* Sets f->field and f->name. Clients mostly keep our order, so the search starts behind the last
 * find. */
bool binder_find(struct bind_frame *f, enum api_source source, struct str name)
{
    uint32_t count = f->rules->descriptor->n_fields;
    uint32_t start = f->field == NO_FIELD ? 0 : f->field + 1;

    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = start + i < count ? start + i : start + i - count;
        const char *found = NULL;

        if (takes(&f->rules->fields[at], source)) {
            found = name_among(&f->rules->fields[at], name);
        }
        if (found != NULL) {
            f->field = at;
            f->name = found;
            return true;
        }
    }
    f->field = NO_FIELD;
    return false;
}
