-- The error log. Groups are locked in the order of their fingerprints, so that replicas do not wait for each other in
-- a circle.

-- name: error_store
-- in: avanta.audit_log.ErrorStore
-- out: none
-- What was seen after a group was resolved opens it again.
INSERT INTO error_group AS known (fingerprint, source, service, name, message, count, first_seen, last_seen)
SELECT fingerprint, source, service, name, message, count, to_timestamp(first_ms::double precision / 1000),
       to_timestamp(last_ms::double precision / 1000)
FROM unnest(:fingerprints::bytea[], :sources::text[], :services::text[], :names::text[], :messages::text[],
            :counts::bigint[], :first_ms::bigint[], :last_ms::bigint[])
     AS seen (fingerprint, source, service, name, message, count, first_ms, last_ms)
ORDER BY fingerprint
ON CONFLICT (fingerprint) DO UPDATE SET
    message = excluded.message,
    count = known.count + excluded.count,
    first_seen = least(known.first_seen, excluded.first_seen),
    last_seen = greatest(known.last_seen, excluded.last_seen),
    state = CASE WHEN known.resolved_at < excluded.last_seen THEN 'open' ELSE known.state END,
    resolved_at = CASE WHEN known.resolved_at < excluded.last_seen THEN NULL ELSE known.resolved_at END,
    resolved_by = CASE WHEN known.resolved_at < excluded.last_seen THEN NULL ELSE known.resolved_by END,
    again = known.again OR coalesce(known.resolved_at < excluded.last_seen, false),
    alerted = known.alerted AND NOT coalesce(known.resolved_at < excluded.last_seen, false);

-- name: error_samples
-- in: avanta.audit_log.ErrorSamples
-- out: none
INSERT INTO error_event (id, fingerprint, seen_at, message, stack, context, url, user_agent, network, reporter_id,
                         request_id, release)
SELECT id, fingerprint, to_timestamp(seen_ms::double precision / 1000), message, nullif(stack, ''),
       nullif(context, ''), nullif(url, ''), nullif(agent, ''), nullif(network, ''), nullif(reporter, '')::uuid,
       nullif(request, ''), nullif(release, '')
FROM unnest(:ids::uuid[], :fingerprints::bytea[], :seen_ms::bigint[], :messages::text[], :stacks::text[],
            :contexts::text[], :urls::text[], :agents::text[], :networks::text[], :reporters::text[],
            :requests::text[], :releases::text[])
     AS sample (id, fingerprint, seen_ms, message, stack, context, url, agent, network, reporter, request, release)
ON CONFLICT (id) DO NOTHING;

-- name: error_hours
-- in: avanta.audit_log.ErrorHours
-- out: none
INSERT INTO error_hour AS known (hour, source, count, dropped)
SELECT date_trunc('hour', to_timestamp(:at_ms::double precision / 1000), 'UTC'), source, count, dropped
FROM unnest(:sources::text[], :counts::bigint[], :dropped::bigint[]) AS seen (source, count, dropped)
WHERE count > 0 OR dropped > 0
ORDER BY source
ON CONFLICT (hour, source) DO UPDATE SET
    count = known.count + excluded.count,
    dropped = known.dropped + excluded.dropped;

-- name: error_prune
-- in: avanta.audit_log.ErrorPrune
-- out: none
-- The newest of each group stay.
DELETE FROM error_event
WHERE id IN (
    SELECT old.id
    FROM unnest(:fingerprints::bytea[]) AS seen (fingerprint)
    CROSS JOIN LATERAL (
        SELECT e.id FROM error_event AS e
        WHERE e.fingerprint = seen.fingerprint
        ORDER BY e.seen_at DESC, e.id DESC
        OFFSET :samples_max::bigint
    ) AS old
);

