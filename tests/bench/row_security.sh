#!/usr/bin/env bash
# What row-level security costs the ledger's own role, on a private PostgreSQL: the list of transactions and the
# booking of one, and of 16 users' at once. Without it; with the policies as migrated, which let the service see every
# row; and with policies that let it see the rows of one user, whom each statement has to name before. Interleaved
# rounds, one client; prints the median of the CPU time that PostgreSQL needs for a transaction, and its ratio. Leaves
# nothing behind. (docs/decisions/0008-row-level-security.md)
#
#   BIN=dir-of-programs tests/bench/row_security.sh [ROUNDS [SECONDS]]
root=$(cd "$(dirname "$0")/../.." && pwd -P)
. "$root/deploy/lib.sh"
BIN=${BIN:-$root/build/release/bin}
rounds=${1:-5}
seconds=${2:-4}
USERS=64
ROWS=2000

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
as_postgres "$pgbin/pg_ctl" -D "$STATE/pg/data" -w -l "$STATE/pg/log" start -o "-c listen_addresses= \
    -c unix_socket_directories=$STATE/pg -c synchronous_commit=off -c autovacuum=off -c max_wal_size=4GB" \
    >>"$STATE/log" 2>&1 || { cat "$STATE/log"; die "PostgreSQL does not start"; }
psql_super() { psql -X -q -v ON_ERROR_STOP=1 -h "$STATE/pg" -U avanta_super "$@"; }
ROLE_PASSWORD=x OWNER_PASSWORD=x psql_super -d postgres -v role=ledger -f "$root/deploy/postgres/service.sql" >/dev/null
env -i PATH="$PATH" AVANTA_PG_MIGRATE_DSN="host=$STATE/pg dbname=avanta_ledger user=ledger_owner" \
    "$BIN/ledger" --migrate >"$STATE/log" 2>&1 || { cat "$STATE/log"; exit 1; }

# statement FILE NAME: its text, with dates newest first.
statement() {
    awk -v name="$2" '$1 == "--" && $2 == "name:" { on = $3 == name; next } on && !/^--/' "$root/services/ledger/sql/$1" |
        sed -E 's/\{ORDER\}/t.date DESC, t.id DESC/g'
}
uuid() { printf "('00000000-0000-4000-8000-' || lpad((%s)::text, 12, '0'))" "$1"; }
list() { # of the user whose number is in the variable `user`
    statement transactions_list.sql transaction_list | sed -E "
        s/:user_id/$(uuid :user)::uuid/g; s/:include_deleted::/false::/; s/:limit::/50::/g
        s/:(page|offset|category|type|search|date_from|date_to|amount_min|amount_max|is_deductible)::/NULL::/g
        s/:(transaction_type|category_id|linked_invoice_id|import_id)::/NULL::/g"
}
# create COUNT USERS: that many rows, of the users in that array.
create() {
    statement transactions.sql transaction_create | sed -E "
        s/\(SELECT :user_id::uuid\[\]\)/$2/
        s/:now_ms::/array_fill(1767225600000, ARRAY[$1])::/; s/:date::/array_fill('2026-01-01'::date, ARRAY[$1])::/
        s/:amount::/array_fill(12345, ARRAY[$1])::/; s/:type::/array_fill('gasto'::text, ARRAY[$1])::/
        s/:category::/array_fill('avanta'::text, ARRAY[$1])::/; s/:description::/array_fill('bench'::text, ARRAY[$1])::/
        s/\(SELECT :[a-z_]+::([a-z]+)\[\]\)/(SELECT array_fill(NULL::\1, ARRAY[$1]))/g"
}
name_user="SELECT set_config('avanta.user_id', $(uuid :user), true);"

for full in '' full; do
    {
        printf '\\set user random(1, %s)\nBEGIN;\n' "$USERS"
        [ -z "$full" ] || echo "$name_user"
        list
        echo 'COMMIT;'
    } >"$STATE/list$full"
    {
        printf '\\set user random(1, %s)\nBEGIN;\n' "$USERS"
        [ -z "$full" ] || echo "$name_user"
        create 1 "ARRAY[$(uuid :user)::uuid]"
        echo 'COMMIT;'
    } >"$STATE/book$full"
