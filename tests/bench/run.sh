#!/usr/bin/env bash
# Measures a release stack of its own and prints each figure as a ratio taken in this run, with the commands.
# Needs wrk, nginx and pgbench (make bench installs them). ROUNDS (3) and SECONDS_EACH (5) may be given.
set -euo pipefail
cd "$(dirname "$0")/../.."
ROUNDS=${ROUNDS:-3}
EACH=${SECONDS_EACH:-5}
BIN=build/release/bin
STATE=$(mktemp -d /tmp/avanta-bench-XXXXXX)
export BIN STATE PORT=18480
# All load comes from one address: what is measured is not the lock of that address, but what comes without it.
export IDENTITY_SETTINGS="AVANTA_ADDRESS_FAILURES_MAX=1000000 AVANTA_REGISTRATIONS_MAX=1000000"
nginx_pid=
finish() {
    [ -z "$nginx_pid" ] || kill "$nginx_pid" 2>/dev/null || true
    deploy/down.sh >/dev/null 2>&1 || true
    rm -rf "$STATE"
}
trap finish EXIT
deploy/up.sh >/dev/null
. "$STATE/env"
. "$STATE/admin.env"
URL=$AVANTA_URL
post() { curl -fsS "$URL$1" -H 'Content-Type: application/json' ${TOKEN:+-H "Authorization: Bearer $TOKEN"} -d "$2"; }
TOKEN=
for _ in $(seq 50); do
    TOKEN=$(post /api/auth/login "{\"email\":\"$AVANTA_ADMIN_EMAIL\",\"password\":\"$AVANTA_ADMIN_PASSWORD\"}" | jq -r .token) 2>/dev/null && break
    sleep 0.2
done
post /api/accounts '{"name":"Caja","type":"cash"}' >/dev/null
cat >"$STATE/post.lua" <<LUA
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer $TOKEN"
wrk.body = '{"date":"2025-02-03","description":"bench","amount":10.50,"type":"gasto","category":"personal","account":"Caja"}'
LUA
median() { sort -g | awk '{v[NR]=$1} END{print v[int((NR+1)/2)]}'; }
rate() { awk '/Requests\/sec/{print $2}'; }
p99() { awk '/99%/{t=$2; if(t~/us$/)print t/1000; else if(t~/ms$/)print t+0; else print t*1000}'; }
fails() { awk '/Non-2xx/{n=$NF} /Socket errors/{s=$0} END{print (n?n:0) (s?" " s:"")}'; }

metric() { curl -fsS "http://127.0.0.1:$1/metrics" | awk -v name="$2" '$1==name{print $2}'; }
# Waits until every event is on its stream and every audit record is stored: nothing waits, and for a second
# nothing came.
settled() {
    local done before=
    for _ in $(seq 60); do
        sleep 1
        done=$(metric "$ADMIN_AUDIT_LOG" 'avanta_consumer_messages_total{outcome="done"}')
        [ "$(metric "$ADMIN_LEDGER" avanta_outbox_rows)/$done" != "0/$before" ] || return 0
        before=$done
    done
    echo "the events of the load did not settle within 60 s" >&2
    return 1
}

echo "# Idle: one connection, GET /api/transactions?limit=50 of all that was booked in a second"
wrk -t1 -c1 -d1s -s "$STATE/post.lua" "$URL/api/transactions" >/dev/null
settled # nothing else is under way
wrk -t1 -c1 -d"${EACH}s" --latency -H "Authorization: Bearer $TOKEN" "$URL/api/transactions?limit=50" |
    awk '$1=="50%"{print "median " $2 "   (target <= 3 ms)"}'

echo "# Access tokens at the gateway: verified once, then remembered"
build/release/tests/bench/bench_auth

echo "# GET /api/transactions?limit=50 while 1000 clients log in, against idle, interleaved; they wait as Retry-After says, one second, give or take half"
cat >"$STATE/login.lua" <<'LUA'
local threads = 0
function setup(thread)
    thread:set("id", threads)
    threads = threads + 1
end
local count = 0
function request()
    count = count + 1
    return wrk.format("POST", "/api/auth/login", { ["Content-Type"] = "application/json" },
        string.format('{"email":"nobody-%d-%d@example.com","password":"Una clave larga 7"}', id, count))
