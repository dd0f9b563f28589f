#!/usr/bin/env bash
# Resolve pyproject.toml anew and write requirements*.txt: exact versions and hashes, no index and no host, so that
# everyone may install from the mirror of their choice. uv.lock, which names one, stays out of git.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
command -v uv >/dev/null || { echo "lock: needs uv, which resolves for all Pythons at once" >&2; exit 1; }
python=.venv/bin/python
[[ -x $python ]] || python=python3

uv lock --quiet --upgrade --python "$python"

write() { # FILE PURPOSE WORDS-FOR-UV…
  local file=$1 purpose=$2
  shift 2
  {
    printf '# %s. Written by `make lock` from pyproject.toml.\n' "$purpose"
    uv export --quiet --frozen --no-header --no-emit-project --format requirements.txt "$@"
  } >"$file.new"
  if grep -nE '://|^--?(index|extra|find|trusted)' "$file.new" >&2; then
    rm "$file.new"
    echo "lock: $file would name a host; nothing was changed" >&2
    exit 1
  fi
  mv "$file.new" "$file"
}

write requirements.txt "What the program needs to run" --no-dev
write requirements-image.txt "What the container image has: the program with its extras metrics, notify and s3" \
  --no-dev --extra metrics --extra notify --extra s3
write requirements-build.txt "What building its wheel needs" --only-group build
write requirements-dev.txt "What working on it needs" --all-groups
write requirements-bench.txt "What it is measured against" --no-dev --extra bench
