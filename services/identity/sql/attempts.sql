-- name: attempt_begin
-- in: avanta.identity.AttemptAsk
-- out: avanta.identity.AttemptAnswer
SELECT attempt_begin(:kinds, :keys, :failures_max, :forget_s, :decay_s) AS wait_s;

-- name: attempt_end
-- in: avanta.identity.AttemptEnd
-- out: avanta.identity.AttemptState
-- A success clears what was counted for the account, not for the address: others may be guessing there. Of accounts
-- made it is the success that counts; when there are too many, the rest of their hour is locked. Rows are locked in the
-- order of attempt_begin().
WITH asked AS MATERIALIZED (
    SELECT attempt.kind, attempt.key, asked.failures_max, asked.forget_s,
           (attempt.kind = 'registered') <> :failed::boolean AS counts,
           attempt_failures(attempt.failures, attempt.failed_at, now(), asked.forget_s, asked.decay_s) AS before,
           attempt.failed_at
    FROM unnest(:kinds, :keys, :failures_max, :forget_s, :decay_s) AS asked (kind, key, failures_max, forget_s, decay_s)
    JOIN attempt USING (kind, key)
    ORDER BY attempt.kind
    FOR UPDATE OF attempt
), counted AS MATERIALIZED (
    SELECT kind, key, failures_max, forget_s, counts, before + 1 AS failures,
           CASE WHEN kind = 'registered' AND before > 0 THEN failed_at ELSE now() END AS failed_at
    FROM asked
), decided AS MATERIALIZED (
    SELECT kind, key, counts, failures, failed_at,
           CASE WHEN NOT counts OR failures < failures_max THEN 0
                WHEN kind = 'registered'
                THEN greatest(1, ceil(extract(epoch FROM failed_at - clock_timestamp()) + forget_s))
                ELSE least(:lock_s::bigint * 2.0 ^ least(failures - failures_max, 30), :lock_max_s::bigint)
           END AS locked_s
    FROM counted
)
UPDATE attempt
SET pending = greatest(attempt.pending - 1, 0),
    failures = CASE WHEN decided.counts THEN decided.failures WHEN attempt.kind IN ('email', 'user') THEN 0
                    ELSE attempt.failures END,
    failed_at = CASE WHEN decided.counts THEN decided.failed_at ELSE attempt.failed_at END,
    locked_until = CASE WHEN NOT :failed::boolean AND attempt.kind IN ('email', 'user') THEN '-infinity'
                        WHEN decided.locked_s > 0
                        THEN clock_timestamp() + make_interval(secs => decided.locked_s)
                        ELSE attempt.locked_until END
FROM decided
WHERE attempt.kind = decided.kind AND attempt.key = decided.key
RETURNING attempt.kind, attempt.failures, decided.locked_s::bigint AS locked_s;

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
