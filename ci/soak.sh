#!/usr/bin/env bash
# Checks the catalogue with fresh seeds until the time is up. Prints each failing plan that is not
# expected, and fails if there was one. Usage: ci/soak.sh MINUTES [FIRST-SEED]
set -euo pipefail
cd "$(dirname "$0")/.."

minutes=${1:?usage: ci/soak.sh MINUTES [FIRST-SEED]}
seed=${2:-$(date +%s)}
rounds=0
unexpected=0

cargo build --quiet --locked --release --package midcommit-scenarios --example soak
while ((SECONDS < minutes * 60)); do
    cargo run --quiet --locked --release --package midcommit-scenarios --example soak -- "$seed" ||
        unexpected=$((unexpected + 1))
    rounds=$((rounds + 1))
    seed=$((seed + 1))
done
echo "$rounds rounds, the last with seed $((seed - 1)); $unexpected of them found something unexpected"
((unexpected == 0))
