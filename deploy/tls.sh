# The certificates of a stack that speaks TLS to PostgreSQL and nats-server. Sourced after lib.sh, not run.
#
# STATE/tls holds a certificate authority of the stack's own and a certificate for each of the two servers. They are
# for 127.0.0.1 and localhost: nothing outside the machine can use them. Keys are 600.
tls_dir=$STATE/tls
TLS_DAYS_CA=3650
TLS_DAYS=365
TLS_RENEW_S=$((30 * 86400))

# tls_fresh NAME: there, of our authority, and good for more than 30 days.
tls_fresh() {
    [ -s "$tls_dir/$1.key" ] && openssl x509 -in "$tls_dir/$1.pem" -noout -checkend "$TLS_RENEW_S" >/dev/null 2>&1 &&
        openssl verify -x509_strict -CAfile "$tls_dir/ca.pem" "$tls_dir/$1.pem" >/dev/null 2>&1
}

# tls_put NAME: NAME.key.new and NAME.pem.new become NAME.key and NAME.pem.
tls_put() {
    chmod 600 "$tls_dir/$1.key.new"
    mv "$tls_dir/$1.key.new" "$tls_dir/$1.key"
    mv "$tls_dir/$1.pem.new" "$tls_dir/$1.pem"
}

# tls_request NAME ARGUMENT...: a key and a certificate for it.
tls_request() {
    local name=$1
    shift
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -sha256 -subj "/O=Avanta/CN=$name" \
        -keyout "$tls_dir/$name.key.new" -out "$tls_dir/$name.pem.new" "$@" >>"$STATE/log/tls.log" 2>&1 ||
        give_up "the certificate of $name could not be made" "$STATE/log/tls.log"
    tls_put "$name"
}

# tls_prepare: makes what is missing and renews what ends within 30 days; sets tls_renewed to the names.
tls_prepare() {
    local name
    command -v openssl >/dev/null || die "openssl is not installed: run 'make deps'"
    mkdir -p "$tls_dir"
    chmod 700 "$tls_dir"
    tls_renewed=
    if ! tls_fresh ca; then
        tls_request ca -days "$TLS_DAYS_CA" -addext basicConstraints=critical,CA:TRUE,pathlen:0 \
            -addext keyUsage=critical,keyCertSign,cRLSign
        tls_renewed="$tls_renewed ca"
    fi
    for name in nats postgres; do
        tls_fresh "$name" && continue
        tls_request "$name" -CA "$tls_dir/ca.pem" -CAkey "$tls_dir/ca.key" -days "$TLS_DAYS" \
            -addext basicConstraints=critical,CA:FALSE -addext keyUsage=critical,digitalSignature \
            -addext extendedKeyUsage=serverAuth -addext subjectAltName=IP:127.0.0.1,DNS:localhost
        tls_renewed="$tls_renewed $name"
    done
    [ -z "$tls_renewed" ] || say "Made certificates in $tls_dir:$tls_renewed"
}

# tls_postgres DIRECTORY: copies for PostgreSQL's own user.
tls_postgres() {
    local file
    for file in postgres.pem postgres.key; do
        cp "$tls_dir/$file" "$1/$file.new"
        chmod 600 "$1/$file.new"
    done
    [ "$(id -u)" != 0 ] || chown postgres:postgres "$1"/postgres.*.new
    for file in postgres.pem postgres.key; do mv "$1/$file.new" "$1/$file"; done
}

# Values of a connection string stand in quotes: a path may hold anything.
tls_dsn() {
    local path=$tls_dir/ca.pem
    path=${path//\\/\\\\}
    printf "sslmode=verify-full sslrootcert='%s'" "${path//\'/\\\'}"
}

# tls_reload DIRECTORY: renewed certificates reach servers that run.
tls_reload() {
    [ -n "$tls_renewed" ] || return 0
    case $tls_renewed in
    *ca*) say "The certificate authority is new: 'make down' and 'make up' let the programs trust it" && return ;;
    esac
    tls_postgres "$1"
    as_postgres "$(postgres_bin)/pg_ctl" -D "$1/data" reload >/dev/null || die "PostgreSQL does not reload"
    kill -HUP "$(<"$STATE/nats.pid")"
}
