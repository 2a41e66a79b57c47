#!/usr/bin/env bash
# The same seeds give the same histories: in debug and in release, on one thread and on all.
# Usage: ci/determinism.sh [SEEDS]
set -euo pipefail
cd "$(dirname "$0")/.."

seeds=${1:-1000}
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# One line for each scenario and seed: the plan drawn from it, its verdict, its history's hash.
hashes() { # NAME THREADS [CARGO-FLAG]
    cargo run --quiet --locked ${3:+"$3"} --package midcommit-scenarios --example hashes -- \
        "$seeds" "$2" >"$out/$1"
    printf '%s: %s histories\n' "$1" "$(wc -l <"$out/$1")"
}

hashes debug-one 1
hashes debug-all all
hashes release-one 1 --release
hashes release-all all --release

[ -s "$out/debug-one" ] || {
    echo "no history was made" >&2
    exit 1
}
for other in debug-all release-one release-all; do
    cmp "$out/debug-one" "$out/$other" || {
        echo "debug-one and $other differ, first here:" >&2
        diff "$out/debug-one" "$out/$other" | head -n 4 >&2
        exit 1
    }
done
echo "$seeds seeds: identical in debug and release, on one thread and on all"
