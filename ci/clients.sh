#!/usr/bin/env bash
# Stock clients against `midcommit serve`, and through `midcommit proxy` against a real server; then the
# pytest fixture against both, with the outbox of docs/monday.md among its tests. Each client does the
# cycle of a job queue and gets one line: its version, and how long it took. A client that is missing
# is a failure. Installs what it needs under the target directory, pinned; root only where PostgreSQL
# itself is missing.
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/clients/lib.sh

main() {
    local python=$cache/venv/bin/python
    postgres
    build dev
    python_packages
    node_packages
    rust_client sqlx
    rust_client diesel

    # No settings of whoever runs this.
    unset PGUSER PGDATABASE PGPASSWORD PGOPTIONS PGSERVICE
    export PGHOST=127.0.0.1 PYTHONDONTWRITEBYTECODE=1

    start serve
    PGPORT=$port clients "against serve"
    start_real
    start proxy --to "127.0.0.1:$real_port"
    PGPORT=$port clients "through proxy, to PostgreSQL $("$bin/postgres" --version | awk '{ print $3 }')"
    printf '\nserve and proxy\n'
    client "pytest fixture" "$(version pytest)" env MIDCOMMIT_TO="127.0.0.1:$real_port" PYTHONPATH=ci/clients/python \
        "$python" -m pytest -q -p midcommit_pytest -p no:cacheprovider ci/clients/python/example

    [ ${#broken[@]} = 0 ] || failed "${broken[*]}"
}

# All clients on one server.
clients() {
    export PGPORT
    printf '\n%s\n' "$1"
    client psql "$(psql --version | awk '{ print $3 }')" bash ci/clients/psql/cycle.sh
    client psycopg2 "$(version psycopg2-binary)" "$python" ci/clients/python/with_psycopg2.py
    client "psycopg sync" "$(version psycopg)" "$python" ci/clients/python/with_psycopg.py
    client "psycopg async" "$(version psycopg)" "$python" ci/clients/python/with_psycopg_async.py
    client asyncpg "$(version asyncpg)" "$python" ci/clients/python/with_asyncpg.py
    client node-postgres "$(node -p 'require(process.argv[1]).version' "$cache/node/node_modules/pg/package.json")" \
        env NODE_PATH="$cache/node/node_modules" node ci/clients/node/with_pg.js
    client sqlx "$(locked sqlx sqlx)" "$cache/rust/debug/sqlx-client"
    client diesel-async "$(locked diesel diesel-async)" "$cache/rust/debug/diesel-client"
}

# The version of a Python package that is installed, or of a crate that is locked.
version() {
    "$python" -c 'import importlib.metadata, sys; print(importlib.metadata.version(sys.argv[1]))' "$1"
}

locked() {
    awk -v name="\"$2\"" '$3 == name { getline; gsub("\"", "", $3); print $3 }' "ci/clients/$1/Cargo.lock"
}

python_packages() {
    command -v python3 >/dev/null || failed "there is no python3"
    # Its programs name the place where it was made: only its Python finds its way if it was moved.
    "$python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "$cache/venv"
    cmp -s ci/clients/python/requirements.txt "$cache/venv/installed" || {
        "$python" -m pip --disable-pip-version-check install -q --no-deps -r ci/clients/python/requirements.txt
        cp ci/clients/python/requirements.txt "$cache/venv/installed"
    }
}

node_packages() {
    command -v npm >/dev/null || failed "there is no npm"
    mkdir -p "$cache/node"
    cmp -s ci/clients/node/package-lock.json "$cache/node/package-lock.json" && [ -d "$cache/node/node_modules" ] || {
        cp ci/clients/node/package*.json "$cache/node/"
        (cd "$cache/node" && npm ci --silent --no-audit --no-fund)
    }
}

# Crates of their own, outside the workspace, with their own lock files.
rust_client() {
    cargo build -q --locked --manifest-path "ci/clients/$1/Cargo.toml" --target-dir "$cache/rust"
}

broken=()

# Runs a client: NAME VERSION COMMAND…
client() {
    local name=$1 version=$2 log=$scratch/log begin verdict=ok
    shift 2
    begin=$(date +%s%N)
    timeout 120 "$@" >"$log" 2>&1 || verdict=FAILED
    printf '%-15s %-9s %-7s %6d ms\n' "$name" "$version" "$verdict" $((($(date +%s%N) - begin) / 1000000))
    [ $verdict = ok ] || {
        tail -n 20 "$log"
        broken+=("$name")
    }
}

main
