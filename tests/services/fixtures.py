"""The services as pytest fixtures; tests/conftest.py makes them known to every test.

Shared by all tests of a worker process: ``mariadb``, ``mysql``, ``redis_server``, ``sshd``, ``s3_server``.
For a test that kills, pauses or configures one: ``start_mariadb``, ``start_mysql``, ``start_redis``,
``start_sshd``, ``start_s3``, each a factory of private ones, closed with the test.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.services.browser import Browser
from tests.services.clock import FakeClock
from tests.services.database import MariaDB
from tests.services.git import GitRepository
from tests.services.mysql import URL_VARIABLE, ExternalMySQL, MySQL, mysql_available
from tests.services.process import Service, ServiceBroken, ServiceMissing
from tests.services.proxy import TcpProxy
from tests.services.redis import RedisServer
from tests.services.s3 import S3Server
from tests.services.sshd import Sshd

S = TypeVar("S", bound=Service)
T = TypeVar("T")


def in_ci() -> bool:
    """Whether a missing service is a failure: CI=true, as every CI system sets it."""
    return os.environ.get("CI", "").lower() in {"1", "true", "yes"}


def _started(make: Callable[[], S], *, required: bool = True) -> S:
    """A service that answers. Missing: skip by name, or fail in CI if it is ``required``."""
    service = make()
    try:
        return service.start()
    except ServiceMissing as missing:
        service.close()
        if in_ci() and required:
            pytest.fail(f"{missing}, and CI runs with every service", pytrace=False)
        pytest.skip(str(missing))
    except ServiceBroken as broken:
        service.close()
        if in_ci() or required:
            pytest.fail(str(broken), pytrace=False)
        pytest.skip(str(broken))


@pytest.fixture(scope="session")
def mariadb() -> Iterator[MariaDB]:
    """A MariaDB server."""
    with contextlib.closing(_started(MariaDB)) as server:
        yield server


@pytest.fixture(scope="session")
def mysql() -> Iterator[MySQL | ExternalMySQL]:
    """A MySQL server; absent it skips by name, promised (see `mysql_available`) and broken it fails in CI."""
    if url := os.environ.get(URL_VARIABLE):
        try:
            yield ExternalMySQL(url).ensure()
        except ServiceBroken as broken:
            pytest.fail(str(broken), pytrace=False)
        return
    with contextlib.closing(_started(MySQL, required=mysql_available() and in_ci())) as server:
        yield server


@pytest.fixture(scope="session")
def redis_server() -> Iterator[RedisServer]:
    """A Redis server, not emptied between tests: use a prefix."""
    with contextlib.closing(_started(RedisServer)) as server:
        yield server


@pytest.fixture(scope="session")
def sshd() -> Iterator[Sshd]:
    """An sshd for the user who runs the tests."""
    with contextlib.closing(_started(Sshd)) as server:
        yield server


@pytest.fixture(scope="session")
def s3_server() -> Iterator[S3Server]:
    """An S3 server, not emptied between tests: use a bucket of your own."""
    with contextlib.closing(_started(S3Server)) as server:
        yield server


def _factory(kind: Callable[..., S], *, required: Callable[[], bool] = lambda: True) -> Any:
    @pytest.fixture
    def start() -> Iterator[Callable[..., S]]:
        with contextlib.ExitStack() as stack:

            def starter(*words: Any, **options: Any) -> S:
                return stack.enter_context(
                    contextlib.closing(_started(lambda: kind(*words, **options), required=required()))
                )

            yield starter

    return start


start_mariadb = _factory(MariaDB)
start_mysql = _factory(MySQL, required=lambda: mysql_available() and in_ci())
start_redis = _factory(RedisServer)
start_sshd = _factory(Sshd)
start_s3 = _factory(S3Server)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """An SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'state.db'}"


@pytest.fixture
def mariadb_url(mariadb: MariaDB) -> Iterator[str]:
    """An empty database on MariaDB."""
    mariadb.ensure()
    with mariadb.fresh() as url:
        yield url


@pytest.fixture
def mysql_url(mysql: MySQL | ExternalMySQL) -> Iterator[str]:
    """An empty database on MySQL."""
    mysql.ensure()
    with mysql.fresh() as url:
        yield url


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("mariadb", marks=pytest.mark.mariadb),
        pytest.param("mysql", marks=pytest.mark.mysql),
    ]
)
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database on each of the three, in turn."""
    url = request.getfixturevalue(f"{request.param}_url")
    assert isinstance(url, str)
    return url


@pytest.fixture
def git_repo(tmp_path: Path) -> GitRepository:
    """An empty repository on branch main."""
    return _installed(lambda: GitRepository(tmp_path / "repo"))


@pytest.fixture(scope="session")
def browser() -> Browser:
    """A browser without a screen."""
    return _installed(Browser)


def _installed(make: Callable[[], T]) -> T:
    """A program that need not be started. Missing: skip by name, or fail in CI."""
    try:
        return make()
    except ServiceMissing as missing:
        if in_ci():
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture
def tcp_proxy() -> Iterator[Callable[[int], TcpProxy]]:
    """Makes proxies: ``tcp_proxy(port_of_the_server)``."""
    with contextlib.ExitStack() as stack:
        yield lambda port: stack.enter_context(TcpProxy(port))


@pytest.fixture
def fake_clock() -> FakeClock:
    """A clock at noon of 1 March 2026 UTC that only the test moves."""
    return FakeClock()
