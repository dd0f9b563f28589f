"""Workers on two machines, one of which dies with a local run: only its own machine may tell of it.

A machine is where runs can be seen from; a home of its own is enough for a process to be on another one.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

from tests.acceptance.driver import Program, documents, eventually, lines, write_tree

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""
TASK = """\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: patient}}
spec:
  server: here
  timeout: 5m
  command: 'echo begun >> {ran}; while [ ! -e {go} ]; do sleep 0.1; done; echo through'
"""


def test_a_local_run_waits_for_its_machine_while_others_leave_it_alone(
    program: Callable[..., Program], tmp_path: Path
) -> None:
    ran, go = tmp_path / "ran", tmp_path / "go"
    url = f"sqlite:///{tmp_path}/runs.db"
    first, second = program(url), program(url)
    second.environment["HOME"] = str(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").mkdir()
    first("db", "upgrade").ok()
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": documents([SERVER, TASK.format(ran=ran, go=go)])})
    first("apply", str(tree), "--yes").ok()

    owner = first.start("worker")
    eventually(lambda: first("run", "patient").code == 0)
    eventually(lambda: lines(ran))
    eventually(lambda: first.executions("--state", "running", "patient"))
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    stranger = second.start("worker")
    # it notices, and finds nothing that it could do
    eventually(lambda: "lapsed" in second.said(stranger))
    go.touch()
    (run,) = first.executions("patient")
    assert (run["state"], run["reason"]) == ("running", None)

    first.start("worker")
    (run,) = eventually(lambda: first.executions("--state", "success", "patient"))
    assert lines(ran) == ["begun"]
    assert first("logs", str(run["id"])).ok().out == "through\n"
    assert stranger.poll() is None
