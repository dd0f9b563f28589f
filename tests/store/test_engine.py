"""Connections are what we say they are, transactions are whole, and a deadlock is tried again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from reconciler.clock import SystemClock
from reconciler.errors import DatabaseBusy, DatabaseRejected
from reconciler.store import engine
from reconciler.store.engine import Database
from tests.services.clock import START, FakeClock
from tests.store.conftest import DIALECTS

SERVERS = DIALECTS[1:]
READ_COMMITTED = "READ-COMMITTED"


def session_of(db: Database, connection: Any) -> dict[str, Any]:
    isolation = "tx_isolation" if db.dialect == "mariadb" else "transaction_isolation"
    names = [
        "time_zone", "sql_mode", isolation, "innodb_lock_wait_timeout", "lock_wait_timeout", "autocommit",
        "character_set_client", "character_set_connection", "character_set_results",
    ]  # fmt: skip
    row = connection.execute(text("SELECT " + ", ".join(f"@@{name} AS {name}" for name in names))).one()
    found = dict(row._mapping)
    found["isolation"] = found.pop(isolation)
    return found


def assert_ours(session: dict[str, Any]) -> None:
    modes = set(session.pop("sql_mode").split(","))
    assert {"STRICT_ALL_TABLES", "ONLY_FULL_GROUP_BY", "NO_ZERO_DATE", "ERROR_FOR_DIVISION_BY_ZERO"} <= modes
    assert "PIPES_AS_CONCAT" not in modes
    assert session == {
        "time_zone": "+00:00",
        "isolation": READ_COMMITTED,
        "innodb_lock_wait_timeout": 10,
        "lock_wait_timeout": 15,
        "autocommit": 0,
        "character_set_client": "utf8mb4",
        "character_set_connection": "utf8mb4",
        "character_set_results": "utf8mb4",
    }


@pytest.fixture(params=SERVERS)
def foreign_defaults(request: pytest.FixtureRequest) -> Iterator[str]:
    """A server whose defaults are all wrong for us; the URL of a database there, which asks for latin1."""
    server = request.getfixturevalue(request.param)
    isolation = "tx_isolation" if request.param == "mariadb" else "transaction_isolation"
    wrong = {
        "time_zone": "+05:45", "sql_mode": "PIPES_AS_CONCAT", isolation: "SERIALIZABLE",
        "innodb_lock_wait_timeout": 77, "lock_wait_timeout": 777,
    }  # fmt: skip
    before = {name: server.execute(f"SELECT @@global.{name}")[0][0] for name in wrong}
    try:
        for name, value in wrong.items():
            server.execute(f"SET GLOBAL {name} = %s", value)
        with server.fresh() as url:
            yield url.replace("utf8mb4", "latin1")
    finally:
        for name, value in before.items():
            server.execute(f"SET GLOBAL {name} = %s", value)


def test_every_pooled_connection_has_our_session_whatever_the_server_says(foreign_defaults: str) -> None:
    with closing(Database.open(foreign_defaults, SystemClock(), pool_size=3)) as db:
        for kind in (db.read, db.write):
            with ExitStack() as stack:
                held = [stack.enter_context(kind()) for _ in range(6)]  # the pool and its overflow
                ids = {connection.execute(text("SELECT CONNECTION_ID()")).scalar_one() for connection in held}
                assert len(ids) == 6
                for connection in held:
                    assert_ours(session_of(db, connection))
        with db.snapshot() as connection:
            assert session_of(db, connection)["isolation"] == "REPEATABLE-READ"
        with ExitStack() as stack:
            for _ in range(6):
                assert_ours(session_of(db, stack.enter_context(db.write())))


def test_a_renewed_connection_has_our_session_too(foreign_defaults: str) -> None:
    with closing(Database.open(foreign_defaults, SystemClock(), pool_size=1)) as db:
        with db.read() as connection:
            first = connection.execute(text("SELECT CONNECTION_ID()")).scalar_one()
        db.engine.pool._recycle = 0  # as if its time were over
        with db.read() as connection:
            assert connection.execute(text("SELECT CONNECTION_ID()")).scalar_one() != first
            assert_ours(session_of(db, connection))


def test_sqlite_waits_for_locks_keeps_references_and_writes_ahead(sqlite_url: str) -> None:
    with closing(Database.open(sqlite_url, SystemClock(), pool_size=2)) as db, ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(db.read())
            pragmas = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
                for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout", "encoding")
            }
            assert pragmas == {
                "journal_mode": "wal", "foreign_keys": 1, "synchronous": 1,
                "busy_timeout": engine.LOCK_SECONDS * 1000, "encoding": "UTF-8",
            }  # fmt: skip


# Transactions ------------------------------------------------------------------------------------


def rows(db: Database) -> list[tuple[Any, ...]]:
    with db.read() as connection:
        found = connection.execute(text("SELECT name, token FROM leases WHERE name LIKE 'e/%' ORDER BY name"))
        return [tuple(row) for row in found]


def put(connection: Any, name: str, token: int = 1) -> None:
    connection.execute(
        text("INSERT INTO leases (name, owner, token) VALUES (:name, '', :token)"),
        {"name": f"e/{name}", "token": token},
    )


def add(connection: Any, name: str) -> None:
    connection.execute(text("UPDATE leases SET token = token + 1 WHERE name = :name"), {"name": f"e/{name}"})


def test_a_block_is_committed_whole_or_not_at_all(db: Database) -> None:
    with db.write() as connection:
        put(connection, "a")
        put(connection, "b")
    with pytest.raises(KeyError, match="mine"), db.write() as connection:
        put(connection, "c")
        raise KeyError("mine")
    with pytest.raises(DatabaseRejected, match="a duplicate"), db.write() as connection:
        put(connection, "d")
        put(connection, "a")
    assert rows(db) == [("e/a", 1), ("e/b", 1)]


@pytest.mark.parametrize("kind", ["read", "snapshot"])
def test_what_a_reading_block_wrote_is_gone(db: Database, kind: str) -> None:
    with getattr(db, kind)() as connection:
        put(connection, "a")
    assert rows(db) == []


def test_a_snapshot_sees_one_instant_and_a_read_what_is_committed(db: Database) -> None:
    with db.write() as connection:
        put(connection, "a")
    query = text("SELECT token FROM leases WHERE name = 'e/a'")
    with db.snapshot() as snapshot, db.read() as read:
        assert [connection.execute(query).scalar_one() for connection in (snapshot, read)] == [1, 1]
        with db.write() as connection:
            add(connection, "a")
        assert snapshot.execute(query).scalar_one() == 1
        assert read.execute(query).scalar_one() == (1 if db.dialect == "sqlite" else 2)


def test_an_error_of_the_callers_own_files_is_no_lost_database(db: Database, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), db.write():
        (tmp_path / "nothing").read_text()


def test_the_dialect_is_told_by_the_server_itself(db: Database, request: pytest.FixtureRequest) -> None:
    assert f"[{db.dialect}]" in request.node.name


def test_now_is_the_databases_utc_and_on_sqlite_the_clocks(db: Database, tmp_path: Path) -> None:
    with db.read() as connection:
        now = db.now(connection)
    assert now.tzinfo is UTC
    assert abs(now - datetime.now(UTC)) < timedelta(seconds=10)
    with (
        closing(Database.open(f"sqlite:///{tmp_path / 'other.db'}", FakeClock())) as other,
        other.read() as connection,
    ):
        assert other.now(connection) == START


# Again after a deadlock --------------------------------------------------------------------------


class Tries:
    """Two threads that take the same two rows in opposite order, and so lock each other out once."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.begun = {"ab": 0, "ba": 0}
        self._both_have_one = threading.Barrier(2)

    def run(self, order: str) -> int:
        return self.db.transact(lambda connection: self.work(connection, order))

    def work(self, connection: Any, order: str) -> int:
        self.begun[order] += 1
        add(connection, order[0])
        if self.begun[order] == 1:
            self._both_have_one.wait(10)
        add(connection, order[1])
        return self.begun[order]


