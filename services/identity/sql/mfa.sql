-- name: mfa_select
-- in: avanta.identity.SessionRecent
-- out: avanta.identity.MfaState
SELECT users.id, users.email, users.role, users.password_hash, mfa.sealed, mfa.enabled_at IS NOT NULL AS enabled,
       to_char(mfa.enabled_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS enabled_at,
       (SELECT count(*) FROM recovery_code WHERE user_id = :user_id::uuid AND used_at IS NULL) AS codes_left,
       coalesce((SELECT authenticated_at > now() - make_interval(secs => :recent_s)
                 FROM session
                 WHERE user_id = :user_id::uuid AND id = :session_id::uuid AND ended_at IS NULL), false) AS recent
FROM users
LEFT JOIN mfa ON mfa.user_id = :user_id::uuid
WHERE users.id = :user_id::uuid AND users.is_active;

-- name: mfa_enroll
-- in: avanta.identity.MfaSeed
-- out: avanta.identity.MfaOwner
-- No row: it is enabled already.
INSERT INTO mfa AS m (user_id, sealed)
VALUES (:user_id::uuid, :sealed)
ON CONFLICT (user_id) DO UPDATE
SET sealed = excluded.sealed, last_step = 0, created_at = now()
WHERE m.enabled_at IS NULL
RETURNING user_id AS owner_id;

-- name: mfa_attempt
-- in: avanta.identity.MfaAttempt
-- out: avanta.identity.MfaVerdict
-- unscoped: owner_id is the caller, or who logs in and has given the password
-- One code, judged and counted under the lock of the user's row: of the same code given many times at once, one
-- is taken. No row: the seed is another one by now. A code that comes while codes are locked is not looked at; how
-- long they are, the database's clock says, which is the same for all.
WITH found AS MATERIALIZED (
    SELECT user_id, last_step, failures, locked_until > clock_timestamp() AS locked,
           CASE WHEN locked_until > clock_timestamp()
                THEN ceil(extract(epoch FROM locked_until - clock_timestamp()))::bigint ELSE 0 END AS left_s
    FROM mfa
    WHERE user_id = :owner_id::uuid AND sealed = :sealed
    FOR UPDATE
), spent AS (
    UPDATE recovery_code
    SET used_at = now()
    FROM found
    WHERE recovery_code.user_id = found.user_id AND recovery_code.code_hash = :code_hash
        AND recovery_code.used_at IS NULL AND NOT found.locked
    RETURNING recovery_code.code_hash
), judged AS (
    SELECT user_id, locked, left_s, failures + 1 AS failures,
           NOT locked AND (:step::bigint > last_step OR EXISTS (SELECT FROM spent)) AS good
    FROM found
), locking AS (
    SELECT user_id, locked, left_s, failures, good, CASE
        WHEN locked OR good OR failures % :failures_max::bigint <> 0 THEN 0
        ELSE least(:lock_max_s::bigint, :lock_s::bigint << least(20, failures / :failures_max::bigint - 1)::int)
        END AS locked_s
    FROM judged
), kept AS (
    UPDATE mfa
    SET last_step = CASE WHEN locking.good THEN greatest(mfa.last_step, :step::bigint) ELSE mfa.last_step END,
        failures = CASE WHEN locking.good THEN 0 ELSE locking.failures END,
        locked_until = CASE WHEN locking.locked_s > 0
            THEN clock_timestamp() + make_interval(secs => locking.locked_s) ELSE '-infinity' END
    FROM locking
    WHERE mfa.user_id = locking.user_id AND NOT locking.locked
)
SELECT good, locked, CASE WHEN locked THEN greatest(left_s, 1) ELSE locked_s END AS wait_s, locked_s,
       EXISTS (SELECT FROM spent) AS by_recovery_code,
       (SELECT count(*) FROM recovery_code WHERE user_id = :owner_id::uuid AND used_at IS NULL)
           - (SELECT count(*) FROM spent) AS codes_left
FROM locking;

-- name: mfa_enable
-- in: avanta.identity.RecoveryCodes
-- out: none
WITH enabled AS (
    UPDATE mfa SET enabled_at = now() WHERE user_id = :user_id::uuid AND enabled_at IS NULL
    RETURNING user_id
), entered AS (
    UPDATE users SET entries_ended = entries_ended + 1 WHERE id = :user_id::uuid AND EXISTS (SELECT FROM enabled)
)
INSERT INTO recovery_code (user_id, code_hash)
SELECT :user_id::uuid, hash
FROM unnest(:code_hashes::bytea[]) AS hash
WHERE EXISTS (SELECT FROM enabled);

-- name: recovery_codes_renew
-- in: avanta.identity.RecoveryCodes
-- out: none
WITH gone AS (
    DELETE FROM recovery_code WHERE user_id = :user_id::uuid
)
INSERT INTO recovery_code (user_id, code_hash)
SELECT :user_id::uuid, hash
FROM unnest(:code_hashes::bytea[]) AS hash;

-- name: mfa_disable
-- in: none
-- out: none
-- Its recovery codes go with it.
WITH gone AS (
    DELETE FROM mfa WHERE user_id = :user_id::uuid
    RETURNING user_id
)
UPDATE users
SET entries_ended = entries_ended + 1
WHERE id = :user_id::uuid AND EXISTS (SELECT FROM gone);

-- name: mfa_reset
-- in: avanta.identity.ResetMfaRequest
-- out: avanta.identity.MfaRemoval
-- unscoped: an administrator takes a user's second factor away
-- No row: there is no such user.
WITH gone AS (
    DELETE FROM mfa WHERE user_id = :id::uuid
    RETURNING user_id
), entered AS (
    UPDATE users SET entries_ended = entries_ended + 1 WHERE id = :id::uuid AND EXISTS (SELECT FROM gone)
)
SELECT id AS owner_id, EXISTS (SELECT FROM gone) AS removed
FROM users
WHERE id = :id::uuid;
