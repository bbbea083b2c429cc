-- A second factor: one authenticator app per user, and recovery codes for when it is lost.

CREATE TABLE mfa (
    user_id uuid PRIMARY KEY REFERENCES users (id) ON DELETE CASCADE,
    sealed bytea NOT NULL,                  -- the seed, by the vault, for "totp:<user id>"
    last_step bigint NOT NULL DEFAULT 0,    -- of the last code taken: none is taken twice
    failures bigint NOT NULL DEFAULT 0,     -- wrong codes in a row
    locked_until timestamptz NOT NULL DEFAULT '-infinity',
    created_at timestamptz NOT NULL DEFAULT now(),
    enabled_at timestamptz                  -- NULL: no code has shown yet that the user has the seed
);

-- Only the SHA-256 of a code is kept: it has 120 random bits.
CREATE TABLE recovery_code (
    user_id uuid NOT NULL REFERENCES mfa (user_id) ON DELETE CASCADE,
    code_hash bytea NOT NULL CHECK (octet_length(code_hash) = 32),
    used_at timestamptz,
    PRIMARY KEY (user_id, code_hash)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'identity') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON mfa, recovery_code TO identity;
    END IF;
END
$$;
