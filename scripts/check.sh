#!/usr/bin/env bash
# All checks of the code, also after one has failed; the last lines say which did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
bin=.venv/bin
failed=()
check() { # COMMAND…
  printf '\n--- %s\n' "$*"
  "$@" || failed+=("$*")
}

check $bin/ruff format --check .
check $bin/ruff check .
check $bin/mypy
check $bin/lint-imports --no-logo
check $bin/reconciler schema --check

[[ ${#failed[@]} == 0 ]] && exit 0
printf '\ncheck: failed: %s' "${failed[@]}"
printf '\n'
exit 1
