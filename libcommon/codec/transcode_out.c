/* From messages to JSON. Nesting is a stack of frames, one per message under way. */
#include "libcommon/base/limits.h"
#include "libcommon/codec/field.h"
#include "libcommon/codec/json_write.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

#define BYTES_GUESS   4096
#define DEPTH_MAX     (JSON_DEPTH_MAX - 1) /* a message in a list is two levels of JSON */
#define ORDERS_CACHED 16                   /* types of messages in one text */

/* A message under way. `order` lists its fields as declared; NULL: as they are, by tag. */
struct frame {
    const ProtobufCMessage *message;
    const struct message_rules *rules;
    const uint16_t *order;
    uint32_t at;  /* field under way */
    uint32_t end; /* one behind the last */
    bool bare;    /* one field's value is the whole text */
    bool listing; /* that field is a list of messages, begun */
    size_t item;  /* its next element */
};

struct order {
    const struct message_rules *rules;
    const uint16_t *fields;
};

struct encoder {
    struct json_writer w;
    struct arena *arena;
    struct err *err;
    bool set_only; /* nothing is written for what is unset */
    struct frame frames[DEPTH_MAX];
    uint32_t depth;
    struct order orders[ORDERS_CACHED];
    uint32_t orders_next;
};

/* --- order of declaration ------------------------------------------------------------------- */

/* protobuf-c sorts descriptors by tag, and lays the struct out in the order of declaration. */
static bool is_declared_by_tag(const ProtobufCMessageDescriptor *descriptor)
{
    assert(descriptor != NULL);
    for (unsigned i = 1; i < descriptor->n_fields; i++) {
        if (descriptor->fields[i].offset < descriptor->fields[i - 1].offset) {
            return false;
        }
    }
    return true;
}

static void sort_by_offset(const ProtobufCMessageDescriptor *descriptor, uint16_t *fields)
{
    assert(fields != NULL);
    for (unsigned i = 0; i < descriptor->n_fields; i++) {
        unsigned at = i;

        for (; at > 0 && descriptor->fields[fields[at - 1]].offset > descriptor->fields[i].offset;
             at--) {
            fields[at] = fields[at - 1];
        }
        fields[at] = (uint16_t)i;
    }
}

static bool find_order(struct encoder *e, const struct message_rules *rules, const uint16_t **out)
{
    uint16_t *fields = NULL;

    assert(e->orders_next < ORDERS_CACHED);
    assert(out != NULL);
    for (size_t i = 0; i < ORDERS_CACHED && e->orders[i].rules != NULL; i++) {
        if (e->orders[i].rules == rules) {
            *out = e->orders[i].fields;
            return true;
        }
    }
    if (!is_declared_by_tag(rules->descriptor)) {
        assert(rules->descriptor->n_fields <= UINT16_MAX);
        fields = arena_alloc(e->arena, rules->descriptor->n_fields * sizeof(*fields));
        if (fields == NULL) {
            return false;
        }
        sort_by_offset(rules->descriptor, fields);
    }
    *out = fields;
    e->orders[e->orders_next] = (struct order){rules, fields};
    e->orders_next = (e->orders_next + 1) % ORDERS_CACHED;
    return true;
}

/* --- values ----------------------------------------------------------------------------------- */

static int64_t load_i64(const void *at)
{
    int64_t value = 0;

    memcpy(&value, at, sizeof(value));
    return value;
}

static int32_t load_i32(const void *at)
{
    int32_t value = 0;

    memcpy(&value, at, sizeof(value));
    return value;
}

static void write_int64(struct json_writer *w, const struct field_rule *rule, int64_t value)
{
    assert(rule != NULL);
    if ((rule->flags & RULE_DECIMAL) != 0) {
        json_decimal_short(w, value, rule->decimals);
    } else if ((rule->flags & RULE_MONEY) != 0) {
        json_decimal(w, value, rule->decimals);
    } else {
        json_int64(w, value);
    }
}

static void write_bool(struct json_writer *w, const struct field_rule *rule, const void *at)
{
    assert(rule != NULL);
    protobuf_c_boolean value = 0;

    memcpy(&value, at, sizeof(value));
    if ((rule->flags & RULE_FLAG) != 0) {
        json_uint64(w, value != 0 ? 1 : 0);
    } else {
        json_bool(w, value != 0);
    }
}

