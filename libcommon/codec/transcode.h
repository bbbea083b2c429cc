#pragma once
/*
 * JSON and HTTP parameters <-> protobuf-c messages, driven by descriptor and rule table. Pure
 * functions: memory comes from the arena, results point into it. Any thread. Bounds:
 * JSON_DEPTH_MAX, the body's size, VIOLATIONS_MAX. Input is untrusted.
 */

#include "libcommon/base/buf.h"
#include "libcommon/codec/api.h"
#include "libcommon/codec/violations.h"

/* An allocator over the arena for protobuf-c's unpack; frees nothing. `allocator` must live as long
 * as the arena is used through it. */
void transcode_allocator(ProtobufCAllocator *allocator, struct arena *arena);

/* A constant as a string field of a message: protobuf-c has no const strings, and nobody writes
 * through them. */
static inline char *transcode_constant(const char *text)
{
    return (char *)(uintptr_t)text; /* NOLINT(performance-no-int-to-ptr): only const is dropped */
}

/* A message of the type, initialised to its defaults; NULL when the arena is full. */
ProtobufCMessage *transcode_new(const ProtobufCMessageDescriptor *descriptor, struct arena *arena);

/*
 * Fills `out` (initialised) from a JSON object. ERR_JSON: not JSON, too deep, duplicate key;
 * ERR_TOO_LARGE: the arena is full. OK with rows in `violations`: JSON, but not an object (field
 * ""), or wrong types or values; every wrong field is reported. Unknown fields are ignored unless
 * the message is strict. Only fields whose source is the body are bound. An empty body counts as
 * {}. Where one field is given under several of its names, the first one counts. Numbers are taken
 * from their text: money and decimals exactly; integers refuse fractions. Decimal strings are
 * accepted where a decimal is meant, "true"/"false"/0/1/"0"/"1" where a flag is. Text is checked as
 * UTF-8, refused with control characters, trimmed and normalised to NFC unless exact.
 */
enum code transcode_from_json(struct str json,
                              const struct message_rules *rules,
                              struct arena *arena,
                              ProtobufCMessage *out,
                              struct violations *violations,
                              struct err *err) MUST_CHECK;

/* Checks one JSON text against RFC 8259 and our bounds, any value at top level. */
enum code json_check(struct str json, struct err *err) MUST_CHECK;

/*
 * Binds one text value to the field with that API name or alias and that source; repeated fields
 * take one element per call. The value is already percent-decoded. Query values that are empty or
 * the literal undefined, null or NaN count as absent. Unknown names are ignored (`*out_known`
 * tells).
 */
enum code transcode_set_text(const struct message_rules *rules,
                             enum api_source source,
                             struct str name,
                             struct str value,
                             struct arena *arena,
                             ProtobufCMessage *out,
                             struct violations *violations,
                             bool *out_known) MUST_CHECK;

/*
 * Writes the message as JSON: fields in declaration order, hidden ones left out, unset ones null or
 * absent as the rules say, money with two places, flags 0/1, text escaped (U+2028 and
 * U+2029 too; '<', '>' and '&' stay as they are). An unset field that declares a default shows it.
 * `body_field` >= 0 writes only that field's value. The text lives in the arena; ERR_TOO_LARGE when
 * it does not fit `bytes_max`.
 */
enum code transcode_to_json(const ProtobufCMessage *message,
                            const struct message_rules *rules,
                            int body_field,
                            struct arena *arena,
                            size_t bytes_max,
                            struct str *out,
                            struct err *err) MUST_CHECK;
/* The same for records: the whole message, and nothing for what is unset. */
enum code transcode_to_record(const ProtobufCMessage *message,
                              const struct message_rules *rules,
                              struct arena *arena,
                              size_t bytes_max,
                              struct str *out,
                              struct err *err) MUST_CHECK;
