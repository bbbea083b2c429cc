-- Row-level security: the second line behind statements that are scoped by user_id. Every table with a user's rows is
-- marked by user_rows(). The role that runs the service works for all users at once (a group commit mixes them) and
-- sees every row; the reader, for exports and reports, sees the rows of the user in the setting avanta.user_id and
-- without one none. Columns that are `hidden` are nothing to a reader: hashes, sealed secrets, stored replies.
CREATE FUNCTION user_rows(target regclass, hidden name[] DEFAULT '{}', owner name DEFAULT 'user_id')
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    -- named after the owner that migrates: ledger_owner -> ledger, ledger_reader
    runtime text := regexp_replace(current_user, '_owner$', '');
    owner_type text;
    shown text;
BEGIN
    SELECT format_type(a.atttypid, NULL) INTO STRICT owner_type
    FROM pg_attribute a WHERE a.attrelid = target AND a.attname = owner;
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) INTO shown
    FROM pg_attribute a
    WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> ALL (hidden);
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    IF runtime <> current_user AND EXISTS (SELECT FROM pg_roles WHERE rolname = runtime) THEN
        EXECUTE format('CREATE POLICY service ON %s TO %I USING (true) WITH CHECK (true)', target, runtime);
    END IF;
    IF runtime <> current_user AND EXISTS (SELECT FROM pg_roles WHERE rolname = runtime || '_reader') THEN
        EXECUTE format('CREATE POLICY reader ON %s FOR SELECT TO %I'
            ' USING (%I = nullif(current_setting(''avanta.user_id'', true), '''')::%s)',
            target, runtime || '_reader', owner, owner_type);
        EXECUTE format('GRANT SELECT %s ON %s TO %I',
            CASE WHEN cardinality(hidden) > 0 THEN '(' || shown || ')' END, target, runtime || '_reader');
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION user_rows FROM PUBLIC;

SELECT user_rows('idempotency', '{request_hash, reply}');
