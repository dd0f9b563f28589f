"""When a saved plan may still go, and what it says when it may not."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.model.revision import RevisionNote
from reconciler.model.state import DesiredState
from reconciler.plan.planfile import SavedPlan, load_plan, save_plan
from reconciler.plan.stale import check_stale, refresh, stale_error, stale_revisions
from tests.plan.world import World, applied, server, task, tree

BASE = [server("db-1"), server("db-2"), task("a"), task("b"), task("c", "db-2")]


def saved(world: World, desired: DesiredState) -> SavedPlan:
    return load_plan(json.loads(json.dumps(save_plan(world.plan(desired), world.observed()))))


def says(world: World, plan: SavedPlan) -> list[str]:
    return [f"{one.title} {one.what} {list(one.fields)}" for one in check_stale(plan, world.observed())]


def test_nothing_moved_it_goes() -> None:
    world = applied(*BASE)
    assert says(world, saved(world, tree(*BASE, task("new")))) == []


def test_an_unrelated_change_of_the_same_project_does_not_matter() -> None:
    world = applied(*BASE)
    mine = tree(server("db-1"), server("db-2"), task("a", timeout="2h"), task("b"), task("c", "db-2"))
    plan = saved(world, mine)
    world.apply(tree(*BASE[:3], task("b", timeout="9m"), task("extra")))
    assert says(world, plan) == []
    world.apply(mine, refresh(plan, world.observed()))
    assert json.loads(json.dumps(world.task_row("a", "db-1").definition.document["spec"]["timeout"])) == "2h"
    assert world.task_row("b", "db-1").definition.document["spec"]["timeout"] == "9m"


def test_moved_lines_and_another_projects_changes_do_not_matter() -> None:
    world = applied(*BASE)
    plan = saved(world, tree(*BASE[:2], task("a", timeout="2h"), *BASE[3:]))
    world.edit(world.task_row("a", "db-1"), revision_id=99, next_run=datetime(2030, 1, 1, tzinfo=UTC))
    world.apply(tree(server("theirs"), task("x", "shop/db-1"), project="billing"))
    assert says(world, plan) == []


def test_a_server_it_refers_to_may_change_but_not_go() -> None:
    world = applied(*BASE, server("gate"))
    plan = saved(world, tree(*BASE, server("gate"), task("new", "db-2"), server("inner", jump="gate")))
    world.apply(tree(server("db-1"), server("db-2", port=99), *BASE[2:], server("gate", host="b")))
    assert says(world, plan) == []
    world.apply(tree(server("db-1"), server("db-9", formerly="db-2"), *BASE[2:4], task("c", "db-9")))
    assert says(world, plan) == [
        "Server gate was deleted since the plan was made, and Server inner needs it []",
        "Server db-2 is called 'db-9' now, and Task new needs it ['metadata.name']",
    ]


def test_the_same_change_on_a_row_that_moved_and_came_back_goes() -> None:
    world = applied(*BASE)
    mine = tree(*BASE[:2], task("a", timeout="2h"), *BASE[3:])
    plan = saved(world, mine)
    world.apply(tree(*BASE[:2], task("a", timeout="9m"), *BASE[3:]))
    assert says(world, plan) == ["Task a@db-1 was changed since the plan was made ['spec.timeout']"]
    world.apply(tree(*BASE))
    assert world.task_row("a", "db-1").generation == 3
    assert says(world, plan) == []
    world.apply(mine, refresh(plan, world.observed()))
    assert world.task_row("a", "db-1").generation == 4


Step = Callable[[World], Any]


def apply(*objects: Any) -> Step:
    return lambda world: world.apply(tree(*objects))


@pytest.mark.parametrize(
    ("mine", "meanwhile", "expected"),
    [
        pytest.param(
            [*BASE[:2], task("a", timeout="2h"), *BASE[3:]],
            apply(*BASE[:2], task("a", timeout="2h"), *BASE[3:]),
            "Task a@db-1 already is as the plan wants it ['spec.timeout']",
            id="the change is already made",
        ),
        pytest.param(
            [*BASE[:2], task("a", timeout="2h"), *BASE[3:]],
            apply(*BASE[:2], task("a", env={"A": "1"}), *BASE[3:]),
            "Task a@db-1 was changed since the plan was made ['spec.env.A']",
            id="another field would be taken back, too",
        ),
        pytest.param(
            [*BASE[:2], task("a", timeout="2h"), *BASE[3:]],
            apply(*BASE[:2], *BASE[3:]),
            "Task a@db-1 was deleted since the plan was made []",
            id="deleted under an update",
        ),
        pytest.param(
            [*BASE[:2], *BASE[3:]],
            apply(*BASE[:2], task("a", env={"A": "1"}), *BASE[3:]),
            "Task a@db-1 was changed since the plan was made ['spec.env.A']",
            id="changed under a deletion",
        ),
        pytest.param(
            [*BASE[:2], *BASE[3:]],
            apply(*BASE[:2], *BASE[3:]),
            "Task a@db-1 is already deleted []",
            id="deleted before",
        ),
        pytest.param(
            [*BASE, task("new")],
            apply(*BASE, task("new")),
            "Task new@db-1 was made in the meantime, just as the plan wants it []",
            id="created before",
        ),
        pytest.param(
            [*BASE, task("new")],
            apply(*BASE, task("new", timeout="2h")),
            "Task new@db-1 was made in the meantime ['spec.timeout']",
            id="created before, otherwise",
        ),
        pytest.param(
            [*BASE, server("new")],
            lambda world: world.apply(tree(server("new"), project="billing")),
            "Server new was made in the meantime in project 'billing' []",
            id="created before by another project",
        ),
        pytest.param(
            [*BASE[:2], task("z", formerly="a"), *BASE[3:]],
            apply(*BASE, task("z")),
            "Task z@db-1 was made in the meantime []",
            id="the new name is taken",
        ),
        pytest.param(
            [*BASE[:2], task("z", formerly="a", command="run a"), *BASE[3:]],
            apply(*BASE[:2], task("y", formerly="a", command="run a"), *BASE[3:]),
            "Task z@db-1 was changed since the plan was made ['metadata.name']",
            id="renamed to something else",
        ),
        pytest.param(
            [server("db-1"), *BASE[2:4]],
            apply(*BASE, task("late", "db-2")),
            "Server db-2 is needed by task late@db-2 now []",
            id="a new task on a server that is to go",
        ),
        pytest.param(
            [server("db-1"), *BASE[2:4]],
            lambda world: world.apply(tree(task("t", "shop/db-2"), project="billing")),
            "Server db-2 is needed by task billing/t@db-2 now []",
            id="another project's task on it",
        ),
        pytest.param(
            [*BASE[:2], task("a", timeout="2h"), *BASE[3:]],
            lambda world: world.by_hand(world.task_row("a", "db-1"), env={"H": "1"}),
            "Task a@db-1 was changed by hand since the plan was made ['spec.env.H']",
            id="by hand",
        ),
        pytest.param(
            [server("db-1"), *BASE[2:4]],
            lambda world: world.apply(tree(*BASE[:4], task("c", "db-2", protected=True))),
            "Task c@db-2 was changed since the plan was made ['metadata.protected']",
            id="protected under a deletion",
        ),
    ],
)  # fmt: skip
def test_what_moved_makes_it_stale(mine: list[Any], meanwhile: Step, expected: str) -> None:
    world = applied(*BASE)
    plan = saved(world, tree(*mine))
    meanwhile(world)
    assert says(world, plan) == [expected]


def test_tasks_that_were_made_together_with_their_server_are_told_too() -> None:
    world = applied(*BASE)
    plan = saved(world, tree(*BASE, server("new"), task("n", "new")))
    world.apply(tree(*BASE, server("new"), task("n", "new", timeout="2h")))
    assert says(world, plan) == [
        "Server new was made in the meantime, just as the plan wants it []",
        "Task n@new was made in the meantime ['spec.timeout']",
    ]
    (_, made) = check_stale(plan, world.observed())
    assert made.now is not None
    assert made.now.fields["spec.timeout"].after == "1h"


def test_drift_that_was_put_back_or_moved_on_is_stale() -> None:
    world = applied(*BASE)
    world.by_hand(world.task_row("a", "db-1"), timeout="5m")
    plan = saved(world, tree(*BASE))
    assert says(world, plan) == []
    world.by_hand(world.task_row("a", "db-1"), timeout="6m")
    assert says(world, plan) == ["Task a@db-1 was changed by hand since the plan was made ['spec.timeout']"]
    world.apply(tree(*BASE))
    assert says(world, plan) == ["Task a@db-1 already is as the plan wants it ['spec.timeout']"]


def test_settings_of_the_project_matter_only_to_a_plan_that_writes_them() -> None:
    world = applied(*BASE)
    quiet = saved(world, tree(*BASE, task("new")))
    loud = saved(world, tree(*BASE, spec={"prune": False}))
    world.apply(tree(*BASE, spec={"selfHeal": False}))
    assert says(world, quiet) == []
    assert says(world, loud) == ["Project shop got other settings ['spec.selfHeal']"]


def test_a_project_that_was_renamed_is_another() -> None:
    world = applied(*BASE)
    plan = saved(world, tree(*BASE, task("new")))
    world.apply(tree(*BASE, project="store", formerly="shop"))
    assert says(world, plan)[0] == "Project shop is gone or has another name now []"


def test_a_first_plan_may_go_beside_another_first_plan() -> None:
    world = World()
    plan = saved(world, tree(server("db-1")))
    world.apply(tree(server("db-2")))
    assert says(world, plan) == []
    world.apply(tree(server("db-1")), refresh(plan, world.observed()))
    assert world.by_name("db-1").live
    assert world.by_name("db-2").live


def test_renames_chains_and_swaps_go_from_a_file() -> None:
    world = applied(server("x"), server("y"), task("a", "x"), task("b", "x"), task("c", "y"))
    desired = tree(
        server("y", formerly="x"), server("x", formerly="y"),
        task("b", "y", formerly="a"), task("a", "y", formerly="b"), task("c", "x"), task("new", "y"),
    )  # fmt: skip
    plan = saved(world, desired)
    assert says(world, plan) == []
    world.apply(desired, refresh(plan, world.observed()))
    assert world.plan(desired).empty


def test_the_guard_is_judged_on_the_present_rows() -> None:
    world = applied(server("db-1"), *[task(f"t{number:02}") for number in range(30)])
    plan = saved(world, tree(server("db-1"), *[task(f"t{number:02}") for number in range(24)]))
    assert not plan.plan.guard.tripped
    world.apply(tree(server("db-1"), *[task(f"t{n:02}") for n in (*range(14), *range(24, 30))]))
    now = refresh(plan, world.observed())
    assert now.guard.live == 21
    assert now.guard.tripped, "6 of 21 rows are more than they were of 31"
    assert now.digest == plan.plan.digest


def test_the_refusal_tells_who_when_which_commit_which_field_and_what_a_new_plan_would_do() -> None:
    world = applied(*BASE)
    plan = saved(world, tree(*BASE[:2], task("a", timeout="2h"), *BASE[3:]))
    world.apply(tree(*BASE[:2], task("a", env={"A": "1"}), *BASE[3:]))
    stale = check_stale(plan, world.observed())
    assert stale_revisions(stale) == (2,)
    note = RevisionNote(
        2, "ci@runner", datetime(2026, 3, 1, 9, 30, tzinfo=UTC), "f" * 40, "Grace <g@example.net>"
    )
    error = stale_error(stale, {2: note})
    assert error.exit_code == 4
    assert error.message == (
        "the saved plan is stale: Task a@db-1 was changed since the plan was made (spec.env.A),"
        " by Grace <g@example.net> on 2026-03-01 09:30 UTC (revision 2, commit ffffffffffff)\n"
        "    a new plan:\n"
        "      timeout  1h → 2h\n"
        "      env.A  1 → (none)"
    )
    (shape,) = error.details["stale"]
    assert (shape["author"], shape["appliedBy"], shape["commit"]) == (
        "Grace <g@example.net>",
        "ci@runner",
        "f" * 40,
    )
    assert shape["appliedAt"] == "2026-03-01T09:30:00.000000Z"
    assert shape["now"]["fields"] == {
        "spec.timeout": {"before": "1h", "after": "2h"}, "spec.env.A": {"before": "1", "after": None},
    }  # fmt: skip


def test_many_stale_objects_are_told_together() -> None:
    world = applied(*BASE)
    plan = saved(world, tree(*BASE[:2], task("a", timeout="2h"), task("b", timeout="2h"), BASE[4]))
    world.apply(tree(*BASE[:2], BASE[4]))
    error = stale_error(check_stale(plan, world.observed()), {})
    assert error.message.startswith("the saved plan is stale for 2 objects:\n  Task a@db-1 was deleted")
    assert "by revision 2" in error.message
