-- name: attempt_begin
-- in: avanta.identity.AttemptAsk
-- out: avanta.identity.AttemptAnswer
SELECT attempt_begin(:kinds, :keys, :failures_max, :forget_s) AS wait_s;

-- name: attempt_end
-- in: avanta.identity.AttemptEnd
-- out: avanta.identity.AttemptState
-- A success clears what was counted for the account, not for the address: others may be guessing there.
WITH asked AS MATERIALIZED (
    SELECT attempt.kind, attempt.key, asked.failures_max,
           CASE WHEN attempt.failed_at > now() - make_interval(secs => :forget_s::bigint) THEN attempt.failures
                ELSE 0 END + 1 AS failures
    FROM unnest(:kinds, :keys, :failures_max) AS asked (kind, key, failures_max)
    JOIN attempt USING (kind, key)
    ORDER BY attempt.kind
    FOR UPDATE OF attempt
), decided AS MATERIALIZED (
    SELECT kind, key, failures,
           CASE WHEN failures < failures_max THEN 0
                ELSE least(:lock_s::bigint * 2.0 ^ least(failures - failures_max, 30), :lock_max_s::bigint)
           END AS locked_s
    FROM asked
)
UPDATE attempt
SET pending = greatest(attempt.pending - 1, 0),
    failures = CASE WHEN :failed THEN decided.failures WHEN attempt.kind IN ('email', 'user') THEN 0
                    ELSE attempt.failures END,
    failed_at = CASE WHEN :failed THEN now() ELSE attempt.failed_at END,
    locked_until = CASE WHEN NOT :failed AND attempt.kind IN ('email', 'user') THEN '-infinity'
                        WHEN :failed AND decided.locked_s > 0
                        THEN clock_timestamp() + make_interval(secs => decided.locked_s)
                        ELSE attempt.locked_until END
FROM decided
WHERE attempt.kind = decided.kind AND attempt.key = decided.key
RETURNING attempt.kind, attempt.failures, CASE WHEN :failed THEN decided.locked_s::bigint ELSE 0 END AS locked_s;

-- name: attempt_purge
-- in: avanta.identity.AttemptPurge
-- out: none
-- A bounded part of what says nothing any more; the next run takes the rest.
DELETE FROM attempt
WHERE ctid = ANY (ARRAY(
    SELECT ctid
    FROM attempt
    WHERE greatest(failed_at + make_interval(secs => :forget_s::bigint), locked_until, pending_until) < now()
    LIMIT :rows_max::bigint
));
