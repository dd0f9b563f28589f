#!/usr/bin/env bash
# Build or refresh .venv:   scripts/venv.sh [REQUIREMENTS-FILE …]
# Exactly the locked packages, checked by their hashes, then this checkout itself (editable). Returns at once
# when nothing changed since the last time. Uses uv where it is installed, else venv and pip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
files=("${@:-requirements-dev.txt}")
stamp=.venv/.made-from-$(basename "${files[-1]}" .txt)
wanted=$(cat "${files[@]}" pyproject.toml scripts/venv.sh | cksum)

say() { printf 'venv: %s\n' "$*" >&2; }

fits() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# A pyenv shim is on the PATH also where its program is not installed, so ask it something.
has_uv() { uv --version >/dev/null 2>&1; }

find_python() {
  local name
  for name in ${PYTHON:-} python3 python3.13 python3.12 python3.14 python3.11; do
    if command -v "$name" >/dev/null && fits "$name"; then command -v "$name"; return; fi
  done
  return 1
}

if [[ -x .venv/bin/reconciler && -f $stamp && $(<"$stamp") == "$wanted" ]] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

if ! { [[ -x .venv/bin/python ]] && fits .venv/bin/python; }; then
  if ! python=$(find_python); then
    scripts/setup-system.sh python
    python=$(find_python) || { say "there is no Python 3.11 or newer; install one, or name it: make venv PYTHON=/path/to/python3"; exit 1; }
  fi
  if has_uv; then
    say "making .venv with $("$python" --version)"
    uv venv --quiet --clear --python "$python" .venv
  else
    "$python" -c 'import ensurepip, venv' 2>/dev/null || scripts/setup-system.sh python
    say "making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
  fi
fi

if has_uv; then
  # Compiled once here, or else, where nobody may write later, at every start: seconds for each command.
  pip=(uv pip install --quiet --compile-bytecode --python .venv/bin/python)
else
  # A venv that uv made has no pip of its own.
  .venv/bin/python -m pip --version >/dev/null 2>&1 || .venv/bin/python -m ensurepip --upgrade >/dev/null
  pip=(.venv/bin/python -m pip install --quiet --disable-pip-version-check)
fi
say "installing the packages of ${files[*]}"
for file in "${files[@]}"; do
  "${pip[@]}" --require-hashes -r "$file"
done
# Without isolation: the build backend is one of the locked packages, nothing else is fetched.
"${pip[@]}" --no-deps --no-build-isolation --editable .
printf '%s\n' "$wanted" >"$stamp"
say "ready: .venv/bin/reconciler"
