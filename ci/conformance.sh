#!/usr/bin/env bash
# Holds fake-pg to a real PostgreSQL 15, on a fresh Debian 12 with root and package registries.
#
# Usage: ci/conformance.sh [PROGRAMS [SEED]]
#
# Installs through apt what is not there: the server, a linker for Rust, and the certificates by
# which cargo knows its registry. Rust itself is taken as found, as in ci/check.sh.
# Then, each with one line: scripts recorded again are the same; fake-pg answers as recorded; the
# page of tables is current; SQL on pages is answered as they show; random programs show no
# difference. It goes on after a failure, and ends with one.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=${1:-300}
seed=${2:-$(date +%Y%m%d)}
binary=${CARGO_TARGET_DIR:-target}/debug/conformance
failed=0

main() {
    server || exit 1
    tools || exit 1
    cargo build --quiet --locked -p conformance || exit 1
    report "recorded again" "$binary" verify
    report "fake-pg" "$binary" check
    report "tables" tables_are_current
    report "pages" "$binary" pages --verify
    report "random" "$binary" random --programs "$programs" --seed "$seed"
    "$binary" list
    exit "$failed"
}

# Prints the last line of a command that succeeds, and all of one that fails.
report() {
    local name=$1 output
    shift
    if output=$("$@" 2>&1); then
        printf '%s: ok: %s\n' "$name" "$(tail -n 1 <<<"$output")"
        # What random programs have met says whether they were worth running.
        [ "$name" != random ] || printf '%s\n' "$output"
    else
        printf '%s: FAILED\n%s\n' "$name" "$output"
        failed=1
    fi
}

# shellcheck disable=SC2329 # called by `report`
tables_are_current() {
    local before
    before=$(cat docs/fidelity.md)
    "$binary" tables
    [ "$before" = "$(cat docs/fidelity.md)" ] || {
        echo "docs/fidelity.md was not current: commit it"
        return 1
    }
}

# PostgreSQL's programs. The service that the package brings is not used, and not started.
server() {
    [ -z "${PGBIN:-}" ] || return 0
    [ -x /usr/lib/postgresql/15/bin/postgres ] && return 0
    [ "$(id -u)" = 0 ] || {
        echo "no PostgreSQL 15 here, and no root to install it: set PGBIN" >&2
        return 1
    }
    mkdir -p /etc/postgresql-common
    printf 'create_main_cluster = false\n' >/etc/postgresql-common/createcluster.conf
    install_packages postgresql-15
}

# What cargo needs besides Rust: without root, what is lacking is told by cargo.
tools() {
    local lacking=()
    command -v cc >/dev/null || lacking+=(gcc libc6-dev)
    [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || lacking+=(ca-certificates)
    [ ${#lacking[@]} = 0 ] || [ "$(id -u)" != 0 ] || install_packages "${lacking[@]}"
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq --no-install-recommends "$@" >/dev/null
}

main
