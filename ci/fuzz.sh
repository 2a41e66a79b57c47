#!/usr/bin/env bash
# Looks for inputs that make fake-pg panic, take more than a second or more than a gigabyte.
#
# Usage: ci/fuzz.sh [SECONDS [TARGET…]]
#
# Guided by coverage, with stable Rust: libFuzzer is compiled by a C++ compiler, and what cargo-fuzz
# asks of a nightly compiler beyond coverage, the address sanitizer, is of no use to safe code.
# Targets: `wire`, bytes through decoder and session; `sql`, text through parser, planner and
# executor, which also begins with every statement of the conformance scripts and answers, and
# knows the words of `sql.dict`. New inputs stay in target/fuzz; those that are committed, in
# ci/fuzz/corpus, are small. `ci/fuzz.sh merge` adds to them what finds new coverage.
set -euo pipefail
cd "$(dirname "$0")/fuzz"

seconds=${1:-60}
[ $# = 0 ] || shift
targets=("$@")
[ ${#targets[@]} -gt 0 ] || targets=(wire sql)

target=${CARGO_TARGET_DIR:-../../target}/fuzz
mkdir -p "$target"
target=$(cd "$target" && pwd)
# Named, so that build scripts are built without coverage.
host=$(rustc -vV | sed -n 's/^host: //p')
built=$target/build/$host/release
limits=(-timeout=1 -rss_limit_mb=1024 -max_len=4096 -print_final_stats=0)

main() {
    seeds
    RUSTFLAGS=$(coverage) cargo build --quiet --locked --release \
        --target "$host" --target-dir "$target/build"
    local name
    for name in "${targets[@]}"; do
        if [ "$seconds" = merge ]; then
            merge "$name"
        else
            fuzz "$name"
        fi
    done
}

coverage() {
    printf -- '-Cpasses=sancov-module'
    printf -- ' -Cllvm-args=%s' -sanitizer-coverage-level=4 \
        -sanitizer-coverage-inline-8bit-counters -sanitizer-coverage-pc-table \
        -sanitizer-coverage-trace-compares
}

# Each statement that is recorded, in a file of its own, and the first ones of each script in one.
seeds() {
    local into=$target/seeds
    rm -rf "$into" && mkdir -p "$into/sql" "$into/wire"
    find ../../snapshots/conformance -name '*.script' -print0 |
        sort -z | xargs -0 awk -v into="$into/sql" '
        function statement(text) {
            if (length(text) > 1000) return
            print text >(into "/" ++files); close(into "/" files)
            if (++of[FILENAME] <= 6) script = script (script == "" ? "" : ";") text
        }
        FNR == 1 { if (script != "") { print script >(into "/" ++files); close(into "/" files) } script = "" }
        /^[a-z0-9]+: / {
            sub(/^[a-z0-9]+: /, "")
            parts = split($0, part, / \| /)
            for (i = 1; i <= parts; i++)
                if (part[i] ~ /^(Q|ext) /) { sub(/^(Q|ext) /, "", part[i]); statement(part[i]) }
        }'
    awk -v into="$into/sql" '/^> / { file = into "/answer" ++n; print substr($0, 3) >file; close(file) }' \
        ../../fake-pg/src/sql/tests/answers.txt
}

# One line if all is well; the input that is not, and what it did, otherwise.
fuzz() {
    local name=$1 log=$target/$1.log found=$target/$1
    mkdir -p "$found" "$target/artifacts"
    local words=()
    [ ! -f "$name.dict" ] || words=(-dict="$name.dict")
    if "$built/$name" "${limits[@]}" "${words[@]}" -max_total_time="$seconds" \
        -artifact_prefix="$target/artifacts/$name-" \
        "$found" "corpus/$name" "$target/seeds/$name" >"$log" 2>&1; then
        printf '%s: ok: %s\n' "$name" "$(grep -a DONE "$log" | tail -n 1)"
    else
        printf '%s: FAILED\n' "$name"
        grep -av '^#[0-9]' "$log" | tail -n 60
        exit 1
    fi
}

merge() {
    "$built/$1" "${limits[@]}" -max_len=512 -merge=1 "corpus/$1" "$target/$1" 2>&1 | tail -n 1
}

main
