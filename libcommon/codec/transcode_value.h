#pragma once
/*
 * Internal to codec: one scalar from outside (a JSON token or a parameter's text) to the value of a
 * field. Nothing is stored here. Pure; any thread; memory from the arena.
 */

#include "libcommon/codec/api.h"
#include "libcommon/codec/field.h"
#include "libcommon/codec/json_read.h"

#define COMPLAINT_BYTES 192

/* What is wrong with a value, for people: "must be a whole number, not text". */
struct complaint {
    const char *code; /* of struct violation */
    char text[COMPLAINT_BYTES];
};

enum value_outcome {
    VALUE_GIVEN,
    VALUE_NULL, /* null, or empty text where that means null */
    VALUE_WRONG,
    VALUE_NO_MEMORY
};

/* `token` is JSON_NULL, JSON_BOOL, JSON_NUMBER or JSON_STRING; parameters come as JSON_STRING. */
enum value_outcome value_read(const ProtobufCFieldDescriptor *field,
                              const struct field_rule *rule,
                              const struct json_event *token,
                              struct arena *arena,
                              union field_value *out,
                              struct complaint *complaint) MUST_CHECK;

/* A raw_json field takes the slice of the text as it stands. */
enum value_outcome value_read_raw(struct str json,
                                  struct arena *arena,
                                  union field_value *out,
                                  struct complaint *complaint) MUST_CHECK;

/* "must be an object, not text" of the whole field (`list`) or of an element or single value. */
void complain_type(struct complaint *complaint,
                   const ProtobufCFieldDescriptor *field,
                   const struct field_rule *rule,
                   bool list,
                   enum json_kind given);
