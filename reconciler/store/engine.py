"""One database, three kinds: how to connect, what a transaction is, and when to try again."""

from __future__ import annotations

import fcntl
import os
import random
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Dialect, Engine, create_engine, event, make_url, text
from sqlalchemy import Connection as Connection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry

from reconciler.clock import Clock
from reconciler.errors import DatabaseBusy, DatabaseForbidden, DatabaseRejected, DatabaseUnavailable
from reconciler.settings import make_state_folder
from reconciler.store.faults import mapped
from reconciler.store.read_only import connect_read_only, must_be_read_only

if TYPE_CHECKING:
    from reconciler.store.driver import ServerConnection

T = TypeVar("T")

CONNECT_SECONDS = 4
"""For each address of the host; two of them and a retry stay under ten seconds."""
LOCK_SECONDS = 10
"""innodb_lock_wait_timeout and SQLite's busy timeout: far over any transaction of ours."""
IDLE_SECONDS = 30
"""wait_timeout: a client that vanishes in a transaction without a FIN (a power cut, a cut cable) keeps its
locks, one of which all takers wait for, until the server gives it up: by default only after eight hours."""
SESSION = (
    "SET time_zone = '+00:00', "
    "sql_mode = 'STRICT_ALL_TABLES,ONLY_FULL_GROUP_BY,NO_ZERO_DATE,NO_ZERO_IN_DATE,"
    "ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', "
    f"innodb_lock_wait_timeout = {LOCK_SECONDS}, lock_wait_timeout = 15, wait_timeout = {IDLE_SECONDS}, "
    "group_concat_max_len = 16777216"
)
ATTEMPTS = 6


