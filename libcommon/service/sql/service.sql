-- Statements of the skeleton, prepared on every connection of every service as table 0.

-- name: outbox_insert
-- in: avanta.service.OutboxRows
-- out: avanta.service.OutboxId
-- One statement for all events and audit records of a group commit; the ids in the same order.
INSERT INTO outbox (subject, body)
SELECT rows.subject, rows.body
FROM unnest(:subject::text[], :body::bytea[]) WITH ORDINALITY AS rows (subject, body, place)
ORDER BY rows.place
RETURNING id, (extract(epoch FROM created_at) * 1000)::bigint AS written_ms;

-- name: outbox_lock
-- in: avanta.service.OutboxLock
-- out: avanta.service.OutboxOurs
-- Asks for the turn. A statement of its own, so that the page is read from a snapshot that is younger than the
-- lock: it lacks what the last holder deleted.
SELECT pg_try_advisory_xact_lock(:lock_key) AS ours;

-- name: outbox_select
-- in: avanta.service.OutboxTurn
-- out: avanta.service.OutboxRow
-- The oldest rows, when the turn is ours: nothing while another relay of this database holds the lock. Rows of the
-- future, written before the clock was set back, are as old as any.
WITH turn AS MATERIALIZED (
    SELECT pg_try_advisory_xact_lock(:lock_key) AS ours
), page AS (
    SELECT id, subject, body, created_at
    FROM outbox
    WHERE (SELECT ours FROM turn)
      AND NOT (created_at > clock_timestamp() - :age_ms * interval '1 millisecond'
               AND created_at <= clock_timestamp())
      AND id <> ALL (:busy::bigint[])
    ORDER BY id
    LIMIT :rows_max
), sized AS (
    SELECT id, subject, body, created_at, sum(octet_length(body)) OVER (ORDER BY id) - octet_length(body) AS before
    FROM page
)
SELECT id, subject, body, (extract(epoch FROM created_at) * 1000)::bigint AS written_ms
FROM sized
WHERE before < :bytes_max
ORDER BY id;

-- name: outbox_delete
-- in: avanta.service.OutboxIds
-- out: none
DELETE FROM outbox
WHERE id = ANY (:ids::bigint[]);

-- name: outbox_lag
-- in: avanta.service.OutboxCount
-- out: avanta.service.OutboxLag
SELECT
    (SELECT count(*) FROM (SELECT 1 FROM outbox LIMIT :rows_max) AS counted) AS waiting,
    coalesce((
        SELECT greatest(0, (extract(epoch FROM clock_timestamp() - created_at) * 1000)::bigint)
        FROM outbox
        ORDER BY id
        LIMIT 1
    ), 0) AS age_ms;

-- name: idempotency_claim
-- in: avanta.service.IdempotencyClaim
-- out: avanta.service.IdempotencyFound
SELECT claimed, request_hash, reply
FROM idempotency_claim(:lock_key, coalesce(:user_id, ''), :key);

-- name: idempotency_store
-- in: avanta.service.IdempotencyRows
-- out: none
-- unscoped: one statement for all requests of a group commit, each with its owner
INSERT INTO idempotency (user_id, key, request_hash, reply)
SELECT owner, key, request_hash, reply
FROM unnest(:owner::text[], :key::text[], :request_hash::bytea[], :reply::bytea[])
    AS rows (owner, key, request_hash, reply);

-- name: idempotency_purge
-- in: avanta.service.IdempotencyPurge
-- out: none
-- unscoped: what is too old goes, whosever it is
-- A bounded part of what is too old; called again while it finds that much.
DELETE FROM idempotency
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM idempotency
    WHERE created_at < clock_timestamp() - :age_ms * interval '1 millisecond'
    ORDER BY created_at
    LIMIT :rows_max
));

-- name: owner_lock
-- in: avanta.service.OwnerLock
-- out: none
-- Held to the end of the transaction: groups of one owner follow one another, also those of other processes.
SELECT FROM pg_advisory_xact_lock(:lock_key);
