-- Search. An optional filter is a condition on its parameter; PostgreSQL plans these statements for the values at
-- hand (plan_each_time) and drops the conditions that are null, so that the index of what was asked for is taken.

-- name: audit_list
-- in: avanta.audit_log.AuditSearch
-- out: avanta.audit_log.AuditEntry
-- each: ORDER = time_desc: occurred_at DESC, leaf_index DESC | time_asc: occurred_at ASC, leaf_index ASC | action_desc: action_type DESC, occurred_at DESC, leaf_index DESC | action_asc: action_type ASC, occurred_at DESC, leaf_index DESC | severity_desc: array_position(ARRAY['low', 'medium', 'high', 'critical'], severity) DESC, occurred_at DESC, leaf_index DESC | severity_asc: array_position(ARRAY['low', 'medium', 'high', 'critical'], severity) ASC, occurred_at DESC, leaf_index DESC
SELECT 'audit_' || leaf_index AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address,
       user_agent, session_id, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS timestamp, severity,
       status, actor_id, request_id, credential, method, before, trace_id, service, leaf_index, message_id,
       (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms
FROM audit_record
WHERE user_id = :user_id::uuid AND plan_each_time(:user_id::uuid)
  AND (:action_type::text IS NULL OR action_type = :action_type)
  AND (:entity_type::text IS NULL OR entity_type = :entity_type)
  AND (:entity_id::text IS NULL OR entity_id = :entity_id)
  AND (:severity::text IS NULL OR severity = :severity)
  AND (:status::text IS NULL OR status = :status)
  AND (:request::text IS NULL OR request_id = :request)
  AND (:date_from::date IS NULL OR occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
  AND (:date_to::date IS NULL OR occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
  AND (:before_leaf::bigint IS NULL
       OR (occurred_at, leaf_index) < (to_timestamp(:cursor_ms::double precision / 1000), :before_leaf::bigint))
  AND (:after_leaf::bigint IS NULL
       OR (occurred_at, leaf_index) > (to_timestamp(:cursor_ms::double precision / 1000), :after_leaf::bigint))
ORDER BY {ORDER}
LIMIT :limit::bigint + 1
OFFSET :offset::bigint;

-- name: audit_total
-- in: avanta.audit_log.AuditSearch
-- out: avanta.audit_log.AuditTotal
SELECT count(*) AS total
FROM (
    SELECT FROM audit_record
    WHERE user_id = :user_id::uuid AND plan_each_time(:user_id::uuid)
      AND (:action_type::text IS NULL OR action_type = :action_type)
      AND (:entity_type::text IS NULL OR entity_type = :entity_type)
      AND (:entity_id::text IS NULL OR entity_id = :entity_id)
      AND (:severity::text IS NULL OR severity = :severity)
      AND (:status::text IS NULL OR status = :status)
      AND (:request::text IS NULL OR request_id = :request)
      AND (:date_from::date IS NULL OR occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
      AND (:date_to::date IS NULL OR occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
    LIMIT :count_max::bigint + 1
) AS counted;

-- name: audit_search
-- in: avanta.audit_log.AuditSearch
-- out: avanta.audit_log.AuditEntry
-- each: ORDER = desc: occurred_at DESC, leaf_index DESC | asc: occurred_at ASC, leaf_index ASC
-- unscoped: administrators read everybody's
SELECT 'audit_' || leaf_index AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address,
       user_agent, session_id, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS timestamp, severity,
       status, actor_id, request_id, credential, method, before, trace_id, service, leaf_index, message_id,
       (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms
FROM audit_record
WHERE plan_each_time(:user_id::uuid)
  AND (:owner::uuid IS NULL OR user_id = :owner::uuid)
  AND (:actor::text IS NULL OR actor_id = :actor)
  AND (:action_type::text IS NULL OR action_type = :action_type)
  AND (:entity_type::text IS NULL OR entity_type = :entity_type)
  AND (:entity_id::text IS NULL OR entity_id = :entity_id)
  AND (:severity::text IS NULL OR severity = :severity)
  AND (:status::text IS NULL OR status = :status)
  AND (:request::text IS NULL OR request_id = :request)
  AND (:date_from::date IS NULL OR occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
  AND (:date_to::date IS NULL OR occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
  AND (:before_leaf::bigint IS NULL
       OR (occurred_at, leaf_index) < (to_timestamp(:cursor_ms::double precision / 1000), :before_leaf::bigint))
  AND (:after_leaf::bigint IS NULL
       OR (occurred_at, leaf_index) > (to_timestamp(:cursor_ms::double precision / 1000), :after_leaf::bigint))
ORDER BY {ORDER}
LIMIT :limit::bigint + 1;

-- name: audit_get
-- in: avanta.audit_log.AuditLeaf
-- out: avanta.audit_log.AuditEntry
SELECT 'audit_' || leaf_index AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address,
       user_agent, session_id, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS timestamp, severity,
       status, actor_id, request_id, credential, method, before, trace_id, service, leaf_index, message_id,
       (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms
FROM audit_record
WHERE user_id = :user_id::uuid AND leaf_index = :leaf_index::bigint;

-- name: audit_stats
-- in: none
-- out: avanta.audit_log.AuditStats
-- Of the newest: a row for each severity and action.
SELECT severity, action_type, count(*) AS count,
       count(*) FILTER (WHERE occurred_at > now() - interval '24 hours') AS recent
FROM (
    SELECT severity, action_type, occurred_at
    FROM audit_record
    WHERE user_id = :user_id::uuid
    ORDER BY occurred_at DESC, leaf_index DESC
    LIMIT 100000
) AS newest
GROUP BY severity, action_type
ORDER BY count(*) DESC, action_type;

-- name: audit_export
-- in: avanta.audit_log.AuditSearch
-- out: avanta.audit_log.AuditEntry
-- Newest first, as many as bytes_max of text lets.
SELECT id, user_id, action_type, entity_type, entity_id, action_details, ip_address, user_agent, session_id, timestamp,
       severity, status, actor_id, request_id, credential, method, before, trace_id, service, leaf_index, message_id,
       occurred_ms
FROM (
    SELECT 'audit_' || leaf_index AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address,
           user_agent, session_id, to_char(occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS timestamp,
           severity, status, actor_id, request_id, credential, method, before, trace_id, service, leaf_index,
           message_id, (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms,
           sum(2000 + coalesce(octet_length(action_details), 0) + coalesce(octet_length(before), 0))
               OVER (ORDER BY occurred_at DESC, leaf_index DESC) AS bytes
    FROM audit_record
    WHERE user_id = :user_id::uuid AND plan_each_time(:user_id::uuid)
      AND (:action_type::text IS NULL OR action_type = :action_type)
      AND (:entity_type::text IS NULL OR entity_type = :entity_type)
      AND (:entity_id::text IS NULL OR entity_id = :entity_id)
      AND (:severity::text IS NULL OR severity = :severity)
      AND (:status::text IS NULL OR status = :status)
      AND (:date_from::date IS NULL OR occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
      AND (:date_to::date IS NULL OR occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
      AND (:before_leaf::bigint IS NULL
           OR (occurred_at, leaf_index) < (to_timestamp(:cursor_ms::double precision / 1000), :before_leaf::bigint))
      AND (:compliance_only::boolean IS NOT TRUE OR trail_compliance(entity_type))
    ORDER BY occurred_at DESC, leaf_index DESC
    LIMIT :limit::bigint
) AS page
WHERE bytes <= :bytes_max::bigint
ORDER BY occurred_ms DESC, leaf_index DESC;
