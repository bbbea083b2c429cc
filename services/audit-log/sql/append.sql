-- name: audit_append
-- in: avanta.audit_log.AuditRow
-- out: none
-- set: place
-- unscoped: records come from the stream, each with its owner
-- record is its id: a second delivery adds nothing.
INSERT INTO audit_record (user_id, occurred_at, leaf_index, message_id, actor_id, credential, session_id, method,
                          action_type, entity_type, entity_id, before, action_details, ip_address, user_agent,
                          severity, status, request_id, trace_id, service)
SELECT owner, to_timestamp(occurred_ms::double precision / 1000), leaf.leaf_index, record_id, actor, credential, session,
       method, action_type, entity_type, entity_id, before, details, ip_address, agent, severity, status, request,
       trace, service
FROM unnest(
    (SELECT :owner::uuid[]), (SELECT :record::text[]), (SELECT :actor::text[]),
    (SELECT :credential::text[]), (SELECT :session::text[]), (SELECT :method::text[]),
    (SELECT :action_type::text[]), (SELECT :entity_type::text[]), (SELECT :entity_id::text[]),
    (SELECT :before::text[]), (SELECT :details::text[]), (SELECT :ip_address::text[]), (SELECT :agent::text[]),
    (SELECT :occurred_ms::bigint[]), (SELECT :severity::text[]), (SELECT :status::text[]),
    (SELECT :request::text[]), (SELECT :trace::text[]), (SELECT :service::text[])
) AS r (
    owner, record_id, actor, credential, session, method, action_type, entity_type, entity_id, before, details,
    ip_address, agent, occurred_ms, severity, status, request, trace, service)
JOIN audit_leaves_append((SELECT :record::text[]), (SELECT :leaf_hash::bytea[])) AS leaf
  ON leaf.message_id = r.record_id;

-- name: audit_appended
-- in: avanta.audit_log.AuditRow
-- out: avanta.audit_log.AuditEntry
SELECT 'audit_' || r.leaf_index AS id, r.user_id, r.action_type, r.entity_type, r.entity_id, r.action_details,
       r.ip_address, r.user_agent, r.session_id,
       to_char(r.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS timestamp, r.severity, r.status,
       r.actor_id, r.request_id, r.credential, r.method, r.before, r.trace_id, r.service, r.leaf_index, r.message_id,
       (extract(epoch FROM r.occurred_at) * 1000)::bigint AS occurred_ms
FROM audit_record AS r
WHERE r.user_id = :user_id::uuid
  AND r.leaf_index = (SELECT leaf.leaf_index FROM audit_leaf AS leaf WHERE leaf.message_id = :record);