class Database:
    """A pool of connections to one database.

    ``dialect`` is ``sqlite``, ``mariadb`` or ``mysql``; ``place`` (host:port/name or the file) is what
    messages may show. All methods raise errors of ``reconciler.errors`` only.
    """

    def __init__(self, engine: Engine, clock: Clock, place: str, randomness: random.Random) -> None:
        self.engine = engine
        self.place = place
        self._clock = clock
        self._random = randomness
        self._dialect: str | None = "sqlite" if engine.dialect.name == "sqlite" else None

    @classmethod
    def open(
        cls,
        url: str,
        clock: Clock,
        *,
        pool_size: int = 10,
        recycle: int = 1800,
        ping: bool = True,
        randomness: random.Random | None = None,
    ) -> Database:
        """Prepare a pool; nothing is connected yet.

        ``recycle`` is in seconds; ``ping``: test a pooled connection before each use.
        Raises DatabaseRejected for a URL of an unknown kind.
        """
        parsed = _parse(url)
        if parsed.get_backend_name() == "sqlite":
            engine = _sqlite_engine(parsed, pool_size)
        else:
            engine = _server_engine(parsed, pool_size, recycle, ping)
        return cls(engine, clock, _place(parsed), randomness or random.Random())

    @property
    def dialect(self) -> str:
        """``sqlite``, ``mariadb`` or ``mysql``; asks the server the first time."""
        if self._dialect is None:
            # the first connection of the engine learns it; a second one might be one too many for the pool
            if self.engine.dialect.server_version_info is None:
                with self.read():
                    pass
            self._dialect = "mariadb" if getattr(self.engine.dialect, "is_mariadb", False) else "mysql"
        return self._dialect

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that commits at the end of the block and rolls back on any exception.

        READ COMMITTED on the servers; on SQLite BEGIN IMMEDIATE, so that a read never turns into a
        write that fails in the middle.
        """
        with mapped(self.place), self.engine.connect() as connection:
            connection = connection.execution_options(reconciler_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads: a consistent view on SQLite, READ COMMITTED elsewhere."""
        with mapped(self.place), self.engine.connect() as connection, connection.begin() as transaction:
            yield connection
            transaction.rollback()

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """One transaction that only reads and sees a single instant, whatever others commit meanwhile."""
        if self.engine.dialect.name == "sqlite":
            with self.read() as connection:
                yield connection
            return
        with mapped(self.place), self.engine.connect() as connection:
            connection = connection.execution_options(isolation_level="REPEATABLE READ")
            with connection.begin() as transaction:
                yield connection
                transaction.rollback()

    def transact(self, work: Callable[[Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Run ``work`` in a write transaction, again after a deadlock or a connection lost before the commit.

        ``work`` must be safe to repeat from its beginning. A connection lost *during* the commit
        leaves the outcome unknown, so ``work`` must also notice what an earlier try already did.
        """
        for attempt in range(1, attempts + 1):
            try:
                with self.write() as connection:
                    return work(connection)
            except (DatabaseBusy, DatabaseUnavailable) as error:
                unavailable = isinstance(error, DatabaseUnavailable)
                if attempt >= (2 if unavailable else attempts):
                    raise
                self._clock.sleep(self._random.uniform(0, 0.02 * 2**attempt))
        raise AssertionError("unreachable")

    def now(self, connection: Connection) -> datetime:
        """The database's own UTC now, by which leases are judged; on SQLite that of the clock."""
        if self.engine.dialect.name == "sqlite":
            return self._clock.now()
        value: datetime = connection.execute(text("SELECT UTC_TIMESTAMP(6)")).scalar_one()
        return value.replace(tzinfo=UTC)

    def close(self) -> None:
        """Close all pooled connections."""
        self.engine.dispose()


def _parse(url: str) -> URL:
    hint = "write sqlite:///FILE or mysql+pymysql://USER:PASSWORD@HOST/DATABASE"
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError) as error:
        raise DatabaseRejected("the database URL cannot be read", hint=hint) from error
    if parsed.drivername in ("mysql", "mariadb", "mariadb+pymysql"):
        parsed = parsed.set(drivername="mysql+pymysql")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "mysql+pymysql"):
        raise DatabaseRejected(f"there is no support for {parsed.drivername!r} databases", hint=hint)
    if parsed.get_backend_name() == "mysql":
        if "@" in (parsed.host or ""):
            # a part of the password would be taken for the host, and shown
            raise DatabaseRejected(
                "the database URL has more than one @", hint="write an @ of the password as %40"
            )
        if not parsed.database:
            raise DatabaseRejected("the database URL names no database", hint=hint)
        # MariaDB's default is latin1, and a wrong charset here would lose characters silently
        return parsed.update_query_dict({"charset": "utf8mb4"})
    if not parsed.database or parsed.database == ":memory:":
        raise DatabaseRejected(
            "an SQLite database needs a file: each thread would see an in-memory one of its own", hint=hint
        )
    return parsed


def _place(url: URL) -> str:
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return f"{url.host or 'localhost'}:{url.port or 3306}/{url.database}"


def without_time_limit(connection: Connection) -> None:
    """Take this connection to a server out of the pool and let its statements last as long as they do.

    For DDL: an ALTER of a large table takes hours. It is closed, not given back, at the end of its block.
    """
    from reconciler.store.driver import ServerConnection

    driver = connection.connection.driver_connection
    assert isinstance(driver, ServerConnection)
    driver.wait_at_most(None)
    connection.detach()


def _server_engine(url: URL, pool_size: int, recycle: int, ping: bool) -> Engine:
    # with SQLite nobody needs PyMySQL and cryptography
    from reconciler.store.driver import STATEMENT_SECONDS, ServerConnection

    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=30,
        # without a ping nothing else notices that the server gave an idle connection up
        pool_recycle=recycle if ping else min(recycle, IDLE_SECONDS // 2),
        # a failover or wait_timeout kills pooled connections: a ping costs a round trip, an error a retry
        pool_pre_ping=ping,
        isolation_level="READ COMMITTED",
        connect_args={"connect_timeout": CONNECT_SECONDS, "write_timeout": STATEMENT_SECONDS},
        hide_parameters=True,
    )

    @event.listens_for(engine, "do_connect")
    def connect(
        _dialect: Dialect, _record: ConnectionPoolEntry, _words: Any, options: Any
    ) -> ServerConnection:
        return ServerConnection.dial(**options)

    @event.listens_for(engine, "connect")
    def prepare(connection: ServerConnection, _: ConnectionPoolEntry) -> None:
        connection.prepare(SESSION)

    def test(connection: Any) -> bool:
        connection.ping_soon()
        return True

    engine.dialect.do_ping = test  # type: ignore[assignment,method-assign]
    return engine


def _sqlite_engine(url: URL, pool_size: int) -> Engine:
    file = Path(str(url.database))
    options = {"timeout": LOCK_SECONDS, "check_same_thread": False, "isolation_level": None}
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_timeout=30,
        connect_args=options,
        hide_parameters=True,
    )
    fresh = threading.Lock()

    @event.listens_for(engine, "do_connect")
    def connect(*_: Any) -> sqlite3.Connection | None:
        if must_be_read_only(file):
            return connect_read_only(file, **options)
        with fresh:
            if not file.exists():
                _make_file(file)
        return None

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        if not must_be_read_only(file):
            _write_ahead(cursor, file.parent)
        # with synchronous=NORMAL a killed process loses nothing, a power cut perhaps the last transactions
        for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        write = connection.get_execution_options().get("reconciler_write", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")

    return engine


def _write_ahead(cursor: Any, folder: Path) -> None:
    """Have readers and the one writer not wait for each other; the file itself remembers it.

    The change is the one thing for which SQLite does not wait: it fails at once if anybody else looks at the
    file. So whoever finds the file still without it takes a lock on the folder first.
    """
    if cursor.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        cursor.execute("PRAGMA journal_mode=WAL")
    finally:
        os.close(descriptor)


def _make_file(file: Path) -> None:
    """Its owner's alone: what it will hold (commands, output) is nobody else's business."""
    try:
        make_state_folder(file.parent)
        file.touch(mode=0o600)
    except PermissionError as error:
        raise DatabaseForbidden(
            f"{file} cannot be made", hint="the folder must be writable; --database puts the file elsewhere"
        ) from error
    except OSError as error:
        raise DatabaseUnavailable(
            f"{file} cannot be made: {error.strerror}", hint="--database puts the file elsewhere"
        ) from error
