-- Users, their sessions and the refresh tokens of each session.

CREATE TABLE users (
    id uuid PRIMARY KEY,
    email text NOT NULL CHECK (email = lower(email) AND length(email) BETWEEN 3 AND 254),
    name text NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    role text NOT NULL DEFAULT 'user' CHECK (role IN ('user', 'admin')),
    password_hash text NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    is_demo boolean NOT NULL DEFAULT false,
    avatar_url text,
    created_at timestamp(0) NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    updated_at timestamp(0) NOT NULL DEFAULT (now() AT TIME ZONE 'UTC'),
    last_login_at timestamp(0),
    CONSTRAINT users_email UNIQUE (email)
);

-- One login. Ends by logout, by reuse of a refresh token, or at expires_at whatever happens.
CREATE TABLE session (
    id uuid PRIMARY KEY,
    user_id uuid NOT NULL REFERENCES users (id),
    client_ip text,
    user_agent text,
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL DEFAULT now() + interval '30 days',
    ended_at timestamptz
);
CREATE INDEX session_by_user ON session (user_id, created_at DESC);
CREATE INDEX session_by_end ON session (ended_at) WHERE ended_at IS NOT NULL;

-- Only the SHA-256 of a token is kept. A token is used once; used ones stay, so that reuse shows.
CREATE TABLE refresh_token (
    token_hash bytea PRIMARY KEY CHECK (octet_length(token_hash) = 32),
    session_id uuid NOT NULL REFERENCES session (id) ON DELETE CASCADE,
    user_id uuid NOT NULL REFERENCES users (id),
    created_at timestamptz NOT NULL DEFAULT now(),
    used_at timestamptz
);
CREATE INDEX refresh_token_by_session ON refresh_token (session_id);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'identity') THEN
        GRANT SELECT, INSERT, UPDATE ON users, session, refresh_token TO identity;
    END IF;
END
$$;
