#!/usr/bin/env bash
# Migrates every service on a scratch PostgreSQL, prepares all of its statements there as the service's own role,
# and checks that each touches only rows of its caller, that row-level security keeps every table with users' rows, and
# that each role has the rights of tests/sql/grants.txt and no other. Leaves nothing behind.
#
#   BIN=dir-of-programs SQLGEN=path tests/check_sql.sh SERVICE...
root=$(cd "$(dirname "$0")/.." && pwd -P)
. "$root/deploy/lib.sh"
BIN=${BIN:?the directory of the programs}
SQLGEN=${SQLGEN:?the program sqlgen}

STATE=$(mktemp -d)
pgbin=$(postgres_bin)
end() {
    [ ! -s "$STATE/pg/data/postmaster.pid" ] ||
        as_postgres "$pgbin/pg_ctl" -D "$STATE/pg/data" -m immediate -w stop >/dev/null 2>&1 || true
    rm -rf "$STATE"
}
trap end EXIT
trap 'exit 130' INT TERM HUP
chmod 711 "$STATE"
mkdir "$STATE/pg"
[ "$(id -u)" != 0 ] || chown postgres:postgres "$STATE/pg"

as_postgres "$pgbin/initdb" --no-sync --auth=trust -U avanta_super -E UTF8 --locale=C.UTF-8 -D "$STATE/pg/data" \
    >"$STATE/log" 2>&1 || { cat "$STATE/log"; die "the cluster could not be created"; }
# Only a socket: no port can be taken.
as_postgres "$pgbin/pg_ctl" -D "$STATE/pg/data" -w -t 60 -l "$STATE/pg/log" start \
    -o "-c listen_addresses= -c unix_socket_directories=$STATE/pg -c fsync=off" >>"$STATE/log" 2>&1 ||
    { cat "$STATE/log"; die "PostgreSQL does not start"; }
psql_super() { psql -X -q -v ON_ERROR_STOP=1 -h "$STATE/pg" -U avanta_super "$@"; }

# scopes NAME FILE...: the statements of the files against the tables that have a user_id.
scopes() {
    local name=$1
    shift
    "$SQLGEN" scope "$name" "$STATE/exceptions" "$STATE/tables" "$@"
    [ ! -s "$STATE/exceptions" ] || sed "s/^/  any user's rows: $name /" "$STATE/exceptions"
}

for service in "$@"; do
    name=${service//-/_}
    ROLE_PASSWORD=x OWNER_PASSWORD=x psql_super -d postgres -v role="$name" -f "$root/deploy/postgres/service.sql" >/dev/null
    base="host=$STATE/pg dbname=avanta_$name"
    key=$(printf '00%.0s' $(seq 32))
    environment=(PATH="$PATH" AVANTA_PG_DSN="$base user=$name" AVANTA_PG_MIGRATE_DSN="$base user=${name}_owner"
        AVANTA_ENVELOPE_KEY="$key")
    [ "$service" != identity ] || environment+=(AVANTA_SECRETS_KEY="$key")
    [ "$service" != audit-log ] || environment+=(AVANTA_AUDIT_SIGNING_KEY="$key")
    env -i "${environment[@]}" "$BIN/$service" --migrate >"$STATE/log" 2>&1 || { cat "$STATE/log"; exit 1; }
    printf '  %s: ' "$service"
    env -i "${environment[@]}" "$BIN/$service" --check-sql
    psql_super -At -d "avanta_$name" >"$STATE/tables" -c "SELECT table_name FROM information_schema.columns
        WHERE column_name = 'user_id' AND table_schema NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"
    scopes "$service" "$root/services/$service"/sql/*.sql
    psql_super -At -d "avanta_$name" -v role="$name" -f "$root/tests/sql/row_security.sql" >"$STATE/open"
    if [ -s "$STATE/open" ]; then
        cat "$STATE/open"
        die "in $service, call user_rows() for these tables (libcommon/service/migrations/0003_row_security.sql)"
    fi
    psql_super -At -d "avanta_$name" -v service="$service" -v role="$name" -f "$root/tests/sql/grants.sql" >>"$STATE/grants"
done
scopes skeleton "$root"/libcommon/service/sql/*.sql
diff -u "$root/tests/sql/grants.txt" "$STATE/grants" ||
    die "rights changed (+: there is, -: there was): if that is meant, change tests/sql/grants.txt"
