#!/usr/bin/env bash
# Changes the oracles, or the commit machine, in one small way after the other, and says which changes no
# test notices. Fails if one of them is not in ci/mutants.md, which has a reason for each.
#
# Usage: ci/mutants.sh [oracles|commit]…
#
# Takes hours for the commit machine, since each change compiles the server anew. The tree is left alone:
# cargo-mutants works on a copy, and is installed below target/ if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
tool=$target/mutants/tool/bin/cargo-mutants

main() {
    local parts=("$@")
    [ ${#parts[@]} -gt 0 ] || parts=(oracles commit)
    [ -x "$tool" ] || cargo install --quiet --locked --root "$target/mutants/tool" cargo-mutants
    local part unlisted=0
    for part in "${parts[@]}"; do
        case $part in
        # The histories written by hand.
        oracles) mutate oracles --package midcommit --file 'harness/src/oracle/*.rs' -- --lib oracle ;;
        # The engine's own tests, and what the real server answered.
        commit)
            mutate commit --package fake-pg --file fake-pg/src/engine/commit.rs \
                --test-package fake-pg --test-package conformance -- --lib --test scripts
            ;;
        *)
            printf 'there is no part %s; there are oracles and commit\n' "$part" >&2
            exit 64
            ;;
        esac
        unlisted=$((unlisted + $(count_unlisted "$part")))
    done
    ((unlisted == 0))
}

# cargo-mutants exits with 2 if something was missed, and with 3 if something ran out of time.
mutate() {
    local part=$1 status=0
    shift
    nice "$tool" mutants --no-shuffle --jobs 1 --output "$target/mutants/$part" "$@" || status=$?
    case $status in
    0 | 2 | 3) ;;
    *) exit "$status" ;;
    esac
}

# Prints survivors that have no reason, and how many there are.
count_unlisted() {
    local survivor unlisted=0
    while read -r survivor; do
        # Without line and column, which move.
        survivor=$(sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' <<<"$survivor")
        grep -Fq -- "\`$survivor\`" ci/mutants.md && continue
        printf 'survives, and has no reason in ci/mutants.md: %s\n' "$survivor" >&2
        unlisted=$((unlisted + 1))
    done <"$target/mutants/$1/mutants.out/missed.txt"
    echo "$unlisted"
}

main "$@"
