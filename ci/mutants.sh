#!/usr/bin/env bash
# Changes the oracles, or the commit machine, in one small way after the other, and says which changes no
# test notices. Fails if one of them is not in ci/mutants.md, which has a reason for each.
#
# Usage: ci/mutants.sh [oracles|commit]…
#
# Takes a quarter of an hour for each part, and more the first time, when all is compiled. The tree is left
# alone: cargo-mutants works on a copy, and is installed below target/ if it is not there.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-$PWD/target}
tool=$target/mutants/tool/bin/cargo-mutants

# What changes is compiled a hundred times and run for seconds.
quick=(--cargo-arg=--config=profile.dev.{package.fake-pg.opt-level=0,package.midcommit.opt-level=0,debug=0})

main() {
    local parts=("$@")
    [ ${#parts[@]} -gt 0 ] || parts=(oracles commit)
    [ -x "$tool" ] || cargo install --quiet --locked --root "$target/mutants/tool" cargo-mutants
    local part survivors
    for part in "${parts[@]}"; do
        case $part in
        # The histories written by hand.
        oracles)
            mutate oracles --package midcommit --file 'harness/src/oracle/*.rs' --cargo-arg=--lib -- oracle
            ;;
        # The engine's own tests, and what the real server answered.
        commit)
            mutate commit --package fake-pg --file fake-pg/src/engine/commit.rs \
                --cargo-arg={--package=conformance,--lib,--test=scripts}
            ;;
        *)
            printf 'there is no part %s; there are oracles and commit\n' "$part" >&2
            exit 64
            ;;
        esac
    done
    survivors=$(for part in "${parts[@]}"; do unlisted "$part"; done)
    [ -z "$survivors" ] || {
        printf 'survive, and have no reason in ci/mutants.md:\n%s\n' "$survivors" >&2
        exit 1
    }
}

# The arguments for cargo choose what is tested, and so also what is linked for each change. The build has a
# folder of its own: in a shared one cargo would take what was last built, with a change, for the tree's.
#
# cargo-mutants exits with 2 if something was missed, and with 3 if something ran out of time.
mutate() {
    local part=$1 status=0
    shift
    CARGO_TARGET_DIR=$target/mutants/build nice "$tool" mutants --no-shuffle --jobs 1 \
        --output "$target/mutants/$part" "${quick[@]}" "$@" || status=$?
    case $status in
    0 | 2 | 3) ;;
    *) exit "$status" ;;
    esac
}

# Prints survivors that have no reason, each without line and column, which move. One entry excuses one.
unlisted() {
    comm -23 <(sed -E 's/^([^:]+):[0-9]+:[0-9]+: /\1: /' "$target/mutants/$1/mutants.out/missed.txt" | sort) \
        <(sed -nE 's/^- `([^`]+)`: .+/\1/p' ci/mutants.md | sort)
}

main "$@"