@pytest.fixture(params=SERVERS)
def server_db(request: pytest.FixtureRequest, migrated: Any, tmp_path: Path) -> Iterator[Database]:
    url = migrated.url(request.param, tmp_path / "unused")
    with closing(Database.open(url, SystemClock(), randomness=random.Random(7))) as db:
        with db.write() as connection:
            put(connection, "a", 0)
            put(connection, "b", 0)
        yield db


def test_a_real_deadlock_is_tried_again_and_both_get_their_work_done(server_db: Database) -> None:
    tries = Tries(server_db)
    with ThreadPoolExecutor(2) as pool:
        counts = list(pool.map(tries.run, ["ab", "ba"]))
    assert sorted(counts) == [1, 2], "one was the victim once, the other never"
    assert rows(server_db) == [("e/a", 2), ("e/b", 2)]


def test_a_deadlock_that_outlives_its_tries_is_told_as_busy(server_db: Database) -> None:
    tries = Tries(server_db)

    def once(order: str) -> str:
        try:
            server_db.transact(lambda connection: tries.work(connection, order), attempts=1)
        except DatabaseBusy as error:
            return str(error)
        return "done"

    with ThreadPoolExecutor(2) as pool:
        said = sorted(pool.map(once, ["ab", "ba"]))
    assert said[0] == "done"
    assert "deadlock" in said[1]
    assert rows(server_db) == [("e/a", 1), ("e/b", 1)]


