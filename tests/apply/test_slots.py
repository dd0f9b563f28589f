"""What an apply does to slots and waiting runs: nothing is replayed, nothing vanishes without a row."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.execution import Trigger
from reconciler.schedule.stable import jitter_offset
from reconciler.store.claims import NewExecution, insert_executions
from tests.apply.states import NOON, World, server, task, tree


def next_of(world: World, name: str, on: str = "db-1", project: str = "billing") -> tuple[Any, Any]:
    row = world.task_row(name, on, project)
    return moment(row["next_slot"]), moment(row["next_run"])


def moment(value: Any) -> datetime | None:
    if value is None:
        return None
    return (datetime.fromisoformat(value) if isinstance(value, str) else value).replace(tzinfo=UTC)


def waiting(world: World, number: int, task_row: dict[str, Any], **more: Any) -> int:
    """A run that was claimed and waits."""
    run = NewExecution(
        id=number,
        task_id=task_row["id"],
        server_id=task_row["server_id"],
        trigger=Trigger.SCHEDULE,
        scheduled_for=NOON - timedelta(minutes=number),
        due_at=NOON,
        generation=1,
        revision_id=1,
        path="tasks.yaml",
        line=1,
    )
    with world.db.write() as connection:
        insert_executions(connection, [replace(run, **more)], NOON)
    return number


def end_of(world: World, number: int) -> tuple[int, str | None]:
    row = world.one("SELECT status, reason FROM task_executions WHERE id = :id", id=number)
    return row["status"], row["reason"]


def test_the_next_slot_is_computed_in_the_tasks_zone_with_its_jitter(world: World) -> None:
    world.apply(
        tree(
            server("db-1"),
            task("berlin", schedule="30 2 * * *", timezone="Europe/Berlin"),
            task("utc", schedule="30 2 * * *"),
            task("jittery", schedule="30 2 * * *", jitter="10m"),
            task("by-hand"),
            task("every", schedule="@every 90s"),
        )
    )
    night = datetime(2026, 3, 2, tzinfo=UTC)
    assert next_of(world, "berlin") == (night + timedelta(hours=1, minutes=30),) * 2
    assert next_of(world, "utc") == (night + timedelta(hours=2, minutes=30),) * 2
    slot = night + timedelta(hours=2, minutes=30)
    assert next_of(world, "jittery") == (slot, slot + jitter_offset("jittery@db-1", 600))
    assert jitter_offset("jittery@db-1", 600) > timedelta(0)
    assert next_of(world, "by-hand") == (None, None)
    assert next_of(world, "every")[0] == NOON + timedelta(seconds=90)


def test_what_is_disabled_has_no_next_slot(world: World) -> None:
    often: dict[str, Any] = {"schedule": "@every 60s"}
    world.apply(
        tree(
            server("db-1"),
            server("off", enabled=False),
            task("disabled", enabled=False, **often),
            task("on-disabled", "off", **often),
            task("runs", **often),
        )
    )
    assert next_of(world, "disabled") == (None, None)
    assert next_of(world, "on-disabled", "off") == (None, None)
    assert next_of(world, "runs")[0] == NOON + timedelta(seconds=60)


EDITS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "schedule": ({"schedule": "@every 60s"}, {"schedule": "@every 120s"}),
    "timezone": ({"schedule": "* * * * *"}, {"schedule": "* * * * *", "timezone": "Asia/Tokyo"}),
    "dst": ({"schedule": "* * * * *"}, {"schedule": "* * * * *", "dst": "skip"}),
    "jitter": ({"schedule": "@every 60s"}, {"schedule": "@every 60s", "jitter": "5m"}),
    "no schedule": ({"schedule": "@every 60s"}, {}),
    "disabled": ({"schedule": "@every 60s"}, {"schedule": "@every 60s", "enabled": False}),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_closes_slots_that_had_passed_unclaimed_and_goes_on_from_now(
    small_world: World, edit: str
) -> None:
    world = small_world
    before, after = EDITS[edit]
    world.apply(tree(server("db-1"), task("job", **before)))
    old = world.task_row("job")
    world.clock.advance(200)
    world.apply(tree(server("db-1"), task("job", **after)))
    assert world.slots(old["id"]) == [(3, "superseded")] * 3
    rows = world.rows("SELECT * FROM task_executions ORDER BY scheduled_for")
    assert {(row["generation"], row["path"], row["line"]) for row in rows} == {(1, "tasks.yaml", 1)}
    assert {row["revision_id"] for row in rows} == {1}
    slot, _ = next_of(world, "job")
    if edit in ("disabled", "no schedule"):
        assert slot is None
    else:
        assert slot is not None
        assert slot > world.clock.now()
    world.clock.advance(1)
    count = len(rows)
    world.apply(tree(server("db-1"), task("job", **after), task("other")))
    assert len(world.rows("SELECT id FROM task_executions")) == count


def test_an_edit_of_something_else_leaves_a_due_slot_alone(small_world: World) -> None:
    world = small_world
    world.apply(tree(server("db-1"), task("job", schedule="@every 60s")))
    world.clock.advance(90)
    before = next_of(world, "job")
    world.apply(tree(server("db-1", port=99), task("job", schedule="@every 60s", timeout="2h")))
    assert next_of(world, "job") == before
    assert world.rows("SELECT id FROM task_executions") == []


def test_very_many_passed_slots_are_one_hundred_rows_that_count_them_all(small_world: World) -> None:
    world = small_world
    world.apply(tree(server("db-1"), task("job", schedule="@every 1s")))
    world.clock.advance(5000)
    world.apply(tree(server("db-1"), task("job", schedule="@every 2s")))
    rows = world.rows("SELECT count, scheduled_for FROM task_executions ORDER BY scheduled_for")
    assert len(rows) == 100
    assert sum(row["count"] for row in rows) == 5000
    assert [row["count"] for row in rows[1:]] == [1] * 99


def test_disabling_closes_waiting_runs_and_leaves_running_ones(world: World) -> None:
    often: dict[str, Any] = {"schedule": "@every 60s"}
    world.apply(tree(server("db-1"), task("job", **often), task("other", **often)))
    job, other = world.task_row("job"), world.task_row("other")
    plain, manual, retry = (
        waiting(world, 1, job),
        waiting(world, 2, job, trigger=Trigger.MANUAL, requested_by="eva"),
        waiting(world, 3, job, trigger=Trigger.RETRY, attempt=2),
    )
    taken, sent, running = waiting(world, 4, job), waiting(world, 5, job), waiting(world, 6, job)
    elsewhere = waiting(world, 7, other)
    soon = "2026-03-01 12:00:30.000000"
    world.sql(
        "UPDATE task_executions SET lease_owner = 'w', lease_until = :at WHERE id = :id", at=soon, id=taken
    )
    world.sql("UPDATE task_executions SET start_sent_at = :at WHERE id = :id", at=soon, id=sent)
    world.sql("UPDATE task_executions SET started_at = :at WHERE id = :id", at=soon, id=running)

    world.apply(tree(server("db-1"), task("job", enabled=False, **often), task("other", **often)))
    assert end_of(world, plain) == end_of(world, manual) == end_of(world, retry) == (3, "disabled")
    for number in (taken, sent, running, elsewhere):
        assert end_of(world, number) == (0, None)
    finished = world.one("SELECT finished_at FROM task_executions WHERE id = :id", id=plain)
    assert moment(finished["finished_at"]) == world.clock.now()

    # a manual run that is asked for afterwards ignores the switch, until the task goes altogether
    later = waiting(world, 8, job, trigger=Trigger.MANUAL, requested_by="eva")
    world.apply(
        tree(server("db-1"), task("job", enabled=False, timeout="2h", **often), task("other", **often))
    )
    assert end_of(world, later) == (0, None)
    world.apply(tree(server("db-1"), task("other", **often)))
    assert end_of(world, later) == (3, "disabled")
    for number in (taken, sent, running, elsewhere):
        assert end_of(world, number) == (0, None)


def test_a_disabled_server_stops_all_its_tasks_other_projects_too_and_lets_them_go_on_from_then(
    world: World,
) -> None:
    often: dict[str, Any] = {"schedule": "@every 60s"}
    world.apply(tree(server("db-1"), task("ours", **often), project="fleet"))
    world.apply(tree(task("theirs", "fleet/db-1", **often), project="billing"))
    ours, theirs = world.task_row("ours", project="fleet"), world.task_row("theirs")
    runs = [waiting(world, 1, ours), waiting(world, 2, theirs, trigger=Trigger.MANUAL)]
    world.clock.advance(130)
    world.apply(tree(server("db-1", enabled=False), task("ours", **often), project="fleet"))
    for row in (ours, theirs):
        assert (3, "superseded") in world.slots(row["id"])
    assert [end_of(world, number) for number in runs] == [(3, "disabled")] * 2
    assert next_of(world, "ours", project="fleet") == next_of(world, "theirs") == (None, None)
    # theirs was not changed, only kept from running
    assert world.task_row("theirs")["status"] == 1

    world.clock.advance(1000)
    count = len(world.rows("SELECT id FROM task_executions"))
    world.apply(tree(server("db-1"), task("ours", **often), project="fleet"))
    for name, project in (("ours", "fleet"), ("theirs", "billing")):
        slot, _ = next_of(world, name, project=project)
        assert slot is not None
        assert timedelta(0) < slot - world.clock.now() <= timedelta(seconds=60)
    assert len(world.rows("SELECT id FROM task_executions")) == count


def test_deleting_closes_what_passed_and_what_waits_and_a_restored_task_replays_nothing(world: World) -> None:
    whole = tree(server("db-1"), task("job", schedule="@every 60s"), task("stays"))
    world.apply(whole)
    row = world.task_row("job")
    number = waiting(world, 1, row, trigger=Trigger.MANUAL)
    world.clock.advance(130)
    world.apply(tree(server("db-1"), task("stays")))
    assert end_of(world, number) == (3, "disabled")
    assert sorted(world.slots(row["id"])) == [(3, "disabled"), (3, "superseded"), (3, "superseded")]
    world.clock.advance(86_400)
    world.apply(whole)
    assert len(world.slots(row["id"])) == 3
    slot, _ = next_of(world, "job")
    assert slot is not None
    assert slot > world.clock.now()


def test_a_server_rename_moves_h_and_jitter_and_leaves_fixed_times_alone(small_world: World) -> None:
    world = small_world
    kinds: dict[str, dict[str, Any]] = {
        "hashed": {"schedule": "H H * * *"},
        "jittery": {"schedule": "0 2 * * *", "jitter": "6h"},
        "fixed": {"schedule": "@every 60s"},
    }
    world.apply(tree(server("old", host="x"), *(task(name, "old", **spec) for name, spec in kinds.items())))
    before = {name: next_of(world, name, "old") for name in kinds}
    world.clock.advance(90)
    world.apply(
        tree(
            server("new", formerly="old", host="x"),
            *(task(name, "new", **spec) for name, spec in kinds.items()),
        )
    )
    after = {name: next_of(world, name, "new") for name in kinds}
    assert after["hashed"] != before["hashed"]
    assert after["jittery"][1] != before["jittery"][1]
    # one slot of it is due this very moment, and still will run
    assert after["fixed"] == before["fixed"]
    assert world.rows("SELECT id FROM task_executions") == []


def test_a_task_rename_moves_its_hash_as_well(small_world: World) -> None:
    world = small_world
    spec: dict[str, Any] = {"schedule": "H H * * *", "command": "true"}
    world.apply(tree(server("db-1"), task("old", **spec)))
    before = next_of(world, "old")
    world.apply(tree(server("db-1"), task("new", formerly="old", **spec)))
    assert next_of(world, "new") != before


def test_a_task_that_moves_to_a_disabled_server_stops(small_world: World) -> None:
    world = small_world
    often: dict[str, Any] = {"schedule": "@every 60s"}
    servers = server("db-1"), server("off", enabled=False)
    world.apply(tree(*servers, task("job", **often)))
    world.apply(tree(*servers, task("job", "off", formerly="job@db-1", **often)))
    assert next_of(world, "job", "off") == (None, None)
    world.apply(tree(*servers, task("job", "db-1", formerly="job@off", **often)))
    assert next_of(world, "job")[0] == NOON + timedelta(seconds=60)


def test_a_switch_flipped_by_hand_is_put_back_and_goes_on_from_now(small_world: World) -> None:
    world = small_world
    whole = tree(server("db-1"), task("job", schedule="@every 60s"))
    world.apply(whole)
    world.sql("UPDATE tasks SET status = 0")
    world.clock.advance(200)
    world.apply(whole)
    slot, _ = next_of(world, "job")
    assert slot is not None
    assert slot > world.clock.now()
    assert world.slots(world.task_row("job")["id"]) == [(3, "superseded")] * 3


def test_a_schedule_changed_by_hand_and_then_declared_gets_its_slot(small_world: World) -> None:
    world = small_world
    world.apply(tree(server("db-1"), task("job", schedule="0 2 * * *")))
    world.sql("UPDATE tasks SET cron_expr = '@every 60s'")
    world.apply(tree(server("db-1"), task("job", schedule="@every 60s")))
    assert next_of(world, "job")[0] == NOON + timedelta(seconds=60)


AFTER = {"after": ["extract"]}
ANEW: dict[str, tuple[dict[str, Any], dict[str, Any], bool]] = {
    "it is named": ({}, AFTER, True),
    "another is named": ({"after": ["load"]}, {"after": ["extract", "load"]}, True),
    "the task is enabled": ({**AFTER, "enabled": False}, AFTER, True),
    "another field changes": (AFTER, {**AFTER, "timeout": "5m"}, False),
    "the schedule changes": (AFTER, {**AFTER, "schedule": "@every 60s"}, False),
    "it stays disabled": ({**AFTER, "enabled": False}, {**AFTER, "enabled": False, "timeout": "5m"}, False),
}


@pytest.mark.parametrize("what", ANEW)
def test_after_holds_from_when_it_was_applied_and_not_from_the_rows_last_change(
    small_world: World, what: str
) -> None:
    world = small_world
    before, then, anew = ANEW[what]
    others = server("db-1"), task("extract"), task("load")
    world.apply(tree(*others, task("report", **before)))
    assert moment(world.task_row("report")["after_since"]) == NOON
    world.clock.advance(200)
    world.apply(tree(*others, task("report", **then)))
    row = world.task_row("report")
    assert moment(row["updated_at"]) == NOON + timedelta(seconds=200)
    assert moment(row["after_since"]) == NOON + timedelta(seconds=200 if anew else 0)


def test_after_holds_anew_when_a_task_comes_back_or_its_server_is_enabled(world: World) -> None:
    tasks = task("extract"), task("report", **AFTER)
    everything = tree(server("db-1"), *tasks)
    world.apply(everything)
    absent, closed = tree(server("db-1"), task("extract")), tree(server("db-1", enabled=False), *tasks)
    for number, without in enumerate((absent, closed), 1):
        world.clock.advance(100)
        world.apply(without)
        world.clock.advance(100)
        world.apply(everything)
        since = moment(world.task_row("report")["after_since"])
        assert since == NOON + timedelta(seconds=200 * number)


def test_an_after_that_a_hand_took_away_holds_from_when_it_is_put_back(world: World) -> None:
    everything = tree(server("db-1"), task("extract"), task("report", **AFTER))
    world.apply(everything)
    world.sql("UPDATE tasks SET spec = :spec WHERE name = 'report'", spec='{"spec":{}}')
    world.clock.advance(100)
    world.apply(everything)
    assert moment(world.task_row("report")["after_since"]) == NOON + timedelta(seconds=100)
