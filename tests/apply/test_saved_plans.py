"""A plan that was printed and saved is applied as it is, or refused with who moved what."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.apply.look import survey
from reconciler.apply.preview import preview
from reconciler.errors import EXIT_STALE, GuardTripped, NotFound, PlanStale
from reconciler.model.state import DesiredState
from reconciler.plan.planfile import SavedPlan, load_plan, save_plan
from reconciler.plan.target import Target
from tests.apply.states import NOON, World, commit, server, task, told, tree

START = tree(server("db-1"), server("db-2"), task("a"), task("b"), task("c", "db-2"), commit=commit("1" * 40))
WANTED = tree(
    server("db-1", port=2222),
    server("db-2"),
    task("a", timeout="2h"),
    task("b"),
    task("new", "db-2", schedule="@every 60s"),
    commit=commit("2" * 40),
)


def saved(world: World, desired: DesiredState, targets: tuple[Target, ...] = ()) -> SavedPlan:
    """Through the text of a file."""
    seen = survey(world.db, desired, NOON, targets)
    return load_plan(json.loads(json.dumps(save_plan(seen.plan, seen.observed, NOON))))


def test_a_saved_plan_does_what_the_tree_would(world: World) -> None:
    world.apply(START)
    plan = saved(world, WANTED)
    applied = world.apply(plan)
    assert applied.revision is not None
    assert applied.plan.digest == plan.plan.digest
    assert told(applied.plan) == [
        ("update", "db-1"), ("update", "a@db-1"), ("create", "new@db-2"), ("delete", "c@db-2"),
    ]  # fmt: skip
    assert world.plan(WANTED).empty
    row = world.one("SELECT `commit`, author FROM revisions WHERE id = :id", id=applied.revision.id)
    assert row == {"commit": "2" * 40, "author": "Ada <ada@example.net>"}
    assert world.one("SELECT `commit` FROM projects")["commit"] == "2" * 40
    assert world.apply(WANTED).revision is None


def test_a_first_plan_of_a_new_project_can_be_saved_too(small_world: World) -> None:
    plan = saved(small_world, START)
    assert small_world.apply(plan).revision is not None
    assert small_world.plan(START).empty


UNRELATED = {
    "another task": tree(*START.servers.values(), task("a"), task("b", timeout="9h"), task("c", "db-2")),
    "one more task": tree(*START.servers.values(), task("a"), task("b"), task("c", "db-2"), task("d")),
    "another server's field": tree(
        server("db-1"), server("db-2", port=99), task("a"), task("b"), task("c", "db-2")
    ),
}


@pytest.mark.parametrize("case", UNRELATED)
def test_what_the_plan_does_not_touch_may_change_meanwhile(small_world: World, case: str) -> None:
    world = small_world
    world.apply(START)
    plan = saved(world, WANTED)
    world.apply(UNRELATED[case])
    applied = world.apply(plan)
    assert applied.revision is not None
    assert applied.plan.digest == plan.plan.digest
    assert world.task_row("a")["spec"] != world.task_row("b")["spec"]
    assert world.server_row("db-1")["port"] == 2222


def test_what_it_touches_may_not_and_who_moved_it_is_told(world: World) -> None:
    world.apply(START)
    plan = saved(world, WANTED)
    moved = tree(
        *START.servers.values(),
        task("a", timeout="5h"),
        task("b"),
        task("c", "db-2"),
        commit=commit("3" * 40),
    )
    mover = world.apply(moved).revision
    assert mover is not None
    before = world.dump(but=["leases"])
    with pytest.raises(PlanStale) as error:
        world.apply(plan)
    assert error.value.exit_code == EXIT_STALE == 4
    (stale,) = error.value.details["stale"]
    assert (stale["kind"], stale["name"], stale["server"]) == ("Task", "a", "db-1")
    assert stale["fields"] == ["spec.timeout"]
    who = (stale["revision"], stale["commit"], stale["author"])
    assert who == (mover.id, "3" * 40, "Ada <ada@example.net>")
    assert stale["appliedAt"].endswith("Z")
    assert stale["now"]["fields"] == {"spec.timeout": {"before": "5h", "after": "2h"}}
    for word in ("a@db-1", "spec.timeout", "Ada", "3" * 12):
        assert word in error.value.message
    assert world.dump(but=["leases"]) == before


def test_a_hand_that_moved_it_is_told_as_well(small_world: World) -> None:
    world = small_world
    world.apply(START)
    plan = saved(world, WANTED)
    world.sql("UPDATE tasks SET command = 'by hand' WHERE name = 'a'")
    with pytest.raises(PlanStale, match="by hand"):
        world.apply(plan)


def test_a_plan_that_was_applied_already_is_stale_and_not_done_twice(small_world: World) -> None:
    world = small_world
    world.apply(START)
    plan = saved(world, WANTED)
    assert world.apply(plan).revision is not None
    before = world.dump(but=["leases"])
    with pytest.raises(PlanStale):
        world.apply(plan)
    assert world.dump(but=["leases"]) == before


def test_the_guard_of_a_saved_plan_is_judged_on_the_rows_as_they_are(small_world: World) -> None:
    world = small_world
    world.apply(START)
    empty = tree(settings={})
    plan = saved(world, empty)
    with pytest.raises(GuardTripped):
        world.apply(plan)
    applied = world.apply(plan, allow_deletions=plan.plan.digest[:12])
    assert applied.summary["delete"] == 5
    assert applied.revision is not None
    row = world.one("SELECT released FROM revisions WHERE id = :id", id=applied.revision.id)
    assert row["released"] == plan.plan.digest


def test_a_renamed_project_can_be_saved_and_applied(small_world: World) -> None:
    world = small_world
    world.apply(START)
    renamed = tree(*START.servers.values(), *START.tasks.values(), project="invoices", formerly="billing")
    assert world.apply(saved(world, renamed)).revision is not None
    assert world.one("SELECT name FROM projects") == {"name": "invoices"}


def test_targets_apply_a_part_and_leave_the_applied_commit_where_it_is(world: World) -> None:
    world.apply(START)
    wanted: Any = {"targets": (Target.parse("Task/a"),)}
    applied = world.apply(WANTED, **wanted)
    assert told(applied.plan) == [("update", "a@db-1")]
    assert applied.plan.left_out == 3
    assert world.one("SELECT `commit` FROM projects")["commit"] == "1" * 40
    assert world.apply(WANTED, **wanted).revision is None
    rest = world.apply(WANTED)
    assert rest.summary["update"] == rest.summary["create"] == rest.summary["delete"] == 1
    assert world.one("SELECT `commit` FROM projects")["commit"] == "2" * 40
    with pytest.raises(NotFound):
        world.apply(WANTED, targets=(Target.parse("Task/nobody"),))


def test_targets_of_a_new_project_bring_what_they_need(small_world: World) -> None:
    world = small_world
    applied = world.apply(START, targets=(Target.parse("Task/c"),))
    assert told(applied.plan) == [("create", "db-2"), ("create", "c@db-2")]
    assert world.one("SELECT `commit` FROM projects")["commit"] is None
    assert world.settle(START).summary["create"] == 3


def test_targets_leave_project_settings_alone_unless_asked_for(small_world: World) -> None:
    world = small_world
    world.apply(START)
    wide = tree(*START.servers.values(), task("a", timeout="2h"), settings={"guard": {"maxDeletions": 99}})
    world.apply(wide, targets=(Target.parse("Task/a"),))
    assert world.one("SELECT spec FROM projects")["spec"] == "{}"
    world.apply(wide, targets=(Target.parse("Project/billing"),))
    assert "99" in world.one("SELECT spec FROM projects")["spec"]
    assert world.task_row("b")["deleted_at"] is None


def test_a_survey_measures_what_the_ledger_knows(world: World) -> None:
    world.apply(START)
    row = world.task_row("a")
    columns = (
        "(id, task_id, server_id, status, `trigger`, attempt, scheduled_for, due_at, started_at,"
        " finished_at, generation, path, line, output_bytes, error_bytes, truncated, `count`, created_at)"
    )
    for number, (status, seconds) in enumerate([(1, 10), (1, 20), (2, 500), (0, None)]):
        start = f"2026-02-0{number + 1} 00:00:00.000000"
        end = (
            None
            if seconds is None
            else f"2026-02-0{number + 1} 00:{seconds // 60:02}:{seconds % 60:02}.000000"
        )
        world.sql(
            f"INSERT INTO task_executions {columns} VALUES (:id, :task, :server, :status, 'schedule', 1, "
            "\\:start, \\:start, \\:start, \\:end, 1, '', 0, 0, 0, 0, 1, \\:start)".replace("\\:", ":"),
            id=number + 1, task=row["id"], server=row["server_id"], status=status, start=start, end=end,
        )  # fmt: skip
    wanted = tree(*START.servers.values(), task("a", schedule="@every 5s"), task("b"), task("c", "db-2"))
    (change,) = survey(world.db, wanted, NOON).plan.changes
    assert change.effect is not None
    assert change.effect.running == (4,)
    assert change.effect.after.runs_per_day == 86_400 / 5
    # 15 s on average, every 5 s
    assert change.effect.overlap_per_day is not None
    assert change.effect.overlap_per_day > 10_000


def test_the_busiest_minute_counts_what_other_projects_run_on_the_server(world: World) -> None:
    daily: dict[str, Any] = {"schedule": "0 3 * * *"}
    world.apply(tree(server("db-1"), server("db-2"), task("a", **daily), project="fleet"))
    others = [
        task("b", "fleet/db-1", **daily),
        task("off", "fleet/db-1", enabled=False, **daily),
        task("gone", "fleet/db-1", **daily),
        task("elsewhere", "fleet/db-2", **daily),
    ]
    world.apply(tree(*others, project="billing"))
    world.apply(tree(*(one for one in others if one.name != "gone"), project="billing"))
    (change,) = survey(world.db, tree(task("c", "fleet/db-1", **daily), project="ops"), NOON).plan.changes
    assert change.effect is not None
    assert change.effect.busiest_minute == (datetime(2026, 3, 2, 3, tzinfo=UTC), 3)
    # the same server, renamed by its owner meanwhile
    renamed = tree(
        server("db-9", formerly="db-1"), server("db-2"), task("a", "db-9", **daily), project="fleet"
    )
    (change,) = survey(world.db, renamed, NOON).plan.changes
    assert change.effect is not None
    assert change.effect.busiest_minute == (datetime(2026, 3, 2, 3, tzinfo=UTC), 2)


def test_a_preview_changes_nothing(small_world: World) -> None:
    world = small_world
    world.apply(START)
    before = world.dump()
    plan = saved(world, WANTED)
    assert preview(world.db, world.request(plan)).digest == plan.plan.digest
    assert world.dump() == before
