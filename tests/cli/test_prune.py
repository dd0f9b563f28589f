"""`db prune` and `db prune --dry-run`: what a person and a script see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import prune as command
from reconciler.cli.main import main
from reconciler.clock import SystemClock
from reconciler.model.instant import rfc3339
from reconciler.record.archive import name_of
from reconciler.store.engine import Database
from tests.dispatch.fleet import START, Fleet
from tests.record.histories import DAY, HOUR, Past
from tests.store.conftest import Migrated, migrated

__all__ = ["migrated"]

Cli = Callable[..., tuple[int, str, str]]


@pytest.fixture
def past(migrated: Migrated, tmp_path: Path) -> Iterator[Past]:
    with closing(Database.open(migrated.url("sqlite", tmp_path / "state.db"), SystemClock())) as db:
        yield Past(Fleet(db))


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """`db prune` on that database; it is noon of 1 March 2026, UTC."""
    monkeypatch.setattr(SystemClock, "now", lambda self: START)
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        code = main(("db", "prune", "--database", f"sqlite:///{tmp_path}/state.db", *words))
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_a_dry_run_tells_by_task_and_project_and_deletes_nothing(cli: Cli, past: Past) -> None:
    past.keep(maxCount=2)
    many, few = past.fleet.tasks(["many", "few"])
    past.rows(many, 7, DAY, DAY)
    past.rows(few, 3, HOUR, 2 * HOUR)
    before = past.left()
    code, out, err = cli("--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "TASK        EXECUTIONS                   OLDEST                   NEWEST",
        "many@web-1           5  2026-02-22 12:00:00 UTC  2026-02-26 12:00:00 UTC",
        "few@web-1            1  2026-03-01 08:00:00 UTC  2026-03-01 08:00:00 UTC",
        "project shop: 6 executions of 2 tasks",
        "would go: 6 executions",
    ]
    assert past.left() == before


def test_json_has_every_task_and_is_the_same_for_what_went(
    cli: Cli, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LISTED", 1)
    past.keep(maxCount=2)
    for task in past.fleet.tasks(["b", "a"]):
        past.rows(task, 4, HOUR, HOUR)
    said = json.loads(cli("--dry-run", "-o", "json")[1])
    item: dict[str, Any] = {
        "project": "shop",
        "task": "a",
        "server": "web-1",
        "executions": 2,
        "oldest": rfc3339(START - 4 * HOUR),
        "newest": rfc3339(START - 3 * HOUR),
        "archives": 0,
        "archivedBytes": 0,
    }
    total = {"project": "shop", "tasks": 2, "executions": 4, "archives": 0, "archivedBytes": 0}
    assert said == {
        "dryRun": True,
        "executions": 4,
        "messages": 0,
        "stuck": 0,
        "projects": [total],
        "items": [item, item | {"task": "b"}],
    }
    assert "… and 1 task more; -o json lists them all" in cli("--dry-run")[1]
    code, out, _ = cli("-o", "json")
    assert (code, json.loads(out)) == (0, said | {"dryRun": False})
    assert len(past.left()) == 4


def test_archives_that_cannot_go_are_an_error_that_says_what_stays(
    cli: Cli, past: Past, tmp_path: Path
) -> None:
    past.keep(maxCount=1)
    task = past.fleet.task()
    (tmp_path / "archive").write_text("this should be a folder")
    for row in past.rows(task, 3, timedelta(hours=1), output_bytes=1000, error_bytes=24):
        past.fleet.change_execution(row, archive=f"{tmp_path}/archive/{name_of(row)}")
    code, out, _ = cli("--dry-run")
    assert code == 0
    assert "2  2,048" in out
    code, _, err = cli()
    assert code == 1
    assert "2 executions stay, because their archives could not be deleted" in err
    assert len(past.left()) == 3
