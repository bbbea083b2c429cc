-- The error log: errors that browsers report and programs log, grouped by fingerprint, with some samples each. These
-- are no audit records: they are counted together, change their state and go.

CREATE TABLE error_group (
    fingerprint bytea PRIMARY KEY CHECK (octet_length(fingerprint) = 32), -- services/audit-log/fingerprint.h
    source text NOT NULL CHECK (source IN ('frontend', 'server')),
    service text NOT NULL,
    name text NOT NULL,
    message text NOT NULL, -- of the newest
    count bigint NOT NULL CHECK (count > 0),
    first_seen timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    state text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'ignored')),
    resolved_at timestamptz,
    resolved_by uuid,
    again boolean NOT NULL DEFAULT false, -- it came after it was resolved
    alerted boolean NOT NULL DEFAULT false, -- of this appearance
    CHECK ((state = 'resolved') = (resolved_at IS NOT NULL))
);
CREATE INDEX error_group_by_time ON error_group (last_seen DESC, fingerprint);

CREATE TABLE error_event (
    id uuid PRIMARY KEY,
    fingerprint bytea NOT NULL REFERENCES error_group ON DELETE CASCADE,
    seen_at timestamptz NOT NULL,
    message text NOT NULL,
    stack text,
    context text, -- JSON
    url text,
    user_agent text,
    network text,
    reporter_id uuid, -- who was logged in
    request_id text,
    release text
);
CREATE INDEX error_event_by_group ON error_event (fingerprint, seen_at DESC, id DESC);
CREATE INDEX error_event_by_time ON error_event (seen_at DESC, id DESC);

CREATE TABLE error_hour (
    hour timestamptz NOT NULL,
    source text NOT NULL CHECK (source IN ('frontend', 'server')),
    count bigint NOT NULL,
    dropped bigint NOT NULL,
    PRIMARY KEY (hour, source)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_log') THEN
        GRANT SELECT, INSERT, UPDATE, DELETE ON error_group, error_event, error_hour TO audit_log;
    END IF;
END
$$;
