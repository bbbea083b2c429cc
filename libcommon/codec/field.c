#include "libcommon/codec/field.h"

#include <assert.h>
#include <string.h>

#define LIST_FIRST_CAP 4

static size_t value_bytes(ProtobufCType type)
{
    switch (type) {
    case PROTOBUF_C_TYPE_INT32:
    case PROTOBUF_C_TYPE_SINT32:
    case PROTOBUF_C_TYPE_SFIXED32:
    case PROTOBUF_C_TYPE_UINT32:
    case PROTOBUF_C_TYPE_FIXED32:
    case PROTOBUF_C_TYPE_ENUM:
        return sizeof(int32_t);
    case PROTOBUF_C_TYPE_INT64:
    case PROTOBUF_C_TYPE_SINT64:
    case PROTOBUF_C_TYPE_SFIXED64:
    case PROTOBUF_C_TYPE_UINT64:
    case PROTOBUF_C_TYPE_FIXED64:
        return sizeof(int64_t);
    case PROTOBUF_C_TYPE_BOOL:
        return sizeof(protobuf_c_boolean);
    case PROTOBUF_C_TYPE_STRING:
    case PROTOBUF_C_TYPE_MESSAGE:
        return sizeof(void *);
    case PROTOBUF_C_TYPE_BYTES:
        return sizeof(ProtobufCBinaryData);
    case PROTOBUF_C_TYPE_FLOAT:
    case PROTOBUF_C_TYPE_DOUBLE:
        break;
    }
    assert(!"a field type that apigen refuses");
    return 0;
}

static const char *member(const ProtobufCMessage *message, size_t offset)
{
    assert(offset >= sizeof(ProtobufCMessage));
    assert(message != NULL);
    return (const char *)message + offset;
}

bool field_is_list(const ProtobufCFieldDescriptor *field)
{
    assert(field != NULL);
    return field->label == PROTOBUF_C_LABEL_REPEATED;
}

size_t field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    size_t count = 0;

    assert(field_is_list(field));
    memcpy(&count, member(message, field->quantifier_offset), sizeof(count));
    return count;
}

const void *
field_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t element)
{
    const char *elements = NULL;

    if (!field_is_list(field)) {
        assert(element == 0);
        return member(message, field->offset);
    }
    assert(element < field_count(message, field));
    memcpy(&elements, member(message, field->offset), sizeof(elements));
    return elements + element * value_bytes(field->type);
}

static bool is_pointer(const ProtobufCFieldDescriptor *field)
{
    assert(field != NULL);
    return field->type == PROTOBUF_C_TYPE_STRING || field->type == PROTOBUF_C_TYPE_MESSAGE;
}

bool field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    protobuf_c_boolean given = 0;
    const void *pointer = NULL;

    assert(!field_is_list(field));
    if (is_pointer(field)) {
        memcpy(&pointer, member(message, field->offset), sizeof(pointer));
        return pointer != NULL && pointer != field->default_value;
    }
    if (field->quantifier_offset == 0) {
        return true;
    }
    memcpy(&given, member(message, field->quantifier_offset), sizeof(given));
    return given != 0;
}

void field_set(ProtobufCMessage *message,
               const ProtobufCFieldDescriptor *field,
               const union field_value *value)
{
    protobuf_c_boolean given = 1;

    assert(!field_is_list(field));
    assert((field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) == 0);
    assert(message != NULL);
    assert(value != NULL);
    memcpy((char *)message + field->offset, value, value_bytes(field->type));
    if (field->quantifier_offset != 0 && !is_pointer(field)) {
        memcpy((char *)message + field->quantifier_offset, &given, sizeof(given));
    }
}

/* Room is doubled at every power of two, so the count alone tells how much there is. */
static bool is_full(size_t count)
{
    return count == 0 || (count >= LIST_FIRST_CAP && (count & (count - 1)) == 0);
}

bool field_append(ProtobufCMessage *message,
                  const ProtobufCFieldDescriptor *field,
                  const union field_value *value,
                  struct arena *arena)
{
    size_t bytes = value_bytes(field->type);
    size_t count = field_count(message, field);
    char *elements = NULL;
    char *larger = NULL;

    assert(value != NULL);
    assert(arena != NULL);
    memcpy(&elements, member(message, field->offset), sizeof(elements));
    if (is_full(count)) {
        larger = arena_alloc(arena, (count == 0 ? LIST_FIRST_CAP : 2 * count) * bytes);
        if (larger == NULL) {
            return false;
        }
        if (count > 0) {
            memcpy(larger, elements, count * bytes);
        }
        elements = larger;
        memcpy((char *)message + field->offset, &elements, sizeof(elements));
    }
    memcpy(elements + count * bytes, value, bytes);
    count++;
    memcpy((char *)message + field->quantifier_offset, &count, sizeof(count));
    return true;
}

struct str field_text(const void *at)
{
    const char *text = NULL;

    assert(at != NULL);
    memcpy(&text, at, sizeof(text));
    return str_from(text);
}

void field_path_init(struct field_path *path)
{
    assert(path != NULL);
    path->len = 0;
    path->text[0] = '\0';
}

/* All of the part or nothing of it, and always NUL ended. */
static void path_add(struct field_path *path, struct buf *part)
{
    assert(path->len < sizeof(path->text));
    if (part->overflow || part->len >= sizeof(path->text) - path->len) {
        return;
    }
    memcpy(path->text + path->len, part->ptr, part->len);
    path->len += part->len;
    path->text[path->len] = '\0';
}

void field_path_name(struct field_path *path, const char *name)
{
    char memory[FIELD_PATH_BYTES / 2];
    struct buf part = buf_over(memory, sizeof(memory));

    assert(name != NULL);
    if (path->len > 0) {
        buf_char(&part, '.');
    }
    buf_text(&part, name);
    path_add(path, &part);
}

void field_path_index(struct field_path *path, size_t index)
{
    char memory[32];
    struct buf part = buf_over(memory, sizeof(memory));

    assert(path != NULL);
    buf_char(&part, '[');
    buf_uint64(&part, index);
    buf_char(&part, ']');
    path_add(path, &part);
}
