"""A database that is not there, goes away, comes back, hangs or is something else: told soon and plainly."""

from __future__ import annotations

import os
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from reconciler.clock import SystemClock
from reconciler.errors import (
    DatabaseForbidden,
    DatabaseRejected,
    DatabaseUnavailable,
    ReconcilerError,
)
from reconciler.store import driver
from reconciler.store.engine import Database
from tests.services.database import DatabaseServer
from tests.services.process import HOST, free_port
from tests.services.proxy import TcpProxy
from tests.store.conftest import DIALECTS

SERVERS = DIALECTS[1:]
PASSWORD = "s3cret:p@ss/w?rd#%&+ ü备"
QUOTED = "s3cret%3Ap%40ss%2Fw%3Frd%23%25%26%2B%20%C3%BC%E5%A4%87"


def look(url: str) -> None:
    with closing(Database.open(url, SystemClock())) as db, db.read() as connection:
        connection.execute(text("SELECT 1"))


def refusal(url: str) -> ReconcilerError:
    """What a look at this database raises; whatever it says holds no secret, its causes neither."""
    with pytest.raises(ReconcilerError) as caught:
        look(url)
    words = f"{caught.value.message} {caught.value.hint} {caught.value.details}"
    for secret in (PASSWORD, QUOTED, "s3cret", "w?rd"):
        assert secret not in words
    return caught.value


# Not there ---------------------------------------------------------------------------------------


