#include "services/ledger/ledger.h"

#include "libcommon/base/buf.h"

#include <assert.h>

struct ledger_id ledger_id_text(int64_t id)
{
    struct ledger_id out;
    struct buf b = buf_over(out.text, sizeof out.text);

    assert(id > 0);
    buf_int64(&b, id);
    bool fits = buf_terminate(&b);
    assert(fits);
    return out;
}

char *ledger_text(struct req *r, const char *literal)
{
    assert(literal != NULL);
    return arena_strdup(req_arena(r), str_from(literal));
}

enum step ledger_no_memory(struct req *r)
{
    assert(r != NULL);
    return req_fail(r, ERR_TOO_LARGE, "The request needs too much memory");
}

static bool is_set(const ProtobufCMessage *message, const ProtobufCFieldDescriptor *field)
{
    const char *base = (const char *)message;

    assert(field->offset >= sizeof *message);
    if (field->label == PROTOBUF_C_LABEL_REPEATED) {
        return *(const size_t *)(const void *)(base + field->quantifier_offset) > 0;
    }
    if (field->type == PROTOBUF_C_TYPE_STRING) {
        const char *text = *(const char *const *)(const void *)(base + field->offset);
        return text != NULL && text != field->default_value;
    }
    assert(field->quantifier_offset >= sizeof *message);
    return *(const protobuf_c_boolean *)(const void *)(base + field->quantifier_offset) != 0;
}

bool ledger_has_changes(const ProtobufCMessage *request, unsigned key_fields)
{
    assert(request != NULL);

    const ProtobufCMessageDescriptor *descriptor = request->descriptor;

    assert(key_fields > 0);
    assert(key_fields < descriptor->n_fields);
    for (unsigned i = key_fields; i < descriptor->n_fields; i++) {
        if (is_set(request, &descriptor->fields[i])) {
            return true;
        }
    }
    return false;
}

enum step ledger_done(struct req *r, const char *literal, int64_t id)
{
    Avanta__Ledger__DoneReply *out = req_out(r);

    assert(literal != NULL);
    assert(id > 0);
    out->success = true;
    out->message = ledger_text(r, literal);
    out->has_id = true;
    out->id = id;
    return out->message == NULL ? ledger_no_memory(r) : STEP_DONE;
}