-- name: error_alert
-- in: avanta.audit_log.ErrorAlerts
-- out: avanta.audit_log.ErrorAlert
-- Those of the groups that nobody was alerted of, as many as may be; those of programs first.
UPDATE error_group AS g
SET alerted = true
FROM (
    SELECT fingerprint FROM error_group
    WHERE fingerprint = ANY (:fingerprints::bytea[]) AND NOT alerted AND state = 'open'
    ORDER BY source DESC, fingerprint
    LIMIT :alerts_max::bigint
) AS chosen
WHERE g.fingerprint = chosen.fingerprint
RETURNING encode(g.fingerprint, 'hex') AS id, g.source, g.service, g.name, g.message, g.count, g.again;

-- name: error_purge
-- in: avanta.audit_log.ErrorKept
-- out: none
-- What is too old, and what is too much: then browsers' before programs', what came once before what came often, what
-- nobody looks at before what is open, and the oldest.
WITH surplus AS (
    SELECT fingerprint FROM error_group
    ORDER BY source DESC, count > 1 DESC, state = 'open' DESC, last_seen DESC
    OFFSET :groups_max::bigint
), hours AS (
    DELETE FROM error_hour WHERE hour < now() - make_interval(days => :days::integer)
)
DELETE FROM error_group
WHERE fingerprint IN (
    SELECT fingerprint FROM surplus
    UNION
    SELECT fingerprint FROM error_group WHERE last_seen < now() - make_interval(days => :days::integer)
    LIMIT 1000
);

-- name: error_purge_samples
-- in: avanta.audit_log.ErrorKept
-- out: none
DELETE FROM error_event
WHERE id IN (
    SELECT id FROM error_event WHERE seen_at < now() - make_interval(days => :days::integer)
    ORDER BY seen_at
    LIMIT 5000
);

