"""A scheduler that claims while an apply is under way sees the state before it or after it, never half."""

from __future__ import annotations

from contextlib import closing

import pytest

from reconciler.dispatch.scheduler import Scheduler
from reconciler.store.ids import ExecutionIds
from tests.apply.states import Paused, World, server, task, tree

BEFORE = tree(server("db-1"), task("edited", schedule="@every 60s"), task("kept", schedule="@every 60s"))
AFTER = tree(
    server("db-1"), task("edited", schedule="@every 60s", enabled=False), task("kept", schedule="@every 60s")
)


@pytest.mark.parametrize("world_url", ["mariadb", "mysql"], indirect=True)
def test_a_due_task_that_is_being_disabled_is_passed_over_and_others_are_claimed(
    world: World, world_url: str
) -> None:
    world.apply(BEFORE)
    world.clock.advance(61)
    other = World.open(world_url)
    with closing(other.db):
        scheduler = Scheduler(other.db, world.clock, ExecutionIds(3, world.clock), late_after=60)
        with Paused(world, AFTER, at="UPDATE tasks"):
            claimed = scheduler.claim()
            assert [row.task_id for row in claimed.waiting] == [world.task_row("kept")["id"]]
        assert scheduler.claim().tasks == 0
    assert world.slots(world.task_row("edited")["id"]) == [(3, "superseded")]
    assert world.slots(world.task_row("kept")["id"]) == [(0, None)]


@pytest.mark.parametrize("world_url", ["mariadb", "mysql"], indirect=True)
def test_what_was_claimed_before_an_apply_is_closed_by_it_and_not_recorded_twice(
    world: World, world_url: str
) -> None:
    world.apply(BEFORE)
    world.clock.advance(61)
    scheduler = Scheduler(world.db, world.clock, ExecutionIds(3, world.clock), late_after=60)
    assert scheduler.claim().tasks == 2
    world.apply(AFTER)
    assert world.slots(world.task_row("edited")["id"]) == [(3, "disabled")]
    assert world.slots(world.task_row("kept")["id"]) == [(0, None)]
