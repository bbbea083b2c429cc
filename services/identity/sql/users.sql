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
SELECT id, email, name, role, is_demo, created_at, avatar_url, password_hash, is_active
FROM users
WHERE email = :email;

-- name: user_me
-- in: none
-- out: avanta.identity.User
SELECT id, email, name, avatar_url, role, is_demo, created_at
FROM users
WHERE id = :user_id::uuid AND is_active;

-- name: admin_count
-- in: none
-- out: avanta.identity.AdminCount
SELECT count(*) AS admins
FROM users
WHERE role = 'admin';
