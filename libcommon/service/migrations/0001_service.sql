-- What every service keeps beside its own tables.

-- Events and audit records waiting for the bus: written with the change they tell of, deleted once
-- the stream has them.
CREATE TABLE outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subject text NOT NULL,
    body bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Replies by Idempotency-Key. user_id is '' for callers without a credential.
CREATE TABLE idempotency (
    user_id text NOT NULL,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    request_hash bytea NOT NULL CHECK (octet_length(request_hash) = 32),
    reply bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (user_id, key)
);

CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- The role that runs the service is named after the owner that migrates it: ledger_owner -> ledger.
DO $$
DECLARE
    runtime text := regexp_replace(current_user, '_owner$', '');
BEGIN
    IF runtime <> current_user AND EXISTS (SELECT FROM pg_roles WHERE rolname = runtime) THEN
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON outbox, idempotency TO %I', runtime);
    END IF;
END
$$;

-- Claims a key for the transaction and gives what is stored under it, as always one row. Two statements, so
-- that the second one's snapshot is younger than the lock: whatever the lock's last holder stored is
-- seen.
CREATE FUNCTION idempotency_claim(lock_key bigint, owner text, wanted text)
RETURNS TABLE (claimed boolean, request_hash bytea, reply bytea)
LANGUAGE plpgsql VOLATILE
AS $$
BEGIN
    claimed := pg_try_advisory_xact_lock(lock_key);
    IF claimed THEN
        SELECT stored.request_hash, stored.reply INTO request_hash, reply
        FROM idempotency AS stored
        WHERE stored.user_id = owner AND stored.key = wanted;
    END IF;
    RETURN NEXT;
END
$$;