end
function delay() return pause * math.random(50, 150) / 100 end -- as clients should: not all at once
LUA
get_p99() { wrk -t1 -c1 -d"${EACH}s" --latency -H "Authorization: Bearer $TOKEN" "$URL/api/transactions?limit=50" | p99; }
answered() { metric "$ADMIN_IDENTITY" "avanta_requests_total{method=\"identity.Login\",code=\"$1\"}"; }
# log_in MILLISECONDS NAME: idle and under the load of clients that wait so long after each answer.
log_in() {
    local load ratio before refused
    : >"$STATE/get"
    { echo "pause = $1"; cat "$STATE/login.lua"; } >"$STATE/login_now.lua"
    before=$(answered AUTH_REQUIRED) refused=$(answered OVERLOADED)
    for _ in $(seq "$ROUNDS"); do
        echo "idle $(get_p99)" >>"$STATE/get"
        wrk -t1 -c1000 -d"$((EACH + 2))s" --timeout 12s -s "$STATE/login_now.lua" "$URL" >/dev/null &
        load=$!
        sleep 1
        echo "load $(get_p99)" >>"$STATE/get"
        wait "$load"
    done
    awk -v i="$(awk '$1=="idle"{print $2}' "$STATE/get" | median)" -v l="$(awk '$1=="load"{print $2}' "$STATE/get" | median)" \
        -v name="$2" -v t="$((ROUNDS * (EACH + 2)))" -v v="$(($(answered AUTH_REQUIRED) - ${before:-0}))" \
        -v r="$(($(answered OVERLOADED) - ${refused:-0}))" \
        'BEGIN{printf "%s: p99 idle %.1f ms, under load %.1f ms, ratio %.2f; %.0f passwords/s verified, %.0f/s refused at once\n",name,i,l,l/i,v/t,r/t}'
}
log_in 1000 "1000 clients log in (target < 3)"
log_in 0 "the same, clients that do not wait (no target: a flood of requests)"

echo "# Durable POST /api/transactions against pgbench's single-row insert per commit, interleaved"
export PGPASSWORD=$PG_SUPER_PASSWORD
PG="-h 127.0.0.1 -p $PG_PORT -U avanta_super"
psql -X -q $PG -d postgres -c 'CREATE TABLE bench (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, t text, n bigint)'
echo "INSERT INTO bench (t, n) VALUES ('bench', 1050);" >"$STATE/insert.sql"
: >"$STATE/pg"
for _ in $(seq "$ROUNDS"); do
    for clients in 8 16 32; do
        tps=$(pgbench -n $PG -M prepared -f "$STATE/insert.sql" -c "$clients" -j 2 -T "$EACH" postgres 2>/dev/null | awk '/^tps/{print $3}')
        echo "pg$clients $tps" >>"$STATE/pg"
    done
    for connections in 64 1000; do
        wrk -t2 -c"$connections" -d"${EACH}s" --timeout 10s --latency -s "$STATE/post.lua" "$URL/api/transactions" >"$STATE/wrk"
        echo "post$connections $(rate <"$STATE/wrk") $(p99 <"$STATE/wrk") $(fails <"$STATE/wrk")" >>"$STATE/pg"
    done
done
best=$(for c in 8 16 32; do awk -v k=pg$c '$1==k{print $2}' "$STATE/pg" | median; done | sort -g | tail -1)
for c in 64 1000; do
    r=$(awk -v k=post$c '$1==k{print $2}' "$STATE/pg" | median)
    l=$(awk -v k=post$c '$1==k{print $3}' "$STATE/pg" | median)
    f=$(awk -v k=post$c '$1==k{$1=$2=$3=""; print}' "$STATE/pg" | sort | uniq -c | tr '\n' ';')
    awk -v r="$r" -v b="$best" -v l="$l" -v c="$c" -v f="$f" 'BEGIN{printf "%d connections: %.0f/s, pgbench best %.0f/s, ratio %.2f (target >= 2), p99 %.0f ms, not 2xx:%s\n",c,r,b,r/b,l,f}'
done

echo "# GET /api/health against nginx returning the same bytes, one worker each, interleaved"
body=$(curl -fsS "$URL/api/health")
cat >"$STATE/nginx.conf" <<NGINX
worker_processes 1; pid $STATE/nginx.pid; error_log $STATE/nginx.err; daemon off;
events { worker_connections 4096; }
http { access_log off; keepalive_requests 100000000; server { listen 127.0.0.1:18481; default_type application/json; location / { return 200 '$body'; } } }
NGINX
nginx -c "$STATE/nginx.conf" >/dev/null 2>&1 &
nginx_pid=$!
sleep 0.5
: >"$STATE/health"
for _ in $(seq "$ROUNDS"); do
    echo "nginx $(wrk -t1 -c64 -d"${EACH}s" http://127.0.0.1:18481/ | rate)" >>"$STATE/health"
    echo "gateway $(wrk -t1 -c64 -d"${EACH}s" "$URL/api/health" | rate)" >>"$STATE/health"
done
n=$(awk '$1=="nginx"{print $2}' "$STATE/health" | median)
g=$(awk '$1=="gateway"{print $2}' "$STATE/health" | median)
awk -v n="$n" -v g="$g" 'BEGIN{printf "gateway %.0f/s, nginx %.0f/s, ratio %.2f (target >= 0.8)\n",g,n,g/n}'

echo "# Memory of the gateway with 1000 idle connections"
echo 'function delay() return 60000 end' >"$STATE/idle.lua"
wrk -t1 -c1000 -d4s --timeout 10s -s "$STATE/idle.lua" "$URL/api/health/live" >/dev/null &
sleep 2
echo "$(metric "$ADMIN_GATEWAY" avanta_http_connections_open) connections are open"
awk '/VmRSS/{printf "%.1f MiB (target < 64 MiB)\n",$2/1024}' "/proc/$(cat "$STATE/gateway.pid")/status"
wait $! || true
