#pragma once
/* What the handlers of the ledger share. Loop thread only; memory is the request's arena. */

#include "avanta/ledger.pb-c.h"
#include "avanta/ledger_internal.pb-c.h"

#include "libcommon/service/req.h"

#define LEDGER_ID_BYTES 21 /* any int64 and NUL */

struct ledger_id {
    char text[LEDGER_ID_BYTES];
};

/* Records are named by their decimal id in events and audit. */
struct ledger_id ledger_id_text(int64_t id);

/* A copy of a literal; NULL when the arena is full, which ends the request at its next allocation.
 */
char *ledger_text(struct req *r, const char *literal);
enum step ledger_no_memory(struct req *r);

/* True when the request holds a field to change: anything set but the fields that name the record,
 * which come first in these messages (`key_fields` of them). */
bool ledger_has_changes(const ProtobufCMessage *request, unsigned key_fields);

/* success, message and id; STEP_DONE. */
enum step ledger_done(struct req *r, const char *literal, int64_t id);
