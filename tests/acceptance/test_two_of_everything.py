"""Several processes on one MariaDB: every slot exactly once, each command once on the host.

The length is 20 seconds; RECONCILER_TEST_SECONDS=120 makes it as long as one likes.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from reconciler.clock import SystemClock
from reconciler.store.engine import Database
from tests.acceptance.driver import Program, documents, eventually, lines, write_tree

SECONDS = int(os.environ.get("RECONCILER_TEST_SECONDS", "20"))
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


@pytest.mark.timeout(180)
def test_the_runs_of_killed_and_stopped_processes_go_on_and_end_truly(
    program: Callable[..., Program], mariadb_url: str, tmp_path: Path
) -> None:
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    tree = write_tree(
        tmp_path / "tree",
        {
            "fleet.yaml": documents(
                [
                    SERVER,
                    f"""\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: long}}
spec:
  server: here
  timeout: 10m
  command: |
    echo "$RECONCILER_EXECUTION_ID" >> {ledger}
    echo one
    until [ -e {go} ]; do sleep 0.2; done
    echo two
    exit 3
""",
                ]
            )
        },
    )
    one, two = program(mariadb_url), program(mariadb_url)
    one("db", "upgrade").ok()
    first = one.start("up", str(tree))
    eventually(lambda: one.json("get", "tasks")["items"])
    one("run", "long").ok()
    eventually(lambda: one.executions("--state", "running") and lines(ledger))
    before = owner(mariadb_url, one.executions()[0]["id"])
    first.kill()
    first.wait()

    second = two.start("up", str(tree))
    # a lease later it is the second one's; then that is stopped in order
    (execution,) = two.executions()
    eventually(lambda: owner(mariadb_url, execution["id"]) not in (None, before), seconds=60)
    second.terminate()
    assert second.wait(30) == 0
    assert [item["state"] for item in two.executions()] == ["running"]

    third = one.start("worker")
    go.touch()
    (ended,) = eventually(lambda: one.executions("--state", "failed"), seconds=60)
    assert (ended["id"], ended["reason"], ended["exitCode"]) == (execution["id"], "exit-code", 3)
    assert one("logs", ended["id"]).ok().out == "one\ntwo\n"
    assert lines(ledger) == [ended["id"]]
    third.terminate()
    assert third.wait(30) == 0


def owner(url: str, execution: str) -> str | None:
    """Who holds the lease of an execution."""
    with contextlib.closing(Database.open(url, SystemClock())) as db, db.read() as connection:
        query = "SELECT lease_owner FROM task_executions WHERE id = "
        return connection.exec_driver_sql(query + str(int(execution))).scalar_one()
