-- name: signing_keys_live
-- in: none
-- out: avanta.identity.SigningKeyRow
SELECT kid, sealed,
       (extract(epoch FROM use_from) * 1000)::bigint AS use_from_ms,
       (extract(epoch FROM honoured_until) * 1000)::bigint AS honoured_until_ms,
       (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS now_ms
FROM signing_key
WHERE retired_at IS NULL AND (honoured_until IS NULL OR honoured_until > clock_timestamp())
ORDER BY use_from;

-- name: signing_keys_lock
-- in: none
-- out: none
-- One replica at a time changes the keys. A statement of its own, so that what is read next is younger than the lock.
SELECT FROM pg_advisory_xact_lock(hashtextextended('identity.signing_key', 0));

-- name: signing_keys_expire
-- in: none
-- out: none
-- Those whose last token has expired.
UPDATE signing_key
SET sealed = NULL, retired_at = clock_timestamp()
WHERE retired_at IS NULL AND honoured_until <= clock_timestamp();

-- name: signing_keys_drop
-- in: none
-- out: none
-- All of them, at once: their secrets are known to somebody else.
UPDATE signing_key
SET sealed = NULL, retired_at = clock_timestamp(), compromised = true,
    honoured_until = least(honoured_until, clock_timestamp())
WHERE retired_at IS NULL;

-- name: signing_key_insert
-- in: avanta.identity.SigningKeyNew
-- out: none
-- The key before it is honoured for as long as the tokens it may sign until then live.
WITH made AS (
    INSERT INTO signing_key (kid, sealed, published_at, use_from)
    SELECT :kid, :sealed, moment.at, moment.at + :ahead_s::bigint * interval '1 second'
    FROM (SELECT clock_timestamp() AS at) AS moment
    RETURNING use_from
)
UPDATE signing_key
SET honoured_until = made.use_from + :honoured_s::bigint * interval '1 second'
FROM made
WHERE signing_key.retired_at IS NULL AND signing_key.honoured_until IS NULL;

-- name: signing_keys_list
-- in: none
-- out: avanta.identity.SigningKey
-- By the column: the text of that name has whole seconds.
SELECT kid,
       CASE
           WHEN retired_at IS NOT NULL OR honoured_until <= clock_timestamp() THEN 'retired'
           WHEN use_from > clock_timestamp() THEN 'next'
           WHEN use_from = max(use_from) FILTER (WHERE retired_at IS NULL AND use_from <= clock_timestamp()) OVER ()
               THEN 'current'
           ELSE 'replaced'
       END AS state, compromised,
       to_char(published_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS published_at,
       to_char(use_from AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS use_from,
       to_char(honoured_until AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS honoured_until,
       to_char(retired_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') AS retired_at
FROM signing_key
ORDER BY signing_key.published_at DESC, kid
LIMIT 100;
