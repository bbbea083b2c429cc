#pragma once
/* Sessions as people see them, for their user and for administrators. */

#include "services/identity/identity.h"

#include "libcommon/service/req.h"

enum step session_list_select(struct req *r, const char *owner_id);
/* The rows of session_list_select() with their devices' names. False: error set. */
bool session_list_read(struct req *r,
                       size_t *out_count,
                       Avanta__Identity__Session ***out) MUST_CHECK;
/* The event and audit record of sessions that were ended; `user_id` NULL: the caller's. `reason`
 * is for people. */
void sessions_ended_emit(struct req *r, const char *user_id, uint32_t count, const char *reason);

/* Deletes sessions that ended a week ago. */
extern const struct op op_identity_purge_sessions;
