#include "services/witness/ask.h"

#include "avanta/common.pb-c.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>

#define ANSWER_MS 3000
#define ASK_BYTES ((size_t)256 * 1024) /* question and answer together */

struct asked {
    struct asker *asker;
    const struct api_method *method;
    ask_done done;
    void *ctx;
    struct arena *arena; /* holds this */
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
};

static enum code
answer_read(struct asked *asked, struct str payload, bool *from_log, ProtobufCMessage **out)
{
    Avanta__Reply *reply = NULL;
    ProtobufCAllocator allocator;
    struct err err = {.code = OK};
    enum code code = envelope_open_reply(
        asked->asker->sealer, payload, asked->nonce, asked->arena, &reply, &err);

    assert(out != NULL);
    if (code != OK) {
        log_event(LOG_ERROR,
                  "answer_unreadable",
                  LOG_S("method", asked->method->full_name),
                  LOG_S("why", err.text));
        return code;
    }
    asked->asker->answered_ms = loop_now_ms(asked->asker->loop);
    *from_log = true;
    if (!code_from_wire(reply->code, &code) || code != OK) {
        return code == OK ? ERR_INTERNAL : code;
    }
    transcode_allocator(&allocator, asked->arena);
    *out = protobuf_c_message_unpack(
        asked->method->out->descriptor, &allocator, reply->body.len, reply->body.data);
    return *out == NULL ? ERR_INTERNAL : OK;
}

static void on_answer(void *ctx, enum code code, struct str payload)
{
    struct asked *asked = ctx;
    struct arena *arena = asked->arena;
    ProtobufCMessage *reply = NULL;
    bool from_log = false;

    assert(arena != NULL);
    assert(asked->done != NULL);
    if (code == OK) {
        code = answer_read(asked, payload, &from_log, &reply);
    }
    asked->done(asked->ctx, code, from_log, code == OK ? reply : NULL);
    arena_dispose(&arena);
}

static enum code send(struct asked *asked, const ProtobufCMessage *in)
{
    struct asker *asker = asked->asker;
    Avanta__Request request = AVANTA__REQUEST__INIT;
    size_t size = protobuf_c_message_get_packed_size(in);
    uint8_t *body = arena_alloc(asked->arena, size + 1);
    char id[UUID_TEXT_BYTES];
    struct pool_handle handle;
    struct str frame = STR_EMPTY;
    struct err err = {.code = OK};
    enum code code = OK;

    assert(asker->sealer != NULL);
    if (body == NULL) {
        return ERR_TOO_LARGE;
    }
    (void)protobuf_c_message_pack(in, body);
    random_bytes(asked->nonce, sizeof asked->nonce);
    uuid_v7(id);
    request.method = transcode_constant(asked->method->full_name);
    request.nonce = (ProtobufCBinaryData){sizeof asked->nonce, asked->nonce};
    request.issued_ms = clock_wall_ms();
    request.deadline_ms = request.issued_ms + ANSWER_MS;
    request.request_id = id;
    request.has_body = true;
    request.body = (ProtobufCBinaryData){size, body};
    code = envelope_seal_request(asker->sealer, &request, asked->arena, &frame, &err);
    if (code == OK) {
        code = bus_call(asker->bus,
                        asked->method->subject,
                        frame,
                        loop_now_ms(asker->loop) + ANSWER_MS,
                        on_answer,
                        asked,
                        &handle,
                        &err);
    }
    return code;
}

bool ask_log(struct asker *asker,
             const struct api_method *method,
             const ProtobufCMessage *in,
             ask_done done,
             void *ctx)
{
    struct arena *arena = NULL;
    struct asked *asked = NULL;

    assert(method->subject != NULL);
    assert(in->descriptor == method->in->descriptor);
    if (!bus_connected(asker->bus)) {
        return false;
    }
    arena = arena_open(asker->arenas, ASK_BYTES);
    asked = arena == NULL ? NULL : arena_calloc(arena, 1, sizeof *asked);
    if (asked != NULL) {
        *asked = (struct asked){
            .asker = asker, .method = method, .done = done, .ctx = ctx, .arena = arena};
        if (send(asked, in) == OK) {
            return true;
        }
    }
    arena_dispose(&arena);
    return false;
}
