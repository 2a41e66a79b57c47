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
    bench "midcommit serve" "$port" "$pid"
    bench "PostgreSQL, fsync off" "$real_port" "$(head -n 1 "$scratch/real/data/postmaster.pid")"
}

# The processor time that a process and the children it has waited for have used, in ticks.
ticks() {
    sed 's/.*) //' "/proc/$1/stat" | awk '{ print $12 + $13 + $14 + $15 }'
}

# Prints the throughput of a server: NAME PORT PID. Who shares the machine has a share of it, so the
# processor time of a transaction is printed, too.
bench() {
    local before options=(-h 127.0.0.1 -p "$2" -U postgres)
    pgbench "${options[@]}" -i -q postgres >"$scratch/init.log" 2>&1 || {
        cat "$scratch/init.log"
        failed "pgbench -i on $1"
    }
    before=$(ticks "$3")
    pgbench "${options[@]}" -n -N -c 10 -T "$seconds" postgres >"$scratch/bench.log" 2>&1 || {
        cat "$scratch/bench.log"
        failed "pgbench on $1"
    }
    # A server hears in its own time that a client has left.
    sleep 1
    awk -v name="$1" -v ticks=$(($(ticks "$3") - before)) -v hertz="$(getconf CLK_TCK)" '
        /^latency average/ { latency = $4 }
        /^tps/ { tps = $3 }
        /actually processed/ { done = $6 }
        /failed transactions/ { failed = $5 }
        END {
            format = "  %-22s %7.0f transactions/s  %6.2f ms each  %4.0f µs of processor time each  %d failed\n"
            printf format, name, tps, latency, ticks / hertz * 1e6 / done, failed
        }' "$scratch/bench.log"
}

main
