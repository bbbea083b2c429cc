#include "libcommon/codec/transcode_value.h"

#include "libcommon/base/limits.h"
#include "libcommon/base/money.h"
#include "libcommon/codec/text.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static enum value_outcome
complain(struct complaint *complaint, const char *code, const char *fmt, ...) PRINTF(3, 4);

static enum value_outcome
complain(struct complaint *complaint, const char *code, const char *fmt, ...)
{
    va_list args;
    int len = 0;

    assert(complaint != NULL);
    assert(code != NULL);
    complaint->code = code;
    va_start(args, fmt);
    len = vsnprintf(complaint->text, sizeof(complaint->text), fmt, args);
    va_end(args);
    assert(len > 0);
    return VALUE_WRONG;
}

static const char *name_of_kind(enum json_kind kind)
{
    switch (kind) {
    case JSON_NULL:
        return "null";
    case JSON_BOOL:
        return "true or false";
    case JSON_NUMBER:
        return "a number";
    case JSON_STRING:
    case JSON_KEY:
        return "text";
    case JSON_OBJECT_BEGIN:
    case JSON_OBJECT_END:
        return "an object";
    case JSON_ARRAY_BEGIN:
    case JSON_ARRAY_END:
        break;
    }
    return "a list";
}

static const char *name_of_integer(const struct field_rule *rule)
{
    assert(rule != NULL);
    if ((rule->flags & RULE_DECIMAL) != 0) {
        return "a decimal number such as 17.25";
    }
    return (rule->flags & RULE_MONEY) != 0 ? "an amount such as 1500.50" : "a whole number";
}

