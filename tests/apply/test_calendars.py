"""Calendars in rows: applied, applied again, changed by git and by a hand; and who suspended what."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from reconciler.apply.look import survey
from reconciler.dispatch.suspending import Wanted, suspend
from reconciler.model.state import DesiredState
from reconciler.plan.changes import Action
from tests.apply.states import World, server, task, the, told, tree

HOLIDAYS: dict[str, Any] = {
    "name": "holidays",
    "timezone": "Europe/Berlin",
    "deny": [{"dates": ["2026-12-24"]}, {"weekdays": ["sun"], "from": "22:00", "until": "06:00"}],
    "allow": [{"from": "2026-12-24T18:00", "until": "2026-12-24T19:00"}],
}


def fleet(*calendars: dict[str, Any]) -> DesiredState:
    return tree(server("db-1"), task("backup", schedule="0 * * * *", calendars=calendars), task("plain"))


def test_a_second_apply_of_calendars_changes_nothing(world: World) -> None:
    world.apply(fleet(HOLIDAYS))
    assert world.plan(fleet(HOLIDAYS)).empty
    assert world.apply(fleet(HOLIDAYS)).revision is None


def test_an_edit_of_a_calendar_changes_the_tasks_that_name_it_and_no_next_slot(world: World) -> None:
    world.apply(fleet(HOLIDAYS))
    before = world.task_row("backup")
    edited = {**HOLIDAYS, "deny": [{"dates": ["2026-12-24", "2026-12-25"]}]}
    plan = world.plan(fleet(edited))
    assert told(plan) == [("update", "backup@db-1")]
    assert list(the(plan, Action.UPDATE).fields) == ["spec.calendars"]
    world.clock.advance(5)
    world.settle(fleet(edited))
    after = world.task_row("backup")
    assert (after["next_slot"], after["generation"]) == (before["next_slot"], before["generation"] + 1)
    world.settle(fleet())
    assert "calendars" not in world.task_row("backup")["spec"]


def test_a_calendar_that_a_hand_took_from_a_row_is_drift_and_comes_back(world: World) -> None:
    world.apply(fleet(HOLIDAYS))
    world.sql("""UPDATE tasks SET spec = '{"spec":{}}' WHERE name = 'backup'""")
    (drift,) = world.plan(fleet(HOLIDAYS)).drift
    assert [(name, change.before, change.after) for name, change in drift.fields.items()] == [
        ("spec.calendars", [], [HOLIDAYS])
    ]
    world.settle(fleet(HOLIDAYS))
    assert world.plan(fleet(HOLIDAYS)).empty


def test_the_plan_knows_who_suspended_what_it_changes_and_the_suspension_is_no_drift(world: World) -> None:
    world.apply(fleet())
    suspend(world.db, world.clock, Wanted(tasks=["backup"]), 3600, "disk", "ann")
    suspend(world.db, world.clock, Wanted(projects=["billing"]), 60, "all of it", "bob")
    assert world.plan(fleet()).empty
    wanted = tree(
        server("db-1"), task("backup", schedule="5 * * * *"), task("plain", timeout="5m"), task("new")
    )
    now = world.clock.now()
    plan = survey(world.db, wanted, now).plan
    said = {}
    for change in plan.changes:
        assert change.effect is not None
        found = change.effect.suspended
        assert found is not None
        said[change.name] = (found.of, found.by, found.until)
    assert said == {
        "backup": ("task", "ann", now + timedelta(hours=1)),
        "plain": ("project", "bob", now + timedelta(minutes=1)),
        "new": ("project", "bob", now + timedelta(minutes=1)),
    }
    later = survey(world.db, wanted, now + timedelta(minutes=2)).plan
    assert later.digest == plan.digest
    assert [change.name for change in later.changes if change.effect and change.effect.suspended] == [
        "backup"
    ]
