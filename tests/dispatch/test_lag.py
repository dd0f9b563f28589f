"""Overload is told: how late claims are, and a condition of the projects concerned, only while it is true."""

from __future__ import annotations

import logging

import pytest

from reconciler.dispatch.lag import CAUSE, Lag, Lagging
from reconciler.dispatch.scheduler import Scheduler
from reconciler.store.listing import stored_conditions
from reconciler.store.tables import Project, Task
from reconciler.store.views import StoredCondition
from tests.dispatch.conftest import World, scheduler
from tests.dispatch.fleet import START


class Looking:
    """One scheduler that notes its lag, as the loop does."""

    def __init__(self, world: World, batch: int, node: int = 2) -> None:
        self.lag = Lag()
        self.scheduler: Scheduler = scheduler(world.db, world.clock, node, batch)
        self._lagging = Lagging(world.db, world.clock, self.lag)

    def claim(self) -> None:
        claimed = self.scheduler.claim()
        self._lagging.claimed(claimed, self.scheduler.next_due() if claimed.complete else None)


def stalled(world: World) -> list[StoredCondition]:
    with world.db.read() as connection:
        return stored_conditions(connection)


def another_project(world: World, tasks: list[int]) -> None:
    with world.db.write() as connection:
        connection.execute(
            Project.__table__.insert().values(
                id=2, name="post", spec={}, spec_hash="-", created_at=START, updated_at=START
            )
        )
        connection.execute(Task.__table__.update().where(Task.id.in_(tasks)).values(project_id=2))


def test_lag_is_how_late_the_longest_due_slot_is_that_nobody_has_claimed(world: World) -> None:
    world.fleet.tasks([f"t-{n}" for n in range(5)], due=0)
    looking = Looking(world, batch=3)
    world.clock.advance(2)
    looking.claim()
    assert (looking.lag.seconds, looking.lag.waiting, looking.lag.since) == (2.0, 3, None)
    looking.claim()
    assert (looking.lag.seconds, looking.lag.waiting, looking.lag.claims) == (0.0, 5, 2)
    assert stalled(world) == []


def test_overload_is_a_condition_of_the_projects_concerned_while_it_lasts(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    ids = world.fleet.tasks([f"t-{n}" for n in range(12)], due=0)
    another_project(world, ids[3:6])
    with world.db.write() as connection:
        connection.execute(
            Project.__table__.insert().values(
                id=3, name="idle", spec={}, spec_hash="-", created_at=START, updated_at=START
            )
        )
    looking = Looking(world, batch=3)
    world.clock.advance(20)
    looking.claim()
    (first,) = stalled(world)
    assert (first.kind, first.object_id, first.type, first.cause) == ("Project", 1, "Stalled", CAUSE)
    assert (first.status, first.reason, first.last_transition) == (
        "True",
        "SchedulerLagging",
        world.clock.now(),
    )
    assert "wait 20 s for a scheduler, since 2026-03-01 12:00:20 UTC" in first.message
    assert "Start another controller" in first.message
    # not at each claim, but soon with new words, and for the other project as well
    looking.claim()
    assert len(stalled(world)) == 1
    world.clock.advance(6)
    looking.claim()
    assert [row.object_id for row in stalled(world)] == [1, 2]
    assert all("wait 26 s" in row.message for row in stalled(world))
    assert stalled(world)[0].last_transition == first.last_transition
    looking.claim()
    looking.claim()
    assert stalled(world) == []
    assert looking.lag.since is None
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert told == [
        "slots are claimed 20 s late: the schedulers cannot keep up",
        "slots are claimed in time again",
    ]
    assert world.fleet.states() == {"waiting": 12}, "nothing was dropped"


def test_what_a_killed_scheduler_said_is_taken_back_by_another(world: World) -> None:
    world.fleet.tasks([f"t-{n}" for n in range(4)], due=0)
    world.clock.advance(20)
    Looking(world, batch=3).claim()
    assert len(stalled(world)) == 1
    other = Looking(world, batch=3, node=3)
    other.claim()
    assert stalled(world) == []


def test_slots_that_others_hold_locked_are_late_as_well(world: World) -> None:
    if world.db.dialect == "sqlite":
        pytest.skip("SQLite has one writer: nothing is passed over")
    task = world.fleet.task(due=0)
    looking = Looking(world, batch=3)
    world.clock.advance(7)
    with world.db.write() as connection:
        connection.execute(Task.__table__.select().where(Task.id == task).with_for_update())
        looking.claim()
        assert looking.lag.waiting == 0
        looking.scheduler.look_everywhere()
        looking.claim()
        assert looking.lag.seconds == 7.0
    looking.claim()
    assert (looking.lag.seconds, looking.lag.waiting) == (0.0, 1)
