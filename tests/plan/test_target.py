"""``--target``: what was asked for, and what that cannot do without."""

from __future__ import annotations

import pytest

from reconciler.errors import NotFound, UsageError
from reconciler.model.enums import Kind
from reconciler.plan.changes import Plan
from reconciler.plan.target import Target
from tests.plan.world import World, applied, server, steps, task, tree


def targeted(world: World, desired: object, *targets: str) -> Plan:
    return world.plan(desired, targets=[Target.parse(one) for one in targets])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("Server/db-1", Target(Kind.SERVER, "db-1")),
        ("task/备份", Target(Kind.TASK, "备份")),
        ("TASK/a@db-1", Target(Kind.TASK, "a", "db-1")),
        ("Project/shop", Target(Kind.PROJECT, "shop")),
    ],
)
def test_a_target_is_a_kind_and_a_name(text: str, target: Target) -> None:
    assert Target.parse(text) == target


@pytest.mark.parametrize("text", ["db-1", "Host/x", "Task/", "Task/a/b", "Server/a@b", "Task/a@", "/x", ""])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        Target.parse(text)
    assert "Task/NAME" in str(caught.value.hint)


def test_only_what_was_asked_for_remains_and_the_rest_is_counted() -> None:
    world = applied(server("db-1"), task("a"), task("b"), task("gone"))
    world.by_hand(world.task_row("b", "db-1"), timeout="9m")
    plan = targeted(world, tree(server("db-1", port=2), task("a", timeout="2h"), task("b")), "Task/a")
    assert steps(plan) == ["update Task a@db-1"]
    assert (plan.left_out, plan.drift, plan.targets) == (3, (), ("Task/a",))


def test_a_task_names_all_its_rows_and_with_a_server_one() -> None:
    world = applied(server("db-1"), server("db-2"))
    desired = tree(server("db-1"), server("db-2"), task("a"), task("a", "db-2"))
    assert len(targeted(world, desired, "Task/a").changes) == 2
    assert steps(targeted(world, desired, "Task/a@db-2")) == ["create Task a@db-2"]


def test_drift_is_a_target_too() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    for name in "ab":
        world.by_hand(world.task_row(name, "db-1"), timeout="9m")
    plan = targeted(world, tree(server("db-1"), task("a"), task("b")), "Task/b")
    assert [one.name for one in plan.drift] == ["b"]


def test_a_new_task_brings_its_new_server_that_ones_jump_host_and_the_tasks_it_follows() -> None:
    desired = tree(
        server("gate"), server("db-1", jump="gate"), server("other"),
        task("first"), task("second", after=["first"]), task("third"),
    )  # fmt: skip
    plan = targeted(World(), desired, "Task/second")
    assert steps(plan) == [
        "create Server db-1", "create Server gate", "create Task first@db-1", "create Task second@db-1",
    ]  # fmt: skip
    assert plan.changes[0].reason == "needed by Task second@db-1"
    assert plan.changes[1].reason == "needed by Server db-1"
    assert plan.changes[3].reason is None
    assert plan.left_out == 2


def test_deleting_a_server_takes_its_tasks_along_and_those_that_move_away() -> None:
    world = applied(server("db-1"), server("db-2"), task("a"), task("b"), task("c", "db-2"))
    desired = tree(server("db-2"), task("b", "db-2", formerly="b@db-1"))
    plan = targeted(world, desired, "Server/db-1")
    assert steps(plan) == ["rename Task b@db-2", "delete Task a@db-1", "delete Server db-1"]
    world.apply(desired, plan)
    assert world.task_row("c", "db-2").live


def test_a_rename_is_found_by_either_name_and_brings_the_chain_before_it() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    desired = tree(server("db-1"), task("b", formerly="a"), task("c", formerly="b"))
    expected = ["rename Task b@db-1", "rename Task c@db-1"]
    assert steps(targeted(world, desired, "Task/b")) == expected
    assert steps(targeted(world, desired, "Task/a")) == expected
    assert steps(targeted(world, desired, "Task/c")) == ["rename Task c@db-1"]


def test_a_deletion_brings_the_updates_of_those_that_ran_after_it() -> None:
    world = applied(server("db-1"), task("first"), task("second", after=["first"]))
    plan = targeted(world, tree(server("db-1"), task("second")), "Task/first")
    assert steps(plan) == ["update Task second@db-1", "delete Task first@db-1"]


def test_a_rename_of_the_project_always_comes_along_its_settings_only_when_named() -> None:
    world = applied(server("db-1"), task("a"))
    changed = tree(server("db-1"), task("a", timeout="2h"), spec={"prune": False})
    assert steps(targeted(world, changed, "Task/a")) == ["update Task a@db-1"]
    assert steps(targeted(world, changed, "Project/shop")) == ["update Project shop"]
    renamed = tree(server("db-1"), task("a", timeout="2h"), project="store", formerly="shop")
    assert steps(targeted(world, renamed, "Task/a")) == ["rename Project store", "update Task a@db-1"]


def test_only_targeted_deletions_are_guarded() -> None:
    world = applied(server("db-1"), *[task(f"t{number}") for number in range(12)])
    assert world.plan(tree(server("db-1"))).guard.tripped
    assert not targeted(world, tree(server("db-1")), "Task/t3").guard.tripped


@pytest.mark.parametrize(
    ("target", "hint"),
    [("Task/backpu", "did you mean 'backup'?"), ("Server/zzz", "Task/NAME"), ("Task/backup@db-2", "db-1")],
)
def test_an_unknown_target_is_told_with_what_is_near(target: str, hint: str) -> None:
    world = applied(server("db-1"), server("db-2"), task("backup"))
    with pytest.raises(NotFound) as caught:
        targeted(world, tree(server("db-1"), server("db-2"), task("backup")), target)
    assert hint in str(caught.value.hint)
