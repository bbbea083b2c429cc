/* From parameters (query, path, cookie, header) to messages. */
#include "libcommon/codec/binder.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

/* What the front end's URLSearchParams make of a value it does not have. */
static bool is_absent(enum api_source source, struct str value)
{
    if (source != API_SOURCE_QUERY) {
        return false;
    }
    return value.len == 0 || str_eq(value, STR("undefined")) || str_eq(value, STR("null")) ||
           str_eq(value, STR("NaN"));
}

static enum code set_raw_text(struct binder *b, struct str value)
{
    static const struct complaint not_json = {"type", "must be JSON"};

    if (json_validate(value, NULL) == OK) {
        return binder_store_raw(b, value);
    }
    binder_report(b, &not_json);
    return OK;
}

/* Of a field that takes one value, the first one given counts. */
static bool is_given(const struct bind_frame *f)
{
    const ProtobufCFieldDescriptor *field = binder_field(f);

    assert(f != NULL);
    return !field_is_list(field) && field->label != PROTOBUF_C_LABEL_REQUIRED &&
           field_is_set(f->message, field);
}

/* The contract names its eight inputs one by one. */
/* NOLINTNEXTLINE(readability-function-size) */
enum code transcode_set_text(const struct message_rules *rules,
                             enum api_source source,
                             struct str name,
                             struct str value,
                             struct arena *arena,
                             ProtobufCMessage *out,
                             struct violations *violations,
                             bool *out_known)
{
    struct binder b = {.arena = arena, .violations = violations};
    struct json_event token = {.kind = JSON_STRING, .text = value};

    assert(out->descriptor == rules->descriptor);
    assert(out_known != NULL);
    assert(arena != NULL);
    assert(violations != NULL);
    binder_push(&b, rules, out);
    *out_known = binder_find(binder_top(&b), source, name);
    if (!*out_known || is_absent(source, value) || is_given(binder_top(&b))) {
        return OK;
    }
    assert(binder_field(binder_top(&b))->type !=
           PROTOBUF_C_TYPE_MESSAGE); /* apigen allows it in bodies only */
    if ((binder_rule(binder_top(&b))->flags & RULE_RAW_JSON) != 0) {
        return set_raw_text(&b, value);
    }
    return binder_store_scalar(&b, &token);
}
