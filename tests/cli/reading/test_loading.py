"""What a command that only reads does not load: it would start a quarter of a second later."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize(
    "words",
    [["status"], ["get", "tasks"], ["get", "executions"], ["schedule"], ["logs", "nothing"], ["settings"]],
)
def test_what_only_reads_loads_no_models_of_manifests(words: list[str], tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from reconciler.cli.main import main\n"
        "code = main(sys.argv[1:])\n"
        "heavy = {'pydantic', 'yaml', 'paramiko', 'redis', 'alembic.config', 'jinja2', 'croniter'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    place = f"sqlite:///{tmp_path / 'state.db'}"
    # the first command makes the file, for which it needs more
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", code, "--database", place, *words],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.stderr.splitlines()[-1] == "[]", done.stderr
