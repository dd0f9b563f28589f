"""``get``: shapes key by key, pages, filters, tables."""

from __future__ import annotations

from datetime import timedelta

import pytest

from reconciler.store.tables import Task
from tests.cli.reading.conftest import Command
from tests.report.world import COMMIT, NOW, World

HOUR = timedelta(hours=1)

EXECUTIONS = """\
ID                   TASK             STATE                TRIGGER   SLOT (UTC)           STARTED   TOOK
7000000000000000001  备份数据库@db-1  failed: exit code 1  schedule  2026-03-01 11:00:00  60m ago  1m 5s
6999999999999999999  备份数据库@db-1  skipped: missed ×7   schedule  2026-03-01 10:00:00        -      -
"""


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1", labels={"role": "db"}, line=1)
    return world.task(
        "备份数据库",
        "db-1",
        spec={"command": "pg_dump app", "schedule": "0 2 * * *", "timezone": "Europe/Berlin"},
        labels={"tier": "gold"},
        last_run=NOW - HOUR,
        next_run=NOW + 13 * HOUR,
        next_slot=NOW + 13 * HOUR,
    )


def test_get_tasks_has_every_field(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW - HOUR)
    shape = reconciler("get", "tasks", "-o", "json").json
    assert list(shape) == ["items", "next"]
    assert shape["next"] is None
    (item,) = shape["items"]
    conditions = item.pop("conditions")
    assert item == {
        "id": task,
        "name": "备份数据库",
        "server": "db-1",
        "project": "shop",
        "command": "pg_dump app",
        "schedule": "0 2 * * *",
        "timezone": "Europe/Berlin",
        "enabled": True,
        "lastRun": "2026-03-01T11:00:00.000000Z",
        "nextRun": "2026-03-02T01:00:00.000000Z",
        "nextSlot": "2026-03-02T01:00:00.000000Z",
        "createdBy": "ann@example.net",
        "createdAt": "2026-02-26T12:00:00.000000Z",
        "updatedAt": "2026-02-26T12:00:00.000000Z",
        "deletedAt": None,
        "generation": 1,
        "path": "tasks.yaml",
        "line": 3,
        "labels": {"tier": "gold"},
        "protected": False,
        "revision": item["revision"],
        "sync": "Synced",
        "health": "Healthy",
    }
    assert [list(condition) for condition in conditions] == [
        ["type", "status", "reason", "message", "lastTransitionTime", "observedGeneration"]
    ] * 3
    assert [(condition["type"], condition["status"]) for condition in conditions] == [
        ("Synced", "True"),
        ("Scheduled", "True"),
        ("LastRunSucceeded", "True"),
    ]


def test_get_executions_has_every_field(world: World, task: int, reconciler: Command) -> None:
    at = NOW - HOUR
    run = world.run(
        task,
        at,
        1.5,
        status=2,
        exit_code=3,
        output_bytes=10,
        error_bytes=20,
        truncated=1,
        due_at=at + HOUR / 60,
    )
    waiting = world.run(task, NOW, status=0, seconds=None, trigger="manual", requested_by="bob")
    shape = reconciler("get", "executions", "-o", "json").json
    assert [item["id"] for item in shape["items"]] == [str(waiting), str(run)]
    newest, item = shape["items"]
    revision = item.pop("revision")
    assert isinstance(revision, int)
    assert item == {
        "id": str(run),
        "task": "备份数据库",
        "server": "db-1",
        "project": "shop",
        "status": 2,
        "state": "failed",
        "reason": "exit-code",
        "exitCode": 3,
        "trigger": "schedule",
        "requestedBy": None,
        "attempt": 1,
        "scheduledFor": "2026-03-01T11:00:00.000000Z",
        "dueAt": "2026-03-01T11:01:00.000000Z",
        "startedAt": "2026-03-01T11:00:00.000000Z",
        "finishedAt": "2026-03-01T11:00:01.500000Z",
        "durationSeconds": 1.5,
        "outputBytes": 10,
        "errorBytes": 20,
        "truncated": True,
        "count": 1,
        "commit": COMMIT,
        "path": "tasks.yaml",
        "line": 3,
        "generation": 1,
        "archive": None,
        "cancelRequestedAt": None,
        "cancelRequestedBy": None,
        "startSentAt": None,
    }
    assert list(newest) == [*list(item)[:23], "revision", *list(item)[23:]]
    assert (newest["state"], newest["requestedBy"], newest["durationSeconds"]) == ("waiting", "bob", None)


