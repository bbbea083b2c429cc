-- name: audit_insert
-- in: avanta.audit_log.AuditRow
-- out: none
-- set: place
-- unscoped: records come from the stream, each with its owner
-- request_id of the context is the record's id on the stream: a second delivery adds nothing.
INSERT INTO audit_record (user_id, message_id, actor_id, action_type, entity_type, entity_id, action_details,
                          ip_address, user_agent, session_id, occurred_at, severity, status, request_id, service)
SELECT owner, record_id, actor, action_type, entity_type, entity_id, details, ip_address, agent, session,
       to_timestamp(occurred_ms::double precision / 1000), severity, status, request, service
FROM unnest(
    (SELECT :owner::uuid[]), (SELECT :request_id::text[]), (SELECT :actor::text[]),
    (SELECT :action_type::text[]), (SELECT :entity_type::text[]), (SELECT :entity_id::text[]),
    (SELECT :details::text[]), (SELECT :ip_address::text[]), (SELECT :agent::text[]),
    (SELECT :session::text[]), (SELECT :occurred_ms::bigint[]), (SELECT :severity::text[]),
    (SELECT :status::text[]), (SELECT :request::text[]), (SELECT :service::text[])
) WITH ORDINALITY AS r (
    owner, record_id, actor, action_type, entity_type, entity_id, details, ip_address, agent, session,
    occurred_ms, severity, status, request, service, place)
ORDER BY place
ON CONFLICT (message_id) DO NOTHING;

-- name: audit_list
-- in: avanta.audit_log.ListAuditLogRequest
-- out: avanta.audit_log.AuditEntry
-- each: ORDER = time_desc: occurred_at DESC, id DESC | time_asc: occurred_at ASC, id ASC | action_desc: action_type DESC, id DESC | action_asc: action_type ASC, id ASC | severity_desc: array_position(ARRAY['low', 'medium', 'high', 'critical'], severity) DESC, id DESC | severity_asc: array_position(ARRAY['low', 'medium', 'high', 'critical'], severity) ASC, id ASC
SELECT 'audit_' || id AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address, user_agent,
       session_id, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS timestamp, severity, status,
       actor_id, request_id
FROM audit_record
WHERE user_id = :user_id::uuid
  AND (:action_type::text IS NULL OR action_type = :action_type)
  AND (:entity_type::text IS NULL OR entity_type = :entity_type)
  AND (:entity_id::text IS NULL OR entity_id = :entity_id)
  AND (:severity::text IS NULL OR severity = :severity)
  AND (:status::text IS NULL OR status = :status)
  AND (:date_from::date IS NULL OR occurred_at >= :date_from::date AT TIME ZONE 'America/Mexico_City')
  AND (:date_to::date IS NULL OR occurred_at < (:date_to::date + 1) AT TIME ZONE 'America/Mexico_City')
ORDER BY {ORDER}
LIMIT :limit::bigint
OFFSET CASE WHEN :page::bigint IS NULL THEN :offset::bigint ELSE (:page::bigint - 1) * :limit::bigint END;

-- name: audit_total
-- in: avanta.audit_log.ListAuditLogRequest
-- out: avanta.audit_log.AuditTotal
SELECT count(*) AS total
FROM audit_record
WHERE user_id = :user_id::uuid
  AND (:action_type::text IS NULL OR action_type = :action_type)
  AND (:entity_type::text IS NULL OR entity_type = :entity_type)
  AND (:entity_id::text IS NULL OR entity_id = :entity_id)
  AND (:severity::text IS NULL OR severity = :severity)
  AND (:status::text IS NULL OR status = :status)
  AND (:date_from::date IS NULL OR occurred_at >= :date_from::date AT TIME ZONE 'America/Mexico_City')
  AND (:date_to::date IS NULL OR occurred_at < (:date_to::date + 1) AT TIME ZONE 'America/Mexico_City');
