"""Which executions are kept: by age, by count, and because a rule still needs them."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.dispatch.dependents import Dependents
from reconciler.record.retention import SETTLED_SECONDS, may_go, preview
from reconciler.store.prune import Needed, OldRow
from reconciler.store.tables import Execution
from tests.dispatch.fleet import START
from tests.record.conftest import World
from tests.record.histories import DAY, HOUR, MINUTE, Past, pruner

OLD = OldRow(50, 1, START - DAY, 1, "completed", START - DAY, START - DAY, None, 0)
NOTHING = Needed(frozenset(), frozenset(), 0)
LIVES = {"status": 2, "reason": "unreachable"}


@pytest.mark.parametrize(
    ("row", "needed", "goes"),
    [
        ({}, {}, True),
        ({"status": 3, "reason": "missed", "started_at": None}, {}, True),
        ({"status": 0, "reason": None, "finished_at": None}, {}, False),
        ({"status": 0, "reason": None, "finished_at": None, "started_at": None}, {}, False),
        ({}, {"ids": frozenset({50})}, False),
        ({}, {"ids": frozenset({51})}, True),
        ({}, {"slots": frozenset({START - DAY})}, False),
        ({}, {"slots": frozenset({START})}, True),
        ({"finished_at": START}, {}, False),
        ({"finished_at": None}, {}, True),
        (LIVES, {"proven": 49}, False),
        (LIVES, {"proven": 51}, True),
        (LIVES | {"started_at": None}, {"proven": 49}, True),
        ({"status": 2, "reason": "lost"}, {"proven": 49}, True),
    ],
)
def test_a_row_goes_unless_something_needs_it(
    row: dict[str, Any], needed: dict[str, Any], goes: bool
) -> None:
    settled = START - timedelta(seconds=SETTLED_SECONDS)
    assert may_go(replace(OLD, **row), replace(NOTHING, **needed), settled) is goes


sqlite_only = pytest.mark.parametrize("url", ["sqlite"], indirect=True)


@pytest.fixture
def past(world: World) -> Past:
    return Past(world.fleet)


def prune(world: World) -> int:
    """A whole pass; what a preview said is what went."""
    said = preview(world.db, world.clock)
    done = pruner(world.db, world.clock).run()
    assert done.tasks == said.tasks
    assert preview(world.db, world.clock).rows == 0
    return done.rows


def test_without_a_word_90_days_and_1000_rows_are_kept(world: World, past: Past) -> None:
    task = world.fleet.task()
    old = past.rows(task, 3, DAY, 90 * DAY + HOUR)
    kept = past.rows(task, 2, DAY, 89 * DAY)
    assert prune(world) == 3
    assert past.left() == kept
    assert not set(old) & set(past.left())


def test_the_newest_rows_by_count_are_kept_whatever_became_of_them(world: World, past: Past) -> None:
    past.keep(maxCount=3)
    task, other = world.fleet.tasks(["a", "b"])
    ids = [past.row(task, HOUR * (20 - n), status=1 + n % 3) for n in range(9)]
    few = past.rows(other, 3)
    assert prune(world) == 6
    assert past.left(task) == ids[-3:]
    assert past.left(other) == few


@sqlite_only
def test_a_task_says_it_for_itself_as_a_whole(world: World, past: Past) -> None:
    past.keep(maxAge="1d", maxCount=2)
    own, projects = world.fleet.task("own", history={"maxCount": 3}), world.fleet.task("other")
    ids = past.rows(own, 5, 2 * DAY, 2 * DAY)
    theirs = past.rows(projects, 5, HOUR, HOUR)
    prune(world)
    assert past.left(own) == ids[-3:], "its age is the language's own 90 days, not its project's"
    assert past.left(projects) == theirs[-2:]


@sqlite_only
def test_rows_of_deleted_tasks_go_too_and_their_newest_stays(world: World, past: Past) -> None:
    task = world.fleet.task()
    ids = past.rows(task, 4, DAY, 100 * DAY)
    world.fleet.change_task(task, deleted_at=START, status=0)
    assert prune(world) == 3
    assert past.left() == ids[-1:]


def test_the_newest_row_success_failure_and_own_slot_stay_however_old(world: World, past: Past) -> None:
    task = world.fleet.task()
    past.row(task, 300 * DAY)
    success = past.row(task, 290 * DAY)
    past.row(task, 285 * DAY, 2)
    failure = past.row(task, 280 * DAY, 2, "timed-out")
    past.row(task, 270 * DAY, 3)
    slot = past.row(task, 260 * DAY, 3)
    past.row(task, 250 * DAY, 3, "overlap", trigger="manual")
    newest = past.row(task, 240 * DAY, 3, "overlap", trigger="manual")
    assert prune(world) == 4
    assert past.left() == [success, failure, slot, newest]


def test_what_has_not_ended_stays_with_all_attempts_of_its_slot(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    task = world.fleet.task()
    slot = START - 20 * HOUR
    gone = past.row(task, 21 * HOUR, 2)
    first = past.row(task, 20 * HOUR, 2, trigger="catch-up", scheduled_for=slot)
    second = past.row(task, 19 * HOUR, 2, trigger="retry", scheduled_for=slot, attempt=2)
    later = past.row(task, 18 * HOUR, 3)
    third = past.row(task, 17 * HOUR, 0, trigger="retry", scheduled_for=slot, attempt=3)
    running = past.row(task, 16 * HOUR, 0, started_at=START - 16 * HOUR, lease_owner="w")
    newest = past.row(task, 15 * HOUR)
    assert prune(world) == 2
    assert past.left() == [first, second, third, running, newest]
    assert not {gone, later} & set(past.left())


def test_a_run_that_may_still_live_on_its_host_stays_until_the_host_has_answered(
    world: World, past: Past
) -> None:
    past.keep(maxCount=1)
    task = world.fleet.task()
    lives = past.row(task, 9 * HOUR, 2, "unreachable")
    past.row(task, 8 * HOUR, 2, "unreachable", started_at=None)
    past.row(task, 7 * HOUR, 3, "overlap")
    newest = past.row(task, 6 * HOUR, 2, "unreachable", started_at=None)
    prune(world)
    assert past.left() == [lives, newest]
    answered = past.row(task, 5 * HOUR, 2)
    prune(world)
    assert past.left() == [answered]


@sqlite_only
def test_what_ended_a_moment_ago_stays_although_many_are_newer(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    task = world.fleet.task(concurrency="allow")
    long = past.row(task, 5 * HOUR, finished_at=START - MINUTE)
    past.rows(task, 3, HOUR, 2 * HOUR)
    newest = past.row(task, HOUR)
    prune(world)
    assert past.left() == [long, newest]
    world.clock.advance(SETTLED_SECONDS)
    prune(world)
    assert past.left() == [newest]


def test_a_dependency_run_is_not_made_again_when_its_row_is_old(world: World, past: Past) -> None:
    past.keep(maxCount=2)
    first = world.fleet.task("first")
    second = world.fleet.task("second", after=["first"])
    world.fleet.change_task(second, updated_at=START - 300 * DAY)
    success = past.row(first, 50 * DAY)
    run = past.row(second, 50 * DAY - MINUTE, trigger="dependency")
    past.rows(second, 5)
    dependents = Dependents(world.db, world.clock, world.ids)
    assert dependents.sweep() == 0
    assert prune(world) == 3
    assert run in past.left(second)
    assert past.left(first) == [success]
    assert dependents.sweep() == 0, "the success was used up by a run whose row is still there"


@sqlite_only
def test_a_success_that_a_dependent_waits_with_stays(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    first, other = world.fleet.tasks(["first", "other"])
    both = world.fleet.task("both", after=["first", "other"])
    world.fleet.change_task(both, updated_at=START - 300 * DAY)
    past.row(first, 50 * DAY)
    past.rows(first, 4, status=2)
    prune(world)
    past.row(other, 20 * MINUTE)
    assert Dependents(world.db, world.clock, world.ids).sweep() == 1


def test_a_slot_whose_row_went_does_not_run_again(world: World, past: Past) -> None:
    past.keep(maxCount=1)
    task = world.fleet.task(schedule="@every 1m", catchUp="all", catchUpWindow="2h", concurrency="allow")
    world.clock.advance(10 * 60)
    world.claim_all()
    with world.db.write() as connection:
        done = START + 10 * MINUTE
        connection.execute(Execution.__table__.update().values(status=1, finished_at=done))
    slots = {row["scheduled_for"] for row in world.fleet.ledger(task)}
    assert len(slots) == 11
    world.clock.advance(3600)
    assert prune(world) == 10
    world.claim_all()
    again = {row["scheduled_for"] for row in world.fleet.ledger(task)} - {max(slots)}
    assert min(again) > max(slots)


@sqlite_only
def test_an_old_slot_that_is_not_kept_raises_no_alarm(world: World, past: Past) -> None:
    """The newest of a task's own slots is what tells "not scheduled" from "its row is no longer kept"."""
    past.keep(maxCount=2)
    task = world.fleet.task(schedule="0 0 1 1 *")
    slot = past.row(task, 59 * DAY)
    past.rows(task, 5, trigger="manual")
    prune(world)
    assert slot in past.left()


