-- name: grants_given
-- in: none
-- out: avanta.identity.GivenGrant
SELECT id, grantee_email AS email, access, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS created_at
FROM access_grant
WHERE user_id = :user_id::uuid AND revoked_at IS NULL
ORDER BY created_at DESC, id
LIMIT 1000;

-- name: grants_received
-- in: none
-- out: avanta.identity.ReceivedGrant
-- unscoped: the caller is the one they were granted to
-- Only who is an accountant has the use of them, and only then are they shown.
SELECT g.id, g.user_id AS owner_id, owner.name AS owner_name, owner.email AS owner_email, g.access,
       to_char(g.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS created_at
FROM users me
JOIN access_grant g ON g.grantee_email = me.email AND g.revoked_at IS NULL
JOIN users owner ON owner.id = g.user_id AND owner.is_active
WHERE me.id = :user_id::uuid AND me.role = 'accountant'
ORDER BY owner.name, g.id
LIMIT 1000;

-- name: grant_supersede
-- in: avanta.identity.CreateGrantRequest
-- out: avanta.identity.GrantOwner
UPDATE access_grant
SET revoked_at = now()
WHERE user_id = :user_id::uuid AND grantee_email = :email AND revoked_at IS NULL
RETURNING id, user_id AS owner_id, grantee_email AS email, access;

-- name: grant_insert
-- in: avanta.identity.GrantNew
-- out: none
INSERT INTO access_grant (id, user_id, grantee_email, access)
VALUES (:id::uuid, :user_id::uuid, :email, :access);

-- name: grant_revoke
-- in: avanta.identity.GrantIdRequest
-- out: avanta.identity.GrantOwner
-- unscoped: who granted it takes it back, or who has it gives it back
UPDATE access_grant g
SET revoked_at = now()
WHERE g.id = :id::uuid AND g.revoked_at IS NULL
    AND (g.user_id = :user_id::uuid
         OR g.grantee_email = (SELECT email FROM users WHERE users.id = :user_id::uuid))
RETURNING g.id, g.user_id AS owner_id, g.grantee_email AS email, g.access;

-- name: grant_resolve
-- in: avanta.identity.ResolveGrantRequest
-- out: avanta.identity.AccessReply
-- unscoped: a gateway asks whether an accountant may act for another user
SELECT g.id, g.user_id, NULL::text AS email, NULL::text AS role, NULL::text AS scopes, NULL::text AS networks,
       g.access AS "grant", NULL::bigint AS good_ms
FROM users accountant
JOIN access_grant g ON g.grantee_email = accountant.email AND g.revoked_at IS NULL
JOIN users owner ON owner.id = g.user_id AND owner.is_active
WHERE accountant.id = :accountant_id::uuid AND accountant.is_active AND accountant.role = 'accountant'
    AND g.user_id = :owner_id::uuid;
