#!/usr/bin/env bash
# Runs every test and ends with a count of what passed and what was skipped for want of a peer.
set -euo pipefail
cd "$(dirname "$0")/.."

log=$(mktemp)
MSM_SKIP_FILE=$(mktemp)
export MSM_SKIP_FILE
trap 'rm -f "$log" "$MSM_SKIP_FILE"' EXIT

# Most tests wait for time to pass more than they work. Those with real peers and namespaces take turns by themselves (`Lab`).
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((3 * $(nproc)))}

# A failure does not hide the next.
status=0
cargo test --workspace --all-features --no-fail-fast 2>&1 | tee "$log" || status=$?

sum() { grep -E '^test result:' "$log" | grep -oE "[0-9]+ $1" | awk '{ total += $1 } END { print total + 0 }'; }
skipped=$(sort -u "$MSM_SKIP_FILE" | grep -c . || true)
echo
if [ "$skipped" -gt 0 ]; then
    echo "SKIPPED for want of a peer ($skipped):"
    sort -u "$MSM_SKIP_FILE"
fi
echo "$(sum passed) passed, $(sum failed) failed, $skipped skipped"
exit "$status"
