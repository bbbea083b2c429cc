#!/usr/bin/env bash
# Starts one whole stack in STATE: PostgreSQL, nats-server, the services, the witness, the gateway. Everything it writes is
# under STATE. Run again it starts what is missing; when all is running and ready it says so. PORT moves a stopped
# stack to another port; without it a stack keeps its own, 8080 at first. TLS=1 gives a stopped stack TLS to PostgreSQL
# and nats-server, TLS=0 takes it away; without it a stack keeps what it has, none at first. GATEWAY_SETTINGS,
# IDENTITY_SETTINGS and so on may hold more settings of that program, "NAME=value NAME=value".
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/lib.sh"
BIN=$(cd "${BIN:?the directory of the programs}" && pwd -P)
PORT=${PORT:-}
TLS=${TLS:-}
PG_HOST=127.0.0.1
NATS_HOST=127.0.0.1

[[ -z $PORT || ($PORT =~ ^[1-9][0-9]{0,4}$ && $PORT -le 65535) ]] || die "PORT=$PORT is not a port: give 1 to 65535"
[[ $TLS =~ ^[01]?$ ]] || die "TLS=$TLS is neither 0 nor 1"
state_open
umask 077
mkdir -p "$STATE/log"
. "$here/tls.sh"

is_ready() { local port; port=ADMIN_$(upper "$1"); curl -fsS -m 2 "http://127.0.0.1:${!port}/readyz"; }
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
if [ -n "$alive" ] && [ -n "$TLS" ] && [ "$TLS" != "${STACK_TLS:-0}" ]; then
    die "the stack in $STATE is running with TLS=${STACK_TLS:-0}: stop it with 'make down' to change that"
fi
STACK_TLS=${TLS:-${STACK_TLS:-0}}
HTTP_PORT=${PORT:-${HTTP_PORT:-8080}}
if [ -n "$alive" ] && [ -z "$missing" ]; then
    ready=yes
    for name in $programs; do is_ready "$name" >/dev/null 2>&1 || ready=; done
    if [ -n "$ready" ]; then
        if [ "$STACK_TLS" = 1 ]; then
            tls_prepare
            tls_reload "$(cd "$STATE/postgres" && pwd -P)"
        fi
        say "Avanta is running: http://127.0.0.1:$HTTP_PORT"
        exit 0
    fi
fi
pid_alive gateway || port_free "$HTTP_PORT" || die "port $HTTP_PORT is taken by another program: choose another with PORT=n"

[ -z "$first" ] || say "First start: choosing ports and secrets"
env_fill() {
    local port
    for port in PG_PORT NATS_PORT $(for name in $programs; do echo "ADMIN_$(upper "$name")"; done); do
        # Nobody else knows these ports, so one that was taken meanwhile is chosen anew.
        if [ -z "${!port:-}" ] || { [ -z "$alive" ] && ! port_free "${!port}"; }; then
            port_pick
            printf -v "$port" '%s' "$REPLY"
        fi
        env_put "$1" "$port" "${!port}"
    done
    env_put "$1" HTTP_PORT "$HTTP_PORT"
    env_put "$1" STACK_TLS "$STACK_TLS"
    secrets_add "$1"
}
admin_fill() {
    env_put "$1" AVANTA_URL "http://127.0.0.1:$HTTP_PORT"
    admin_add "$1"
}
env_update "$STATE/env" env_fill
. "$STATE/env"
env_update "$STATE/admin.env" admin_fill
. "$STATE/admin.env"
if [ "$STACK_TLS" = 1 ]; then
    tls_prepare
    PG_TLS=$(tls_dsn)
    export PGSSLMODE=verify-full PGSSLROOTCERT="$tls_dir/ca.pem" # for psql
fi

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
    cluster_create "$pgdir" >"$STATE/log/initdb.log" 2>&1 ||
        give_up "the database cluster could not be created" "$STATE/log/initdb.log"
