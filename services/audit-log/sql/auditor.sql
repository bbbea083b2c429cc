-- What the auditor compares; see auditor.c.

-- name: auditor_lock
-- in: none
-- out: avanta.audit_log.TreeOurs
SELECT pg_try_advisory_xact_lock(hashtextextended('audit_auditor', 0)) AS ours;

-- name: auditor_changes
-- in: none
-- out: avanta.audit_log.AuditorChanges
-- Rows of these tables that were ever updated or deleted: none, by whoever works as designed.
SELECT coalesce(sum(n_tup_upd + n_tup_del), 0)::bigint AS changes
FROM pg_stat_user_tables
WHERE relname LIKE 'audit\_%';

-- name: auditor_records
-- in: avanta.audit_log.TreeRange
-- out: avanta.audit_log.AuditEntry
-- unscoped: everybody's records are checked
SELECT 'audit_' || leaf_index AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address,
       user_agent, session_id, severity, status, actor_id, request_id, credential, method, before, trace_id, service,
       leaf_index, message_id, (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms
FROM audit_record
WHERE leaf_index >= :first::bigint AND leaf_index < :first::bigint + :count::bigint
ORDER BY leaf_index;

-- name: auditor_sealed
-- in: avanta.audit_log.TreeRange
-- out: avanta.audit_log.AuditorSealed
-- The runs of leaves whose records left by sealed export.
SELECT lower(run) AS first, upper(run) - lower(run) AS count
FROM audit_seal
CROSS JOIN LATERAL unnest(leaves * int8multirange(int8range(:first::bigint, :first::bigint + :count::bigint))) AS run
ORDER BY 1;
