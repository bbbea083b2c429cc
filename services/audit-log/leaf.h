#pragma once
/*
 * A record as a leaf of the tree: a JSON object of what is stored, in canonical form (RFC 8785),
 * without the members it has no value for. Its members are action_type, actor_id, before,
 * credential, details, entity_id, entity_type, id, ip_address, method, occurred_ms, request_id,
 * service, session_id, severity, status, trace_id, user_agent and user_id; new ones may come, since
 * a record without them keeps its hash. The leaf is hashed as RFC 6962 2.1 says: SHA-256(0x00 ||
 * text). Pure.
 */

#include "avanta/audit_log.pb-c.h"
#include "avanta/audit_log_internal.pb-c.h"

#include "libcommon/base/arena.h"
#include "libcommon/io/merkle.h"

/* A row that audit_clean() has passed, with its id in `record`; empty: the arena is full. */
struct str leaf_text(const Avanta__AuditLog__AuditRow *row, struct arena *arena);
/* The row a stored record was made of; texts are shared. */
void leaf_row(const Avanta__AuditLog__AuditEntry *entry, Avanta__AuditLog__AuditRow *out);
/* False: the arena is full. */
bool leaf_hash(const Avanta__AuditLog__AuditRow *row,
               struct arena *arena,
               struct merkle_hash *out) MUST_CHECK;
