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
