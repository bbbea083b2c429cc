#!/usr/bin/env bash
# What runs once in a container before the programs of docker-compose.yml, and answers to the operator.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/lib.sh"
STATE=/var/lib/avanta
PG_HOST=postgres
PG_PORT=5432
PG_HBA="host all all samenet scram-sha-256"
NATS_HOST=0.0.0.0
NATS_PORT=4222
umask 077

# The settings of nats.conf stand before it: the server needs no secret in its environment.
nats_conf() {
    local name value
    printf 'NATS_HOST: "%s"\nNATS_PORT: %s\nNATS_STORE: "%s"\n' "$NATS_HOST" "$NATS_PORT" "$STATE/nats"
    for name in "${!NATS_@}"; do
        value=${!name}
        [[ $name != *_PASSWORD ]] || printf '%s: "%s"\n' "$name" "$value"
    done
    cat "$here/nats.conf"
}

# keep FILE: what comes in becomes the file's content, whole at any time.
keep() {
    cat >"$1.new"
    mv "$1.new" "$1"
}

environment_of() {
    secrets_of "$1"
    environment=(PATH="$PATH" "${secrets[@]}")
}

# Secrets and the cluster, made once; each program finds its own secrets in a volume of its own.
prepare() {
    local program row
    env_update "$STATE/operator/env" secrets_add
    env_update "$STATE/operator/admin.env" admin_add
    settings_read
    verifier_keys /usr/local/bin
    for program in $programs; do
        secrets_of "$program"
        for row in "${secrets[@]}"; do
            printf '%s\n' "${row#*=}" | keep "$STATE/secrets/$program/${row%%=*}"
        done
    done
    nats_conf | keep "$STATE/secrets/nats/nats.conf"
    [ -s "$STATE/postgres/data/PG_VERSION" ] && return
    say "Creating the database cluster"
    cluster_create "$STATE/postgres"
}

migrate() {
    local service
    settings_read
    roles_create "$here"
    for service in $services; do
        say "Migrating $service"
        AVANTA_PG_MIGRATE_DSN=$(owner_dsn "$service") "$service" --migrate
    done
}

settings_read() {
    . "$STATE/operator/env"
    . "$STATE/operator/admin.env"
}

case ${1:-} in
prepare | migrate) "$1" ;;
credentials) cat "$STATE/operator/admin.env" ;;
secret) # secret NAME: one value of the stack's secrets
    settings_read
    value=${2:?the name of a secret}
    [ -n "${!value:-}" ] || die "there is no secret of that name"
    printf '%s\n' "${!value}"
    ;;
*) die "usage: container.sh prepare | migrate | credentials | secret NAME" ;;
esac
