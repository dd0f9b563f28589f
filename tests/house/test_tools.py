"""make, the scripts behind it and CI: what each says of itself holds."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = sorted([*(ROOT / "scripts").glob("*.sh"), ROOT / ".ci" / "run"])
# make passes its own state on to what it runs, and `make test` runs this.
ALONE = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}


def run(*words: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words,
        cwd=cwd,
        env={**ALONE, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def test_make_alone_lists_and_explains_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"^([a-z%-]+):(?!=)", makefile, re.MULTILINE))
    shown = run("make").stdout
    for target in targets:
        assert re.search(rf"make {target.replace('%', 'NAME')} +\w", shown), target


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_executable_bash_that_parses(script: Path) -> None:
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/usr/bin/env bash\n")
    assert run("bash", "-n", str(script)).stderr == ""


def test_a_benchmark_that_is_not_there_is_refused_with_the_names_of_those_that_are() -> None:
    done = run("scripts/bench.sh", "no_such_benchmark")
    assert done.returncode == 64
    assert "there is no bench/no_such_benchmark.py" in done.stderr


def shadowed(tmp_path: Path, *commands: str) -> str:
    """A PATH with only these commands of this machine."""
    for command in commands:
        found = run("bash", "-c", f"command -v {command}").stdout.strip()
        (tmp_path / command).symlink_to(found)
    return str(tmp_path)


@pytest.mark.parametrize(("ci", "code"), [("true", 1), ("", 0)])
def test_where_services_cannot_be_installed_setup_says_which_and_only_ci_stops(
    tmp_path: Path, ci: str, code: int
) -> None:
    path = shadowed(tmp_path, "bash", "paste", "id")
    # The script adds the sbin folders to its PATH; on this machine they may hold the servers.
    script = (ROOT / "scripts" / "setup-system.sh").read_text()
    lonely = tmp_path / "setup-system.sh"
    lonely.write_text(re.sub(r"^export PATH=.*\n", "", script, flags=re.MULTILINE))
    done = run(str(tmp_path / "bash"), str(lonely), "services", PATH=path, CI=ci)
    assert done.returncode == code
    assert "please install: mariadb-server redis-server openssh-server openssh-client git" in done.stderr


def test_ci_is_nothing_but_the_two_commands_of_the_readme() -> None:
    text = (ROOT / ".ci" / "run").read_text()
    assert re.findall(r"^step (.*)", text, re.MULTILINE) == [
        "make --no-print-directory check",
        "make --no-print-directory test",
    ]
    assert "CI=true" in text
    assert "exec </dev/null" in text


def test_pre_commit_runs_only_tools_of_this_checkout() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    assert [repo["repo"] for repo in config["repos"]] == ["local"]
    for hook in config["repos"][0]["hooks"]:
        assert hook["language"] == "system"
        assert hook["entry"].startswith(".venv/bin/")


def test_the_test_fixtures_need_nothing_of_the_program_but_its_clock() -> None:
    script = (
        "import sys, tests.services.fixtures\n"
        "print(sorted(n for n in sys.modules if n.startswith('reconciler')))"
    )
    assert run(sys.executable, "-c", script).stdout.strip() == "[]"
