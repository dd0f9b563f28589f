"""How much may go at once, and what never may."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.project import ProjectSpec
from reconciler.plan.guard import released
from tests.plan.world import World, applied, server, task, tree


def world_of(tasks: int, **keywords: Any) -> World:
    return applied(server("db-1"), *[task(f"t{number:03}") for number in range(tasks)], **keywords)


@pytest.mark.parametrize(
    ("tasks", "kept", "limits", "tripped", "reason"),
    [
        pytest.param(99, 89, {}, False, "", id="10 of 100 rows, as many as the default allows"),
        pytest.param(99, 88, {}, True, "11 deletions are more than maxDeletions 10", id="one more"),
        pytest.param(19, 15, {}, False, "", id="4 of 20 rows: too few for a share"),
        pytest.param(24, 19, {}, False, "", id="5 of 25 rows: exactly 20 %"),
        pytest.param(
            23, 18, {}, True, "5 of 24 live rows are more than maxDeletionPercent 20", id="5 of 24 rows"
        ),
        pytest.param(3, 0, {}, False, "", id="all tasks of a small project, but not its server"),
        pytest.param(3, 2, {"maxDeletions": 0}, True, "1 deletions are more than maxDeletions 0", id="none"),
        pytest.param(30, 22, {"maxDeletionPercent": 100}, False, "", id="any share"),
    ],
)  # fmt: skip
def test_the_limits(tasks: int, kept: int, limits: dict[str, int], tripped: bool, reason: str) -> None:
    spec = {"guard": limits} if limits else {}
    world = world_of(tasks, spec=spec)
    plan = world.plan(tree(server("db-1"), *[task(f"t{n:03}") for n in range(kept)], spec=spec))
    assert plan.guard.tripped is tripped
    assert "; ".join(plan.guard.reasons) == reason
    assert plan.guard.deletions == tasks - kept
    assert plan.guard.live == tasks + 1
    assert plan.guard.release == (plan.digest if tripped else None)


def test_an_emptied_tree_trips_it_however_small() -> None:
    plan = applied(server("db-1")).plan(tree())
    assert plan.guard.reasons == ("the tree declares nothing any more",)


def test_the_limits_are_those_last_applied_not_those_of_the_commit() -> None:
    plan = world_of(20).plan(tree(server("db-1"), spec={"guard": {"maxDeletions": 99}}))
    assert (plan.guard.limit, plan.guard.percent) == (10, 20)
    assert plan.guard.tripped


def test_limits_that_a_hand_raised_do_not_count() -> None:
    world = world_of(20)
    stored = world.projects["shop"]
    raised = ProjectSpec.model_validate({"guard": {"maxDeletions": 99, "maxDeletionPercent": 100}})
    world.projects["shop"] = replace(stored, spec=raised)
    assert world.plan(tree(server("db-1"))).guard.limit == 10
    strict = world.plan(tree(server("db-1"), spec={"guard": {"maxDeletions": 3}})).guard
    assert (strict.limit, strict.percent) == (3, 20)


def test_only_rows_of_the_project_count() -> None:
    world = world_of(3)
    world.apply(tree(*[server(f"other-{number}") for number in range(50)], project="billing"))
    assert world.plan(tree(server("db-1"))).guard.live == 4


def test_a_protected_row_is_named_and_never_released() -> None:
    world = applied(server("db-1"), task("a", protected=True), task("b"))
    plan = world.plan(tree(server("db-1"), task("b")))
    assert plan.guard.protected == ("a@db-1",)
    assert plan.guard.stops
    assert plan.guard.release is None
    assert not released(plan.guard, plan.digest, plan.digest)


def test_protection_is_read_from_the_row_and_goes_with_a_commit_of_its_own() -> None:
    world = applied(server("db-1"), task("a", protected=True), task("b"))
    unprotecting = tree(server("db-1"), task("a"), task("b"))
    plan = world.apply(unprotecting)
    assert not plan.guard.stops
    assert not world.plan(tree(server("db-1"), task("b"))).guard.protected


@pytest.mark.parametrize(
    ("given", "works"),
    [(lambda digest: digest, True), (lambda digest: digest[:12], True), (lambda digest: digest[:11], False),
     (lambda digest: "f" * 64, False), (lambda digest: "", False), (lambda digest: None, False),
     (lambda digest: digest + "0", False)],
)  # fmt: skip
def test_a_release_names_the_very_plan(given: Any, works: bool) -> None:
    plan = applied(server("db-1")).plan(tree())
    assert released(plan.guard, plan.digest, given(plan.digest)) is works
