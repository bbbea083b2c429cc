#!/usr/bin/env bash
# Starts one whole stack in STATE: PostgreSQL, nats-server, the services, the gateway. Everything it writes is
# under STATE. Run again it starts what is missing; when all is running and ready it says so. PORT moves a stopped
# stack to another port; without it a stack keeps its own, 8080 at first. GATEWAY_SETTINGS
# may hold more settings of the gateway, "NAME=value NAME=value".
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/lib.sh"
BIN=$(cd "${BIN:?the directory of the programs}" && pwd -P)
PORT=${PORT:-}
programs="gateway $services"

[[ -z $PORT || ($PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535) ]] || die "PORT=$PORT is not a port: give 1 to 65535"
state_open
umask 077
mkdir -p "$STATE/log"

# under NAME: audit-log -> AUDIT_LOG, as in the names of variables.
under() { local name=${1//-/_}; printf '%s' "${name^^}"; }
is_ready() { local port=ADMIN_$(under "$1"); curl -fsS -m 2 "http://127.0.0.1:${!port}/readyz"; }
tcp_open() { ! port_free "$1"; }

# --- what lasts: ports, passwords, keys -------------------------------------------------------
# Made at the first start and kept in STATE/env; what a newer version needs besides is added.
first=
if [ -s "$STATE/env" ]; then . "$STATE/env"; else first=yes; fi
alive= missing=
for name in $programs nats postgres; do
    if pid_alive "$name"; then alive=yes; else missing="$missing $name"; fi
done
if [ -n "$alive" ] && [ -n "$PORT" ] && [ "$PORT" != "${HTTP_PORT:-}" ]; then
    die "the stack in $STATE is running on port ${HTTP_PORT:-?}: stop it with 'make down' to move it to $PORT"
fi
HTTP_PORT=${PORT:-${HTTP_PORT:-8080}}
if [ -n "$alive" ] && [ -z "$missing" ]; then
    ready=yes
    for name in $programs; do is_ready "$name" >/dev/null 2>&1 || ready=; done
    [ -z "$ready" ] || { say "Avanta is running: http://127.0.0.1:$HTTP_PORT"; exit 0; }
fi
pid_alive gateway || port_free "$HTTP_PORT" || die "port $HTTP_PORT is taken by another program: choose another with PORT=n"

[ -z "$first" ] || say "First start: choosing ports and secrets"
names="HTTP_PORT"
value_of() { # NAME COMMAND...: the value there is, or what the command prints
    names="$names $1"
    [ -n "${!1:-}" ] || printf -v "$1" '%s' "$("${@:2}")"
}
for port in PG_PORT NATS_PORT $(for name in $programs; do echo "ADMIN_$(under "$name")"; done); do
    names="$names $port"
    # Nobody else knows these ports, so one that was taken meanwhile is chosen anew.
    if [ -z "${!port:-}" ] || { [ -z "$alive" ] && ! port_free "${!port}"; }; then
        port_pick
        printf -v "$port" '%s' "$REPLY"
    fi
done
value_of PG_SUPER_PASSWORD password 24
value_of NATS_SYSTEM_PASSWORD password 24
value_of NATS_GATEWAY_PASSWORD password 24
for service in $services; do
    value_of "PG_$(under "$service")_PASSWORD" password 24
    value_of "PG_$(under "$service")_OWNER_PASSWORD" password 24
    value_of "NATS_$(under "$service")_PASSWORD" password 24
    value_of "ENVELOPE_KEY_$(under "$service")" secret 32
done
signing_key() { printf '%s01' "$(secret 31)"; }
value_of SIGNING_KEY signing_key

# The first administrator: identity creates it when there is none.
[ ! -s "$STATE/admin.env" ] || . "$STATE/admin.env"
AVANTA_URL=http://127.0.0.1:$HTTP_PORT
AVANTA_ADMIN_EMAIL=${AVANTA_ADMIN_EMAIL:-admin@avanta.local}
value_of AVANTA_ADMIN_PASSWORD password 12
# Written whole, then renamed: a full disk leaves the old file.
{ for name in $names; do printf '%s=%s\n' "$name" "${!name}"; done; } >"$STATE/env.new"
mv "$STATE/env.new" "$STATE/env"
{ for name in AVANTA_URL AVANTA_ADMIN_EMAIL AVANTA_ADMIN_PASSWORD; do printf '%s=%s\n' "$name" "${!name}"; done; } >"$STATE/admin.env.new"
mv "$STATE/admin.env.new" "$STATE/admin.env"

# --- PostgreSQL ---------------------------------------------------------------------------------
# Where the user postgres cannot enter STATE (as root, under /root), the cluster has a directory of its own.
if [ ! -d "$STATE/postgres" ]; then
    [ ! -L "$STATE/postgres" ] || die "the database of this stack was in $(readlink "$STATE/postgres"), which is gone"
    if as_postgres test -x "$STATE"; then
        mkdir "$STATE/postgres"
    else
        (umask 022 && mkdir -p /var/lib/avanta)
        place=$(mktemp -d /var/lib/avanta/XXXXXXXX)
        say "The user postgres cannot enter $STATE: the database goes to $place"
        ln -s "$place" "$STATE/postgres"
    fi
fi
pgdir=$(cd "$STATE/postgres" && pwd -P)
pgdata=$pgdir/data
pgbin=$(postgres_bin)
if [ ! -d "$pgdata" ]; then
    say "Creating the database cluster"
    printf '%s\n' "$PG_SUPER_PASSWORD" >"$pgdir/password"
    [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$pgdir"
    # Made beside and renamed: an end halfway leaves no cluster that looks like one.
    as_postgres rm -rf "$pgdata.new"
    as_postgres "$pgbin/initdb" -D "$pgdata.new" -U avanta_super -E UTF8 --locale=C.UTF-8 --data-checksums \
        --auth=scram-sha-256 --pwfile="$pgdir/password" >"$STATE/log/initdb.log" 2>&1 ||
        give_up "the database cluster could not be created" "$STATE/log/initdb.log"
    rm -f "$pgdir/password"
    mv "$pgdata.new" "$pgdata"
fi
if ! pid_alive postgres; then
    port_free "$PG_PORT" || die "port $PG_PORT of PostgreSQL is taken: run 'make down', then 'make up'"
    say "Starting PostgreSQL on 127.0.0.1:$PG_PORT"
    pg_start() {
        as_postgres "$pgbin/pg_ctl" -D "$pgdata" -w -t 60 -l "$pgdir/log" start \
            -o "-p $PG_PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=100"
    }
    # After a crash the old server's last processes may hold on for a moment.
    until=$((SECONDS + 20))
    while ! pg_start >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || give_up "PostgreSQL did not start" "$pgdir/log"
        sleep 0.5
    done
fi
as_postgres head -n 1 "$pgdata/postmaster.pid" >"$STATE/postgres.pid"
export PGPASSWORD=$PG_SUPER_PASSWORD
psql_super() { psql -X -q -v ON_ERROR_STOP=1 -h 127.0.0.1 -p "$PG_PORT" -U avanta_super "$@"; }

for service in $services; do
    name=${service//-/_}
    password=PG_$(under "$service")_PASSWORD
    owner_password=PG_$(under "$service")_OWNER_PASSWORD
    psql_super -d postgres -v role="$name" -v password="${!password}" -v owner_password="${!owner_password}" \
        -f "$here/postgres/service.sql" >"$STATE/log/roles.log" 2>&1 ||
        give_up "the roles of $service could not be made" "$STATE/log/roles.log"
done
unset PGPASSWORD

# --- nats-server ---------------------------------------------------------------------------------
if ! pid_alive nats; then
    port_free "$NATS_PORT" || die "port $NATS_PORT of nats-server is taken: run 'make down', then 'make up'"
    say "Starting nats-server on 127.0.0.1:$NATS_PORT"
    export NATS_PORT NATS_STORE="\"$STATE/nats\"" NATS_SYSTEM_PASSWORD NATS_GATEWAY_PASSWORD
    for service in $services; do export "NATS_$(under "$service")_PASSWORD"; done
    setsid nats-server -c "$here/nats.conf" >>"$STATE/log/nats.log" 2>&1 </dev/null &
    echo $! >"$STATE/nats.pid"
fi
wait_ready 20 nats tcp_open "$NATS_PORT"

# --- services and gateway ----------------------------------------------------------------------------
dsn() { echo "host=127.0.0.1 port=$PG_PORT dbname=avanta_$1 user=$2 password=$3"; }

service_environment() {
    local name=${1//-/_} upper password owner_password key nats admin
    upper=$(under "$1")
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
        give_up "the migration of $service failed" "$STATE/log/$service.log"
    start "$service"
done
environment=(PATH="$PATH" AVANTA_STATE="$STATE" AVANTA_HTTP_PORT="$HTTP_PORT" AVANTA_ADMIN_PORT="$ADMIN_GATEWAY"
    AVANTA_NATS_URL="nats://127.0.0.1:$NATS_PORT" AVANTA_NATS_USER=gateway AVANTA_NATS_PASSWORD="$NATS_GATEWAY_PASSWORD"
    AVANTA_ENVELOPE_KEY_IDENTITY="$ENVELOPE_KEY_IDENTITY" AVANTA_ENVELOPE_KEY_LEDGER="$ENVELOPE_KEY_LEDGER"
    AVANTA_ENVELOPE_KEY_AUDIT_LOG="$ENVELOPE_KEY_AUDIT_LOG")
read -ra more <<<"${GATEWAY_SETTINGS:-}"
environment+=(${more[@]+"${more[@]}"})
say "Starting the gateway"
start gateway
for name in $services gateway; do wait_ready 30 "$name" is_ready "$name"; done

say ""
say "Avanta is ready:  $AVANTA_URL"
say "Administrator:    $AVANTA_ADMIN_EMAIL"
say "Password:         $AVANTA_ADMIN_PASSWORD    (also in $STATE/admin.env)"
