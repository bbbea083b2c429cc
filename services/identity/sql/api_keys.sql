-- name: api_key_list
-- in: avanta.identity.OwnerSessions
-- out: avanta.identity.ApiKeyRow
-- unscoped: owner_id is the caller, or a user whom an administrator looks at
SELECT k.id, k.name, k.prefix, array_to_string(k.scopes, ' ') AS scopes, array_to_string(k.networks, ' ') AS networks,
       to_char(k.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS created_at,
       to_char(k.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS expires_at,
       to_char(k.used_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS last_used_at, k.used_ip AS last_used_ip,
       k.replaces, k.sealed IS NOT NULL AS signing
FROM api_key k
WHERE k.user_id = :owner_id::uuid AND k.revoked_at IS NULL AND k.expires_at > now()
ORDER BY k.created_at DESC, k.id
LIMIT 1000;

-- name: api_key_insert
-- in: avanta.identity.ApiKeyNew
-- out: avanta.identity.ApiKeyRow
-- unscoped: owner_id is the caller, or a user of the role service, for whom an administrator makes it
-- No row: the user has as many as are allowed. Requests of one user take turns, and administrators lock the user's row,
-- so the count holds.
INSERT INTO api_key AS k (id, user_id, name, prefix, key_hash, sealed, scopes, networks, expires_at)
SELECT :id::uuid, :owner_id::uuid, :name, :prefix, :key_hash::bytea, :sealed::bytea, :scopes::text[], :networks::text[]::cidr[],
       now() + make_interval(days => :days::int)
WHERE (SELECT count(*) FROM api_key live
       WHERE live.user_id = :owner_id::uuid AND live.revoked_at IS NULL AND live.expires_at > now()) < :keys_max::bigint
RETURNING k.id, k.user_id AS owner_id, k.name, k.prefix, array_to_string(k.scopes, ' ') AS scopes,
    array_to_string(k.networks, ' ') AS networks,
    to_char(k.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS created_at,
    to_char(k.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS expires_at,
    NULL::text AS last_used_at, NULL::text AS last_used_ip, k.replaces, k.sealed IS NOT NULL AS signing;

-- name: api_key_rotate
-- in: avanta.identity.ApiKeyRotation
-- out: avanta.identity.ApiKeyRow
-- The new key is as the old one was and lives as long as that was meant to; the old one stays good for a while.
WITH old AS (
    UPDATE api_key
    SET expires_at = least(expires_at, now() + make_interval(hours => :overlap_hours::int))
    FROM (SELECT id AS old_id, expires_at - created_at AS life, expires_at AS expired_at
          FROM api_key
          WHERE user_id = :user_id::uuid AND id = :old_id::uuid AND revoked_at IS NULL AND expires_at > now()
          FOR UPDATE) AS found
    WHERE api_key.user_id = :user_id::uuid AND api_key.id = found.old_id
    RETURNING api_key.id, api_key.name, api_key.scopes, api_key.networks, api_key.sealed IS NOT NULL AS signing,
        api_key.expires_at, found.life, found.expired_at
), made AS (
    INSERT INTO api_key (id, user_id, name, prefix, key_hash, sealed, scopes, networks, expires_at, replaces)
    SELECT :id::uuid, :user_id::uuid, old.name, :prefix, CASE WHEN NOT old.signing THEN :key_hash::bytea END,
           CASE WHEN old.signing THEN :sealed::bytea END, old.scopes, old.networks, now() + old.life, old.id
    FROM old
    RETURNING *
)
SELECT k.id, k.user_id AS owner_id, k.name, k.prefix, array_to_string(k.scopes, ' ') AS scopes,
    array_to_string(k.networks, ' ') AS networks,
    to_char(k.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS created_at,
    to_char(k.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS expires_at,
    NULL::text AS last_used_at, NULL::text AS last_used_ip, k.replaces, k.sealed IS NOT NULL AS signing,
    to_char(old.expired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS old_expires_at,
    to_char(old.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS cut_expires_at
FROM made k
JOIN old ON old.id = k.replaces;

-- name: api_key_revoke
-- in: avanta.identity.ApiKeyOfOwner
-- out: avanta.identity.ApiKeyRow
-- unscoped: owner_id is the caller, or a user whose key an administrator revokes
UPDATE api_key AS k
SET revoked_at = now()
WHERE k.user_id = :owner_id::uuid AND k.id = :id::uuid AND k.revoked_at IS NULL
RETURNING k.id, k.user_id AS owner_id, k.name, k.prefix, array_to_string(k.scopes, ' ') AS scopes,
    array_to_string(k.networks, ' ') AS networks,
    to_char(k.expires_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS expires_at;

-- name: api_key_resolve
-- in: avanta.identity.ResolveApiKeyRequest
-- out: avanta.identity.KeyFound
-- unscoped: the key itself is the proof, and its row names the user
SELECT k.id, k.user_id, users.email, users.role, array_to_string(k.scopes, ' ') AS scopes,
       array_to_string(k.networks, ' ') AS networks,
       greatest(0, extract(epoch FROM k.expires_at - now()) * 1000)::bigint AS good_ms,
       k.used_at IS NULL OR k.used_at < now() - interval '1 minute' AS use_due
FROM api_key k
JOIN users ON users.id = k.user_id
WHERE k.key_hash = :key_hash AND k.revoked_at IS NULL AND k.expires_at > now() AND users.is_active;

-- name: api_key_used
-- in: avanta.identity.KeyUsed
-- out: none
-- unscoped: the key itself was the proof
-- Gateways ask every half minute of use; the time of use is written once a minute at most.
UPDATE api_key
SET used_at = now(), used_ip = :client_ip
WHERE id = :key_id::uuid AND (used_at IS NULL OR used_at < now() - interval '1 minute');

-- name: signing_secret
-- in: avanta.identity.ResolveSignatureRequest
-- out: avanta.identity.KeyFound
-- unscoped: the signature is the proof, and the key's row names the user
SELECT k.id, k.user_id, users.email, users.role, array_to_string(k.scopes, ' ') AS scopes,
       array_to_string(k.networks, ' ') AS networks,
       greatest(0, extract(epoch FROM k.expires_at - now()) * 1000)::bigint AS good_ms, k.sealed
FROM api_key k
JOIN users ON users.id = k.user_id
WHERE k.id = :key_id::uuid AND k.sealed IS NOT NULL AND k.revoked_at IS NULL AND k.expires_at > now() AND users.is_active;

-- name: signature_take
-- in: avanta.identity.SignatureSeen
-- out: avanta.identity.RowId
-- unscoped: the key was proved by the signature
-- No row: it was seen before. Two at once: the second waits for the first and finds it.
WITH used AS (
    UPDATE api_key
    SET used_at = now(), used_ip = :client_ip
    WHERE id = :key_id::uuid AND (used_at IS NULL OR used_at < now() - interval '1 minute')
)
INSERT INTO signature_seen (key_id, signature)
VALUES (:key_id::uuid, :signature)
ON CONFLICT DO NOTHING
RETURNING key_id AS id;

-- name: signature_purge
-- in: avanta.identity.SignaturePurge
-- out: none
DELETE FROM signature_seen
WHERE (key_id, signature) IN (
    SELECT key_id, signature FROM signature_seen
    WHERE seen_at < now() - make_interval(secs => 4 * :window_s)
    LIMIT :rows_max::bigint
);
