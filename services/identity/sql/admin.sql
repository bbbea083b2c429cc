-- name: user_list
-- in: avanta.identity.ListUsersRequest
-- out: avanta.identity.AdminUser
SELECT id, email, name, role, is_active, created_at, last_login_at, avatar_url
FROM users
WHERE (:q::text IS NULL OR strpos(lower(email), lower(:q::text)) > 0 OR strpos(lower(name), lower(:q::text)) > 0)
    AND (:in_role::text IS NULL OR role = :in_role::text)
    AND (:is_active::boolean IS NULL OR is_active = :is_active::boolean)
ORDER BY created_at DESC, id DESC
LIMIT coalesce(:limit::bigint, 1000)
OFFSET CASE WHEN :page::bigint IS NULL THEN coalesce(:offset::bigint, 0)
    ELSE (:page::bigint - 1) * coalesce(:limit::bigint, 1000) END;

-- name: user_get
-- in: avanta.identity.UserIdRequest
-- out: avanta.identity.AdminUser
SELECT id, email, name, role, is_active, created_at, last_login_at, avatar_url
FROM users
WHERE id = :id::uuid;

-- name: admins_lock
-- in: none
-- out: avanta.identity.RowId
-- Two administrators who take the role from each other at once: one waits here and finds himself the last.
SELECT id
FROM users
WHERE role = 'admin' AND is_active
ORDER BY id
FOR UPDATE;

-- name: user_change
-- in: avanta.identity.UpdateUserRequest
-- out: avanta.identity.UserChange
UPDATE users SET
    name = coalesce(:name::text, users.name),
    role = coalesce(:in_role::text, users.role),
    is_active = coalesce(:is_active::boolean, users.is_active),
    entries_ended = users.entries_ended + CASE
        WHEN coalesce(:in_role::text, users.role) = users.role
            AND coalesce(:is_active::boolean, users.is_active) = users.is_active THEN 0 ELSE 1 END,
    updated_at = now() AT TIME ZONE 'UTC'
FROM (SELECT id, name, role, is_active FROM users WHERE id = :id::uuid FOR UPDATE) AS old
WHERE users.id = old.id
RETURNING users.id, users.email, users.name, users.role, users.is_active, users.created_at, users.last_login_at,
    users.avatar_url, old.name AS old_name, old.role AS old_role, old.is_active AS was_active;

-- name: user_lock
-- in: avanta.identity.UserIdRequest
-- out: avanta.identity.AdminUser
-- The role stays as it is until what is made for it is committed.
SELECT id, role
FROM users
WHERE id = :id::uuid
FOR UPDATE;
