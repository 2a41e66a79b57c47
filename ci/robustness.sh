#!/usr/bin/env bash
# `midcommit serve` under clients that behave badly, then under load: pgbench's simple update beside a
# real server without fsync. Loopback only. Usage: ci/robustness.sh [SECONDS] [SEED]
set -euo pipefail
cd "$(dirname "$0")/.."
source ci/clients/lib.sh

seconds=${1:-30}
seed=${2:-$RANDOM}

main() {
    postgres
    build release
    # A client needs as many descriptors as it opens connections.
    ulimit -n "$(ulimit -H -n)"

    start serve
    python3 ci/clients/robustness.py "$port" "$pid" "$seed" || failed "robustness, seed $seed"

    start_real
    printf '\npgbench, simple update, 10 clients, %s s:\n' "$seconds"
    start serve
    bench "midcommit serve" "$port"
    bench "PostgreSQL, fsync off" "$real_port"
}

# Prints the throughput of a server: NAME PORT.
bench() {
    local options=(-h 127.0.0.1 -p "$2" -U postgres)
    pgbench "${options[@]}" -i -q postgres >"$scratch/init.log" 2>&1 || {
        cat "$scratch/init.log"
        failed "pgbench -i on $1"
    }
    pgbench "${options[@]}" -n -N -c 10 -T "$seconds" postgres >"$scratch/bench.log" 2>&1 || {
        cat "$scratch/bench.log"
        failed "pgbench on $1"
    }
    awk -v name="$1" '/^latency average/ { latency = $4 } /^tps/ { tps = $3 } /failed transactions/ { failed = $5 }
        END { printf "  %-22s %8.0f transactions/s  %6.2f ms each  %d failed\n", name, tps, latency, failed }' "$scratch/bench.log"
}

main
