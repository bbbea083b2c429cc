#!/usr/bin/env bash
# Starts one whole stack in STATE: PostgreSQL, nats-server, the services, the gateway. Everything it writes
# is under STATE. Run again it finds the stack running and says so.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/lib.sh"
BIN=$(cd "${BIN:?the directory of the programs}" && pwd -P)
PORT=${PORT:-8080}
services="identity ledger audit-log"

state_open
umask 077
mkdir -p "$STATE/log"

running=yes
for name in gateway $services nats postgres; do
    pid_alive "$name" || running=
done
if [ -n "$running" ]; then
    . "$STATE/env"
    say "Avanta is running: http://127.0.0.1:$HTTP_PORT"
    exit 0
fi

# --- first start: ports, passwords, keys ------------------------------------------------------
if [ ! -s "$STATE/env" ]; then
    say "First start: choosing ports and secrets"
    {
        for name in PG_PORT NATS_PORT ADMIN_GATEWAY ADMIN_IDENTITY ADMIN_LEDGER ADMIN_AUDIT_LOG; do
            port_pick
            echo "$name=$REPLY"
        done
        for name in PG_SUPER PG_IDENTITY PG_LEDGER PG_AUDIT_LOG PG_IDENTITY_OWNER PG_LEDGER_OWNER PG_AUDIT_LOG_OWNER \
            NATS_GATEWAY NATS_IDENTITY NATS_LEDGER NATS_AUDIT_LOG NATS_SYSTEM; do
            echo "${name}_PASSWORD=$(password 24)"
        done
        for name in IDENTITY LEDGER AUDIT_LOG; do
            echo "ENVELOPE_KEY_$name=$(secret 32)"
        done
        echo "SIGNING_KEY=$(secret 31)01"
        echo "HTTP_PORT=$PORT"
    } >"$STATE/env.new"
    mv "$STATE/env.new" "$STATE/env"
fi
. "$STATE/env"
# The first administrator: identity creates it when there is none.
if [ ! -s "$STATE/admin.env" ]; then
    printf 'AVANTA_URL=http://127.0.0.1:%s\nAVANTA_ADMIN_EMAIL=%s\nAVANTA_ADMIN_PASSWORD=%s\n' \
        "$HTTP_PORT" admin@avanta.local "$(password 12)" >"$STATE/admin.env"
fi
. "$STATE/admin.env"
pid_alive gateway || port_free "$HTTP_PORT" || die "port $HTTP_PORT is taken: choose another with PORT=n in a new STATE"

