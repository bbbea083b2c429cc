#pragma once
/*
 * Operations the gateway answers by itself (service Gateway in proto/avanta/gateway.proto). A local
 * function fills the reply message at once; it runs on the worker's loop thread and must not wait.
 */

#include "libcommon/base/arena.h"
#include "libcommon/codec/api.h"

struct worker;

struct local_call {
    struct worker *worker;
    struct arena *arena;
    const ProtobufCMessage *in;
    ProtobufCMessage *out; /* initialised */
    uint16_t status;       /* of the answer; the method's own unless changed */
};

typedef enum code local_fn(struct local_call *call);

struct local_row {
    const struct api_method *method;
    local_fn *fn;
};
