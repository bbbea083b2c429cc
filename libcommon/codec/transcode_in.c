/* From JSON to messages: what each event of the text means for the frame on top. */
#include "libcommon/codec/binder.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

struct visitor {
    struct binder binder;
    struct str json;
    const struct message_rules *rules;
    ProtobufCMessage *message;
    uint32_t skip; /* open containers of a value that is passed over */
    bool raw;      /* and is kept as text */
    size_t raw_from;
};

static void *arena_alloc_for_protobuf(void *arena, size_t bytes)
{
    assert(arena != NULL);
    return arena_alloc(arena, bytes);
}

static void arena_free_for_protobuf(void *arena, void *block)
{
    assert(arena != NULL);
    (void)block; /* goes with the arena */
}

void transcode_allocator(ProtobufCAllocator *allocator, struct arena *arena)
{
    assert(allocator != NULL);
    assert(arena != NULL);
    *allocator = (ProtobufCAllocator){arena_alloc_for_protobuf, arena_free_for_protobuf, arena};
}

ProtobufCMessage *transcode_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena)
{
    ProtobufCMessage *message = NULL;

    assert(descriptor != NULL);
    assert(arena != NULL);
    message = arena_alloc(arena, descriptor->sizeof_message);
    if (message != NULL) {
        protobuf_c_message_init(descriptor, message);
    }
    return message;
}

static void report_type(struct binder *b, bool list, enum json_kind given)
{
    struct complaint complaint;

    assert(b->violations != NULL);
    complain_type(&complaint, binder_field(binder_top(b)), binder_rule(binder_top(b)), list, given);
    binder_report(b, &complaint);
}

static void report_unknown(struct binder *b, struct str name)
{
    struct field_path path;
    const char *text = arena_strdup(b->arena, name);

    assert(b->depth > 0);
    binder_path(b, b->depth, &path);
    field_path_name(&path, text == NULL ? "" : text);
    violations_add(b->violations, path.text, "unknown", "is not a field of this request");
}

/* --- events --------------------------------------------------------------------------------- */

static void push_list(struct visitor *v)
{
    const struct bind_frame *owner = binder_top(&v->binder);
    uint32_t field = owner->field;

    assert(owner->field != NO_FIELD);
    assert(!owner->list);
    binder_push(&v->binder, owner->rules, owner->message);
    binder_top(&v->binder)->field = field;
    binder_top(&v->binder)->list = true;
}

/* One value is complete, or has been passed over. */
static void value_done(struct visitor *v)
{
    assert(v != NULL);
    if (v->binder.depth > 0 && binder_top(&v->binder)->list) {
        binder_top(&v->binder)->items++;
    }
}

static bool opens(enum json_kind kind)
{
    return kind == JSON_OBJECT_BEGIN || kind == JSON_ARRAY_BEGIN;
}

static bool closes(enum json_kind kind)
{
    return kind == JSON_OBJECT_END || kind == JSON_ARRAY_END;
}

static enum code pass_over(struct visitor *v, const struct json_event *event)
{
    assert(v->skip == 0);
    if (opens(event->kind)) {
        v->skip = 1;
    } else {
        value_done(v);
    }
    return OK;
}

static enum code store_raw(struct visitor *v, size_t to)
{
    assert(v->raw_from <= to);
    assert(to <= v->json.len);
    v->raw = false;
    return binder_store_raw(&v->binder, str_sub(v->json, v->raw_from, to));
}

static enum code on_skipped(struct visitor *v, const struct json_event *event)
{
    enum code code = OK;

    assert(v->skip > 0);
    if (opens(event->kind)) {
        v->skip++;
    } else if (closes(event->kind)) {
        v->skip--;
        if (v->skip == 0) {
            code = v->raw ? store_raw(v, event->to) : OK;
            value_done(v);
        }
    }
    return code;
}

static enum code on_root(struct visitor *v, const struct json_event *event)
{
    assert(v->binder.depth == 0);
    if (event->kind == JSON_OBJECT_BEGIN) {
        binder_push(&v->binder, v->rules, v->message);
        return OK;
    }
    violations_add(v->binder.violations, "", "type", "the body must be a JSON object");
    return pass_over(v, event);
}

/* Of several names for one field the first one given counts. */
static enum code on_key(struct visitor *v, struct str name)
{
    struct bind_frame *f = binder_top(&v->binder);
    uint64_t bit = 0;

    if (!binder_find(f, API_SOURCE_BODY, name)) {
        if (f->rules->strict) {
            report_unknown(&v->binder, name);
        }
        return OK;
    }
    assert(f->field < f->rules->descriptor->n_fields);
    bit = UINT64_C(1) << (f->field % 64);
    if ((f->seen[f->field / 64] & bit) != 0) {
        f->field = NO_FIELD;
        return OK;
    }
    f->seen[f->field / 64] |= bit;
    return OK;
}

