"""``formerly``: alone, in chains, in swaps, across servers, and when it is long done."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.renames import resolve
from tests.plan.world import World, applied, problems_of, server, steps, task, tree


@pytest.mark.parametrize(
    ("former", "live", "deleted", "done", "active"),
    [
        pytest.param({"b": "a"}, "a", "", "", {"b": "a"}, id="plain"),
        pytest.param({"b": "a"}, "b", "", "", {}, id="the old one is gone: done before"),
        pytest.param({"b": "a"}, "ab", "", "", {}, id="the new name is live and stays"),
        pytest.param({"b": "a", "c": "b"}, "ab", "", "", {"b": "a", "c": "b"}, id="chain"),
        pytest.param({"b": "a", "c": "b"}, "abc", "", "", {}, id="a chain whose end is taken"),
        pytest.param({"b": "a", "c": "b"}, "bc", "", "", {}, id="chain, applied"),
        pytest.param({"a": "b", "b": "a"}, "ab", "", "", {"a": "b", "b": "a"}, id="swap"),
        pytest.param({"a": "b", "b": "a"}, "ab", "", "ab", {}, id="swap, applied"),
        pytest.param(
            {"a": "b", "b": "c", "c": "a"}, "abc", "", "", {"a": "b", "b": "c", "c": "a"}, id="circle"
        ),
        pytest.param({"a": "b", "b": "a"}, "ab", "", "a", {}, id="swap, of which one row was not written"),
        pytest.param({"a": "b", "b": "c", "c": "a"}, "abc", "", "abc", {}, id="circle, applied"),
        pytest.param({"a": "a"}, "a", "", "", {}, id="itself"),
        pytest.param({"b": "a"}, "a", "b", "b", {}, id="a deleted row that was once so renamed comes back"),
        pytest.param({"b": "a", "c": "a"}, "ab", "", "", {"c": "a"}, id="only one of two can act"),
    ],
)  # fmt: skip
def test_which_formerly_act(
    former: Mapping[str, str], live: str, deleted: str, done: str, active: Mapping[str, str]
) -> None:
    found = resolve(former, set(live), set(deleted), set(done))
    assert found.active == active
    assert not found.held
    assert not found.clashes


def test_a_deleted_row_with_the_new_name_holds_it() -> None:
    assert resolve({"b": "a"}, {"a"}, {"b"}, set()).held == ("b",)


def test_a_swap_that_grows_into_a_circle_acts_again() -> None:
    former = {"a": "c", "b": "a", "c": "b"}
    assert resolve(former, set("abc"), set(), {"b"}, {"a"}).active == former


def test_a_row_that_came_back_completes_no_swap() -> None:
    world = applied(server("db-1"), task("a"))
    world.apply(tree(server("db-1"), task("b", formerly="z")))
    world.apply(tree(server("db-1"), task("a")))
    desired = tree(server("db-1"), task("b", formerly="a"), task("a", formerly="b"))
    world.edit(world.task_row("b", "db-1"), renamed_from="a")
    assert steps(world.apply(desired)) == ["restore Task b@db-1"]
    assert world.plan(desired).empty


def test_two_that_want_one_row_clash() -> None:
    found = resolve({"b": "a", "c": "a"}, {"a"}, set(), set())
    assert found.active == {"b": "a"}
    assert found.clashes == {"c": "b"}


@given(
    st.dictionaries(st.integers(0, 8), st.integers(0, 8)),
    st.sets(st.integers(0, 8)),
    st.sets(st.integers(0, 8)),
)
def test_active_renames_never_collide(former: dict[int, int], live: set[int], done: set[int]) -> None:
    active = resolve(former, live, set(), done).active
    after = (live - set(active.values())) | set(active)
    assert len(set(active.values())) == len(active), "a row gets one name"
    assert len(after) == len(live), "no two rows get the same name, and none is lost"
    assert all(old in live for old in active.values())


def test_a_long_chain_is_decided_in_linear_time() -> None:
    names = range(50_000)
    former = {name + 1: name for name in names}
    assert len(resolve(former, set(names), set(), set()).active) == 50_000
    assert not resolve(former, {*names, 50_000}, set(), set()).active


def ids(world: World) -> dict[str, int]:
    return {f"{row.name}@{row.server}": row.id for row in world.tasks.values() if row.live}


def test_a_renamed_task_keeps_its_row() -> None:
    world = applied(server("db-1"), task("old"))
    was = ids(world)["old@db-1"]
    desired = tree(server("db-1"), task("new", formerly="old", command="run old"))
    plan = world.apply(desired)
    assert steps(plan) == ["rename Task new@db-1"]
    assert list(plan.changes[0].fields) == ["metadata.name"]
    assert not plan.changes[0].git_changed
    assert ids(world) == {"new@db-1": was}
    assert world.plan(desired).empty


def test_a_chain_of_tasks_in_one_commit_whose_first_name_is_used_anew() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    was = ids(world)
    desired = tree(server("db-1"), task("a", command="x"), task("b", formerly="a"), task("c", formerly="b"))
    assert steps(world.apply(desired)) == ["rename Task b@db-1", "rename Task c@db-1", "create Task a@db-1"]
    now = ids(world)
    assert (now["b@db-1"], now["c@db-1"]) == (was["a@db-1"], was["b@db-1"])
    assert world.plan(desired).empty


def test_tasks_swap_their_names_once() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    was = ids(world)
    desired = tree(server("db-1"), task("a", formerly="b"), task("b", formerly="a"))
    world.apply(desired)
    assert ids(world) == {"a@db-1": was["b@db-1"], "b@db-1": was["a@db-1"]}
    assert world.plan(desired).empty


def test_a_swap_acts_again_after_it_left_the_tree() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    was = ids(world)
    swap = tree(server("db-1"), task("a", formerly="b"), task("b", formerly="a"))
    plain = tree(server("db-1"), task("a"), task("b"))
    world.apply(swap)
    plan = world.apply(plain)
    assert plan.empty
    assert {row.name for row in plan.forget} == {"a", "b"}
    assert not world.plan(plain).forget, "it is forgotten once"
    world.apply(swap)
    assert ids(world) == was


def test_a_tree_with_a_swap_on_an_empty_database_creates_and_is_at_rest() -> None:
    desired = tree(server("db-1"), task("a", formerly="b"), task("b", formerly="a"))
    world = World()
    world.apply(desired)
    assert world.plan(desired).empty


def test_a_swap_does_not_act_again_where_nobody_can_read_whether_it_did() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    desired = tree(server("db-1"), task("a", formerly="b"), task("b", formerly="a"))
    world.apply(desired)
    for name in "ab":
        world.edit(world.task_row(name, "db-1"), renamed_from=None, spoilt=True)
    assert "rename" not in str(steps(world.plan(desired)))


def test_a_renamed_server_takes_its_tasks_along() -> None:
    world = applied(server("db-1"), task("a"), task("b"))
    was = world.by_name("db-1").id
    desired = tree(server("db-9", formerly="db-1"), task("a", "db-9"), task("b", "db-9"))
    assert steps(world.apply(desired)) == ["rename Server db-9"]
    assert world.by_name("db-9").id == was
    assert world.plan(desired).empty


def test_swapped_servers_keep_their_tasks() -> None:
    world = applied(server("x", port=1), server("y", port=2), task("a", "x"), task("b", "y"))
    desired = tree(
        server("y", port=1, formerly="x"), server("x", port=2, formerly="y"), task("a", "y"), task("b", "x")
    )
    assert steps(world.apply(desired)) == ["rename Server x", "rename Server y"]
    assert world.plan(desired).empty


def test_a_new_server_may_take_the_name_that_another_leaves() -> None:
    world = applied(server("db-1"), task("a"))
    desired = tree(
        server("db-1", port=23), server("db-9", formerly="db-1"), task("a", "db-9"), task("a", "db-1")
    )
    assert steps(world.apply(desired)) == ["rename Server db-9", "create Server db-1", "create Task a@db-1"]
    assert world.plan(desired).empty


def test_a_row_moves_between_servers_by_name_and_server() -> None:
    world = applied(server("db-1"), server("db-2"), task("a"))
    was = ids(world)["a@db-1"]
    desired = tree(server("db-1"), server("db-2"), task("a", "db-2", formerly="a@db-1"))
    plan = world.apply(desired)
    assert steps(plan) == ["rename Task a@db-2"]
    assert {name: (one.before, one.after) for name, one in plan.changes[0].fields.items()} == {
        "spec.server": ("db-1", "db-2")
    }
    assert ids(world) == {"a@db-2": was}
    assert world.plan(desired).empty


def test_without_formerly_a_move_is_delete_and_create() -> None:
    world = applied(server("db-1"), server("db-2"), task("a"))
    plan = world.plan(tree(server("db-1"), server("db-2"), task("a", "db-2")))
    assert steps(plan) == ["create Task a@db-2", "delete Task a@db-1"]
    assert plan.changes[1].reason == "still declared, but no longer for this server"


@pytest.mark.parametrize("said", ["a@db-1", "a@db-9"])
def test_the_server_of_a_move_may_be_renamed_in_the_same_commit(said: str) -> None:
    world = applied(server("db-1"), server("db-2"), task("a"))
    was = ids(world)["a@db-1"]
    desired = tree(server("db-9", formerly="db-1"), server("db-2"), task("a", "db-2", formerly=said))
    assert steps(world.apply(desired)) == ["rename Server db-9", "rename Task a@db-2"]
    assert ids(world) == {"a@db-2": was}
    assert world.plan(desired).empty


def test_a_deleted_row_that_holds_the_new_name_is_a_problem_with_a_way_out() -> None:
    world = applied(server("db-1"), server("s"), task("new"), task("old"))
    world.apply(tree(server("db-1"), task("old")))
    found = problems_of(
        lambda: world.plan(tree(server("s", formerly="db-1"), task("new", "s", formerly="old")))
    )
    assert [one["code"] for one in found] == ["name-held-by-deleted"]
    assert "drop `formerly` to restore" in found[0]["hint"]
    (problem,) = problems_of(lambda: world.plan(tree(server("db-1"), task("new", formerly="old"))))
    assert "'new@db-1'" in problem["message"]


def test_git_revert_of_a_deletion_restores_also_what_was_renamed_once() -> None:
    world = applied(server("db-1"), task("old"))
    renamed = tree(server("db-1"), task("new", formerly="old"))
    world.apply(renamed)
    both = tree(server("db-1"), task("new", formerly="old"), task("old"))
    world.apply(both)
    world.apply(tree(server("db-1"), task("old")))
    assert steps(world.apply(both)) == ["restore Task new@db-1"]
    assert world.plan(both).empty
