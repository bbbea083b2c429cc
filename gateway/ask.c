#include "gateway/ask.h"

#include "avanta/common.pb-c.h"

#include "libcommon/base/clock.h"
#include "libcommon/base/id.h"
#include "libcommon/base/log.h"
#include "libcommon/codec/transcode.h"

#include <assert.h>
#include <string.h>

struct asked {
    struct ask ask;
    struct worker *worker;
    struct arena *arena; /* holds this */
    uint8_t nonce[ENVELOPE_NONCE_BYTES];
};

static enum code answer_read(struct asked *asked, struct str payload, ProtobufCMessage **out)
{
    struct sealer *sealer = asked->worker->sealers[GATEWAY_IDENTITY];
    Avanta__Reply *reply = NULL;
    ProtobufCAllocator allocator;
    struct err err = {.code = OK};
    enum code code = envelope_open_reply(sealer, payload, asked->nonce, asked->arena, &reply, &err);

    assert(out != NULL);
    if (code != OK) {
        log_event(LOG_ERROR,
                  "answer_unreadable",
                  LOG_S("method", asked->ask.method->full_name),
                  LOG_S("why", err.text));
        return code;
    }
    asked->worker->service_seen_ms[GATEWAY_IDENTITY] = loop_now_ms(asked->worker->loop);
    if (!code_from_wire(reply->code, &code) || code != OK) {
        return code == OK ? ERR_INTERNAL : code;
    }
    transcode_allocator(&allocator, asked->arena);
    *out = protobuf_c_message_unpack(
        asked->ask.method->out->descriptor, &allocator, reply->body.len, reply->body.data);
    if (*out == NULL) {
        log_event(LOG_ERROR,
                  "answer_unreadable",
                  LOG_S("method", asked->ask.method->full_name),
                  LOG_S("why", "no such message, or too much of it"));
        return ERR_INTERNAL;
    }
    return OK;
}

static void on_answer(void *ctx, enum code code, struct str payload)
{
    struct asked *asked = ctx;
    struct arena *arena = asked->arena;
    ProtobufCMessage *reply = NULL;

    assert(arena != NULL);
    assert(asked->ask.done != NULL);
    if (code == OK) {
        code = answer_read(asked, payload, &reply);
    }
    asked->ask.done(asked->ask.ctx, code, code == OK ? reply : NULL);
    arena_dispose(&arena);
}

static enum code send(struct asked *asked)
{
    const struct ask *ask = &asked->ask;
    struct worker *worker = asked->worker;
    Avanta__Request request = AVANTA__REQUEST__INIT;
    size_t size = protobuf_c_message_get_packed_size(ask->in);
    uint8_t *body = arena_alloc(asked->arena, size + 1);
    char id[UUID_TEXT_BYTES];
    struct pool_handle handle;
    struct str frame = STR_EMPTY;
    struct err err = {.code = OK};
    enum code code = OK;

    assert(worker->sealers[GATEWAY_IDENTITY] != NULL);
    if (body == NULL) {
        return ERR_TOO_LARGE;
    }
    (void)protobuf_c_message_pack(ask->in, body);
    random_bytes(asked->nonce, sizeof asked->nonce);
    uuid_v7(id);
    request.method = transcode_constant(ask->method->full_name);
    request.nonce = (ProtobufCBinaryData){sizeof asked->nonce, asked->nonce};
    request.issued_ms = clock_wall_ms();
    request.deadline_ms = request.issued_ms + ask->deadline_ms;
    request.request_id = id;
    request.client_ip = ask->client_ip.len == 0 ? NULL : arena_strdup(asked->arena, ask->client_ip);
    request.has_body = true;
    request.body = (ProtobufCBinaryData){size, body};
    code = envelope_seal_request(
        worker->sealers[GATEWAY_IDENTITY], &request, asked->arena, &frame, &err);
    if (code == OK) {
        code = bus_call(worker->bus,
                        ask->method->subject,
                        frame,
                        loop_now_ms(worker->loop) + ask->deadline_ms,
                        on_answer,
                        asked,
                        &handle,
                        &err);
    }
    return code;
}

bool ask_identity(struct worker *worker, const struct ask *ask)
{
    struct arena *arena = NULL;
    struct asked *asked = NULL;

    assert(worker->arenas != NULL);
    assert(ask->method->subject != NULL);
    if (!bus_connected(worker->bus)) {
        return false;
    }
    arena = arena_open(worker->arenas, ask->bytes_max);
    asked = arena == NULL ? NULL : arena_calloc(arena, 1, sizeof *asked);
    if (asked != NULL) {
        asked->ask = *ask;
        asked->worker = worker;
        asked->arena = arena;
        if (send(asked) == OK) {
            return true;
        }
    }
    arena_dispose(&arena);
    return false;
}
