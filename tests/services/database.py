"""What MariaDB and MySQL have in common for a test: one URL per fresh, empty database."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pymysql

from tests.services.prepared import copy_folder, prepared
from tests.services.process import HOST, Service, ServiceBroken, find_binary

# Written to the file system at each commit, synced once a second: nothing is lost when the process is killed,
# and thousands of test transactions do not wait for the disk.
RELAXED = {"innodb_flush_log_at_trx_commit": 2}


class Databases:
    """Fresh databases on a server that is reached as ``user`` at ``host:port``."""

    host: str
    port: int
    user: str = "root"
    password: str = ""
    # PyMySQL takes it where it is offered, and loads all certificates of the machine for each connection
    tls: bool = True

    def connect(self, database: str | None = None, **options: Any) -> pymysql.connections.Connection[Any]:
        """A PyMySQL connection with autocommit."""
        given: dict[str, Any] = {
            "charset": "utf8mb4",
            "autocommit": True,
            "connect_timeout": 5,
            "ssl_disabled": not self.tls,
        }
        return pymysql.connect(
            host=self.host,
            port=self.port,
            user=self.user,
            password=self.password,
            database=database,
            **(given | options),
        )

    def execute(self, statement: str, *values: object, database: str | None = None) -> list[tuple[Any, ...]]:
        """The rows of one statement, run on a connection of its own."""
        with contextlib.closing(self.connect(database)) as connection:
            return _rows(connection, statement, values)

    def url(self, database: str) -> str:
        """What RECONCILER_DATABASE_URL takes."""
        login = self.user + (f":{quote(self.password, safe='')}" if self.password else "")
        return f"mysql+pymysql://{login}@{self.host}:{self.port}/{database}?charset=utf8mb4"

    def create_database(self, name: str | None = None) -> str:
        """An empty database, with the server's own defaults for charset and collation. Returns its name."""
        name = name or f"t_{uuid.uuid4().hex[:16]}"
        self.execute(f"CREATE DATABASE `{name}`")
        return name

    def drop_database(self, name: str) -> None:
        """Drop it, ending connections whose open transactions would make that wait for ever."""
        with contextlib.closing(self.connect()) as admin:
            users = _rows(admin, "SELECT id FROM information_schema.processlist WHERE db = %s", (name,))
            for (other,) in users:
                with contextlib.suppress(pymysql.Error):
                    _rows(admin, f"KILL {other}")
            _rows(admin, f"DROP DATABASE IF EXISTS `{name}`")

    @contextlib.contextmanager
    def fresh(self) -> Iterator[str]:
        """The URL of an empty database that is dropped afterwards."""
        name = self.create_database()
        try:
            yield self.url(name)
        finally:
            self.revive()
            self.drop_database(name)

    def revive(self) -> None:
        """Make the server reachable again, where that is in our power."""


class DatabaseServer(Databases, Service):
    """A private server, in memory where there is plenty.

    ``durable`` keeps it on the disk and syncs every commit, as production does; benchmarks want that.
    """

    tls = False

    def __init__(self, *, durable: bool = False) -> None:
        super().__init__(None if durable else roomy_memory())
        self.durable = durable

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def socket(self) -> Path:
        return self.folder / "s.sock"

    def before_start(self) -> None:
        for leftover in (self.socket, self.folder / "s.sock.lock", self.folder / "pid"):
            leftover.unlink(missing_ok=True)

    def answers(self) -> bool:
        try:
            self.connect(connect_timeout=1).close()
        except (pymysql.Error, OSError):
            return False
        return True

    def revive(self) -> None:
        self.ensure()


def _rows(
    connection: pymysql.connections.Connection[Any], statement: str, values: tuple[object, ...] = ()
) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return list(cursor.fetchall())


def roomy_memory() -> Path | None:
    """A file system in memory with 4 GiB or more to spare, or None. DDL takes half the time there."""
    memory = Path("/dev/shm")
    with contextlib.suppress(OSError):
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize >= 4 << 30 and os.access(memory, os.W_OK):
            return memory
    return None


def version_of(binary: str) -> str:
    """What ``binary --version`` says, shortened to a name for a folder."""
    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"(\d+\.\d+\.\d+\S*)", said)
    return re.sub(r"[^\w.]+", "-", found.group(1) if found else "unknown")


def as_root() -> list[str]:
    """Both servers refuse to run as root unless told so."""
    return ["--user=root"] if os.geteuid() == 0 else []


class MariaDB(DatabaseServer):
    """A private mariadbd; root without a password over TCP. ``version``: what it calls itself."""

    name = "mariadb"

    def __init__(self, *, durable: bool = False, version: str | None = None) -> None:
        super().__init__(durable=durable)
        self.version = version

    def prepare(self) -> None:
        self.binary = find_binary("mariadbd")
        template = prepared(f"mariadb-{version_of(self.binary)}", self._initialise)
        copy_folder(template, self.data)

    @staticmethod
    def _initialise(folder: Path) -> None:
        install = find_binary("mariadb-install-db", "mysql_install_db")
        options = [
            f"--datadir={folder}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--innodb-log-file-size=16M",
            *as_root(),
        ]
        done = subprocess.run(
            [install, "--no-defaults", *options], capture_output=True, text=True, check=False
        )
        if done.returncode:
            said = (done.stdout + done.stderr)[-2000:]
            raise ServiceBroken(f"{install} ended with {done.returncode}:\n{said}")

    def command(self) -> list[str]:
        relaxed = {} if self.durable else RELAXED
        return [
            self.binary,
            "--no-defaults",
            f"--datadir={self.data}",
            f"--socket={self.socket}",
            f"--pid-file={self.folder / 'pid'}",
            f"--bind-address={HOST}",
            f"--port={self.port}",
            "--innodb-buffer-pool-size=128M",
            # made sooner; but writers wait for a full log, so benchmarks have the size that servers have
            *([] if self.durable else ["--innodb-log-file-size=16M"]),
            "--skip-name-resolve",
            *([] if self.version is None else [f"--version={self.version}"]),
            *as_root(),
            *(f"--{name.replace('_', '-')}={value}" for name, value in relaxed.items()),
        ]
