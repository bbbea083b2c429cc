-- name: user_insert
-- in: avanta.identity.UserNew
-- out: avanta.identity.SessionUser
-- No row: the e-mail is taken.
INSERT INTO users (id, email, name, password_hash, role)
VALUES (:id::uuid, :email, :name, :password_hash, :in_role)
ON CONFLICT (email) DO NOTHING
RETURNING id, email, name, role, is_demo, created_at, avatar_url;

-- name: user_credential
-- in: avanta.identity.LoginRequest
-- out: avanta.identity.UserCredential
-- unscoped: nobody is logged in yet
SELECT users.id, users.email, users.name, users.role, users.is_demo, users.created_at, users.avatar_url,
       users.password_hash, users.is_active, users.entries_ended, mfa.sealed AS mfa_sealed
FROM users
LEFT JOIN mfa ON mfa.user_id = users.id AND mfa.enabled_at IS NOT NULL
WHERE users.email = :email;

-- name: user_me
-- in: none
-- out: avanta.identity.User
SELECT id, email, name, avatar_url, role, is_demo, created_at, google_sub IS NOT NULL AS google_linked
FROM users
WHERE id = :user_id::uuid AND is_active;

-- name: admin_count
-- in: none
-- out: avanta.identity.AdminCount
SELECT count(*) AS admins
FROM users
WHERE role = 'admin';
