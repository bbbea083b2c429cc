-- The keys that sign access tokens. A key is published first, signs from use_from on, and once another one has taken
-- over is honoured until the last token it signed has expired. Then its secret is erased; the rest of the row stays.
CREATE TABLE signing_key (
    kid text PRIMARY KEY CHECK (kid ~ '^[0-9a-f]{16}$'),
    sealed bytea,
    published_at timestamptz NOT NULL,
    use_from timestamptz NOT NULL CHECK (use_from >= published_at),
    honoured_until timestamptz,
    retired_at timestamptz,
    compromised boolean NOT NULL DEFAULT false,
    CONSTRAINT signing_key_erased CHECK ((sealed IS NULL) = (retired_at IS NOT NULL))
);
CREATE INDEX signing_key_live ON signing_key (use_from) WHERE retired_at IS NULL;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'identity') THEN
        GRANT SELECT, INSERT, UPDATE ON signing_key TO identity;
    END IF;
END
$$;
