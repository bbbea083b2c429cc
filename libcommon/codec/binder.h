#pragma once
/*
 * Internal to codec: the message being filled from outside, and where in it the next value goes.
 * Nesting is a stack of frames, one per open container. One request, one thread; memory from the
 * arena. Functions that return a code say ERR_TOO_LARGE when it is full.
 */

#include "libcommon/base/limits.h"
#include "libcommon/codec/api.h"
#include "libcommon/codec/field.h"
#include "libcommon/codec/transcode_value.h"
#include "libcommon/codec/violations.h"

#define FIELDS_MAX 256 /* of one message */
#define NO_FIELD   UINT32_MAX

/* An object that fills a message, or the list one of its fields takes. */
struct bind_frame {
    const struct message_rules *rules;
    ProtobufCMessage *message;
    uint32_t field;   /* under way; NO_FIELD: a name nobody knows */
    const char *name; /* as the client wrote it */
    bool list;
    size_t items; /* finished elements of a list */
    uint64_t seen[FIELDS_MAX / 64];
};

struct binder {
    struct arena *arena;
    struct violations *violations;
    struct err *err;
    struct bind_frame frames[JSON_DEPTH_MAX];
    uint32_t depth;
};

enum code binder_no_memory(struct err *err);

void binder_push(struct binder *b, const struct message_rules *rules, ProtobufCMessage *message);
struct bind_frame *binder_top(struct binder *b);
const ProtobufCFieldDescriptor *binder_field(const struct bind_frame *f);
const struct field_rule *binder_rule(const struct bind_frame *f);

/* Makes the field with that API name or alias and that source the one under way. False (and
 * NO_FIELD) when there is none. */
bool binder_find(struct bind_frame *f, enum api_source source, struct str name);

/* The path of the value under way in the first `depth` frames. */
void binder_path(const struct binder *b, uint32_t depth, struct field_path *path);
void binder_report(struct binder *b, const struct complaint *complaint);

/* Set the field under way, or add an element to it. What is wrong is reported, not returned. */
enum code binder_store(struct binder *b, const union field_value *value) MUST_CHECK;
enum code binder_store_scalar(struct binder *b, const struct json_event *token) MUST_CHECK;
enum code binder_store_raw(struct binder *b, struct str json) MUST_CHECK;
enum code binder_store_null(struct binder *b) MUST_CHECK;
/* An empty element in the place of a wrong one; nothing where there is no list. */
enum code binder_store_placeholder(struct binder *b) MUST_CHECK;
