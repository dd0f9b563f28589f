"""A node number that was given back rests, so that two owners never make one id."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from reconciler.store import leases
from reconciler.store.engine import Database
from reconciler.store.ids import ExecutionIds
from reconciler.store.schema import upgrade
from tests.services.clock import FakeClock


def test_two_owners_of_one_moment_never_make_the_same_id(tmp_path: Path, fake_clock: FakeClock) -> None:
    with closing(Database.open(f"sqlite:///{tmp_path / 'state.db'}", fake_clock)) as db:
        upgrade(db)
        seen: set[int] = set()
        for number in range(3):
            node, held = leases.lease_node(db, f"owner {number}", 60, start=7)
            ids = ExecutionIds(node, fake_clock).take(10_000)
            assert seen.isdisjoint(ids)
            seen |= set(ids)
            db.transact(lambda connection, held=held: leases.return_node(db, connection, held))


def test_a_rested_number_is_free_again(tmp_path: Path, fake_clock: FakeClock) -> None:
    with closing(Database.open(f"sqlite:///{tmp_path / 'own.db'}", fake_clock)) as own:
        upgrade(own)
        first, held = leases.lease_node(own, "one", 60, start=7)
        own.transact(lambda connection: leases.return_node(own, connection, held))
        assert leases.lease_node(own, "two", 60, start=7)[0] == first + 1
        fake_clock.advance(leases.NODE_REST)
        assert leases.lease_node(own, "three", 60, start=7)[0] == first


def test_a_number_that_is_another_ones_by_now_is_left_alone(db: Database) -> None:
    node, held = leases.lease_node(db, "slept", 0.000001, start=3)
    again, new = leases.lease_node(db, "other", 60, start=node)
    assert again == node
    with db.write() as connection:
        leases.return_node(db, connection, held)
        assert leases.holds(db, connection, new)