def test_get_revisions_has_every_field(world: World, reconciler: Command) -> None:
    number = world.revision()
    shape = reconciler("get", "revisions", str(number), "-o", "json").json
    assert shape["items"] == [
        {
            "id": number,
            "project": "shop",
            "commit": COMMIT,
            "branch": "main",
            "author": "Ann Lee <ann@example.net>",
            "message": "Begin the shop\n\nWith two tasks.",
            "dirty": False,
            "appliedBy": "ann@laptop",
            "appliedAt": "2026-02-26T12:00:00.000000Z",
            "digest": "d" * 64,
            "released": None,
            "summary": {
                "create": 2, "update": 0, "rename": 0, "delete": 0, "restore": 0, "unchanged": 0,
            },
        }
    ]  # fmt: skip


def test_get_servers_has_every_field(world: World, task: int, reconciler: Command) -> None:
    (item,) = reconciler("get", "servers", "db-1", "-o", "json").json["items"]
    assert [condition["type"] for condition in item.pop("conditions")] == ["Synced", "Reachable"]
    assert isinstance(item.pop("id"), int)
    assert isinstance(item.pop("revision"), int)
    assert item == {
        "name": "db-1",
        "project": "shop",
        "host": "10.0.0.1",
        "port": 22,
        "username": "deploy",
        "environment": "",
        "enabled": True,
        "connection": "ssh",
        "createdBy": "ann@example.net",
        "createdAt": "2026-02-26T12:00:00.000000Z",
        "updatedAt": "2026-02-26T12:00:00.000000Z",
        "deletedAt": None,
        "generation": 1,
        "path": "servers.yaml",
        "line": 1,
        "labels": {"role": "db"},
        "protected": False,
        "sync": "Synced",
        "health": "Unknown",
    }


def test_get_projects_has_every_field(world: World, task: int, reconciler: Command) -> None:
    (item,) = reconciler("get", "projects", "-o", "json").json["items"]
    assert [condition["type"] for condition in item.pop("conditions")] == ["Synced"]
    assert isinstance(item.pop("id"), int)
    assert isinstance(item.pop("revision"), int)
    assert item == {
        "name": "shop",
        "source": "/srv/git",
        "commit": COMMIT,
        "branch": "main",
        "author": "Ann Lee <ann@example.net>",
        "appliedBy": "ann@laptop",
        "appliedAt": "2026-02-26T12:00:00.000000Z",
        "servers": 1,
        "tasks": 1,
        "createdAt": "2026-02-26T12:00:00.000000Z",
        "updatedAt": "2026-02-26T12:00:00.000000Z",
        "sync": "Synced",
        "health": "Healthy",
    }


@pytest.mark.parametrize("kind", ["servers", "tasks", "executions"])
def test_an_empty_list_is_empty_json_and_a_word_on_standard_error(
    world: World, reconciler: Command, kind: str
) -> None:
    assert reconciler("get", kind, "-o", "json").json == {"items": [], "next": None}
    said = reconciler("get", kind)
    assert (said.code, said.out, said.err) == (0, "", f"no {kind} found\n")


def test_following_the_cursor_shows_every_execution_once(
    world: World, task: int, reconciler: Command
) -> None:
    ids = [str(world.run(task, NOW - n * HOUR)) for n in range(5)]
    found: list[str] = []
    words: list[str] = []
    while True:
        shape = reconciler("get", "executions", "备份数据库", "--limit", "2", "-o", "json", *words).json
        found += [item["id"] for item in shape["items"]]
        if shape["next"] is None:
            break
        words = ["--after", shape["next"]]
    assert found == ids


def test_many_items_are_valid_json_too(world: World, task: int, reconciler: Command) -> None:
    for n in range(102):
        world.run(task, NOW - n * HOUR)
    shape = reconciler("get", "executions", "--limit", "101", "-o", "json").json
    assert len(shape["items"]) == 101
    assert shape["next"] is not None


