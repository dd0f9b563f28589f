"""The systemd units: what systemd itself says of them, and that they start what the program has."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from reconciler.cli.main import STAYING

ROOT = Path(__file__).resolve().parents[2]
UNITS = sorted((ROOT / "contrib/systemd").glob("*.service"))
ANALYZE = shutil.which("systemd-analyze")


def installed(unit: Path, folder: Path) -> Path:
    """The unit with a program that this machine has."""
    text = unit.read_text().replace("/opt/reconciler/bin/reconciler", "/bin/true")
    (folder / unit.name).write_text(text)
    return folder / unit.name


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_a_unit_starts_a_command_that_stays(unit: Path) -> None:
    text = unit.read_text()
    start = re.search(r"^ExecStart=(.*)$", text, re.MULTILINE)
    assert start is not None
    assert shlex.split(start[1])[1] in STAYING
    for line in ("Type=notify", "WatchdogSec=3min", "Restart=on-failure", "NoNewPrivileges=yes"):
        assert f"\n{line}\n" in text


@pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze (package systemd) is not installed")
@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line_of_a_unit_and_finds_it_hardened(unit: Path, tmp_path: Path) -> None:
    assert ANALYZE is not None
    place = installed(unit, tmp_path)
    said = subprocess.run([ANALYZE, "verify", place], capture_output=True, text=True, check=False)
    assert (said.returncode, said.stderr) == (0, "")
    command = [ANALYZE, "security", "--offline=true", "--no-pager", "--threshold=15", str(place)]
    judged = subprocess.run(command, capture_output=True, text=True, check=False)
    if "unrecognized option" in judged.stderr:
        pytest.skip("this systemd judges only what runs")
    assert judged.returncode == 0, judged.stdout[-2000:]


def test_both_units_are_protected_alike() -> None:
    rests = [unit.read_text().partition("# What it needs")[2] for unit in UNITS]
    assert len(rests) == 2
    assert rests[0] == rests[1] != ""
