#pragma once
/*
 * Internal to codec: a JSON text to events, on yajl, with our bounds and refusals (json_scan.h) in
 * front. Numbers come as their text, so decimals stay exact. No tree, no malloc: yajl works in
 * memory of ours. Pure; any thread; the text is untrusted.
 */

#include "libcommon/base/arena.h"

enum json_kind {
    JSON_NULL,
    JSON_BOOL,
    JSON_NUMBER,
    JSON_STRING,
    JSON_KEY,
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END
};

struct json_event {
    enum json_kind kind;
    bool boolean;
    struct str text; /* the number as written; string or key decoded; gone after the call */
    size_t from;     /* the token's bytes in the JSON text */
    size_t to;
};

/* Anything but OK stops the reading and is returned by json_read(). */
typedef enum code json_visit(void *ctx, const struct json_event *event);

/* ERR_JSON: not one JSON value (RFC 8259), beyond our bounds, a name twice in one object, a name of
 * more than JSON_KEY_BYTES_MAX bytes. ERR_TOO_LARGE: the arena is full. Events before an error were
 * real. */
enum code json_read(
    struct str json, struct arena *arena, json_visit *visit, void *ctx, struct err *err) MUST_CHECK;

/* The text alone, without memory: names may repeat and may be of any length. */
enum code json_validate(struct str json, struct err *err) MUST_CHECK;
