# What the scripts about clients share: the program, a server of it, a real server. To be sourced at
# the root of the repository; what is started here ends with the script.

cache=$(realpath -m "${CARGO_TARGET_DIR:-target}/clients")
mkdir -p "$cache"
scratch=$(mktemp -d "${TMPDIR:-/tmp}/midcommit-clients.XXXXXX")
started=()

finish() {
    local pid
    for pid in "${started[@]}"; do
        kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true
    done
    if [ -d "$scratch/real" ]; then
        as_postgres "$bin/pg_ctl" -D "$scratch/real/data" -m immediate stop >/dev/null 2>&1 || true
    fi
    rm -rf "$scratch"
}
trap finish EXIT

failed() {
    printf '\nfailed: %s\n' "$1" >&2
    exit 1
}

# The program: $MIDCOMMIT, or built in this profile.
build() {
    local profile=$1
    if [ -z "${MIDCOMMIT:-}" ]; then
        cargo build --locked --profile "$profile" -p midcommit-scenarios --bin midcommit
        [ "$profile" != dev ] || profile=debug
        MIDCOMMIT=$(realpath "${CARGO_TARGET_DIR:-target}/$profile/midcommit")
    fi
    export MIDCOMMIT
}

# Starts `midcommit ARGUMENTS` and sets `port` and `pid`.
start() {
    local said=$scratch/said.${#started[@]}
    : >"$said"
    "$MIDCOMMIT" "$@" --listen 127.0.0.1:0 >"$said" 2>"$said.err" &
    pid=$!
    started+=("$pid")
    for _ in $(seq 100); do
        port=$(sed -n 's/.* -p \([0-9]*\) .*/\1/p' "$said")
        [ -z "$port" ] || return 0
        sleep 0.1
    done
    cat "$said.err" >&2
    failed "midcommit $1 does not listen"
}

# psql, pgbench and the server of Debian 12.
postgres() {
    bin=/usr/lib/postgresql/15/bin
    if ! [ -x "$bin/postgres" ] || ! command -v psql >/dev/null; then
        # Its cluster is not wanted, only its programs.
        mkdir -p /etc/postgresql-common
        printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql-15 >/dev/null
    fi
}

# Root may not run a server.
as_postgres() {
    if [ "$(id -u)" = 0 ]; then
        (cd / && exec setpriv --reuid=postgres --regid=postgres --clear-groups -- "$@")
    else
        "$@"
    fi
}

# Starts a real server without fsync, and sets `real_port`.
start_real() {
    local where=$scratch/real
    chmod 755 "$scratch" && mkdir "$where"
    [ "$(id -u)" != 0 ] || chown postgres "$where"
    as_postgres "$bin/initdb" -A trust -U postgres -D "$where/data" >"$scratch/initdb.log"
    # Two servers that choose at the same time may choose the same port: then the next one.
    for real_port in $(seq $((20000 + $$ % 20000)) $((20020 + $$ % 20000))); do
        if as_postgres "$bin/pg_ctl" -s -w -D "$where/data" -l "$where/log" \
            -o "-p $real_port -k $where -c listen_addresses=127.0.0.1 -c fsync=off" start; then
            return 0
        fi
    done 2>/dev/null
    cat "$where/log" >&2
    failed "the real server does not start"
}