static void write_string(struct json_writer *w, const struct field_rule *rule, struct str text)
{
    assert(rule != NULL);
    if ((rule->flags & RULE_RAW_JSON) == 0) {
        json_text(w, text);
    } else if (text.len == 0) {
        json_none(w);
    } else {
        json_raw(w, text);
    }
}

static void write_enum(struct json_writer *w, const ProtobufCFieldDescriptor *field, int32_t number)
{
    const ProtobufCEnumValue *value =
        protobuf_c_enum_descriptor_get_value(field->descriptor, number);

    assert(field->type == PROTOBUF_C_TYPE_ENUM);
    if (value == NULL) {
        json_int64(w, number);
    } else {
        json_text(w, str_from(value->name));
    }
}

static void write_bytes(struct encoder *e, const void *at)
{
    ProtobufCBinaryData data;
    char *text = NULL;
    size_t cap = 0;

    assert(at != NULL);
    memcpy(&data, at, sizeof(data));
    cap = data.len / 3 * 4 + 5;
    text = arena_alloc(e->arena, cap);
    if (text == NULL) {
        e->w.buf.overflow = true;
        json_none(&e->w);
        return;
    }
    json_text(&e->w, (struct str){text, base64url_encode(data.data, data.len, text, cap)});
}

/* One value that is no message. */
static void write_value(struct encoder *e,
                        const ProtobufCFieldDescriptor *field,
                        const struct field_rule *rule,
                        const void *at)
{
    assert(at != NULL);
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        write_string(&e->w, rule, field_text(at));
        return;
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
        write_int64(&e->w, rule, load_i64(at));
        return;
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        json_uint64(&e->w, (uint64_t)load_i64(at));
        return;
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
        json_int64(&e->w, load_i32(at));
        return;
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
        json_uint64(&e->w, (uint32_t)load_i32(at));
        return;
    case PROTOBUF_C_TYPE_BOOL:
        write_bool(&e->w, rule, at);
        return;
    case PROTOBUF_C_TYPE_ENUM:
        write_enum(&e->w, field, load_i32(at));
        return;
    case PROTOBUF_C_TYPE_BYTES:
        write_bytes(e, at);
        return;
    case PROTOBUF_C_TYPE_MESSAGE:
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    assert(!"a field type that apigen refuses");
}

/* --- messages --------------------------------------------------------------------------------- */

static enum code
push(struct encoder *e, const ProtobufCMessage *message, const struct message_rules *rules)
{
    struct frame *f = NULL;

    assert(rules != NULL);
    assert(message->descriptor == rules->descriptor);
    assert(e->depth <= DEPTH_MAX);
    if (e->depth == DEPTH_MAX) {
        return err_set(e->err, ERR_TOO_LARGE, "the answer is nested too deeply");
    }
    f = &e->frames[e->depth];
    *f = (struct frame){.message = message, .rules = rules, .end = rules->descriptor->n_fields};
    if (!find_order(e, rules, &f->order)) {
        return err_set(e->err, ERR_TOO_LARGE, "the answer does not fit its memory");
    }
    e->depth++;
    return OK;
}

static enum code push_object(struct encoder *e, const void *at, const struct message_rules *rules)
{
    const ProtobufCMessage *message = *(ProtobufCMessage *const *)at;
    enum code code = OK;

    assert(message != NULL);
    code = push(e, message, rules);
    if (code == OK) {
        json_object_begin(&e->w);
    }
    return code;
}

static uint32_t field_index(const struct frame *f)
{
    assert(f->at < f->end);
    return f->order == NULL || f->bare ? f->at : f->order[f->at];
}

static const struct field_rule *field_rule(const struct frame *f)
{
    assert(f != NULL);
    return &f->rules->fields[field_index(f)];
}

static void write_key(struct encoder *e, const struct frame *f, const struct field_rule *rule)
{
    assert(e != NULL);
    assert(f != NULL);
    if (!f->bare) {
        json_key(&e->w, str_from(rule->name));
    }
}

/* An unset field that declares a default shows the default, which is what it holds. */
static bool has_value(const struct frame *f, const ProtobufCFieldDescriptor *field)
{
    assert(f != NULL);
    assert(field != NULL);
    return field_is_set(f->message, field) || field->default_value != NULL;
}

static enum code
write_list(struct encoder *e, struct frame *f, const ProtobufCFieldDescriptor *field)
{
    const struct field_rule *rule = field_rule(f);
    size_t count = field_count(f->message, field);

    assert(!f->listing);
    assert(field_is_list(field));
    write_key(e, f, rule);
    json_array_begin(&e->w);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        f->listing = true;
        f->item = 0;
        return OK;
    }
    for (size_t i = 0; i < count; i++) {
        write_value(e, field, rule, field_at(f->message, field, i));
    }
    json_array_end(&e->w);
    f->at++;
    return OK;
}

