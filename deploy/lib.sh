# What up.sh, down.sh and container.sh share. Sourced, not run. STATE is the stack's directory.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # nats-server lives there, and a user's PATH lacks it

say() { printf '%s\n' "$*"; }
die() { printf 'avanta: %s\n' "$*" >&2; exit 1; }

state_open() {
    local place
    [ -n "${STATE:-}" ] || die "STATE names no directory"
    mkdir -p "$STATE" 2>/dev/null || die "the directory $STATE cannot be made: choose another with STATE=dir"
    [ "$(stat -Lc %u "$STATE")" = "$(id -u)" ] ||
        die "$STATE belongs to $(stat -Lc %U "$STATE"): run this as that user, or choose another with STATE=dir"
    place=$(cd "$STATE" && pwd -P) || die "the directory $STATE cannot be entered"
    STATE=$place
    if [ "$(id -u)" = 0 ]; then
        chmod 711 "$STATE" # PostgreSQL's own user passes through; every file with a secret is 600
    else
        chmod 700 "$STATE"
    fi
    [ -w "$STATE" ] || die "$STATE cannot be written"
    export AVANTA_STATE=$STATE
}

services="identity ledger audit-log" # in the order they are started and stopped; each has a database
programs="gateway witness $services"  # in the order they are stopped

# pid_alive NAME: the process of that pid file runs and is ours.
pid_alive() {
    local file=$STATE/$1.pid pid
    [ -s "$file" ] || return 1
    read -r pid <"$file"
    [ -r "/proc/$pid/environ" ] || return 1
    # The process may end between the two looks.
    { tr '\0' '\n' <"/proc/$pid/environ" | grep -qxF "AVANTA_STATE=$STATE"; } 2>/dev/null
}

port_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# A free port of the dynamic range that no earlier call of this run gave.
port_pick() {
    local port
    for _ in $(seq 200); do
        port=$((20000 + RANDOM % 12000)) # below the range of outgoing connections
        case " ${picked:-} " in *" $port "*) continue ;; esac
        if port_free "$port"; then
            picked="${picked:-} $port"
            REPLY=$port
            return
        fi
    done
    die "no free port was found on 127.0.0.1"
}

# A password starts with a letter: nats-server reads a value of digits as a number.
password() { printf 'p%s' "$(secret "$1")"; }
secret() { head -c "$1" /dev/urandom | od -An -v -tx1 | tr -d ' \n'; }