def test_a_lock_that_is_held_too_long_is_busy_and_leaves_nothing_behind(server_db: Database) -> None:
    with server_db.write() as holder:
        add(holder, "a")
        with pytest.raises(DatabaseBusy, match="lock"), server_db.write() as waiting:
            waiting.execute(text("SET innodb_lock_wait_timeout = 1"))
            add(waiting, "b")
            add(waiting, "a")
    assert rows(server_db) == [("e/a", 1), ("e/b", 0)]


def test_a_writer_of_sqlite_waits_for_the_other_and_then_says_busy(
    sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "LOCK_SECONDS", 0.1)
    clock = FakeClock(auto=True)
    with closing(Database.open(sqlite_url, clock)) as db:
        with db.write() as connection:
            connection.execute(text("CREATE TABLE t (n INTEGER)"))
        with db.write():
            begun: list[int] = []
            with pytest.raises(DatabaseBusy, match="locked by another process"):
                db.transact(lambda connection: begun.append(1), attempts=3)
            assert begun == []
            assert len(clock.slept) == 2
            with db.read() as reader:
                assert reader.execute(text("SELECT count(*) FROM t")).scalar_one() == 0
        db.transact(lambda connection: begun.append(1))
        assert begun == [1]


def test_the_pauses_between_tries_grow_and_are_random(sqlite_url: str) -> None:
    clock = FakeClock(auto=True)
    with closing(Database.open(sqlite_url, clock, randomness=random.Random(1))) as db:

        def busy(_: object) -> None:
            raise DatabaseBusy("as if")

        with pytest.raises(DatabaseBusy):
            db.transact(busy)
    assert len(clock.slept) == engine.ATTEMPTS - 1
    assert all(0 <= pause <= 0.02 * 2**n for n, pause in enumerate(clock.slept, 1))
    assert len(set(clock.slept)) == len(clock.slept)


def test_a_full_pool_is_told_and_not_waited_for_for_ever(sqlite_url: str) -> None:
    with closing(Database.open(sqlite_url, SystemClock(), pool_size=1)) as db, ExitStack() as stack:
        db.engine.pool._timeout = 0.05  # type: ignore[attr-defined]
        for _ in range(2):
            stack.enter_context(db.read())
        with pytest.raises(DatabaseBusy, match="became free") as caught, db.read():
            pass
        assert "RECONCILER_DATABASE_POOL_SIZE" in (caught.value.hint or "")