def test_the_tables_are_aligned_and_say_what_matters(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW - HOUR, 65, status=2, id=7000000000000000001)
    world.run(task, NOW - 2 * HOUR, status=3, reason="missed", count=7, id=6999999999999999999)
    world.task("report", "db-1", spec={"schedule": None})
    assert reconciler("get", "tasks").out == (
        "TASK        SERVER  SCHEDULE    ZONE           HEALTH    LAST RUN  NEXT RUN      LOCAL\n"
        "report      db-1    when asked                 Unknown          -         -\n"
        "备份数据库  db-1    0 2 * * *   Europe/Berlin  Degraded   60m ago    in 13h  Mon 02:00\n"
    )
    assert reconciler("get", "executions").out == EXECUTIONS
    assert reconciler("get", "servers").out == (
        "SERVER  ADDRESS          STATE    HEALTH   REACHABLE  LABELS\n"
        "db-1    deploy@10.0.0.1  enabled  Healthy  yes        role=db\n"
    )


def test_names_filter_and_deleted_ones_are_asked_for(world: World, task: int, reconciler: Command) -> None:
    gone = world.task("gone", "db-1", deleted_at=NOW, status=0)
    names = [item["name"] for item in reconciler("get", "tasks", "-o", "json").json["items"]]
    assert names == ["备份数据库"]
    (item,) = reconciler("get", "tasks", "gone", "--deleted", "-o", "json").json["items"]
    assert (item["id"], item["deletedAt"]) == (gone, "2026-03-01T12:00:00.000000Z")
    run = world.run(gone, NOW)
    (found,) = reconciler("get", "executions", "gone", "-o", "json").json["items"]
    assert found["id"] == str(run)
    (same,) = reconciler("get", "executions", str(run), "-o", "json").json["items"]
    assert same == found


def test_since_and_state_filter_executions(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW - 30 * HOUR)
    run = world.run(task, NOW - HOUR)
    world.run(task, NOW - 2 * HOUR, status=2)
    words = ("get", "executions", "--since", "1d", "--state", "success", "-o", "json")
    assert [item["id"] for item in reconciler(*words).json["items"]] == [str(run)]


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["get", "tasks", "nothing"], 1, "there is no task 'nothing'"),
        (["get", "executions", "12345"], 1, "there is no task '12345'"),
        (["get", "servers", "db-2"], 1, "there is no server 'db-2'"),
        (["get", "tasks", "--server", "nowhere"], 1, "there is no server 'nowhere'"),
        (["get", "executions", "--project", "shp"], 1, "there is no project 'shp'"),
        (["get", "revisions", "last"], 64, "'last' is not the number of a revision"),
        (["get", "revisions", "999999"], 1, "there is no revision 999999"),
        (["get", "tasks", "--state", "failed"], 64, "--state means nothing for tasks"),
        (["get", "revisions", "-l", "a=b"], 64, "-l means nothing for revisions"),
        (["get", "tasks", "-l", "ab"], 64, "a label is written key=value"),
        (["get", "tasks", "--after", "x"], 64, "is no cursor of `get tasks`"),
        (["get", "tasks", "--limit", "0"], 64, "whole number from 1"),
        (["get", "tasks", "--limit", "9" * 30], 64, "--limit is at most 100000"),
        (["get", "pods"], 64, "pods"),
        (["get", "tasks", "a@b@c"], 64, "is no task"),
    ],
)
def test_what_cannot_be_is_an_exact_error(
    world: World, task: int, reconciler: Command, words: list[str], code: int, message: str
) -> None:
    said = reconciler(*words)
    assert said.code == code
    assert message in said.err
    assert "Traceback" not in said.err
    shape = reconciler(*words, "-o", "json")
    assert shape.code == code
    assert message in shape.json["error"]["message"]


def test_an_ambiguous_task_lists_the_candidates(world: World, task: int, reconciler: Command) -> None:
    world.server("db-2")
    world.task("备份数据库", "db-2")
    said = reconciler("get", "executions", "备份数据库", "-o", "json")
    assert said.code == 1
    assert said.json["error"]["code"] == "ambiguous"
    assert said.json["error"]["details"]["candidates"] == ["shop/备份数据库@db-1", "shop/备份数据库@db-2"]
    both = reconciler("get", "tasks", "备份数据库", "-o", "json").json["items"]
    assert [item["server"] for item in both] == ["db-1", "db-2"]


def test_a_drifted_task_says_so_in_the_table(world: World, task: int, reconciler: Command) -> None:
    world.change(Task, task, command="other")
    assert "Unknown, drifted" in reconciler("get", "tasks").out
