#!/usr/bin/env bash
# Tests docker-compose.yml as it stands: builds the images, runs the end-to-end tests against the composed stack,
# scales the ledger to three and kills one under load. Everything has names of its own and is removed at the end.
# Where no Docker runs, one is started for the time of the test (as root); where the base image cannot be had from
# a registry, it is made from the machine's own Debian sources. Usage: run.sh DIRECTORY_OF_TEST_PROGRAMS
set -euo pipefail
cd "$(dirname "$0")/../.."
TESTS=${1:?the directory of the test programs}
WORK=$(mktemp -d /tmp/avanta-compose-XXXXXX)
export COMPOSE_PROJECT_NAME=avanta-test-$$ AVANTA_TAG=test-$$ AVANTA_HTTP_PORT=0 # any free port
BASE=debian:bookworm-slim
composed=
made_base=

say() { printf '[%3d s] %s\n' "$SECONDS" "$*"; }
die() { printf 'compose-test: %s\n' "$*" >&2; exit 1; }
if docker compose version >/dev/null 2>&1; then compose=(docker compose); else compose=(docker-compose); fi
# Nothing it does for us but a build takes minutes.
compose() { timeout "${COMPOSE_SECONDS:-300}" "${compose[@]}" "$@"; }

finish() {
    local status=$?
    trap - EXIT
    set +e
    if [ $status != 0 ]; then
        tail -n 40 "$WORK/log" "$WORK/dockerd.log" 2>/dev/null
        [ -z "$composed" ] || compose logs --no-color --tail 15
    fi
    say "Removing containers, volumes and images"
    [ -z "$composed" ] || compose down --volumes --rmi all --timeout 30 >>"$WORK/log" 2>&1
    [ -z "$made_base" ] || docker rmi "$made_base" >>"$WORK/log" 2>&1
    dockerd_stop
    rm -rf --one-file-system "$WORK" # a container or debootstrap that was cut may have left mounts
    [ $status != 0 ] || say "The composed stack is good"
    exit $status
}

# wait_for SECONDS WHAT COMMAND...
wait_for() {
    local end=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ $SECONDS -lt $end ] || die "$what: not within its time"
        sleep 0.5
    done
}

forwarding=/proc/sys/net/ipv4/ip_forward
dockerd_start() {
    if docker info >/dev/null 2>&1; then return; fi
    [ "$(id -u)" = 0 ] || die "no Docker is running, and only root can start one"
    say "Starting dockerd"
    cp "$forwarding" "$WORK/forwarding"
    iptables-save >"$WORK/iptables"
    [ ! -e /sys/class/net/docker0 ] || touch "$WORK/docker0"
    export DOCKER_HOST=unix://$WORK/docker.sock
    setsid dockerd --data-root "$WORK/data" --exec-root "$WORK/exec" --pidfile "$WORK/dockerd.pid" -H "$DOCKER_HOST" \
        >"$WORK/dockerd.log" 2>&1 </dev/null &
    wait_for 60 "dockerd" docker info
}

# A dockerd that ends leaves its bridge, its packet filter and the forwarding; they go back to what they were.
dockerd_stop() {
    local pid
    [ -s "$WORK/dockerd.pid" ] || return 0
    say "Stopping dockerd"
    pid=$(cat "$WORK/dockerd.pid")
    kill "$pid"
    timeout 60 tail --pid="$pid" -f /dev/null || kill -KILL "$pid"
    iptables-restore <"$WORK/iptables"
    [ -e "$WORK/docker0" ] || ip link delete docker0
    cat "$WORK/forwarding" >"$forwarding"
}

# The lines of the machine's own sources of Debian packages, as apt has them after all its configuration.
debian_sources() {
    apt-get indextargets --format "${1:-deb \$(REPO_URI) \$(RELEASE) \$(COMPONENT)}" 'Created-By: Packages' 'Origin: Debian'
}

base_make() {
    local root=$WORK/base mirror
    if timeout 120 docker pull "$BASE" >>"$WORK/log" 2>&1; then return; fi
    say "$BASE cannot be pulled: making one with debootstrap"
    mirror=$(debian_sources "\$(REPO_URI) \$(RELEASE)" | awk '$2 == "bookworm" && !at {at = $1} END {print at}')
    [ -n "$mirror" ] || die "apt has no source of Debian bookworm"
    timeout 900 debootstrap --variant=minbase bookworm "$root" "$mirror" >>"$WORK/log" 2>&1 || die "debootstrap failed"
    debian_sources >"$root/etc/apt/sources.list"
    apt-config dump | grep -E '^Acquire::(http|https|Check)' >"$root/etc/apt/apt.conf.d/90machine" || true
    rm -rf "$root"/var/lib/apt/lists/*_* "$root"/var/cache/apt/archives/*.deb
    made_base=avanta-base:$AVANTA_TAG
    tar -C "$root" -c . | docker import - "$made_base" >>"$WORK/log"
    rm -rf --one-file-system "$root"
    BASE=$made_base
}

healthy() {
    local id
    for id in $(compose ps -q gateway witness identity ledger audit-log postgres); do
        [ "$(docker inspect -f '{{.State.Health.Status}}' "$id")" = healthy ] || return 1
    done
}

# up SERVICE_OPTIONS...
up() {
    compose up -d "$@" >>"$WORK/log" 2>&1
    wait_for 120 "a healthy stack" healthy
}

trap finish EXIT
trap 'exit 1' INT TERM
dockerd_start
base_make
say "Building the images on $BASE"
export AVANTA_BASE=$BASE
composed=yes
COMPOSE_SECONDS=1800 compose build >>"$WORK/log" 2>&1

say "Starting the stack"
up
ask() { compose run --rm prepare "$@" 2>>"$WORK/log" </dev/null | tr -d '\r'; }
set -a
eval "$(ask credentials | grep '^AVANTA_ADMIN_[A-Z]*=[^ ]*$')"
AVANTA_URL=http://$(compose port gateway 8080)
set +a
say "Running the end-to-end tests against $AVANTA_URL"
for name in test_api test_statements; do
    env -u AVANTA_BUILD timeout 300 "$TESTS/e2e/$name" >"$WORK/$name" 2>&1 || { cat "$WORK/$name"; die "$name failed"; }
    grep '^\[  PASSED' "$WORK/$name"
done

say "Scaling the ledger to three"
up --scale ledger=3
address=$(docker inspect -f '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$(compose ps -q nats)")
victim=$(docker inspect -f '{{.State.Pid}}' "$(compose ps -q ledger | head -n 1)")
AVANTA_NATS_URL=nats://$address:4222 NATS_OPERATOR_PASSWORD=$(ask secret NATS_OPERATOR_PASSWORD) \
    AVANTA_VICTIM_PID=$victim env -u AVANTA_BUILD timeout 300 "$TESTS/compose/test_scale" >"$WORK/scale" 2>&1 ||
    { cat "$WORK/scale"; die "test_scale failed"; }
grep -Ev '^\[(=|-)' "$WORK/scale"

say "Stopping in order"
compose stop >>"$WORK/log" 2>&1
for id in $(compose ps -q); do
    docker inspect -f '{{.Name}} {{.State.ExitCode}}' "$id"
done >"$WORK/ends"
awk '$2 != 0 {bad = 1; print $1 " ended with " $2} END {exit bad}' "$WORK/ends" || die "a container did not end well"
say "All containers ended with status 0"
