-- Roles beyond user and administrator, profiles and settings, sessions that idle out, API keys, and access
-- that users grant to their accountants.

ALTER TABLE users DROP CONSTRAINT users_role_check;
ALTER TABLE users ADD CONSTRAINT users_role_check
    CHECK (role IN ('admin', 'accountant', 'user', 'viewer', 'service'));
ALTER TABLE users ADD COLUMN preferences jsonb NOT NULL DEFAULT '{}';

-- One row per user who changed a setting; NULL is the default, which the statements know.
CREATE TABLE user_settings (
    user_id uuid PRIMARY KEY REFERENCES users (id),
    theme text,
    language text,
    currency text,
    date_format text,
    time_format text,
    notifications_enabled boolean,
    email_notifications boolean,
    fiscal_regime text,
    tax_residence text,
    decimal_separator text,
    thousands_separator text,
    dashboard_layout text
);

-- Sensitive changes ask for a password that was given recently.
ALTER TABLE session ADD COLUMN authenticated_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX session_by_expiry ON session (expires_at);

-- Only the SHA-256 of a key is kept, and the part of it that tells keys apart to people.
CREATE TABLE api_key (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    prefix text NOT NULL,
    key_hash bytea NOT NULL CHECK (octet_length(key_hash) = 32),
    scopes text[] NOT NULL CHECK (cardinality(scopes) BETWEEN 1 AND 32),
    networks cidr[] NOT NULL CHECK (cardinality(networks) <= 16),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    used_ip text,
    revoked_at timestamptz,
    replaces uuid REFERENCES api_key (id),
    CONSTRAINT api_key_hash UNIQUE (key_hash)
);
CREATE INDEX api_key_by_user ON api_key (user_id, created_at DESC);
CREATE INDEX api_key_by_end ON api_key (revoked_at) WHERE revoked_at IS NOT NULL;

-- Whom a user lets into his books. By e-mail, so that nobody learns by it who has an account: it is of
-- effect while that e-mail is an active accountant's.
CREATE TABLE access_grant (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    grantee_email text NOT NULL CHECK (grantee_email = lower(grantee_email)),
    access text NOT NULL CHECK (access IN ('read', 'write')),
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);
CREATE UNIQUE INDEX access_grant_live ON access_grant (user_id, grantee_email) WHERE revoked_at IS NULL;
CREATE INDEX access_grant_by_grantee ON access_grant (grantee_email) WHERE revoked_at IS NULL;
CREATE INDEX access_grant_by_end ON access_grant (revoked_at) WHERE revoked_at IS NOT NULL;

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'identity') THEN
        GRANT SELECT, INSERT, UPDATE ON user_settings, api_key, access_grant TO identity;
        GRANT DELETE ON session, refresh_token, user_settings TO identity;
    END IF;
END
$$;
