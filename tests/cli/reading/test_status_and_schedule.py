"""``status`` and ``schedule`` through the front door."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.cli.main import main
from reconciler.store.tables import Task
from tests.cli.reading.conftest import Command
from tests.report.world import NOW, World

HOUR = timedelta(hours=1)


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1")
    return world.task("backup", "db-1", spec={"schedule": "30 2 * * *", "timezone": "Europe/Berlin"})


def test_status_has_every_field(world: World, task: int, reconciler: Command) -> None:
    run = world.run(task, NOW - HOUR, status=2, error="boom\n")
    waiting = world.run(task, NOW - HOUR, status=0, seconds=None, attempt=2, trigger="retry", due_at=NOW)
    said = reconciler("status", "-o", "json")
    assert said.code == 0
    shape = said.json
    assert list(shape) == ["generatedAt", "summary", "objects"]
    assert shape["generatedAt"] == "2026-03-01T12:00:00.000000Z"
    assert shape["summary"]["degraded"] == 1
    assert [(item["kind"], item["name"], item["server"]) for item in shape["objects"]] == [
        ("Project", "shop", None),
        ("Server", "db-1", None),
        ("Task", "backup", "db-1"),
    ]
    keys = [
        "kind", "name", "server", "project", "sync", "health", "conditions", "path", "line", "nextRun",
        "lastRun", "open", "errorLines",
    ]  # fmt: skip
    assert all(list(item) == keys for item in shape["objects"])
    item = shape["objects"][-1]
    assert (item["sync"], item["health"], item["path"], item["line"]) == (
        "Synced",
        "Degraded",
        "tasks.yaml",
        3,
    )
    assert item["lastRun"]["id"] == str(run)
    assert item["open"] == [str(waiting)]
    assert item["errorLines"] == ["boom"]
    assert [condition["type"] for condition in item["conditions"]] == [
        "Synced",
        "Scheduled",
        "LastRunSucceeded",
    ]


def test_status_for_a_person_and_for_a_page(world: World, task: int, reconciler: Command) -> None:
    world.run(task, NOW - HOUR, status=2, error="boom\n")
    text = reconciler("status").out
    assert text.startswith("1 of 1 task needs attention  2026-03-01 12:00:00 UTC\n")
    assert "DEGRADED  backup@db-1  tasks.yaml:3\n" in text
    assert "  │ boom\n" in text
    assert reconciler("status", "-o", "markdown").out.startswith("## 1 of 1 task needs attention\n")


def test_lateness_is_a_setting(
    world: World, task: int, reconciler: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.change(Task, task, next_run=NOW - HOUR, next_slot=NOW - HOUR)
    assert reconciler("status", "-o", "json").json["summary"]["overdue"] == 1
    monkeypatch.setenv("RECONCILER_LATE_AFTER", "2h")
    assert reconciler("status", "-o", "json").json["summary"]["overdue"] == 0


def test_an_empty_sqlite_file_is_created_and_its_status_is_empty(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--database", f"sqlite:///{tmp_path / 'new' / 'state.db'}"]) == 0
    assert "Nothing is declared yet" in capsys.readouterr().out


def test_schedule_has_every_field_and_the_load(world: World, task: int, reconciler: Command) -> None:
    world.task("often", "db-1", spec={"schedule": "@every 12h"})
    words = ("--from", "2026-03-28T23:00:00+01:00", "--until", "2026-03-29T12:00:00Z")
    shape = reconciler("schedule", *words, "-o", "json").json
    assert list(shape) == ["from", "until", "items", "load"]
    assert (shape["from"], shape["until"]) == ("2026-03-28T22:00:00.000000Z", "2026-03-29T12:00:00.000000Z")
    assert shape["items"] == [
        {
            "task": "often",
            "server": "db-1",
            "project": "shop",
            "at": "2026-03-29T00:00:00.000000Z",
            "scheduledFor": "2026-03-29T00:00:00.000000Z",
            "timezone": "UTC",
            "localTime": "2026-03-29T00:00:00.000000+00:00",
            "note": None,
        },
        {
            "task": "backup",
            "server": "db-1",
            "project": "shop",
            "at": "2026-03-29T01:00:00.000000Z",
            "scheduledFor": "2026-03-29T01:00:00.000000Z",
            "timezone": "Europe/Berlin",
            "localTime": "2026-03-29T03:00:00.000000+02:00",
            "note": "dst-gap",
        },
    ]
    assert shape["load"] == [
        {"server": "db-1", "hour": "2026-03-29T00:00:00.000000Z", "runs": 1},
        {"server": "db-1", "hour": "2026-03-29T01:00:00.000000Z", "runs": 1},
    ]


def test_schedule_shows_the_coming_day_by_default(world: World, task: int, reconciler: Command) -> None:
    shape = reconciler("schedule", "-o", "json").json
    assert (shape["from"], shape["until"]) == ("2026-03-01T12:00:00.000000Z", "2026-03-02T12:00:00.000000Z")
    assert [item["at"] for item in shape["items"]] == ["2026-03-02T01:30:00.000000Z"]
    assert "01:30  02:30 Europe/Berlin (+01:00)  backup@db-1" in reconciler("schedule").out


def test_schedule_of_nothing_is_empty(world: World, reconciler: Command) -> None:
    shape = reconciler("schedule", "-o", "json").json
    assert (shape["items"], shape["load"]) == ([], [])
    assert "Nothing runs by itself in this time." in reconciler("schedule").out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--from", "tomorrow"], "is not an RFC 3339 time"),
        (["--from", "2026-03-01T12:00:00"], "is not an RFC 3339 time"),
        (["--until", "2026-03-01T12:00:00Z"], "is not after --from"),
        (["--from", "0001-01-01T00:00:00Z"], "from 1970-01-02 to 9990-01-01"),
        (["--from", "9999-12-31T00:00:00Z"], "from 1970-01-02 to 9990-01-01"),
    ],
)
def test_an_impossible_range_is_an_exact_error(
    world: World, reconciler: Command, words: list[str], message: str
) -> None:
    said = reconciler("schedule", *words)
    assert said.code == 64
    assert message in said.err
