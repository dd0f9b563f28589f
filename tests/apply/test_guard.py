"""What may disappear in one apply: limits, releases, protection."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.errors import EXIT_GUARD, EXIT_STALE, GuardTripped, PlanStale
from tests.apply.states import World, commit, server, task, told, tree


def fleet(tasks: int, *, settings: dict[str, Any] | None = None, first: int = 0, **more: Any) -> Any:
    """A server and so many tasks on it: tasks + 1 live rows."""
    objects = [task(f"t{number:03}") for number in range(first, tasks)]
    return tree(server("db-1"), *objects, settings=settings or {}, **more)


CASES = {
    # rows before, rows after, settings in force, trips
    "ten of a hundred": (100, 90, {}, False),
    "eleven of a hundred": (100, 89, {}, True),
    "four of five: too few for a percentage": (4, 0, {}, False),
    "five of twenty-five is 20 %": (24, 19, {}, False),
    "five of twenty-four is more": (23, 18, {}, True),
    "its own limits": (100, 98, {"guard": {"maxDeletions": 1}}, True),
    "no limits": (100, 1, {"guard": {"maxDeletions": 1000, "maxDeletionPercent": 100}}, False),
}


@pytest.mark.parametrize("case", CASES)
def test_the_guard_counts_rows_and_their_share(small_world: World, case: str) -> None:
    before, after, settings, trips = CASES[case]
    small_world.apply(fleet(before, settings=settings))
    verdict = small_world.plan(fleet(after, settings=settings)).guard
    assert verdict.tripped is trips
    assert verdict.deletions == before - after
    assert bool(verdict.reasons) is trips
    if not trips:
        small_world.settle(fleet(after, settings=settings))


def test_an_emptied_tree_trips_it_whatever_the_limits(small_world: World) -> None:
    settings = {"guard": {"maxDeletions": 1000, "maxDeletionPercent": 100}}
    small_world.apply(tree(server("db-1"), settings=settings))
    before = small_world.dump()
    with pytest.raises(GuardTripped, match="nothing"):
        small_world.apply(tree(settings=settings))
    assert small_world.dump() == before


def test_a_commit_cannot_raise_its_own_limits(small_world: World) -> None:
    small_world.apply(fleet(100))
    wide = {"guard": {"maxDeletions": 1000, "maxDeletionPercent": 100}}
    with pytest.raises(GuardTripped):
        small_world.apply(fleet(10, settings=wide))
    small_world.apply(fleet(100, settings=wide))
    assert small_world.apply(fleet(10, settings=wide)).summary["delete"] == 90


def test_limits_raised_by_hand_do_not_count(small_world: World) -> None:
    small_world.apply(fleet(100))
    by_hand = '{"guard":{"maxDeletions":999,"maxDeletionPercent":100}}'
    small_world.sql("UPDATE projects SET spec = :text", text=by_hand)
    with pytest.raises(GuardTripped):
        small_world.apply(fleet(10))


def test_the_error_says_how_to_release_it_and_has_the_verdict(small_world: World) -> None:
    small_world.apply(fleet(30))
    plan = small_world.plan(fleet(10))
    with pytest.raises(GuardTripped) as error:
        small_world.apply(fleet(10))
    assert error.value.exit_code == EXIT_GUARD == 3
    assert f"--allow-deletions {plan.digest[:12]}" in (error.value.hint or "")
    assert error.value.details["digest"] == plan.digest
    verdict = error.value.details["guard"]
    assert (verdict["tripped"], verdict["deletions"], verdict["limit"], verdict["percent"]) == (
        True,
        20,
        10,
        20,
    )
    assert verdict["release"] == plan.digest


@pytest.mark.parametrize("length", [12, 13, 64])
def test_the_digest_or_its_beginning_releases_that_very_plan_and_the_revision_says_so(
    small_world: World, length: int
) -> None:
    small_world.apply(fleet(30))
    digest = small_world.plan(fleet(10)).digest
    applied = small_world.settle(fleet(10), allow_deletions=digest[:length])
    assert applied.revision is not None
    row = small_world.one("SELECT released, digest FROM revisions WHERE id = :id", id=applied.revision.id)
    assert row == {"released": digest, "digest": digest}


@pytest.mark.parametrize(
    "given", ["", "x", "0" * 12, "0" * 64, "first 11", "with more behind it", "another plan's"]
)
def test_any_other_text_does_not_match(small_world: World, given: str) -> None:
    small_world.apply(fleet(30))
    digest = small_world.plan(fleet(10)).digest
    text = {
        "first 11": digest[:11],
        "with more behind it": digest + "0",
        "another plan's": small_world.plan(fleet(11)).digest,
    }.get(given, given)
    before = small_world.dump(but=["leases"])
    with pytest.raises(GuardTripped):
        small_world.apply(fleet(10), allow_deletions=text)
    assert small_world.dump(but=["leases"]) == before


def test_a_release_that_was_not_needed_is_not_recorded(small_world: World) -> None:
    small_world.apply(fleet(30))
    digest = small_world.plan(fleet(29)).digest
    applied = small_world.apply(fleet(29), allow_deletions=digest)
    assert applied.revision is not None
    assert small_world.one("SELECT released FROM revisions WHERE id = 2")["released"] is None


def test_protection_is_read_from_the_row_and_never_released(small_world: World) -> None:
    guarded = task("precious", metadata={"protected": True})
    small_world.apply(tree(server("db-1"), guarded, task("other")))
    without = tree(server("db-1"), task("other"))
    plan = small_world.plan(without)
    assert plan.guard.protected == ("precious@db-1",)
    for release in (None, plan.digest):
        with pytest.raises(GuardTripped, match="precious@db-1") as error:
            small_world.apply(without, allow_deletions=release)
        assert "protected: false" in (error.value.hint or "")
    # it takes a commit of its own
    small_world.apply(tree(server("db-1"), task("precious"), task("other")))
    assert told(small_world.settle(without).plan) == [("delete", "precious@db-1")]


def test_a_protected_server_stays_whatever_happens_to_its_tasks(small_world: World) -> None:
    small_world.apply(tree(server("db-1", metadata={"protected": True}), task("a"), server("db-2")))
    with pytest.raises(GuardTripped, match="db-1"):
        small_world.apply(tree(server("db-2")))


def test_a_source_that_suddenly_is_another_project_is_stopped(small_world: World) -> None:
    source = {"source": "https://git.example/ops.git//", "commit": commit()}
    small_world.apply(tree(task("a", "db-1"), server("db-1"), project="billing", **source))
    before = small_world.dump()
    renamed = tree(server("db-9"), project="default", **source)
    with pytest.raises(GuardTripped, match="billing") as error:
        small_world.apply(renamed)
    assert "formerly" in f"{error.value.message} {error.value.hint}"
    # the same with its objects, which billing still owns
    with pytest.raises(GuardTripped, match="billing"):
        small_world.apply(tree(task("a", "db-1"), server("db-1"), project="default", **source))
    assert small_world.dump() == before
    said = tree(task("a", "db-1"), server("db-1"), project="default", formerly="billing", **source)
    assert told(small_world.settle(said).plan) == [("rename", "default")]


def test_an_ancestor_of_the_applied_commit_is_refused_unless_it_was_named(small_world: World) -> None:
    old, new = commit("1" * 40), commit("2" * 40)
    order = {("1" * 40, "2" * 40)}

    def is_ancestor(one: str, other: str) -> bool:
        return (one, other) in order

    small_world.apply(tree(server("db-1"), commit=new), is_ancestor=is_ancestor)
    for older in (tree(server("db-1"), commit=old), tree(server("db-1"), server("db-2"), commit=old)):
        with pytest.raises(PlanStale) as error:
            small_world.apply(older, is_ancestor=is_ancestor)
        assert error.value.exit_code == EXIT_STALE == 4
        assert "1" * 12 in error.value.message
        assert "2" * 12 in error.value.message
    rolled = small_world.apply(older, is_ancestor=is_ancestor, allow_older=True)
    assert rolled.revision is not None
    assert small_world.one("SELECT `commit` FROM projects")["commit"] == "1" * 40


def test_a_dirty_tree_leaves_its_head_as_the_applied_commit(small_world: World) -> None:
    small_world.apply(tree(server("db-1"), commit=commit("2" * 40, dirty=True)))
    with pytest.raises(PlanStale):
        small_world.apply(
            tree(server("db-1"), server("db-2"), commit=commit("1" * 40)), is_ancestor=lambda *_: True
        )


def test_an_approved_plan_that_no_longer_results_is_stale_and_writes_nothing(small_world: World) -> None:
    small_world.apply(tree(server("db-1")))
    wanted = tree(server("db-1"), task("a"))
    seen = small_world.plan(wanted)
    small_world.sql("UPDATE servers SET port = 99")
    before = small_world.dump(but=["leases"])
    with pytest.raises(PlanStale) as error:
        small_world.apply(wanted, approved=seen.digest)
    assert error.value.exit_code == 4
    assert small_world.dump(but=["leases"]) == before


def test_an_approved_plan_that_somebody_else_applied_meanwhile_is_done(small_world: World) -> None:
    small_world.apply(tree(server("db-1")))
    wanted = tree(server("db-1"), task("a"))
    seen = small_world.plan(wanted)
    small_world.apply(wanted)
    assert small_world.apply(wanted, approved=seen.digest).revision is None
