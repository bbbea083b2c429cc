-- One service's place in the cluster: a role that owns its database and migrates it, a role that runs the service
-- with what the migrations grant, and a reader that row-level security shows one user's rows (avanta.user_id). Nobody
-- can log in as the reader until an operator says so. Run as superuser; running it again changes nothing but passwords.
-- Variable: role. From the environment: ROLE_PASSWORD, OWNER_PASSWORD.
\getenv password ROLE_PASSWORD
\getenv owner_password OWNER_PASSWORD
SELECT format('CREATE ROLE %I LOGIN', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
SELECT format('CREATE ROLE %I LOGIN', :'role' || '_owner')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role' || '_owner') \gexec
SELECT format('CREATE ROLE %I NOLOGIN', :'role' || '_reader')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role' || '_reader') \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'role', :'password') \gexec
SELECT format('ALTER ROLE %I PASSWORD %L', :'role' || '_owner', :'owner_password') \gexec
SELECT format('CREATE DATABASE %I OWNER %I', 'avanta_' || :'role', :'role' || '_owner')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'avanta_' || :'role') \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', 'avanta_' || :'role') \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO %I, %I', 'avanta_' || :'role', :'role', :'role' || '_reader') \gexec
SELECT format('ALTER ROLE %I SET default_transaction_read_only = on', :'role' || '_reader') \gexec
SELECT format('ALTER ROLE %I SET statement_timeout = %L', :'role' || '_reader', '60s') \gexec
-- A deadlock is looked for soon: who waits in the same group commit waits with it. A second is PostgreSQL's own.
SELECT format('ALTER ROLE %I SET deadlock_timeout = %L', :'role', '50ms') \gexec
