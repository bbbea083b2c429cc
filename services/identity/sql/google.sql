-- name: google_find
-- in: avanta.identity.GoogleQuery
-- out: avanta.identity.GoogleUser
-- unscoped: nobody is logged in yet
-- The user of that Google account, else the one who has its e-mail.
SELECT users.id, users.email, users.name, users.role, users.is_demo, users.created_at, users.avatar_url, users.is_active,
       users.password_hash IS NOT NULL AS has_password, users.google_sub IS NOT DISTINCT FROM :sub AS linked,
       users.entries_ended, mfa.sealed AS mfa_sealed
FROM users
LEFT JOIN mfa ON mfa.user_id = users.id AND mfa.enabled_at IS NOT NULL
WHERE users.google_sub = :sub OR users.email = :email
ORDER BY (users.google_sub IS NOT DISTINCT FROM :sub) DESC
LIMIT 1;

-- name: google_user_insert
-- in: avanta.identity.GoogleUserNew
-- out: avanta.identity.SessionUser
-- No row: the e-mail or the Google account was taken meanwhile.
INSERT INTO users (id, email, name, google_sub, avatar_url)
VALUES (:id::uuid, :email, :name, :sub, :avatar_url)
ON CONFLICT DO NOTHING
RETURNING id, email, name, role, is_demo, created_at, avatar_url;

-- name: google_link
-- in: avanta.identity.GoogleQuery
-- out: avanta.identity.RowId
-- No row: the user has another Google account or is not active, or the account is another user's.
UPDATE users
SET google_sub = :sub, updated_at = now() AT TIME ZONE 'UTC'
WHERE id = :user_id::uuid AND is_active AND (google_sub IS NULL OR google_sub = :sub)
  AND NOT EXISTS (SELECT FROM users AS others WHERE others.google_sub = :sub AND others.id <> :user_id::uuid)
RETURNING id;

-- name: google_unlink
-- in: none
-- out: avanta.identity.GoogleUnlinking
-- Of a user without a password the link stays: nothing else lets him in. Log-ins under way end.
WITH found AS MATERIALIZED (
    SELECT id, google_sub IS NOT NULL AS linked, password_hash IS NOT NULL AS has_password
    FROM users
    WHERE id = :user_id::uuid AND is_active
    FOR UPDATE
), gone AS (
    UPDATE users
    SET google_sub = NULL, entries_ended = users.entries_ended + 1, updated_at = now() AT TIME ZONE 'UTC'
    FROM found
    WHERE users.id = :user_id::uuid AND found.linked AND found.has_password
)
SELECT id, linked, has_password
FROM found;
