"""Leases: one owner at a time by the database's clock, and no way back for whoever lost one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseRejected
from reconciler.store.engine import Database
from reconciler.store.ids import NODES
from reconciler.store.leases import (
    Held,
    acquire,
    holder,
    holds,
    lease_node,
    live,
    raise_counter,
    read_counter,
    release,
)
from tests.services.clock import FakeClock
from tests.store.conftest import DIALECTS, Migrated


class World:
    """A database whose time a test can let pass: the clock on SQLite, ends set back on the servers."""

    def __init__(self, db: Database, clock: FakeClock | None) -> None:
        self.db = db
        self._clock = clock

    def take(self, owner: str, name: str = "l/p", seconds: float = 30) -> Held | None:
        with self.db.write() as connection:
            return acquire(self.db, connection, name, owner, seconds)

    def owner(self, name: str = "l/p") -> str | None:
        with self.db.read() as connection:
            held = holder(self.db, connection, name)
        return held and held.owner

    def holds(self, held: Held) -> bool:
        with self.db.write() as connection:
            return holds(self.db, connection, held)

    def release(self, held: Held) -> bool:
        with self.db.write() as connection:
            return release(connection, held)

    def pass_time(self, seconds: int) -> None:
        if self._clock is not None:
            self._clock.advance(seconds)
            return
        with self.db.write() as connection:
            connection.execute(text(f"UPDATE leases SET until = until - INTERVAL {seconds} SECOND"))


@pytest.fixture(params=DIALECTS)
def world(request: pytest.FixtureRequest, migrated: Migrated, tmp_path: Path) -> Iterator[World]:
    # On the servers the machine's clock is wrong by years: nothing may depend on it.
    clock = FakeClock()
    clock.step(-5 * 365 * 86_400)
    with closing(Database.open(migrated.url(request.param, tmp_path / "state.db"), clock)) as db:
        yield World(db, clock if request.param == "sqlite" else None)


def test_the_second_owner_waits_for_the_end_of_the_first(world: World) -> None:
    first = world.take("one")
    assert first is not None
    assert (first.name, first.owner, first.token) == ("l/p", "one", 1)
    assert world.take("two") is None
    assert world.owner() == "one"
    world.pass_time(29)
    assert world.take("two") is None
    world.pass_time(2)
    assert world.owner() is None
    second = world.take("two")
    assert second is not None
    assert second.token == 2
    assert world.owner() == "two"
    assert world.take("one") is None


def test_a_renewal_keeps_the_token_and_moves_the_end(world: World) -> None:
    first = world.take("one", seconds=30)
    world.pass_time(20)
    again = world.take("one", seconds=30)
    assert first is not None
    assert again is not None
    assert again.token == first.token
    world.pass_time(20)
    assert world.owner() == "one"
    assert world.holds(again)


def test_a_lost_lease_is_fenced_off_even_when_its_owner_does_not_know(world: World) -> None:
    old = world.take("one")
    assert old is not None
    assert world.holds(old)
    world.pass_time(31)
    assert not world.holds(old), "over, though nobody else took it"
    new = world.take("two")
    assert new is not None
    assert not world.holds(old)
    assert not world.release(old)
    assert world.owner() == "two", "a late release ends nothing of the new owner's"
    assert world.holds(new)


def test_a_released_lease_is_free_at_once_and_its_token_goes_on_growing(world: World) -> None:
    for token, owner in enumerate(["one", "two", "three"], 1):
        held = world.take(owner)
        assert held is not None
        assert held.token == token
        assert world.release(held)
        assert world.owner() is None
        assert not world.holds(held)


def test_leases_of_other_names_do_not_matter(world: World) -> None:
    assert world.take("one", "l/a") is not None
    assert world.take("two", "l/A") is not None
    assert world.take("three", "l/备份") is not None
    with world.db.read() as connection:
        assert holder(world.db, connection, "l/nobody") is None


def test_the_live_ones_of_a_prefix_are_listed_and_the_prefix_is_taken_by_the_letter(world: World) -> None:
    for name in ("w/2", "w/1", "w%/1", "wx/1", "w_/1", "W/1"):
        world.take("one", name)
    world.take("two", "w/0", seconds=1)
    world.pass_time(2)

    def names(prefix: str) -> list[str]:
        with world.db.read() as connection:
            return [held.name for held in live(world.db, connection, prefix)]

    assert names("w/") == ["w/1", "w/2"]
    assert names("w%") == ["w%/1"]
    assert names("w_/") == ["w_/1"]
    assert len(names("")) == 6


def test_of_many_that_ask_at_once_for_a_new_lease_one_gets_it(db: Database) -> None:
    barrier = threading.Barrier(8)

    def ask(worker: int) -> Held | None:
        barrier.wait()
        return db.transact(lambda connection: acquire(db, connection, "l/new", f"worker-{worker}", 60))

    with ThreadPoolExecutor(8) as pool:
        held = [each for each in pool.map(ask, range(8)) if each is not None]
    assert len(held) == 1
    with db.read() as connection:
        assert holder(db, connection, "l/new") == held[0]


def test_of_many_that_ask_at_once_for_an_ended_lease_one_gets_it_with_a_new_token(db: Database) -> None:
    with db.write() as connection:
        old = acquire(db, connection, "l/old", "gone", 60)
        assert old is not None
        release(connection, old)
    barrier = threading.Barrier(8)

    def ask(worker: int) -> Held | None:
        barrier.wait()
        return db.transact(lambda connection: acquire(db, connection, "l/old", f"worker-{worker}", 60))

    with ThreadPoolExecutor(8) as pool:
        held = [each for each in pool.map(ask, range(8)) if each is not None]
    assert [each.token for each in held] == [2]


def test_whoever_checks_its_lease_keeps_others_out_until_its_transaction_ends(db: Database) -> None:
    with db.write() as connection:
        held = acquire(db, connection, "l/fence", "one", 60)
    assert held is not None
    order: list[str] = []

    def other() -> None:
        with db.write() as connection:
            release(connection, held)
            order.append("released")

    thread = threading.Thread(target=other)
    with db.write() as connection:
        assert holds(db, connection, held)
        thread.start()
        thread.join(0.3)
        order.append("worked")
    thread.join(10)
    assert order == ["worked", "released"]


def test_nodes_get_different_numbers_from_where_they_began_to_look(db: Database) -> None:
    barrier = threading.Barrier(6)

    def lease(worker: int) -> int:
        barrier.wait()
        return lease_node(db, f"p{worker}", 60, 510)[0]

    with ThreadPoolExecutor(6) as pool:
        nodes = list(pool.map(lease, range(6)))
    assert sorted(nodes) == [0, 1, 2, 3, 510, 511]


def test_a_nodes_number_is_free_again_when_its_lease_ended(world: World) -> None:
    node, held = lease_node(world.db, "one", 30, 9)
    assert (node, held.name) == (9, "node/9")
    assert lease_node(world.db, "two", 30, 9)[0] == 10
    world.pass_time(31)
    assert lease_node(world.db, "three", 30, 9)[0] == 9


def test_when_all_numbers_are_taken_it_is_said_so(tmp_path: Path, migrated: Migrated) -> None:
    with closing(Database.open(migrated.url("sqlite", tmp_path / "state.db"), SystemClock())) as db:
        with db.write() as connection:
            for node in range(NODES):
                acquire(db, connection, f"node/{node}", f"p{node}", 60)
        with pytest.raises(DatabaseRejected, match="all 512 node numbers"):
            lease_node(db, "one more", 60, 100)


def test_no_raise_of_the_counter_is_lost_among_eight_writers(db: Database) -> None:
    with db.read() as connection:
        assert read_counter(connection) == 0
    barrier = threading.Barrier(8)

    def raise_it(_: int) -> None:
        barrier.wait()
        for _ in range(25):
            db.transact(raise_counter)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(raise_it, range(8)))
    with db.read() as connection:
        assert read_counter(connection) == 200


def test_a_raise_that_is_rolled_back_never_happened(db: Database) -> None:
    db.transact(raise_counter)
    with pytest.raises(KeyError), db.write() as connection:
        raise_counter(connection)
        raise KeyError
    with db.read() as connection:
        assert read_counter(connection) == 1


def test_the_end_is_an_instant_in_utc_by_the_databases_clock(world: World) -> None:
    held = world.take("one", seconds=12.5)
    assert held is not None
    assert held.until is not None
    with world.db.read() as connection:
        now: datetime = world.db.now(connection)
        shown = holder(world.db, connection, "l/p")
    assert shown == held
    assert timedelta(seconds=0) < held.until - now <= timedelta(seconds=12.5)