static const char *expected(const ProtobufCFieldDescriptor *field, const struct field_rule *rule)
{
    switch (field->type) {
    case PROTOBUF_C_TYPE_STRING:
        return "text";
    case PROTOBUF_C_TYPE_BYTES:
        return "text in base64url";
    case PROTOBUF_C_TYPE_BOOL:
        return (rule->flags & RULE_FLAG) != 0 ? "true, false, 1 or 0" : "true or false";
    case PROTOBUF_C_TYPE_ENUM:
        return "the name of a value";
    case PROTOBUF_C_TYPE_MESSAGE:
        return "an object";
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return name_of_integer(rule);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    assert(!"a field type that apigen refuses");
    return "";
}

void complain_type(struct complaint *complaint,
                   const ProtobufCFieldDescriptor *field,
                   const struct field_rule *rule,
                   bool list,
                   enum json_kind given)
{
    assert(field != NULL);
    assert(rule != NULL);
    (void)complain(complaint,
                   "type",
                   "must be %s, not %s",
                   list ? "a list" : expected(field, rule),
                   name_of_kind(given));
}

/* Text that was meant to be something else, and is not. */
static enum value_outcome wrong_form(const ProtobufCFieldDescriptor *field,
                                     const struct field_rule *rule,
                                     struct complaint *complaint)
{
    return complain(complaint, "type", "must be %s", expected(field, rule));
}

static enum value_outcome read_decimal(const ProtobufCFieldDescriptor *field,
                                       const struct field_rule *rule,
                                       struct str text,
                                       union field_value *out,
                                       struct complaint *complaint)
{
    assert(rule != NULL);
    switch (decimal_parse(text, rule->decimals, &out->i64)) {
    case DECIMAL_OK:
        return VALUE_GIVEN;
    case DECIMAL_PRECISION:
        return complain(complaint,
                        "money_precision",
                        "must have at most %u decimal%s",
                        rule->decimals,
                        rule->decimals == 1 ? "" : "s");
    case DECIMAL_RANGE:
        return str_starts(text, STR("-")) ? complain(complaint, "min", "is too small")
                                          : complain(complaint, "max", "is too large");
    case DECIMAL_SYNTAX:
        break;
    }
    return wrong_form(field, rule, complaint);
}

/* Whole numbers as people mean them; their range is another question. */
static bool is_whole_number(struct str text)
{
    size_t at = str_starts(text, STR("-")) ? 1 : 0;

    if (at == text.len || (text.ptr[at] == '0' && text.len > at + 1)) {
        return false;
    }
    for (; at < text.len; at++) {
        if (text.ptr[at] < '0' || text.ptr[at] > '9') {
            return false;
        }
    }
    return true;
}

static bool read_within(struct str text, int64_t min, int64_t max, int64_t *out)
{
    assert(min < max);
    assert(out != NULL);
    return str_to_int64(text, out) && *out >= min && *out <= max;
}

/* Stores the number in the field's own width; false when it does not fit. */
static bool read_width(ProtobufCType type, struct str text, union field_value *out)
{
    int64_t value = 0;

    assert(out != NULL);
    if (type == PROTOBUF_C_TYPE_INT64 || type == PROTOBUF_C_TYPE_SINT64 ||
        type == PROTOBUF_C_TYPE_SFIXED64) {
        return str_to_int64(text, &out->i64);
    }
    if (type == PROTOBUF_C_TYPE_UINT64 || type == PROTOBUF_C_TYPE_FIXED64) {
        return str_to_uint64(text, &out->u64);
    }
    if (type == PROTOBUF_C_TYPE_UINT32 || type == PROTOBUF_C_TYPE_FIXED32) {
        if (!read_within(text, 0, UINT32_MAX, &value)) {
            return false;
        }
        out->u32 = (uint32_t)value;
        return true;
    }
    assert(type == PROTOBUF_C_TYPE_INT32 || type == PROTOBUF_C_TYPE_SINT32 ||
           type == PROTOBUF_C_TYPE_SFIXED32);
    if (!read_within(text, INT32_MIN, INT32_MAX, &value)) {
        return false;
    }
    out->i32 = (int32_t)value;
    return true;
}

static enum value_outcome read_integer(const ProtobufCFieldDescriptor *field,
                                       const struct field_rule *rule,
                                       struct str text,
                                       union field_value *out,
                                       struct complaint *complaint)
{
    assert(field != NULL);
    if (!is_whole_number(text)) {
        return wrong_form(field, rule, complaint);
    }
    if (str_eq(text, STR("-0"))) {
        text = STR("0");
    }
    if (read_width(field->type, text, out)) {
        return VALUE_GIVEN;
    }
    return str_starts(text, STR("-")) ? complain(complaint, "min", "is too small")
                                      : complain(complaint, "max", "is too large");
}

static enum value_outcome read_number(const ProtobufCFieldDescriptor *field,
                                      const struct field_rule *rule,
                                      const struct json_event *token,
                                      union field_value *out,
                                      struct complaint *complaint)
{
    struct str text = str_trim(token->text);

    if (token->kind == JSON_BOOL) {
        complain_type(complaint, field, rule, false, token->kind);
        return VALUE_WRONG;
    }
    if (text.len > JSON_NUMBER_BYTES_MAX) {
        return complain(complaint, "type", "is longer than a number can be");
    }
    if ((rule->flags & (RULE_MONEY | RULE_DECIMAL)) != 0) {
        assert(field->type == PROTOBUF_C_TYPE_INT64);
        return read_decimal(field, rule, text, out, complaint);
    }
    return read_integer(field, rule, text, out, complaint);
}

static enum value_outcome read_bool(const ProtobufCFieldDescriptor *field,
                                    const struct field_rule *rule,
                                    const struct json_event *token,
                                    union field_value *out,
                                    struct complaint *complaint)
{
    bool flag = (rule->flags & RULE_FLAG) != 0;
    struct str text = str_trim(token->text);

    if (token->kind == JSON_BOOL) {
        out->boolean = token->boolean ? 1 : 0;
        return VALUE_GIVEN;
    }
    if (token->kind == JSON_STRING && (str_eq(text, STR("true")) || str_eq(text, STR("false")))) {
        out->boolean = text.ptr[0] == 't' ? 1 : 0;
        return VALUE_GIVEN;
    }
    if (flag && (str_eq(text, STR("1")) || str_eq(text, STR("0")))) {
        out->boolean = text.ptr[0] == '1' ? 1 : 0;
        return VALUE_GIVEN;
    }
    return wrong_form(field, rule, complaint);
}

static enum value_outcome read_string(const struct field_rule *rule,
                                      struct str text,
                                      struct arena *arena,
                                      struct str *out,
                                      struct complaint *complaint)
{
    assert(rule != NULL);
    if (text.len > (size_t)JSON_STRING_BYTES_MAX) {
        return complain(complaint, "length", "must have at most %d bytes", JSON_STRING_BYTES_MAX);
    }
    switch (text_clean(text, rule->flags, arena, out)) {
    case TEXT_OK:
        return VALUE_GIVEN;
    case TEXT_UTF8:
        return complain(complaint, "utf8", "must be valid UTF-8");
    case TEXT_CONTROL:
        return complain(complaint,
                        "control",
                        (rule->flags & RULE_MULTILINE) != 0
                            ? "must not hold control characters other than tabs and line breaks"
                            : "must not hold control characters or line breaks");
    case TEXT_MARKS:
        return complain(complaint, "utf8", "holds too many combining marks in a row");
    case TEXT_NO_MEMORY:
        break;
    }
    return VALUE_NO_MEMORY;
}

static enum value_outcome read_bytes(struct str text,
                                     struct arena *arena,
                                     union field_value *out,
                                     struct complaint *complaint)
{
    uint8_t *bytes = arena_alloc(arena, text.len);
    size_t len = 0;

    if (bytes == NULL) {
        return VALUE_NO_MEMORY;
    }
    if (!base64url_decode(text, bytes, text.len, &len)) {
        return complain(complaint, "type", "must be text in base64url");
    }
    assert(len <= text.len);
    out->bytes = (ProtobufCBinaryData){len, bytes};
    return VALUE_GIVEN;
}

static enum value_outcome read_enum(const ProtobufCFieldDescriptor *field,
                                    struct str text,
                                    struct arena *arena,
                                    union field_value *out,
                                    struct complaint *complaint)
{
    const ProtobufCEnumValue *value = NULL;
    const char *name = arena_strdup(arena, text);

    assert(field->type == PROTOBUF_C_TYPE_ENUM);
    assert(field->descriptor != NULL);
    if (name == NULL) {
        return VALUE_NO_MEMORY;
    }
    value = protobuf_c_enum_descriptor_get_value_by_name(field->descriptor, name);
    if (value == NULL || strlen(name) != text.len) {
        return complain(complaint, "value", "is not one of the allowed values");
    }
    out->i32 = value->value;
    return VALUE_GIVEN;
}

/* Types whose only JSON form is a string. */
static enum value_outcome read_textual(const ProtobufCFieldDescriptor *field,
                                       const struct field_rule *rule,
                                       const struct json_event *token,
                                       struct arena *arena,
                                       union field_value *out,
                                       struct complaint *complaint)
{
    struct str text = STR_EMPTY;
    enum value_outcome outcome = VALUE_GIVEN;

    if (token->kind != JSON_STRING) {
        complain_type(complaint, field, rule, false, token->kind);
        return VALUE_WRONG;
    }
    if (field->type == PROTOBUF_C_TYPE_BYTES) {
        return read_bytes(token->text, arena, out, complaint);
    }
    if (field->type == PROTOBUF_C_TYPE_ENUM) {
        return read_enum(field, token->text, arena, out, complaint);
    }
    assert(field->type == PROTOBUF_C_TYPE_STRING);
    outcome = read_string(rule, token->text, arena, &text, complaint);
    if (outcome != VALUE_GIVEN) {
        return outcome;
    }
    assert(text.ptr != NULL);
    /* Descriptors of protobuf-c hold texts as char *, also those nobody will change. */
    memcpy(&out->string, &text.ptr, sizeof(out->string));
    return VALUE_GIVEN;
}

enum value_outcome value_read(const ProtobufCFieldDescriptor *field,
                              const struct field_rule *rule,
                              const struct json_event *token,
                              struct arena *arena,
                              union field_value *out,
                              struct complaint *complaint)
{
    assert(field->type != PROTOBUF_C_TYPE_MESSAGE);
    assert(token->kind <= JSON_STRING);
    assert(arena != NULL);
    assert(out != NULL);
    assert(complaint != NULL);
    if (token->kind == JSON_NULL) {
        return VALUE_NULL;
    }
    if ((rule->flags & RULE_EMPTY_IS_NULL) != 0 && token->kind == JSON_STRING &&
        str_trim(token->text).len == 0) {
        return VALUE_NULL;
    }
    if (field->type == PROTOBUF_C_TYPE_BOOL) {
        return read_bool(field, rule, token, out, complaint);
    }
    if (field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_BYTES ||
        field->type == PROTOBUF_C_TYPE_ENUM) {
        return read_textual(field, rule, token, arena, out, complaint);
    }
    return read_number(field, rule, token, out, complaint);
}

/* An escaped NUL is valid JSON that no database takes as text. */
static bool holds_escaped_nul(struct str json)
{
    for (size_t i = 0; i + 1 < json.len; i++) {
        if (json.ptr[i] != '\\') {
            continue;
        }
        if (str_starts(str_sub(json, i + 1, json.len), STR("u0000"))) {
            return true;
        }
        i++; /* the next character is escaped, a backslash included */
    }
    return false;
}

enum value_outcome value_read_raw(struct str json,
                                  struct arena *arena,
                                  union field_value *out,
                                  struct complaint *complaint)
{
    assert(json.len > 0);
    assert(arena != NULL);
    assert(out != NULL);
    assert(complaint != NULL);
    if (holds_escaped_nul(json)) {
        return complain(complaint, "control", "must not hold the character U+0000");
    }
    out->string = arena_strdup(arena, json);
    return out->string == NULL ? VALUE_NO_MEMORY : VALUE_GIVEN;
}
