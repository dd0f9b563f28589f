"""Which row is which declared object, and whose it is."""

from __future__ import annotations

import pytest

from reconciler.errors import GuardTripped
from reconciler.plan.changes import Action
from reconciler.plan.json import plan_shape
from reconciler.plan.markdown import plan_markdown
from reconciler.plan.text import plan_text
from tests.plan.world import World, applied, problems_of, server, steps, task, tree


def test_a_first_plan_creates_servers_before_tasks_in_the_order_of_their_names() -> None:
    plan = World().plan(tree(task("b", "web-1"), task("a", "web-1"), server("web-1"), server("db-1")))
    assert steps(plan) == [
        "create Server db-1",
        "create Server web-1",
        "create Task a@web-1",
        "create Task b@web-1",
    ]
    assert plan.summary() == {
        "create": 4, "update": 0, "rename": 0, "delete": 0, "restore": 0, "unchanged": 0,
    }  # fmt: skip


def test_a_second_plan_of_the_same_tree_is_empty() -> None:
    desired = tree(server("db-1"), task("a"), task("b"))
    world = applied(server("db-1"), task("a"), task("b"))
    plan = world.plan(desired)
    assert plan.empty
    assert plan.unchanged == 3


def test_moved_lines_alone_are_no_change() -> None:
    world = applied(server("db-1"), task("a", line=1))
    assert world.plan(tree(server("db-1"), task("a", line=99, path="elsewhere.yaml"))).empty


def test_an_update_names_its_fields_and_lets_the_generation_grow() -> None:
    world = applied(server("db-1"), task("a"))
    plan = world.plan(tree(server("db-1"), task("a", timeout="2h")))
    (change,) = plan.changes
    assert change.action is Action.UPDATE
    assert {name: (one.before, one.after) for name, one in change.fields.items()} == {
        "spec.timeout": ("1h", "2h")
    }
    assert change.git_changed


def test_what_leaves_the_tree_is_deleted_tasks_before_servers() -> None:
    world = applied(server("db-1"), server("db-2"), task("a"), task("b", "db-2"))
    plan = world.plan(tree(server("db-1"), task("a")))
    assert steps(plan) == ["delete Task b@db-2", "delete Server db-2"]
    assert all(change.reason for change in plan.changes)


def test_without_prune_nothing_is_deleted() -> None:
    world = applied(server("db-1"), task("a"), task("b"), spec={"prune": False})
    plan = world.plan(tree(server("db-1"), task("a"), spec={"prune": False}))
    assert plan.empty
    assert plan.unchanged == 3


def test_a_deleted_task_that_is_declared_again_keeps_its_row() -> None:
    world = applied(server("db-1"), task("a"))
    before = world.task_row("a", "db-1")
    world.apply(tree(server("db-1")))
    plan = world.apply(tree(server("db-1"), task("a", timeout="2h")))
    assert steps(plan) == ["restore Task a@db-1"]
    assert "deleted on 2026-03-01" in str(plan.changes[0].reason)
    assert world.task_row("a", "db-1").id == before.id


def test_a_server_of_another_project_is_refused_with_both_places() -> None:
    world = applied(server("db-1", path="theirs.yaml", line=7), project="billing")
    (problem,) = problems_of(lambda: world.plan(tree(server("db-1", path="ours.yaml", line=3))))
    assert (problem["path"], problem["line"], problem["code"]) == ("ours.yaml", 3, "owned-by-other-project")
    assert "billing" in problem["message"]
    assert "theirs.yaml:7" in problem["message"]
    assert "billing/db-1" in problem["hint"]


def test_a_deleted_server_belongs_to_whoever_declares_it_next() -> None:
    world = applied(server("db-1"), server("x"), project="billing")
    world.apply(tree(server("x"), project="billing"))
    row = world.by_name("db-1")
    plan = world.apply(tree(server("db-1")))
    assert steps(plan) == ["restore Server db-1"]
    assert (world.by_name("db-1").id, world.by_name("db-1").project) == (row.id, "shop")


