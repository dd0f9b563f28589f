#!/usr/bin/env bash
# The main job on this machine alone: an embedded database, real commands, a status report at the end.
set -euo pipefail
cd "$(dirname "$0")/.."
reconciler=$PWD/.venv/bin/reconciler

state=$(mktemp -d "${TMPDIR:-/tmp}/reconciler-demo.XXXXXX")
trap 'rm -rf "$state"' EXIT
export RECONCILER_DATABASE_URL="sqlite:///$state/state.db"
export RECONCILER_STATE_DIR="$state"
export RECONCILER_ALLOW_LOCAL=1 # the example's server is this machine

say() { printf '\n\033[1m$ %s\033[0m\n' "$*"; }
[ -t 1 ] || say() { printf '\n$ %s\n' "$*"; }

say reconciler validate examples/quickstart
"$reconciler" validate examples/quickstart
say reconciler plan examples/quickstart
"$reconciler" plan examples/quickstart
say reconciler apply examples/quickstart --yes
"$reconciler" apply examples/quickstart --yes | tail -n 1
say reconciler up examples/quickstart --for 20s
"$reconciler" up examples/quickstart --for 20s
say reconciler status
"$reconciler" status
say reconciler logs 备份数据库
"$reconciler" logs 备份数据库