fi
if ! pid_alive postgres; then
    port_free "$PG_PORT" || die "port $PG_PORT of PostgreSQL is taken: run 'make down', then 'make up'"
    say "Starting PostgreSQL on 127.0.0.1:$PG_PORT"
    pg_options="-p $PG_PORT -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c max_connections=100"
    hba=host
    if [ "$STACK_TLS" = 1 ]; then
        tls_postgres "$pgdir"
        hba=hostssl # who comes without TLS is refused
        pg_options="$pg_options -c ssl=on -c ssl_cert_file=../postgres.pem -c ssl_key_file=../postgres.key"
    fi
    as_postgres sed -i -E "s/^host(ssl)?[[:space:]]/$hba /" "$pgdata/pg_hba.conf"
    pg_start() {
        as_postgres "$pgbin/pg_ctl" -D "$pgdata" -w -t 60 -l "$pgdir/log" -o "$pg_options" start
    }
    # After a crash the old server's last processes may hold on for a moment.
    until=$((SECONDS + 20))
    while ! pg_start >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$until" ] || give_up "PostgreSQL did not start" "$pgdir/log"
        sleep 0.5
    done
fi
as_postgres head -n 1 "$pgdata/postmaster.pid" >"$STATE/postgres.pid"
roles_create "$here" >"$STATE/log/roles.log" 2>&1 ||
    give_up "the roles of the services could not be made" "$STATE/log/roles.log"

# --- nats-server ---------------------------------------------------------------------------------
if ! pid_alive nats; then
    port_free "$NATS_PORT" || die "port $NATS_PORT of nats-server is taken: run 'make down', then 'make up'"
    say "Starting nats-server on 127.0.0.1:$NATS_PORT"
    NATS_STORE="\"$STATE/nats\"" # quoted: nats-server reads the value as a part of its file
    nats_conf=$here/nats.conf
    if [ "$STACK_TLS" = 1 ]; then
        nats_conf=$here/nats_tls.conf
        NATS_TLS_CERT="\"$tls_dir/nats.pem\""
        NATS_TLS_KEY="\"$tls_dir/nats.key\""
    fi
    export "${!NATS_@}"
    setsid nats-server -c "$nats_conf" >>"$STATE/log/nats.log" 2>&1 </dev/null &
    echo $! >"$STATE/nats.pid"
fi
wait_ready 20 nats tcp_open "$NATS_PORT"

# --- services and gateway ----------------------------------------------------------------------------
# environment_of PROGRAM: sets the array `environment`.
environment_of() {
    local admin settings more
    admin=ADMIN_$(upper "$1")
    settings=$(upper "$1")_SETTINGS
    read -ra more <<<"${!settings:-}"
    secrets_of "$1"
    environment=(PATH="$PATH" AVANTA_STATE="$STATE" AVANTA_NATS_URL="nats://$NATS_HOST:$NATS_PORT"
        AVANTA_ADMIN_PORT="${!admin}" "${secrets[@]}")
    case $1 in
    audit-log) environment+=(AVANTA_CHECKPOINT_DIR="$STATE/checkpoints") ;;
    witness) environment+=(AVANTA_WITNESS_DIR="$STATE/witness") ;;
    esac
    environment+=(${more[@]+"${more[@]}"})
    [ "$STACK_TLS" = 1 ] || return 0
    environment+=(AVANTA_NATS_CA_FILE="$tls_dir/ca.pem")
    case $1 in gateway | witness) ;; *) environment+=(AVANTA_PG_TLS=true) ;; esac
}

start() {
    local name=$1
    pid_alive "$name" && return
    become setsid "$BIN/$name" >>"$STATE/log/$name.log" 2>&1 </dev/null &
    echo $! >"$STATE/$name.pid"
}

mkdir -p "$STATE/checkpoints" "$STATE/witness"
verifier_keys "$BIN"
for service in $services; do
    environment_of "$service"
    say "Migrating and starting $service"
    (
        environment+=(AVANTA_PG_MIGRATE_DSN="$(owner_dsn "$service")")
        become "$BIN/$service" --migrate >>"$STATE/log/$service.log" 2>&1
    ) || give_up "the migration of $service failed" "$STATE/log/$service.log"
    start "$service"
done
say "Starting the witness"
environment_of witness
start witness
environment_of gateway
environment+=(AVANTA_HTTP_PORT="$HTTP_PORT")
say "Starting the gateway"
start gateway
for name in $services witness gateway; do wait_ready 30 "$name" is_ready "$name"; done

say ""
say "Avanta is ready:  $AVANTA_URL"
say "Administrator:    $AVANTA_ADMIN_EMAIL"
say "Password:         $AVANTA_ADMIN_PASSWORD    (also in $STATE/admin.env)"
