"""Retries, dependencies, queues and limits, from YAML to the ledger, in one process on SQLite."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.driver import Program, documents, eventually, write_tree

pytestmark = pytest.mark.timeout(120)

SERVER = """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
"""


def task(name: str, *lines: str) -> str:
    body = "\n".join(f"  {line}" for line in lines)
    return (
        f"apiVersion: reconciler/v1\nkind: Task\nmetadata: {{name: {name}}}\nspec:\n  server: here\n{body}\n"
    )


def test_policies_hold_from_yaml_to_the_ledger(program: Callable[..., Program], tmp_path: Path) -> None:
    tree = write_tree(
        tmp_path / "tree",
        {
            "fleet.yaml": documents(
                [
                    SERVER,
                    task("shaky", "command: exit 3", "retries: {limit: 2, backoff: 1s, factor: 1}"),
                    task("extract", "command: echo extracted"),
                    task("load", "command: echo loaded", "after: [extract]"),
                    task("queued", "command: sleep 10", "concurrency: queue"),
                    task("jittered", "command: 'true'", 'schedule: "@every 1s"', "jitter: 2s"),
                ]
            )
        },
    )
    one = program()
    up = one.start("up", str(tree))
    eventually(lambda: (one.folder / ".reconciler/state.db").exists() and one.json("get", "tasks")["items"])

    shaky = one("run", "shaky", "--wait", "-o", "json")
    assert shaky.code == 1
    attempts = eventually(lambda: ended(one, "shaky", 3))
    assert [item["attempt"] for item in attempts] == [3, 2, 1]
    assert [item["trigger"] for item in attempts] == ["retry", "retry", "manual"]
    assert len({item["scheduledFor"] for item in attempts}) == 1

    one("run", "extract", "--wait").ok()
    loaded = eventually(lambda: ended(one, "load", 1))
    assert (loaded[0]["trigger"], loaded[0]["state"]) == ("dependency", "success")

    one("run", "queued").ok()
    one("run", "queued").ok()
    one("run", "queued")
    queued = eventually(lambda: ended(one, "queued", 3), seconds=40)
    assert sorted(item["state"] for item in queued) == ["skipped", "success", "success"]

    assert eventually(lambda: ended(one, "jittered", 2))[0]["state"] == "success"
    up.terminate()
    assert up.wait(30) == 0


def ended(program: Program, name: str, count: int) -> list[dict[str, Any]]:
    items = [item for item in program.executions(name) if item["status"] != 0]
    return items if len(items) >= count else []
