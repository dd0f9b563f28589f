"""Execution windows from a commit to the ledger: what is pushed stops runs, and lets them go on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from tests.acceptance.driver import Program, documents, eventually
from tests.services.git import GitRepository

pytestmark = pytest.mark.timeout(240)

FLEET = documents(
    [
        """\
apiVersion: reconciler/v1
kind: Project
metadata: {name: shop}
""",
        """\
apiVersion: reconciler/v1
kind: Server
metadata: {name: here}
spec: {host: localhost, connection: local}
""",
        """\
apiVersion: reconciler/v1
kind: Task
metadata: {name: tick}
spec: {server: here, command: "true", schedule: "@every 1s", concurrency: allow, calendars: [freeze]}
""",
    ]
)
CALENDAR = """\
apiVersion: reconciler/v1
kind: Calendar
metadata: {name: freeze}
spec: {deny: [WINDOW]}
"""
OPEN = "{from: 2020-01-01, until: 2020-01-02}"
CLOSED = "{from: 2020-01-01, until: 2199-01-01}"
MANUAL = ("run", "tick", "--wait")


def test_a_calendars_edit_in_git_stops_runs_and_lets_them_go_on(
    program: Callable[..., Program], mariadb_url: str, git_repo: GitRepository
) -> None:
    one = program(mariadb_url)
    one("db", "upgrade").ok()
    git_repo.write("fleet/fleet.yaml", FLEET)
    push(git_repo, OPEN)
    one.start("up", "--git", str(git_repo.path), "--path", "fleet", "--interval", "1s")
    eventually(lambda: one.json("get", "tasks")["items"])
    eventually(lambda: of(one, "tick", "success"))

    closed = push(git_repo, CLOSED)
    eventually(lambda: one.json("get", "revisions")["items"][0]["commit"] == closed)
    skipped = eventually(lambda: of(one, "tick", "skipped", "suspended")[:3])
    since = min(item["scheduledFor"] for item in skipped)
    text = one("logs", skipped[0]["id"]).ok()
    assert "calendar freeze forbids all runs of the next ten years" in text.out + text.err
    assert not [item for item in of(one, "tick", "success") if item["scheduledFor"] > since]
    # told, and nothing to repair: neither drift, nor overdue, nor a change
    tree = str(git_repo.path / "fleet")
    assert one("plan", tree, "--exit-code").code == 0
    assert one("apply", tree, "--yes", "-o", "json").ok().json["revision"] is None
    (task,) = (item for item in one.json("status")["objects"] if item["name"] == "tick")
    assert (task["sync"], task["health"]) == ("Synced", "Healthy")
    answer = one.json("explain", "tick")
    assert answer["nextRuns"] == []
    assert "calendar freeze forbids" in answer["nextSlotForbidden"]
    # a person may
    one(*MANUAL).ok()

    opened = push(git_repo, OPEN)
    eventually(lambda: one.json("get", "revisions")["items"][0]["commit"] == opened)
    last = max(item["scheduledFor"] for item in of(one, "tick", "skipped"))
    eventually(
        lambda: [
            item
            for item in of(one, "tick", "success")
            if item["scheduledFor"] > last and item["trigger"] == "schedule"
        ]
    )
    # every slot has its row: the seconds between the first and the last of them
    rows = [item for item in one.executions("tick") if item["trigger"] != "manual"]
    slots = sorted(item["scheduledFor"] for item in rows)
    assert len(slots) == len(set(slots))
    assert sum(item["count"] for item in rows) == seconds_between(slots[0], slots[-1]) + 1


def push(repository: GitRepository, window: str) -> str:
    repository.write("fleet/calendar.yaml", CALENDAR.replace("WINDOW", window))
    return repository.commit(window)


def of(one: Program, task: str, state: str, reason: str | None = None) -> list[dict[str, Any]]:
    """A task's newest executions in a state, newest first."""
    items = one.json("get", "executions", task, "--state", state, "--limit", "100")["items"]
    return [item for item in items if reason is None or item["reason"] == reason]


def seconds_between(first: str, last: str) -> int:
    begins, ends = (datetime.fromisoformat(text) for text in (first, last))
    return round((ends - begins).total_seconds())
