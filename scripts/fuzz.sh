#!/usr/bin/env bash
# Runs every fuzz target for N seconds (default 300), JOBS at a time (default: one per core), and prints how often each body
# was executed. Needs nightly and cargo-fuzz (cargo install cargo-fuzz --version 0.13.2 --locked).
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-300}
jobs=${JOBS:-$(nproc)}
logs=$(mktemp -d)
trap 'rm -rf "$logs"' EXIT
command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing: cargo install cargo-fuzz --version 0.13.2 --locked" >&2; exit 1; }

cargo +nightly fuzz build --release
run() {
    # New inputs go to a directory of their own: the committed corpus stays as small as it is.
    mkdir -p "fuzz/target/found/$1"
    cargo +nightly fuzz run --release "$1" "fuzz/target/found/$1" "fuzz/corpus/$1" -- \
        -max_total_time="$2" -max_len=4096 -timeout=10 -print_final_stats=1 >"$3/$1.log" 2>&1 || touch "$3/$1.failed"
    printf '%-12s %s executions%s\n' "$1" \
        "$(sed -n 's/^stat::number_of_executed_units: *//p' "$3/$1.log")" \
        "$([ -e "$3/$1.failed" ] && echo '  FINDING')"
}
export -f run
cargo +nightly fuzz list | xargs -P "$jobs" -I{} bash -c 'run "$@"' _ {} "$seconds" "$logs"
for failed in "$logs"/*.failed; do
    [ -e "$failed" ] || continue
    tail -40 "${failed%.failed}.log"
    exit 1
done
