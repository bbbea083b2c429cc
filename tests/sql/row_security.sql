-- Tables with users' rows whose row-level security is not as user_rows() makes it, and the policies they have: none
-- when all is well. Variable: role, the service's.
WITH kept AS (
    SELECT t.relname, t.relrowsecurity, owner.attname AS owner,
        (SELECT string_agg(concat_ws(' ', p.roles::text, p.permissive, p.cmd, p.qual, p.with_check), '; '
            ORDER BY p.policyname DESC) FROM pg_policies p WHERE p.schemaname = 'public' AND p.tablename = t.relname) AS have,
        concat_ws('; ', format('{%s} PERMISSIVE ALL true true', :'role'),
            format('{%s_reader} PERMISSIVE SELECT (%I = %s)', :'role', owner.attname,
                CASE WHEN owner.atttypid = 'text'::regtype
                    THEN $$NULLIF(current_setting('avanta.user_id'::text, true), ''::text)$$
                    ELSE $$(NULLIF(current_setting('avanta.user_id'::text, true), ''::text))::uuid$$ END)) AS wanted
    FROM pg_class t
    JOIN pg_attribute owner ON owner.attrelid = t.oid AND NOT owner.attisdropped
        AND owner.attname = CASE WHEN t.relname = 'users' THEN 'id' ELSE 'user_id' END
    WHERE t.relkind IN ('r', 'p') AND t.relnamespace = 'public'::regnamespace
      AND NOT (t.relispartition AND t.relacl IS NULL) -- nobody may name it: what is reached through its parent is kept there
)
SELECT format('%s (row security %s): %s', relname, relrowsecurity, coalesce(have, 'no policy'))
FROM kept WHERE NOT relrowsecurity OR have IS DISTINCT FROM wanted
ORDER BY relname;
