-- The audit trail. Rows are added and never changed: the role that runs the service may not update or
-- delete, and a trigger refuses both to everyone.

CREATE TABLE audit_record (
    user_id uuid NOT NULL,
    id bigint GENERATED ALWAYS AS IDENTITY,
    message_id text NOT NULL,
    actor_id text,
    action_type text NOT NULL,
    entity_type text NOT NULL,
    entity_id text,
    action_details text,
    ip_address text,
    user_agent text,
    session_id text,
    occurred_at timestamptz NOT NULL,
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    status text NOT NULL CHECK (status IN ('success', 'failed', 'partial')),
    request_id text,
    service text NOT NULL,
    PRIMARY KEY (user_id, id),
    CONSTRAINT audit_record_message UNIQUE (message_id)
);
CREATE INDEX audit_record_by_time ON audit_record (user_id, occurred_at DESC, id DESC);

CREATE FUNCTION audit_record_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'audit records are never changed' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_record_append_only
    BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_log') THEN
        GRANT SELECT, INSERT ON audit_record TO audit_log;
    END IF;
END
$$;
