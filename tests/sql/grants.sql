-- Everything that the roles of a service may do in its database, one right a line, for tests/sql/grants.txt. Variables:
-- service; role, its role.
WITH roles AS (
    SELECT r.* FROM pg_roles r WHERE r.rolname IN (:'role', :'role' || '_reader', :'role' || '_owner')
), named AS (
    SELECT oid, rolname FROM roles WHERE rolname <> :'role' || '_owner'
    UNION ALL
    SELECT 0, 'everybody'
), lines AS (
    SELECT rolname, 'role ' || concat_ws(' ', CASE WHEN rolcanlogin THEN 'login' ELSE 'no login' END,
        CASE WHEN rolsuper THEN 'SUPERUSER' END, CASE WHEN rolcreatedb THEN 'CREATEDB' END,
        CASE WHEN rolcreaterole THEN 'CREATEROLE' END, CASE WHEN rolreplication THEN 'REPLICATION' END,
        CASE WHEN rolbypassrls THEN 'BYPASSRLS' END) AS line
    FROM roles
    UNION ALL
    SELECT m.member::regrole::text, 'is a member of ' || m.roleid::regrole FROM pg_auth_members m
    WHERE m.member IN (SELECT oid FROM roles)
    UNION ALL
    SELECT n.rolname, 'owns ' || o.what FROM named n JOIN (
        SELECT relowner AS owner, relname::text AS what FROM pg_class
        UNION ALL SELECT proowner, proname::text FROM pg_proc
        UNION ALL SELECT nspowner, nspname::text FROM pg_namespace
        UNION ALL SELECT datdba, datname::text FROM pg_database
        UNION ALL SELECT typowner, typname::text FROM pg_type) o ON o.owner = n.oid
    UNION ALL
    SELECT n.rolname, a.privilege_type || ' on the database'
    FROM pg_database d CROSS JOIN aclexplode(d.datacl) a JOIN named n ON n.oid = a.grantee
    WHERE d.datname = current_database()
    UNION ALL
    SELECT n.rolname, a.privilege_type || ' on schema ' || s.nspname
    FROM pg_namespace s CROSS JOIN aclexplode(coalesce(s.nspacl, acldefault('n', s.nspowner))) a
    JOIN named n ON n.oid = a.grantee WHERE s.nspname !~ '^pg_' AND s.nspname <> 'information_schema'
    UNION ALL
    SELECT n.rolname, string_agg(a.privilege_type, ', ' ORDER BY a.privilege_type) || ' on ' || c.relname
    FROM pg_class c CROSS JOIN aclexplode(c.relacl) a JOIN named n ON n.oid = a.grantee
    WHERE c.relnamespace = 'public'::regnamespace GROUP BY n.rolname, c.relname
    UNION ALL
    SELECT n.rolname, a.privilege_type || ' on ' || c.relname || ': '
        || string_agg(t.attname, ', ' ORDER BY t.attnum)
    FROM pg_attribute t JOIN pg_class c ON c.oid = t.attrelid CROSS JOIN aclexplode(t.attacl) a
    JOIN named n ON n.oid = a.grantee
    WHERE c.relnamespace = 'public'::regnamespace GROUP BY n.rolname, a.privilege_type, c.relname
)
SELECT :'service' || ': ' || rolname || ': ' || line FROM lines ORDER BY 1;
