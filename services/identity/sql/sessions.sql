-- name: session_insert
-- in: avanta.identity.SessionNew
-- out: none
-- unscoped: a login has no session yet; the password was checked for owner_id
WITH opened AS (
    INSERT INTO session (id, user_id, client_ip, user_agent)
    VALUES (:in_session_id::uuid, :owner_id::uuid, :client_ip, :user_agent)
    RETURNING id, user_id
), seen AS (
    UPDATE users SET last_login_at = now() AT TIME ZONE 'UTC' WHERE id = :owner_id::uuid
)
INSERT INTO refresh_token (token_hash, session_id, user_id)
SELECT :token_hash, id, user_id
FROM opened;

-- name: refresh_use
-- in: avanta.identity.RefreshUse
-- out: avanta.identity.RefreshState
-- unscoped: the token itself is the proof, and its row names the user
-- Marks the token used, if it was not, and tells in which state it was found. The row lock lets one
-- of two concurrent uses win; the other finds it used.
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
    WHERE session.id = found.session_id AND found.used_at IS NULL
)
SELECT session.id AS session_id, users.id, users.email, users.name, users.role, users.is_demo, users.created_at,
       users.avatar_url, found.used_at IS NOT NULL AS reused,
       found.used_at IS NULL AND session.ended_at IS NULL AND session.expires_at > now() AND users.is_active AS usable
FROM found
JOIN session ON session.id = found.session_id
JOIN users ON users.id = found.user_id;

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
-- Those whose last access token may still be good: it lives 15 minutes.
SELECT id AS session_id, ceil(extract(epoch FROM ended_at) * 1000)::bigint AS ended_ms
FROM session
WHERE ended_at > now() - interval '16 minutes'
ORDER BY ended_at DESC
LIMIT :sessions_max::bigint;
