-- The same records in the words of the page of the system's audit trail.

-- name: trail_list
-- in: avanta.audit_log.ListAuditTrailRequest
-- out: avanta.audit_log.TrailEntry
SELECT trail.*
FROM (
    SELECT t AS whole FROM audit_record AS t
    WHERE t.user_id = :user_id::uuid AND plan_each_time(:user_id::uuid)
      AND (:action_type::text IS NULL OR t.action_type = :action_type)
      AND (:entity_type::text IS NULL OR t.entity_type = :entity_type)
      AND (:entity_id::text IS NULL OR t.entity_id = :entity_id)
      AND (:security_level::text IS NULL OR t.severity = ANY (trail_severities(:security_level)))
      AND (:compliance_relevant::boolean IS NULL OR trail_compliance(t.entity_type) = :compliance_relevant)
      AND (:date_from::date IS NULL OR t.occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
      AND (:date_to::date IS NULL OR t.occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
    ORDER BY t.occurred_at DESC, t.leaf_index DESC
    LIMIT :limit::bigint
    OFFSET (:page::bigint - 1) * :limit::bigint
) AS page
CROSS JOIN LATERAL trail_face(page.whole) AS trail;

-- name: trail_total
-- in: avanta.audit_log.ListAuditTrailRequest
-- out: avanta.audit_log.AuditTotal
SELECT count(*) AS total
FROM (
    SELECT FROM audit_record AS t
    WHERE t.user_id = :user_id::uuid AND plan_each_time(:user_id::uuid)
      AND (:action_type::text IS NULL OR t.action_type = :action_type)
      AND (:entity_type::text IS NULL OR t.entity_type = :entity_type)
      AND (:entity_id::text IS NULL OR t.entity_id = :entity_id)
      AND (:security_level::text IS NULL OR t.severity = ANY (trail_severities(:security_level)))
      AND (:compliance_relevant::boolean IS NULL OR trail_compliance(t.entity_type) = :compliance_relevant)
      AND (:date_from::date IS NULL OR t.occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
      AND (:date_to::date IS NULL OR t.occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
    LIMIT 10000
) AS counted;

-- name: trail_get
-- in: avanta.audit_log.AuditTrailIdRequest
-- out: avanta.audit_log.TrailEntry
SELECT trail.*
FROM audit_record AS t
CROSS JOIN LATERAL trail_face(t) AS trail
WHERE t.user_id = :user_id::uuid AND t.leaf_index = :id::bigint;

-- name: trail_counts
-- in: avanta.audit_log.TrailWindow
-- out: avanta.audit_log.TrailCount
-- Of the newest of the period: a row for each action, entity type and day.
SELECT action_type, entity_type, to_char(occurred_at AT TIME ZONE 'America/Mexico_City', 'YYYY-MM-DD') AS day,
       count(*) AS count, count(*) FILTER (WHERE severity <> 'low') AS security_events,
       bool_or(trail_compliance(entity_type)) AS compliance_relevant
FROM (
    SELECT action_type, entity_type, severity, occurred_at
    FROM audit_record
    WHERE user_id = :user_id::uuid
      AND occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City'
      AND occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City'
    ORDER BY occurred_at DESC, leaf_index DESC
    LIMIT 100000
) AS newest
GROUP BY action_type, entity_type, day
ORDER BY day DESC, count(*) DESC, action_type, entity_type
LIMIT 10000;

-- name: trail_entities
-- in: avanta.audit_log.TrailWindow
-- out: avanta.audit_log.TrailEntityCount
SELECT entity_type, entity_id, count(*) AS count
FROM (
    SELECT entity_type, entity_id
    FROM audit_record
    WHERE user_id = :user_id::uuid AND entity_id IS NOT NULL
      AND occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City'
      AND occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City'
    ORDER BY occurred_at DESC, leaf_index DESC
    LIMIT 100000
) AS newest
GROUP BY entity_type, entity_id
ORDER BY count(*) DESC, entity_type, entity_id
LIMIT 10;

-- name: trail_security
-- in: avanta.audit_log.TrailWindow
-- out: avanta.audit_log.TrailEntry
SELECT trail.*
FROM (
    SELECT t AS whole
    FROM audit_record AS t
    WHERE t.user_id = :user_id::uuid AND t.severity <> 'low'
      AND t.occurred_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City'
      AND t.occurred_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City'
    ORDER BY t.occurred_at DESC, t.leaf_index DESC
    LIMIT 10
) AS page
CROSS JOIN LATERAL trail_face(page.whole) AS trail;
