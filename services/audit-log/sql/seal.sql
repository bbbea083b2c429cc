-- Sealing and exporting, by commands; see commands_seal.c and exporting.c.

-- name: export_checkpoint
-- in: avanta.audit_log.TreeRange
-- out: avanta.audit_log.ProofCheckpoint
-- The newest that a witness has signed; where none of those has `first` records, the newest.
SELECT c.size, c.root, c.note, to_char(c.made_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS made_at,
       coalesce((SELECT string_agg(line, '' ORDER BY witness) FROM audit_cosignature AS s WHERE s.size = c.size), '')
           AS cosignatures,
       (SELECT count(*) FROM audit_cosignature AS s WHERE s.size = c.size) AS witnesses
FROM audit_checkpoint AS c
WHERE c.size = coalesce((SELECT max(size) FROM audit_cosignature WHERE size >= :first::bigint),
                        (SELECT max(size) FROM audit_checkpoint));

-- name: export_sealed
-- in: avanta.audit_log.TreeRange
-- out: avanta.audit_log.SealRow
-- The sealed files that hold records of the range.
SELECT to_char(month, 'YYYY-MM') AS month, leaves::text AS leaves, file_name, file_sha256, previous_sha256
FROM audit_seal
WHERE leaves && int8multirange(int8range(:first::bigint, :first::bigint + :count::bigint))
ORDER BY audit_seal.month
LIMIT 100;

-- name: seal_lock
-- in: none
-- out: avanta.audit_log.TreeOurs
-- One at a time, as long as the session lives.
SELECT pg_try_advisory_lock(hashtextextended('audit_seal', 0)) AS ours;

-- name: seal_state
-- in: avanta.audit_log.SealWindow
-- out: avanta.audit_log.SealState
-- unscoped: a month is sealed for everybody
SELECT to_regclass('audit_record_' || to_char(:month::date, 'YYYY_MM')) IS NOT NULL AS has_partition,
       (SELECT min(child.relname)::text
        FROM pg_inherits AS i
        JOIN pg_class AS child ON child.oid = i.inhrelid
        WHERE i.inhparent = 'audit_record'::regclass
          AND child.relname < 'audit_record_' || to_char(:month::date, 'YYYY_MM')) AS earlier,
       (SELECT count(*) FROM audit_record_default
        WHERE occurred_at >= :month::date::timestamp AT TIME ZONE 'UTC'
          AND occurred_at < (:month::date + interval '1 month') AT TIME ZONE 'UTC') AS strays,
       ((now() AT TIME ZONE 'UTC')::date - (:month::date + interval '1 month')::date)::bigint AS days_over;

-- name: seal_leaves
-- in: avanta.audit_log.SealWindow
-- out: avanta.audit_log.SealLeaves
-- unscoped: a month is sealed for everybody
SELECT coalesce(range_agg(int8range(leaf_index, leaf_index + 1)), '{}')::text AS leaves, count(*) AS records,
       coalesce(min(leaf_index), 0) AS first, coalesce(max(leaf_index) + 1, 0) AS next
FROM audit_record
WHERE occurred_at >= :month::date::timestamp AT TIME ZONE 'UTC'
  AND occurred_at < (:month::date + interval '1 month') AT TIME ZONE 'UTC';

-- name: seal_records
-- in: avanta.audit_log.SealWindow
-- out: avanta.audit_log.AuditEntry
-- unscoped: a month is sealed for everybody
SELECT 'audit_' || leaf_index AS id, user_id, action_type, entity_type, entity_id, action_details, ip_address,
       user_agent, session_id, severity, status, actor_id, request_id, credential, method, before, trace_id, service,
       leaf_index, message_id, (extract(epoch FROM occurred_at) * 1000)::bigint AS occurred_ms
FROM audit_record
WHERE occurred_at >= :month::date::timestamp AT TIME ZONE 'UTC'
  AND occurred_at < (:month::date + interval '1 month') AT TIME ZONE 'UTC'
  AND leaf_index >= :first::bigint
ORDER BY leaf_index
LIMIT :count::bigint;

-- name: seal_add
-- in: avanta.audit_log.SealRow
-- out: none
-- By the tables' owner alone.
INSERT INTO audit_seal (month, leaves, file_name, file_sha256, previous_sha256)
VALUES (:month::date, :leaves::int8multirange, :file_name, :file_sha256::bytea, :previous_sha256::bytea);

-- name: seal_list
-- in: none
-- out: avanta.audit_log.SealRow
-- A month after the other, as they are linked; a hundred years of them.
SELECT to_char(month, 'YYYY-MM') AS month, leaves::text AS leaves, file_name, file_sha256, previous_sha256,
       (SELECT coalesce(sum(upper(run) - lower(run)), 0)::bigint FROM unnest(leaves) AS run) AS records
FROM audit_seal
ORDER BY audit_seal.month
LIMIT 1200;
