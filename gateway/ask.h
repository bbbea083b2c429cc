#pragma once
/*
 * Questions the gateway asks identity for itself: sealed, over the bus, with a deadline. The
 * question lives in an arena of its own. Loop thread of the worker.
 */

#include "gateway/worker.h"

struct ask {
    const struct api_method *method; /* of identity, without HTTP */
    const ProtobufCMessage *in;      /* packed at once */
    struct str client_ip;            /* for whose request it is; may be empty */
    uint32_t deadline_ms;
    size_t bytes_max; /* of question and answer together */
    /* OK with the reply, which lives until this returns; else reply is NULL. Not called from
     * ask_identity(). */
    void (*done)(void *ctx, enum code code, const ProtobufCMessage *reply);
    void *ctx;
};

/* False: it could not be asked, and `done` is not called. */
bool ask_identity(struct worker *worker, const struct ask *ask) MUST_CHECK;
