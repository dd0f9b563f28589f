"""Somebody follows a run whose owner dies: the next one reads its output from the first byte again."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.driver import Program, documents, eventually, write_tree
from tests.acceptance.test_machines import SERVER

TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: counting}}
spec:
  server: here
  timeout: 5m
  command: |
    i=0
    while [ $i -lt 40 ]; do echo "line $i"; i=$((i + 1)); done
    while [ ! -e {gate} ]; do sleep 0.1; done
    while [ $i -lt 80 ]; do echo "line $i"; i=$((i + 1)); done
    while [ ! -e {gate}.2 ]; do sleep 0.1; done
    echo through
"""


def test_each_line_is_shown_once_although_the_next_owner_begins_at_the_first_byte(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    one = program(f"sqlite:///{tmp_path}/runs.db")
    one("db", "upgrade").ok()
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": documents([SERVER, TASK.format(gate=gate)])})
    one("apply", str(tree), "--yes").ok()
    owner = one.start("worker")
    eventually(lambda: one("run", "counting").code == 0)
    eventually(lambda: one.executions("--state", "running", "counting"))
    follower = one.start("logs", "counting", "--follow")
    shown = one.folder / f"{len(one._started) - 1}.out"
    eventually(lambda: "line 39\n" in shown.read_text())
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    # this much comes while nobody listens
    gate.touch()
    one.start("worker")
    eventually(lambda: "line 79\n" in shown.read_text(), 90)
    gate.with_suffix(".2").touch()
    assert follower.wait(60) == 0
    assert shown.read_text().splitlines() == [*(f"line {number}" for number in range(80)), "through"]
