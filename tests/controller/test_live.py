"""Live output from the process that runs something to another one that looks, on every database."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import func, select, update

from reconciler.clock import SystemClock
from reconciler.controller import live as module
from reconciler.controller.live import LiveOutput
from reconciler.controller.outage import Outage
from reconciler.dispatch.following import FOLLOW_SECONDS, Follower
from reconciler.dispatch.reaper import Reaper
from reconciler.errors import DatabaseForbidden, NotFound
from reconciler.execute.control import Stream
from reconciler.store import live as store
from reconciler.store.engine import Database
from reconciler.store.tables import Lease
from reconciler.store.tables import LiveOutput as Rows
from tests.controller.conftest import eventually
from tests.dispatch.fleet import START, Fleet

CLOCK = SystemClock()
Output = Callable[[Stream, bytes], None]


@pytest.fixture
def owner(db: Database) -> Iterator[LiveOutput]:
    one = LiveOutput(db, CLOCK, Outage(CLOCK))
    one.start()
    yield one
    one.stop(10)


@pytest.fixture
def run(fleet: Fleet) -> int:
    """The id of an execution that runs."""
    return fleet.execution(fleet.task(), 4_000_000, lease_owner="x")


def rows(db: Database) -> int:
    with db.read() as connection:
        return int(connection.execute(select(func.count()).select_from(Rows)).scalar_one())


class Reader:
    """A follower that keeps what it saw."""

    def __init__(self, db: Database, run: int, name: str = "ann") -> None:
        self.follower = Follower(db, CLOCK, name)
        self.run = run
        self.saw: list[tuple[int, int, bytes]] = []
        self.follower.follow([run])

    def look(self) -> list[tuple[int, int, bytes]]:
        found = self.follower.look(self.run)
        self.saw += [(piece.stream, piece.start, piece.data) for piece in found.pieces]
        return self.saw

    def text(self) -> bytes:
        self.look()
        return b"".join(data for _, _, data in self.saw)


def test_a_follower_sees_what_comes_and_the_last_that_came(db: Database, owner: LiveOutput, run: int) -> None:
    output = owner.begin(run, asked_for=False)
    output("stdout", b"before anybody looked\n")
    assert rows(db) == 0
    reader = Reader(db, run)
    owner.changed()
    eventually(lambda: reader.text() == b"before anybody looked\n")
    output("stderr", b"\xff\x00 raw\n")
    output("stdout", b"more\n")
    eventually(lambda: b"more" in reader.text())
    assert reader.saw == [
        (store.STDOUT, 0, b"before anybody looked\n"),
        (store.STDERR, 0, b"\xff\x00 raw\n"),
        (store.STDOUT, 22, b"more\n"),
    ]
    late = Reader(db, run, "bob")
    eventually(lambda: late.text() == reader.text())


def test_a_run_that_was_asked_for_is_followed_from_its_first_byte(
    db: Database, owner: LiveOutput, run: int
) -> None:
    reader = Reader(db, run)
    output = owner.begin(run, asked_for=True)
    output("stdout", b"first\n")
    eventually(lambda: reader.text() == b"first\n")


def test_nothing_stays_when_nobody_looks_any_more(
    db: Database, owner: LiveOutput, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    output = owner.begin(run, asked_for=True)
    ann, bob = Reader(db, run), Reader(db, run, "bob")
    owner.changed()
    output("stdout", b"x")
    eventually(lambda: rows(db) == 1)
    ann.follower.close()
    output("stdout", b"y")
    eventually(lambda: bob.text() == b"xy")
    # bob dies: nobody renews for him
    with db.write() as connection:
        connection.execute(update(Lease).where(Lease.name.startswith("follow/")).values(until=START))
    eventually(lambda: rows(db) == 0)
    output("stdout", b"z")
    # and comes back, to what is newest
    again = Reader(db, run, "bob")
    owner.changed()
    eventually(lambda: again.text() == b"xyz")


def test_the_end_of_a_run_is_written_and_goes_with_the_last_follower(
    db: Database, owner: LiveOutput, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    reader = Reader(db, run)
    output = owner.begin(run, asked_for=True)
    output("stdout", b"x")
    eventually(lambda: reader.text() == b"x")
    output("stdout", b" the end")
    owner.end(run)
    eventually(lambda: reader.text() == b"x the end")
    reader.follower.close()
    eventually(lambda: rows(db) == 0)
    eventually(lambda: not owner._runs)


def test_a_flood_neither_waits_nor_grows(
    db: Database, owner: LiveOutput, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STORED_BYTES", 100_000)
    reader = Reader(db, run)
    output = owner.begin(run, asked_for=True)
    output("stdout", b"begin\n")
    eventually(lambda: reader.text() == b"begin\n")
    line = b"x" * 999 + b"\n"
    for number in range(3000):
        output("stdout", line)
        if number % 500 == 0:
            CLOCK.sleep(0.2)
    output("stdout", b"end\n")

    def ended() -> bool:
        reader.look()
        return reader.saw[-1][2].endswith(b"end\n")

    eventually(ended)
    _, start, data = reader.saw[-1]
    assert start + len(data) == len(b"begin\n") + 3_000_000 + len(b"end\n")
    with db.read() as connection:
        total = connection.execute(select(func.sum(func.length(Rows.data)))).scalar_one()
    assert int(total) <= 100_000


def test_a_process_that_ends_takes_its_pieces_with_it(db: Database, run: int) -> None:
    owner = LiveOutput(db, CLOCK, Outage(CLOCK))
    owner.start()
    reader = Reader(db, run)
    owner.begin(run, asked_for=True)("stdout", b"x")
    eventually(lambda: reader.text() == b"x")
    owner.stop(10)
    assert rows(db) == 0


def test_what_a_killed_process_left_is_tidied_once_nobody_looks(db: Database, run: int) -> None:
    reader = Reader(db, run)
    with db.write() as connection:
        store.add(connection, [store.LivePiece(run, store.STDOUT, 0, b"x")])
    reaper = Reaper(db, CLOCK)
    reaper.tidy()
    assert reader.text() == b"x"
    reader.follower.close()
    reaper.tidy()
    assert rows(db) == 0


def test_a_follower_renews_its_interest_and_an_execution_that_is_gone_is_said(
    db: Database, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.dispatch.following.RENEW_SECONDS", 0.0)
    reader = Reader(db, run)
    with db.write() as connection:
        connection.execute(update(Lease).where(Lease.name.startswith("follow/")).values(until=START))
        assert store.followed(db, connection) == set()
    reader.look()
    with db.read() as connection:
        assert store.followed(db, connection) == {run}
        until = connection.execute(select(Lease.until).where(Lease.name.startswith("follow/"))).scalar_one()
        assert until is not None
        assert (until - db.now(connection)).total_seconds() > FOLLOW_SECONDS / 2
    reader.follower.follow([run + 1])
    with pytest.raises(NotFound, match="is gone"):
        reader.follower.look(run + 1)


def test_one_who_may_only_read_sees_what_others_follow(
    db: Database, owner: LiveOutput, run: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = owner.begin(run, asked_for=False)
    output("stdout", b"x")
    with monkeypatch.context() as patch:

        def forbidden(*_: object) -> None:
            raise DatabaseForbidden("the user lacks the right INSERT")

        patch.setattr(db, "transact", forbidden)
        poor = Reader(db, run, "poor")
        assert poor.text() == b""
        assert not poor.follower.allowed
    rich = Reader(db, run, "rich")
    owner.changed()
    eventually(lambda: poor.text() == b"x")
    rich.follower.close()
    poor.follower.close()
