#pragma once
/*
 * Questions to audit-log: sealed, over the bus, with a deadline. Each lives in an arena of its own.
 * Loop thread.
 */

#include "libcommon/base/arena.h"
#include "libcommon/codec/api.h"
#include "libcommon/io/bus.h"
#include "libcommon/io/envelope.h"

struct asker {
    struct loop *loop;
    struct bus *bus;
    struct sealer *sealer; /* with audit-log's key */
    struct arena_pool *arenas;
    uint64_t answered_ms; /* loop time of the last answer, whatever it said; 0: none yet */
};

/* OK with the reply, which lives until this returns; else reply is NULL. `from_log`: the code is
 * audit-log's own, not what became of the question on its way. Not called from ask_log(). */
typedef void (*ask_done)(void *ctx, enum code code, bool from_log, const ProtobufCMessage *reply);

/* `in` is packed at once. False: it could not be asked, and `done` is not called. */
bool ask_log(struct asker *asker,
             const struct api_method *method,
             const ProtobufCMessage *in,
             ask_done done,
             void *ctx) MUST_CHECK;