done
# A set statement serves many users; a policy of one user makes it as many statements.
{
    printf '\\set user random(1, %s)\nBEGIN;\n' "$((USERS - 16))"
    create 16 "(SELECT array_agg($(uuid ":user + n")::uuid) FROM generate_series(1, 16) n)"
    echo 'COMMIT;'
} >"$STATE/set"
{
    printf '\\set user random(1, %s)\nBEGIN;\n' "$((USERS - 16))"
    for _ in $(seq 16); do
        echo "$name_user"
        create 1 "ARRAY[$(uuid :user)::uuid]"
        printf '\\set user :user + 1\n'
    done
    echo 'COMMIT;'
} >"$STATE/setfull"

# In a pipeline, as the service sends them: one round trip for all of a transaction.
for script in list listfull book bookfull set setfull; do
    sed -i -e 's/^BEGIN;$/\\startpipeline\nBEGIN;/' -e 's/^COMMIT;$/COMMIT;\n\\endpipeline/' "$STATE/$script"
done

for n in $(seq "$USERS"); do
    create "$ROWS" "array_fill($(uuid "$n")::uuid, ARRAY[$ROWS])"
done | psql_super -d avanta_ledger -f - >/dev/null
psql_super -d avanta_ledger -c 'VACUUM ANALYZE'

policies() {
    local table
    for table in account account_initial_balance category import_history transaction journal_entry posting; do
        case $1 in
        none) echo "ALTER TABLE $table DISABLE ROW LEVEL SECURITY;" ;;
        true) echo "ALTER TABLE $table ENABLE ROW LEVEL SECURITY; ALTER POLICY service ON $table USING (true) WITH CHECK (true);" ;;
        full) echo "ALTER TABLE $table ENABLE ROW LEVEL SECURITY; ALTER POLICY service ON $table
            USING (user_id = nullif(current_setting('avanta.user_id', true), '')::uuid)
            WITH CHECK (user_id = nullif(current_setting('avanta.user_id', true), '')::uuid);" ;;
        esac
    done | psql_super -d avanta_ledger -f -
}
# Of the sessions that have ended, in ticks of 10 ms.
cpu() { awk '{ print $16 + $17 }' "/proc/$(as_postgres head -n 1 "$STATE/pg/data/postmaster.pid")/stat"; }
measure() { # MODE OPERATION
    local script=$2 before after
    [ "$1" != full ] || script=$2full
    before=$(cpu)
    "$pgbin/pgbench" -n -M prepared -c 1 -T "$seconds" -h "$STATE/pg" -U ledger -f "$STATE/$script" avanta_ledger \
        >"$STATE/out" 2>"$STATE/err" || { cat "$STATE/err" >&2; exit 1; }
    until after=$(cpu); [ "$after" != "$before" ]; do sleep 0.05; done # the session's end is noticed
    awk -v ticks="$((after - before))" '/actually processed/ { printf "%.2f", ticks * 10000 / $6 }' "$STATE/out"
}
modes=(none true full)
for round in $(seq "$rounds"); do
    for i in 0 1 2; do
        mode=${modes[(round + i) % 3]} # each is first as often as the others
        policies "$mode"
        for operation in list book set; do
            echo "$operation $mode $(measure "$mode" "$operation")" >>"$STATE/result"
        done
    done
done
awk '{ n[$1 " " $2]++; v[$1 " " $2, n[$1 " " $2]] = $3 + 0 }
    function median(k,   i, j, t, a) {
        for (i = 1; i <= n[k]; i++) a[i] = v[k, i]
        for (i = 2; i <= n[k]; i++) for (j = i; j > 1 && a[j] < a[j - 1]; j--) { t = a[j]; a[j] = a[j - 1]; a[j - 1] = t }
        return n[k] % 2 ? a[(n[k] + 1) / 2] : (a[n[k] / 2] + a[n[k] / 2 + 1]) / 2
    }
    END {
        split("list book set", operations); split("none true full", modes)
        for (o = 1; o <= 3; o++) for (m = 1; m <= 3; m++) {
            k = operations[o] " " modes[m]
            printf "%-5s %-5s %9.1f us  %.3f\n", operations[o], modes[m], median(k), median(k) / median(operations[o] " none")
        }
    }' "$STATE/result"
