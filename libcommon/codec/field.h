#pragma once
/*
 * Internal to codec: the fields of a protobuf-c message by descriptor, and the paths that name them
 * to the client. oneof, float, double and groups do not occur in the API (apigen refuses them).
 * Lists are grown by field_append() only, in messages that transcode_new() made.
 */

#include "libcommon/base/arena.h"
#include "libcommon/base/buf.h"

#include <protobuf-c/protobuf-c.h>

union field_value {
    int32_t i32; /* enums too */
    uint32_t u32;
    int64_t i64;
    uint64_t u64;
    protobuf_c_boolean boolean;
    char *string;
    ProtobufCMessage *message;
    ProtobufCBinaryData bytes;
};

bool field_is_list(const ProtobufCFieldDescriptor *field);
/* The one value of a field that is no list, or an element. */
const void *
field_at(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field, size_t element);
size_t field_count(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
/* Given by somebody, not merely its default. Required scalars always are. */
bool field_is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field);
void field_set(ProtobufCMessage *message,
               const ProtobufCFieldDescriptor *field,
               const union field_value *value);
/* False when the arena is full. */
bool field_append(ProtobufCMessage *message,
                  const ProtobufCFieldDescriptor *field,
                  const union field_value *value,
                  struct arena *arena) MUST_CHECK;
/* The text at `at`; NULL counts as empty. */
struct str field_text(const void *at);

/* "updates[3].amount". Longer ones are cut. */
#define FIELD_PATH_BYTES 1024

struct field_path {
    char text[FIELD_PATH_BYTES];
    size_t len;
};

void field_path_init(struct field_path *path);
void field_path_name(struct field_path *path, const char *name);
void field_path_index(struct field_path *path, size_t index);
