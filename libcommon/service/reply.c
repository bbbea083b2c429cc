/* The verdict of a request as the reply that crosses the bus. */
#include "libcommon/service/runner_internal.h"

#include <assert.h>

static enum code violations_fill(struct req *r, Avanta__Reply *out, struct err *err)
{
    const struct violations *v = r->violations;
    Avanta__FieldViolation *rows = arena_calloc(r->arena, v->count, sizeof *rows);
    Avanta__FieldViolation **pointers = arena_calloc(r->arena, v->count, sizeof(void *));

    assert(v->count <= VIOLATIONS_MAX);
    if (rows == NULL || pointers == NULL) {
        return err_set(err, ERR_TOO_LARGE, "no memory for the violations");
    }
    for (size_t i = 0; i < v->count; i++) {
        avanta__field_violation__init(&rows[i]);
        rows[i].field = proto_text(v->rows[i].field);
        rows[i].code = proto_text(v->rows[i].code);
        rows[i].message = proto_text(v->rows[i].message);
        pointers[i] = &rows[i];
    }
    out->violations = pointers;
    out->n_violations = v->count;
    return OK;
}

static enum code body_fill(struct req *r, Avanta__Reply *out, struct err *err)
{
    uint8_t *body = NULL;

    assert(out != NULL);
    if (r->out == NULL) {
        return OK;
    }
    body = arena_alloc(r->arena, protobuf_c_message_get_packed_size(r->out));
    if (body == NULL) {
        return err_set(err, ERR_TOO_LARGE, "the answer is too large");
    }
    out->body.len = protobuf_c_message_pack(r->out, body);
    out->body.data = body;
    out->has_body = 1;
    return OK;
}

enum code req_reply(struct req *r, Avanta__Reply *out, struct err *err)
{
    assert(r->code < CODE_COUNT);
    assert(out != NULL);
    avanta__reply__init(out);
    if (r->replay != NULL) {
        *out = *r->replay;
        out->has_replayed = 1;
        out->replayed = 1;
        return OK;
    }
    out->code = proto_text(code_wire(r->code));
    out->detail = proto_text(r->detail);
    if (r->reason != AVANTA__REASON__NONE) {
        out->has_reason = 1;
        out->reason = r->reason;
    }
    if (code_retryable(r->code)) {
        out->has_retry_after_s = 1;
        out->retry_after_s = r->retry_after_s > 0 ? r->retry_after_s : 1;
    }
    if (r->violations != NULL) {
        return violations_fill(r, out, err);
    }
    return r->code == OK ? body_fill(r, out, err) : OK;
}