# --- PostgreSQL ---------------------------------------------------------------------------------
pgbin=$(postgres_bin)
pgdata=$STATE/postgres/data
if [ ! -s "$pgdata/PG_VERSION" ]; then
    say "Creating the database cluster"
    mkdir -p "$STATE/postgres"
    printf '%s\n' "$PG_SUPER_PASSWORD" >"$STATE/postgres/password"
    [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$STATE/postgres"
    as_postgres "$pgbin/initdb" -D "$pgdata" -U avanta_super -E UTF8 --locale=C.UTF-8 --data-checksums \
        --auth=scram-sha-256 --pwfile="$STATE/postgres/password" >"$STATE/log/initdb.log" 2>&1 ||
        die "the cluster could not be created; see $STATE/log/initdb.log"
    rm -f "$STATE/postgres/password"
fi
if ! pid_alive postgres; then
    say "Starting PostgreSQL on 127.0.0.1:$PG_PORT"
    # After a crash the old server's last processes may hold on for a moment.
    pg_start() {
        as_postgres "$pgbin/pg_ctl" -D "$pgdata" -w -t 60 -l "$STATE/postgres/log" start \
            -o "-p $PG_PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories=$STATE/postgres -c max_connections=100"
    }
    wait_for 20 PostgreSQL pg_start
fi
as_postgres head -n 1 "$pgdata/postmaster.pid" >"$STATE/postgres.pid"
export PGPASSWORD=$PG_SUPER_PASSWORD
psql_super() { psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" -U avanta_super "$@"; }

for service in $services; do
    name=${service//-/_}
    upper=${name^^}
    password=PG_${upper}_PASSWORD
    owner_password=PG_${upper}_OWNER_PASSWORD
    psql_super -d postgres -v role="$name" -v password="${!password}" -v owner_password="${!owner_password}" \
        -f "$here/postgres/service.sql" >"$STATE/log/roles.log" 2>&1 || die "roles of $service; see $STATE/log/roles.log"
done
unset PGPASSWORD

# --- nats-server ---------------------------------------------------------------------------------
if ! pid_alive nats; then
    say "Starting nats-server on 127.0.0.1:$NATS_PORT"
    export NATS_PORT NATS_STORE=$STATE/nats NATS_GATEWAY_PASSWORD NATS_IDENTITY_PASSWORD NATS_LEDGER_PASSWORD \
        NATS_AUDIT_LOG_PASSWORD NATS_SYSTEM_PASSWORD
    setsid nats-server -c "$here/nats.conf" >>"$STATE/log/nats.log" 2>&1 </dev/null &
    echo $! >"$STATE/nats.pid"
fi
wait_for 20 nats-server bash -c "exec 3<>/dev/tcp/127.0.0.1/$NATS_PORT"

# --- services and gateway ----------------------------------------------------------------------------
dsn() { echo "host=127.0.0.1 port=$PG_PORT dbname=avanta_$1 user=$2 password=$3"; }

service_environment() {
    local name=${1//-/_} upper password owner_password key nats admin
    upper=${name^^}
    password=PG_${upper}_PASSWORD owner_password=PG_${upper}_OWNER_PASSWORD key=ENVELOPE_KEY_$upper
    nats=NATS_${upper}_PASSWORD admin=ADMIN_$upper
    environment=(PATH="$PATH" AVANTA_STATE="$STATE"
        AVANTA_PG_DSN="$(dsn "$name" "$name" "${!password}")"
        AVANTA_PG_MIGRATE_DSN="$(dsn "$name" "${name}_owner" "${!owner_password}")"
        AVANTA_NATS_URL="nats://127.0.0.1:$NATS_PORT" AVANTA_NATS_USER="$1" AVANTA_NATS_PASSWORD="${!nats}"
        AVANTA_ENVELOPE_KEY="${!key}" AVANTA_ADMIN_PORT="${!admin}")
    [ "$1" != identity ] || environment+=(AVANTA_SIGNING_KEY="$SIGNING_KEY"
        AVANTA_BOOTSTRAP_EMAIL="$AVANTA_ADMIN_EMAIL" AVANTA_BOOTSTRAP_PASSWORD="$AVANTA_ADMIN_PASSWORD")
}

start() {
    local name=$1
    pid_alive "$name" && return
    setsid env -i "${environment[@]}" "$BIN/$name" >>"$STATE/log/$name.log" 2>&1 </dev/null &
    echo $! >"$STATE/$name.pid"
}

for service in $services; do
    service_environment "$service"
    say "Migrating and starting $service"
    env -i "${environment[@]}" "$BIN/$service" --migrate >>"$STATE/log/$service.log" 2>&1 ||
        die "the migration of $service failed; see $STATE/log/$service.log"
    start "$service"
done
environment=(PATH="$PATH" AVANTA_STATE="$STATE" AVANTA_HTTP_PORT="$HTTP_PORT" AVANTA_ADMIN_PORT="$ADMIN_GATEWAY"
    AVANTA_NATS_URL="nats://127.0.0.1:$NATS_PORT" AVANTA_NATS_USER=gateway AVANTA_NATS_PASSWORD="$NATS_GATEWAY_PASSWORD"
    AVANTA_ENVELOPE_KEY_IDENTITY="$ENVELOPE_KEY_IDENTITY" AVANTA_ENVELOPE_KEY_LEDGER="$ENVELOPE_KEY_LEDGER"
    AVANTA_ENVELOPE_KEY_AUDIT_LOG="$ENVELOPE_KEY_AUDIT_LOG")
say "Starting the gateway"
start gateway
for name in $services gateway; do
    admin=${name//-/_}
    admin=ADMIN_${admin^^}
    wait_for 30 "$name" curl -fsS "http://127.0.0.1:${!admin}/readyz"
done

say ""
say "Avanta is ready:  $AVANTA_URL"
say "Administrator:    $AVANTA_ADMIN_EMAIL"
say "Password:         $AVANTA_ADMIN_PASSWORD    (also in $STATE/admin.env)"
