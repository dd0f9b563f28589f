"""`after`: a task has its turn when each task it names has succeeded anew."""

from __future__ import annotations

import pytest

from reconciler.dispatch.dependents import Dependents, Success
from reconciler.store.tables import Override
from tests.dispatch.conftest import World
from tests.dispatch.fleet import START, at


@pytest.fixture
def dependents(world: World) -> Dependents:
    return Dependents(world.db, world.clock, world.ids)


def succeed(world: World, task: int, execution_id: int, finished: float) -> None:
    world.fleet.execution(
        task, execution_id, status=1, reason="completed", started_at=START, finished_at=at(finished)
    )


def test_its_turn_comes_with_the_success_that_completes_the_set(world: World, dependents: Dependents) -> None:
    extract, load = world.fleet.task("extract"), world.fleet.task("load")
    report = world.fleet.task("report", schedule=None, after=["extract", "load"])
    world.clock.advance(100)
    succeed(world, extract, 1, 10)
    assert dependents.follow([Success(1, 1, "extract")]) == 0
    succeed(world, load, 2, 20)
    succeed(world, extract, 3, 30)
    assert dependents.follow([Success(1, 1, "load"), Success(1, 1, "extract")]) == 1
    (row,) = world.fleet.ledger(report)
    assert (row["trigger"], row["status"], row["scheduled_for"], row["due_at"]) == (
        "dependency",
        0,
        at(20),
        at(20),
    )
    # used up: the next run needs a new success of each
    assert dependents.sweep() == 0
    world.fleet.change_execution(row["id"], status=1, reason="completed")
    succeed(world, extract, 4, 110)
    assert dependents.sweep() == 0
    succeed(world, load, 5, 120)
    assert dependents.sweep() == 1


@pytest.mark.parametrize("what", ["failed", "elsewhere", "before"])
def test_only_a_later_success_on_the_same_server_counts(
    world: World, dependents: Dependents, what: str
) -> None:
    extract = world.fleet.task("extract", "web-2" if what == "elsewhere" else "web-1")
    report = world.fleet.task("report", "web-1", schedule=None, after=["extract"])
    if what == "before":
        world.fleet.change_task(report, after_since=at(50))
    succeed(world, extract, 1, 10)
    if what == "failed":
        world.fleet.change_execution(1, status=2, reason="exit-code")
    assert dependents.sweep() == 0


@pytest.mark.parametrize(
    ("concurrency", "expected"), [("forbid", "overlap"), ("queue", "waiting"), ("allow", "waiting")]
)
def test_it_obeys_concurrency(world: World, dependents: Dependents, concurrency: str, expected: str) -> None:
    extract = world.fleet.task("extract")
    report = world.fleet.task("report", schedule=None, after=["extract"], concurrency=concurrency)
    world.fleet.execution(
        report, 9, scheduled_for=at(-60), started_at=at(-50), lease_owner="x", lease_until=at(9)
    )
    succeed(world, extract, 1, 10)
    dependents.sweep()
    assert world.fleet.states(report) == {"running": 1, expected: 1}


def test_a_disabled_task_is_left_alone(world: World, dependents: Dependents) -> None:
    extract = world.fleet.task("extract")
    report = world.fleet.task("report", schedule=None, after=["extract"])
    succeed(world, extract, 1, 10)
    world.fleet.change_server("web-1", status=0)
    assert dependents.sweep() == 0
    world.fleet.change_server("web-1", status=1)
    world.fleet.change_task(report, status=0)
    dependents.changed()
    assert dependents.sweep() == 0


def test_looking_twice_inserts_once(world: World, dependents: Dependents) -> None:
    extract = world.fleet.task("extract")
    report = world.fleet.task("report", schedule=None, after=["extract"])
    succeed(world, extract, 1, 10)
    assert dependents.sweep() + Dependents(world.db, world.clock, world.ids).sweep() == 1
    assert world.fleet.states(report) == {"waiting": 1}


@pytest.mark.parametrize("by", ["calendar", "suspension"])
def test_one_whose_turn_comes_in_a_forbidden_time_is_skipped_and_says_why(
    world: World, dependents: Dependents, by: str
) -> None:
    freeze = {"name": "freeze", "deny": [{"from": "2026-02-27", "until": "2026-03-02"}]}
    extract = world.fleet.task("extract")
    spec = {"calendars": [freeze]} if by == "calendar" else {}
    report = world.fleet.task("report", schedule=None, after=["extract"], **spec)
    if by == "suspension":
        with world.db.write() as connection:
            values = {"kind": "suspend", "task_id": report, "reason": "why", "by": "ann", "since": at(-9)}
            connection.execute(Override.__table__.insert().values(id=1, **values))
    succeed(world, extract, 1, 10)
    assert dependents.sweep() == 1
    (row,) = world.fleet.ledger(report)
    assert row["reason"] == "suspended"
    assert (
        row["error"]
        == {
            "calendar": "calendar freeze forbids runs until 2026-03-02 00:00 UTC",
            "suspension": "suspended by ann until it is resumed: why",
        }[by]
    )
    assert dependents.sweep() == 0