static enum code
write_single(struct encoder *e, struct frame *f, const ProtobufCFieldDescriptor *field)
{
    const struct field_rule *rule = field_rule(f);
    const void *at = field_at(f->message, field, 0);

    assert(!f->listing);
    assert(!field_is_list(field));
    f->at++;
    if (!has_value(f, field)) {
        if (f->bare || ((rule->flags & RULE_NULL_SHOWN) != 0 && !e->set_only)) {
            write_key(e, f, rule);
            json_none(&e->w);
        }
        return OK;
    }
    write_key(e, f, rule);
    if (field->type == PROTOBUF_C_TYPE_MESSAGE) {
        return push_object(e, at, rule->message);
    }
    write_value(e, field, rule, at);
    return OK;
}

static enum code
next_element(struct encoder *e, struct frame *f, const ProtobufCFieldDescriptor *field)
{
    assert(f->listing);
    assert(field->type == PROTOBUF_C_TYPE_MESSAGE);
    if (f->item < field_count(f->message, field)) {
        return push_object(e, field_at(f->message, field, f->item++), field_rule(f)->message);
    }
    json_array_end(&e->w);
    f->listing = false;
    f->at++;
    return OK;
}

/* Writes one field, one element of a list, or the end of the message on top. */
static enum code step(struct encoder *e)
{
    assert(e->depth > 0);

    struct frame *f = &e->frames[e->depth - 1];
    const ProtobufCFieldDescriptor *field = NULL;

    assert(f->at <= f->end);
    if (f->at == f->end) {
        if (!f->bare) {
            json_object_end(&e->w);
        }
        e->depth--;
        return OK;
    }
    field = &f->rules->descriptor->fields[field_index(f)];
    if (f->listing) {
        return next_element(e, f, field);
    }
    if (!f->bare && (field_rule(f)->flags & (RULE_HIDDEN | RULE_NULLS)) != 0) {
        f->at++;
        return OK;
    }
    return field_is_list(field) ? write_list(e, f, field) : write_single(e, f, field);
}

static enum code encode(struct encoder *e, struct str *out)
{
    enum code code = OK;

    assert(out != NULL);
    /* Once the text does not fit, nothing more of a long list is walked. */
    while (code == OK && e->depth > 0 && !e->w.buf.overflow) {
        code = step(e);
    }
    if (code != OK) {
        return code;
    }
    if (e->w.buf.overflow) {
        return err_set(e->err, ERR_TOO_LARGE, "the answer does not fit its memory");
    }
    return json_finish(&e->w, out, e->err);
}

/* The contract names its seven inputs one by one. */
/* NOLINTNEXTLINE(readability-function-size) */
enum code transcode_to_json(const ProtobufCMessage *message,
                            const struct message_rules *rules,
                            int body_field,
                            struct arena *arena,
                            size_t bytes_max,
                            struct str *out,
                            struct err *err)
{
    struct encoder e = {.arena = arena, .err = err};
    enum code code = OK;

    assert(message != NULL);
    assert(body_field < (int)rules->descriptor->n_fields);
    assert(body_field >= -1);
    assert(out != NULL);
    json_open(&e.w, arena, BYTES_GUESS, bytes_max);
    code = push(&e, message, rules);
    if (code == OK && body_field >= 0) {
        e.frames[0].bare = true;
        e.frames[0].at = (uint32_t)body_field;
        e.frames[0].end = (uint32_t)body_field + 1;
    } else if (code == OK) {
        json_object_begin(&e.w);
    }
    return code == OK ? encode(&e, out) : code;
}

enum code transcode_to_record(const ProtobufCMessage *message,
                              const struct message_rules *rules,
                              struct arena *arena,
                              size_t bytes_max,
                              struct str *out,
                              struct err *err)
{
    struct encoder e = {.arena = arena, .err = err, .set_only = true};
    enum code code = OK;

    assert(message != NULL);
    assert(message->descriptor == rules->descriptor);
    assert(out != NULL);
    json_open(&e.w, arena, BYTES_GUESS, bytes_max);
    code = push(&e, message, rules);
    if (code == OK) {
        json_object_begin(&e.w);
    }
    return code == OK ? encode(&e, out) : code;
}
