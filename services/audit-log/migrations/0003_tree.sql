-- Records become leaves of a Merkle tree (RFC 6962, 2.1), in the order they are stored; they lie in partitions by
-- month, so that old ones can leave by sealed export. The tree itself, 32 bytes a record, stays.

-- The leaves, in order and without a gap. hash is that of the record's canonical JSON (services/audit-log/leaf.h).
CREATE TABLE audit_leaf (
    leaf_index bigint PRIMARY KEY CHECK (leaf_index >= 0),
    message_id text NOT NULL,
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    CONSTRAINT audit_leaf_message UNIQUE (message_id)
);

-- The complete nodes of every eighth level; those between are computed of at most 256 below.
CREATE TABLE audit_node (
    level smallint NOT NULL CHECK (level IN (8, 16, 24, 32, 40, 48, 56)),
    node_index bigint NOT NULL CHECK (node_index >= 0),
    hash bytea NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (level, node_index)
);

-- Signed checkpoints: the size of the tree and its root. frontier holds the hashes of the complete subtrees at the
-- right edge, largest first, one for each bit of size.
CREATE TABLE audit_checkpoint (
    size bigint PRIMARY KEY CHECK (size >= 0),
    root bytea NOT NULL CHECK (octet_length(root) = 32),
    frontier bytea NOT NULL,
    note text NOT NULL,
    made_at timestamptz NOT NULL
);

-- What witnesses say to a checkpoint: signature lines of a signed note.
CREATE TABLE audit_cosignature (
    size bigint NOT NULL REFERENCES audit_checkpoint,
    witness text NOT NULL,
    line text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (size, witness)
);

-- Partitions that left by sealed export, and the leaves that went with them.
CREATE TABLE audit_seal (
    month date PRIMARY KEY,
    leaves int8multirange NOT NULL,
    file_name text NOT NULL,
    file_sha256 bytea NOT NULL CHECK (octet_length(file_sha256) = 32),
    previous_sha256 bytea CHECK (octet_length(previous_sha256) = 32), -- of the seal before
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

DROP TRIGGER audit_record_append_only ON audit_record;
ALTER TABLE audit_record RENAME TO audit_record_unordered;
ALTER TABLE audit_record_unordered RENAME CONSTRAINT audit_record_pkey TO audit_record_unordered_pkey;
DROP INDEX audit_record_by_time;

CREATE TABLE audit_record (
    user_id uuid NOT NULL, -- whose data
    occurred_at timestamptz NOT NULL,
    leaf_index bigint NOT NULL,
    message_id text NOT NULL,
    actor_id text, -- who did it, where it is not the owner
    credential text,
    session_id text,
    method text,
    action_type text NOT NULL,
    entity_type text NOT NULL,
    entity_id text,
    before text,
    action_details text,
    ip_address text,
    user_agent text,
    severity text NOT NULL CHECK (severity IN ('low', 'medium', 'high', 'critical')),
    status text NOT NULL CHECK (status IN ('success', 'failed', 'partial')),
    request_id text,
    trace_id text,
    service text NOT NULL,
    PRIMARY KEY (user_id, occurred_at, leaf_index)
) PARTITION BY RANGE (occurred_at);

CREATE INDEX audit_record_by_leaf ON audit_record (leaf_index);
CREATE INDEX audit_record_by_request ON audit_record (request_id);
CREATE INDEX audit_record_by_entity ON audit_record (entity_id, occurred_at, leaf_index);
CREATE INDEX audit_record_by_action ON audit_record (action_type, user_id, occurred_at, leaf_index);
CREATE INDEX audit_record_by_severity ON audit_record (severity, user_id, occurred_at, leaf_index)
    WHERE severity <> 'low';

-- Clocks that were far off fall here.
CREATE TABLE audit_record_default PARTITION OF audit_record DEFAULT;

-- Makes the partitions of the month of `at` and of the three after it. The service may add partitions, never change
-- or drop them.
CREATE FUNCTION audit_partitions_make(at timestamptz) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    first date := date_trunc('month', at AT TIME ZONE 'UTC');
    name text;
    made integer := 0;
BEGIN
    FOR i IN 0..3 LOOP
        name := 'audit_record_' || to_char(first + make_interval(months => i), 'YYYY_MM');
        IF to_regclass('public.' || name) IS NULL
           AND NOT EXISTS (SELECT FROM audit_seal WHERE month = first + make_interval(months => i))
           AND NOT EXISTS (SELECT FROM audit_record_default
                           WHERE occurred_at >= (first + make_interval(months => i)) AT TIME ZONE 'UTC'
                             AND occurred_at < (first + make_interval(months => i + 1)) AT TIME ZONE 'UTC') THEN
            EXECUTE format('CREATE TABLE public.%I PARTITION OF public.audit_record FOR VALUES FROM (%L) TO (%L)', name,
                           (first + make_interval(months => i)) AT TIME ZONE 'UTC',
                           (first + make_interval(months => i + 1)) AT TIME ZONE 'UTC');
            EXECUTE format('CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON %I'
                           ' FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only()', name);
            made := made + 1;
        END IF;
    END LOOP;
    RETURN made;
END
$$;
REVOKE EXECUTE ON FUNCTION audit_partitions_make FROM PUBLIC;

-- Gives each record that is not there yet the next leaf. Under a lock, and in a statement that is younger than the
-- lock, so that leaves become visible in their order and none is given twice.
CREATE FUNCTION audit_leaves_append(message_ids text[], hashes bytea[])
RETURNS TABLE (message_id text, leaf_index bigint)
LANGUAGE plpgsql VOLATILE AS $$
DECLARE
    size bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('audit_leaf', 0));
    SELECT coalesce(max(audit_leaf.leaf_index) + 1, 0) INTO size FROM audit_leaf;
    RETURN QUERY
    INSERT INTO audit_leaf (leaf_index, message_id, hash)
    SELECT size + row_number() OVER (ORDER BY given.place) - 1, given.message_id, given.hash
    FROM unnest(message_ids, hashes) WITH ORDINALITY AS given (message_id, hash, place)
    WHERE NOT EXISTS (SELECT FROM audit_leaf AS known WHERE known.message_id = given.message_id)
    RETURNING audit_leaf.message_id, audit_leaf.leaf_index;
