-- name: session_insert
-- in: avanta.identity.SessionNew
-- out: avanta.identity.SessionEnd
-- unscoped: a login has no session yet; the password was checked for owner_id
-- No row: since the user was looked at, his sessions were ended. What ends them locks the user first, and so does this.
WITH seen AS (
    UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC'
    WHERE id = :owner_id::uuid AND entries_ended = :entries_ended
    RETURNING id
), opened AS (
    INSERT INTO session (id, user_id, client_ip, user_agent, expires_at)
    SELECT :in_session_id::uuid, id, :client_ip, :user_agent, now() + make_interval(secs => :life_s)
    FROM seen
    RETURNING id, user_id
), displaced AS (
    UPDATE session
    SET ended_at = now()
    WHERE EXISTS (SELECT FROM seen) AND id IN (
        SELECT id FROM session
        WHERE user_id = :owner_id::uuid AND ended_at IS NULL
        ORDER BY used_at DESC
        OFFSET :sessions_kept::bigint - 1
    )
)
INSERT INTO refresh_token (token_hash, session_id, user_id)
SELECT :token_hash, id, user_id
FROM opened
RETURNING session_id;

-- name: refresh_use
-- in: avanta.identity.RefreshUse
-- out: avanta.identity.RefreshState
-- unscoped: the token itself is the proof, and its row names the user
-- Marks the token used, if it was not, and tells in which state it was found. The row lock lets one
-- of two concurrent uses win; the other finds it used. Usable is what the update of the session found: one that is
-- being ended meanwhile is waited for, and has ended then.
WITH found AS MATERIALIZED (
    SELECT token_hash, session_id, user_id, used_at
    FROM refresh_token
    WHERE token_hash = :token_hash
    FOR UPDATE
), marked AS (
    UPDATE refresh_token
    SET used_at = now()
    FROM found
    WHERE refresh_token.token_hash = found.token_hash AND found.used_at IS NULL
), seen AS (
    UPDATE session
    SET used_at = now()
    FROM found
    WHERE session.id = found.session_id AND found.used_at IS NULL AND session.ended_at IS NULL
        AND session.expires_at > now() AND session.used_at > now() - make_interval(secs => :idle_s)
    RETURNING session.id
)
SELECT session.id AS session_id, users.id, users.email, users.name, users.role, users.is_demo, users.created_at,
       users.avatar_url, found.used_at IS NOT NULL AS reused,
       users.is_active AND EXISTS (SELECT FROM seen) AS usable, mfa.user_id IS NOT NULL AS has_mfa
FROM found
JOIN session ON session.id = found.session_id
JOIN users ON users.id = found.user_id
LEFT JOIN mfa ON mfa.user_id = found.user_id AND mfa.enabled_at IS NOT NULL;

-- name: refresh_insert
-- in: avanta.identity.SessionNew
-- out: none
-- unscoped: owner_id comes from the token used before
INSERT INTO refresh_token (token_hash, session_id, user_id)
VALUES (:token_hash, :in_session_id::uuid, :owner_id::uuid);

-- name: session_end
-- in: avanta.identity.SessionEnd
-- out: none
-- unscoped: a refresh token that is used twice ends its session, and nobody is logged in then
UPDATE session
SET ended_at = now()
WHERE id = :in_session_id::uuid AND ended_at IS NULL;

-- name: sessions_ended
-- in: avanta.identity.EndedQuery
-- out: avanta.identity.EndedSession
-- unscoped: the gateway asks for every user's ended sessions
-- Those whose last access token may still be good: it lives 15 minutes. And keys and grants that gateways may
-- remember yet: half a minute.
SELECT session_id, ceil(extract(epoch FROM ended_at) * 1000)::bigint AS ended_ms
FROM (
    SELECT id AS session_id, ended_at FROM session WHERE ended_at > now() - interval '16 minutes'
    UNION ALL
    SELECT id, revoked_at FROM api_key WHERE revoked_at > now() - interval '2 minutes'
    UNION ALL
    SELECT id, revoked_at FROM access_grant WHERE revoked_at > now() - interval '2 minutes'
) AS ended
ORDER BY ended_at DESC
LIMIT :sessions_max::bigint;

-- name: session_list
-- in: avanta.identity.OwnerSessions
-- out: avanta.identity.Session
-- unscoped: owner_id is the caller, or a user whom an administrator looks at
SELECT id, client_ip AS ip_address, user_agent,
       to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS created_at,
       to_char(used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS last_used_at,
       to_char(least(expires_at, used_at + make_interval(secs => :idle_s)) AT TIME ZONE 'UTC',
               'YYYY-MM-DD HH24:MI:SS') AS expires_at,
       id = :session_id::uuid AS current
FROM session
WHERE user_id = :owner_id::uuid AND ended_at IS NULL AND expires_at > now()
    AND used_at > now() - make_interval(secs => :idle_s)
ORDER BY used_at DESC, id
LIMIT 100;

-- name: entries_end
-- in: avanta.identity.OwnerSessions
-- out: avanta.identity.RowId
-- A statement of its own before the one that ends the sessions: that one then sees those of log-ins it waited for.
UPDATE users
SET entries_ended = entries_ended + 1
WHERE id = :owner_id::uuid
RETURNING id;

-- name: session_end_own
-- in: avanta.identity.EndSessionRequest
-- out: avanta.identity.EndedNow
UPDATE session
SET ended_at = now()
WHERE user_id = :user_id::uuid AND id = :id::uuid AND ended_at IS NULL AND expires_at > now()
RETURNING id AS session_id, used_at > now() - interval '16 minutes' AS has_token;

-- name: sessions_end_others
-- in: none
-- out: avanta.identity.EndedNow
UPDATE session
SET ended_at = now()
WHERE user_id = :user_id::uuid AND ended_at IS NULL AND id <> :session_id::uuid
RETURNING id AS session_id, used_at > now() - interval '16 minutes' AS has_token;

-- name: sessions_end_user
-- in: avanta.identity.OwnerSessions
-- out: avanta.identity.EndedNow
-- unscoped: an administrator ends the sessions of a user
UPDATE session
SET ended_at = now()
WHERE user_id = :owner_id::uuid AND ended_at IS NULL
RETURNING id AS session_id, used_at > now() - interval '16 minutes' AS has_token;

-- name: session_recent
-- in: avanta.identity.SessionRecent
-- out: avanta.identity.SessionIsRecent
-- No row: the session is none of the caller's, or ended.
SELECT authenticated_at > now() - make_interval(secs => :recent_s) AS recent
FROM session
WHERE user_id = :user_id::uuid AND id = :session_id::uuid AND ended_at IS NULL;

-- name: session_reauthenticated
-- in: none
-- out: none
UPDATE session
SET authenticated_at = now(), used_at = now()
WHERE user_id = :user_id::uuid AND id = :session_id::uuid AND ended_at IS NULL;

-- name: session_purge
-- in: avanta.identity.PurgeQuery
-- out: none
-- unscoped: what ended a week ago is deleted, whoever it was
-- With its refresh tokens, whose reuse nobody can be warned of any more.
DELETE FROM session
WHERE id IN (
    SELECT id FROM session
    WHERE expires_at < now() - interval '7 days' OR ended_at < now() - interval '7 days'
    LIMIT :rows_max::bigint
);