-- name: error_list
-- in: avanta.audit_log.ListErrorsRequest
-- out: avanta.audit_log.ErrorGroup
SELECT encode(fingerprint, 'hex') AS id, source, service, name, message, count,
       to_char(first_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS first_seen,
       to_char(last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS last_seen, state,
       to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS resolved_at, resolved_by
FROM error_group AS g
WHERE (:state::text IS NULL OR g.state = :state)
  AND (:source::text IS NULL OR g.source = :source)
  AND (:service::text IS NULL OR g.service = :service)
ORDER BY g.last_seen DESC, g.fingerprint
LIMIT :limit::bigint
OFFSET :offset::bigint;

-- name: error_total
-- in: avanta.audit_log.ListErrorsRequest
-- out: avanta.audit_log.ErrorTotal
SELECT count(*) AS total
FROM error_group
WHERE (:state::text IS NULL OR state = :state)
  AND (:source::text IS NULL OR source = :source)
  AND (:service::text IS NULL OR service = :service);

-- name: error_recent
-- in: avanta.audit_log.RecentErrorsRequest
-- out: avanta.audit_log.ErrorSample
SELECT e.id, encode(e.fingerprint, 'hex') AS group, g.source, g.service, g.name, e.message, e.stack, e.context, e.url,
       e.user_agent AS agent, e.network, e.reporter_id AS reporter, e.request_id AS request, e.release,
       to_char(e.seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS timestamp
FROM error_event AS e
JOIN error_group AS g ON g.fingerprint = e.fingerprint
WHERE :source::text IS NULL OR g.source = :source OR g.service = :source
ORDER BY e.seen_at DESC, e.id DESC
LIMIT :limit::bigint;

-- name: error_counts
-- in: none
-- out: avanta.audit_log.ErrorStats
SELECT (SELECT coalesce(sum(count), 0)::bigint FROM error_hour) AS total_errors,
       (SELECT coalesce(sum(dropped), 0)::bigint FROM error_hour) AS dropped,
       (SELECT coalesce(json_object_agg(name, count ORDER BY count DESC, name), '{}')::text
        FROM (SELECT name, sum(count)::bigint AS count FROM error_group GROUP BY name
              ORDER BY sum(count) DESC, name LIMIT 50) AS names) AS errors_by_name,
       (SELECT coalesce(json_object_agg(source, count ORDER BY source), '{}')::text
        FROM (SELECT source, sum(count)::bigint AS count FROM error_hour GROUP BY source) AS sources)
           AS errors_by_source,
       (SELECT coalesce(json_object_agg(hour, count ORDER BY hour), '{}')::text
        FROM (SELECT to_char(hour AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24') AS hour, sum(count)::bigint AS count
              FROM error_hour WHERE hour > now() - interval '24 hours' GROUP BY 1) AS hours) AS errors_by_hour,
       (SELECT count(*) FROM error_group WHERE state = 'open') AS open_groups;

-- name: error_get
-- in: avanta.audit_log.ErrorIdRequest
-- out: avanta.audit_log.ErrorGroup
-- By its own id, or by that of a sample of it.
SELECT encode(fingerprint, 'hex') AS id, source, service, name, message, count,
       to_char(first_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS first_seen,
       to_char(last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS last_seen, state,
       to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS resolved_at, resolved_by
FROM error_group
WHERE fingerprint = CASE
    WHEN :id ~ '^[0-9a-f]{64}$' THEN decode(:id, 'hex')
    WHEN :id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    THEN (SELECT e.fingerprint FROM error_event AS e WHERE e.id = :id::uuid)
END;

-- name: error_get_samples
-- in: avanta.audit_log.ErrorIdRequest
-- out: avanta.audit_log.ErrorSample
SELECT e.id, encode(e.fingerprint, 'hex') AS group, g.source, g.service, g.name, e.message, e.stack, e.context, e.url,
       e.user_agent AS agent, e.network, e.reporter_id AS reporter, e.request_id AS request, e.release,
       to_char(e.seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS timestamp
FROM error_event AS e
JOIN error_group AS g ON g.fingerprint = e.fingerprint
WHERE e.fingerprint = decode(:id, 'hex')
ORDER BY e.seen_at DESC, e.id DESC
LIMIT 100;

-- name: error_update
-- in: avanta.audit_log.UpdateErrorRequest
-- out: avanta.audit_log.ErrorGroup
UPDATE error_group
SET state = :state,
    resolved_at = CASE WHEN :state = 'resolved' THEN coalesce(resolved_at, clock_timestamp()) END,
    resolved_by = CASE WHEN :state = 'resolved' THEN coalesce(resolved_by, :actor_id::uuid) END
WHERE fingerprint = CASE
    WHEN :id ~ '^[0-9a-f]{64}$' THEN decode(:id, 'hex')
    WHEN :id ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
    THEN (SELECT e.fingerprint FROM error_event AS e WHERE e.id = :id::uuid)
END
RETURNING encode(fingerprint, 'hex') AS id, source, service, name, message, count,
       to_char(first_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS first_seen,
       to_char(last_seen AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS last_seen, state,
       to_char(resolved_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS resolved_at, resolved_by;

-- name: error_logs
-- in: avanta.audit_log.ListLogsRequest
-- out: avanta.audit_log.LogEntry
SELECT e.id, 'error' AS level, g.service AS category, e.message, g.name, e.context, e.url, e.reporter_id AS reporter,
       e.request_id AS request, encode(e.fingerprint, 'hex') AS group,
       to_char(e.seen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS timestamp
FROM error_event AS e
JOIN error_group AS g ON g.fingerprint = e.fingerprint
WHERE coalesce(:level, 'error') = 'error'
  AND (:category::text IS NULL OR g.source = :category OR g.service = :category)
  AND (:date_from::date IS NULL OR e.seen_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
  AND (:date_to::date IS NULL OR e.seen_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City')
ORDER BY e.seen_at DESC, e.id DESC
LIMIT :limit::bigint
OFFSET :offset::bigint;

-- name: error_logs_total
-- in: avanta.audit_log.ListLogsRequest
-- out: avanta.audit_log.ErrorTotal
SELECT count(*) AS total
FROM error_event AS e
JOIN error_group AS g ON g.fingerprint = e.fingerprint
WHERE coalesce(:level, 'error') = 'error'
  AND (:category::text IS NULL OR g.source = :category OR g.service = :category)
  AND (:date_from::date IS NULL OR e.seen_at >= :date_from::date::timestamp AT TIME ZONE 'America/Mexico_City')
  AND (:date_to::date IS NULL OR e.seen_at < (:date_to::date + 1)::timestamp AT TIME ZONE 'America/Mexico_City');
