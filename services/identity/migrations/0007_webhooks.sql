-- Keys that sign requests instead of being sent. Their secret has to be read again, so it is sealed, not hashed.

ALTER TABLE api_key ALTER COLUMN key_hash DROP NOT NULL;
ALTER TABLE api_key ADD COLUMN sealed bytea;
ALTER TABLE api_key ADD CONSTRAINT api_key_secret CHECK ((key_hash IS NULL) <> (sealed IS NULL));

-- A signature counts once. Those beyond the window are refused by their time, and deleted.
CREATE TABLE signature_seen (
    key_id uuid NOT NULL REFERENCES api_key (id),
    signature bytea NOT NULL CHECK (octet_length(signature) = 32),
    seen_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (key_id, signature)
);
CREATE INDEX signature_seen_by_age ON signature_seen (seen_at);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'identity') THEN
        GRANT SELECT, INSERT, DELETE ON signature_seen TO identity;
    END IF;
END
$$;
