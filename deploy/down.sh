#!/usr/bin/env bash
# Stops the stack of STATE in order: gateway, witness, services, nats-server, PostgreSQL. Data stays. Fails when a
# program did not end well.
here=$(cd "$(dirname "$0")" && pwd -P)
. "$here/lib.sh"
[ -d "${STATE:-}" ] || { say "Nothing to stop: ${STATE:-} does not exist"; exit 0; }
state_open
failed=0
stopped=

# stop NAME SECONDS: SIGTERM, wait for the end, SIGKILL past the deadline.
stop() {
    local name=$1 seconds=$2 pid i
    if ! pid_alive "$name"; then
        rm -f "$STATE/$name.pid"
        return 0
    fi
    stopped=yes
    read -r pid <"$STATE/$name.pid"
    kill -TERM "$pid"
    for ((i = 0; i < seconds * 10; i++)); do
        pid_alive "$name" || break
        sleep 0.1
    done
    if pid_alive "$name"; then
        kill -KILL "$pid"
        say "$name did not end within $seconds s and was killed"
        failed=1
    else
        say "Stopped $name"
    fi
    rm -f "$STATE/$name.pid"
}

for program in $programs; do stop "$program" 15; done
stop nats 10
pgdata=
[ ! -d "$STATE/postgres" ] || pgdata=$(cd "$STATE/postgres" && pwd -P)/data
if [ -n "$pgdata" ] && as_postgres "$(postgres_bin)/pg_ctl" -D "$pgdata" status >/dev/null 2>&1; then
    stopped=yes
    if as_postgres "$(postgres_bin)/pg_ctl" -D "$pgdata" -w -t 60 -m fast stop >/dev/null 2>&1; then
        say "Stopped PostgreSQL"
    else
        say "PostgreSQL did not stop; see $STATE/postgres/log"
        failed=1
    fi
fi
rm -f "$STATE/postgres.pid"
[ -n "$stopped" ] || say "Nothing to stop: no program of $STATE is running"
exit $failed
