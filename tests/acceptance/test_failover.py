"""A whole process while its database restarts, forgets connections, hangs, and is away at the end."""

from __future__ import annotations

import re
import signal
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pymysql
import pytest

from tests.acceptance.driver import Program, documents, eventually, lines, write_tree
from tests.services.database import MariaDB

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local, maxConcurrentRuns: 100}
"""


def a_task(name: str, command: str, schedule: str | None = "@every 1s") -> str:
    when = f', schedule: "{schedule}"' if schedule else ""
    return f"""\
apiVersion: reconciler/v1
kind: Task
metadata: {{name: {name}}}
spec:
  {{server: here, concurrency: allow, timeout: 2m, command: '{command}'{when}}}
"""


@pytest.fixture
def up_on(program: Callable[..., Program], start_mariadb: Callable[..., MariaDB]) -> tuple[Program, MariaDB]:
    server = start_mariadb()
    one = program(server.url(server.create_database()))
    one("db", "upgrade").ok()
    return one, server


def forget_everybody(server: MariaDB) -> None:
    """End every connection but our own, as a proxy or a failover does."""
    for (number,) in server.execute("SELECT id FROM information_schema.processlist WHERE db IS NOT NULL"):
        with suppress(pymysql.Error):
            server.execute(f"KILL {number}")


@pytest.mark.slow
def test_no_run_is_lost_or_doubled_and_no_thread_dies_whatever_becomes_of_connections(
    up_on: tuple[Program, MariaDB], tmp_path: Path
) -> None:
    one, server = up_on
    ran = tmp_path / "ran"
    ticks = [a_task(f"tick-{n}", f'echo "$RECONCILER_EXECUTION_ID" >> {ran}') for n in range(4)]
    patient = a_task("patient", f"while [ ! -e {tmp_path}/go ]; do sleep 0.2; done", None)
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": documents([SERVER, *ticks, patient])})
    server.execute("SET GLOBAL wait_timeout = 1")
    process = one.start("up", str(tree))
    eventually(lambda: len(lines(ran)) >= 8, 40)
    one("run", "patient").ok()
    eventually(lambda: one.executions("--state", "running", "patient"))

    troubles: list[Callable[[], object]] = [
        server.restart,
        lambda: forget_everybody(server),
        lambda: (server.kill(), server.start()),
        lambda: (server.pause(), one.folder.stat(), server.resume()),
    ]
    for trouble in troubles:
        trouble()
        before = len(lines(ran))
        eventually(lambda at=before: len(lines(ran)) >= at + 8, 60)
    # the tree is still watched and applied, requests are still seen
    late = tmp_path / "late"
    write_tree(tree, {"late.yaml": a_task("late", f"echo >> {late}", None)})
    eventually(lambda: one("run", "late").code == 0, 60)
    eventually(lambda: lines(late) == [""], 30)
    (tmp_path / "go").touch()
    eventually(lambda: one.executions("--state", "success", "patient"))
    process.terminate()
    assert process.wait(60) == 0

    executions = one.executions()
    assert Counter(item["state"] for item in executions).keys() <= {"success", "skipped"}
    ticked = [item for item in executions if item["task"].startswith("tick") and item["state"] == "success"]
    assert Counter(lines(ran)) == Counter(item["id"] for item in ticked)
    said = [line for line in one.said(process).splitlines() if re.search(r"again|spool|failed|kept", line)]
    assert len(said) <= 40, said


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_a_process_that_ends_while_the_database_is_away_leaves_its_records_to_the_next(
    end: signal.Signals, up_on: tuple[Program, MariaDB], tmp_path: Path
) -> None:
    one, server = up_on
    done = tmp_path / "done"
    go = tmp_path / "go"
    task = a_task("last", f"while [ ! -e {go} ]; do sleep 0.2; done; echo >> {done}", None)
    tree = write_tree(tmp_path / "tree", {"fleet.yaml": documents([SERVER, task])})
    process = one.start("up", str(tree))
    eventually(lambda: one("run", "last").code == 0, 30)
    eventually(lambda: one.executions("--state", "running"))
    server.kill()
    go.touch()
    eventually(lambda: lines(done) == [""])
    eventually(lambda: "is kept in" in one.said(process), 30)
    process.send_signal(end)
    code = process.wait(60)
    if end is signal.SIGTERM:
        assert code == 0
        assert "the next process that starts here records it" in one.said(process)
    server.start()
    one.start("up", str(tree))
    (item,) = eventually(lambda: one.executions("--state", "success"), 60)
    assert item["exitCode"] == 0
    eventually(lambda: not list((one.folder / ".reconciler" / "spool").glob("*/*.records")))
    assert len(one.executions()) == 1
