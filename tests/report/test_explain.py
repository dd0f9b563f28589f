"""``explain`` on the three databases: what is read, and that it is read from an index."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from reconciler.errors import NotFound
from reconciler.model.execution import Status
from reconciler.report.explain import Explanation, explain
from reconciler.store import slot_rows
from reconciler.store.overview import BY_SLOT
from reconciler.store.tables import Project, Task
from tests.report.test_plans import ledgers, plan_of
from tests.report.world import NOW, World

__all__ = ["ledgers"]

HOUR = timedelta(hours=1)
LATE = timedelta(seconds=60)
NIGHT = NOW - 10 * HOUR
"""The slot of two that night."""


@pytest.fixture
def task(world: World) -> int:
    world.server("db-1")
    return world.task("backup", "db-1")


def explained(world: World, task: int, at: datetime | None = None, now: datetime = NOW) -> Explanation:
    with world.db.snapshot() as conn:
        return explain(conn, task, at, now, LATE)


def test_the_ledger_answers_with_the_execution(world: World, task: int) -> None:
    world.run(task, NIGHT - 24 * HOUR)
    first = world.run(task, NIGHT, status=2)
    second = world.run(task, NIGHT, attempt=2, trigger="retry", started_at=NIGHT + HOUR)
    found = explained(world, task, NIGHT)
    assert (found.answer.verdict, found.answer.reason) == ("ran", "completed")
    assert [run.id for run in found.runs] == [second, first]
    assert (found.previous, found.next) == (NIGHT - 24 * HOUR, NIGHT + 24 * HOUR)
    assert [fire.at for fire in found.fires][:2] == [NIGHT + 24 * HOUR, NIGHT + 48 * HOUR]


def test_an_overlap_finds_the_run_in_its_way_behind_hundreds_of_others(world: World, task: int) -> None:
    begun = NIGHT - 300 * HOUR / 60
    world.change(Task, task, cron_expr="* * * * *")
    long = world.run(task, begun, 8 * 3600)
    for minute in range(1, 301, 50):
        world.run(task, begun + minute * HOUR / 60, status=3)
    world.run(task, NIGHT, status=3)
    found = explained(world, task, NIGHT)
    assert found.answer.reason == "overlap"
    assert f"in its way was execution {long}, of the slot of" in found.answer.message


def test_a_suspended_slot_names_who_suspended_it(world: World, task: int) -> None:
    world.suspend(task=task, since=NIGHT - HOUR, until=NIGHT + HOUR)
    world.suspend(project="shop", since=NIGHT + HOUR, by="nobody")
    world.run(task, NIGHT, status=3, reason="suspended")
    found = explained(world, task, NIGHT)
    assert "it was suspended by ann@laptop from 2026-03-01 01:00:00 UTC" in found.answer.message
    assert found.fires == ()


def test_a_disabled_slot_names_the_apply_that_disabled_it(world: World, task: int) -> None:
    closed = NIGHT + HOUR
    number = world.revision(applied_at=closed, applied_by="bob@desk")
    world.revision(applied_at=closed + HOUR)
    world.run(task, NIGHT, status=3, reason="disabled", finished_at=closed)
    message = explained(world, task, NIGHT).answer.message
    assert f"by revision {number} of commit 1a2b3c4d5e6f by Ann Lee <ann@example.net>" in message
    assert message.endswith("applied by bob@desk")


def test_an_unclaimed_slot_is_overdue_and_an_absent_row_too(world: World, task: int) -> None:
    world.change(Task, task, next_slot=NIGHT, next_run=NIGHT)
    assert explained(world, task).answer.reason == "not-claimed"
    world.change(Task, task, next_slot=NIGHT + 24 * HOUR, next_run=NIGHT + 24 * HOUR)
    assert explained(world, task).answer.reason == "not-recorded"


@pytest.mark.parametrize(
    ("history", "reason"),
    [
        ({}, "not-recorded"),
        ({"maxAge": "1h"}, "no-record"),
        ({"maxCount": 3}, "no-record"),
        ({"maxCount": 4}, None),
    ],
)
def test_what_history_no_longer_keeps_is_no_alarm(
    world: World, task: int, history: dict[str, Any], reason: str | None
) -> None:
    world.change(Project, world.id_of(Project, "shop"), spec={"history": history})
    for hours in range(1, 4):
        world.run(task, NIGHT + hours * HOUR, trigger="manual")
    assert explained(world, task, NIGHT).answer.reason == (reason or "not-recorded")


def test_a_task_that_is_gone_is_an_exact_error(world: World, task: int) -> None:
    with pytest.raises(NotFound, match="there is no task with id 4711"):
        explained(world, 4711)


def test_nothing_is_written(world: World, task: int) -> None:
    world.run(task, NIGHT, status=3)
    statements: list[str] = []
    event.listen(world.db.engine, "before_cursor_execute", lambda *words: statements.append(words[2]))
    for at in (None, NIGHT, NIGHT - HOUR, NOW + HOUR):
        explained(world, task, at)
    asked = {statement.split()[0].upper() for statement in statements}
    assert asked <= {"SELECT", "SET", "BEGIN"}


@pytest.mark.parametrize(
    ("query", "index"),
    [
        (slot_rows.until_query(1, NOW).limit(250), BY_SLOT),
        (slot_rows.after_query(1, NOW).limit(120), BY_SLOT),
        (slot_rows.tried_query(1, Status.SUCCESS, NOW).limit(20), slot_rows.OPEN_OF_TASK),
    ],
)
def test_rows_around_a_moment_are_read_along_one_index(ledgers: Any, query: Any, index: str) -> None:
    (step,) = plan_of(ledgers, query)
    assert step["key"] == index
    assert "filesort" not in (step["Extra"] or "")