static enum code on_wrong_type(struct visitor *v, bool list, const struct json_event *event)
{
    enum code code = OK;

    assert(v != NULL);
    assert(event != NULL);
    report_type(&v->binder, list, event->kind);
    if (binder_top(&v->binder)->list) {
        code = binder_store_placeholder(&v->binder);
    }
    return code == OK ? pass_over(v, event) : code;
}

static enum code on_null(struct visitor *v, const struct json_event *event)
{
    enum code code = binder_store_null(&v->binder);

    return code == OK ? pass_over(v, event) : code;
}

static enum code on_raw(struct visitor *v, const struct json_event *event)
{
    enum code code = OK;

    assert(v->skip == 0);
    assert(event->from <= event->to);
    v->raw_from = event->from;
    if (opens(event->kind)) {
        v->raw = true;
        v->skip = 1;
        return OK;
    }
    code = store_raw(v, event->to);
    value_done(v);
    return code;
}

static enum code on_message(struct visitor *v)
{
    const ProtobufCFieldDescriptor *field = binder_field(binder_top(&v->binder));
    union field_value value = {.message = transcode_new(field->descriptor, v->binder.arena)};
    enum code code = OK;

    assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
    if (value.message == NULL) {
        return binder_no_memory(v->binder.err);
    }
    code = binder_store(&v->binder, &value);
    if (code == OK) {
        assert(binder_rule(binder_top(&v->binder))->message != NULL);
        binder_push(&v->binder, binder_rule(binder_top(&v->binder))->message, value.message);
    }
    return code;
}

/* True when the list has all it may have. What comes beyond is reported once and not stored. */
static bool is_full_list(struct visitor *v)
{
    const struct bind_frame *f = binder_top(&v->binder);
    const struct field_rule *rule = binder_rule(f);
    struct field_path path;

    if (!f->list || rule->len_max == 0 || f->items < rule->len_max) {
        return false;
    }
    if (f->items == rule->len_max) {
        binder_path(&v->binder, v->binder.depth - 1, &path);
        violations_add(
            v->binder.violations, path.text, "length", "must have at most %u items", rule->len_max);
    }
    return true;
}

static enum code on_scalar(struct visitor *v, const struct json_event *event)
{
    enum code code = binder_store_scalar(&v->binder, event);

    assert(!opens(event->kind));
    value_done(v);
    return code;
}

static enum code on_value(struct visitor *v, const struct json_event *event)
{
    struct bind_frame *f = binder_top(&v->binder);

    assert(v->skip == 0);
    if (f->field == NO_FIELD || is_full_list(v)) {
        return pass_over(v, event);
    }
    if (event->kind == JSON_NULL) {
        return on_null(v, event);
    }
    if (field_is_list(binder_field(f)) && !f->list) {
        if (event->kind != JSON_ARRAY_BEGIN) {
            return on_wrong_type(v, true, event);
        }
        push_list(v);
        return OK;
    }
    if ((binder_rule(f)->flags & RULE_RAW_JSON) != 0) {
        return on_raw(v, event);
    }
    if (binder_field(f)->type == PROTOBUF_C_TYPE_MESSAGE) {
        return event->kind == JSON_OBJECT_BEGIN ? on_message(v) : on_wrong_type(v, false, event);
    }
    return opens(event->kind) ? on_wrong_type(v, false, event) : on_scalar(v, event);
}

static enum code visit(void *ctx, const struct json_event *event)
{
    struct visitor *v = ctx;

    assert(event != NULL);
    if (v->skip > 0) {
        return on_skipped(v, event);
    }
    if (v->binder.depth == 0) {
        return on_root(v, event);
    }
    if (event->kind == JSON_KEY) {
        return on_key(v, event->text);
    }
    if (closes(event->kind)) {
        v->binder.depth--;
        value_done(v);
        return OK;
    }
    return on_value(v, event);
}

enum code transcode_from_json(struct str json,
                              const struct message_rules *rules,
                              struct arena *arena,
                              ProtobufCMessage *out,
                              struct violations *violations,
                              struct err *err)
{
    struct visitor v = {
        .binder = {.arena = arena, .violations = violations, .err = err},
        .json = json,
        .rules = rules,
        .message = out
    };
    enum code code = OK;

    assert(rules != NULL);
    assert(out->descriptor == rules->descriptor);
    assert(arena != NULL);
    assert(violations != NULL);
    if (json.len == 0) {
        return OK;
    }
    code = json_read(json, arena, visit, &v, err);
    if (code != OK) {
        return code;
    }
    assert(v.binder.depth == 0);
    assert(v.skip == 0);
    /* A violation that found no room must not pass for none. */
    return arena_exhausted(arena) ? binder_no_memory(err) : OK;
}

enum code json_check(struct str json, struct err *err)
{
    return json_validate(json, err);
}
