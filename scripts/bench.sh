#!/usr/bin/env bash
# Run benchmarks:   scripts/bench.sh [NAME …]     all of bench/*.py without names
# Each prints a table and writes JSON to bench/results/. Peers that cannot be installed are skipped by name.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
names=("$@")
if [[ ${#names[@]} == 0 ]]; then
  for file in bench/[a-z]*.py; do
    [[ -e $file ]] && names+=("$(basename "$file" .py)")
  done
fi
[[ ${#names[@]} == 0 ]] && { echo "bench: there is no benchmark in bench/ yet" >&2; exit 1; }
for name in "${names[@]}"; do
  [[ -f bench/$name.py ]] || { echo "bench: there is no bench/$name.py; there are: $(cd bench && ls [a-z]*.py 2>/dev/null | sed 's/\.py$//' | paste -sd ' ')" >&2; exit 64; }
done
scripts/venv.sh requirements-dev.txt requirements-bench.txt || echo "bench: going on without the peers that are missing" >&2
mkdir -p bench/results
failed=()
for name in "${names[@]}"; do
  printf '\n== %s\n' "$name"
  PYTHONPATH=. .venv/bin/python "bench/$name.py" || failed+=("$name")
done
[[ ${#failed[@]} == 0 ]] || { echo "bench: failed: ${failed[*]}" >&2; exit 1; }
