"""Clocks that jump, in both directions: slots by ours, leases by the database's."""

from __future__ import annotations

import logging
import random
from collections import Counter
from datetime import datetime, timedelta

import pytest

from reconciler.cache.signals import Silent
from reconciler.controller.events import Announcer
from reconciler.controller.outage import Outage
from reconciler.controller.scheduling import Scheduling
from reconciler.dispatch.lag import Lag, Lagging
from reconciler.dispatch.leases import Keeper
from reconciler.dispatch.reaper import Reaper
from reconciler.store.node import NodeIds
from tests.controller.conftest import eventually
from tests.dispatch.conftest import World, scheduler
from tests.dispatch.fleet import START, at
from tests.services.clock import FakeClock

SECOND = timedelta(seconds=1)


def covered(world: World, task: int, step: timedelta) -> Counter[datetime]:
    """How often each slot is in the ledger, those that a row counts included."""
    found: Counter[datetime] = Counter()
    for row in world.fleet.ledger(task):
        for number in range(row["count"]):
            found[row["scheduled_for"] + number * step] += 1
    return found


def test_a_clock_that_jumps_forward_leaves_a_row_for_every_slot_it_leapt_over(world: World) -> None:
    task = world.fleet.task(due=0, catchUp="latest", catchUpWindow="1h", concurrency="allow")
    world.claim_all()
    world.clock.step(3 * 3600)
    world.claim_all()
    # 180 slots later: the newest is in time, the newest of the late ones is caught up, the others were missed
    states = [(row["trigger"], row["reason"]) for row in world.fleet.ledger(task)]
    assert states[0] == ("schedule", None)
    assert states[-2:] == [("schedule", None), ("schedule", None)]
    assert states[-3] == ("catch-up", None)
    assert set(states[1:-3]) == {("schedule", "missed")}
    assert set(covered(world, task, 60 * SECOND).values()) == {1}
    assert world.fleet.task_row(task)["next_slot"] == at(3 * 3600 + 60)


@pytest.mark.parametrize("seed", range(3))
def test_however_the_clock_jumps_every_slot_is_recorded_once(world: World, seed: int) -> None:
    randomness = random.Random(seed)
    tasks = [
        world.fleet.task(f"{catch_up}-{concurrency}", due=0, catchUp=catch_up, concurrency=concurrency)
        for catch_up in ("none", "latest", "all")
        for concurrency in ("allow", "queue", "replace")
    ]
    for _ in range(25):
        if randomness.random() < 0.4:
            world.clock.step(randomness.choice((-7200, -90, -2, 2, 90, 7200)))
        world.clock.advance(randomness.uniform(0.1, 100))
        world.claim_all()
    for task in tasks:
        until = world.fleet.task_row(task)["next_slot"]
        slots = [START + number * 60 * SECOND for number in range((until - START) // (60 * SECOND))]
        assert covered(world, task, 60 * SECOND) == Counter(slots)


def test_a_sleeping_scheduler_notices_a_clock_that_was_put_forward(world: World) -> None:
    clock = FakeClock()
    world.fleet.task(due=3600)
    claims = scheduler(world.db, clock, 4)
    scheduling = Scheduling(
        claims,
        Lagging(world.db, clock, Lag()),
        clock,
        Outage(clock),
        Announcer(None),
        lambda: None,
        Silent(),
    )
    scheduling.start()
    try:
        clock.until_waiting()
        clock.step(3600)
        # it sleeps for a second at most, by the clock that never jumps
        clock.advance(1.0)
        eventually(lambda: world.fleet.ledger())
    finally:
        scheduling.stop(0)
        clock.advance(1.0)
        scheduling.stop(5)


def test_a_clock_that_jumps_ends_no_lease(world: World) -> None:
    if world.db.dialect == "sqlite":
        pytest.skip("SQLite has no clock of its own: one machine, one clock")
    world.fleet.task(due=0)
    world.scheduler.claim()
    (taken,) = world.taker().take(1, {}).taken
    for seconds in (3600, -7200, 86_400):
        world.clock.step(seconds)
        assert Reaper(world.db, world.clock).reap().given_back == ()
        assert world.fleet.row(taken.job.execution_id)["lease_owner"] == "me"
    with world.db.read() as connection:
        left = world.fleet.row(taken.job.execution_id)["lease_until"] - world.db.now(connection)
    assert timedelta(0) < left <= 15 * SECOND


def test_a_clock_that_is_off_is_told_once_while_it_is(world: World, caplog: pytest.LogCaptureFixture) -> None:
    if world.db.dialect == "sqlite":
        pytest.skip("SQLite has no clock of its own")
    keeper = Keeper(world.db, world.clock, "me", NodeIds(world.db, world.clock, "me", 5), None)
    with world.db.read() as connection:
        world.clock.step((world.db.now(connection) - world.clock.now()).total_seconds() + 30)
    for _ in range(3):
        keeper.renew([])
    world.clock.step(-30)
    keeper.renew([])
    world.clock.step(-60)
    keeper.renew([])
    told = [record.message for record in caplog.records if record.levelno == logging.WARNING]
    assert len(told) == 2, told
    for message in told:
        assert "our clock differs from the database's by" in message