def test_a_live_server_of_nobody_is_taken_over_by_a_change_that_says_so() -> None:
    world = applied(server("db-1"))
    world.edit(world.by_name("db-1"), project=None)
    plan = world.apply(tree(server("db-1")))
    assert steps(plan) == ["update Server db-1"]
    assert "belonged to no project" in str(plan.changes[0].reason)
    assert world.plan(tree(server("db-1"))).empty


def test_an_own_server_is_not_renamed_onto_a_live_server_of_another_project() -> None:
    world = applied(server("taken", path="theirs.yaml"), project="billing")
    world.apply(tree(server("db-1")))
    (problem,) = problems_of(lambda: world.plan(tree(server("taken", formerly="db-1"))))
    assert problem["code"] == "owned-by-other-project"
    assert "theirs.yaml:1" in problem["message"]


def test_formerly_does_not_take_a_server_away_from_another_project() -> None:
    world = applied(server("db-1"), project="billing")
    (problem,) = problems_of(lambda: world.plan(tree(server("mine", formerly="db-1"))))
    assert (problem["code"], problem["field"]) == ("owned-by-other-project", "metadata.formerly")


def test_a_server_that_tasks_of_another_project_need_is_not_deleted() -> None:
    world = applied(server("db-1"), server("db-2"))
    world.apply(tree(task("theirs", "shop/db-1"), project="billing"))
    (problem,) = problems_of(lambda: world.plan(tree(server("db-2"))))
    assert problem["code"] == "server-needed"
    assert "billing/theirs@db-1" in problem["message"]


@pytest.mark.parametrize("renamed", [False, True])
def test_a_jump_host_of_another_project_is_neither_deleted_nor_renamed(renamed: bool) -> None:
    world = applied(server("gate"), server("db-2"))
    world.apply(tree(server("inner", jump="shop/gate"), project="billing"))
    left = [server("db-2"), *([server("door", formerly="gate")] if renamed else [])]
    (problem,) = problems_of(lambda: world.plan(tree(*left)))
    assert problem["code"] == "server-needed"
    assert "billing/inner" in problem["message"]


def test_a_renamed_server_tells_which_other_projects_must_follow() -> None:
    world = applied(server("db-1"))
    world.apply(tree(task("theirs", "shop/db-1"), project="billing"))
    (change,) = world.plan(tree(server("db-9", formerly="db-1"))).changes
    assert "billing/theirs@db-1" in str(change.reason)


@pytest.mark.parametrize(
    ("reference", "message", "hint"),
    [
        ("billing/nope", "no such server", "apply project 'billing' first"),
        ("billing/db-11", "no such server", "did you mean 'db-1'?"),
        ("nobody/db-1", "belongs to project 'billing'", "write billing/db-1"),
        ("nobody/nope", "no project 'nobody'", "apply project 'nobody' first"),
        ("billing/old", "was deleted", "declare it again"),
        ("shop/nope", "declares no server 'nope'", "declare it"),
    ],
)
def test_a_reference_to_another_projects_server_is_looked_up(reference: str, message: str, hint: str) -> None:
    world = applied(server("db-1"), server("old"), project="billing")
    world.apply(tree(server("db-1"), project="billing"))
    jump = server("own", jump=reference, path="s.yaml", line=4)
    found = problems_of(lambda: world.plan(tree(jump, task("a", reference, line=5))))
    assert [(one["path"], one["line"], one["field"]) for one in found] == [
        ("s.yaml", 4, "spec.jump"),
        ("tasks.yaml", 5, "spec.server"),
    ]
    assert all(one["code"] == "unknown-server" for one in found)
    assert all(message in one["message"] and hint in one["hint"] for one in found)


def test_a_task_may_run_on_a_live_server_of_another_project() -> None:
    world = applied(server("db-1"), project="billing")
    desired = tree(task("a", "billing/db-1"))
    assert steps(world.apply(desired)) == ["create Task a@db-1"]
    assert world.plan(desired).empty


