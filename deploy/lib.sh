# What up.sh and down.sh share. Sourced, not run. STATE is the stack's directory.
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin # nats-server lives there, and a user's PATH lacks it

say() { printf '%s\n' "$*"; }
die() { printf 'avanta: %s\n' "$*" >&2; exit 1; }

state_open() {
    [ -n "${STATE:-}" ] || die "STATE names no directory"
    mkdir -p "$STATE" 2>/dev/null || die "the directory $STATE cannot be made: choose another with STATE=dir"
    STATE=$(cd "$STATE" && pwd -P) || die "the directory $STATE cannot be entered"
    [ "$(stat -c %u "$STATE")" = "$(id -u)" ] ||
        die "$STATE belongs to $(stat -c %U "$STATE"): run this as that user, or choose another with STATE=dir"
    if [ "$(id -u)" = 0 ]; then
        chmod 711 "$STATE" # PostgreSQL's own user passes through; every file with a secret is 600
    else
        chmod 700 "$STATE"
    fi
    [ -w "$STATE" ] || die "$STATE cannot be written"
    export AVANTA_STATE=$STATE
}

services="identity ledger audit-log" # in the order they are started and stopped

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