END
$$;
REVOKE EXECUTE ON FUNCTION audit_leaves_append FROM PUBLIC;

-- The records that are there, as they were stored. In canonical JSON (RFC 8785) members are in order of their names;
-- to_json() escapes text as that does.
DO $$
DECLARE
    month timestamptz;
BEGIN
    FOR month IN SELECT DISTINCT date_trunc('month', occurred_at AT TIME ZONE 'UTC') AT TIME ZONE 'UTC'
                 FROM audit_record_unordered
                 WHERE occurred_at BETWEEN '2020-01-01' AND '2099-12-31' LOOP
        PERFORM audit_partitions_make(month);
    END LOOP;
END
$$;
WITH named AS (
    SELECT *, row_number() OVER (ORDER BY id) - 1 AS leaf_index, (extract(epoch FROM occurred_at) * 1000)::bigint AS ms
    FROM audit_record_unordered
), leaves AS (
    INSERT INTO audit_leaf (leaf_index, message_id, hash)
    SELECT leaf_index, message_id, sha256('\x00'::bytea || convert_to('{' || concat_ws(',',
               '"action_type":' || to_json(action_type)::text, '"actor_id":' || to_json(actor_id)::text,
               '"details":' || to_json(action_details)::text, '"entity_id":' || to_json(entity_id)::text,
               '"entity_type":' || to_json(entity_type)::text, '"id":' || to_json(message_id)::text,
               '"ip_address":' || to_json(ip_address)::text, '"occurred_ms":' || ms::text,
               '"request_id":' || to_json(request_id)::text, '"service":' || to_json(service)::text,
               '"session_id":' || to_json(session_id)::text, '"severity":' || to_json(severity)::text,
               '"status":' || to_json(status)::text, '"user_agent":' || to_json(user_agent)::text,
               '"user_id":' || to_json(user_id::text)::text) || '}', 'UTF8'))
    FROM named
)
INSERT INTO audit_record (user_id, occurred_at, leaf_index, message_id, actor_id, session_id, action_type, entity_type,
                          entity_id, action_details, ip_address, user_agent, severity, status, request_id, service)
SELECT user_id, to_timestamp(ms::double precision / 1000), leaf_index, message_id, actor_id, session_id, action_type,
       entity_type, entity_id, action_details, ip_address, user_agent, severity, status, request_id, service
FROM named;
DROP TABLE audit_record_unordered;

CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_record_default
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_leaf
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_node
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_checkpoint
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_cosignature
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_seal
    FOR EACH STATEMENT EXECUTE FUNCTION audit_record_append_only();

-- A statement with this in its conditions is planned for the values at hand each time.
CREATE FUNCTION plan_each_time(user_id uuid) RETURNS boolean LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    COST 1000000000 AS $$ BEGIN RETURN true; END $$;

-- --- the words of the page of the system's audit trail --------------------------------------------

CREATE FUNCTION trail_severities(level text) RETURNS text[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE level WHEN 'normal' THEN ARRAY['low'] WHEN 'elevated' THEN ARRAY['medium'] ELSE ARRAY['high', 'critical'] END
$$;
-- What the tax authority may ask about: books, documents, declarations.
CREATE FUNCTION trail_compliance(entity_type text) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT entity_type IN ('account', 'cfdi', 'compliance', 'declaration', 'document', 'import', 'initial_balance',
                           'invoice', 'journal_entry', 'report', 'transaction')
$$;
CREATE FUNCTION json_or_null(content text) RETURNS text LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
BEGIN
    RETURN content::json::text;
EXCEPTION WHEN OTHERS THEN
    RETURN NULL;
END
$$;
CREATE FUNCTION trail_face(r audit_record)
RETURNS TABLE (id bigint, user_id uuid, action_type text, entity_type text, entity_id text, action_details text,
               old_values text, new_values text, ip_address text, user_agent text, session_id text,
               security_level text, compliance_relevant boolean, metadata text, "timestamp" text, created_at text)
LANGUAGE sql STABLE AS $$
    SELECT r.leaf_index, r.user_id, r.action_type, r.entity_type, r.entity_id, json_or_null(r.action_details),
           json_or_null(r.before), CASE WHEN r.before IS NOT NULL THEN json_or_null(r.action_details) END,
           r.ip_address, r.user_agent, r.session_id,
           CASE r.severity WHEN 'low' THEN 'normal' WHEN 'medium' THEN 'elevated' ELSE 'critical' END,
           trail_compliance(r.entity_type), '{}',
           to_char(r.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS'),
           to_char(r.occurred_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS')
$$;

SELECT user_rows('audit_record');

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_roles WHERE rolname = 'audit_log') THEN
        GRANT SELECT, INSERT ON audit_record, audit_leaf, audit_node, audit_checkpoint, audit_cosignature TO audit_log;
        GRANT SELECT ON audit_seal TO audit_log;
        GRANT EXECUTE ON FUNCTION audit_partitions_make, audit_leaves_append TO audit_log;
    END IF;
END
$$;
SELECT audit_partitions_make(now());