def test_all_contradictions_come_at_once_in_the_order_of_files_and_lines() -> None:
    world = applied(server("a"), server("b"), project="billing")
    found = problems_of(
        lambda: world.plan(
            tree(server("b", line=9), server("a", line=2), task("t", "billing/x", path="a.yaml"))
        )
    )
    assert [(one["path"], one["line"]) for one in found] == [
        ("a.yaml", 1), ("servers.yaml", 2), ("servers.yaml", 9),
    ]  # fmt: skip
    assert set(found[0]) == {
        "severity", "code", "message", "path", "line", "column", "endLine", "endColumn", "field", "hint",
    }  # fmt: skip


def test_a_renamed_project_takes_its_objects_along() -> None:
    world = applied(server("db-1"), task("a"))
    desired = tree(server("db-1"), task("a"), project="store", formerly="shop")
    plan = world.apply(desired)
    assert steps(plan) == ["rename Project store"]
    assert plan.former_project == "shop"
    assert world.plan(desired).empty
    assert {row.project for row in [*world.servers.values(), *world.tasks.values()]} == {"store"}


def test_a_renamed_projects_old_name_is_refused_in_references() -> None:
    world = applied(server("db-1"), task("a"))
    desired = tree(server("db-1"), task("a", "shop/db-1"), project="store", formerly="shop")
    (problem,) = problems_of(lambda: world.plan(desired))
    assert "is called 'store' now" in problem["message"]


def test_settings_of_the_project_are_a_change_of_its_own() -> None:
    world = applied(server("db-1"))
    (change,) = world.plan(tree(server("db-1"), spec={"guard": {"maxDeletions": 3}, "prune": False})).changes
    assert (change.kind, change.action) == ("Project", Action.UPDATE)
    assert {name: (one.before, one.after) for name, one in change.fields.items()} == {
        "spec.prune": (True, False),
        "spec.guard.maxDeletions": (10, 3),
    }


def test_a_git_source_that_was_applied_as_another_project_is_stopped() -> None:
    world = World()
    world.apply(tree(server("db-1"), task("a"), commit="c1", source="git@host:repo//m"))
    with pytest.raises(GuardTripped, match="last applied as project 'shop'") as caught:
        world.plan(tree(server("db-1"), task("a"), project="default", commit="c2", source="git@host:repo//m"))
    assert "formerly: shop" in str(caught.value.hint)
    assert caught.value.exit_code == 3


def test_a_git_source_under_another_name_trips_the_guard_where_nothing_else_contradicts() -> None:
    world = applied(server("db-1"), project="fleet")
    world.apply(tree(task("a", "fleet/db-1"), commit="c1", source="repo"))
    renamed = tree(task("a", "fleet/db-1"), project="default", commit="c2", source="repo")
    plan = world.plan(renamed)
    assert plan.guard.tripped
    assert "formerly: shop" in plan.guard.reasons[0]
    assert plan.guard.release == plan.digest
    world.apply(renamed, plan)
    later = tree(task("a", "fleet/db-1", timeout="2h"), project="default", commit="c3", source="repo")
    assert not world.plan(later).guard.tripped, "it is released once, not at every apply"


def test_a_folder_without_git_may_change_its_project() -> None:
    world = World()
    world.apply(tree(server("db-1"), source="/srv/manifests"))
    other = world.plan(tree(server("db-2"), project="other", source="/srv/manifests"))
    assert not other.guard.stops
    assert "last applied as project 'shop', whose objects stay as they are" in plan_text(other)
    assert "last applied as project 'shop'" in plan_markdown(other)
    assert plan_shape(other)["appliedAs"] == "shop"
    same = world.plan(tree(server("db-2"), source="/srv/manifests"))
    assert "last applied as" not in plan_text(same) + plan_markdown(same)


def test_a_git_source_that_became_an_empty_other_project_shows_what_stops_it() -> None:
    world = World()
    world.apply(tree(server("db-1"), commit="c1", source="repo"))
    lost = world.plan(tree(project="default", commit="c2", source="repo"))
    assert lost.empty
    assert lost.guard.tripped
    assert "The guard stops this: this source was last applied as project 'shop'" in plan_text(lost)
    assert "The guard stops this" in plan_markdown(lost)