# The name in variables: audit-log is AUDIT_LOG.
upper() {
    local name=${1//-/_}
    printf '%s' "${name^^}"
}

# env_update FILE FUNCTION: the function adds to a copy, so that FILE is whole at any time.
env_update() {
    if [ -e "$1" ]; then cp "$1" "$1.new"; else : >"$1.new"; fi
    "$2" "$1.new"
    mv "$1.new" "$1"
}

# env_add FILE NAME COMMAND...: NAME=what the command prints, unless FILE has that name already.
env_add() {
    local file=$1 name=$2 value
    shift 2
    grep -q "^$name=" "$file" && return
    value=$("$@")
    printf '%s=%s\n' "$name" "$value" >>"$file"
}

# env_put FILE NAME VALUE: that value, whatever there was.
env_put() {
    sed -i "/^$2=/d" "$1"
    printf '%s=%s\n' "$2" "$3" >>"$1"
}

# Every secret of a stack. Each is made once; those of a service that is new are added.
secrets_add() {
    local name
    for name in SUPER $services; do env_add "$1" "PG_$(upper "$name")_PASSWORD" password 24; done
    for name in system operator $programs; do env_add "$1" "NATS_$(upper "$name")_PASSWORD" password 24; done
    for name in $services; do
        env_add "$1" "PG_$(upper "$name")_OWNER_PASSWORD" password 24
        env_add "$1" "ENVELOPE_KEY_$(upper "$name")" secret 32
    done
    env_add "$1" SECRETS_KEY secret 32
    env_add "$1" AUDIT_SIGNING_KEY secret 32
    env_add "$1" WITNESS_KEY secret 32
}

# The first administrator: identity creates it when there is none.
admin_add() {
    env_add "$1" AVANTA_ADMIN_EMAIL echo "${AVANTA_ADMIN_EMAIL:-admin@avanta.local}"
    env_add "$1" AVANTA_ADMIN_PASSWORD password 12
}

# dsn SERVICE USER VARIABLE: PG_HOST, PG_PORT and the password in that variable. PG_TLS is what TLS needs besides.
dsn() { echo "host=$PG_HOST port=$PG_PORT dbname=avanta_${1//-/_} user=$2 password=${!3}${PG_TLS:+ $PG_TLS}"; }
owner_dsn() { dsn "$1" "${1//-/_}_owner" "PG_$(upper "$1")_OWNER_PASSWORD"; }

# verifier_keys DIRECTORY: what audit-log's checkpoints and the witness's cosignatures are verified with, for secrets_of.
verifier_keys() {
    AUDIT_LOG_VERIFIER_KEY=$(environment_of audit-log && become "$1/audit-log" --verifier-key)
    WITNESS_VERIFIER_KEY=$(environment_of witness && become "$1/witness" --verifier-key)
}

# become COMMAND...: runs it in place of this shell with `environment` alone. env(1) is of no use: its arguments, and
# so every secret, would stand in the process list.
become() {
    local name
    for name in $(compgen -e); do export -n "$name"; done
    export "${environment[@]}"
    exec "$@"
}

# secrets_of PROGRAM: sets the array `secrets` to the settings that only this program may see.
secrets_of() {
    local name nats service key
    name=$(upper "$1")
    nats=NATS_${name}_PASSWORD
    secrets=("AVANTA_NATS_PASSWORD=${!nats}")
    if [ "$1" = gateway ]; then
        for service in $services; do
            key=ENVELOPE_KEY_$(upper "$service")
            secrets+=("AVANTA_$key=${!key}")
        done
        return
    fi
    if [ "$1" = witness ]; then
        secrets+=("AVANTA_WITNESS_KEY=$WITNESS_KEY" "AVANTA_WITNESS_LOG_KEY=${AUDIT_LOG_VERIFIER_KEY:-}"
            "AVANTA_ENVELOPE_KEY_AUDIT_LOG=$ENVELOPE_KEY_AUDIT_LOG")
        return
    fi
    key=ENVELOPE_KEY_$name
    secrets+=("AVANTA_PG_DSN=$(dsn "$1" "${1//-/_}" "PG_${name}_PASSWORD")" "AVANTA_ENVELOPE_KEY=${!key}")
    [ "$1" != identity ] || secrets+=("AVANTA_SECRETS_KEY=$SECRETS_KEY"
        "AVANTA_BOOTSTRAP_EMAIL=$AVANTA_ADMIN_EMAIL" "AVANTA_BOOTSTRAP_PASSWORD=$AVANTA_ADMIN_PASSWORD")
    [ "$1" != audit-log ] || secrets+=("AVANTA_AUDIT_SIGNING_KEY=$AUDIT_SIGNING_KEY"
        "AVANTA_WITNESS_KEYS=${WITNESS_VERIFIER_KEY:-}")
}

# cluster_create DIRECTORY: DIRECTORY/data is a whole cluster or not there. PG_HBA may say who else may connect.
cluster_create() {
    mkdir -p "$1"
    as_postgres rm -rf "$1/data.new"
    printf '%s\n' "$PG_SUPER_PASSWORD" >"$1/password"
    [ "$(id -u)" != 0 ] || chown -R postgres:postgres "$1"
    as_postgres "$(postgres_bin)/initdb" -D "$1/data.new" -U avanta_super -E UTF8 --locale=C.UTF-8 --data-checksums \
        --auth=scram-sha-256 --pwfile="$1/password" || return 1
    printf '%s\n' "${PG_HBA:-}" >>"$1/data.new/pg_hba.conf"
    # The default keeps 128 MiB in memory and writes whole pages to the log every few minutes of work.
    printf '%s\n' "shared_buffers = 256MB" "max_wal_size = 2GB" "checkpoint_timeout = 15min" "wal_compression = lz4" \
        >>"$1/data.new/postgresql.conf"
    rm -f "$1/password"
    mv "$1/data.new" "$1/data"
}

# The roles and the database of every service. Needs PG_HOST and PG_PORT and the file DIRECTORY/postgres/service.sql.
# Passwords go by the environment: arguments stand in the process list.
roles_create() {
    local service password owner_password
    for service in $services; do
        password=PG_$(upper "$service")_PASSWORD
        owner_password=PG_$(upper "$service")_OWNER_PASSWORD
        PGPASSWORD=$PG_SUPER_PASSWORD ROLE_PASSWORD=${!password} OWNER_PASSWORD=${!owner_password} \
            psql -X -q -v ON_ERROR_STOP=1 -h "$PG_HOST" -p "$PG_PORT" -U avanta_super \
            -d postgres -v role="${service//-/_}" -f "$1/postgres/service.sql" || return 1
    done
}

# give_up NAME LOG: the end of the log is where the cause stands.
give_up() {
    tail -n 5 "$2" >&2 2>/dev/null || true
    die "$1; the lines above are the end of $2"
}

# wait_ready SECONDS NAME COMMAND...: polls until the command succeeds; a program that ended is not waited for.
wait_ready() {
    local seconds=$1 name=$2 end
    shift 2
    end=$((SECONDS + seconds))
    while [ "$SECONDS" -lt "$end" ]; do
        "$@" >/dev/null 2>&1 && return
        kill -0 "$(<"$STATE/$name.pid")" 2>/dev/null || give_up "$name ended" "$STATE/log/$name.log"
        sleep 0.1
    done
    give_up "$name runs but is not ready after $seconds s ('make down' stops it)" "$STATE/log/$name.log"
}

# PostgreSQL never runs as root: as root its commands run as the user postgres, from a directory it may enter.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && exec setpriv --reuid=postgres --regid=postgres --init-groups -- "$@")
    else
        "$@"
    fi
}

postgres_bin() {
    local dir
    for dir in /usr/lib/postgresql/15/bin /usr/lib/postgresql/*/bin; do
        [ -x "$dir/initdb" ] && { printf '%s' "$dir"; return; }
    done
    die "PostgreSQL is not installed: run 'make deps'"
}
