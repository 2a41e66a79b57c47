#!/usr/bin/env bash
# What a change must pass. Needs Rust, git and bash; installs what else it needs,
# and stops at the first step that fails, with its name.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}

main() {
    step "tools" tools
    step "format" cargo fmt --all --check
    step "lints" cargo clippy --locked --workspace --all-targets -- -D warnings
    step "documentation" env RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --workspace
    step "catalogue" cargo run --locked --release
    # `ci/report.sh` looks at such pages in a browser.
    step "page" cargo run --locked --release -- report effect_after_commit --html "$target/effect_after_commit.html"
    step "determinism" bash ci/determinism.sh 8
    step "example" example
    step "sabotage" cargo run --locked -p sabotage
    step "fuzz targets" fuzz_targets
    # Last, so that its closing lines are what one sees.
    step "tests" cargo test
    no_pending_snapshot || failed "snapshots"
}

# Runs a command under a name. `|| failed` switches `set -e` off inside functions: they chain with `&&`.
step() {
    local name=$1
    shift
    printf '\n── %s: %s\n' "$name" "$*"
    "$@" || failed "$name"
}

failed() {
    printf '\nfailed: %s\n' "$1" >&2
    exit 1
}

# A minimal toolchain lacks these two.
tools() {
    cargo fmt --version || rustup component add rustfmt || return
    cargo clippy --version || rustup component add clippy
}

# The worker of the README, as somebody else's crate: its own workspace, its own lock file, the
# default dev profile.
example() {
    local cargo=(cargo test --locked --manifest-path ci/example/Cargo.toml --target-dir "$target/example")
    printf '%s\n' "${cargo[*]}"
    cargo fmt --check --manifest-path ci/example/Cargo.toml &&
        "${cargo[@]}" --no-run &&
        "${cargo[@]}"
}

# What `ci/fuzz.sh` builds, which takes a C++ compiler, is current as far as can be told without.
fuzz_targets() {
    cargo fmt --check --manifest-path ci/fuzz/Cargo.toml &&
        cargo metadata --locked --format-version 1 --manifest-path ci/fuzz/Cargo.toml >"$target/fuzz-metadata.json"
}

# Quiet, unless a test has left a snapshot that nobody has looked at.
no_pending_snapshot() {
    local pending
    pending=$(find . -path ./target -prune -o \( -name '*.snap.new' -o -name '*.pending-snap' \) -print)
    [ -z "$pending" ] || {
        printf 'these snapshots wait to be reviewed:\n%s\n' "$pending" >&2
        return 1
    }
}

main