def test_a_clock_that_runs_ahead_deletes_nothing_where_the_database_has_its_own(
    world: World, past: Past
) -> None:
    if world.db.dialect == "sqlite":
        pytest.skip("an embedded database has no clock of its own")
    task = world.fleet.task()
    past.rows(task, 3)
    with world.db.read() as connection:
        ahead = world.db.now(connection) - START
    # the rows are of the database's own present
    with world.db.write() as connection:
        for row in past.left():
            shifted = row + (int(ahead.total_seconds() * 1000) << 21)
            connection.execute(Execution.__table__.update().where(Execution.id == row).values(id=shifted))
    world.clock.advance(ahead.total_seconds() + 3650 * 86_400)
    assert preview(world.db, world.clock).rows == 0


@sqlite_only
def test_a_spoilt_history_keeps_everything_and_is_told_once(
    world: World, past: Past, caplog: pytest.LogCaptureFixture
) -> None:
    spoilt, other = world.fleet.task("spoilt"), world.fleet.task("other")
    past.rows(spoilt, 3, DAY, 100 * DAY)
    past.rows(other, 3, DAY, 100 * DAY)
    for spec in ({"spec": {"history": {"maxCount": 0}}}, {"spec": {"history": "long"}}):
        world.fleet.change_task(spoilt, spec=spec)
        caplog.clear()
        one = pruner(world.db, world.clock)
        one.run()
        one.run()
        assert len(past.left(spoilt)) == 3
        assert len([record for record in caplog.records if "history cannot be read" in record.message]) == 1
    assert len(past.left(other)) == 1


@sqlite_only
def test_many_tasks_are_looked_at_page_by_page(
    world: World, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.record.retention.PAGE", 3)
    past.keep(maxCount=1)
    tasks = world.fleet.tasks([f"t{n}" for n in range(8)])
    newest = []
    for task in tasks:
        newest += past.rows(task, 3)[-1:]
    assert prune(world) == 16
    assert past.left() == sorted(newest)
