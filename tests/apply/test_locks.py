"""Who may apply a project now: one at a time, named to all others, and never for ever."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from reconciler.apply.lock import SHORTEST, locked
from reconciler.errors import EXIT_LOCKED, LockHeld, PlanRefused
from tests.apply.states import Paused, World, server, task, told, tree

TREE = tree(server("db-1"), task("backup"))


@contextmanager
def held(world: World, owner: str = "eva@laptop", project: str = "billing") -> Iterator[None]:
    with locked(world.db, project, None, owner, 0, random.Random(1)):
        yield


def test_who_holds_the_lock_is_named_with_the_time_it_ends(world: World) -> None:
    before = world.dump(but=["leases"])
    with held(world), pytest.raises(LockHeld) as error:
        world.apply(TREE)
    assert error.value.exit_code == EXIT_LOCKED == 5
    assert "eva@laptop" in error.value.message
    assert "#" not in error.value.message
    assert error.value.details["owner"] == "eva@laptop"
    assert error.value.details["until"].endswith("Z")
    assert error.value.details["until"] in error.value.message
    assert world.dump(but=["leases"]) == before
    assert world.apply(TREE).revision is not None


def test_two_applies_of_one_person_are_two(small_world: World) -> None:
    with held(small_world, "otto@ci"), pytest.raises(LockHeld):
        small_world.apply(TREE)


def test_another_project_is_not_locked_out(small_world: World) -> None:
    with held(small_world, project="fleet"):
        assert small_world.apply(TREE).revision is not None


def test_a_project_that_is_being_renamed_is_locked_by_both_names(small_world: World) -> None:
    small_world.apply(TREE)
    with held(small_world, project="billing"), pytest.raises(LockHeld):
        small_world.apply(tree(server("db-1"), task("backup"), project="invoices", formerly="billing"))


def test_nothing_to_do_needs_no_lock(small_world: World) -> None:
    small_world.apply(TREE)
    with held(small_world):
        assert small_world.apply(TREE).revision is None


def test_the_lock_of_a_dead_process_ends_by_itself(small_world: World) -> None:
    world = small_world
    lock = locked(world.db, "billing", None, "dead@host", 0, random.Random(1))
    lock.__enter__()
    world.clock.advance(SHORTEST - 1)
    with pytest.raises(LockHeld):
        world.apply(TREE)
    world.clock.advance(2)
    assert world.apply(TREE).revision is not None


def test_a_lock_that_was_taken_meanwhile_fences_the_transaction_off(world: World) -> None:
    before = world.dump(but=["leases"])
    steal = text("UPDATE leases SET owner = 'thief', token = token + 1 WHERE name = 'apply/billing'")

    def listen(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO revisions" not in statement:
            return
        if world.db.dialect == "sqlite":
            connection.execute(steal)  # nobody else can write now, so nobody else can take it either
        else:
            with world.db.write() as other:
                other.execute(steal)

    event.listen(world.db.engine, "after_cursor_execute", listen)
    try:
        with pytest.raises(LockHeld, match="lost during the apply: nothing was written"):
            world.apply(TREE)
    finally:
        event.remove(world.db.engine, "after_cursor_execute", listen)
    assert world.dump(but=["leases"]) == before


def test_a_lock_that_ran_out_and_that_nobody_took_is_still_ours(world: World) -> None:
    end = text("UPDATE leases SET until = '2020-01-01 00:00:00.000000' WHERE name = 'apply/billing'")

    def listen(connection: Connection, cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO revisions" in statement:
            connection.execute(end)

    event.listen(world.db.engine, "after_cursor_execute", listen)
    try:
        assert world.apply(TREE).revision is not None
    finally:
        event.remove(world.db.engine, "after_cursor_execute", listen)


def test_a_second_apply_is_told_at_once_and_does_not_wait_for_the_transaction(world: World) -> None:
    with Paused(world, TREE) as first:
        with pytest.raises(LockHeld, match="otto@ci"):
            world.apply(tree(server("db-2")))
        first.finish()
        assert first.result.revision is not None


@pytest.mark.parametrize("world_url", ["mariadb", "mysql"], indirect=True)
def test_applies_of_different_projects_see_each_other_whole(world: World) -> None:
    world.apply(tree(server("db-1"), server("keep"), project="fleet"))
    with Paused(world, tree(server("keep"), project="fleet")) as first:
        seen: list[Any] = []

        def second() -> None:
            try:
                seen.append(world.apply(tree(task("backup", "fleet/db-1"))))
            except PlanRefused as error:
                seen.append(error)

        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive(), "it waits for the other project's transaction"
        first.finish()
        thread.join(20)
    assert told(first.result.plan) == [("delete", "db-1")]
    assert isinstance(seen[0], PlanRefused), seen