@contextmanager
def listener(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """The port of a server that does ``serve`` with each connection and keeps it open."""
    kept: list[socket.socket] = []

    def accept() -> None:
        while True:
            try:
                connection, _ = server.accept()
                kept.append(connection)
                serve(connection)
            except OSError:
                return

    with socket.create_server((HOST, 0)) as server:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in kept:
            connection.close()


@contextmanager
def never_accepting() -> Iterator[int]:
    """A port whose queue is full: the kernel drops every SYN, as a firewall does."""
    with socket.socket() as server, ExitStack() as stack:
        server.bind((HOST, 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def test_whatever_does_not_answer_is_told_within_ten_seconds() -> None:
    def seconds(url: str) -> float:
        begun = time.monotonic()
        error = refusal(url)
        assert isinstance(error, DatabaseUnavailable)
        assert "cannot be reached" in error.message
        return time.monotonic() - begun

    with never_accepting() as dropped, listener(lambda _: None) as silent:
        login = f"mysql+pymysql://user:{QUOTED}@"
        urls = [
            f"{login}{HOST}:{free_port()}/x",
            f"{login}{HOST}:{dropped}/x",
            f"{login}localhost:{dropped}/x",
            f"{login}{HOST}:{silent}/x",
            f"{login}host.invalid:3306/x",
            "mysql+pymysql://user@localhost/x?unix_socket=/nowhere/s.sock",
        ]
        with ThreadPoolExecutor(len(urls)) as pool:
            took = dict(zip(urls, pool.map(seconds, urls), strict=True))
    assert max(took.values()) < 10, took


@pytest.mark.parametrize(
    "greeting",
    [
        b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n" + b"x" * 9000,
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
        b"-ERR unknown command\r\n",
        b"\x05\x00\x00\x00\x0axyz\x00",  # the length of a packet, and a greeting that ends too soon
        b"\x01\x00\x00\x00\x0a",
        b"\x00\x00\x00\x00",
        b"\x4a\x00\x00\x00\x0a5.5.5-x\x00" + b"\xff" * 66,
        os.urandom(2000),
    ],
    ids=["ssh", "http", "redis", "cut off", "one byte", "empty packet", "odd", "noise"],
)
def test_another_kind_of_server_is_told_as_such_and_never_breaks_the_program(
    greeting: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "ANSWER_SECONDS", 0.3)

    def serve(connection: socket.socket) -> None:
        connection.sendall(greeting)

    with listener(serve) as port:
        assert isinstance(refusal(f"mysql+pymysql://u:{QUOTED}@{HOST}:{port}/x"), DatabaseUnavailable)


@pytest.mark.parametrize("kind", SERVERS)
def test_a_wrong_password_and_an_unknown_database_are_told_apart(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    server.execute("CREATE USER 'reconciler'@'%%' IDENTIFIED BY %s", PASSWORD)
    try:
        with server.fresh() as url:
            name = url.partition("?")[0].rpartition("/")[2]
            server.execute(f"GRANT ALL ON `{name}`.* TO 'reconciler'@'%'")
            base = f"mysql+pymysql://reconciler:%s@{HOST}:{server.port}/%s"

            look(base % (QUOTED, name))

            wrong = refusal(base % (QUOTED + "x", name))
            assert isinstance(wrong, DatabaseForbidden)
            assert "refuses the login" in wrong.message

            other = refusal(base % (QUOTED, "mysql"))
            assert isinstance(other, DatabaseForbidden)
            assert "may not use the database" in other.message

            server.execute("GRANT ALL ON `nowhere`.* TO 'reconciler'@'%'")
            unknown = refusal(base % (QUOTED, "nowhere"))
            assert isinstance(unknown, DatabaseUnavailable)
            assert "no such database" in unknown.message
            assert "utf8mb4" in (unknown.hint or "")
    finally:
        server.execute("DROP USER 'reconciler'@'%'")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("postgresql://u:s3cret@host/db", "no support for 'postgresql'"),
        ("mysql+aiomysql://u:s3cret@host/db", "no support for 'mysql+aiomysql'"),
        ("mysql://u:s3cret@host", "names no database"),
        ("mysql://u:s3cret@host:port/db", "cannot be read"),
        ("mysql://u:p@s3cret@host/db", "more than one @"),
        ("s3cret", "cannot be read"),
        ("", "cannot be read"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("sqlite+aiosqlite:///x.db", "no support for 'sqlite+aiosqlite'"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_before_anything_is_tried(url: str, said: str) -> None:
    with pytest.raises(DatabaseRejected) as caught:
        Database.open(url, SystemClock())
    assert said in caught.value.message
    assert caught.value.hint
    assert "s3cret" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+pymysql", "mariadb+pymysql"])
def test_either_name_opens_either_server(scheme: str, mariadb: DatabaseServer) -> None:
    with (
        mariadb.fresh() as url,
        closing(Database.open(url.replace("mysql+pymysql", scheme), SystemClock())) as db,
    ):
        assert db.dialect == "mariadb"


# Goes away and comes back ------------------------------------------------------------------------


class Outage:
    """A server that can be made to vanish with all its connections, and to come back."""

    def __init__(self, kind: str, request: pytest.FixtureRequest) -> None:
        if kind == "mariadb":
            # really killed; MySQL takes seconds for that and the line is what matters
            self.server: Any = request.getfixturevalue("start_mariadb")()
            self.port, self.begin, self.end = self.server.port, self.server.kill, self.server.start
        else:
            self.server = request.getfixturevalue(kind)
            proxy: TcpProxy = request.getfixturevalue("tcp_proxy")(self.server.port)
            self.port, self.begin, self.end = proxy.port, proxy.refuse, proxy.resume

    @contextmanager
    def fresh(self) -> Iterator[str]:
        with self.server.fresh() as url:
            yield url.replace(f":{self.server.port}/", f":{self.port}/")


@pytest.mark.parametrize("kind", SERVERS)
def test_a_server_that_dies_is_told_and_used_again_when_it_is_back(
    kind: str, request: pytest.FixtureRequest
) -> None:
    outage = Outage(kind, request)
    with outage.fresh() as url, closing(Database.open(url, SystemClock(), pool_size=2)) as db:
        with db.write() as connection:
            connection.execute(text("CREATE TABLE t (n INT PRIMARY KEY)"))

        with pytest.raises(DatabaseUnavailable), db.write() as connection:
            connection.execute(text("INSERT INTO t VALUES (1)"))
            outage.begin()
            connection.execute(text("INSERT INTO t VALUES (2)"))
        with pytest.raises(DatabaseUnavailable), db.read():
            pass
        with pytest.raises(DatabaseUnavailable):
            db.transact(lambda connection: connection.execute(text("INSERT INTO t VALUES (3)")))

        outage.end()
        for n in (4, 5):
            with db.write() as connection:
                connection.execute(text(f"INSERT INTO t VALUES ({n})"))
        with db.read() as connection:
            assert connection.scalars(text("SELECT n FROM t")).all() == [4, 5]

        begun = 0

        def with_an_outage_in_the_middle(connection: Any) -> None:
            nonlocal begun
            begun += 1
            connection.execute(text("INSERT INTO t VALUES (6)"))
            if begun == 1:
                outage.begin()
                outage.end()
            connection.execute(text("INSERT INTO t VALUES (7)"))

        db.transact(with_an_outage_in_the_middle)
        assert begun == 2
        with db.read() as connection:
            assert connection.scalars(text("SELECT n FROM t")).all() == [4, 5, 6, 7]


@pytest.mark.parametrize("kind", SERVERS)
def test_a_killed_connection_costs_an_idle_one_nothing_and_a_transaction_one_repeat(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    with server.fresh() as url, closing(Database.open(url, SystemClock(), pool_size=1)) as db:
        ask = text("SELECT CONNECTION_ID()")
        with db.read() as connection:
            idle = connection.execute(ask).scalar_one()
        server.execute(f"KILL {idle}")
        with db.read() as connection:
            assert connection.execute(ask).scalar_one() != idle

        seen: list[int] = []

        def work(connection: Any) -> int:
            seen.append(connection.execute(ask).scalar_one())
            if len(seen) == 1:
                server.execute(f"KILL {seen[0]}")
            return int(connection.execute(text("SELECT 42")).scalar_one())

        assert db.transact(work) == 42
        assert len(set(seen)) == 2


@pytest.mark.parametrize("kind", SERVERS)
def test_without_a_ping_a_killed_connection_costs_one_call_and_a_transaction_one_repeat(
    kind: str, request: pytest.FixtureRequest
) -> None:
    server = request.getfixturevalue(kind)
    with server.fresh() as url, closing(Database.open(url, SystemClock(), pool_size=1, ping=False)) as db:
        ask = text("SELECT CONNECTION_ID()")

        def kill_the_idle_one() -> None:
            with db.read() as connection:
                idle = connection.execute(ask).scalar_one()
            server.execute(f"KILL {idle}")

        kill_the_idle_one()
        with pytest.raises(DatabaseUnavailable), db.read() as connection:
            connection.execute(ask)
        kill_the_idle_one()
        assert db.transact(lambda connection: connection.execute(ask).scalar_one())


def test_an_idle_connection_to_a_hanging_server_is_found_out_by_the_ping(
    start_mariadb: Callable[[], DatabaseServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    server = start_mariadb()
    with server.fresh() as url, closing(Database.open(url, SystemClock(), pool_size=2)) as db:
        with db.read(), db.read():
            pass
        server.pause()
        begun = time.monotonic()
        # only now: on a busy machine a server that is well may need longer
        with monkeypatch.context() as impatient:
            impatient.setattr(driver, "ANSWER_SECONDS", 0.4)
            for _ in range(2):
                with pytest.raises(DatabaseUnavailable), db.read():
                    pass
        assert time.monotonic() - begun < driver.STATEMENT_SECONDS / 4
        server.resume()
        with db.read() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_a_line_that_breaks_after_any_byte_gives_only_our_errors(
    mariadb: DatabaseServer, tcp_proxy: Callable[[int], TcpProxy]
) -> None:
    proxy = tcp_proxy(mariadb.port)
    with mariadb.fresh() as url:
        url = url.replace(str(mariadb.port), str(proxy.port))
        told = 0
        for count in [*range(0, 130, 7), *range(130, 900, 35)]:
            proxy.cut_after(count)
            with closing(Database.open(url, SystemClock())) as db:
                try:
                    with db.write() as connection:
                        rows = connection.execute(text("SELECT REPEAT('x', 300) UNION ALL SELECT 'y'")).all()
                        assert len(rows) == 2
                except DatabaseUnavailable:
                    told += 1
        assert told > 20
        proxy.resume()


# SQLite ------------------------------------------------------------------------------------------


def test_a_file_that_is_no_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, " * 100)
    error = refusal(f"sqlite:///{file}")
    assert isinstance(error, DatabaseRejected)
    assert "not a usable SQLite database" in error.message
    assert file.read_text() == "not a database, " * 100


def test_a_place_where_no_file_can_be_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file" / "state.db", Path("/proc/nowhere/state.db")):
        assert isinstance(refusal(f"sqlite:///{place}"), DatabaseUnavailable)


def test_a_new_file_and_its_folder_are_their_owners_alone(tmp_path: Path) -> None:
    file = tmp_path / "deep" / ".reconciler" / "state.db"
    with closing(Database.open(f"sqlite:///{file}", SystemClock())) as db, db.write() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in file.parent.iterdir()}
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    # it hides itself from git, where it usually stands in a work tree
    assert modes.pop(".gitignore", None) is not None
    assert (file.parent / ".gitignore").read_text().splitlines()[-1] == "*"
    assert modes == {"state.db": 0o600, "state.db-wal": 0o600, "state.db-shm": 0o600}


def test_a_full_disk_changes_nothing_and_is_told(sqlite_url: str) -> None:
    with closing(Database.open(sqlite_url, SystemClock(), pool_size=1)) as db:
        with db.write() as connection:
            connection.execute(text("CREATE TABLE t (x TEXT)"))
        with db.read() as connection:
            connection.execute(text("PRAGMA max_page_count = 10"))
        with pytest.raises(DatabaseUnavailable, match="is full"), db.write() as connection:
            connection.execute(text("INSERT INTO t VALUES ('small')"))
            connection.execute(text("INSERT INTO t VALUES (:long)"), {"long": "x" * 500_000})
        with db.read() as connection:
            assert connection.execute(text("SELECT count(*) FROM t")).scalar_one() == 0


def test_a_file_that_may_only_be_read_is_told_as_such(sqlite_url: str) -> None:
    with closing(Database.open(sqlite_url, SystemClock(), pool_size=1)) as db:
        with db.write() as connection:
            connection.execute(text("CREATE TABLE t (x TEXT)"))
        with db.read() as connection:
            connection.execute(text("PRAGMA query_only = 1"))
        with pytest.raises(DatabaseForbidden, match="cannot be written"), db.write() as connection:
            connection.execute(text("INSERT INTO t VALUES ('x')"))


def test_many_threads_may_make_the_same_file_at_once(sqlite_url: str) -> None:
    barrier = threading.Barrier(8)

    def make(_: int) -> int:
        with closing(Database.open(sqlite_url, SystemClock())) as db:
            barrier.wait(10)
            with db.write() as connection:
                connection.execute(text("CREATE TABLE IF NOT EXISTS t (n INTEGER)"))
                connection.execute(text("INSERT INTO t VALUES (1)"))
            with db.read() as connection:
                return int(connection.execute(text("SELECT count(*) FROM t")).scalar_one())

    with ThreadPoolExecutor(8) as pool:
        assert max(pool.map(make, range(8))) == 8
