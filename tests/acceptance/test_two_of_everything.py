"""Several processes on one MariaDB: every slot exactly once, each command once on the host.

The length is 30 seconds; RECONCILER_TEST_SECONDS=120 makes it as long as one likes.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Program, documents, eventually, write_tree

SECONDS = int(os.environ.get("RECONCILER_TEST_SECONDS", "30"))
TASKS = 50

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local, maxConcurrentRuns: 100}
"""


def a_tree(folder: Path, ledger: Path) -> Path:
    tasks = [
        f"""\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: tick-{number:02}}}
spec:
  server: here
  schedule: "@every 1s"
  timeout: 30s
  command: echo "$RECONCILER_EXECUTION_ID" >> {ledger}
"""
        for number in range(TASKS)
    ]
    return write_tree(folder, {"fleet.yaml": documents([SERVER, *tasks])})


def check_ledger(program: Program, ledger: Path) -> list[dict[str, Any]]:
    """Every slot once in the database, each command once on the host, nothing waiting or running."""
    executions = program.executions()
    assert [item for item in executions if item["state"] in ("waiting", "running")] == []
    slots = Counter((item["task"], item["scheduledFor"], item["attempt"]) for item in executions)
    assert [slot for slot, count in slots.items() if count > 1] == []

    ran = [item for item in executions if item["status"] in (1, 2)]
    assert {item["state"] for item in ran} == {"success"}, [i for i in ran if i["state"] != "success"][:3]
    on_host = Counter(ledger.read_text().split())
    assert on_host == Counter(item["id"] for item in ran)

    skipped = Counter(item["reason"] for item in executions if item["state"] == "skipped")
    assert set(skipped) <= {"overlap", "missed", "superseded"}
    for number in range(TASKS):
        check_no_gap([item for item in executions if item["task"] == f"tick-{number:02}"])
    return executions


def check_no_gap(executions: list[dict[str, Any]]) -> None:
    """Between the first slot of a task and its last, every second has its row."""
    slots = sorted(datetime.fromisoformat(item["scheduledFor"]) for item in executions)
    assert slots, "a task never had a slot"
    gaps = [(earlier, later) for earlier, later in pairwise(slots) if later - earlier != timedelta(seconds=1)]
    assert gaps == []


@pytest.mark.timeout(SECONDS + 120)
def test_two_ups_share_one_tree_and_one_database(
    program: Callable[..., Program], mariadb_url: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    tree = a_tree(tmp_path / "tree", ledger)
    one, two = program(mariadb_url), program(mariadb_url)
    one("db", "upgrade").ok()
    processes = [
        one.start("up", str(tree), "--for", f"{SECONDS}s"),
        two.start("up", str(tree), "--for", f"{SECONDS}s"),
    ]
    assert [process.wait(SECONDS + 60) for process in processes] == [0, 0]
    executions = check_ledger(one, ledger)
    ran = sum(item["state"] == "success" for item in executions)
    assert ran > TASKS * (SECONDS - 5) * 0.8


@pytest.mark.timeout(SECONDS + 120)
def test_two_controllers_claim_and_two_workers_execute(
    program: Callable[..., Program], mariadb_url: str, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger"
    tree = a_tree(tmp_path / "tree", ledger)
    everyone = [program(mariadb_url) for _ in range(4)]
    everyone[0]("db", "upgrade").ok()
    processes = [one.start("worker", "--for", f"{SECONDS + 10}s") for one in everyone[:2]]
    processes += [
        one.start("controller", "--no-execute", str(tree), "--for", f"{SECONDS}s") for one in everyone[2:]
    ]
    assert [process.wait(SECONDS + 70) for process in processes] == [0, 0, 0, 0]
    check_ledger(everyone[0], ledger)


@pytest.mark.timeout(120)
def test_the_runs_of_a_killed_process_do_not_stay_running(
    program: Callable[..., Program], mariadb_url: str, tmp_path: Path
) -> None:
    tree = write_tree(
        tmp_path / "tree",
        {
            "fleet.yaml": documents(
                [
                    SERVER,
                    """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: long}
spec: {server: here, schedule: "@every 1s", command: sleep 300, timeout: 10m}
""",
                ]
            )
        },
    )
    one, two = program(mariadb_url), program(mariadb_url)
    one("db", "upgrade").ok()
    victim = one.start("up", str(tree))
    eventually(lambda: one.executions("--state", "running"))
    victim.kill()
    victim.wait()
    survivor = two.start("up", str(tree))
    first = eventually(lambda: [i for i in two.executions() if i["state"] == "failed"], seconds=60)
    assert first[-1]["reason"] == "lost"
    # the lost run was all that `forbid` waited for: the next slot runs
    eventually(lambda: two.executions("--state", "running"))
    survivor.terminate()
    assert survivor.wait(30) == 0
    # an orderly end ends what still runs, and says so
    assert {i["reason"] for i in two.executions("--state", "failed")} == {"lost", "cancelled"}
    assert two.executions("--state", "running") == []
